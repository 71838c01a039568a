"""What a person waits for at a terminal: this tree's commands against those of an earlier commit, in turns.

Run: `python -m benchmarks.commands --base COMMIT [--rounds 5]`, with a sandbox up (`make sandbox`). Both sides ask the
same gateway, by the same engine and the same packages; the ratio of medians counts. What runs the program finds nothing
to change: before each of these its own tree is deployed, since the verifier's image holds a part of it.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from benchmarks.console import progress, say
from sandbox.environment import ROOT, Sandbox

IBGW = (sys.executable, "-c", "from operations.cli import main; main()")
STACK = ("--stack", "paper")
UP = ("pulumi", "up", "--yes", "--skip-preview", "--non-interactive", *STACK)
COMMANDS: dict[str, Sequence[str]] = {
    "ibgw --help": (*IBGW, "--help"),
    "ibgw status": (*IBGW, "status", *STACK),
    "ibgw verify": (*IBGW, "verify", *STACK),
    "ibgw plan": (*IBGW, "plan", *STACK),
    "pulumi up": UP,
}
SETTLED = ("ibgw plan", "pulumi up")
"""Those that run the program."""


def checked_out(commit: str, folder: Path) -> Path:
    """The files of a commit."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "--extract", "--directory", folder], input=archive, check=True)
    return folder


def seconds(command: Sequence[str], tree: Path, project: Path, env: Mapping[str, str]) -> float:
    """How long a command of a tree takes. Raises CalledProcessError, after showing what it printed."""
    began = time.perf_counter()
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
    return took


def use(tree: Path, project: Path) -> None:
    """Points the project at a tree's program."""
    path = project / "Pulumi.yaml"
    document = yaml.safe_load(path.read_text())
    document["main"] = os.path.relpath(tree / "infra", project)
    path.write_text(yaml.safe_dump(document, sort_keys=False))


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
        try:
            for name, command in COMMANDS.items():
                found: dict[str, list[float]] = {side: [] for side in trees}
                # The first round compiles.
                for _ in range(arguments.rounds + 1):
                    for side, tree in trees.items():
                        use(tree, project)
                        if name in SETTLED:
                            seconds(UP, tree, project, env)
                        found[side].append(seconds(command, tree, project, env))
                medians = {side: statistics.median(times[1:]) for side, times in found.items()}
                ranges = {side: f"({min(times[1:]):.2f} to {max(times[1:]):.2f})" for side, times in found.items()}
                told = ", ".join(f"{side} {medians[side]:.2f} s {ranges[side]}" for side in trees)
                say(f"{name}: {told}, ratio {medians['this'] / medians['base']:.2f}")
        finally:
            use(ROOT, project)
            seconds(UP, ROOT, project, env)
    say(f"load average after {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
