"""What the verification says of each of the broker's scenarios: the session and the checks themselves against the
simulated gateway, its log through the code that explains. The broker is told what to be, and never asked.

Expected values are written from what is known of the real gateway; the source stands beside each. Codes are those of
the TWS API reference, Message Codes; log lines those of IBC 3.24.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from healthcheck import runner
from healthcheck.explain import explained
from healthcheck.logs import read
from healthcheck.session import Timeouts
from healthcheck.verdict import check_verdict
from sandbox.broker.scenarios import SCENARIOS
from tests.unit.fake_docker import VerifyingDocker
from tests.unit.gateway_sim_start import Installation, end
from tests.unit.gateways import HEX, gateway, run_checks, stack
from tests.unit.simulated_gateway import INI, SimulatedGateway, simulated_gateway
from tests.unit.test_gateway_sim_login import login_ending
from tests.unit.tws_server import hang_up, serving

ZONE = "America/New_York"  # of the gateway in tests/unit/gateways.py, and of its log
MONDAY_NOON = 1_795_453_200.0  # 2026-11-23 12:00 in New York: no reset of IBKR's, no planned restart
SATURDAY_NOON = MONDAY_NOON - 2 * 86_400

API = ("reachable", "connected", "authenticated", "account_access", "market_data", "order_capability")
ALL_PASS: dict[str, str] = {}


def cut(check: str, reason: str) -> dict[str, str]:
    """A session that fails here: everything after it is skipped."""
    return {check: f"fail {reason}"} | dict.fromkeys(API[API.index(check) + 1 :], "skipped")


def no_login(reason: str) -> dict[str, str]:
    """The image's relay accepts before the login and finds the gateway's own port closed (1.4, `Forking :::`)."""
    return cut("connected", reason)


def of_account(reason: str) -> dict[str, str]:
    return {"account_access": f"fail {reason}", "order_capability": "skipped"}


@pytest.fixture(autouse=True)
def container_zone() -> Iterator[None]:
    """Java and IBC log in the container's zone, which is the gateway's."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = ZONE
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@dataclass
class View:
    """The gateway's log, as Docker would show it, and the switch of the scenarios."""

    place: SimulatedGateway
    capture: pytest.CaptureFixture[str]
    lines: list[str] = field(default_factory=list)

    def log(self) -> list[str]:
        self.lines += self.capture.readouterr().out.splitlines()
        return self.lines

    def logged(self, *endings: str) -> None:
        """These lines come in this order, others between them or not."""

        def found() -> bool:
            rest = iter(self.log())
            return all(any(line.endswith(ending) for line in rest) for ending in endings)

        self.until(found, endings)

    def until(self, seen: Callable[[], object], what: object) -> None:
        deadline = time.monotonic() + 20
        while not seen():
            assert time.monotonic() < deadline, f"never seen: {what}; log: {self.log()}"
            time.sleep(0.02)


def verified(
    port: int, lines: list[str], *, now: float = MONDAY_NOON, timeouts: Timeouts | None = None, **changes: Any
) -> dict[str, str]:
    """What is said of each check that does not simply pass."""
    one = gateway(port, **changes)
    checks = asyncio.run(run_checks(one, timeouts=timeouts))
    found = explained(checks, read(lines), one, datetime.fromtimestamp(now, UTC))
    assert [check.name.value for check in found] == list(API)
    said = {check.name.value: f"{check_verdict(check, one)} {check.reason or ''}".strip() for check in found}
    return {name: verdict for name, verdict in said.items() if verdict != "pass"}


# --- gateways that are logged in ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """`first`: a scenario before this one. `logged`: what the log shows before anybody looks."""

    expected: dict[str, str]
    first: str = ""
    at: float = MONDAY_NOON
    logged: tuple[str, ...] = ()
    timeouts: Timeouts = field(default_factory=Timeouts)


API_ROWS: dict[str, Seen] = {
    "normal": Seen(ALL_PASS),
    # An accepting port that never answers the handshake (gnzsnz/ib-gateway-docker#336).
    "api-wedged": Seen(cut("connected", "wedged"), timeouts=Timeouts(handshake=0.5)),
    "api-silent": Seen(cut("authenticated", "not_logged_in"), timeouts=Timeouts(ready=1.5)),
    "session-ends:600": Seen(ALL_PASS),
    "deaf": Seen(ALL_PASS),
    # managedAccounts without nextValidId (heshiming/ibga#24).
    "api-half-open": Seen(cut("authenticated", "half_open"), timeouts=Timeouts(ready=1.5)),
    "account-list-empty": Seen(cut("authenticated", "no_accounts"), timeouts=Timeouts(ready=1.5)),
    # Paper accounts begin with D (QuantConnect/Lean.Brokerages.InteractiveBrokers).
    "account-kind-swapped": Seen(cut("authenticated", "account_kind_mismatch")),
    "summary-empty": Seen(of_account("no_account_summary")),
    "summary-insane": Seen(of_account("implausible_summary")),
    # 354: not subscribed; 10168: delayed is not enabled.
    "no-entitlement": Seen({"market_data": "warn no_entitlement"}, timeouts=Timeouts(quote=1.5)),
    # 10089 or 354 for live, 10167 and delayed ticks for delayed.
    "extra-subscription": Seen({"market_data": "warn delayed_data"}),
    "delayed-only": Seen({"market_data": "warn delayed_data"}),
    # 10197: extrange/ibkr-docker#64, #102.
    "competing-live-session": Seen({"market_data": "warn competing_market_data"}),
    # Market closed: no ticks is normal, frozen ones come (TWS API reference, Market Data Types).
    "market-closed": Seen(
        {"market_data": "warn market_closed"}, at=SATURDAY_NOON, timeouts=Timeouts(closed_market_quote=1.5)
    ),
    "market-hours": Seen(
        {"market_data": "warn market_closed"}, at=SATURDAY_NOON, timeouts=Timeouts(closed_market_quote=1.5)
    ),
    # 2103; 2105 (history) and 2157 (definitions) cost a quote nothing.
    "farm-broken": Seen({"market_data": "warn farm_broken"}, timeouts=Timeouts(quote=1.5)),
    "farm-broken:history": Seen(ALL_PASS),
    "order-rejected": Seen({"order_capability": "warn order_rejected"}),  # 201
    "order-no-margin": Seen({"order_capability": "warn no_margin_figures"}, timeouts=Timeouts(request=2.0)),
    # 321 though READ_ONLY_API=no (gnzsnz/ib-gateway-docker#267, #447).
    "read-only": Seen({"order_capability": "fail read_only_unexpected"}),
    # 1100, and 2110 to who connects meanwhile.
    "connectivity-lost": Seen(cut("authenticated", "connectivity_lost")),
    "connectivity-restored": Seen(ALL_PASS, first="connectivity-lost"),  # 1102
    "connectivity-restored-data-lost": Seen(ALL_PASS, first="connectivity-lost"),  # 1101: a new client lost nothing
    "slow:0.2": Seen(ALL_PASS),
    # `primary` keeps its session (IBC).
    "session-taken-over": Seen(ALL_PASS, logged=("and let the other session exit (scenario 5)",)),
}


@contextmanager
def running(capture: pytest.CaptureFixture[str], **ini: str) -> Iterator[tuple[View, int]]:
    """A gateway that is logged in, on a Monday at noon, and its port."""
    with simulated_gateway(logged_in=True, **ini) as place:
        assert place.server is not None
        place.server.timing = replace(place.server.timing, tick=0.05)
        place.control.clock(at=MONDAY_NOON)
        yield View(place, capture), place.api_port


@pytest.mark.parametrize("name", API_ROWS)
def test_a_gateway_that_is_logged_in(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    row = API_ROWS[name]
    with running(capsys) as (view, port):
        place = view.place
        place.control.clock(at=row.at)
        for scenario in filter(None, (row.first, name)):
            place.control.scenario(scenario)
        view.logged("Login has completed", *row.logged)
        assert verified(port, view.log(), now=row.at, timeouts=row.timeouts) == row.expected
        place.control.scenario("normal")
        server = place.server
        view.until(lambda: server is not None and not server.clients, "the verifier's connection is gone")
        left = [line for line in place.log if line.startswith("remove Client")]
        assert left in ([], ["remove Client 998"]), "one connection, one client id"
        user = place.control.status()["users"]["trader"]
        assert user["orders"] == 0
        place.control.clock(at=MONDAY_NOON)
        assert verified(port, view.log()) == ALL_PASS, "and afterwards"


# --- logins that do not come to a session -------------------------------------------------------------------------


@dataclass(frozen=True)
class Login:
    """`minutes`: how long after it began somebody looks."""

    expected: dict[str, str]
    until: tuple[str, ...] = ()  # lines after which it is looked at; empty: when the attempt is over
    minutes: float = 1
    ini: dict[str, str] = field(default_factory=dict)


PUSHED = ("Second Factor Authentication initiated",)

LOGIN_ROWS: dict[str, Login] = {
    # No handler (gnzsnz/ib-gateway-docker#252, #253).
    "wrong-password": Login(no_login("login_failed")),
    "login-failed-restart": Login(no_login("login_failed")),
    "login-error": Login(no_login("login_failed")),
    "locked-out": Login(no_login("locked_out")),
    "login-server-down": Login(no_login("server_unreachable")),
    # NotCurrentlyAvailableDialogHandler: nothing tries again.
    "system-unavailable": Login(no_login("system_unavailable")),
    # IBC logs the title alone, which tells neither of these two from the other.
    "version-refused": Login(no_login("dialog_blocking")),
    "dialog-blocking": Login(no_login("dialog_blocking")),
    "push-pending": Login(no_login("second_factor_pending"), until=PUSHED),
    # A push message lasts 180 s (SecondFactorAuthenticationTimeout); a code is waited for without end.
    "totp-required": Login(no_login("second_factor_code"), until=PUSHED, minutes=5),
    "push-unanswered": Login(no_login("second_factor_timeout")),
    "push-denied": Login(
        no_login("second_factor_denied"), until=("Second Factor Authentication; event=Closed", "seconds")
    ),
    # ExistingSessionDetectedDialogHandler, scenario 4
    "competing-session": Login(no_login("competing_session")),
    # Reported for hours (ibg-controller's documentation); scenario 2.
    "session-stranded": Login(
        no_login("competing_session"), ini={"IbLoginId": "pusher", "ExistingSessionDetectedAction": "secondary"}
    ),
}


@pytest.mark.parametrize("name", LOGIN_ROWS)
def test_a_login_that_does_not_come_to_a_session(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    row = LOGIN_ROWS[name]
    with simulated_gateway(logged_in=False) as place, serving(talk=hang_up) as relay:
        view = View(place, capsys)
        place.control.clock(at=MONDAY_NOON)
        place.control.scenario(name)
        if name == "session-stranded":
            place.run(broken_off(place))
            capsys.readouterr()  # the log of the one that is gone
        tried: Future[str] = asyncio.run_coroutine_threadsafe(login_ending(place.automation(**row.ini)), place.loop)
        try:
            if row.until:
                view.logged(*row.until)
            else:
                assert tried.result(20) != "logged in"
            assert verified(relay.port, view.log(), now=MONDAY_NOON + row.minutes * 60) == row.expected
        finally:
            tried.cancel()


async def broken_off(place: SimulatedGateway) -> None:
    logged_in = await place.automation(IbLoginId="pusher").log_in()
    await logged_in.link.close()


def test_a_gateway_whose_week_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    """weekly-login, IBKR's rule (IBC#23, #246): IBC clicks the dialog and types no password, so it stays like that."""
    with running(capsys) as (view, port):
        view.place.control.scenario("weekly-login")
        view.logged("Login has completed", "Re-login to session")
        assert verified(port, view.log()) == cut("authenticated", "relogin_required")
        server = view.place.server
        view.until(lambda: server is not None and not server.clients, "the verifier's connection is gone")


def test_a_gateway_that_restarts_itself(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """nightly-restart. ibcstart.sh: an autorestart file; IBC: `Re-starting session`."""
    with simulated_gateway(logged_in=False) as place, serving(talk=hang_up) as relay:
        place.control.clock(at=MONDAY_NOON)
        process = Installation(tmp_path, place.broker_port).start(**INI, AutoRestartTime="11:59 PM")
        try:
            assert process.stdout is not None
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                if lines[-1].endswith("Configuration tasks completed"):
                    place.control.scenario("nightly-restart")
                if lines[-1].endswith("IBC: Re-starting session"):
                    break
        finally:
            end(process)
        assert verified(relay.port, lines) == no_login("planned_restart")


# --- what only Docker shows ---------------------------------------------------------------------------------------

API_NETWORK, EGRESS = "ibgw-paper-main-api", "ibgw-paper-egress"

# Each with the container's state: exit codes of ibcstart.sh and IBC (1.5), 137 and OOMKilled by the kernel.
DOCKER_ROWS: dict[str, tuple[dict[str, Any], str, str]] = {
    "crash-at-start": (
        {"status": "restarting", "restarts": 4, "exit_code": 76},
        "reachable: fail crash_looping",
        "restarted 4 times, last with exit code 76, IBC failed unexpectedly",
    ),
    "crash-at-start:4": (
        {"status": "restarting", "restarts": 4, "exit_code": 4},
        "reachable: fail crash_looping",
        "restarted 4 times, last with exit code 4, the gateway's program files are missing",
    ),
    "slow-form": (
        {"status": "restarting", "restarts": 4, "exit_code": 88},
        "reachable: fail crash_looping",
        "restarted 4 times, last with exit code 88, the login form did not appear",
    ),
    "memory-growth": (
        {"status": "exited", "exit_code": 137, "oom": True},
        "reachable: fail stopped",
        "the container is exited (exit code 137, out of memory)",
    ),
}


@pytest.mark.parametrize("name", DOCKER_ROWS)
def test_what_only_docker_shows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state, expected, seen = DOCKER_ROWS[name]
    host = VerifyingDocker(API_NETWORK, EGRESS)
    host.add_image(f"sha256:{HEX}")
    networks = (API_NETWORK, EGRESS)
    host.add_container("ibgw-paper-main", container_id="a" * 64, networks=networks, **state)
    monkeypatch.setattr(runner, "DockerHost", lambda address: host)
    monkeypatch.setattr(runner, "janitor", lambda address: nullcontext())
    report = runner.verify(stack(), wait=3600, progress=lambda line: None)
    check = report.gateways[0].checks[0]
    assert (f"{check.name}: {check.verdict} {check.reason}", check.seen) == (expected, seen)
    assert [other.verdict.value for other in report.gateways[0].checks[1:6]] == ["skipped"] * 5
    if name == "memory-growth":
        assert check.steps[0].startswith("raise ibgw:gateways.main.resources.memory")
        assert "ibgw start" in check.steps[-1], "an update in place starts nothing"


def test_every_scenario_has_a_row() -> None:
    # Those for a screen's windows are in tests/engine/test_second_factor.py.
    rows = [*API_ROWS, *LOGIN_ROWS, *DOCKER_ROWS, "nightly-restart", "weekly-login", "totp-devices", "totp-hindered"]
    assert {name.partition(":")[0] for name in rows} == SCENARIOS.keys()


# --- look-alikes --------------------------------------------------------------------------------------------------


def test_a_session_that_was_taken_over_is_no_login_that_gave_way(capsys: pytest.CaptureFixture[str]) -> None:
    """The same line of IBC (scenario 2), after a login and before one."""
    with running(capsys, ExistingSessionDetectedAction="secondary") as (view, _), serving(talk=hang_up) as relay:
        view.place.control.scenario("session-taken-over")
        view.logged("Login has completed", "End this session and let the other session proceed (scenario 2)")
        assert verified(relay.port, view.log()) == no_login("session_taken_over")


def test_a_taken_over_session_that_goes_on_is_not_blamed_later(capsys: pytest.CaptureFixture[str]) -> None:
    with running(capsys) as (view, port):
        view.place.control.scenario("session-taken-over")
        view.logged("and let the other session exit (scenario 5)")
        view.place.control.scenario("api-wedged")
        assert verified(port, view.log(), timeouts=Timeouts(handshake=0.5)) == cut("connected", "wedged")
