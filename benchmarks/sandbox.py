"""A crowd on one machine: do all gateways log in, how soon, what do they take, and how fast does the API answer?

Run: `python -m benchmarks.sandbox [--gateways 100] [--json]`. It brings a sandbox of its own up, and down again. Each
gateway is a container as `infra` declares it (environment, settings volume, supervisor, probe, limits), with a user
of its own; only their own networks are left out, since all that is asked comes from the host: over `egress`.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime

from docker.models.containers import Container

from benchmarks import load, processes
from benchmarks.console import progress, say
from benchmarks.deploy import gateway_container
from benchmarks.load import Answers
from benchmarks.networks import create_network
from benchmarks.own_sandbox import own_sandbox
from benchmarks.processes import Memory
from deployment.description import PORTS
from infra import settings, spec
from sandbox import internet
from sandbox.environment import ROOT, Sandbox
from sandbox.processes import wait_until
from sandbox.record import Record
from sandbox.secrets_manager import Credential

PREFIX = "ibgw-benchmark"
STACK = "paper-crowd"

MOST_GATEWAYS = 240
"""As many as a stack's subnet pool has networks for."""

LOGGED_IN = "IBC: Login has completed"
CONFIRMED = "ibgw: logged in"
"""The supervisor has seen the login; ended before that, the attempt would count as one that failed."""

START_SECONDS = 900
ALONE_SECONDS = 60
ALONE_ROUNDS = 5
AT_ONCE = 4
"""How many containers are told to start at the same time; the engine's own default is four a core."""

SETTLE_SECONDS = 20
CPU_SECONDS = 60
"""One interval of the probe, so that each gateway's is in it once."""

RATE = 200
CONNECTIONS = 50
LIMIT = 32
"""Clients that one gateway takes (API reference)."""


@dataclass(frozen=True)
class Spread:
    """Seconds."""

    median: float
    minimum: float
    p90: float
    maximum: float


@dataclass(frozen=True)
class Result:
    """`cpu` in cores. `load`: what was asked of whom -> what came back; `ratio`: its median latency to the echo's."""

    gateways: int
    logged_in: int
    healthy: int
    alone: Spread
    crowd: Spread
    containers: Memory
    broker: Memory
    shims: Memory
    cpu: dict[str, float]
    load: dict[str, Answers]
    ratio: dict[str, float]
    machine: str


def spread(seconds: Sequence[float]) -> Spread:
    ordered = sorted(seconds)
    return Spread(
        median=statistics.median(ordered),
        minimum=ordered[0],
        p90=ordered[min(len(ordered) - 1, len(ordered) * 9 // 10)],
        maximum=ordered[-1],
    )


def moment(text: str) -> float:
    """Docker's `2026-11-22T21:38:06.123456789Z` in seconds; it drops zeros at the end."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


def seconds_to(words: str, started: str, log: str) -> float | None:
    """From a container's start to its first line with these words; None if there is none. `log`: each line begins with
    the time at which Docker got it. Earlier runs of the same container are in it too."""
    begun = moment(started)
    for line in log.splitlines():
        at, _, text = line.partition(" ")
        if words in text and (seconds := moment(at) - begun) >= 0:
            return seconds
    return None


class Crowd:
    """The containers, on a sandbox that is up."""

    def __init__(self, sandbox: Sandbox, count: int) -> None:
        self._sandbox = sandbox
        self._client = sandbox.client()
        self._described = self._describe(count)
        [self._host] = self._described.hosts
        self._users = {credential.secret_id: credential for credential in sandbox.credentials()}
        self.containers: dict[str, Container] = {}

    def _describe(self, count: int) -> spec.StackSpec:
        gateways: dict[str, dict[str, str]] = {f"g{at:03}": {} for at in range(count)}
        stack = self._sandbox.add_stack(STACK, gateways={"main": None, **gateways})
        config = {
            key: value if isinstance(value, str) else json.dumps(value) for key, value in stack.config["config"].items()
        }
        loaded = settings.load(stack.name, config)
        return spec.describe(loaded, project="ibgw", stack=stack.name, image=loaded.image)

    @property
    def port(self) -> int:
        return PORTS[self._described.mode].client

    def user(self, name: str) -> Credential:
        return self._users[self._described.gateways[name].secret.id]

    def create(self) -> None:
        assert self._described.image is not None
        image = self._client.images.pull(self._described.image).id
        assert image is not None
        create_network(self._client, self._host.egress)
        volumes = [mount.volume for gateway in self._host.gateways.values() for mount in gateway.container.mounts]
        paths = {volume: f"/volumes/{at}" for at, volume in enumerate(volumes)}
        self._client.containers.run(
            image,
            [f"{spec.UID}:{spec.UID}", *paths.values()],
            entrypoint=["chown"],
            name=f"{self._described.names.prefix}-owner",
            user="0",
            network_mode="none",
            cap_drop=["ALL"],
            cap_add=["CHOWN"],
            volumes={volume: {"bind": path, "mode": "rw"} for volume, path in paths.items()},
            remove=True,
        )
        for name, gateway in self._host.gateways.items():
            user = self.user(name)
            self.containers[name] = gateway_container(
                self._client, gateway, image, self._host.egress.name, user.user_id, user.password, user.version_id
            )

    def alone(self, name: str, rounds: int) -> list[float]:
        """Starts one gateway that many times and returns how long each took to be logged in. It is left stopped."""
        found = []
        for _ in range(rounds):
            self.log_in(name, CONFIRMED)
            seconds = self.seconds(name, LOGGED_IN)
            assert seconds is not None
            found.append(seconds)
            self.containers[name].stop(timeout=60)
        return found

    def log_in(self, name: str, words: str) -> None:
        """Starts one gateway and returns when its log has these words once more. Raises RuntimeError without them."""
        container = self.containers[name]

        def count() -> int:
            return container.logs().decode().count(words)

        before = count()
        container.start()
        if not wait_until(lambda: count() > before, seconds=ALONE_SECONDS):
            raise RuntimeError(
                f"{name} did not say {words!r} within {ALONE_SECONDS} s:\n{container.logs(tail=20).decode()}"
            )

    def start(self) -> None:
        """Starts them all, and returns when all are logged in or have had their time."""
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            list(pool.map(lambda container: container.start(), self.containers.values()))
        wait_until(lambda: self.sessions() == len(self.containers), seconds=START_SECONDS)

    def sessions(self) -> int:
        """How many of its gateways have a session at the broker: others may be on the sandbox as well."""
        users = self._sandbox.broker().status()["users"]
        return sum(bool(users[self.user(name).user_id]["sessions"]) for name in self._described.gateways)

    def seconds(self, name: str, words: str) -> float | None:
        """From the container's last start to its first line with these words."""
        container = self.containers[name]
        container.reload()
        log = container.logs(timestamps=True)
        return seconds_to(words, container.attrs["State"]["StartedAt"], log.decode())

    def healthy(self) -> int:
        for container in self.containers.values():
            container.reload()
        return sum(container.attrs["State"]["Health"]["Status"] == "healthy" for container in self.containers.values())

    def inits(self) -> list[int]:
        """The process ids of the containers' first processes."""
        return [container.attrs["State"]["Pid"] for container in self.containers.values()]

    def addresses(self, count: int) -> list[str]:
        egress = self._host.egress.name
        chosen = list(self.containers.values())[:count]
        return [container.attrs["NetworkSettings"]["Networks"][egress]["IPAddress"] for container in chosen]


def broker_pid(sandbox: Sandbox) -> int:
    record = Record.model_validate_json((sandbox.folder / "record.json").read_text())
    return record.processes[internet.PROCESS].pid


def take_memory(crowd: Crowd, broker: int) -> dict[str, Memory]:
    found = processes.all_processes()
    inits = crowd.inits()
    inside = set().union(*(processes.descendants(pid, found) for pid in inits))
    return {
        "containers": processes.memory(inside),
        "broker": processes.memory([broker]),
        "shims": processes.memory({found[pid].parent for pid in inits}),
    }


def take_cpu(crowd: Crowd, broker: int, seconds: float) -> dict[str, float]:
    """Cores. `containers` from their control groups. `shims` are Docker's, one a container; `probes` is what they have
    started and waited for: runc and the probe, whose own share is in `containers` too."""

    def now() -> dict[str, float]:
        found, inits = processes.all_processes(), crowd.inits()
        shims = {found[pid].parent for pid in inits}
        return {
            "containers": sum(processes.group_seconds(pid) for pid in inits),
            "broker": found[broker].seconds,
            "shims": sum(found[pid].seconds for pid in shims),
            "probes": sum(found[pid].reaped for pid in shims),
        }

    began, before = time.monotonic(), now()
    time.sleep(seconds)
    after, took = now(), time.monotonic() - began
    return {name: (after[name] - before[name]) / took for name in before}


def take_load(crowd: Crowd, rate: int, seconds: int) -> dict[str, Answers]:
    """Current time and contract details in turn: the gateway answers the one, the broker the other."""
    requests = (load.TIME, load.CONTRACT)
    echo = subprocess.Popen([sys.executable, "-m", "benchmarks.echo"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert echo.stdout is not None
        port = int(echo.stdout.readline())
        found = {
            "echo": asyncio.run(
                load.of_echo(port, connections=CONNECTIONS, rate=rate, seconds=seconds, requests=requests)
            )
        }
        for name, count in (("one gateway", 1), ("ten gateways", 10)):
            found[name] = asyncio.run(
                load.of_gateways(
                    crowd.addresses(count),
                    crowd.port,
                    connections=min(CONNECTIONS, LIMIT * min(count, len(crowd.containers))),
                    rate=rate,
                    seconds=seconds,
                    requests=requests,
                )
            )
    finally:
        echo.terminate()
        echo.wait()
    return found


def machine(before: float) -> str:
    """What the figures belong to. `before`: the load average before anything was started."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, load average before {before:.1f}, after {os.getloadavg()[0]:.1f}"


def measure(sandbox: Sandbox, count: int, rate: int, seconds: int) -> Result:
    before = os.getloadavg()[0]
    crowd = Crowd(sandbox, count)
    progress(f"creating {count} containers")
    crowd.create()
    name = next(iter(crowd.containers))
    alone = crowd.alone(name, ALONE_ROUNDS)
    progress(f"starting {count} containers, {AT_ONCE} at a time")
    began = time.monotonic()
    crowd.start()
    progress(f"all started and {crowd.sessions()} logged in after {time.monotonic() - began:.0f} s")
    together = [found for name in crowd.containers if (found := crowd.seconds(name, LOGGED_IN)) is not None]
    time.sleep(SETTLE_SECONDS)
    broker = broker_pid(sandbox)
    memory = take_memory(crowd, broker)
    progress(f"watching the idle crowd for {CPU_SECONDS} s")
    cpu = take_cpu(crowd, broker, CPU_SECONDS)
    answers = take_load(crowd, rate, seconds)
    return Result(
        gateways=count,
        logged_in=min(crowd.sessions(), len(together)),
        healthy=crowd.healthy(),
        alone=spread(alone),
        crowd=spread(together),
        **memory,
        cpu=cpu,
        load=answers,
        ratio={name: found.p50 / answers["echo"].p50 for name, found in answers.items()},
        machine=machine(before),
    )


def show(result: Result) -> None:
    say(result.machine)
    say(f"logged in {result.logged_in} of {result.gateways}, healthy {result.healthy}")
    for name, found in (("alone", result.alone), ("in the crowd", result.crowd)):
        say(
            f"start to login, {name}: median {found.median:.2f} s  "
            f"(min {found.minimum:.2f}, p90 {found.p90:.2f}, max {found.maximum:.2f})"
        )
    for name, memory in (
        ("containers", result.containers),
        ("broker", result.broker),
        ("Docker's shims", result.shims),
    ):
        say(f"memory, {name}: PSS {memory.pss / 2**20:.0f} MiB, RSS {memory.rss / 2**20:.0f} MiB")
    total = result.containers + result.broker
    say(f"memory, containers and broker: PSS {total.pss / 2**20:.0f} MiB, RSS {total.rss / 2**20:.0f} MiB")
    say("idle CPU, cores: " + ", ".join(f"{name} {cores:.3f}" for name, cores in result.cpu.items()))
    for name, answers in result.load.items():
        say(
            f"{name}: {answers.answered} of {answers.asked} answered over {answers.connections} connections, "
            f"{answers.rate:.0f} a second, p50 {answers.p50:.2f} ms, p99 {answers.p99:.2f} ms, "
            f"slope {answers.slope:+.2f} ms/s, ratio {result.ratio[name]:.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gateways", type=int, default=100, help=f"1 to {MOST_GATEWAYS}")
    parser.add_argument("--rate", type=int, default=RATE, help="requests a second")
    parser.add_argument("--seconds", type=int, default=10, help="of each load")
    parser.add_argument("--json", action="store_true", help="print the result as JSON; progress goes to stderr")
    arguments = parser.parse_args()
    if not 1 <= arguments.gateways <= MOST_GATEWAYS:
        parser.error(f"--gateways {arguments.gateways}: expected 1 to {MOST_GATEWAYS}")
    with own_sandbox(PREFIX) as sandbox:
        result = measure(sandbox, arguments.gateways, arguments.rate, arguments.seconds)
    if arguments.json:
        say(json.dumps(asdict(result), indent=2))
    else:
        show(result)


if __name__ == "__main__":
    main()
