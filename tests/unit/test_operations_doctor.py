"""`ibgw doctor` and `ibgw status`: what each is told, and the one command to run next."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployment.description import SecondFactor
from deployment.errors import ExitCode
from deployment.tables import Kind
from healthcheck.automation.status import parse
from healthcheck.explain import VAGUE
from healthcheck.logs import REASONS
from healthcheck.observation import Attempt, CheckName, CheckObservation
from healthcheck.reasons import Reason
from healthcheck.report import GatewayReport, Report, Vantage, gateway_report
from operations.doctor import Evidence, Observation, collect, examine, next_step, render
from operations.stack import parse_contract
from operations.status import Row, StackStatus, StatusAnswer, age, row_of, table
from tests.unit.commands import check_text
from tests.unit.fake_docker import FakeDocker
from tests.unit.operations_contract import contract_json

CONTRACT = parse_contract(contract_json(), "x")
GATEWAY = CONTRACT.gateways["main"]
NOW = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)  # a Friday, noon in New York


def check(name: CheckName, reason: Reason | None = None, **data: Any) -> CheckObservation:
    return CheckObservation("as seen", reason, data, name=name)


def report(*checks: CheckObservation) -> GatewayReport:
    attempt = Attempt("main", "2026-11-20T17:00:00Z", waited_ms=0, duration_ms=640, last=True, checks=checks)
    return gateway_report(GATEWAY, "paper", attempt, waited=False, took_ms=640, vantage=Vantage(api=True, docker=True))


GOOD = (
    check(CheckName.CONNECTED, latency_ms=12),
    check(CheckName.AUTHENTICATED, accounts=["DU***567"], account_kind="paper"),
)


# Thursday, 19 November 2026, 23:59 in New York, and what became of that restart.
DUE = 1795150740


def told(*, due: int = DUE, done: int = DUE + 12) -> str:
    """A status line of the gateway's first process."""
    return (
        f"v=1 phase=logged_in since={DUE} hold=none until=0 now={DUE + 60} mode=paper automation=ibc "
        f"started={DUE} kind=saved login={DUE} api=ok attempts=0 limit=2 outcomes=none logins=0 factor=0 "
        f"event=auto_restart due={due} done={done} heals=0 healed=none memory=1 clients=0 stopped=none"
    )


def evidence(*checks: CheckObservation, **more: Any) -> Evidence:
    known: dict[str, Any] = {"now": NOW, "status": "running", "jts_zone": "America/New_York", **more}
    return Evidence(CONTRACT, GATEWAY, report(*(checks or GOOD)), **known)


def observed(topic: str, *checks: CheckObservation, **more: Any) -> Observation:
    return next(finding for finding in examine(evidence(*checks, **more)) if finding.topic == topic)


def test_a_healthy_gateway_needs_nothing() -> None:
    findings = examine(evidence())
    assert all(finding.ok for finding in findings)
    assert [finding.topic for finding in findings] == [
        "container",
        "authentication",
        "lockout",
        "port",
        "firewall",
        "settings",
        "second factor",
        "schedule",
        "time zone",
        "debugging",
    ]


@pytest.mark.parametrize(
    ("topic", "reason", "next_step"),
    [
        ("container", Reason.STOPPED, "ibgw start --stack paper --gateway main"),
        ("container", Reason.CRASH_LOOPING, "ibgw logs --stack paper --gateway main"),
        ("authentication", Reason.LOGIN_FAILED, "new version of the secret ibgw/paper/main"),
        ("authentication", Reason.GUARD_HELD, "ibgw login --again --stack paper --gateway main"),
        ("authentication", Reason.ACCOUNT_KIND_MISMATCH, "ibgw stop --stack paper --gateway main"),
        ("authentication", Reason.COMPETING_SESSION, "a user of its own"),
        ("port", Reason.RELAY_ONLY, "ibgw logs --stack paper --gateway main"),
        ("port", Reason.WEDGED, "ibgw restart --stack paper --gateway main"),
        ("firewall", Reason.SERVER_UNREACHABLE, "TCP 4000 and 4001 out of network ibgw-paper-egress"),
        ("settings", Reason.READ_ONLY_UNEXPECTED, "ibgw reset-settings --stack paper --gateway main"),
        ("second factor", Reason.SECOND_FACTOR_PENDING, "approve the login in the IBKR Mobile app"),
        ("second factor", Reason.SECOND_FACTOR_CODE, "ibgw restart --stack paper --gateway main"),
        ("authentication", Reason.DIALOG_BLOCKING, "ibgw restart --stack paper --gateway main"),
        ("container", Reason.PLANNED_RESTART, "wait a few minutes"),
        ("firewall", Reason.MAINTENANCE_WINDOW, "wait until the reset is over"),
    ],
)
def test_each_cause_shows_under_its_topic_and_under_no_other(topic: str, reason: Reason, next_step: str) -> None:
    findings = examine(evidence(check(CheckName.CONNECTED, reason)))
    named = [finding for finding in findings if reason in finding.found]
    assert [finding.topic for finding in named] == [topic]
    assert not named[0].ok
    assert next_step in (named[0].next or "")


def test_whatever_explains_a_failed_connection_has_its_topic() -> None:
    for reason in {*VAGUE, *REASONS.values()} - {Reason.LOCKED_OUT}:  # whose topic tells the time that is left
        findings = examine(evidence(check(CheckName.CONNECTED, reason)))
        assert [finding.topic for finding in findings if reason in finding.found], reason


def test_a_lock_shows_the_time_that_is_left() -> None:
    finding = observed(
        "lockout", check(CheckName.CONNECTED, Reason.LOCKED_OUT), attempts=2, locked_until=NOW + timedelta(seconds=187)
    )
    assert not finding.ok
    assert finding.found == "locked for another 3m 7s; 2 of 2 attempts used with this version of the secret"
    assert "after 17:03:07 UTC: `ibgw login --again --stack paper --gateway main`" in (finding.next or "")


def test_a_lock_that_is_over_needs_a_start() -> None:
    finding = observed(
        "lockout",
        check(CheckName.CONNECTED, Reason.STOPPED),
        locked_until=NOW - timedelta(seconds=60),
        attempts=1,
        status="exited",
    )
    assert not finding.ok
    assert "a lock ended 1m 0s ago" in finding.found
    assert finding.next == "`ibgw start --stack paper --gateway main`"


def test_settings_that_were_never_used_are_told() -> None:
    assert "no jts.ini" in observed("settings", jts_zone=None).found


def test_a_time_zone_that_differs_is_told() -> None:
    finding = observed("time zone", jts_zone="Etc/UTC")
    assert not finding.ok
    assert finding.found == "jts.ini has Etc/UTC, the configuration America/New_York"


def test_what_is_to_be_done_stands_under_what_was_found() -> None:
    text = render(
        "paper/main", [Observation("port", True, "fine", "unused"), Observation("settings", False, "odd", "do it")]
    )
    assert text.splitlines() == ["paper/main", "  ok    port      fine", "  LOOK  settings  odd", " " * 18 + "-> do it"]


@pytest.mark.parametrize(
    ("checks", "begins", "command"),
    [
        ([check(CheckName.CONNECTED, Reason.STOPPED)], "start it: ", "ibgw start --stack paper --gateway main"),
        ([check(CheckName.CONNECTED, Reason.FROZEN)], "let it run on: ", "docker unpause ibgw-paper-main"),
        # Nothing to run before somebody has done it; then the verification says whether it helped.
        (
            [check(CheckName.CONNECTED, Reason.SECOND_FACTOR_PENDING)],
            "approve the login in the IBKR Mobile app",
            "ibgw verify --stack paper --gateway main",
        ),
        # Whoever can trade and must not comes first.
        (
            [
                check(CheckName.CONNECTED, Reason.STOPPED),
                check(CheckName.ISOLATION, Reason.UNDECLARED_CLIENT, attached_strangers=["bot"]),
            ],
            "detach it: ",
            "docker network disconnect ibgw-paper-main-api bot",
        ),
        # A cause that has a topic of its own shows there, and its remedy is what is next all the same.
        (
            [check(CheckName.CONNECTED, Reason.LOCKED_OUT)],
            "wait until the lock ends",
            "pulumi up --stack paper",
        ),
    ],
)
def test_the_last_word_is_one_command(checks: list[CheckObservation], begins: str, command: str) -> None:
    seen = Report.of("paper", [report(*checks)])
    step = next_step("paper", seen, {"main": examine(evidence(*checks))})
    assert step.startswith(begins)
    assert [*check_text(step)] == [command]
    assert step.endswith(f"`{command}`")


def test_a_topic_of_the_doctor_s_own_has_the_last_word_where_nothing_is_red() -> None:
    findings = {"main": examine(evidence(jts_zone="Etc/UTC"))}
    assert next_step("paper", Report.of("paper", [report(*GOOD)]), findings).endswith(
        "ibgw restart --stack paper --gateway main`"
    )
    assert next_step("paper", Report.of("paper", [report(*GOOD)]), {"main": examine(evidence())}) == "nothing to do"


# IBC, TooManyFailedLoginAttemptsDialogHandler: the dialog's text
LOCK = "IBC: Too many failed login attempts. Please wait 4 minutes & 47 seconds before attempting to re-login again."


@pytest.mark.parametrize(
    ("log", "locked_until"),
    [
        (f"2026-11-20T16:58:00.000000000Z {LOCK}\n", NOW + timedelta(minutes=2, seconds=47)),
        (
            f"2026-11-20T16:58:00.000000000Z {LOCK}\n2026-11-20T16:59:00.000000000Z IBC: Login has completed\n",
            None,
        ),
        ("2026-11-20T16:58:00.000000000Z IBC: Login attempt: 1\n", None),
    ],
)
def test_evidence_is_read_from_docker(log: str, locked_until: datetime | None) -> None:
    docker = FakeDocker()
    docker.time = "2026-11-20T17:00:00.000000001Z"
    inspected = {"Id": "a" * 64, "State": {"Status": "running", "Running": True}, "RestartCount": 3}
    docker.objects[Kind.CONTAINER]["ibgw-paper-main"] = inspected
    docker.logs["ibgw-paper-main"] = log.splitlines()
    docker.files = {
        "/home/ibgateway/tws_settings/guard/v1.attempts": "1\n",
        "/home/ibgateway/tws_settings/jts.ini": "[Logon]\nTimeZone=Asia/Tokyo\n",
        "/tmp/ibgw/status": told(),
    }
    read = collect(docker, CONTRACT, report(*GOOD))
    assert (read.status, read.restarts, read.attempts, read.jts_zone) == ("running", 3, 1, "Asia/Tokyo")
    assert read.locked_until == locked_until
    assert read.told is not None
    assert read.told.event == "auto_restart"


def test_a_container_that_is_gone_is_evidence_too() -> None:
    gone = collect(FakeDocker(), CONTRACT, report(check(CheckName.CONNECTED, Reason.CONTAINER_MISSING)))
    assert gone.status is None
    assert [finding.topic for finding in examine(gone) if "container_missing" in finding.found] == ["container"]


# status


def status(*checks: CheckObservation, inspected: dict[str, Any] | None, line: str | None = None) -> Row:
    return row_of(CONTRACT.gateways["main"], report(*checks), inspected, parse(line or told()), NOW)


RUNNING = {"State": {"Running": True, "StartedAt": "2026-11-20T14:58:30.123456789Z"}, "RestartCount": 2}


def test_a_glance_at_a_healthy_gateway() -> None:
    row = status(*GOOD, inspected=RUNNING)
    assert row.cells(NOW) == (
        "main",
        "logged in",
        "2h 1m",
        "DU***567",
        "12 ms",
        "2",
        "10.45.1j bbbbbbbbbbbb",
        "Fri 23:59 America/New_York auto restart",
        "Thu 23:59 auto restart: done after 12s",
    )
    answer = StatusAnswer.of([StackStatus(stack="paper", exit_code=0, gateways=(row,))])
    assert '"since": "2026-11-20T14:58:30+00:00"' in answer.as_json()


@pytest.mark.parametrize(
    ("method", "at", "note"),
    [
        (SecondFactor.PUSH, "13:00", "to be approved on the phone, comes on Sun 2026-11-22 13:00 EST"),
        (SecondFactor.NONE, "13:00", None),
        (SecondFactor.PUSH, None, None),
    ],
)
def test_a_weekly_login_has_a_date(method: SecondFactor, at: str | None, note: str | None) -> None:
    main = CONTRACT.gateways["main"]
    schedule = main.schedule.model_copy(update={"cold_restart": at, "time_zone": "America/New_York"})
    gateway = main.model_copy(update={"schedule": schedule, "second_factor": method})
    row = row_of(gateway, report(*GOOD), RUNNING, None, NOW)
    assert row.weekly_login == (datetime(2026, 11, 22, 18, tzinfo=UTC) if at else None)
    assert row.note is None if note is None else str(row.note).endswith(note)


def test_a_planned_restart_that_did_not_happen_is_told() -> None:
    assert status(*GOOD, inspected=RUNNING, line=told(done=0)).last_planned == "Thu 23:59 auto restart: missed"
    assert status(*GOOD, inspected=RUNNING, line=told(due=0, done=0)).last_planned == ""
    missed = parse(told(done=0))
    assert "23:59 auto restart: missed" in observed("schedule", told=missed).found
    red = observed("schedule", check(CheckName.HYGIENE, Reason.PLAN_MISSED), told=missed)
    assert (red.ok, red.next is not None) == (False, True)


def test_a_glance_names_the_reason_of_what_is_red() -> None:
    row = status(check(CheckName.CONNECTED, Reason.STOPPED), inspected={"State": {"Running": False}, "RestartCount": 0})
    assert row.cells(NOW)[:6] == ("main", "stopped", "-", "-", "-", "0")
    assert status(check(CheckName.CONNECTED, Reason.CONTAINER_MISSING), inspected=None).state == "container_missing"


def shown(row: Row, width: int | None = None) -> str:
    return table([StackStatus(stack="paper", exit_code=0, gateways=(row,))], NOW, width)


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_leaves_out_what_a_terminal_has_no_room_for(width: int) -> None:
    heading, line, left_out = shown(status(*GOOD, inspected=RUNNING), width).splitlines()
    assert max(len(heading), len(line), len(left_out)) <= width
    assert "logged in" in line
    assert "image" not in heading
    assert "--json, shows: image" in left_out


def test_of_several_stacks_each_gateway_has_its_stacks_name() -> None:
    row = replace(status(*GOOD, inspected=RUNNING), note="paused")
    stacks = [
        StackStatus(stack="live", exit_code=ExitCode.OK, error="Stack 'live' has no output yet."),
        StackStatus(stack="paper", exit_code=ExitCode.TIMED_OUT, gateways=(row,)),
        StackStatus(stack="paper-2", exit_code=ExitCode.FAILED, gateways=(row,)),
    ]
    lines = table(stacks, NOW).splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["paper/main", "paper-2/main"]
    assert lines[3:] == ["paper/main: paused", "paper-2/main: paused", "live: Stack 'live' has no output yet."]
    assert StatusAnswer.of(stacks).exit_code == ExitCode.FAILED
    assert StatusAnswer.of([]).exit_code == ExitCode.OK


def test_the_table_is_plain_and_aligned() -> None:
    heading, line = shown(status(*GOOD, inspected=RUNNING)).splitlines()
    assert heading.index("state") == line.index("logged in")
    assert heading.index("image") == line.index("10.45.1j")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (125, "2m 5s"), (3 * 86400 + 4 * 3600 + 59, "3d 4h"), (-5, "0s")]
)
def test_ages_are_short(seconds: int, text: str) -> None:
    assert age(timedelta(seconds=seconds)) == text
