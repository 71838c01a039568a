"""How long a verification takes: its API checks, fifty gateways at once, and `ibgw verify` as it is typed.

Run: `python -m benchmarks.verify [--gateways 50] [--rounds 5] [--json]`. It brings a sandbox of its own up, and down
again. What is compared takes turns, so that a machine that slows down slows both; the ratio of medians counts.

The one gateway is deployed by `pulumi up`. The many are containers as `infra` declares them, made through the Docker
API, each with its own api network and a user of its own; their contract is read from a file. They are verified by
verifiers, and beside a prober, as a stack has one that is watched.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.console import progress, say
from benchmarks.contenders import BARE, OURS, ROUNDS
from benchmarks.deploy import with_pulumi
from benchmarks.networks import create_network
from benchmarks.own_sandbox import own_sandbox
from benchmarks.sandbox import MOST_GATEWAYS, Crowd, machine
from deployment import description
from deployment.description import MONITORING_FOLDER, Deployment
from deployment.names import Role
from deployment.parts import Reference
from healthcheck import verifier_container
from healthcheck.docker_host import DockerHost
from infra.monitoring import entry
from infra.outputs import describe_gateway, watched_entry
from sandbox.environment import ROOT, Sandbox, Stack
from sandbox.processes import wait_until

PREFIX = "ibgw-verify-benchmark"
STACK = "paper-one"
GATEWAY = "main"
IBGW = Path(sys.executable).with_name("ibgw")

CONTENDERS = Path(__file__).with_name("contenders.py")

# What the typed command's time is split into.
START, CONTRACT, LOOK, CONTAINER, API = "start and imports", "contract", "first look", "container", "API checks"
ISOLATION, HYGIENE, END = "isolation", "hygiene", "report and exit"


HEALTHY_SECONDS = 300
BY_VERIFIERS, BESIDE = "by verifiers", "beside the prober"
ONE, ALL, ONE_BESIDE, ALL_BESIDE = "one", "all", f"one {BESIDE}", f"all {BESIDE}"


@dataclass(frozen=True)
class Times:
    """Seconds."""

    median: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class Result:
    """`api`: contender -> connect to disconnect. `typed`: the whole and its parts. `many`: of the command with
    `--contract`, for one gateway and for all, by verifiers and beside a prober; of the same runs, `many_api` has the
    median of the gateways' API checks and `verified` the fewest that were verified. `ratios`: of all to one."""

    gateways: int
    api: dict[str, Times]
    api_ratio: float
    typed: dict[str, Times]
    many: dict[str, Times]
    ratios: dict[str, float]
    many_api: dict[str, Times]
    verified: dict[str, int]
    machine: str


def times(seconds: Sequence[float]) -> Times:
    return Times(statistics.median(seconds), min(seconds), max(seconds))


def split(moments: Mapping[str, float], api: float, total: float) -> dict[str, float]:
    """The parts of one run: they add up to `total`. `moments` are `benchmarks.phases`'; all in seconds."""
    verifier = moments["_follow_verifier ends"] - moments["_follow_verifier begins"]
    return {
        START: moments["described_stack begins"],
        CONTRACT: moments["described_stack ends"] - moments["described_stack begins"],
        LOOK: moments["_follow_verifier begins"] - moments["described_stack ends"],
        CONTAINER: verifier - api,
        API: api,
        ISOLATION: moments["_isolation ends"] - moments["_follow_verifier ends"],
        HYGIENE: moments["_hygiene ends"] - moments["_isolation ends"],
        END: total - moments["_hygiene ends"],
        "total": total,
    }


class Many(Crowd):
    """The crowd with its own networks, so that it can be verified."""

    def create(self) -> None:
        super().create()
        for name, gateway in self._described.gateways.items():
            network = create_network(self._client, gateway.api_network)
            network.connect(self.containers[name])

    def watch(self, verifier: description.Verifier) -> description.Monitoring:
        """With a prober of theirs, started, and no watcher."""
        assert self._host.monitoring is not None
        declared = self._host.monitoring.containers[Role.PROBER]
        entries = {entry(name): watched_entry(self._described, one) for name, one in self._described.gateways.items()}
        made = self._client.containers.create(
            verifier.image_id,
            [entries.get(Reference(word), word) for word in declared.command],
            entrypoint=[*declared.entry_point],
            name=declared.name,
            labels=dict(declared.labels),
            user=declared.user,
            read_only=True,
            tmpfs={MONITORING_FOLDER: "size=4m,uid=65534,gid=65534"},
            cap_drop=["ALL"],
            mem_limit=f"{declared.memory}m",
            memswap_limit=f"{declared.memory}m",
            network=declared.networks[0].network,
        )
        for attachment in declared.networks[1:]:
            self._client.networks.get(attachment.network).connect(made)
        made.start()
        prober = description.Container(name=declared.name, id=made.id or "")
        return description.Monitoring(prober=prober, watcher=prober, network="none")

    def deployment(self, verifier: description.Verifier, monitoring: description.Monitoring | None) -> Deployment:
        described, gateways = self._described, {}
        _, _, digest = self._client.images.get(described.image or "").attrs["RepoDigests"][0].partition("@")
        for name, gateway in described.gateways.items():
            version = self._users[gateway.secret.id].version_id
            container = self.containers[name].id or ""
            gateways[name] = describe_gateway(described, gateway, version, container, digest)
        return Deployment(
            project=described.project,
            stack=described.stack,
            mode=described.mode,
            name_prefix=described.names.prefix,
            docker_host=self._host.docker_host,
            verifier=verifier,
            egress_network=self._host.egress.name,
            monitoring=monitoring,
            gateways=gateways,
        )


def run(command: Sequence[str], env: Mapping[str, str]) -> tuple[float, dict[str, Any], str]:
    """Its seconds, the report that it printed, and the last line of its standard error."""
    began = time.time()
    done = subprocess.run(
        [word if word != "BEGAN" else f"{began}" for word in command],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    seconds = time.time() - began
    if not done.stdout:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-3000:]}")
    report = json.loads(done.stdout)
    for gateway in report["gateways"]:
        for check in gateway["checks"]:
            if check["verdict"] == "fail":
                progress(f"{gateway['gateway']}: {check['name']} failed ({check['reason']}): {check['seen']}")
    return seconds, report, done.stderr.strip().rpartition("\n")[2]


def typed(stack: Stack) -> dict[str, float]:
    """One `ibgw verify --stack`, with its parts."""
    command = [sys.executable, "-m", "benchmarks.phases", "BEGAN", "verify", "--stack", stack.name, "--json"]
    seconds, report, moments = run(command, stack.env)
    return split(json.loads(moments), report["gateways"][0]["duration_ms"] / 1000, seconds)


@dataclass(frozen=True)
class Run:
    """One `ibgw verify --contract`: its seconds, the median of the gateways' API checks, and how many it verified."""

    seconds: float
    api: float
    verified: int


def from_file(deployment: Path, gateways: Sequence[str]) -> Run:
    chosen = [word for name in gateways for word in ("--gateway", name)]
    command = [str(IBGW), "verify", "--contract", str(deployment), "--json", *chosen]
    seconds, report, _ = run(command, {})
    return Run(
        seconds,
        statistics.median(gateway["duration_ms"] / 1000 for gateway in report["gateways"]),
        sum(gateway["verdict"].startswith("verified") for gateway in report["gateways"]),
    )


def in_container(sandbox: Sandbox, deployment: Deployment, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of the contenders, in turns, in one container on the gateway's api network."""
    gateway = deployment.gateways[GATEWAY]
    command = ["-c", CONTENDERS.read_text(), ROUNDS, str(rounds), gateway.model_dump_json()]
    with DockerHost(sandbox.docker_host) as docker:
        container = verifier_container.start(
            docker, deployment, [gateway.api.network], command, GATEWAY, entrypoint=["python3"]
        )
        try:
            code = docker.wait(container, timeout=60 * rounds)
            output = "\n".join(docker.log(container, only=None if code else "stdout"))
        finally:
            verifier_container.remove(docker, container)
    if code:
        raise RuntimeError(f"exit code {code}\n{output}")
    found: dict[str, list[float]] = json.loads(output)
    return found


def measure(sandbox: Sandbox, count: int, rounds: int) -> Result:
    before = os.getloadavg()[0]
    stack = sandbox.add_stack(STACK)
    progress("deploying one gateway")
    with_pulumi(stack)
    output = ["pulumi", "stack", "output", "contract", "--json", "--stack", STACK, "--non-interactive"]
    text = subprocess.run(output, env={**os.environ, **stack.env}, check=True, capture_output=True).stdout
    deployment = Deployment.model_validate_json(text)
    progress("the API checks and a bare script, in turns")
    api = {
        name: times([found / 1000 for found in all_])
        for name, all_ in in_container(sandbox, deployment, rounds).items()
    }
    progress(", ".join(f"{name} {found.median:.3f} s" for name, found in api.items()))
    progress("ibgw verify, as it is typed")
    parts = []
    for at in range(rounds):
        parts.append(typed(stack))
        progress(f"round {at + 1}: " + ", ".join(f"{part} {seconds:.2f}" for part, seconds in parts[-1].items()))
    many = Many(sandbox, count)
    progress(f"creating {count} containers")
    many.create()
    progress(f"starting {count} containers")
    many.start()
    names = list(many.containers)
    found: dict[str, list[Run]] = {}

    def rounds_of(monitoring: description.Monitoring | None, ways: Mapping[str, Sequence[str]]) -> None:
        file = sandbox.folder / "many.json"
        file.write_text(many.deployment(deployment.verifier, monitoring).model_dump_json(by_alias=True))
        for at in range(rounds):
            for which, chosen in ways.items():
                one = from_file(file, chosen)
                found.setdefault(which, []).append(one)
                progress(
                    f"round {at + 1}, {which}: {one.seconds:.1f} s, API checks {one.api:.2f} s, "
                    f"{one.verified} verified, load average {os.getloadavg()[0]:.0f}"
                )

    # Not in turns: to a stack that has none, the prober is a stranger.
    rounds_of(None, {ONE: names[:1], ALL: names})
    wait_until(lambda: many.healthy() == count, seconds=HEALTHY_SECONDS)
    rounds_of(many.watch(deployment.verifier), {ONE_BESIDE: names[:1], ALL_BESIDE: names})
    whole = {which: times([one.seconds for one in all_]) for which, all_ in found.items()}
    return Result(
        gateways=count,
        api=api,
        api_ratio=api[OURS].median / api[BARE].median,
        typed={part: times([one[part] for one in parts]) for part in parts[0]},
        many=whole,
        ratios={
            BY_VERIFIERS: whole[ALL].median / whole[ONE].median,
            BESIDE: whole[ALL_BESIDE].median / whole[ONE_BESIDE].median,
        },
        many_api={which: times([one.api for one in all_]) for which, all_ in found.items()},
        verified={which: min(one.verified for one in all_) for which, all_ in found.items()},
        machine=machine(before),
    )


def show(result: Result) -> None:
    def table(found: Mapping[str, Times]) -> None:
        for name, spent in found.items():
            say(f"  {name:<21} median {spent.median:.3f} s  (min {spent.minimum:.3f}, max {spent.maximum:.3f})")

    say(result.machine)
    say(f"API checks of one gateway, connect to disconnect: ratio {result.api_ratio:.2f}")
    table(result.api)
    say("`ibgw verify --stack` of one gateway")
    table(result.typed)
    ratios = ", ".join(f"{ratio:.2f} {how}" for how, ratio in result.ratios.items())
    say(f"`ibgw verify --contract` of {result.gateways} gateways against one of them: ratio {ratios}")
    table(result.many)
    say("verified at least: " + ", ".join(f"{number} ({which})" for which, number in result.verified.items()))
    say("median of the gateways' API checks in these")
    table(result.many_api)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gateways", type=int, default=50, help=f"1 to {MOST_GATEWAYS}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the result as JSON; progress goes to stderr")
    arguments = parser.parse_args()
    if not 1 <= arguments.gateways <= MOST_GATEWAYS:
        parser.error(f"--gateways {arguments.gateways}: expected 1 to {MOST_GATEWAYS}")
    with own_sandbox(PREFIX) as sandbox:
        result = measure(sandbox, arguments.gateways, arguments.rounds)
    if arguments.json:
        say(json.dumps(asdict(result), indent=2))
    else:
        show(result)


if __name__ == "__main__":
    main()
