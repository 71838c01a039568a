"""Background processes: recorded, filled before they count as ready, and never mistaken for another's."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deployment.errors import IbgwError
from sandbox import processes
from sandbox.processes import Processes
from sandbox.record import RecordedProcess, RecordFile

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
]


@pytest.fixture
def record(tmp_path: Path) -> RecordFile:
    return RecordFile(tmp_path / "record.json", prefix="ibgw-x", index=3)


@pytest.fixture
def ours(record: RecordFile, tmp_path: Path) -> Processes:
    return Processes(record, tmp_path / "logs")


def test_a_started_process_is_recorded_on_disk_and_ended_from_there(ours: Processes, tmp_path: Path) -> None:
    ours.start("one", SLEEP, answers=lambda: True, seconds=5)
    later = RecordFile(tmp_path / "record.json", prefix="ibgw-x", index=3)
    process = later.current.processes["one"]
    assert process.ready
    assert processes.alive(process)
    assert Processes(later, tmp_path / "logs").stop("one", grace=10)
    assert not processes.alive(process)
    assert "one" not in RecordFile(tmp_path / "record.json", prefix="ibgw-x", index=3).current.processes


def test_one_that_ignores_sigterm_is_killed_after_its_grace(ours: Processes, record: RecordFile) -> None:
    ours.start("one", STUBBORN, answers=lambda: "deaf" in ours.log("one").read_text(), seconds=10)
    process = record.current.processes["one"]
    assert ours.stop("one", grace=0.2)
    assert not processes.alive(process)


def test_a_recycled_pid_is_left_alone() -> None:
    with subprocess.Popen(SLEEP) as stranger:
        real = processes.identity(stranger.pid)
        assert real is not None
        boot, _, ticks = real.partition("/")
        earlier = RecordedProcess(pid=stranger.pid, identity=f"{boot}/{int(ticks) - 1}", ready=True)
        assert not processes.alive(earlier)
        assert not processes.end(earlier, grace=1)
        assert stranger.poll() is None
        assert processes.end(RecordedProcess(pid=stranger.pid, identity=real), grace=5)


def test_a_process_that_nobody_has_collected_yet_counts_as_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child_identity = processes.identity(child.pid)
        assert processes.wait_until(lambda: processes.identity(child.pid) is None, seconds=10)
        if child_identity is not None:
            assert not processes.alive(RecordedProcess(pid=child.pid, identity=child_identity))


def test_a_process_that_ends_instead_of_answering_is_reported_with_the_end_of_its_log(ours: Processes) -> None:
    command = [sys.executable, "-c", "import sys; print('no such address'); sys.exit(7)"]
    with pytest.raises(IbgwError, match=r"(?s)one ended with status 7.*no such address"):
        ours.start("one", command, answers=lambda: False, seconds=10)
    assert not ours.ready("one")


def test_a_process_that_never_answers_is_ended(ours: Processes, record: RecordFile) -> None:
    seen: list[RecordedProcess] = []

    def never() -> bool:
        seen.extend(record.current.processes.values())
        return False

    with pytest.raises(IbgwError, match="did not answer within 0 s"):
        ours.start("one", SLEEP, answers=never, seconds=0.2)
    assert seen
    assert not processes.alive(seen[0])


def test_a_start_that_was_interrupted_before_its_end_is_done_again(ours: Processes, record: RecordFile) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ours.start("one", SLEEP, answers=lambda: True, seconds=5, then=interrupted)
    half = record.current.processes["one"]
    assert processes.alive(half)
    assert not ours.ready("one")
    filled: list[str] = []
    ours.start("one", SLEEP, answers=lambda: True, seconds=5, then=lambda: filled.append("one"))
    assert filled == ["one"]
    assert ours.ready("one")
    assert not processes.alive(half)
    ours.stop("one", grace=10)


def test_one_that_was_started_from_something_else_is_not_ready(ours: Processes) -> None:
    ours.start("one", SLEEP, answers=lambda: True, seconds=5, version="before")
    assert ours.ready("one", "before")
    assert not ours.ready("one", "after")
    assert ours.running("one")
    ours.stop("one", grace=10)


def test_a_process_survives_the_signals_of_its_starters_terminal(ours: Processes, record: RecordFile) -> None:
    ours.start("one", SLEEP, answers=lambda: True, seconds=5)
    pid = record.current.processes["one"].pid
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert int(stat[3]) == pid, "it leads a session of its own (proc(5): field 6)"
    ours.stop("one", grace=10)


def test_answers_needs_a_listener() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert not processes.answers("127.0.0.1", port)
        listener.listen()
        assert processes.answers("127.0.0.1", port)


def test_a_failed_command_shows_what_it_said() -> None:
    with pytest.raises(IbgwError, match=r"(?s)making tea: .* status 3:\nno kettle"):
        processes.run([sys.executable, "-c", "print('no kettle'); raise SystemExit(3)"], doing="making tea")


def test_a_missing_command_is_named() -> None:
    with pytest.raises(IbgwError, match="making tea: the command 'no-such-kettle' is not installed"):
        processes.run(["no-such-kettle"], doing="making tea")


def test_end_of_a_process_that_is_gone_is_no_error() -> None:
    with subprocess.Popen(SLEEP) as child:
        found = processes.identity(child.pid)
        assert found is not None
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not processes.end(RecordedProcess(pid=child.pid, identity=found), grace=1)
