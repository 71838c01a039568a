"""Some checks alone, an interrupted run, and credentials that stay out of everything that a run says."""

import json
import threading
from typing import Any

import pytest

from deployment.description import PASSWORD_FILE, USER_ID_FILE
from healthcheck import runner
from healthcheck.docker_host import DockerError
from healthcheck.observation import CheckName
from healthcheck.report import Report
from operations import formats
from tests.leaks import leaks
from tests.unit.fake_docker import VerifyingDocker
from tests.unit.gateways import checks as levels
from tests.unit.gateways import gateway, stack
from tests.unit.test_healthcheck_redact import NASTY, escaped
from tests.unit.test_healthcheck_runner import (
    HEALTHY,
    NAMES,
    STAMP,
    add_gateway,
    failing,
    healthy_host,
    progress_line,
    report_line,
    result,
)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> VerifyingDocker:
    return healthy_host(monkeypatch)


def verify(host: VerifyingDocker, *names: str, **changes: Any) -> Report:
    report = runner.verify(
        stack(gateway(**changes)),
        wait=0,
        progress=lambda line: None,
        checks=[CheckName(name) for name in names] or None,
    )
    assert host.left == []
    return report


def asked(host: VerifyingDocker) -> list[str]:
    command = host.verifiers[0].options["command"]
    return str(command[command.index("--checks") + 1]).split(",")


def verdicts(report: Report) -> dict[str, str]:
    return {check.name.value: check.verdict.value for check in report.gateways[0].checks}


# --- some checks alone --------------------------------------------------------------------------------------------

# What is asked for -> what the verifier's container is told to run: what these need comes first.
NEEDED = {
    ("connected", "authenticated"): ["reachable", "connected", "authenticated"],
    ("market_data",): ["reachable", "connected", "authenticated", "market_data"],
    ("order_capability",): ["reachable", "connected", "authenticated", "account_access", "order_capability"],
    ("hygiene",): ["reachable", "connected"],
    ("isolation",): ["reachable", "connected"],
}


@pytest.mark.parametrize("names", NEEDED)
def test_what_is_asked_for_runs_with_what_it_needs_and_is_reported_alone(
    host: VerifyingDocker, names: tuple[str, ...]
) -> None:
    host.verifier_lines = [report_line([result(name) for name in NEEDED[names]])]
    report = verify(host, *names)
    assert asked(host) == NEEDED[names]
    assert verdicts(report) == dict.fromkeys(names, "pass")
    assert report.verdict.value == "verified"


def test_a_glance_asks_docker_for_no_origin_and_no_events(host: VerifyingDocker) -> None:
    host.verifier_lines = [report_line([result(name) for name in NAMES[:3]])]
    host.happened = [{"Type": "network", "Action": "connect", "Actor": {"ID": "n", "Attributes": {}}}]
    verify(host, "connected", "authenticated")
    assert host.probes == []
    assert host.happened, "nobody read the events"


def test_what_failed_before_it_is_reported_too(host: VerifyingDocker) -> None:
    found = [result("reachable"), result("connected", "wedged"), result("authenticated", because="connected")]
    host.verifier_lines = [report_line(found)]
    report = verify(host, "authenticated")
    assert verdicts(report) == {"connected": "fail", "authenticated": "skipped"}
    assert (report.verdict.value, report.exit_code) == ("failed", 3)


def test_a_gateway_that_cannot_be_asked_shows_why(host: VerifyingDocker) -> None:
    add_gateway(host, status="exited", exit_code=143)
    report = verify(host, "authenticated")
    assert verdicts(report) == {"reachable": "fail", "authenticated": "skipped"}
    assert report.exit_code == 3


def test_a_run_in_which_no_check_ran_is_no_success(host: VerifyingDocker) -> None:
    """On live, order_capability is off unless configured."""
    found = [result(name) for name in NAMES[:4]] + [result("order_capability", "switched_off")]
    host.verifier_lines = [report_line(found)]
    report = verify(host, "order_capability", checks=levels(order_capability="off"))
    assert verdicts(report) == {"order_capability": "not_applicable"}
    assert (report.verdict.value, report.exit_code) == ("could_not_run", 5)


def test_without_its_connection_nothing_is_verified(host: VerifyingDocker) -> None:
    host.verifier_lines = [report_line([result("reachable"), result("connected", "wedged")])]
    report = verify(host, "hygiene")
    assert verdicts(report) == {"connected": "fail", "hygiene": "pass"}
    assert report.exit_code == 3


# --- interrupted --------------------------------------------------------------------------------------------------


def test_an_interrupted_run_ends_and_removes_its_container(host: VerifyingDocker) -> None:
    host.verifier_lines, host.verifier_stays = [progress_line(failing("reachable", "port_closed"))], True
    stop = threading.Event()

    def told(line: str) -> None:
        if "waiting" in line:
            stop.set()

    report = runner.verify(stack(), wait=3600, progress=told, interrupted=stop)
    assert (report.verdict.value, report.exit_code) == ("could_not_run", 5)
    assert "interrupted" in report.gateways[0].checks[0].seen
    assert host.verifiers[0].name in host.removed
    assert host.left == []
    assert host.stops(host.verifiers[0].name) == [3], "it was in the middle, and must disconnect"


def test_a_verifier_that_has_reported_is_removed_without_a_wait(host: VerifyingDocker) -> None:
    assert verify(host).verdict.value == "verified"
    assert host.stops(host.verifiers[0].name) == []


def test_a_verifier_that_cannot_be_removed_is_told_and_changes_no_verdict(
    host: VerifyingDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = host.remove

    def refuse(container: str) -> None:
        if "-main-verifier-" in container:
            raise DockerError("device or resource busy")
        remove(container)

    monkeypatch.setattr(host, "remove", refuse)
    told: list[str] = []
    report = runner.verify(stack(gateway()), wait=0, progress=told.append)
    assert report.verdict.value == "verified"
    assert "could not be removed, which the next run does: device or resource busy" in told[-1]


# --- waiting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Re-starting session", "(planned_restart): The gateway restarts by itself"),
        ("Connection to server failed: Server disconnected", "(server_unreachable): The gateway cannot reach IBKR"),
        ("detected dialog entitled: Re-login is required; event=Opened", "(relogin_required): IBKR ended the session"),
        ("Second Factor Authentication initiated", "approve the login in the IBKR Mobile app"),
    ],
)
def test_progress_says_what_it_waits_for(host: VerifyingDocker, line: str, told: str) -> None:
    add_gateway(host, log=f"{STAMP}{line}")
    host.verifier_lines = [progress_line(failing("connected", "relay_only")), HEALTHY]
    said: list[str] = []
    report = runner.verify(stack(), wait=60, progress=said.append)
    assert report.verdict.value == "verified"
    assert any("waiting for connected" in one and told in one for one in said), said


def test_a_crash_loop_names_what_is_behind_it(host: VerifyingDocker) -> None:
    """A primary session elsewhere ends this one with exit code 0, again and again (IBC, scenario 4)."""
    log = f"{STAMP}Login attempt: 1\n{STAMP}Other session must be primary or primary override, so end this session"
    add_gateway(host, status="restarting", restarts=5, exit_code=0, log=log)
    check = verify(host).gateways[0].checks[0]
    assert str(check.reason) == "crash_looping"
    assert "so end this session" in check.seen
    assert [step.partition(":")[0].partition(",")[0] for step in check.steps] == [
        "stop it meanwhile",
        "end the other session",
        "have it log in again",
    ]
    assert "`ibgw start --stack paper --gateway main`" in check.steps[-1], "it was stopped"


# --- credentials --------------------------------------------------------------------------------------------------

USER = "trader-4711"


@pytest.fixture(params=NASTY)
def password(request: pytest.FixtureRequest, host: VerifyingDocker) -> str:
    found = str(request.param)
    host.files = {USER_ID_FILE: escaped(USER), PASSWORD_FILE: escaped(found)}
    return found


def leak(password: str) -> str:
    return f"{USER} said {password} and {json.dumps(password)} and {password!r}"


def everything_said(host: VerifyingDocker, **options: Any) -> list[str]:
    """A run's report in every format, and all of its progress."""
    told: list[str] = []
    report = runner.verify(stack(), progress=told.append, show_accounts=True, **({"wait": 0} | options))
    return [*told, *(render(report) for render in formats.RENDERERS.values())]


def clean(password: str, said: list[str]) -> bool:
    return leaks("\n".join(said), password, USER) == []


def test_nothing_from_the_verifier_shows_credentials(host: VerifyingDocker, password: str) -> None:
    told = leak(password)
    found = failing("market_data", "no_entitlement")
    found[4] |= {"seen": told, "data": {"said": [told, {told: told}]}}
    host.verifier_lines = [report_line(found)]
    assert clean(password, everything_said(host))


def test_nothing_from_the_log_shows_credentials(host: VerifyingDocker, password: str) -> None:
    text = leak(password).replace("\n", " ")
    add_gateway(host, log=f"{STAMP}Login error message:\n{text}")
    host.verifier_lines = [
        progress_line(failing("connected", "relay_only")),
        report_line(failing("connected", "wedged")),
    ]
    said = everything_said(host, wait=60)
    assert clean(password, said)
    assert any("login_error" in text for text in said)


def test_no_exception_shows_credentials(host: VerifyingDocker, password: str) -> None:
    host.failing["create"] = DockerError(leak(password))
    said = everything_said(host)
    assert clean(password, said)
    assert any("verifier_failed" in text for text in said)


def test_no_complaint_of_the_verifier_shows_credentials(host: VerifyingDocker, password: str) -> None:
    host.verifier_lines, host.verifier_stderr = [], leak(password)
    assert clean(password, everything_said(host))


def test_credentials_that_cannot_be_read_prevent_no_report(host: VerifyingDocker) -> None:
    host.failing["read_folder"] = DockerError("the archive is broken")
    assert verify(host).verdict.value == "verified"


def test_a_container_that_is_gone_has_its_report(host: VerifyingDocker) -> None:
    host.containers.clear()
    assert verdicts(verify(host))["reachable"] == "fail"
