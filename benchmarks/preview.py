"""`pulumi preview` without a change: our program against a flat one with the same resources, and against an empty one.

Run: `python -m benchmarks.preview [--gateways 1 10 50] [--rounds 7]` with a sandbox up (`make sandbox`).
Each round runs the programs in turn, so that a machine that slows down slows all of them; the ratio of medians counts.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path

import yaml

from benchmarks.console import say
from deployment.names import Names
from infra.addresses import choose
from sandbox.environment import ROOT, Sandbox, Stack

PROGRAMS = ROOT / "benchmarks" / "programs"


def _pulumi(env: Mapping[str, str], stack: str, *arguments: str) -> float:
    """Runs one command and returns its seconds. Raises CalledProcessError, after showing what it printed."""
    began = time.perf_counter()
    done = subprocess.run(
        ["pulumi", *arguments, "--stack", stack, "--non-interactive", "--color", "never"],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        say(done.stdout[-3000:] + done.stderr[-3000:])
        done.check_returncode()
    return time.perf_counter() - began


def _use(stack: Stack, program: str) -> None:
    """Points the stack's project at one of the programs."""
    path = stack.folder / "Pulumi.yaml"
    document = yaml.safe_load(path.read_text())
    document["main"] = os.path.relpath(PROGRAMS / program, stack.folder)
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def _stack(sandbox: Sandbox, program: str, count: int) -> Stack:
    """A stack of `count` gateways for one of the programs, with subnets of its own."""
    name = f"paper-{program}{count}"
    gateways = [f"g{at}" for at in range(count)]
    stack = sandbox.add_stack(name, gateways={"main": None, **{gateway: {} for gateway in gateways}})
    path = stack.folder / f"Pulumi.{name}.yaml"
    document = yaml.safe_load(path.read_text())
    config = document["config"]
    for gateway in gateways:
        config["ibgw:gateways"][gateway]["container"]["stopGrace"] = "60s"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    _use(stack, program)
    if program == "flat":
        pool, names = IPv4Network(config["ibgw:network"]["subnetPool"]), Names(config["ibgw:namePrefix"], name)
        subnets = choose(pool, dict.fromkeys(gateways), names)
        flat = {
            gateway: {"secret": entry["credentials"]["secretId"], "subnet": str(subnets.api[gateway])}
            for gateway, entry in config["ibgw:gateways"].items()
        }
        env = {**stack.env, "FLAT_GATEWAYS": json.dumps(flat), "FLAT_EGRESS": str(subnets.egress)}
        return Stack(stack.name, stack.folder, env, stack.config)
    return stack


def measure(sandbox: Sandbox, count: int, rounds: int) -> None:
    stacks = {program: _stack(sandbox, program, count) for program in ("ours", "flat")}
    try:
        for program, stack in stacks.items():
            seconds_up = _pulumi(stack.env, stack.name, "up", "--yes", "--skip-preview")
            say(f"{count} gateways, {program}: up in {seconds_up:.1f} s")
        stacks["empty"] = sandbox.add_stack(f"paper-empty{count}")
        _use(stacks["empty"], "empty")
        seconds: dict[str, list[float]] = {program: [] for program in stacks}
        for _ in range(rounds):
            for program, stack in stacks.items():
                expect = [] if program == "empty" else ["--expect-no-changes"]
                seconds[program].append(_pulumi(stack.env, stack.name, "preview", *expect))
        medians = {program: statistics.median(found) for program, found in seconds.items()}
        for program, found in seconds.items():
            say(f"  {program:<6} median {medians[program]:.2f} s  (min {min(found):.2f}, max {max(found):.2f})")
        to_flat, to_empty = (medians["ours"] / medians[other] for other in ("flat", "empty"))
        say(f"  ratio ours/flat {to_flat:.2f}, ours/empty {to_empty:.2f}")
    finally:
        for program in ("ours", "flat"):
            _pulumi(stacks[program].env, stacks[program].name, "destroy", "--yes", "--skip-preview")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gateways", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    sandbox = Sandbox(Path(ROOT / ".sandbox"), say=say)
    sandbox.up()
    for count in arguments.gateways:
        measure(sandbox, count, arguments.rounds)


if __name__ == "__main__":
    main()
