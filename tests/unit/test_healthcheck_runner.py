"""What the runner makes of Docker's records and of the verifier's lines; Docker itself is a record in memory here."""

import errno
import json
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployment.description import Monitoring
from deployment.errors import IbgwError
from deployment.paths import writable_again
from deployment.tables import Kind
from healthcheck import gateway_run, owner, runner, verifier_container
from healthcheck.docker_host import DockerError
from healthcheck.human import render_human
from healthcheck.observation import CheckName
from healthcheck.reasons import EXPLANATIONS, Reason
from healthcheck.report import Report
from tests.leaks import leaks
from tests.unit.fake_docker import GATEWAY_IMAGE, VerifyingDocker, address, network
from tests.unit.gateways import HEX, checks, entry, gateway, stack

API = "ibgw-paper-main-api"
EGRESS = "ibgw-paper-egress"
NAMES = ["reachable", "connected", "authenticated", "account_access", "market_data", "order_capability"]
STAMP = "2026-11-22 18:00:01:234 IBC: "
REJECTED = f"{STAMP}detected dialog entitled: Unrecognized Username or Password; event=Opened"
LOCKED = (
    f"{STAMP}Too many failed login attempts. Please wait 4 minutes & 47 seconds before attempting to re-login again."
)
HELD = "ibgw-guard: held: this secret version was tried twice without a successful login"
PUSH = f"{STAMP}Second Factor Authentication initiated"


def result(name: str, reason: str | None = None, because: str | None = None) -> dict[str, Any]:
    return {"name": name, "reason": reason, "seen": f"{name} seen", "skipped_because": because}


def failing(check: str, reason: str) -> list[dict[str, Any]]:
    at = NAMES.index(check)
    skipped = [result(name, because=check) for name in NAMES[at + 1 :]]
    return [*(result(name) for name in NAMES[:at]), result(check, reason), *skipped]


def attempt_line(checks: list[dict[str, Any]], *, last: bool, gateway: str = "main") -> str:
    attempt = {
        "gateway": gateway,
        "started_at": "2026-11-22T18:00:10Z",
        "waited_ms": 1900,
        "duration_ms": 640,
        "last": last,
        "checks": checks,
    }
    return json.dumps({"event": "attempt", "attempt": attempt})


def progress_line(checks: list[dict[str, Any]]) -> str:
    return attempt_line(checks, last=False)


def report_line(checks: list[dict[str, Any]]) -> str:
    return attempt_line(checks, last=True)


HEALTHY = report_line([result(name) for name in NAMES])


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> VerifyingDocker:
    return healthy_host(monkeypatch)


def healthy_host(monkeypatch: pytest.MonkeyPatch) -> VerifyingDocker:
    found = VerifyingDocker(API, answers={(API, f"{address(API)}:4004"): "api"})
    apart = {"com.docker.network.bridge.enable_icc": "false"}
    found.networks[EGRESS] = network(EGRESS, Internal=False, Options=apart)
    found.add_image(GATEWAY_IMAGE, f"sha256:{HEX}", digests=[f"localhost:5000/ib-gateway@sha256:{HEX}"])
    found.verifier_lines = [HEALTHY]
    add_gateway(found)
    monkeypatch.setattr(runner, "DockerHost", lambda address: found)
    monkeypatch.setattr(runner, "janitor", lambda address: nullcontext())
    monkeypatch.setattr(gateway_run, "POLL", 0.05)
    return found


def add_gateway(host: VerifyingDocker, **state: Any) -> dict[str, Any]:
    return host.add_container("ibgw-paper-main", container_id="a" * 64, **({"networks": (API, EGRESS)} | state))


def verify(host: VerifyingDocker, *, wait: float | None = 60, told: list[str] | None = None, **changes: Any) -> Report:
    said = told if told is not None else []
    report = runner.verify(stack(gateway(**changes)), wait=wait, progress=said.append)
    assert host.closed
    assert host.left == [], "every container is removed"
    assert [name for name in host.networks if "verifier" in name] == []
    return report


def first(report: Report) -> tuple[str, str | None]:
    """The first check that fails."""
    check = next(check for check in report.gateways[0].checks if check.verdict.value == "fail")
    return check.verdict.value, check.reason


def test_the_verifiers_report_and_dockers_records_become_one(host: VerifyingDocker) -> None:
    report = verify(host)
    assert (report.verdict.value, report.exit_code) == ("verified", 0)
    found = report.gateways[0]
    assert [check.name.value for check in found.checks] == [*NAMES, "isolation", "hygiene"]
    assert (found.vantage.api, found.vantage.docker) == (True, True)
    assert (found.waited_ms, found.duration_ms, found.started_at) == (1900, 640, "2026-11-22T18:00:10Z")
    assert found.verifier.image_id == f"sha256:{HEX}"


def test_the_verifiers_container_is_locked_down_labelled_and_on_the_api_network_only(host: VerifyingDocker) -> None:
    verify(host, wait=600)
    options = host.verifiers[0].options
    assert host.verifiers[0].name.startswith("ibgw-paper-main-verifier-")
    assert options["image"] == f"sha256:{HEX}"
    assert options["network"] == API
    assert options["read_only"] is True
    assert options["user"] == "65534:65534"
    assert (options["processes"], options["memory"]) == (64, "256m")
    assert "volumes" not in options
    assert options["labels"] == {
        "ibgw.managed-by": "pulumi",
        "ibgw.prefix": "ibgw",
        "ibgw.project": "ibgw",
        "ibgw.stack": "paper",
        "ibgw.role": "verifier",
        "ibgw.mode": "paper",
        "ibgw.gateway": "main",
        "ibgw.lifetime": "720",  # what it may wait, and two minutes
        "ibgw.run": verifier_container.RUN,
    }
    command = options["command"]
    assert command[:6] == ["verify", "--wait", "600", "--stay", "120", "--gateway-json"]
    assert json.loads(command[6])["api"] == entry()["api"]


def test_a_verifier_stays_after_a_single_attempt_too(host: VerifyingDocker) -> None:
    """As for `ibgw doctor`: on a busy machine what answers from inside is asked when the checks are long over."""
    verify(host, wait=0)
    assert host.verifiers[0].options["command"][:5] == ["verify", "--wait", "0", "--stay", "120"]


@pytest.mark.parametrize(
    ("state", "reason", "seen"),
    [
        ({"status": "exited", "exit_code": 143}, "stopped", "exited (exit code 143, stopped)"),
        ({"status": "exited", "exit_code": 87}, "stopped", "second factor was not completed in time"),
        ({"status": "exited", "exit_code": 137, "oom": True}, "stopped", "out of memory"),
        ({"status": "created"}, "stopped", "created"),
        ({"status": "paused"}, "frozen", "paused"),
        ({"status": "dead"}, "container_dead", "dead"),
        ({"status": "removing"}, "container_missing", "removing"),
        (
            {"status": "restarting", "restarts": 7, "exit_code": 4},
            "crash_looping",
            "exit code 4, the gateway's program",
        ),
        ({"networks": ("bridge",)}, "network_missing", "not attached to ibgw-paper-main-api"),
    ],
)
def test_a_container_that_cannot_answer_is_not_asked(
    host: VerifyingDocker, state: dict[str, Any], reason: str, seen: str
) -> None:
    add_gateway(host, **state)
    report = verify(host)
    assert (report.verdict.value, report.exit_code) == ("failed", 3)
    assert first(report) == ("fail", reason)
    assert seen in report.gateways[0].checks[0].seen
    assert [str(check.skipped_because) for check in report.gateways[0].checks[1:6]] == ["reachable"] * 5
    assert host.verifiers == []


def test_a_stopped_gateway_names_the_command_that_starts_it(host: VerifyingDocker) -> None:
    add_gateway(host, status="exited", exit_code=143)
    assert verify(host).gateways[0].checks[0].remedy == "start it: `ibgw start --stack paper --gateway main`"


def test_a_gateway_that_was_stopped_for_its_credentials_says_so(host: VerifyingDocker) -> None:
    add_gateway(host, status="exited", exit_code=143, log=REJECTED)
    check = verify(host).gateways[0].checks[0]
    assert check.reason == "stopped"
    assert "Unrecognized Username or Password" in check.seen
    assert check.steps[0].startswith("put a new version of the secret ibgw/paper/main into Secrets Manager")
    assert "`pulumi up --stack paper`" in check.steps[1]
    assert check.steps[2:] == (), "the update makes it anew, and starts it"


def test_a_missing_container_and_a_missing_network_are_failures_with_a_remedy(host: VerifyingDocker) -> None:
    host.networks.clear()
    assert first(verify(host)) == ("fail", "network_missing")
    host.containers.clear()
    report = verify(host)
    assert first(report) == ("fail", "container_missing")
    assert report.gateways[0].checks[0].remedy == "recreate it: `pulumi up --refresh --stack paper`"
    assert report.gateways[0].checks[6].verdict.value == "skipped"


def test_a_missing_verifier_image_is_could_not_run_with_the_command_that_heals(host: VerifyingDocker) -> None:
    host.objects[Kind.IMAGE].clear()
    report = verify(host)
    assert (report.verdict.value, report.exit_code) == ("could_not_run", 5)
    assert first(report) == ("fail", "verifier_image_missing")
    # The URN of the resource "verifier-image" of infra/components/images.py, as `pulumi stack --show-urns` prints it.
    urn = "urn:pulumi:paper::ibgw::docker:index/image:Image::verifier-image"
    assert report.gateways[0].checks[0].remedy == f"rebuild it: `pulumi up --stack paper --replace '{urn}'`"


def test_the_image_of_an_earlier_version_is_understood_and_not_believed(host: VerifyingDocker) -> None:
    """What it printed up to 0.2: verdicts and remedies of its own, where now is only what it saw."""
    check = {"name": "reachable", "verdict": "fail", "required": True, "reason": "port_closed", "seen": "closed",
             "data": {}, "skipped_because": None, "remedy": "of old", "runbook": None, "duration_ms": 3}  # fmt: skip
    report = {"gateway": "main", "mode": "paper", "verdict": "verified", "started_at": "2026-11-22T18:00:10Z",
              "waited_ms": 1900, "duration_ms": 640, "vantage": {"api": True, "docker": False},
              "verifier": {"version": "0.1.0", "image_id": None}, "checks": [check]}  # fmt: skip
    host.verifier_lines = [
        json.dumps({"event": "progress", "gateway": "main", "elapsed_ms": 1000, "checks": [check]}),
        json.dumps({"event": "report", "report": report}),
    ]
    told: list[str] = []
    found = verify(host, told=told).gateways[0]
    assert (found.verdict.value, found.waited_ms, found.duration_ms) == ("timed_out", 1900, 640)
    assert found.started_at == "2026-11-22T18:00:10Z"
    assert found.checks[0].reason == "port_closed"
    assert (found.checks[0].seen, found.checks[0].duration_ms) == ("closed", 3)
    assert "of old" not in found.model_dump_json()
    assert any("waiting for reachable" in line for line in told)


@pytest.mark.parametrize(
    ("lines", "stderr", "said"),
    [
        ([], "ModuleNotFoundError: No module named 'ib_async'", "No module named 'ib_async'"),
        (["Traceback"], "", "it printed a line that is no event"),
        ([progress_line(failing("reachable", "port_closed"))], "Killed DU1234567", "Killed DU***567"),
    ],
)
def test_a_verifier_without_a_report_is_could_not_run(
    host: VerifyingDocker, lines: list[str], stderr: str, said: str
) -> None:
    host.verifier_lines, host.verifier_stderr = lines, stderr
    report = verify(host)
    assert report.exit_code == 5
    assert first(report) == ("fail", "verifier_failed")
    assert said in report.gateways[0].checks[0].seen


def test_a_verifier_that_does_not_start_is_could_not_run_and_removed(host: VerifyingDocker) -> None:
    host.failing["start"] = DockerError("cannot start")
    report = verify(host)
    assert first(report) == ("fail", "verifier_failed")
    assert host.verifiers[0].name in host.removed


def test_a_hung_verifier_is_given_up(host: VerifyingDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_run, "BUDGET", 0.2)
    host.verifier_lines, host.verifier_stays = [], True
    assert first(verify(host, wait=0)) == ("fail", "verifier_failed")


@pytest.mark.parametrize(
    ("line", "reason", "stops"),
    [
        (REJECTED, "login_failed", True),
        (LOCKED, "locked_out", True),
        (HELD, "guard_held", False),
        (f"{STAMP}The system is not currently available.", "system_unavailable", False),
        (f"{STAMP}could not find second factor device 'X' in the list", "second_factor_device", False),
        (f"{STAMP}This version is no longer supported", "version_refused", False),
    ],
)
@pytest.mark.parametrize(("check", "vague"), [("connected", "relay_only"), ("authenticated", "not_logged_in")])
def test_what_cannot_heal_ends_the_wait_at_once(
    host: VerifyingDocker, line: str, reason: str, stops: bool, check: str, vague: str
) -> None:
    container = add_gateway(host, log=f".> Starting IBC/IB gateway\n{line}\n")
    host.verifier_lines, host.verifier_stays = [progress_line(failing(check, vague))], True
    report = verify(host, wait=3600)
    found = {one.name.value: one for one in report.gateways[0].checks}[check]
    assert (report.verdict.value, str(found.reason)) == ("failed", reason)
    assert found.data["seen_through_api"] == vague
    assert line in found.seen
    assert host.stops(container["Id"]) == ([75] if stops else []), "stopped with its own grace, or left alone"


def test_a_rejected_gateway_is_stopped_also_where_its_settings_cannot_be_read(host: VerifyingDocker) -> None:
    container = add_gateway(host, log=REJECTED)
    host.failing["owner"] = DockerError("no space left on device")
    host.verifier_lines, host.verifier_stays = [progress_line(failing("connected", "relay_only"))], True
    report = verify(host)
    assert report.exit_code == 5
    assert "no space left on device" in report.gateways[0].checks[0].seen
    assert host.stops(container["Id"]) == [75]


@pytest.mark.parametrize("line", [REJECTED, LOCKED])
@pytest.mark.parametrize("check", ["connected", "authenticated"])
def test_who_looks_stops_nothing_and_is_told_what_would(host: VerifyingDocker, line: str, check: str) -> None:
    container = add_gateway(host, log=line)
    host.verifier_lines, host.verifier_stays = [progress_line(failing(check, "not_logged_in"))], True
    found = runner.look(stack(), wait=0, progress=lambda line: None).gateways[0]
    assert host.stops(container["Id"]) == []
    assert not found.stopped
    assert "`ibgw verify --stack paper --gateway main` stops it" in (found.note or "")


def test_who_verifies_stops_a_rejected_gateway_and_says_so(host: VerifyingDocker) -> None:
    add_gateway(host, log=REJECTED)
    host.verifier_lines, host.verifier_stays = [progress_line(failing("connected", "relay_only"))], True
    report = verify(host)
    assert report.gateways[0].stopped
    assert "note  ibgw-paper-main was stopped by this verification" in render_human(report)


@pytest.mark.parametrize("act", [runner.verify, runner.look])
def test_of_a_gateway_that_was_stopped_before_nothing_is_said(host: VerifyingDocker, act: Any) -> None:
    container = add_gateway(host, log=REJECTED, status="exited")
    found = act(stack(), wait=0, progress=lambda line: None).gateways[0]
    assert (host.stops(container["Id"]), found.stopped, found.note) == ([], False, None)


def test_a_lock_is_reported_with_its_length(host: VerifyingDocker) -> None:
    add_gateway(host, log=LOCKED)
    host.verifier_lines, host.verifier_stays = [progress_line(failing("connected", "relay_only"))], True
    assert "the lock lasts 287 s" in (verify(host).gateways[0].checks[1].remedy or "")


def test_a_healthy_api_is_believed_whatever_the_log_says(host: VerifyingDocker) -> None:
    container = add_gateway(host, log=REJECTED)
    assert verify(host).verdict.value == "verified"
    assert host.stops(container["Id"]) == []


def test_a_pending_second_factor_is_waited_for_told_and_times_out(host: VerifyingDocker) -> None:
    add_gateway(host, log=PUSH)
    found = failing("connected", "relay_only")
    host.verifier_lines = [progress_line(found), report_line(found)]
    told: list[str] = []
    report = verify(host, told=told)
    assert (report.verdict.value, report.exit_code) == ("timed_out", 6)
    assert first(report) == ("fail", "second_factor_pending")
    assert any("approve the login in the IBKR Mobile app" in line for line in told)
    assert all(line.startswith("main: ") for line in told)


def test_a_wait_is_told_with_what_to_do_about_it_once(host: VerifyingDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person could do is said at the beginning of the wait, not only at its end."""
    monkeypatch.setattr(gateway_run, "HEARTBEAT", 0)
    add_gateway(host, log=PUSH)
    found = failing("connected", "relay_only")
    host.verifier_lines = [progress_line(found), progress_line(found), report_line(found)]
    told: list[str] = []
    remedy = next(check.remedy for check in verify(host, told=told).gateways[0].checks if check.remedy)
    first, again = [line for line in told if "waiting for connected" in line]
    assert f"If it stays so: {remedy} (0 of 60 s)" in first
    assert again == "main: waiting for connected (second_factor_pending) (0 of 60 s)"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    pending = Reason.SECOND_FACTOR_PENDING
    monkeypatch.setitem(EXPLANATIONS, pending, replace(EXPLANATIONS[pending], patience=0))


@pytest.mark.usefixtures("impatient")
def test_by_default_a_wait_is_as_long_as_what_is_wrong_is_worth(host: VerifyingDocker) -> None:
    add_gateway(host, log=PUSH)
    host.verifier_lines, host.verifier_stays = [progress_line(failing("connected", "relay_only"))], True
    told: list[str] = []
    report = verify(host, wait=None, told=told)
    assert (report.exit_code, first(report)) == (6, ("fail", "second_factor_pending"))
    assert host.verifiers[0].options["command"][1:3] == ["--wait", "900"]
    assert host.verifiers[0].options["labels"]["ibgw.lifetime"] == "1020"


@pytest.mark.usefixtures("impatient")
def test_a_wait_that_somebody_gave_is_kept(host: VerifyingDocker) -> None:
    add_gateway(host, log=PUSH)
    host.verifier_lines = [progress_line(failing("connected", "relay_only")), HEALTHY]
    assert verify(host, wait=60).exit_code == 0


@pytest.mark.parametrize(
    ("state", "check", "reason"),
    [
        ({"ports": {"4004/tcp": [{"HostIp": "", "HostPort": "4002"}]}}, "isolation", "exposed"),
        ({"host_config": {"CapDrop": None}}, "hygiene", "rule_broken"),
    ],
)
def test_what_docker_shows_and_no_wait_puts_right_is_not_waited_for(
    host: VerifyingDocker, state: dict[str, Any], check: str, reason: str
) -> None:
    add_gateway(host, **state)
    host.verifier_lines, host.verifier_stays = [progress_line(failing("reachable", "port_closed"))], True
    report = verify(host, wait=3600)
    found = {one.name.value: one for one in report.gateways[0].checks}
    assert (report.exit_code, found[check].reason, found["reachable"].reason) == (3, reason, "port_closed")


def test_the_report_s_time_is_all_of_it(host: VerifyingDocker) -> None:
    """Not the last attempt's alone."""
    report = runner.verify(stack(), wait=0, progress=lambda _line: time.sleep(0.7))
    [found] = report.gateways
    assert found.took_ms >= 700 > found.duration_ms


def test_a_gateway_that_stops_during_the_wait_ends_it(host: VerifyingDocker) -> None:
    container = add_gateway(host)
    host.verifier_lines, host.verifier_stays = [progress_line(failing("reachable", "port_closed"))], True

    def stop_when_told(line: str) -> None:
        if "waiting" in line:
            container["State"] |= {"Status": "exited", "ExitCode": 143}

    report = runner.verify(stack(), wait=3600, progress=stop_when_told)
    assert first(report) == ("fail", "stopped")


def test_a_gateway_that_keeps_restarting_during_the_wait_ends_it(host: VerifyingDocker) -> None:
    container = add_gateway(host, restarts=40)
    host.verifier_lines, host.verifier_stays = [progress_line(failing("reachable", "port_closed"))], True

    def restart_when_told(line: str) -> None:
        if "waiting" in line:
            container["RestartCount"] = 43

    report = runner.verify(stack(), wait=3600, progress=restart_when_told)
    assert first(report) == ("fail", "crash_looping")


def test_a_live_account_on_paper_ends_the_wait_and_nothing_is_stopped(host: VerifyingDocker) -> None:
    container = add_gateway(host)
    host.verifier_lines = [report_line(failing("authenticated", "account_kind_mismatch"))]
    assert verify(host).exit_code == 3
    assert host.stops(container["Id"]) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda host: host.networks[API].update(Internal=False), "exposed"),
        (lambda host: add_gateway(host, ports={"4004/tcp": [{"HostIp": "", "HostPort": "4002"}]}), "exposed"),
        (
            lambda host: host.add_container("stranger", container_id="b" * 64, networks=(API,)),
            "undeclared_client",
        ),
    ],
)
def test_a_healthy_api_that_others_can_reach_is_a_failure(host: VerifyingDocker, change: Any, reason: str) -> None:
    change(host)
    report = verify(host)
    assert (report.verdict.value, report.exit_code) == ("failed", 3)
    isolation = report.gateways[0].checks[6]
    assert (isolation.verdict.value, str(isolation.reason), isolation.required) == ("fail", reason, True)


def test_a_declared_client_may_be_attached(host: VerifyingDocker) -> None:
    host.add_container("bot", container_id="b" * 64, networks=(API,))
    assert verify(host, clients=[{"container": "bot"}]).verdict.value == "verified"


def test_accounts_in_log_lines_are_masked(host: VerifyingDocker) -> None:
    add_gateway(host, log=f"{REJECTED} DU1234567 IbPassword=hunter2")
    host.verifier_lines = [report_line(failing("connected", "relay_only"))]
    text = verify(host).model_dump_json()
    assert "DU1234567" not in text
    assert leaks(text, "hunter2") == []


def test_leftovers_of_killed_runs_are_swept_and_those_of_running_ones_spared(host: VerifyingDocker) -> None:
    """It is 18:30. Each may be needed for as long as its label says, and a minute more for its removal."""
    labels = {"ibgw.prefix": "ibgw", "ibgw.stack": "paper", "ibgw.role": "verifier", "ibgw.lifetime": "1320"}

    def add(
        name: str,
        created: str,
        status: str = "running",
        *,
        finished: str = "",
        entry_point: list[str] = verifier_container.ENTRY_POINT,
        **changes: str,
    ) -> None:
        changed = {f"ibgw.{key}": value for key, value in changes.items()}
        host.add_container(
            name,
            container_id=name,
            status=status,
            created=created,
            finished=finished,
            labels=labels | changed,
            config={"Entrypoint": entry_point, "Labels": labels | changed},
        )

    add("ended", "2026-11-22T18:10:00Z", "exited", finished="2026-11-22T18:28:59Z")
    add("outlived", "2026-11-22T18:06:59Z", entry_point=verifier_container.PROBE)
    add("never-started", "2026-11-22T18:26:59Z", "created", lifetime="120")
    ended = owner.this_process().rsplit("/", 3)
    add("its-owner-is-gone", "2026-11-22T18:29:59Z", run=f"{ended[0]}/{ended[1]}/0/{ended[3]}")
    add("its-owner-is-there", "2026-11-22T18:29:59Z", run=owner.this_process())
    add("at-work", "2026-11-22T18:07:01Z")
    add("at-work-for-hours", "2026-11-22T12:00:00Z", lifetime="36120")
    add("just-ended", "2026-11-22T18:10:00Z", "exited", finished="2026-11-22T18:29:30Z")
    add("to-be-started", "2026-11-22T18:28:00Z", "created", lifetime="120")
    add("of-live", "2026-11-22T16:00:00Z", stack="live")
    add("of-another-prefix", "2026-11-22T16:00:00Z", prefix="other")
    add("not-ours-but-for-its-labels", "2026-11-22T16:00:00Z", entry_point=["sleep"])
    told: list[str] = []
    verify(host, told=told)
    assert host.removed[:4] == ["ended", "outlived", "never-started", "its-owner-is-gone"]
    spared = {"at-work", "at-work-for-hours", "just-ended", "to-be-started", "of-live", "of-another-prefix"}
    spared |= {"not-ours-but-for-its-labels", "its-owner-is-there"}
    assert spared <= set(host.containers)
    assert told[0] == "removed 4 of the verifier's objects that an earlier run left behind"


@pytest.mark.parametrize(
    ("system_time", "removed"), [("2026-11-22T19:30:00.123456789+01:00", []), ("2026-11-22T13:32:00-05:00", ["ended"])]
)
def test_the_daemons_clock_is_read_with_its_offset(host: VerifyingDocker, system_time: str, removed: list[str]) -> None:
    """Docker API 1.41, GET /info: SystemTime is in the daemon's zone; both are about 18:30 in UTC."""
    labels = {"ibgw.prefix": "ibgw", "ibgw.stack": "paper", "ibgw.role": "verifier"}
    finished = "2026-11-22T18:29:59.999999999Z"
    host.add_container(
        "ended",
        container_id="ended",
        status="exited",
        finished=finished,
        labels=labels | {"ibgw.lifetime": "36000"},
        config={"Entrypoint": verifier_container.ENTRY_POINT},
    )
    host.time = system_time
    verify(host)
    assert [name for name in host.removed if name == "ended"] == removed


def test_a_gateways_start_is_read_with_its_offset(host: VerifyingDocker) -> None:
    container = add_gateway(host, log=REJECTED)
    container["State"]["StartedAt"] = "2026-11-22T19:00:00.123456789+01:00"
    host.verifier_lines = [report_line(failing("connected", "relay_only"))]
    verify(host)
    # date -d 2026-11-22T18:00:00Z +%s. Docker notes a start after its first lines; without their mark it counts alone.
    asked = [options["since"].timestamp() for name, options in host.looks("log") if name == container["Id"]]
    assert asked[:2] == [
        1795370397.123456,
        1795370400.123456,
    ]


def test_dockers_failure_at_one_gateway_leaves_the_others_their_reports(host: VerifyingDocker) -> None:
    second = {"name": "ibgw-paper-second", "id": "c" * 64}
    host.failing["there ibgw-paper-second"] = DockerError("it broke DU1234567")
    api = entry()["api"] | {"network": "ibgw-paper-second-api"}
    both = stack(gateway(), gateway(name="second", container=second, api=api))
    report = runner.verify(both, wait=0, progress=lambda line: None)
    assert report.exit_code == 5
    found = {one.gateway: one for one in report.gateways}
    assert found["main"].verdict.value == "verified"
    assert found["second"].verdict.value == "could_not_run"
    assert found["second"].vantage.docker is False
    failure, isolation, hygiene = found["second"].checks[0], *found["second"].checks[-2:]
    assert failure.reason == "verifier_failed"
    assert "it broke DU***567" in failure.seen
    assert (isolation.name.value, isolation.verdict.value) == ("isolation", "skipped")
    assert (hygiene.name.value, hygiene.verdict.value) == ("hygiene", "skipped")


def test_a_broken_connection_to_the_verifier_is_its_failure(host: VerifyingDocker) -> None:
    host.failing["create"] = DockerError("it broke")
    report = verify(host)
    assert first(report) == ("fail", "verifier_failed")
    assert [check.verdict.value for check in report.gateways[0].checks[6:]] == ["skipped", "pass"]


def test_a_sweep_that_fails_is_could_not_run(host: VerifyingDocker) -> None:
    host.failing["now"] = DockerError("too slow")
    with pytest.raises(IbgwError, match=r"Docker host unix:///var/run/docker\.sock: too slow") as failure:
        runner.verify(stack(), wait=0, progress=lambda line: None)
    assert failure.value.exit_code == 5
    assert host.closed


def test_an_interrupt_removes_the_container_before_it_goes_on(host: VerifyingDocker) -> None:
    host.verifier_lines, host.verifier_stays = [progress_line(failing("reachable", "port_closed"))], True
    waiting = threading.main_thread().ident
    assert waiting is not None

    def told(line: str) -> None:
        if "waiting" in line:
            signal.pthread_kill(waiting, signal.SIGINT)

    # What a shell starts in the background has it ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            runner.verify(stack(), wait=3600, progress=told)
    finally:
        signal.signal(signal.SIGINT, before)
    assert host.verifiers[0].name in host.removed
    assert host.left == []


def test_gateways_are_chosen_by_name_and_unknown_ones_refused(host: VerifyingDocker) -> None:
    second = gateway(name="second", checks=checks("off", "off"))
    report = runner.verify(stack(gateway(), second), gateways=["main"], wait=0, progress=lambda line: None)
    assert [one.gateway for one in report.gateways] == ["main"]
    with pytest.raises(IbgwError, match="no gateway other in stack paper; expected one of: main, second") as refusal:
        runner.verify(stack(gateway(), second), gateways=["other"], wait=0, progress=lambda line: None)
    assert refusal.value.exit_code == 2


def test_a_docker_host_that_does_not_answer_could_not_be_run() -> None:
    absent = stack().model_copy(update={"docker_host": "unix:///nonexistent/docker.sock"})
    with pytest.raises(
        IbgwError, match=r"Docker host unix:///nonexistent/docker\.sock: there is no such socket; start Docker"
    ) as refusal:
        runner.verify(absent, wait=0, progress=lambda line: None)
    assert refusal.value.exit_code == 5


def test_a_report_is_written_whole(host: VerifyingDocker, tmp_path: Path) -> None:
    report = verify(host)
    target = tmp_path / "reports" / "paper.json"
    report.write(target, pytest.fail)
    report.write(target, pytest.fail)
    assert Report.model_validate_json(target.read_text()) == report
    assert [path.name for path in target.parent.iterdir()] == ["paper.json"]


@pytest.mark.parametrize(("in_the_way", "why"), [("folder", "File exists"), ("disk", "No space left on device")])
def test_a_report_that_cannot_be_kept_is_told_and_no_failure(
    host: VerifyingDocker, tmp_path: Path, in_the_way: str, why: str
) -> None:
    target = tmp_path / "reports" / "paper.json"
    if in_the_way == "folder":
        target.parent.write_text("a file")
    else:
        target.parent.mkdir()
        target.with_suffix(".new").symlink_to("/dev/full")
    told: list[str] = []
    verify(host).write(target, told.append)
    [text] = told
    assert text == f"{target}: {why}; this report is not kept; expected a place with room that you may use"


@pytest.mark.parametrize(
    ("file", "folder"), [("/p/.ibgw/reports/paper.new", "/p/.ibgw"), ("/p/a b/Pulumi.x.yaml", "'/p/a b'")]
)
def test_a_file_of_another_user_is_told_with_the_command_that_gives_it_back(file: str, folder: str) -> None:
    refused = PermissionError(errno.EACCES, "Permission denied", file)
    assert writable_again(refused).endswith(f"`sudo chown -R $USER {folder}`")


# --- isolation's origins and Docker's events ----------------------------------------------------------------------


def isolation_of(report: Report) -> tuple[str, str | None]:
    check = report.gateways[0].checks[6]
    assert check.name.value == "isolation"
    return check.verdict.value, check.reason


def test_one_container_an_origin_tries_every_port_of_every_address(host: VerifyingDocker) -> None:
    report = verify(host)
    tried = {
        probe.options["network"] if "-verifier-" not in probe.options["network"] else "throwaway": probe
        for probe in host.probes
    }
    assert set(tried) == {"throwaway", EGRESS}
    wanted = {
        f"{address(network)}:{port}" for network in (API, EGRESS) for port in (4001, 4002, 4003, 4004, 4010, 5900)
    }
    for probe in host.probes:
        assert set(probe.options["command"]) == wanted
        assert probe.options["entrypoint"] == ["python3", "-m", "healthcheck.probe"]
        assert probe.options["labels"]["ibgw.role"] == "verifier"
    # From inside, the verifier itself.
    assert host.verifiers[0].options["network"] == API
    assert isolation_of(report) == ("pass", None)
    assert report.gateways[0].checks[6].data["control"] == "connects"


@pytest.mark.parametrize("origin", ["throwaway", EGRESS])
def test_an_answer_at_any_origin_is_exposure(host: VerifyingDocker, origin: str) -> None:
    host.answers[origin, f"{address(API)}:4002"] = "api"
    assert isolation_of(verify(host)) == ("fail", "exposed")


def test_silence_without_a_control_is_tried_again_and_then_unproven(host: VerifyingDocker) -> None:
    host.answers.clear()
    assert isolation_of(verify(host)) == ("fail", "isolation_unproven")
    assert (len(host.probes), len(host.verifiers[0].probed)) == (6, 3), "a throwaway bridge and egress; inside"


@pytest.mark.parametrize(("missed", "verdict"), [(2, "pass"), (3, "fail")])
def test_a_control_that_misses_its_second_is_asked_again_with_all_that_depends_on_it(
    host: VerifyingDocker, missed: int, verdict: str
) -> None:
    [(inside, _)] = host.answers.items()
    asked: list[str] = []

    def answer(networks: list[str], address: str) -> str:
        if (networks[0], address) != inside:
            return "unreachable"
        asked.append(address)
        return "api" if len(asked) > missed else "unreachable"

    host.answer = answer  # type: ignore[method-assign]
    assert isolation_of(verify(host))[0] == verdict
    assert (len(host.probes), len(host.verifiers[0].probed)) == (6, 3)


def test_an_interrupted_run_does_not_look_again(host: VerifyingDocker) -> None:
    """Interrupted at the second look, when the verifier has long reported: the third is left out."""
    stop = threading.Event()

    def answer(networks: list[str], address: str) -> str:
        if len(host.probes) > 2:
            stop.set()
        return "unreachable"

    host.answer = answer  # type: ignore[method-assign]
    report = runner.verify(stack(), wait=60, progress=lambda line: None, interrupted=stop)
    assert isolation_of(report) == ("fail", "isolation_unproven")
    assert (len(host.probes), len(host.verifiers[0].probed)) == (4, 2)


def test_an_answer_from_outside_at_a_later_look_is_exposure(host: VerifyingDocker) -> None:
    """Also where the control connects only then: what was silent before does not count."""
    [(inside, _)] = host.answers.items()
    looks: list[str] = []

    def answer(networks: list[str], address: str) -> str:
        if (networks[0], address) == inside:
            looks.append(address)
        return "unreachable" if len(host.probes) <= 2 or len(looks) < 1 else "api"

    host.answer = answer  # type: ignore[method-assign]
    assert isolation_of(verify(host)) == ("fail", "exposed")


def test_a_gateway_that_came_up_meanwhile_is_tried_again(host: VerifyingDocker) -> None:
    control = host.answers.popitem()

    def answer_later(line: str) -> None:
        if "waiting" in line:
            host.answers.update([control])

    host.verifier_lines.insert(0, progress_line(failing("reachable", "port_closed")))
    report = runner.verify(stack(), wait=60, progress=answer_later)
    assert isolation_of(report) == ("pass", None)


def test_a_gateway_that_does_not_answer_leaves_isolation_unproven_and_skipped(host: VerifyingDocker) -> None:
    host.answers.clear()
    host.verifier_lines = [report_line(failing("reachable", "port_closed"))]
    assert isolation_of(verify(host)) == ("skipped", None)


def network_event(container: str, network: str = API) -> dict[str, Any]:
    """As Docker 20.10 sends it (API 1.41, GET /events)."""
    actor = {"ID": "n" * 64, "Attributes": {"container": container, "name": network, "type": "bridge"}}
    return {"Type": "network", "Action": "connect", "Actor": actor, "timeNano": 0}


def container_event(action: str, container: str, **attributes: str) -> dict[str, Any]:
    actor = {"ID": container, "Attributes": attributes}
    return {"Type": "container", "Action": action, "Actor": actor, "timeNano": 0}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([network_event("a" * 64)], None),
        ([network_event("9" * 64)], "undeclared_client"),
        ([network_event("9" * 64, EGRESS)], "exposed"),
        ([network_event("9" * 64, "elsewhere")], None),
        ([network_event("9" * 64), container_event("destroy", "9" * 64, name="bot")], None),
        (
            [network_event("9" * 64), container_event("die", "9" * 64, name="x", **{"ibgw.role": "verifier"})],
            "undeclared_client",
        ),
    ],
)
def test_whoever_came_and_went_is_known_from_dockers_events(
    host: VerifyingDocker, events: list[dict[str, Any]], expected: str | None
) -> None:
    host.happened = events
    verdict, reason = isolation_of(verify(host, clients=[{"container": "bot"}]))
    assert (verdict, reason) == ("fail" if expected else "pass", expected)


def test_watching_goes_on_until_there_is_something_to_tell(
    host: VerifyingDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_run, "WATCH_STEP", 0.01)

    def come_later(line: str) -> None:
        if "watching who is attached" in line:
            assert host.verifiers[0].ended.wait(10), "nobody needs it any longer"
            host.happened = [network_event("9" * 64)]

    report = runner.verify(stack(), wait=0, watch=3600, progress=come_later)
    assert isolation_of(report) == ("fail", "undeclared_client")


def test_what_runs_is_looked_at_whether_it_answers_or_not(host: VerifyingDocker) -> None:
    add_gateway(host, status="exited", exit_code=143, host_config={"CapDrop": None}, owner=(0, 0))
    check = verify(host).gateways[0].checks[7]
    assert (check.name.value, check.verdict.value, str(check.reason)) == ("hygiene", "fail", "rule_broken")
    assert "owner of the settings: found 0:0" in check.seen


def test_a_network_that_a_killed_run_left_is_swept_unless_it_is_in_use(host: VerifyingDocker) -> None:
    labels = {"ibgw.prefix": "ibgw", "ibgw.stack": "paper", "ibgw.role": "verifier", "ibgw.lifetime": "120"}
    old, new = "2026-11-22T18:26:59Z", "2026-11-22T18:28:00Z"
    host.objects[Kind.NETWORK] |= {
        "left": network("left", Created=old, Labels=labels),
        "new": network("new", Created=new, Labels=labels),
        "used": network("used", Created=old, Labels=labels, Containers={"b" * 64: {"Name": "bot"}}),
        "of-live": network("of-live", Created=old, Labels=labels | {"ibgw.stack": "live"}),
    }
    verify(host)
    assert "left" not in host.networks
    assert {"new", "used", "of-live"} <= set(host.networks)


# --- beside the prober ------------------------------------------------------------------------------------------------

PROBER = "8" * 64
ASKED, PROBED = 'exec "$@" sh python3 -m healthcheck verify', "healthcheck.probe"


@pytest.fixture
def watched(host: VerifyingDocker) -> VerifyingDocker:
    """A gateway that Docker finds healthy, and a prober of the recorded image that reaches it."""
    add_gateway(host)["State"]["Health"] = {"Status": "healthy"}
    container = host.add_container("ibgw-paper.prober", container_id=PROBER, networks=(API,), mounts=[])
    container["Image"] = f"sha256:{HEX}"
    host.prints[ASKED] = HEALTHY
    return host


def verify_watched(host: VerifyingDocker, wait: float | None = 60) -> Report:
    each = {"id": PROBER, "name": "ibgw-paper.prober"}
    monitoring = Monitoring.model_validate({"prober": each, "watcher": each, "network": "ibgw-paper.monitoring"})
    watched = stack(gateway()).model_copy(update={"monitoring": monitoring})
    report = runner.verify(watched, wait=wait, progress=lambda _: None)
    assert host.left == []
    return report


def test_beside_the_prober_no_verifier_is_started(watched: VerifyingDocker) -> None:
    report = verify_watched(watched)
    assert (report.verdict.value, watched.verifiers) == ("verified", [])
    assert report.gateways[0].vantage.prober
    assert ", asked beside the prober; " in render_human(report)
    # What must reach the gateway was tried from there.
    asked = [command for container, command in watched.did("run") if container == PROBER]
    assert [PROBED in command for command in asked] == [False, True]
    assert "--wait 0 " in asked[0]
    assert "secret" in asked[0], "an entry of the contract, which names the secret and has no value of it"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda host: host.containers.pop("ibgw-paper.prober"), id="gone"),
        pytest.param(lambda host: host.containers["ibgw-paper.prober"]["State"].update(Status="exited"), id="stopped"),
        pytest.param(lambda host: host.containers["ibgw-paper.prober"].update(Image=GATEWAY_IMAGE), id="other image"),
        pytest.param(
            lambda host: host.containers["ibgw-paper.prober"]["NetworkSettings"]["Networks"].clear(), id="not there"
        ),
        pytest.param(lambda host: host.prints.update({ASKED: "Killed"}), id="killed"),
        pytest.param(lambda host: host.prints.update({ASKED: ""}), id="silent"),
        pytest.param(lambda host: host.failing.update({f"run {PROBER}": DockerError("no")}), id="refused"),
        pytest.param(lambda host: add_gateway(host), id="gateway not healthy"),
    ],
)
def test_a_verifier_asks_where_the_prober_cannot(watched: VerifyingDocker, change: Callable[[Any], Any]) -> None:
    change(watched)
    report = verify_watched(watched)
    assert len(watched.verifiers) == 1
    assert not report.gateways[0].vantage.prober
    told = {check.name: check.verdict.value for check in report.gateways[0].checks}
    assert {told[CheckName(name)] for name in NAMES} == {"pass"}


def test_what_may_heal_is_waited_for_by_a_verifier_and_what_may_not_is_told_at_once(watched: VerifyingDocker) -> None:
    watched.prints[ASKED] = report_line(failing("authenticated", "connectivity_lost"))
    assert verify_watched(watched).verdict.value == "verified"
    assert len(watched.verifiers) == 1
    assert verify_watched(watched, wait=0).verdict.value == "failed"
    watched.prints[ASKED] = report_line(failing("authenticated", "account_kind_mismatch"))
    assert first(verify_watched(watched)) == ("fail", "account_kind_mismatch")
    assert len(watched.verifiers) == 1


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """A screen with two windows: where pictures of it were asked for."""
    asked: list[Path | None] = []

    def titles(docker: object, container: str, picture: Path | None) -> tuple[str, ...]:
        asked.append(picture)
        if picture is not None:
            picture.write_bytes(b"png")
        return "Re-login \x1b[2J is required", "DU1234567 IBKR Gateway"

    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(gateway_run, "titles", titles)
    return asked


def told_of(report: Report) -> tuple[tuple[str, ...], str | None]:
    return report.gateways[0].windows, report.gateways[0].picture


def test_a_failure_that_a_window_may_cause_names_the_windows(
    host: VerifyingDocker, shown: list[Path | None], tmp_path: Path
) -> None:
    host.verifier_lines = [report_line(failing("authenticated", "not_logged_in"))]
    file = tmp_path / "paper.main.png"
    report = runner.verify(
        stack(gateway()), wait=0, progress=print, pictures=lambda name: tmp_path / f"paper.{name}.png"
    )
    assert told_of(report) == (("Re-login \\x1b[2J is required", "DU***567 IBKR Gateway"), str(file))
    assert "  on its screen: Re-login \\x1b[2J is required, DU***567 IBKR Gateway\n" in render_human(report)
    assert f"  a picture of it: {file}" in render_human(report)
    # The next verification keeps no picture of an earlier failure.
    host.verifier_lines = [HEALTHY]
    runner.verify(stack(gateway()), wait=0, progress=print, pictures=lambda name: file)
    assert not file.exists()


def test_no_picture_is_kept_in_ci(
    host: VerifyingDocker, shown: list[Path | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    host.verifier_lines = [report_line(failing("authenticated", "not_logged_in"))]
    report = runner.verify(stack(gateway()), wait=0, progress=print, pictures=lambda name: tmp_path / "picture")
    assert (len(report.gateways[0].windows), report.gateways[0].picture, shown) == (2, None, [None])


@pytest.mark.parametrize("line", [HEALTHY, report_line(failing("market_data", "no_quote"))])
def test_where_no_window_can_be_the_cause_nobody_looks(
    host: VerifyingDocker, shown: list[Path | None], line: str
) -> None:
    host.verifier_lines = [line]
    assert (told_of(verify(host, wait=0)), shown) == (((), None), [])


def test_a_screen_that_cannot_be_looked_at_is_said(host: VerifyingDocker) -> None:
    host.verifier_lines, told = [report_line(failing("authenticated", "not_logged_in"))], list[str]()
    assert told_of(verify(host, wait=0, told=told)) == ((), None)
    assert any("its screen could not be looked at: socat cannot be talked to here" in line for line in told)
