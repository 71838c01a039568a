"""IBC's start script as the gateway image has it, run on this machine with the simulated program in place of Java."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "sandbox/gateway/files/home/ibgateway/ibc/scripts/ibcstart.sh"
VERSION = "10.45.1j"

# The API's port is any free one here; the login form appears, and an unreachable login server is given up, at once.
JAVA = """#!/bin/bash
exec -a "$0" {python} -c '
from pathlib import Path
from sandbox.gateway import automation, display, program
display.LOCKS = Path("{locks}")
automation.CONNECT_SECONDS = 0.1
program.BROKER_FILE = Path("{broker}")
program.PORTS.update(live=0, paper=0)
program.FORM_SECONDS = 0.0
program.main()' "$@"
"""


@dataclass
class Installation:
    """The image's folders below one of a test's own."""

    folder: Path
    broker_port: int

    def __post_init__(self) -> None:
        program = self.folder / "Jts" / "ibgateway" / VERSION
        for path in (program / "jars", program / ".install4j", self.folder / "ibc", self.folder / "jre" / "bin"):
            path.mkdir(parents=True)
        (program / "ibgateway.vmoptions").write_text("-Xmx768m\n")
        (program / ".install4j" / "inst_jre.cfg").write_text(f"{self.folder}/jre\n")
        broker = self.folder / "broker"
        broker.write_text(f"127.0.0.1 {self.broker_port}\n")
        java = self.folder / "jre" / "bin" / "java"
        java.write_text(JAVA.format(python=sys.executable, broker=broker, locks=self.folder))
        self.show_display(os.getpid())
        java.chmod(0o755)
        script = SCRIPT.read_text()
        assert "BROKER=/opt/sandbox/gateway/broker\n" in script
        self.script = self.folder / "ibcstart.sh"
        self.script.write_text(script.replace("BROKER=/opt/sandbox/gateway/broker\n", f"BROKER={broker}\n"))

    def show_display(self, process: int) -> None:
        """The display `:1` is that of this process: by default the test itself, which outlives the program."""
        (self.folder / ".X1-lock").write_text(f"{process:10}\n")

    def start(self, on_timeout: str = "exit", **ini: str) -> "subprocess.Popen[str]":
        """Starts the script; its output, errors included, comes from the process's `stdout`."""
        config = self.folder / "ibc" / "config.ini"
        config.write_text("".join(f"{key}={value}\n" for key, value in ini.items()))
        jts = self.folder / "Jts"
        return subprocess.Popen(
            [
                "bash",
                str(self.script),
                VERSION,
                "-g",
                f"--tws-path={jts}",
                f"--tws-settings-path={jts}",
                f"--ibc-path={self.folder / 'ibc'}",
                f"--ibc-ini={config}",
                f"--on2fatimeout={on_timeout}",
            ],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
                "TZ": "UTC",
                "DISPLAY": ":1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, on_timeout: str = "exit", **ini: str) -> tuple[int, list[str]]:
        """To its end, which has to come within 20 seconds: exit code and lines."""
        process = self.start(on_timeout, **ini)
        try:
            output, _ = process.communicate(timeout=20)
        finally:
            end(process)
        return process.returncode, output.splitlines()


def end(process: "subprocess.Popen[str]") -> None:
    """With the program that the script started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
