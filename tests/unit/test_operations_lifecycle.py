"""`ibgw start`, `stop`, `restart` and `login --again`: Docker's own, with the container's own grace."""

import io
import tarfile
from typing import Any
from unittest.mock import MagicMock

import docker.errors
import pytest
import requests.exceptions

from contract.errors import IbgwError
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


@pytest.mark.parametrize(
    "answer", ["OK RESTART in progress", "OK RESTART at 11:02 PM"]
)  # IBC, RestartTask: with the menu item, and without
def test_a_soft_restart_is_asked_of_ibc_inside_the_container(answer: str) -> None:
    fake, said = client(running=True), list[str]()
    fake.api.exec_create.return_value = {"Id": "e1"}
    fake.api.exec_start.return_value = answer.encode() + b"\n"
    lifecycle.soft_restart(fake, CONTRACT, GATEWAY, said.append)
    [container, command] = fake.api.exec_create.call_args.args
    assert container == ID
    # IBC's documentation uses port 7462; the address is the container's own loopback.
    assert "/dev/tcp/127.0.0.1/7462" in command[-1]
    assert "echo RESTART" in command[-1]
    fake.api.stop.assert_not_called()
    assert answer.removeprefix("OK ") in said[-1]


@pytest.mark.parametrize(
    ("running", "answer", "auto_restart", "found"),
    [
        (True, b"ERROR RESTART already in progress\n", "23:59", "answered 'ERROR RESTART already in progress'"),
        (True, b"", "23:59", "does not answer"),
        (False, b"", "23:59", "is stopped"),
        (True, b"OK RESTART in progress\n", None, "no session.autoRestart"),
    ],
)
def test_a_soft_restart_that_is_not_offered_is_refused(
    running: bool, answer: bytes, auto_restart: str | None, found: str
) -> None:
    fake = client(running=running)
    fake.api.exec_create.return_value = {"Id": "e1"}
    fake.api.exec_start.return_value = answer
    schedule = GATEWAY.schedule.model_copy(update={"auto_restart": auto_restart})
    with pytest.raises(IbgwError, match=f"ibgw-paper-main.*{found}.*ibgw restart --stack paper") as refusal:
        lifecycle.soft_restart(fake, CONTRACT, GATEWAY.model_copy(update={"schedule": schedule}), print)
    assert refusal.value.exit_code == 7
    for change in (fake.api.stop, fake.api.start):
        change.assert_not_called()


def test_login_again_leaves_the_guard_one_attempt() -> None:
    """infra/start.d: two attempts are the limit, so a count of one leaves one; the file belongs to the image's user."""
    fake = client(running=False)
    lifecycle.login_again(fake, CONTRACT, GATEWAY, list[str]().append)
    container, path, data = fake.api.put_archive.call_args.args
    assert (container, path) == (ID, "/home/ibgateway/tws_settings")
    with tarfile.open(fileobj=io.BytesIO(data)) as files:
        [entry] = files.getmembers()
        content = files.extractfile(entry)
        assert content is not None
        assert content.read() == b"1\n"
    assert entry.name == f"guard/{GATEWAY.secret.version_id}.attempts"
    assert (entry.uid, entry.gid, entry.mode) == (1000, 1000, 0o600)
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
    """infra/start.d, attempts(): what cannot be read as a number is at the limit."""
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
        (lifecycle.soft_restart, "exec_create", True),
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
