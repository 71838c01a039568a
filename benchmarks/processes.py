"""What processes take, read from /proc (proc(5)): memory, CPU time, and whose child is whose. Needs root."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Memory:
    """Bytes. `rss` counts a page once for each process that has it, `pss` divides it among them: the sum of all PSS is
    what is taken in all."""

    rss: int = 0
    pss: int = 0

    def __add__(self, other: "Memory") -> "Memory":
        return Memory(self.rss + other.rss, self.pss + other.pss)


@dataclass(frozen=True)
class Process:
    """`seconds`: CPU time of its own; `reaped`: of the children that it has waited for."""

    parent: int
    name: str
    seconds: float
    reaped: float


def parse_stat(text: str, ticks: int) -> Process:
    """/proc/PID/stat; `ticks`: clock ticks a second."""
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    user, system, children_user, children_system = (int(field) for field in fields[11:15])
    return Process(int(fields[1]), name, (user + system) / ticks, (children_user + children_system) / ticks)


def parse_memory(text: str) -> Memory:
    """/proc/PID/smaps_rollup, which is empty for a process that nobody has collected yet."""
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in text.splitlines() if line.endswith(" kB")}
    return Memory(found.get("Rss", 0), found.get("Pss", 0))


def all_processes() -> dict[int, Process]:
    ticks = os.sysconf("SC_CLK_TCK")
    return {int(path.parent.name): parse_stat(text, ticks) for path, text in _read("stat")}


def memory(pids: Iterable[int]) -> Memory:
    """In all. A process that has ended meanwhile takes nothing."""
    found = Memory()
    for pid in pids:
        try:
            found += parse_memory((PROC / str(pid) / "smaps_rollup").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def group_seconds(pid: int) -> float:
    """CPU time of a process's control group: of all that ever ran in its container. Raises ValueError without one."""
    for line in (PROC / str(pid) / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(","):  # cgroups(7): version 1
            return int((GROUPS / "cpuacct" / path.lstrip("/") / "cpuacct.usage").read_text()) / 10**9
        unified = GROUPS / path.lstrip("/") / "cpu.stat"
        if not controllers and unified.exists():  # version 2
            return int(unified.read_text().split()[1]) / 10**6
    raise ValueError(f"process {pid} has no control group that counts CPU time")


def descendants(root: int, processes: Mapping[int, Process]) -> set[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    found, left = set(), [root]
    while left:
        pid = left.pop()
        found.add(pid)
        left += children.get(pid, [])
    return found


def _read(name: str) -> Iterator[tuple[Path, str]]:
    for path in PROC.glob(f"[0-9]*/{name}"):
        try:
            yield path, path.read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
