"""`ibgw sandbox scenario`, `clock` and `second-factor` on a broker that runs."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from deployment.description import Mode
from deployment.description import SecondFactor as Configured
from sandbox import cli
from sandbox.broker.users import SecondFactor, User
from sandbox.environment import Sandbox
from sandbox.gateway.automation import GiveUp
from sandbox.secrets_manager import Credential
from tests.helpers import until
from tests.unit.simulated_gateway import SimulatedGateway, simulated_gateway


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedGateway]:
    with simulated_gateway(logged_in=False) as found:

        def running(**given: Any) -> Sandbox:
            return Sandbox(tmp_path, "ibgw-unit", 63, cache=tmp_path / "cache", **given)

        monkeypatch.setattr(cli, "Sandbox", running)
        monkeypatch.setattr(Sandbox, "broker", lambda _: found.control)
        yield found


def ibgw(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


def test_a_scenario_with_a_value_and_back(place: SimulatedGateway) -> None:
    assert ibgw("scenario", "slow:0.5").stdout == "all users: slow:0.5\n"
    assert place.control.status()["users"]["trader"]["scenario"] == "slow:0.5"
    assert ibgw("scenario", "normal").exit_code == 0
    assert place.control.status()["users"]["trader"]["scenario"] == "normal"


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("slow:x", "error: the scenario slow takes seconds from 0 to 3600 after its colon, found 'x'"),
        ("nonsense", "error: unknown scenario 'nonsense'; expected one of normal, "),
    ],
)
def test_a_wrong_scenario_is_bad_usage(text: str, refusal: str, place: SimulatedGateway) -> None:
    result = ibgw("scenario", text)
    assert result.exit_code == 2  # bad usage (docs/reference.md)
    assert result.stderr.startswith(refusal)
    assert result.stderr.endswith("; ibgw sandbox scenarios lists them\n")


def test_the_clock(place: SimulatedGateway) -> None:
    assert ibgw("clock", "--at", "2026-11-22T05:59:00").stdout == "2026-11-22T05:59:00+00:00, speed 1\n"
    assert ibgw("clock", "--at", "2026-11-22T00:59:00-05:00").stdout == "2026-11-22T05:59:00+00:00, speed 1\n"
    assert ibgw("clock", "--speed", "600").stdout.endswith(", speed 600\n")
    assert ibgw("clock").stdout.endswith(", speed 600\n")
    assert ibgw("clock", "--real").stdout.endswith(", speed 1\n")


@pytest.mark.parametrize(
    ("option", "value", "refusal"),
    [
        ("--at", "soon", "error: --at is 'soon'; expected an ISO date and time like 2026-11-22T05:59:00\n"),
        ("--speed", "0", "error: the clock's speed is 0.0; expected a number above 0\n"),
    ],
)
def test_a_wrong_clock_is_bad_usage(option: str, value: str, refusal: str, place: SimulatedGateway) -> None:
    result = ibgw("clock", option, value)
    assert result.exit_code == 2
    assert result.stderr == refusal


def test_what_the_broker_counted(place: SimulatedGateway) -> None:
    """A login whose connection goes without a logout, and one that is refused."""

    async def one(**ini: str) -> None:
        await (await place.automation(**ini).log_in()).link.close()

    place.run(one())
    with pytest.raises(GiveUp):
        place.run(one(IbLoginId="pusher", IbPassword="nonsense"))
    until(lambda: not place.control.status()["users"]["trader"]["sessions"])
    names = ["attempts", "logins", "soft_logins", "logouts", "sessions", "stranded"]
    expected = {"trader": [1, 1, 0, 0, 0, 1], "pusher": [1, 0, 0, 0, 0, 0]}
    found = ibgw("users", "--json").stdout
    assert json.loads(found) == {user: dict(zip(names, row, strict=True)) for user, row in expected.items()}
    table = [line.split() for line in ibgw("users").stdout.splitlines()]
    assert table == [["user", *names], *([user, *map(str, row)] for user, row in expected.items())]
    assert "right" not in found


RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # noqa: S105 - RFC 6238, appendix B
PEOPLE = [
    User("tapper", "right", (), ("DU1111111",), SecondFactor.PUSH),
    User("coder", "right", (), ("DU2222222",), SecondFactor.TOTP, RFC_SECRET),
]

CODER = Credential(
    secret_id="s",  # noqa: S106 - its name
    region="us-east-1",
    mode=Mode.PAPER,
    second_factor=Configured.NONE,
    version_id="v1",
    user_id="coder",
    password="right",  # noqa: S106 - made up
    account="DU2222222",
    totp_secret=RFC_SECRET,
)


@pytest.mark.parametrize(
    ("user", "scenario", "answers", "outcome"),
    [
        ("tapper", "push-pending", [("approve", 1)], "logged in"),
        ("tapper", "push-pending", [("code", 0), ("deny", 1)], "not logged in"),
        ("coder", "normal", [("approve", 0), ("code", 1)], "logged in"),
    ],
)
def test_a_person_answers_the_second_factor(
    user: str,
    scenario: str,
    answers: list[tuple[str, int]],
    outcome: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli, "Sandbox", lambda **given: Sandbox(tmp_path, "ibgw-unit", 63, cache=tmp_path, **given))
    monkeypatch.setattr(Sandbox, "credentials", lambda _: [CODER])
    with simulated_gateway(*PEOPLE, logged_in=False) as place:
        monkeypatch.setattr(Sandbox, "broker", lambda _: place.control)
        place.control.scenario(scenario)

        async def log_in() -> str:
            try:
                await place.automation(IbLoginId=user).log_in()
            except GiveUp:
                return "not logged in"
            return "logged in"

        login = asyncio.run_coroutine_threadsafe(log_in(), place.loop)
        until(lambda: place.control.status()["users"][user]["second_factor_waiting"])
        for answer, count in answers:
            found = ibgw("second-factor", answer)
            assert f"{answer}: {count} waiting login{'' if count == 1 else 's'} answered\n" in found.stdout
        if outcome == "logged in":
            assert login.result(20) == outcome
        else:
            assert place.control.status()["users"][user]["logins"] == 0
            login.cancel()
