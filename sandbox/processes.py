"""Background processes of a sandbox: started in a session of their own, recorded, and ended only if they are ours."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deployment.errors import IbgwError
from sandbox.record import Record, RecordedProcess, RecordFile

POLL_SECONDS = 0.05
LOG_TAIL_BYTES = 2000


def identity(pid: int) -> str | None:
    """Boot id and start time in ticks since boot (field 22 of /proc/PID/stat): together with the pid unique for ever.

    None when there is no such process, or only the remains of one that its parent has not collected yet.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()
    if state in ("Z", "X"):
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{fields[18]}"


def alive(process: RecordedProcess) -> bool:
    return identity(process.pid) == process.identity


def this_process() -> RecordedProcess:
    found = identity(os.getpid())
    if found is None:
        raise IbgwError("/proc does not show this process; the sandbox needs Linux with /proc mounted")
    return RecordedProcess(pid=os.getpid(), identity=found, ready=True)


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def answers(host: str, port: int) -> bool:
    """Whether something accepts TCP connections there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def run(command: Sequence[str], *, doing: str, env: Mapping[str, str] | None = None) -> str:
    """Runs a command to its end and returns its output. Raises IbgwError with the end of its output when it fails."""
    try:
        done = subprocess.run(
            command, env=env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except FileNotFoundError as error:
        raise IbgwError(f"{doing}: the command {command[0]!r} is not installed") from error
    if done.returncode != 0:
        tail = done.stdout[-LOG_TAIL_BYTES:].strip()
        raise IbgwError(f"{doing}: {command[0]} ended with status {done.returncode}:\n{tail}")
    return done.stdout


class Processes:
    """The background processes of one sandbox, by name. Each one's output goes to `<name>.log` in `logs`."""

    def __init__(self, record: RecordFile, logs: Path) -> None:
        self._record = record
        self._logs = logs

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def ready(self, name: str, version: str = "") -> bool:
        """Whether it runs, answers and is filled, started from this version."""
        found = self._record.current.processes.get(name)
        return found is not None and found.ready and found.version == version and alive(found)

    def running(self, name: str) -> bool:
        """Whether it runs, ready or not, of whatever version."""
        found = self._record.current.processes.get(name)
        return found is not None and alive(found)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        answers: Callable[[], bool],
        seconds: float,
        then: Callable[[], None] = lambda: None,
        version: str = "",
        cwd: Path | None = None,
    ) -> None:
        """Starts `command`, waits until it `answers`, then runs `then` (what it must be filled with).

        One of this name that still runs, of another version or half-ready, is ended first. Raises IbgwError with the
        end of its log when it ends by itself or does not answer within `seconds`.
        """
        self.stop(name, grace=10)
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as log:
            try:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    cwd=cwd,
                )
            except FileNotFoundError as error:
                raise IbgwError(f"{name}: the command {command[0]!r} is not installed") from error
        found = identity(child.pid)
        if found is not None:
            process = RecordedProcess(pid=child.pid, identity=found, version=version)
            self._record.update(lambda record: record.processes.update({name: process}))
        wait_until(lambda: child.poll() is not None or answers(), seconds=seconds)
        if child.poll() is not None:
            raise IbgwError(f"{name} ended with status {child.returncode} instead of answering:\n{self._tail(name)}")
        if not answers():
            self.stop(name, grace=10)
            raise IbgwError(f"{name} did not answer within {seconds:.0f} s:\n{self._tail(name)}")
        then()

        def settle(record: Record) -> None:
            record.processes[name].ready = True

        self._record.update(settle)

    def stop(self, name: str, *, grace: float) -> bool:
        """Ends the recorded process: SIGTERM, and SIGKILL after `grace` seconds. False when it was not running."""
        process = self._record.current.processes.get(name)
        stopped = process is not None and end(process, grace=grace)
        self._record.update(lambda record: record.processes.pop(name, None))
        return stopped

    def _tail(self, name: str) -> str:
        return self.log(name).read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()


def end(process: RecordedProcess, *, grace: float) -> bool:
    """Ends exactly this process. A pidfd holds on to it, so that a recycled pid is never signalled."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not alive(process):
            return False
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return True
            if wait_until(lambda: not alive(process), seconds=seconds):
                return True
        raise IbgwError(f"process {process.pid} does not end, not even on SIGKILL")
    finally:
        os.close(handle)
