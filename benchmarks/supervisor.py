"""What the supervisor costs: one gateway's container with it, beside one that the image's own run.sh starts.

Run: `python -m benchmarks.supervisor [--rounds 5] [--idle 60]`; it brings a sandbox of its own up, and down again. Both
containers are as `infra` declares them, each with a user of its own. The one without the supervisor gets the template
that the supervisor renders, with its own user's credentials, and nothing else. They start and stop in turns and idle
in the same minute, so that a machine that slows down slows both; medians and their ratios count.
"""

import argparse
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks import processes
from benchmarks.console import progress, say
from benchmarks.deploy import archive
from benchmarks.own_sandbox import own_sandbox
from benchmarks.sandbox import CONFIRMED, LOGGED_IN, Crowd, machine
from deployment.names import Role
from deployment.properties import declared
from deployment.tables import CONTAINER
from infra import spec
from infra.properties import escape
from sandbox.environment import Sandbox

PREFIX = "ibgw-supervisor-benchmark"

IMAGE, SUPERVISOR = "image", "supervisor"
SEEN = {IMAGE: LOGGED_IN, SUPERVISOR: CONFIRMED}
"""After these words in its log a contender is logged in, as far as what runs in it can tell."""

LINES = {"IBC's first line": " IBC: ", "the login": LOGGED_IN}
"""Not run.sh's own first line: it may come before the moment that Docker calls the start."""

TEMPLATE = f"{spec.HOME}/ibc/config.ini.tmpl"
SETTLE_SECONDS = 5
RUN_SH = "run.sh"

Figures = dict[str, dict[str, list[float]]]
"""What was measured -> contender -> a value for each round."""


def with_credentials(template: str, user_id: str, password: str) -> str:
    """A rendered template for another user; its line ends, CR and LF or LF, stay. `user_id`, `password`: escaped.

    Raises ValueError where the template has one of their keys not exactly once.
    """
    lines = template.splitlines(keepends=True)
    for key, value in (("IbLoginId", user_id), ("IbPassword", password)):
        found = [number for number, line in enumerate(lines) if line.startswith(f"{key}=")]
        if len(found) != 1:
            raise ValueError(f"{key}= stands {len(found)} times in the template, expected once")
        (at,) = found
        end = lines[at][len(lines[at].rstrip("\r\n")) :]
        lines[at] = f"{key}={value}{end}"
    return "".join(lines)


def used_memory(stats: Mapping[str, Any]) -> int:
    """Bytes without the page cache that nobody has used lately, as `docker stats` counts them: of the Docker API's
    `memory_stats`, in control groups of version 1 or 2."""
    detail = stats["stats"]
    inactive = detail["total_inactive_file"] if "total_inactive_file" in detail else detail["inactive_file"]
    return int(stats["usage"]) - int(inactive)


def own_processes(init: int, found: Mapping[int, processes.Process]) -> set[int]:
    """What we run in the container: all of its processes but the image's run.sh and what is below that."""
    inside = processes.descendants(init, found)
    image = [processes.descendants(pid, found) for pid in inside if found[pid].name == RUN_SH]
    return inside.difference(*image)


def compared(figures: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """As printed. The ratio and the difference are the supervisor's median to the image's."""
    lines = []
    for what, found in figures.items():
        medians = {name: statistics.median(values) for name, values in found.items()}
        comparison = ""
        if medians.keys() == {IMAGE, SUPERVISOR}:
            ratio, difference = medians[SUPERVISOR] / medians[IMAGE], medians[SUPERVISOR] - medians[IMAGE]
            comparison = f": ratio {ratio:.2f}, difference {difference:+.3f}"
        lines.append(f"{what}{comparison}")
        for name, values in found.items():
            lines.append(f"  {name:<10} median {medians[name]:.3f}  (min {min(values):.3f}, max {max(values):.3f})")
    return lines


class Pair(Crowd):
    """A container a contender."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox, 2)
        self.names = dict(zip((IMAGE, SUPERVISOR), self._described.gateways, strict=True))
        image = self.names[IMAGE]
        gateway = self._host.gateways[image]
        bare = replace(gateway.container, command=())
        changed = replace(gateway, containers={**gateway.containers, Role.GATEWAY: bare})
        self._host = replace(self._host, gateways={**self._host.gateways, image: changed})

    def create(self) -> None:
        """Starts the supervised one once, for its template, and stops it."""
        super().create()
        self.log_in(self.names[SUPERVISOR], CONFIRMED)
        # The stubs know an iterator too, of a command that streams.
        shown: Any = self.containers[self.names[SUPERVISOR]].exec_run(["cat", TEMPLATE])
        if shown.exit_code:
            raise RuntimeError(f"{TEMPLATE} could not be read: {shown.output.decode()}")
        self.stop(SUPERVISOR)
        user = self.user(self.names[IMAGE])
        text = with_credentials(shown.output.decode(), escape(user.user_id), escape(user.password))
        self.containers[self.names[IMAGE]].put_archive("/", archive({TEMPLATE: (text, 0o444)}))

    def begin(self, contender: str) -> dict[str, float]:
        """Seconds from the container's start to each of `LINES`, and of CPU until the login was seen: that depends less
        on what else the machine does."""
        name = self.names[contender]
        self.log_in(name, SEEN[contender])
        found = {"the login, of CPU": processes.group_seconds(self.inits_by_contender()[contender])}
        for what, words in LINES.items():
            seconds = self.seconds(name, words)
            if seconds is None:
                raise RuntimeError(f"{name} logged in without a line with {words!r}")
            found[what] = seconds
        return found

    def stop(self, contender: str) -> float:
        """Its seconds."""
        name = self.names[contender]
        grace = declared(CONTAINER, self._host.gateways[name].container)["stopTimeout"]
        began = time.monotonic()
        self.containers[name].stop(timeout=grace)
        return time.monotonic() - began

    def logouts(self, contender: str) -> int:
        users = self._sandbox.broker().status()["users"]
        return int(users[self.user(self.names[contender]).user_id]["logouts"])

    def inits_by_contender(self) -> dict[str, int]:
        for container in self.containers.values():
            container.reload()
        return {contender: self.containers[name].attrs["State"]["Pid"] for contender, name in self.names.items()}

    def memory(self, contender: str) -> int:
        """Bytes of the whole container."""
        stats: Any = self.containers[self.names[contender]].stats(stream=False)
        return used_memory(stats["memory_stats"])


def idle(pair: Pair, seconds: float) -> dict[str, dict[str, float]]:
    """What was measured -> contender -> its value. CPU in milliseconds a second, memory in MiB."""
    inits = pair.inits_by_contender()

    def now() -> tuple[dict[str, float], float]:
        found = processes.all_processes()
        own = own_processes(inits[SUPERVISOR], found)
        groups = {contender: processes.group_seconds(pid) for contender, pid in inits.items()}
        return groups, sum(found[pid].seconds + found[pid].reaped for pid in own)

    began, (groups, own) = time.monotonic(), now()
    time.sleep(seconds)
    (later_groups, later_own), took = now(), time.monotonic() - began
    memory = processes.memory(own_processes(inits[SUPERVISOR], processes.all_processes()))
    return {
        "CPU of the idle container, ms a second": {
            contender: 1000 * (later_groups[contender] - groups[contender]) / took for contender in inits
        },
        "CPU of supervisor and status server, ms a second": {SUPERVISOR: 1000 * (later_own - own) / took},
        "memory of the container, MiB": {contender: pair.memory(contender) / 2**20 for contender in inits},
        "memory of supervisor and status server, PSS, MiB": {SUPERVISOR: memory.pss / 2**20},
        "the same, RSS, MiB": {SUPERVISOR: memory.rss / 2**20},
    }


def measure(sandbox: Sandbox, rounds: int, idle_seconds: float) -> tuple[Figures, dict[str, int]]:
    """The figures, and how many logouts the broker has counted of each contender in these rounds."""
    figures: Figures = defaultdict(lambda: defaultdict(list))
    pair = Pair(sandbox)
    pair.create()
    before = {contender: pair.logouts(contender) for contender in pair.names}
    order = list(pair.names)
    for at in range(rounds):
        for contender in order:
            for what, seconds in pair.begin(contender).items():
                figures[f"start to {what}, s"][contender].append(seconds)
        time.sleep(SETTLE_SECONDS)
        for what, found in idle(pair, idle_seconds).items():
            for contender, value in found.items():
                figures[what][contender].append(value)
        for contender in order:
            figures["stop, s"][contender].append(pair.stop(contender))
        order.reverse()
        progress(f"round {at + 1}, load average {os.getloadavg()[0]:.1f}")
    return figures, {contender: pair.logouts(contender) - count for contender, count in before.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", type=float, default=60, help="seconds of each round in which both idle")
    arguments = parser.parse_args()
    before = os.getloadavg()[0]
    with own_sandbox(PREFIX) as sandbox:
        figures, logouts = measure(sandbox, arguments.rounds, arguments.idle)
    say(machine(before))
    for line in compared(figures):
        say(line)
    say(f"logouts in {arguments.rounds} stops: " + ", ".join(f"{name} {count}" for name, count in logouts.items()))


if __name__ == "__main__":
    main()
