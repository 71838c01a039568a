"""Whether the process that made a verifier's objects is gone: only where that is certain."""

import subprocess
import sys
from pathlib import Path

import pytest

from healthcheck import owner


def of_a_process(code: str) -> "subprocess.Popen[str]":
    line = [
        sys.executable,
        "-c",
        f"from healthcheck.owner import this_process; print(this_process(), flush=True); {code}",
    ]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_this_process_is_there() -> None:
    assert not owner.is_gone(owner.this_process())
    assert owner.this_process() != owner.this_process()


def test_another_process_is_there_until_it_has_ended() -> None:
    with of_a_process("input()") as other:
        assert other.stdout is not None
        run = other.stdout.readline().strip()
        assert not owner.is_gone(run)
        other.kill()
        # It has ended, and nobody has asked how: a zombie.
        assert other.stdout.read() == ""
    assert owner.is_gone(run)


def test_a_later_process_with_its_number_is_another() -> None:
    where, pid, started, token = owner.this_process().rsplit("/", 3)
    assert owner.is_gone(f"{where}/{pid}/{int(started) + 1}/{token}")


@pytest.mark.parametrize("at", [0, 1])
def test_one_of_another_boot_or_another_container_cannot_be_seen(at: int) -> None:
    parts = owner.this_process().split("/")
    parts[at] = parts[at].translate(str.maketrans("0123456789", "1234567890"))
    parts[2] = "4194305"  # beyond the largest number of a process (proc(5), pid_max)
    assert not owner.is_gone("/".join(parts))


def test_nothing_is_certain_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = owner.this_process()
    monkeypatch.setattr(owner, "PROC", tmp_path)
    assert "/" not in owner.this_process()
    assert not owner.is_gone(owner.this_process())
    assert not owner.is_gone(run)


@pytest.mark.parametrize("run", ["", "0123456789abcdef", "a/b/c"])
def test_the_run_of_an_earlier_version_or_none_is_not_certain(run: str) -> None:
    assert not owner.is_gone(run)
