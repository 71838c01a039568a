"""`ibgw start`, `stop`, `restart` and `login --again`: Docker's own, with the container's own grace."""

import io
import json
import sys
import tarfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deployment.description import SecondFactor
from deployment.errors import IbgwError
from deployment.tables import Kind
from healthcheck.docker_host import DockerError
from operations import cli, lifecycle
from operations.stack import parse_contract
from tests.unit.commands import check_text
from tests.unit.fake_docker import FakeDocker
from tests.unit.operations_contract import contract_json
from tests.unit.operations_pulumi import install

CONTRACT = parse_contract(contract_json(), "x")
GATEWAY = CONTRACT.gateways["main"]
ID = "a" * 64


ATTEMPTS = "/home/ibgateway/tws_settings/guard/v1.attempts"
STATUS = "/tmp/ibgw/status"


def client(*, running: bool, stop_timeout: int | None = 75, attempts: str | None = "2\n") -> FakeDocker:
    """`attempts`: what the guard's file holds, None where there is none."""
    fake = FakeDocker()
    state = {"Running": running}
    fake.objects[Kind.CONTAINER][ID] = {"State": state, "Config": {"StopTimeout": stop_timeout}}
    if attempts is not None:
        fake.files[ATTEMPTS] = attempts
    return fake


def test_start_starts_and_says_how_to_see_that_it_is_ready() -> None:
    fake, said = client(running=False), list[str]()
    lifecycle.start(fake, CONTRACT, GATEWAY, said.append)
    assert fake.did("start") == [[ID]]
    assert "ibgw verify --stack paper --gateway main" in said[-1]


def test_a_running_gateway_is_not_started_again() -> None:
    fake, said = client(running=True), list[str]()
    lifecycle.start(fake, CONTRACT, GATEWAY, said.append)
    assert not fake.did("start")
    assert said == ["ibgw-paper-main runs already."]


# `container.stopGrace` is 90 s by default (docs/reference.md); an own value is the container's StopTimeout.
@pytest.mark.parametrize(("stop_timeout", "grace"), [(75, 75), (None, 90)])
def test_stop_leaves_time_to_log_out(stop_timeout: int | None, grace: int) -> None:
    fake, said = client(running=True, stop_timeout=stop_timeout), list[str]()
    lifecycle.stop(fake, CONTRACT, GATEWAY, said.append)
    assert fake.did("stop") == [[ID, grace]]
    assert f"{grace} s" in said[0]
    assert "ibgw start --stack paper --gateway main" in said[-1]


def test_a_stopped_gateway_is_not_stopped_again() -> None:
    fake, said = client(running=False), list[str]()
    lifecycle.stop(fake, CONTRACT, GATEWAY, said.append)
    assert not fake.did("stop")
    assert said == ["ibgw-paper-main is stopped already."]


def test_restart_is_a_stop_with_grace_and_a_start() -> None:
    fake = client(running=True)
    lifecycle.restart(fake, CONTRACT, GATEWAY, list[str]().append)
    assert fake.did("stop") == [[ID, 75]]
    assert fake.did("start") == [[ID]]


OLD = "/home/ibgateway/scripts/run.sh"
LINE = (
    "v=1 phase={phase} since=1795000000 hold={hold} until={until} now=1795000100 mode=paper automation=ibc "
    "started={started} kind={kind} login=1795000000 api=ok attempts=0 limit=2 outcomes=none logins=0 factor=0 "
    "event=none due=0 done=0 heals=0 healed=none memory=20971520 clients=0 stopped=none\n"
)


def status(
    phase: str = "logged_in", *, hold: str = "none", until: int = 0, started: int = 1795000000, kind: str = "password"
) -> str:
    return LINE.format(phase=phase, hold=hold, until=until, started=started, kind=kind)


def supervised(*lines: str, running: bool = True, answer: str = "OK RESTART in progress", cmd: str = "") -> FakeDocker:
    """`lines`: the status at each look, the last one from then on. `answer`: IBC's."""
    fake = client(running=running, attempts=None)
    supervisor = "/home/ibgateway/tws_settings/guard/supervisor.sh"
    fake.objects[Kind.CONTAINER][ID]["Config"]["Cmd"] = [cmd] if cmd else ["bash", supervisor]
    fake.files[STATUS] = list(lines)
    fake.prints["echo"] = f"{answer}\n"
    return fake


def written(fake: FakeDocker) -> dict[str, bytes]:
    """What was put on the settings volume, each file as the image's user's."""
    found: dict[str, bytes] = {}
    for container, path, data in fake.did("write_archive"):
        assert (container, path) == (ID, "/home/ibgateway/tws_settings")
        with tarfile.open(fileobj=io.BytesIO(data)) as files:
            for entry in files:
                content = files.extractfile(entry)
                assert content is not None
                assert (entry.uid, entry.gid, entry.mode) == (1000, 1000, 0o600)
                found[entry.name] = content.read()
    return found


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "POLL", 0)


@pytest.mark.parametrize(
    "answer", ["OK RESTART in progress", "OK RESTART at 11:02 PM", ""]
)  # IBC, RestartTask: with the menu item, and without
def test_a_soft_restart_is_over_when_the_new_process_has_the_saved_session(answer: str) -> None:
    fake = supervised(
        status(),
        status(),
        status("restarting", started=0),
        status("starting", started=1795000050, kind="saved"),
        status(started=1795000050, kind="saved"),
        answer=answer,
    )
    said = list[str]()
    lifecycle.soft_restart(fake, CONTRACT, GATEWAY, said.append)
    [(container, command)] = fake.did("run")
    assert container == ID
    # IBC's documentation uses port 7462; the address is the container's own loopback.
    assert "/dev/tcp/127.0.0.1/7462" in command
    assert "echo RESTART" in command
    assert not fake.did("stop")
    assert (answer.removeprefix("OK ") or "no answer within 10 s") in said[0]
    assert "session kept" in said[-1]


@pytest.mark.parametrize(
    ("fake", "auto_restart", "found"),
    [
        (supervised(status(), answer="ERROR RESTART already in progress"), "23:59", "answered 'ERROR RESTART already"),
        (supervised(status(), answer=lifecycle.CLOSED), "23:59", "does not listen"),
        (supervised(status(), running=False), "23:59", "is stopped"),
        (supervised(status()), None, "no session.autoRestart"),
        (supervised(status("second_factor")), "23:59", "is not logged in \\(second_factor\\)"),
        (supervised(status("attempts", hold="attempts")), "23:59", "is not logged in"),
    ],
)
def test_a_soft_restart_that_is_not_offered_is_refused(fake: FakeDocker, auto_restart: str | None, found: str) -> None:
    schedule = GATEWAY.schedule.model_copy(update={"auto_restart": auto_restart})
    with pytest.raises(IbgwError, match=f"ibgw-paper-main.*{found}.*ibgw restart --stack paper") as refusal:
        lifecycle.soft_restart(fake, CONTRACT, GATEWAY.model_copy(update={"schedule": schedule}), print)
    assert refusal.value.exit_code == 7
    assert not fake.did("stop")
    assert not fake.did("start")


@pytest.mark.parametrize(
    "after",
    [
        status("token_refused", started=1795000050, kind="saved"),
        status("logged_in", started=1795000050, kind="password"),
        status("pause", hold="pause", started=0),
    ],
)
def test_a_soft_restart_that_lost_the_session_is_a_failure(after: str) -> None:
    with pytest.raises(IbgwError, match="did not keep its session") as failure:
        lifecycle.soft_restart(supervised(status(), after), CONTRACT, GATEWAY, print)
    assert failure.value.exit_code == 3


def test_a_soft_restart_that_never_comes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "RESTART_SECONDS", 0.05)
    with pytest.raises(IbgwError, match="asked to restart itself and is not back") as failure:
        lifecycle.soft_restart(supervised(status()), CONTRACT, GATEWAY, print)
    assert failure.value.exit_code == 6


def test_a_pause_lies_on_the_volume_and_is_over_when_the_gateway_has_logged_out() -> None:
    until = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)
    fake = supervised(status(), status("stopping"), status("paused", hold="paused", until=int(until.timestamp())))
    said = list[str]()
    lifecycle.pause(fake, CONTRACT, GATEWAY, said.append, until=until)
    assert written(fake) == {"guard/pause": f"{until.timestamp():.0f}\n".encode()}
    assert "Thu 22:00 EST" in said[-1]
    assert "ibgw start --stack paper --gateway main" in said[-1]
    assert not fake.did("stop")


def test_start_ends_a_pause() -> None:
    fake = supervised(status("paused", hold="paused", until=1795000500))
    said = list[str]()
    lifecycle.start(fake, CONTRACT, GATEWAY, said.append)
    assert written(fake) == {"guard/pause": b"0\n"}
    assert not fake.did("start")
    assert "the pause is over" in said[-1]


def test_start_does_not_end_offline_hours() -> None:
    fake = supervised(status("offline", hold="offline", until=1795000500))
    said = list[str]()
    lifecycle.start(fake, CONTRACT, GATEWAY, said.append)
    assert not fake.did("write_archive")
    assert "session.offline" in said[-1]


@pytest.mark.parametrize(("running", "cmd", "found"), [(False, "", "is stopped"), (True, OLD, "earlier version")])
def test_what_cannot_be_paused_is_refused(running: bool, cmd: str, found: str) -> None:
    fake = supervised(status(), running=running, cmd=cmd)
    with pytest.raises(IbgwError, match=f"ibgw-paper-main.*{found}") as refusal:
        lifecycle.pause(fake, CONTRACT, GATEWAY, print, until=datetime.now(UTC))
    assert refusal.value.exit_code == 7
    assert not fake.did("write_archive")


def test_a_pause_ends_after_its_length_or_at_a_time_of_day() -> None:
    zone = ZoneInfo(GATEWAY.schedule.time_zone)
    now = datetime.now(zone)
    length = lifecycle.pause_end(GATEWAY, length=timedelta(hours=2), until=None) - now
    assert timedelta(hours=2) <= length < timedelta(hours=2, seconds=5)
    for hours in (1, 23):
        at = now + timedelta(hours=hours)
        end = lifecycle.pause_end(GATEWAY, length=None, until=f"{at:%H:%M}")
        assert f"{end:%H:%M}" == f"{at:%H:%M}"
        assert timedelta(0) < end - now <= timedelta(hours=25)
    with pytest.raises(IbgwError, match="--until: '25:00'"):
        lifecycle.pause_end(GATEWAY, length=None, until="25:00")


@pytest.mark.parametrize("hold", ["logins", "pause"])
def test_login_again_goes_on_after_too_many_logins_and_does_not_wait_for_a_pause(hold: str) -> None:
    fake = supervised(status(hold, hold=hold))
    lifecycle.login_again(fake, CONTRACT, GATEWAY, list[str]().append)
    assert fake.did("write_archive")[0][:2] == [ID, "/home/ibgateway/tws_settings"]
    assert fake.did("start") == [[ID]]


@pytest.mark.parametrize("line", [status("codes", hold="codes"), f"{status('second_factor')} code=held"])
def test_login_again_has_codes_typed_again(line: str) -> None:
    """The time that it writes is the host's, by which the codes were held."""
    fake = supervised(line)
    gateway = GATEWAY.model_copy(update={"second_factor": SecondFactor.TOTP})
    lifecycle.login_again(fake, CONTRACT, gateway, list[str]().append)
    assert written(fake) == {"guard/again": b"1795000100\n", "guard/history": b"", "guard/pause": b"0\n"}
    assert fake.did("start") == [[ID]]


def test_login_again_leaves_the_guard_one_attempt() -> None:
    """infra/supervisor: two attempts are the limit, so a count of one leaves one."""
    fake = client(running=False)
    lifecycle.login_again(fake, CONTRACT, GATEWAY, list[str]().append)
    assert written(fake) == {f"guard/{GATEWAY.secret.version_id}.attempts": b"1\n", "guard/history": b""}
    assert fake.did("start") == [[ID]]


@pytest.mark.parametrize(("attempts", "used"), [(None, 0), ("0\n", 0), ("1\n", 1)])
def test_login_again_is_refused_while_the_guard_holds_nothing_back(attempts: str | None, used: int) -> None:
    fake = client(running=True, attempts=attempts)
    with pytest.raises(
        IbgwError, match=f"ibgw-paper-main.*{used} of 2 attempts.*ibgw restart --stack paper --gateway main"
    ) as refusal:
        lifecycle.login_again(fake, CONTRACT, GATEWAY, list[str]().append)
    assert refusal.value.exit_code == 7
    assert fake.looks("read_file")[0] == [ID, ATTEMPTS]
    assert not fake.done


@pytest.mark.parametrize("attempts", ["3\n", "", "two\n"])
def test_login_again_takes_what_the_guard_takes_for_exhausted(attempts: str) -> None:
    """infra/supervisor, load_attempts: what cannot be read as a number is at the limit."""
    fake = client(running=False, attempts=attempts)
    lifecycle.login_again(fake, CONTRACT, GATEWAY, list[str]().append)
    assert len(fake.did("write_archive")) == 1


@pytest.mark.parametrize(
    ("act", "call", "running"),
    [
        (lifecycle.start, "start", False),
        (lifecycle.stop, "stop", True),
        (lifecycle.restart, "stop", True),
        (lifecycle.login_again, "write_archive", False),
        (lifecycle.login_again, "read_file", False),
    ],
)
def test_a_failure_of_dockers_names_the_container(act: lifecycle.Act, call: str, running: bool) -> None:
    fake = client(running=running)
    fake.failing[call] = DockerError("driver failed")
    with pytest.raises(IbgwError, match=r"ibgw-paper-main.*driver failed.*ibgw verify --stack paper") as failure:
        act(fake, CONTRACT, GATEWAY, list[str]().append)
    assert failure.value.exit_code == 5


@pytest.mark.parametrize(
    "act", [lifecycle.start, lifecycle.stop, lifecycle.restart, lifecycle.soft_restart, lifecycle.login_again]
)
def test_a_container_that_is_gone_is_named_with_the_remedy(act: Any) -> None:
    with pytest.raises(IbgwError, match=r"ibgw-paper-main.*pulumi up --refresh --stack paper") as refusal:
        act(FakeDocker(), CONTRACT, GATEWAY, print)
    assert refusal.value.exit_code == 5


@pytest.mark.parametrize(
    "act", [lifecycle.start, lifecycle.stop, lifecycle.restart, lifecycle.soft_restart, lifecycle.login_again]
)
def test_one_that_docker_paused_is_let_run_on_first(act: Any) -> None:
    """Docker says of it that it runs; told to stop, it would be killed at the grace's end, without a logout."""
    fake = client(running=True)
    fake.objects[Kind.CONTAINER][ID]["State"]["Paused"] = True
    with pytest.raises(IbgwError, match="nothing was changed") as refusal:
        act(fake, CONTRACT, GATEWAY, print)
    assert refusal.value.exit_code == 7
    assert [*check_text(str(refusal.value))] == ["docker unpause ibgw-paper-main"]
    assert fake.done == []


@pytest.mark.parametrize(
    ("running", "history", "granted"),
    [
        (True, "1795150740 start\n1795150750 competing\n", True),
        (True, "1795150740 competing\n1795150750 start\n", False),
        (True, "", False),
        # It does not tell what it waits for: that it has something to forget is enough.
        (False, "1795150740 ended\n1795150750 ended\n", True),
        (False, "", False),
    ],
)
def test_what_would_make_the_next_start_wait_is_forgotten(running: bool, history: str, granted: bool) -> None:
    fake = client(running=running, attempts="1\n")
    fake.files["/home/ibgateway/tws_settings/guard/history"] = history
    if granted:
        lifecycle.login_again(fake, CONTRACT, GATEWAY, print)
        assert fake.did("write_archive")
    else:
        with pytest.raises(IbgwError, match="does not hold this version"):
            lifecycle.login_again(fake, CONTRACT, GATEWAY, print)
        assert fake.done == []


# --- all at the same time -----------------------------------------------------------------------------------------

MANY = parse_contract(contract_json("main", "other", "third", "fourth"), "x")
ALL = [MANY.gateways[name] for name in ("main", "other", "third", "fourth")]


def test_one_that_hangs_or_fails_delays_and_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    others_are_through, never = threading.Event(), threading.Event()
    said: list[str] = []

    def act(_: Any, __: Any, gateway: Any, say: Any) -> lifecycle.Outcome:
        if gateway.name == "main":
            never.wait()
        if gateway.name == "other":
            raise IbgwError("its container is gone")
        if gateway.name == "third":
            raise ZeroDivisionError("hunter2")
        say(f"{gateway.name} stopped")
        others_are_through.set()
        return lifecycle.Outcome.STOPPED

    monkeypatch.setattr(lifecycle, "TOGETHER_SECONDS", 1)
    try:
        came = lifecycle.together(act, FakeDocker(), MANY, ALL, said.append)
    finally:
        never.set()
    assert others_are_through.is_set()
    assert {name: str(outcome) for name, outcome in came.items()} == {
        "main": "no end within 1 s",
        "other": "its container is gone",
        "third": "a bug in ibgw (zero division error)",
        "fourth": "stopped",
    }
    assert {"other: its container is gone", "fourth stopped"} < set(said)


def test_all_are_acted_on_at_the_same_time() -> None:
    barrier = threading.Barrier(len(ALL), timeout=10)

    def act(*_: Any) -> lifecycle.Outcome:
        barrier.wait()
        return lifecycle.Outcome.STOPPED

    lifecycle.together(act, FakeDocker(), MANY, ALL, list[str]().append)


# --- for programs -------------------------------------------------------------------------------------------------


def answered(
    words: list[str],
    docker: FakeDocker,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *gateways: str,
) -> tuple[lifecycle.ActAnswer, str]:
    """The answer, and what stands on standard error."""
    pulumi = install(home, monkeypatch, sys.executable)
    deployed = json.loads(contract_json(*gateways) if gateways else contract_json())
    pulumi.answers({"stack output": (0, json.dumps({"contract": deployed}), "")})
    monkeypatch.setattr("healthcheck.docker_host.DockerHost", lambda _: docker)
    code = cli.run([*words, "--json"])
    shown = capsys.readouterr()
    answer = lifecycle.ActAnswer.model_validate_json(shown.out)
    assert answer.exit_code == code
    return answer, shown.err


@pytest.mark.parametrize(
    ("words", "running", "outcome"),
    [
        (["start", "paper"], False, "started"),
        (["start", "paper"], True, "runs_already"),
        (["stop", "paper"], True, "stopped"),
        (["stop", "paper", "--now"], True, "stopped"),
        (["stop", "paper"], False, "stopped_already"),
        (["restart", "paper"], True, "restarted"),
        (["login", "paper", "--again"], True, "login_granted"),
        (["reset-settings", "paper", "--yes"], True, "settings_reset"),
    ],
)
def test_what_was_done_is_told_to_programs(
    words: list[str],
    running: bool,
    outcome: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    docker = client(running=running)
    docker.objects[Kind.CONTAINER][ID]["Image"] = "sha256:1"
    answer, said = answered(words, docker, tmp_path / "home", monkeypatch, capsys)
    [acted] = answer.gateways
    assert (acted.gateway, acted.outcome, acted.error, answer.error) == ("main", outcome, None, None)
    assert acted.told
    assert set(acted.told) <= set(said.splitlines())
    assert (answer.backup is not None) == (outcome == "settings_reset")


def test_of_several_it_is_told_which_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docker = client(running=True)
    del docker.objects[Kind.CONTAINER][ID]
    for how in ["stop", "paper"], ["stop", "paper", "--now"]:
        answer, said = answered(how, docker, tmp_path / how[-1], monkeypatch, capsys, "main", "other")
        assert sorted(acted.gateway for acted in answer.gateways) == ["main", "other"]
        assert all(acted.outcome is None and "is gone" in (acted.error or "") for acted in answer.gateways)
        assert (answer.exit_code, "is gone" in (answer.error or "")) == (5, True)
        assert "is gone" in said


def test_of_one_that_hangs_programs_are_told_that_it_has_not_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    never = threading.Event()

    def act(_: Any, __: Any, gateway: Any, say: Any) -> lifecycle.Outcome:
        if gateway.name == "main":
            never.wait()
        if gateway.name == "other":
            raise ZeroDivisionError("hunter2")
        return lifecycle.Outcome.STOPPED

    monkeypatch.setattr(lifecycle, "TOGETHER_SECONDS", 1)
    monkeypatch.setattr(lifecycle, "stop", act)
    gateways = ("main", "other", "third")
    try:
        answer, _ = answered(
            ["stop", "paper", "--now"], client(running=True), tmp_path / "home", monkeypatch, capsys, *gateways
        )
    finally:
        never.set()
    assert sorted((acted.gateway, acted.outcome, acted.error) for acted in answer.gateways) == [
        ("main", None, "no end within 1 s"),
        ("other", None, "a bug in ibgw (zero division error)"),
        ("third", "stopped", None),
    ]
