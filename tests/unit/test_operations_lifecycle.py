"""`ibgw start`, `stop`, `restart` and `login --again`: Docker's own, with the container's own grace."""

import io
import tarfile
from typing import Any
from unittest.mock import MagicMock

import docker.errors
import pytest

from contract.errors import IbgwError
from operations import lifecycle
from operations.stack import parse_contract
from tests.unit.operations_contract import contract_json

CONTRACT = parse_contract(contract_json(), "x")
GATEWAY = CONTRACT.gateways["main"]
ID = "a" * 64


def client(*, running: bool, stop_timeout: int | None = 75) -> MagicMock:
    found: dict[str, Any] = {"State": {"Running": running}, "Config": {"StopTimeout": stop_timeout}}
    fake = MagicMock()
    fake.api.inspect_container.return_value = found
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


# `container.stopGrace` is 90 s by default (interfaces, Configuration); an own value is the container's StopTimeout.
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


@pytest.mark.parametrize("act", [lifecycle.start, lifecycle.stop, lifecycle.restart, lifecycle.login_again])
def test_a_container_that_is_gone_is_named_with_the_remedy(act: Any) -> None:
    fake = MagicMock()
    fake.api.inspect_container.side_effect = docker.errors.NotFound("no such container")
    with pytest.raises(IbgwError, match=r"ibgw-paper-main.*pulumi up --refresh --stack paper") as refusal:
        act(fake, CONTRACT, GATEWAY, print)
    assert refusal.value.exit_code == 5
