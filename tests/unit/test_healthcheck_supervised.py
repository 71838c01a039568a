"""A gateway with a first process of ours, and launcher.log, as the runner sees them."""

from typing import Any

import pytest

from healthcheck import gateway_run, runner
from healthcheck.attachments import Attachments
from healthcheck.automation.status import PATH
from healthcheck.docker_host import DockerError
from healthcheck.gateway_container import GatewayContainer, Obstacle
from healthcheck.reasons import Reason
from healthcheck.report import CheckResult, Report
from tests.unit.fake_docker import SETTINGS, VerifyingDocker
from tests.unit.gateways import gateway, stack
from tests.unit.test_healthcheck_runner import (
    API,
    EGRESS,
    REJECTED,
    STAMP,
    add_gateway,
    failing,
    first,
    healthy_host,
    progress_line,
    report_line,
    verify,
)
from tests.unit.test_healthcheck_status import LINE

FILE = f"{SETTINGS}/launcher.log"
START, AGAIN = "`ibgw start --stack paper --gateway main`", "`ibgw login --again --stack paper --gateway main`"
SECRET = "put a new version of the secret ibgw/paper/main"  # noqa: S105
FORM = f"{STAMP}Login dialog WINDOW_OPENED: LoginState is LOGGED_OUT"
# The container's start, 18:00 UTC, is 13:00 in the gateway's zone, by whose clock launcher.log goes.
RESTART = "2026-11-22 13:00:02.112 INFO  [JTS-Main] - ---------------- IB GATEWAY RESTART ----------------\n"
ADDRESS = "192.0.2.77"
WRONG = f"2026-11-22 13:00:04.112 INFO  [JTS-Main] - Authorization failed: Invalid username or password. {ADDRESS}\n"
PUSHED = (
    "2026-11-22 13:00:04.112 INFO  [JTS-Main] -  NS_AUTH_START version=52 pwd=1 soft=0 token(s)=[suffix=a[IB Key]] "
    "initialTokenType=PWD\n2026-11-22 13:00:05.112 INFO  [JTS-Main] - Received CHALLENGE\n"
)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> VerifyingDocker:
    return healthy_host(monkeypatch)


def waiting(host: VerifyingDocker) -> None:
    """The API is not there, and the verifier goes on asking."""
    host.verifier_lines, host.verifier_stays = [progress_line(failing("connected", "relay_only"))], True


def failed(report: Report) -> CheckResult:
    return next(check for check in report.gateways[0].checks if check.verdict.value == "fail")


def reads(host: VerifyingDocker) -> list[str]:
    """The files of the gateway's container that were read."""
    return [path for _, path in host.looks("read_file")]


# --- lines of the first process ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason", "remedy"),
    [
        ("ibgw: held: attempts: rejected", "guard_held", "put a new version of the secret"),
        ("ibgw: held: attempts: unreachable", "server_unreachable", "login --again --stack paper --gateway main"),
        ("ibgw: held: attempts: locked_out", "locked_out", "login --again --stack paper --gateway main"),
        ("ibgw: held: logins", "too_many_logins", "login --again --stack paper --gateway main"),
        ("ibgw: held: volume", "volume_locked", "docker ps --filter volume=ibgw-paper-main-settings"),
        ("ibgw: held: unwritable", "guard_unwritable", "df"),
        ("ibgw: held: wrong_account", "wrong_account", "put a new version of the secret"),
        ("ibgw: held: automation", "automation_unsupported", "take an image with IBC"),
        ("ibgw: offline until 1795453200", "offline", "wait for their end"),
        ("ibgw: paused until 1795453200", "paused", "ibgw start --stack paper --gateway main"),
    ],
)
def test_what_no_waiting_puts_right_is_said_at_once_and_nothing_is_stopped(
    host: VerifyingDocker, line: str, reason: str, remedy: str
) -> None:
    container = add_gateway(host, log=f"{FORM}\n{line}\n")
    waiting(host)
    report = verify(host, wait=3600)
    check = failed(report)
    assert (report.verdict.value, check.reason) == ("failed", reason)
    assert remedy in (check.remedy or "")
    assert (check.remedy or "").count("login --again") <= 1
    assert line in check.seen
    assert host.stops(container["Id"]) == []
    assert FILE not in reads(host), "its program does not run"


def test_a_gateway_that_says_it_is_held_is_not_asked(host: VerifyingDocker) -> None:
    add_gateway(host, log="ibgw: held: logins")
    host.files[PATH] = LINE.replace("hold=attempts", "hold=logins")
    report = verify(host, wait=3600)
    assert (report.exit_code, failed(report).reason) == (3, "too_many_logins")
    assert host.verifiers == host.probes == []


def test_a_log_alone_keeps_nobody_from_asking(host: VerifyingDocker) -> None:
    add_gateway(host, log="ibgw: held: logins")
    host.files[PATH] = LINE.replace("hold=attempts", "hold=none")
    assert verify(host).exit_code == 0


def test_a_guard_that_met_another_session_does_not_ask_for_a_new_secret(host: VerifyingDocker) -> None:
    add_gateway(host, log="ibgw: held: attempts: competing_session")
    waiting(host)
    check = failed(verify(host, wait=3600))
    assert check.reason == "competing_session"
    assert check.data["held"] is True
    assert "end the other session" in (check.remedy or "")
    assert "secret into Secrets Manager" not in (check.remedy or "")


def test_a_guard_that_holds_is_no_matter_of_time(host: VerifyingDocker) -> None:
    """Also where the verifier itself ran out of time, which may know only that the API is not there."""
    add_gateway(host, log="ibgw: held: attempts: competing_session")
    host.verifier_lines = [report_line(failing("connected", "relay_only"))]
    assert verify(host).exit_code == 3


@pytest.mark.parametrize(("given", "waits"), [(None, False), (900, False), (3600, True)])
def test_what_ends_after_the_wait_is_not_waited_for(host: VerifyingDocker, given: float | None, waits: bool) -> None:
    """It is 18:30, and the next login begins at 18:50."""
    add_gateway(host, log="ibgw: waiting: pause")
    host.files[PATH] = LINE.replace("until=0", "until=1795373400")
    waiting(host)
    told: list[str] = []

    def come_up(line: str) -> None:
        told.append(line)
        if "waiting for connected" in line:
            host.containers["ibgw-paper-main"]["State"] |= {"Status": "exited"}

    report = runner.verify(stack(), wait=given, progress=come_up)
    assert (report.verdict.value, failed(report).reason) == (
        ("failed", "stopped") if waits else ("timed_out", "login_delayed")
    )
    if not waits:
        assert failed(report).data["until"] == "2026-11-22T18:50:00Z"
        assert not any("waiting for connected" in line for line in told)


@pytest.mark.parametrize("word", ["offline", "paused"])
def test_a_pause_is_told_with_its_end(host: VerifyingDocker, word: str) -> None:
    add_gateway(host, log=f"ibgw: {word} until 1795453200")
    waiting(host)
    check = failed(verify(host, wait=3600))
    assert check.data["until"] == "2026-11-23T17:00:00Z"
    assert "(until Mon 12:00 EST)" in check.seen


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ibgw: waiting: pause", "login_delayed"),
        ("ibgw: token refused", "token_refused"),
        ("ibgw: heal: soft_restart", "healing"),
        ("ibgw: stopping", "stopping"),
    ],
)
def test_what_passes_is_waited_for(host: VerifyingDocker, line: str, reason: str) -> None:
    add_gateway(host, log=line)
    found = failing("connected", "relay_only")
    host.verifier_lines = [progress_line(found), report_line(found)]
    report = verify(host)
    assert (report.verdict.value, failed(report).reason) == ("timed_out", reason)


# --- a container that does not run ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "code", "seen", "steps"),
    [
        ("ibgw: stopped: clean", 143, "(exit code 143, stopped after its logout)", [START]),
        ("ibgw: logged in\nibgw: stopped: clean", 143, "(exit code 143, stopped after its logout)", [START]),
        ("ibgw: stopped: no session", 143, "(exit code 143, stopped without a session)", [START]),
        ("ibgw: stopped: stranded", 143, "its session may be open at IBKR still", ["the IBKR Mobile app", START]),
        (f"{REJECTED}\nibgw: stopping\nibgw: stopped: no session", 143, "stopped without a session", [SECRET, START]),
        # The last attempt: what starts it now would be held.
        (f"ibgw: attempt 2 of 2\n{REJECTED}\nibgw: stopping", 143, "stopped before it", [SECRET, AGAIN]),
        ("ibgw: held: attempts: rejected\nibgw: stopping", 143, "stopped before it", ["ibgw logs", SECRET, AGAIN]),
        ("ibgw: held: attempts: competing_session\nibgw: stopping", 143, "stopped before it", ["other session", AGAIN]),
        ("ibgw: held: logins\nibgw: stopped: no session", 143, "stopped without a session", ["ibgw logs", AGAIN]),
        # Whatever the program's code was: the first process says that it was a stop.
        ("ibgw: stopped: clean", 1, "(exit code 1, stopped after its logout)", [START]),
        ("", 75, "ended so that the next start waits its turn", [START]),
    ],
)
def test_a_stopped_gateway_was_stopped_and_did_not_crash(
    host: VerifyingDocker, lines: str, code: int, seen: str, steps: list[str]
) -> None:
    add_gateway(host, status="exited", exit_code=code, log=lines)
    report = verify(host)
    check = report.gateways[0].checks[0]
    assert first(report) == ("fail", "stopped")
    assert seen in check.seen
    # What an orderly stop was preceded by is no cause of it.
    assert "ibgw: logged in" not in check.seen
    for wanted, step in zip(steps, check.steps, strict=True):
        assert wanted in step


def test_a_start_that_waits_its_turn_is_no_crash(host: VerifyingDocker) -> None:
    add_gateway(host, status="restarting", restarts=7, exit_code=75, log="ibgw: attempt 1 of 2")
    waiting(host)
    host.verifier_lines.append(report_line(failing("connected", "relay_only")))
    report = verify(host)
    assert (report.verdict.value, failed(report).reason) == ("timed_out", "starting")


def test_what_a_start_said_before_docker_noted_it_counts_and_what_the_one_before_said_does_not(
    host: VerifyingDocker,
) -> None:
    before = "ibgw: starting\nibgw: attempt 2 of 2\nibgw: stopping\nibgw: stopped: clean\n"
    add_gateway(host, log=f"{before}ibgw: starting\nibgw: held: attempts: wrong_account")
    client: Any = host
    looks = GatewayContainer(client, gateway(), EGRESS, Attachments(client, [API], EGRESS))
    assert looks.obstacle() is None
    assert looks.reading().reason is Reason.WRONG_ACCOUNT


def test_restarts_that_the_first_process_wanted_are_no_crashes(host: VerifyingDocker) -> None:
    """While a login server is down each attempt ends so, and by the next look the next one may run already."""
    container = add_gateway(host, log="ibgw: starting\nibgw: attempt 1 of 2")
    client: Any = host
    looks = GatewayContainer(client, gateway(), EGRESS, Attachments(client, [API], EGRESS))
    assert looks.obstacle() is None
    container["RestartCount"] = 3
    host.files["/tmp/ibgw/status"] = LINE.replace("stopped=no_session", "stopped=ended")
    assert looks.obstacle() == Obstacle(Reason.CRASH_LOOPING, "restarted 3 times meanwhile")
    host.files["/tmp/ibgw/status"] = LINE
    assert looks.obstacle() is None


def test_pauses_between_restarts_are_no_crashes_and_restarts_without_one_are(host: VerifyingDocker) -> None:
    container = add_gateway(host, restarts=40, log="ibgw: waiting: pause")
    client: Any = host
    looks = GatewayContainer(client, gateway(), EGRESS, Attachments(client, [API], EGRESS))
    assert looks.obstacle() is None
    container["RestartCount"] = 44
    assert looks.obstacle() is None
    host.logs[container["Id"]] = ["ibgw: waiting: pause", "ibgw: attempt 1 of 2"]
    assert looks.obstacle() is None
    container["RestartCount"] = 47
    assert looks.obstacle() == Obstacle(Reason.CRASH_LOOPING, "restarted 3 times meanwhile")


# --- launcher.log -----------------------------------------------------------------------------------------------------


def test_the_program_s_own_word_wins_until_its_login(host: VerifyingDocker) -> None:
    container = add_gateway(host, log=FORM)
    host.files[FILE] = RESTART + WRONG
    host.verifier_lines = [report_line(failing("connected", "relay_only"))]
    check = failed(verify(host))
    assert (check.reason, check.data["log_state"]) == ("login_failed", "rejected")
    assert check.seen.endswith("; the gateway's own log: rejected")
    assert host.stops(container["Id"]) == [75]


def test_nothing_of_its_lines_is_told(host: VerifyingDocker) -> None:
    add_gateway(host, log=FORM)
    host.files[FILE] = RESTART + WRONG
    waiting(host)
    told: list[str] = []
    report = verify(host, wait=3600, told=told)
    assert ADDRESS not in report.model_dump_json() + "".join(told)


@pytest.mark.parametrize(
    ("kind", "word", "reason"),
    [
        ("IB Key", "ib_key", "second_factor_pending"),
        ("SMS", "sms", "second_factor_code"),
        ("Mobile Authenticator app", "other", "second_factor_code"),
    ],
)
def test_it_names_the_second_factor(host: VerifyingDocker, kind: str, word: str, reason: str) -> None:
    """25 minutes after it was asked for: a push that is sent again and again, or a code that is waited for."""
    add_gateway(host, log="2026-11-22 13:05:00:234 IBC: Second Factor Authentication initiated")
    host.files[FILE] = RESTART + PUSHED.replace("IB Key", kind)
    host.verifier_lines = [report_line(failing("connected", "relay_only"))]
    check = failed(verify(host))
    assert (check.reason, check.data["second_factor"]) == (reason, word)


def test_another_start_s_lines_do_not_count(host: VerifyingDocker) -> None:
    add_gateway(host, log=FORM)
    host.files[FILE] = (RESTART + WRONG).replace(" 13:", " 12:")
    host.verifier_lines = [report_line(failing("connected", "relay_only"))]
    assert failed(verify(host)).reason == "starting"


def test_only_the_end_of_a_long_file_is_read(host: VerifyingDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("healthcheck.gateway_container.LAUNCHER_BYTES", len(WRONG))
    add_gateway(host, log=FORM)
    host.files[FILE] = RESTART + PUSHED + WRONG
    waiting(host)
    check = failed(verify(host, wait=3600))
    assert (check.reason, check.data.get("second_factor")) == ("login_failed", None)


def test_a_gateway_without_the_file_has_its_log(host: VerifyingDocker) -> None:
    add_gateway(host, log=FORM)
    host.verifier_lines = [report_line(failing("connected", "relay_only"))]
    assert failed(verify(host)).reason == "starting"
    assert FILE in reads(host)


def test_it_is_not_read_while_the_api_is_there_and_seldom_while_it_is_not(
    host: VerifyingDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_gateway(host, log=FORM)
    host.files[FILE] = RESTART
    verify(host)
    assert FILE not in reads(host)
    found = progress_line(failing("connected", "relay_only"))
    host.verifier_lines = [found] * 5 + [report_line(failing("connected", "relay_only"))]
    verify(host)
    assert reads(host).count(FILE) == 1
    monkeypatch.setattr(gateway_run, "WATCH_STEP", 0.0)
    host.asked.clear()
    verify(host)
    assert reads(host).count(FILE) > 1


def test_a_file_that_cannot_be_read_is_said(host: VerifyingDocker) -> None:
    add_gateway(host, log=FORM)
    host.failing[f"read_file {FILE}"] = DockerError("no space left on device")
    waiting(host)
    report = verify(host, wait=3600)
    assert report.exit_code == 5
    assert "no space left on device" in report.gateways[0].checks[0].seen


def test_a_rejected_gateway_is_stopped_although_the_file_cannot_be_read(host: VerifyingDocker) -> None:
    container = add_gateway(host, log=REJECTED)
    host.failing[f"read_file {FILE}"] = DockerError("no space left on device")
    waiting(host)
    assert failed(verify(host, wait=3600)).reason == "login_failed"
    assert host.stops(container["Id"]) == [75]


def test_a_start_that_stands_still_is_not_waited_for(host: VerifyingDocker) -> None:
    add_gateway(host, log="ibgw: starting\nibgw: attempt 1 of 2")
    waiting(host)
    host.logged_at = "2026-11-22T18:15:00Z"  # by the host's clock it is 18:30
    check = failed(verify(host, wait=3600))
    assert (check.reason, check.steps[-1].partition(": ")[2]) == (
        "start_stuck",
        "`ibgw restart --stack paper --gateway main` (this logs in again)",
    )


def test_a_gateway_without_a_free_place_is_not_asked_to_log_in(host: VerifyingDocker) -> None:
    add_gateway(host, log="ibgw: starting\nibgw: attempt 1 of 2\nibgw: logged in")
    # 4002 is 0FA2; 01 is a connection that stands, 0A one that listens, 06 one that has ended (Linux, tcp_states.h).
    ours, listening, over = "0100007F:0FA2 0100007F:C350 01", "0100007F:0FA2 00000000:0000 0A", "0100007F:0FA2 1:1 06"
    theirs = "0100007F:C350 0100007F:0FA2 01"
    host.prints["cat /proc/net/tcp /proc/net/tcp6"] = "\n".join(
        f" 0: {one} 0" for one in [listening, over] + [ours, theirs] * 32
    )
    host.verifier_lines = [report_line(failing("authenticated", "not_logged_in"))]
    check = failed(verify(host))
    assert check.reason == "clients_full"
    assert "docker network inspect ibgw-paper-main-api" in check.steps[0]


def test_a_rejected_gateway_that_was_stopped_is_started_by_who_trusts_its_secret(host: VerifyingDocker) -> None:
    for attempt, command in ((1, START), (2, AGAIN)):
        container = add_gateway(host, log=f"ibgw: starting\nibgw: attempt {attempt} of 2\n{REJECTED}")
        waiting(host)
        check = failed(verify(host, wait=3600))
        assert host.stops(container["Id"]) == [75] * attempt
        assert check.steps[-1].endswith(command)


@pytest.mark.parametrize(
    ("code", "step"),
    [
        (4, "name another one in ibgw:image"),
        (81, "read which one"),
        (86, "see which window it is"),
        (87, "take the phone"),
        (88, "look at the load"),
        (1, "read why it ended"),
    ],
)
def test_a_loop_s_exit_code_says_what_to_put_right(host: VerifyingDocker, code: int, step: str) -> None:
    add_gateway(host, status="restarting", restarts=7, exit_code=code, log="Starting IBC version  on today")
    check = verify(host).gateways[0].checks[0]
    assert check.reason == "crash_looping"
    assert check.steps[0].startswith("stop it meanwhile: `ibgw stop")
    assert check.steps[1].startswith(step)


def test_docker_s_own_words_on_a_failed_start_are_told(host: VerifyingDocker) -> None:
    container = add_gateway(host, status="created", exit_code=127)
    container["State"]["Error"] = "exec: no such file"
    check = verify(host).gateways[0].checks[0]
    assert (check.reason, check.seen) == (
        "stopped",
        "the container is created (exit code 127; Docker: exec: no such file)",
    )
