"""What the hours and the log add to what the API shows; never a pass."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from healthcheck.automation.status import Status, parse
from healthcheck.explain import explained
from healthcheck.logs import Reading, read
from healthcheck.maintenance import reset_at
from healthcheck.observation import CheckName, CheckObservation, Observation
from healthcheck.reasons import Reason, Retry
from healthcheck.remedies import steps
from healthcheck.second_factor.handover import MEANINGS, Phase
from healthcheck.verdict import CheckVerdict, check_verdict
from tests.unit.gateways import gateway

NEW_YORK = "America/New_York"
QUIET = "2026-11-23 12:00"  # a Monday


def at(local: str, zone: str = NEW_YORK) -> datetime:
    return datetime.strptime(local, "%Y-%m-%d %H:%M").replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


# IBKR's page System Status: daily resets from Sunday to Friday, and the weekend's from Friday 23:00 to Saturday 03:00.
RESETS: list[tuple[str, str, str, str | None]] = [
    ("2026-11-23 00:14", NEW_YORK, NEW_YORK, None),
    ("2026-11-23 00:15", NEW_YORK, NEW_YORK, "North America) until 01:45 America/New_York"),
    ("2026-11-23 01:44", NEW_YORK, NEW_YORK, "North America) until 01:45"),
    ("2026-11-23 01:45", NEW_YORK, NEW_YORK, None),
    ("2026-11-28 01:00", NEW_YORK, NEW_YORK, "all regions) until 03:00"),  # a Saturday, the weekend's
    ("2026-11-27 22:59", NEW_YORK, NEW_YORK, None),
    ("2026-11-27 23:00", NEW_YORK, NEW_YORK, "all regions) until 03:00"),
    ("2026-11-28 02:59", NEW_YORK, NEW_YORK, "all regions) until 03:00"),
    ("2026-11-28 03:00", NEW_YORK, NEW_YORK, None),
    ("2026-11-27 23:30", NEW_YORK, "Asia/Tokyo", "all regions) until 03:00"),
    ("2026-11-23 07:00", "Europe/Zurich", "Europe/London", "Europe) until 07:45 Europe/Zurich"),
    ("2026-11-23 07:00", "Europe/Zurich", NEW_YORK, "North America)"),  # 01:00 there
    ("2026-11-23 20:30", "Asia/Hong_Kong", "Australia/Sydney", "Asia-Pacific) until 21:15 Asia/Hong_Kong"),
    ("2026-11-23 20:30", "Asia/Hong_Kong", NEW_YORK, None),
    ("2026-11-23 20:30", "Asia/Hong_Kong", "Etc/UTC", "Asia-Pacific)"),
    ("2026-11-28 20:30", "Asia/Hong_Kong", "Asia/Tokyo", None),  # a Saturday
]


@pytest.mark.parametrize(("local", "zone", "gateways_zone", "expected"), RESETS)
def test_ibkrs_resets(local: str, zone: str, gateways_zone: str, expected: str | None) -> None:
    found = reset_at(at(local, zone), gateways_zone)
    assert (found is None) if expected is None else (found is not None and expected in found)


def failed(reason: Reason, name: CheckName = CheckName.AUTHENTICATED) -> CheckObservation:
    return Observation("seen", reason).by(name, duration_ms=7)


def explain(check: CheckObservation, local: str = QUIET, log: tuple[str, ...] = ()) -> CheckObservation:
    reading = read(f"ibgw: {line}" if "held:" in line else f"2026-11-23 11:59:00:123 IBC: {line}" for line in log)
    [found] = explained([check], reading, gateway(), at(local))
    assert check_verdict(found, gateway()) is CheckVerdict.FAIL
    return found


IN_RESET = "2026-11-23 00:30"
JUST_RESTARTING = "2026-11-23 00:01"  # two minutes after the planned 23:59
UNREACHABLE_SERVER = "Connection to server failed: Server disconnected, please try again"


@pytest.mark.parametrize(
    ("reason", "local", "log", "expected"),
    [
        (Reason.CONNECTIVITY_LOST, QUIET, (), "connectivity_lost"),
        (Reason.CONNECTIVITY_LOST, IN_RESET, (), "maintenance_window"),
        (Reason.RELAY_ONLY, QUIET, (UNREACHABLE_SERVER,), "server_unreachable"),
        (Reason.RELAY_ONLY, IN_RESET, (UNREACHABLE_SERVER,), "maintenance_window"),
        (Reason.RELAY_ONLY, IN_RESET, (), "relay_only"),
        (Reason.WEDGED, IN_RESET, (), "wedged"),
        (Reason.RELAY_ONLY, IN_RESET, ("Login failed",), "login_failed"),
        (Reason.RELAY_ONLY, IN_RESET, ("held: attempts: unreachable",), "server_unreachable"),
        (Reason.RELAY_ONLY, JUST_RESTARTING, ("held: attempts: unreachable",), "server_unreachable"),
        (Reason.ACCOUNT_KIND_MISMATCH, IN_RESET, (), "account_kind_mismatch"),
        (Reason.RELAY_ONLY, JUST_RESTARTING, (), "planned_restart"),
        (Reason.PORT_CLOSED, JUST_RESTARTING, ("Re-starting session",), "planned_restart"),
        (Reason.WEDGED, JUST_RESTARTING, (), "wedged"),
        (Reason.RELAY_ONLY, JUST_RESTARTING, ("Login failed",), "login_failed"),
        (Reason.RELAY_ONLY, JUST_RESTARTING, ("Second Factor Authentication initiated",), "second_factor_pending"),
        (Reason.RELAY_ONLY, "2026-11-22 23:58", (), "relay_only"),
        (Reason.RELAY_ONLY, "2026-11-23 00:05", (), "relay_only"),
        (Reason.RELAY_ONLY, "2026-11-22 07:06", (), "planned_restart"),  # the cold restart, on a Sunday
    ],
)
def test_the_cause_that_hours_and_log_give(reason: Reason, local: str, log: tuple[str, ...], expected: str) -> None:
    found = explain(failed(reason), local, log)
    assert found.reason == expected
    assert found.data.get("seen_through_api", reason) == reason
    assert found.duration_ms == 7


def test_a_planned_restart_is_named_with_its_time() -> None:
    found = explain(failed(Reason.PORT_CLOSED), JUST_RESTARTING)
    assert found.seen == "seen; planned: auto restart at 23:59 America/New_York"


def test_the_end_of_a_reset_is_named() -> None:
    found = explain(failed(Reason.CONNECTIVITY_LOST), IN_RESET)
    assert found.seen == "seen; IBKR resets its servers (North America) until 01:45 America/New_York"


def test_what_passes_is_left_alone() -> None:
    passed = Observation("seen").by(CheckName.CONNECTED)
    assert explained([passed], Reading(), gateway(), at(IN_RESET)) == (passed,)


def test_what_failed_stays_failed_though_the_cause_would_only_warn() -> None:
    """A connection that drops is our side's business, IBKR's reset is not; the check need not pass."""
    found = explain(failed(Reason.CONNECTION_DROPPED, CheckName.MARKET_DATA), IN_RESET, (UNREACHABLE_SERVER,))
    assert (found.reason, found.data["seen_through_api"]) == ("maintenance_window", "connection_dropped")


PUSH = (
    "detected dialog entitled: Second Factor Authentication; event=Opened",
    "Second Factor Authentication initiated",
)


@pytest.mark.parametrize(
    ("local", "expected"),
    [("2026-11-23 12:01", "second_factor_pending"), ("2026-11-23 12:03", "second_factor_code")],
)
def test_a_second_factor_that_waits_longer_than_a_push_lasts_wants_a_code(local: str, expected: str) -> None:
    """IBC, SecondFactorAuthenticationTimeout: 180 s. Its stamps are in the gateway's zone."""
    assert explain(failed(Reason.RELAY_ONLY), local, PUSH).reason == expected


@pytest.mark.parametrize(
    ("stamp", "utc", "expected"),
    [
        # In New York, clocks went forward at 02:00 on 2026-03-08 and back at 02:00 on 2026-11-01.
        ("2026-03-08 01:59:30", "2026-03-08 07:00", "second_factor_pending"),
        ("2026-11-01 01:30:00", "2026-11-01 05:31", "second_factor_pending"),
        ("2026-11-01 01:30:00", "2026-11-01 06:31", "second_factor_pending"),
        ("2026-11-01 01:30:00", "2026-11-01 06:35", "second_factor_code"),
    ],
)
def test_a_clock_that_is_put_forward_or_back_makes_no_push_longer(stamp: str, utc: str, expected: str) -> None:
    reading = read([f"{stamp}:123 IBC: Second Factor Authentication initiated"])
    [found] = explained([failed(Reason.RELAY_ONLY)], reading, gateway(), at(utc, "Etc/UTC"))
    assert found.reason == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("none", "second_factor_pending"),
        ("waiting", "second_factor_typing"),
        ("submitted", "second_factor_typing"),
        ("window_in_front", "second_factor_untyped"),
        ("clock", "second_factor_untyped"),
        ("held", "second_factor_held"),
        ("some_later_word", "second_factor_pending"),
    ],
)
def test_what_types_codes_says_how_far_it_is(code: str, expected: str) -> None:
    [found] = explained(
        [failed(Reason.RELAY_ONLY)],
        read(["2026-11-23 12:00:00:123 IBC: Second Factor Authentication initiated"]),
        gateway(),
        at("2026-11-23 12:01", "America/New_York"),
        status=status(phase="second_factor", code=code),
    )
    assert found.reason == expected


def test_every_phase_has_a_meaning() -> None:
    assert {*MEANINGS} == {*Phase}


LOGGED_IN = ("Login has completed",)


def status(**changes: object) -> Status:
    """What a gateway's first process tells that is logged in."""
    known = {
        "v": 1, "phase": "logged_in", "since": 1, "hold": "none", "until": 0, "now": 2, "mode": "paper",
        "automation": "ibc", "started": 1, "kind": "password", "login": 1, "api": "ok", "attempts": 0, "limit": 2,
        "outcomes": "none", "logins": 0, "factor": 0, "event": "none", "due": 0, "done": 0, "heals": 0,
        "healed": "none", "memory": 1, "clients": 0, "stopped": "none",
    } | changes  # fmt: skip
    return parse(" ".join(f"{key}={value}" for key, value in known.items()))


def told(
    reason: Reason, lines: tuple[str, ...], seen: Status | None = None, *, quiet: int = 0, clients: int = 0
) -> CheckObservation:
    """`quiet`: minutes."""
    stamped = [line if line.startswith("ibgw") else f"2026-11-23 12:00:00:123 IBC: {line}" for line in lines]
    [found] = explained(
        [failed(reason)],
        read(stamped),
        gateway(),
        at(QUIET),
        status=seen,
        quiet=timedelta(minutes=quiet),
        clients=clients,
    )
    return found


@pytest.mark.parametrize("api", [Reason.NOT_LOGGED_IN, Reason.RELAY_ONLY, Reason.CONNECTION_DROPPED])
@pytest.mark.parametrize(("clients", "seen"), [(32, None), (33, status()), (0, status(api="full"))])
def test_a_gateway_without_a_free_place_is_logged_in(api: Reason, clients: int, seen: Status | None) -> None:
    found = told(api, LOGGED_IN, seen, clients=clients)
    assert (found.reason, found.data["seen_through_api"]) == ("clients_full", api)


def test_clients_alone_are_no_reason() -> None:
    assert told(Reason.RELAY_ONLY, LOGGED_IN, status(), clients=31).reason == "relay_only"
    assert told(Reason.RELAY_ONLY, ("Login attempt: 1",), clients=32).reason == "starting"
    assert told(Reason.PORT_CLOSED, PUSH, status(api="full"), clients=32).reason == "second_factor_pending"


@pytest.mark.parametrize(
    "lines",
    [("Login attempt: 1",), ("Starting session: will exit",), ("Re-starting session",), ("ibgw: attempt 1 of 2",),
     ("ibgw: heal: soft_restart",)],
)  # fmt: skip
def test_what_has_said_nothing_for_longer_than_a_start_takes_stands_still(lines: tuple[str, ...]) -> None:
    assert told(Reason.RELAY_ONLY, lines, quiet=9).reason in ("starting", "planned_restart", "healing")
    still = told(Reason.RELAY_ONLY, lines, quiet=11)
    assert still.reason == "start_stuck"
    assert still.seen.endswith("and nothing since, for 11 min")


def test_what_waits_for_somebody_may_be_quiet() -> None:
    assert told(Reason.RELAY_ONLY, PUSH, quiet=60).reason == "second_factor_pending"
    assert told(Reason.RELAY_ONLY, ("Other session may be primary, so end this session",), quiet=60).reason == (
        "competing_session"
    )


@pytest.mark.parametrize(
    ("line", "outcomes", "because"),
    [
        ("ibgw: waiting: pause until 1795453200", "competing_session", Reason.COMPETING_SESSION),
        ("ibgw: waiting: pause until 1795453200", "rejected", Reason.LOGIN_FAILED),
        ("ibgw: waiting: pause until 1795453200", "rejected,unknown", Reason.LOGIN_FAILED),
        ("ibgw: waiting: pause until 1795453200", "unknown", None),
        ("ibgw: held: attempts: unknown", "competing_session,unknown", Reason.COMPETING_SESSION),
        ("ibgw: held: attempts: unknown", "unreachable,unknown", Reason.SERVER_UNREACHABLE),
        ("ibgw: held: attempts: unknown", "rejected,unknown", None),
        ("ibgw: held: attempts: unknown", "none", None),
    ],
)
def test_how_the_attempts_before_ended_is_remembered(line: str, outcomes: str, because: Reason | None) -> None:
    found = told(Reason.RELAY_ONLY, (line,), status(phase="pause", outcomes=outcomes))
    assert found.because is because
    asked = [step for step in steps(found, gateway(), "paper") if "ibgw credentials put" in step]
    wanted = because is Reason.LOGIN_FAILED or (because is None and "held" in line)
    assert bool(asked) is wanted, "a new secret only where the old one may be wrong"


@pytest.mark.parametrize(
    ("lines", "retry"),
    [
        (("ibgw: attempt 1 of 2", "Login attempt: 1", "Login failed"), Retry.RESTART),
        (("ibgw: attempt 2 of 2", "Login attempt: 1", "Login failed"), Retry.AGAIN),
        (("ibgw: attempt 2 of 2", "Other session may be primary, so end this session"), Retry.AGAIN),
        # The next start would wait for a quarter of an hour; one of an earlier version has nothing to be let go of.
        (("ibgw: attempt 1 of 2", "Other session may be primary, so end this session"), Retry.AGAIN),
        (("Other session may be primary, so end this session",), Retry.RESTART),
        (("ibgw: held: logins: 5 within an hour ended by themselves",), Retry.AGAIN),
        (("ibgw: held: volume: another container has it",), Retry.RESTART),
    ],
)
def test_how_it_logs_in_once_more_follows_from_its_attempts(lines: tuple[str, ...], retry: Retry) -> None:
    assert told(Reason.RELAY_ONLY, lines).retry is retry
