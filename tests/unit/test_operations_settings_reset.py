"""`ibgw reset-settings`: nothing is lost that was not backed up, and no attempt is granted by the way."""

import io
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from deployment.errors import ExitCode, IbgwError
from deployment.tables import Kind
from healthcheck.docker_host import DockerError
from operations import settings_reset
from operations.stack import parse_contract
from tests.unit.fake_docker import FakeDocker
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


class Host(FakeDocker):
    def __init__(self) -> None:
        super().__init__()
        self.objects[Kind.CONTAINER][GATEWAY.container.id] = {
            "State": {"Running": True},
            "Config": {"StopTimeout": 75},
            "Image": "sha256:feed",
        }
        self.archive = archive(FILES)

    @property
    def steps(self) -> list[str]:
        """Of the gateway, and of the container that empties its settings."""
        names = {"create": "empty", "write_archive": "put"}
        gateway = GATEWAY.container.id
        return [names.get(what, what) for what, name, *_ in self.done if what == "create" or name == gateway]


def reset(host: Host, tmp_path: Path, ask: Any = lambda _: None) -> Path:
    return settings_reset.reset(host, CONTRACT, GATEWAY, ask=ask, say=list[str]().append, backups=tmp_path / "backups")


def test_a_reset_backs_up_empties_and_starts(tmp_path: Path) -> None:
    host = Host()
    backup = reset(host, tmp_path)
    assert host.steps == ["stop", "empty", "start"]
    with tarfile.open(backup) as tar:
        assert {name.removeprefix("tws_settings/") for name in tar.getnames()} == set(FILES)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert stat.S_IMODE(backup.parent.stat().st_mode) == 0o700
    [(image, options)] = host.did("create")
    assert image == "sha256:feed"
    assert "! -name guard" in options["entrypoint"][-1]
    assert options["user"] == "1000:1000"
    assert "network" not in options
    assert options["volumes"] == {"ibgw-paper-main-settings": "/home/ibgateway/tws_settings"}
    assert host.did("remove") == [[options["name"]]]


def test_it_says_what_is_lost_and_a_no_changes_nothing(tmp_path: Path) -> None:
    host, asked = Host(), list[str]()

    def no(question: str) -> None:
        asked.append(question)
        raise IbgwError("no", exit_code=ExitCode.DECLINED)

    with pytest.raises(IbgwError):
        reset(host, tmp_path, no)
    assert "ibgw-paper-main" in asked[0]
    assert "the token with which its daily restart keeps the session" in asked[0]
    assert host.steps == []
    assert not (tmp_path / "backups").exists()


def test_a_failed_backup_empties_nothing_and_leaves_no_half_of_one(tmp_path: Path) -> None:
    host = Host()
    host.failing["read_archive"] = DockerError("broken pipe")
    with pytest.raises(IbgwError, match=r"nothing was reset.*ibgw start --stack paper --gateway main"):
        reset(host, tmp_path)
    assert host.steps == ["stop"]
    assert not list(tmp_path.rglob("*.tar"))


def test_a_failed_reset_is_undone(tmp_path: Path) -> None:
    host = Host()
    # The emptying fails once; the restore's own succeeds.
    host.exit_codes = [1, 0]
    host.logs["ibgw-paper-main-settings-owner-reset"] = ["find: busy"]
    with pytest.raises(IbgwError, match=r"find: busy.*the settings are put back"):
        reset(host, tmp_path)
    assert host.steps == ["stop", "empty", "empty", "put", "start"]
    [(_, folder, content)] = host.did("write_archive")
    assert folder == "/home/ibgateway"
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert tar.getnames() == ["tws_settings/jts.ini", "tws_settings/abcd/ibg.xml"]
        assert {(entry.uid, entry.gid, entry.size > 0) for entry in tar} == {(1000, 1000, True)}


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"no archive", "no backup"), (archive({"x": b""}, "etc"), "etc/x"), (archive({"../x": b""}), r"\.\.")],
)
def test_another_file_is_not_restored(tmp_path: Path, content: bytes, found: str) -> None:
    host = Host()
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(IbgwError, match=found) as refusal:
        settings_reset.restore(host, CONTRACT, GATEWAY, tmp_path / "b.tar", say=print)
    assert refusal.value.exit_code == 7
    assert host.steps == []


def test_a_missing_backup_is_named(tmp_path: Path) -> None:
    with pytest.raises(IbgwError, match=r"gone\.tar") as refusal:
        settings_reset.restore(Host(), CONTRACT, GATEWAY, tmp_path / "gone.tar", say=print)
    assert refusal.value.exit_code == 7
