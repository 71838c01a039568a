"""`ibgw start`, `stop`, `restart` and `login --again`: Docker's own, with the container's own grace."""

import io
import tarfile
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import MagicMock
from zoneinfo import ZoneInfo

import docker.errors
import pytest
import requests.exceptions

from deployment.errors import IbgwError
from operations import lifecycle
from operations.stack import parse_contract
from tests.unit.operations_contract import contract_json

CONTRACT = parse_contract(contract_json(), "x")
GATEWAY = CONTRACT.gateways["main"]
ID = "a" * 64


def client(*, running: bool, stop_timeout: int | None = 75, attempts: bytes | None = b"2\n") -> MagicMock:
    """`attempts`: what the guard's file holds, None where there is none."""
    found: dict[str, Any] = {"State": {"Running": running}, "Config": {"StopTimeout": stop_timeout}}
    fake = MagicMock()
    fake.api.inspect_container.return_value = found
    if attempts is None:
        fake.api.get_archive.side_effect = docker.errors.NotFound("no such file")
    else:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as files:
            entry = tarfile.TarInfo("v1.attempts")
            entry.size = len(attempts)
            files.addfile(entry, io.BytesIO(attempts))
        content = archive.getvalue()
        fake.api.get_archive.return_value = (iter([content[:700], content[700:]]), {})
    return fake


def test_start_starts_and_says_how_to_see_that_it_is_ready() -> None:
    fake, said = client(running=False), list[str]()
    lifecycle.start(fake, CONTRACT, GATEWAY, said.append)
    fake.api.start.assert_called_once_with(ID)
    assert "ibgw verify --stack paper --gateway main" in said[-1]


def test_a_running_gateway_is_not_started_again() -> None:
    fake, said = client(running=True), list[str]()
    lifecycle.start(fake, CONTRACT, GATEWAY, said.append)
    fake.api.start.assert_not_called()
    assert said == ["ibgw-paper-main runs already."]


# `container.stopGrace` is 90 s by default (README.md, Settings); an own value is the container's StopTimeout.
@pytest.mark.parametrize(("stop_timeout", "grace"), [(75, 75), (None, 90)])
def test_stop_leaves_time_to_log_out(stop_timeout: int | None, grace: int) -> None:
    fake, said = client(running=True, stop_timeout=stop_timeout), list[str]()
    lifecycle.stop(fake, CONTRACT, GATEWAY, said.append)
    fake.api.stop.assert_called_once_with(ID, timeout=grace)
    assert f"{grace} s" in said[0]
    assert "ibgw start --stack paper --gateway main" in said[-1]


def test_a_stopped_gateway_is_not_stopped_again() -> None:
    fake, said = client(running=False), list[str]()
    lifecycle.stop(fake, CONTRACT, GATEWAY, said.append)
    fake.api.stop.assert_not_called()
    assert said == ["ibgw-paper-main is stopped already."]


def test_restart_is_a_stop_with_grace_and_a_start() -> None:
    fake = client(running=True)
    found = fake.api.inspect_container.return_value
    fake.api.stop.side_effect = lambda *_, **__: found["State"].update(Running=False)
    lifecycle.restart(fake, CONTRACT, GATEWAY, list[str]().append)
    fake.api.stop.assert_called_once_with(ID, timeout=75)
    fake.api.start.assert_called_once_with(ID)


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


def supervised(*lines: str, running: bool = True, answer: str = "OK RESTART in progress", cmd: str = "") -> MagicMock:
    """`lines`: the status at each look, the last one from then on. `answer`: IBC's."""
    fake = client(running=running, attempts=None)
    supervisor = "/home/ibgateway/tws_settings/guard/supervisor.sh"
    fake.api.inspect_container.return_value["Config"]["Cmd"] = [cmd] if cmd else ["bash", supervisor]
    left = list(lines)

    def archive(_: str, path: str) -> Any:
        if path != "/tmp/ibgw/status":
            raise docker.errors.NotFound("no such file")
        text = (left.pop(0) if len(left) > 1 else left[0]).encode()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as files:
            entry = tarfile.TarInfo("status")
            entry.size = len(text)
            files.addfile(entry, io.BytesIO(text))
        return iter([packed.getvalue()]), {}

    fake.api.get_archive.side_effect = archive
    fake.api.exec_create.return_value = {"Id": "e1"}
    fake.api.exec_start.return_value = answer.encode() + b"\n"
    return fake


def written(fake: MagicMock) -> dict[str, bytes]:
    """What was put on the settings volume, each file as the image's user's."""
    container, path, data = fake.api.put_archive.call_args.args
    assert (container, path) == (ID, "/home/ibgateway/tws_settings")
    found = {}
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
    [container, command] = fake.api.exec_create.call_args.args
    assert container == ID
    # IBC's documentation uses port 7462; the address is the container's own loopback.
    assert "/dev/tcp/127.0.0.1/7462" in command[-1]
    assert "echo RESTART" in command[-1]
    fake.api.stop.assert_not_called()
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
def test_a_soft_restart_that_is_not_offered_is_refused(fake: MagicMock, auto_restart: str | None, found: str) -> None:
    schedule = GATEWAY.schedule.model_copy(update={"auto_restart": auto_restart})
    with pytest.raises(IbgwError, match=f"ibgw-paper-main.*{found}.*ibgw restart --stack paper") as refusal:
        lifecycle.soft_restart(fake, CONTRACT, GATEWAY.model_copy(update={"schedule": schedule}), print)
    assert refusal.value.exit_code == 7
    for change in (fake.api.stop, fake.api.start):
        change.assert_not_called()


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
    fake.api.stop.assert_not_called()


def test_start_ends_a_pause() -> None:
    fake = supervised(status("paused", hold="paused", until=1795000500))
    said = list[str]()
    lifecycle.start(fake, CONTRACT, GATEWAY, said.append)
    assert written(fake) == {"guard/pause": b"0\n"}
    fake.api.start.assert_not_called()
    assert "the pause is over" in said[-1]


def test_start_does_not_end_offline_hours() -> None:
    fake = supervised(status("offline", hold="offline", until=1795000500))
    said = list[str]()
    lifecycle.start(fake, CONTRACT, GATEWAY, said.append)
    fake.api.put_archive.assert_not_called()
    assert "session.offline" in said[-1]


@pytest.mark.parametrize(("running", "cmd", "found"), [(False, "", "is stopped"), (True, OLD, "earlier version")])
def test_what_cannot_be_paused_is_refused(running: bool, cmd: str, found: str) -> None:
    fake = supervised(status(), running=running, cmd=cmd)
    with pytest.raises(IbgwError, match=f"ibgw-paper-main.*{found}") as refusal:
        lifecycle.pause(fake, CONTRACT, GATEWAY, print, until=datetime.now(UTC))
    assert refusal.value.exit_code == 7
    fake.api.put_archive.assert_not_called()


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
    found = fake.api.inspect_container.return_value
    fake.api.stop.side_effect = lambda *_, **__: found["State"].update(Running=False)
    lifecycle.login_again(fake, CONTRACT, GATEWAY, list[str]().append)
    assert fake.api.put_archive.call_args_list[0].args[:2] == (ID, "/home/ibgateway/tws_settings")
    fake.api.start.assert_called_once_with(ID)


def test_login_again_leaves_the_guard_one_attempt() -> None:
    """infra/supervisor: two attempts are the limit, so a count of one leaves one."""
    fake = client(running=False)
    lifecycle.login_again(fake, CONTRACT, GATEWAY, list[str]().append)
    assert written(fake) == {f"guard/{GATEWAY.secret.version_id}.attempts": b"1\n", "guard/history": b""}
    fake.api.start.assert_called_once_with(ID)


@pytest.mark.parametrize(("attempts", "used"), [(None, 0), (b"0\n", 0), (b"1\n", 1)])
def test_login_again_is_refused_while_the_guard_holds_nothing_back(attempts: bytes | None, used: int) -> None:
    fake = client(running=True, attempts=attempts)
    with pytest.raises(
        IbgwError, match=f"ibgw-paper-main.*{used} of 2 attempts.*ibgw restart --stack paper --gateway main"
    ) as refusal:
        lifecycle.login_again(fake, CONTRACT, GATEWAY, list[str]().append)
    assert refusal.value.exit_code == 7
    fake.api.get_archive.assert_called_once_with(ID, "/home/ibgateway/tws_settings/guard/v1.attempts")
    for change in (fake.api.put_archive, fake.api.stop, fake.api.start):
        change.assert_not_called()


@pytest.mark.parametrize("attempts", [b"3\n", b"", b"two\n"])
def test_login_again_takes_what_the_guard_takes_for_exhausted(attempts: bytes) -> None:
    """infra/supervisor, load_attempts: what cannot be read as a number is at the limit."""
    fake = client(running=False, attempts=attempts)
    lifecycle.login_again(fake, CONTRACT, GATEWAY, list[str]().append)
    fake.api.put_archive.assert_called_once()


@pytest.mark.parametrize(
    "error", [docker.errors.APIError("driver failed"), requests.exceptions.ConnectionError("driver failed")]
)
@pytest.mark.parametrize(
    ("act", "call", "running"),
    [
        (lifecycle.start, "start", False),
        (lifecycle.stop, "stop", True),
        (lifecycle.restart, "stop", True),
        (lifecycle.login_again, "put_archive", False),
        (lifecycle.login_again, "get_archive", False),
    ],
)
def test_a_failure_of_dockers_names_the_container(
    act: lifecycle.Act, call: str, running: bool, error: Exception
) -> None:
    fake = client(running=running)
    getattr(fake.api, call).side_effect = error
    with pytest.raises(IbgwError, match=r"ibgw-paper-main.*driver failed.*ibgw verify --stack paper") as failure:
        act(fake, CONTRACT, GATEWAY, list[str]().append)
    assert failure.value.exit_code == 5


@pytest.mark.parametrize(
    "act", [lifecycle.start, lifecycle.stop, lifecycle.restart, lifecycle.soft_restart, lifecycle.login_again]
)
def test_a_container_that_is_gone_is_named_with_the_remedy(act: Any) -> None:
    fake = MagicMock()
    fake.api.inspect_container.side_effect = docker.errors.NotFound("no such container")
    with pytest.raises(IbgwError, match=r"ibgw-paper-main.*pulumi up --refresh --stack paper") as refusal:
        act(fake, CONTRACT, GATEWAY, print)
    assert refusal.value.exit_code == 5
