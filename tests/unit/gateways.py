"""A gateway as the contract describes it, for the tests of the healthcheck package."""

from typing import Any

from deployment.description import Deployment, Gateway
from healthcheck.checks import checks_over, session_for
from healthcheck.observation import CheckObservation
from healthcheck.session import Timeouts

HEX = "ab" * 32


def gateway(port: int = 4004, **changes: Any) -> Gateway:
    """The paper gateway `main` on loopback; `changes` replace whole keys of the contract's entry."""
    return Gateway.model_validate(entry(port) | changes)


def entry(port: int = 4004) -> dict[str, Any]:
    return {
        "name": "main",
        "mode": "paper",
        "account_kind": "paper",
        "read_only": False,
        "container": {"name": "ibgw-paper-main", "id": "a" * 64},
        "api": {"network": "ibgw-paper-main-api", "host": "127.0.0.1", "port": port, "inner_port": 4002},
        "volumes": {"settings": "ibgw-paper-main-settings"},
        "image": {"reference": "ghcr.io/gnzsnz/ib-gateway:10.45.1j", "digest": f"sha256:{HEX}"},
        "secret": {"id": "ibgw/paper/main", "version_id": "v1"},
        "schedule": {"time_zone": "America/New_York", "auto_restart": "23:59", "cold_restart": "07:05"},
        "second_factor": "none",
        "checks": checks(),
    }


def checks(market_data: str = "warn", order_capability: str = "warn") -> dict[str, Any]:
    spy = {"symbol": "SPY", "sec_type": "STK", "exchange": "SMART", "currency": "USD"}
    return {
        "market_data": {"level": market_data, "contract": spy},
        "order_capability": {"level": order_capability},
    }


def stack(*gateways: Gateway, image_id: str = f"sha256:{HEX}", prefix: str = "ibgw") -> Deployment:
    found = gateways or (gateway(),)
    return Deployment.model_validate(
        {
            "schema": 1,
            "project": "ibgw",
            "stack": "paper",
            "mode": "paper",
            "name_prefix": prefix,
            "docker_host": "unix:///var/run/docker.sock",
            "verifier": {"image_id": image_id},
            "egress_network": f"{prefix}-paper-egress",
            "gateways": {one.name: one for one in found},
        }
    )


async def run_checks(gateway: Gateway, *, timeouts: Timeouts | None = None) -> list[CheckObservation]:
    """All checks over one connection, which is closed afterwards whatever happens."""
    async with session_for(gateway, timeouts) as session:
        return await checks_over(session, gateway)
