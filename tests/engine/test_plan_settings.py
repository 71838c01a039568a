"""Every setting of a gateway, changed on one that runs: what the plan says, what the broker counts, what is in effect.

It catches a change that does nothing, and a login that the plan did not announce.
"""

import json
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest

from operations.plan.settings import every_setting
from sandbox.environment import Sandbox, Stack
from tests.engine.conftest import Completed, Pulumi

pytestmark = pytest.mark.exhaustive

STACK = "paper-every"
UP = ["up", "--yes", "--skip-preview"]
SHELL, INSPECT, CONTRACT = "shell", "inspect", "contract"


def ini(key: str) -> tuple[str, str]:
    return SHELL, f"grep ^{key}= /home/ibgateway/ibc/config.ini"


# What is changed, verdict, where the effect is seen (a command inside the container, a path in `docker inspect` or one
# in the contract), and what is to be seen there. Keys and forms are those of the image's config.ini.tmpl, common.sh.
# Changes add up; those that turn the second factor on come last.
EDITS: list[tuple[dict[str, Any], str, tuple[str, str], str]] = [
    ({"checks.marketData.level": "off"}, "none", (CONTRACT, "checks.market_data.level"), '"off"'),
    ({"checks.orderCapability.level": "off"}, "none", (CONTRACT, "checks.order_capability.level"), '"off"'),
    ({"checks.marketData.contract.symbol": "QQQ"}, "none", (CONTRACT, "checks.market_data.contract.symbol"), "QQQ"),
    ({"checks.marketData.contract.secType": "CFD"}, "none", (CONTRACT, "checks.market_data.contract.sec_type"), "CFD"),
    (
        {"checks.marketData.contract.exchange": "ARCA"},
        "none",
        (CONTRACT, "checks.market_data.contract.exchange"),
        "ARCA",
    ),
    (
        {"checks.marketData.contract.currency": "EUR"},
        "none",
        (CONTRACT, "checks.market_data.contract.currency"),
        "EUR",
    ),
    ({"checks.accountAccess.level": "warn"}, "none", (CONTRACT, "checks.account_access.level"), '"warn"'),
    (
        {"checks.marketData.contract.conId": 756733},
        "none",
        (CONTRACT, "checks.market_data.contract.con_id"),
        "756733",
    ),
    (
        {"checks.marketData.contract.localSymbol": "SPY"},
        "none",
        (CONTRACT, "checks.market_data.contract.local_symbol"),
        "SPY",
    ),
    (
        {"checks.marketData.contract.primaryExchange": "ARCA"},
        "none",
        (CONTRACT, "checks.market_data.contract.primary_exchange"),
        "ARCA",
    ),
    (
        {"checks.marketData.contract.tradingClass": "SPY"},
        "none",
        (CONTRACT, "checks.market_data.contract.trading_class"),
        "SPY",
    ),
    (
        {"checks.marketData.contract.expiry": "202612"},
        "none",
        (CONTRACT, "checks.market_data.contract.expiry"),
        "202612",
    ),
    (
        {"checks.marketData.contract.strike": 610},
        "none",
        (CONTRACT, "checks.market_data.contract.strike"),
        "610",
    ),
    (
        {"checks.marketData.contract.right": "P"},
        "none",
        (CONTRACT, "checks.market_data.contract.right"),
        "P",
    ),
    (
        {"checks.marketData.contract.multiplier": "10"},
        "none",
        (CONTRACT, "checks.market_data.contract.multiplier"),
        "10",
    ),
    ({"clients": [{"container": "bot"}]}, "none", (CONTRACT, "clients"), '"container": "bot"'),
    ({"resources.memory": 2048}, "in_place", (INSPECT, "HostConfig.Memory"), "2147483648"),
    ({"resources.javaHeap": 800}, "relogin", (SHELL, "grep -rh Xmx /home/ibgateway/Jts"), "-Xmx800m"),
    ({"api.readOnly": True}, "relogin", ini("ReadOnlyApi"), "ReadOnlyApi=yes"),
    (
        {"api.acceptIncoming": "accept"},
        "relogin",
        ini("AcceptIncomingConnectionAction"),
        "AcceptIncomingConnectionAction=accept",
    ),
    ({"api.allowBlindTrading": True}, "relogin", ini("AllowBlindTrading"), "AllowBlindTrading=yes"),
    ({"api.bypassWarnings": True}, "relogin", ini("BypassOrderPrecautions"), "BypassOrderPrecautions=yes"),
    ({"api.masterClientId": 7}, "relogin", ini("OverrideTwsMasterClientID"), "OverrideTwsMasterClientID=7"),
    (
        {"session.timeZone": "America/Chicago"},
        "relogin",
        (SHELL, "grep ^TimeZone= /home/ibgateway/tws_settings/jts.ini"),
        "TimeZone=America/Chicago",
    ),
    (
        {"session.existingSession": "primaryoverride"},
        "relogin",
        ini("ExistingSessionDetectedAction"),
        "ExistingSessionDetectedAction=primaryoverride",
    ),
    ({"session.autoRestart": "23:00"}, "relogin", ini("AutoRestartTime"), "AutoRestartTime=11:00 PM"),
    ({"session.coldRestart": "08:00"}, "relogin", ini("ColdRestartTime"), "ColdRestartTime=08:00"),
    (
        {"session.offline": {"from": "03:00", "until": "03:30"}},
        "relogin",
        (SHELL, "grep OFFLINE_ /home/ibgateway/ibgw/values"),
        "OFFLINE_FROM=180\nOFFLINE_UNTIL=210",
    ),
    ({"session.heal": False}, "relogin", (SHELL, "grep HEAL= /home/ibgateway/ibgw/values"), "HEAL=no"),
    ({"session.saveSettings": "1h"}, "relogin", ini("SaveTwsSettingsAt"), "SaveTwsSettingsAt=Every 60 mins"),
    (
        {"session.autoRestart": None, "session.autoLogoff": "22:00"},
        "relogin",
        ini("AutoLogoffTime"),
        "AutoLogoffTime=10:00 PM",
    ),
    ({"container.probeInterval": "45s"}, "relogin", (INSPECT, "Config.Healthcheck.Interval"), "45000000000"),
    ({"container.stopGrace": "60s"}, "relogin", (INSPECT, "Config.StopTimeout"), "60"),
    ({"container.logMaxSize": "20m"}, "relogin", (INSPECT, "HostConfig.LogConfig.Config.max-size"), "20m"),
    ({"container.labels": ["com.example.team=trading"]}, "relogin", (INSPECT, "Config.Labels"), "com.example.team"),
    ({"container.logMaxFiles": 3}, "relogin", (INSPECT, "HostConfig.LogConfig.Config.max-file"), "3"),
    ({"debug.enabled": True}, "relogin", ini("LogStructureScope"), "LogStructureScope=unknown"),
    (
        {"secondFactor.exitInterval": "90s"},
        "relogin",
        ini("SecondFactorAuthenticationExitInterval"),
        "SecondFactorAuthenticationExitInterval=90",
    ),
    (
        {"secondFactor.onTimeout": "restart"},
        "relogin",
        (SHELL, "tr '\\0' '\\n' < /proc/1/environ | grep TWOFA_TIMEOUT_ACTION"),
        "TWOFA_TIMEOUT_ACTION=restart",
    ),
    ({"secondFactor.method": "push"}, "none", (CONTRACT, "second_factor"), "push"),
    (
        {"secondFactor.device": "IB Key"},
        "relogin_second_factor",
        ini("SecondFactorDevice"),
        "SecondFactorDevice=IB\\u0020Key",
    ),
    (
        {"secondFactor.relogin": True},
        "relogin_second_factor",
        ini("ReloginAfterSecondFactorAuthenticationTimeout"),
        "ReloginAfterSecondFactorAuthenticationTimeout=yes",
    ),
]
ELSEWHERE = {
    "account.expected": "like `clients`, it goes to the contract alone",
    "apiSubnet": "test_replacements.py moves the networks",
    "credentials.secretId": "another user; test_bad_input.py has what is refused",
    "credentials.versionId": "only the version it leads to is seen, and a new one is recorded in tests/unit/previews",
}


def test_every_setting_has_a_row_or_a_reason_why_not() -> None:
    assert {setting for change, *_ in EDITS for setting in change} | set(ELSEWHERE) == set(every_setting())


@pytest.fixture(scope="module")
def stack(project: Callable[..., Stack], pulumi: Pulumi) -> Iterator[Stack]:
    made = project(STACK)
    pulumi(UP, stack=made)
    yield made
    pulumi(["destroy", "--yes", "--skip-preview"], stack=made)


@pytest.fixture(scope="module")
def edited() -> dict[str, Any]:
    """All changes so far, laid out as the stack file has them."""
    return {}


def lay_out(edited: dict[str, Any], change: dict[str, Any]) -> None:
    for setting, value in change.items():
        *folders, last = setting.split(".")
        place = edited
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value


@pytest.mark.parametrize(("change", "verdict", "where", "seen"), EDITS, ids=[",".join(row[0]) for row in EDITS])
def test_a_setting_does_what_the_plan_says(
    change: dict[str, Any],
    verdict: str,
    where: tuple[str, str],
    seen: str,
    stack: Stack,
    edited: dict[str, Any],
    project: Callable[..., Stack],
    pulumi: Pulumi,
    run: Callable[..., Completed],
    sandbox: Sandbox,
    docker_client: docker.DockerClient,
) -> None:
    name, user = f"{sandbox.prefix}-{STACK}-main", sandbox.user_of(STACK, "main")

    def logins() -> int:
        return int(sandbox.broker().status()["users"][user]["logins"])

    def look() -> str:
        kind, path = where
        if kind == SHELL:
            started = docker_client.api.exec_create(name, ["bash", "-c", path])
            return bytes(docker_client.api.exec_start(started["Id"])).decode()
        if kind == INSPECT:
            found: Any = docker_client.api.inspect_container(name)
        else:
            deployment = json.loads(pulumi(["stack", "output", "contract", "--json"], stack=stack).stdout)
            found = deployment["gateways"]["main"]
        for key in path.split("."):
            # The contract leaves out what has its default.
            found = found.get(key, {}) if kind == CONTRACT else found[key]
        return json.dumps(found)

    lay_out(edited, change)
    project(STACK, gateways={"main": edited})
    before = logins()
    done = run(shlex.split(f"ibgw plan --stack {STACK} --json"), stack=stack)
    [planned] = json.loads(done.stdout)["gateways"]
    assert planned["verdict"] == verdict
    assert {reason["setting"] for reason in planned["reasons"]} == set(change)
    assert seen not in look()
    pulumi(UP, stack=stack)
    assert logins() - before == (1 if verdict.startswith("relogin") else 0)
    assert seen in look()
