"""`ibgw reset-settings`: nothing is lost that was not backed up, and no attempt is granted by the way."""

import io
import stat
import tarfile
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import docker.errors
import pytest

from deployment.errors import ExitCode, IbgwError
from operations import settings_reset
from operations.stack import parse_contract
from tests.unit.operations_contract import contract_json

CONTRACT = parse_contract(contract_json(), "x")
GATEWAY = CONTRACT.gateways["main"]
# What the image keeps in its settings folder, and the start guard's counts (infra/start.d).
FILES = {"jts.ini": b"[Logon]\n", "abcd/ibg.xml": b"<x/>", "guard/v1.attempts": b"2\n", "guard/v1.ok": b""}


def archive(files: dict[str, bytes], top: str = "tws_settings") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.uid, entry.gid = len(content), 1000, 1000
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class Host:
    """Docker as far as a reset uses it. `events`: the changing calls in their order."""

    def __init__(self, *, emptying: int = 0) -> None:
        self.events: list[Any] = []
        self.restored: dict[str, bytes] = {}
        self.client = MagicMock()
        self.running = True
        api = self.client.api
        api.inspect_container.side_effect = lambda _: {
            "State": {"Running": self.running},
            "Config": {"StopTimeout": 75},
            "Image": "sha256:feed",
        }
        api.stop.side_effect = lambda *_, **__: self.event("stop", running=False)
        api.start.side_effect = lambda *_: self.event("start", running=True)
        data = archive(FILES)
        api.get_archive.side_effect = lambda *_: (iter([data[:512], data[512:]]), {})
        api.put_archive.side_effect = self.put
        one_shot = self.client.containers.create.return_value
        one_shot.start.side_effect = lambda: self.event("empty")
        one_shot.wait.return_value = {"StatusCode": emptying}
        one_shot.logs.return_value = b"find: busy\n"
        self.one_shot = one_shot

    def event(self, what: str, running: bool | None = None) -> None:
        self.events.append(what)
        self.running = self.running if running is None else running

    def put(self, _container: str, path: str, content: Any) -> None:
        assert path == "/home/ibgateway"
        self.event("put")
        with tarfile.open(fileobj=content) as tar:
            for entry in tar:
                assert (entry.uid, entry.gid) == (1000, 1000)
                file = tar.extractfile(entry)
                self.restored[entry.name] = file.read() if file is not None else b""


def reset(host: Host, tmp_path: Path, ask: Any = lambda _: None) -> Path:
    return settings_reset.reset(
        host.client, CONTRACT, GATEWAY, ask=ask, say=list[str]().append, backups=tmp_path / "backups"
    )


def test_a_reset_backs_up_empties_and_starts(tmp_path: Path) -> None:
    host = Host()
    backup = reset(host, tmp_path)
    assert host.events == ["stop", "empty", "start"]
    with tarfile.open(backup) as tar:
        assert {name.removeprefix("tws_settings/") for name in tar.getnames()} == set(FILES)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    options = host.client.containers.create.call_args.kwargs
    assert "! -name guard" in options["entrypoint"][-1]
    assert (options["user"], options["network_mode"], options["cap_drop"]) == ("1000:1000", "none", ["ALL"])
    assert options["volumes"] == {"ibgw-paper-main-settings": {"bind": "/home/ibgateway/tws_settings"}}
    host.one_shot.remove.assert_called_once_with(force=True)


def test_it_says_what_is_lost_and_a_no_changes_nothing(tmp_path: Path) -> None:
    host, asked = Host(), list[str]()

    def no(question: str) -> None:
        asked.append(question)
        raise IbgwError("no", exit_code=ExitCode.DECLINED)

    with pytest.raises(IbgwError):
        reset(host, tmp_path, no)
    assert "ibgw-paper-main" in asked[0]
    assert "the token with which its daily restart keeps the session" in asked[0]
    assert host.events == []
    assert not (tmp_path / "backups").exists()


def test_a_failed_backup_empties_nothing_and_leaves_no_half_of_one(tmp_path: Path) -> None:
    host = Host()
    host.client.api.get_archive.side_effect = docker.errors.APIError("broken pipe")
    with pytest.raises(IbgwError, match=r"nothing was reset.*ibgw start --stack paper --gateway main"):
        reset(host, tmp_path)
    assert host.events == ["stop"]
    assert not list(tmp_path.rglob("*.tar"))


def test_a_failed_reset_is_undone(tmp_path: Path) -> None:
    host = Host(emptying=1)
    # The emptying fails once; the restore's own succeeds.
    host.one_shot.wait.side_effect = [{"StatusCode": 1}, {"StatusCode": 0}]
    with pytest.raises(IbgwError, match=r"find: busy.*the settings are put back"):
        reset(host, tmp_path)
    assert host.events == ["stop", "empty", "empty", "put", "start"]
    assert host.restored == {"tws_settings/jts.ini": b"[Logon]\n", "tws_settings/abcd/ibg.xml": b"<x/>"}


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"no archive", "no backup"), (archive({"x": b""}, "etc"), "etc/x"), (archive({"../x": b""}), r"\.\.")],
)
def test_another_file_is_not_restored(tmp_path: Path, content: bytes, found: str) -> None:
    host = Host()
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(IbgwError, match=found) as refusal:
        settings_reset.restore(host.client, CONTRACT, GATEWAY, tmp_path / "b.tar", say=print)
    assert refusal.value.exit_code == 7
    assert host.events == []


def test_a_missing_backup_is_named(tmp_path: Path) -> None:
    with pytest.raises(IbgwError, match=r"gone\.tar") as refusal:
        settings_reset.restore(Host().client, CONTRACT, GATEWAY, tmp_path / "gone.tar", say=print)
    assert refusal.value.exit_code == 7
