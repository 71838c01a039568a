"""`pulumi up` on the sandbox: what it makes, as it is made and counted, then the engine's own summary, once.

Without a terminal the engine prints each line of a report as progress, and then the whole report again.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping

from sandbox.steps import Say, Steps

SUMMARY = re.compile(r"(Policies|Diagnostics|Outputs|Resources):$")
RESOURCE = re.compile(r" .{1,2} +(?P<resource>\S+:\S+:\S+ \S+) (?P<what>[\w ]+) (?:\([\d.]+s\) ?)?(?P<told>.*)")
DONE = ("created", "updated", "replaced", "deleted", "read")
STACK = "pulumi:pulumi:Stack"
PROGRESS = re.compile(r"info: [\w-]+: ")
"""What the program says of one gateway while it verifies; a report begins with `STACK/GATEWAY`."""


def command(stack: str) -> list[str]:
    return ["pulumi", "up", "--yes", "--skip-preview", "--suppress-outputs", "--stack", stack]


def deploy(stack: str, env: Mapping[str, str], say: Say) -> int:
    """Returns the engine's exit code."""
    words = command(stack)
    say(f"deploying it: {shlex.join(words)}")
    with subprocess.Popen(words, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True) as engine:
        summary: list[str] = []
        with Steps(say) as steps:
            steps.start(stack, lambda tell: summary.extend(follow(engine.stdout or (), tell)))
    for line in summary:
        say(line)
    return engine.wait()


def follow(lines: Iterable[str], say: Say) -> list[str]:
    """Says what is done, as it comes, and returns the summary."""
    done = 0
    rest = iter(lines)
    for line in rest:
        text = line.rstrip()
        if SUMMARY.match(text):
            return [text, *"".join(rest).rstrip().splitlines()]
        if (found := RESOURCE.match(text)) is None:
            continue
        if PROGRESS.match(found["told"]):
            say(found["told"].removeprefix("info: "))
        elif not found["resource"].startswith(STACK) and found["what"].split()[0] in DONE:
            done += 1
            say(f"{done}: {found['resource']} {found['what']}")
    return []
