"""What a person waits for at a terminal: this tree's commands against those of an earlier commit, in turns.

Run: `python -m benchmarks.commands --base COMMIT [--rounds 5]`, with a sandbox up (`make sandbox`). Both sides ask the
same gateway, by the same engine and the same packages; the ratio of medians counts. CPU is that of the command and of
what it has started, and hardly depends on what else the machine does.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.console import progress, say
from sandbox.environment import ROOT, Sandbox

IBGW = (sys.executable, "-c", "from operations.cli import main; main()")
STACK = ("--stack", "paper")
COMMANDS: dict[str, Sequence[str]] = {
    "ibgw --help": (*IBGW, "--help"),
    "ibgw status": (*IBGW, "status", *STACK),
    "ibgw verify": (*IBGW, "verify", *STACK),
}


def checked_out(commit: str, folder: Path) -> Path:
    """The files of a commit."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "--extract", "--directory", folder], input=archive, check=True)
    return folder


def cpu() -> float:
    """Of all that has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds(command: Sequence[str], tree: Path, project: Path, env: Mapping[str, str]) -> tuple[float, float]:
    """How long a command of a tree takes, and its CPU. Raises CalledProcessError, after showing what it printed."""
    began, before = time.perf_counter(), cpu()
    done = subprocess.run(
        command,
        # Before what is installed, which is this tree.
        env={**os.environ, **env, "PYTHONPATH": str(tree)},
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - began
    if done.returncode:
        progress(done.stdout[-3000:] + done.stderr[-3000:])
        done.check_returncode()
    return took, cpu() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True, metavar="COMMIT")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    sandbox = Sandbox(ROOT / ".sandbox", say=progress)
    sandbox.up()
    env, project = sandbox.env(), sandbox.folder / "project"
    say(f"{os.cpu_count()} cores, load average before {os.getloadavg()[0]:.1f}")
    (ROOT / ".ibgw").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / ".ibgw") as folder:
        trees = {"base": checked_out(arguments.base, Path(folder)), "this": ROOT}
        for name, command in COMMANDS.items():
            found: dict[str, list[tuple[float, float]]] = {side: [] for side in trees}
            # The first round compiles.
            for _ in range(arguments.rounds + 1):
                for side, tree in trees.items():
                    found[side].append(seconds(command, tree, project, env))
            for what, at in (("time", 0), ("CPU", 1)):
                told = {side: [one[at] for one in both[1:]] for side, both in found.items()}
                base, this = (statistics.median(told[side]) for side in trees)
                ranges = [f"({min(told[side]):.2f} to {max(told[side]):.2f})" for side in trees]
                say(f"{name}, {what}: {base:.2f} s {ranges[0]}, now {this:.2f} s {ranges[1]}, ratio {this / base:.2f}")
    say(f"load average after {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
