"""`ibgw forward --service`: a systemd user unit that keeps a forwarded port open. It holds no secret."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deployment.description import Gateway, Mode
from deployment.errors import IbgwError
from operations.answers import Answer

UNIT = """\
# Written by `ibgw forward --service`, which writes it anew.
[Unit]
Description=127.0.0.1:{port} leads to the Interactive Brokers gateway {container}
# It never gives up: a gateway may be stopped for a weekend.
StartLimitIntervalSec=0

[Service]
WorkingDirectory={folder}
Environment={environment}
ExecStart={command}
Restart=always
RestartSec=10
# Longer and longer, up to 5 minutes (since systemd 254; older ones try every 10 seconds and name these two lines).
RestartSteps=6
RestartMaxDelaySec=300

[Install]
WantedBy=default.target
"""


BACKEND = "PULUMI_BACKEND_URL"
CARRIED = ("PATH", "PULUMI_HOME", BACKEND, "AWS_PROFILE", "AWS_REGION")
"""Variables that say where programs and the state are, and hold no secret."""


class ServiceAnswer(Answer):
    """What `ibgw forward --service` wrote. `enable`: the commands that have it run from now on."""

    file: str
    enable: tuple[str, ...]


def unit_file(gateway: Gateway) -> Path:
    """Where the user's systemd looks for it (systemd.unit(5)). A container's name is one on its host."""
    configuration = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(configuration) / "systemd" / "user" / f"{gateway.container.name}-forward.service"


def unit(stack: str, gateway: Gateway, port: int, folder: Path) -> str:
    """Its text. `folder`: the project's. Raises IbgwError where this program has no path of its own."""
    # Beside the interpreter, also where it was started by a link.
    program = Path(sys.executable).with_name("ibgw")
    if not program.exists():
        raise IbgwError(f"{program} is not there: expected ibgw to be installed; see the README, 'Setting up'.")
    command = [str(program), "forward", "--stack", stack, "--gateway", gateway.name, "--port", str(port)]
    if gateway.mode is Mode.LIVE:
        # Somebody typed it when this was written.
        command += ["--yes-live", stack]
    return UNIT.format(
        port=port,
        container=gateway.container.name,
        folder=str(folder).replace("%", "%%"),
        environment=_quoted([f"{name}={value}" for name, value in _kept(os.environ)]),
        command=_quoted(command).replace("$", "$$"),
    )


def _kept(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Those that are set, and a backend's address only where nobody's password can be in it."""
    for name in CARRIED:
        value = environment.get(name, "")
        if value and not (name == BACKEND and "@" in value):
            yield name, value


def _quoted(words: Sequence[str]) -> str:
    """As systemd reads words (systemd.syntax(7)), in which % begins a specifier."""
    escaped = (word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") for word in words)
    return " ".join(f'"{word}"' for word in escaped)


def enabling(path: Path) -> tuple[str, ...]:
    return "systemctl --user daemon-reload", f"systemctl --user enable --now {path.name}"


def how_to_enable(path: Path) -> str:
    commands = "".join(f"  {command}\n" for command in enabling(path))
    return (
        f"Wrote {path}. To have it run now and from each login on:\n{commands}"
        "Also while you are not logged in, from the machine's start on:\n"
        "  loginctl enable-linger\n"
        "What it says:\n"
        f"  journalctl --user --unit {path.name}\n"
        "Where it cannot read the state, it goes by the description that the last update left in this folder. Over "
        "ssh:// the key has to work without a question."
    )
