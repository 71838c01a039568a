"""A contract as JSON, written out by hand from the shape that docs/architecture.md, Interfaces, fixes."""

import copy
import json
from typing import Any

GATEWAY: dict[str, Any] = {
    "name": "main",
    "mode": "paper",
    "account_kind": "paper",
    "expected_accounts": [],
    "read_only": False,
    "container": {"name": "ibgw-paper-main", "id": "a" * 64},
    "api": {"network": "ibgw-paper-main-api", "host": "ibgw-paper-main", "port": 4004, "inner_port": 4002},
    "client_ids": {"manual": [1, 99], "production": [100, 199], "development": [200, 299], "testing": [900, 999]},
    "clients": [],
    "volumes": {"settings": "ibgw-paper-main-settings", "logs": None},
    "image": {"reference": "registry.invalid/gateway:10.45.1j", "digest": "sha256:" + "b" * 64},
    "secret": {"id": "ibgw/paper/main", "version_id": "v1"},
    "schedule": {
        "time_zone": "America/New_York",
        "auto_restart": "23:59",
        "auto_logoff": None,
        "cold_restart": "07:05",
    },
    "second_factor": "none",
    "checks": {
        "market_data": {
            "level": "warn",
            "contract": {"symbol": "SPY", "sec_type": "STK", "exchange": "SMART", "currency": "USD"},
        },
        "order_capability": {"level": "warn"},
    },
}

MONITORING: dict[str, Any] = {
    "prober": {"name": "ibgw-paper.prober", "id": "8" * 64},
    "watcher": {"name": "ibgw-paper.watcher", "id": "9" * 64},
    "network": "ibgw-paper.monitoring",
}


def contract_document(*gateways: str, mode: str = "paper") -> dict[str, Any]:
    """A contract with these gateways, `main` by default."""
    document: dict[str, Any] = {
        "schema": 1,
        "project": "ibgw",
        "stack": mode,
        "mode": mode,
        "name_prefix": "ibgw",
        "docker_host": "unix:///var/run/docker.sock",
        "release": None,
        "verifier": {"image_id": "sha256:" + "c" * 64},
        "egress_network": f"ibgw-{mode}-egress",
        "gateways": {},
    }
    for name in gateways or ("main",):
        gateway = copy.deepcopy(GATEWAY)
        gateway |= {"name": name, "mode": mode, "account_kind": mode}
        gateway["container"]["name"] = f"ibgw-{mode}-{name}"
        document["gateways"][name] = gateway
    return document


def outputs_json(*gateways: str, mode: str = "paper") -> str:
    """What `pulumi stack output --json` prints."""
    return json.dumps({"contract": contract_document(*gateways, mode=mode)})


def contract_json(*gateways: str, mode: str = "paper") -> str:
    return json.dumps(contract_document(*gateways, mode=mode))
