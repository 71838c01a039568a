"""Pulumi's official releases, where their server answers. A server that does not is left alone for a day."""

import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

Say = Callable[[str], None]

_INSTALLER = "https://get.pulumi.com"
_PROBE_SECONDS = 5
_INSTALL_SECONDS = 600
_REMEMBERED_SECONDS = 24 * 3600


class Server:
    """The release server, as this machine sees it. `memory` is the file that remembers a refusal."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._answers: bool | None = None

    def answers(self, say: Say) -> bool:
        """Whether the server answers: asked once a process, and not again for a day after it did not."""
        if self._answers is None:
            self._answers = not self._refused_lately() and self._probe(say)
        return self._answers

    def _refused_lately(self) -> bool:
        if not self._memory.exists():
            return False
        refused_at = json.loads(self._memory.read_text())[_INSTALLER]
        return 0 <= time.time() - float(refused_at) < _REMEMBERED_SECONDS

    def _probe(self, say: Say) -> bool:
        say(f"asking Pulumi's release server (up to {_PROBE_SECONDS} s)")
        found: list[bool] = []
        # In a thread, since resolving a name has no time limit of its own.
        thread = threading.Thread(target=lambda: found.append(_fetch(_INSTALLER) is not None), daemon=True)
        thread.start()
        thread.join(_PROBE_SECONDS)
        if found == [True]:
            return True
        self.remember_refusal()
        say("Pulumi's release server does not answer; not asked again for a day")
        return False

    def remember_refusal(self) -> None:
        self._answers = False
        unfinished = self._memory.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps({_INSTALLER: time.time()}))
        unfinished.replace(self._memory)

    def install_cli(self, folder: Path, version: str, say: Say) -> Path | None:
        """The official CLI in `folder`, installed by the official script; None where that is not possible."""
        cli = folder / "bin" / "pulumi"
        if cli.exists():
            return cli
        if not self.answers(say) or (script := _fetch(_INSTALLER)) is None:
            return None
        say(f"installing Pulumi {version} (a minute or two)")
        # The script writes into a folder of its own first: a killed installation is not taken for a finished one.
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
        options = ["--version", version, "--install-root", str(unfinished), "--no-edit-path"]
        if not self._ran(["sh", "-s", "--", *options], say, script=script):
            return None
        unfinished.rename(folder)
        return cli

    def install_plugin(self, cli: Path, home: Path, name: str, version: str, say: Say) -> Path | None:
        """The folder of an official resource plug-in: in the user's PULUMI_HOME, else installed into `home`."""
        for place in (Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi"), home):
            folder = place / "plugins" / f"resource-{name}-v{version}"
            found = folder / f"pulumi-resource-{name}"
            # A link is a stand-in of ours (install.enter_plugins), in the PULUMI_HOME of a sandbox.
            if found.exists() and not found.is_symlink():
                return folder
        if not self.answers(say):
            return None
        say(f"installing the plug-in {name} {version} (a minute or two)")
        command = [str(cli), "plugin", "install", "resource", name, f"v{version}"]
        return folder if self._ran(command, say, PULUMI_HOME=str(home)) else None

    def _ran(self, command: list[str], say: Say, *, script: bytes | None = None, **variables: str) -> bool:
        try:
            done = subprocess.run(
                command,
                input=script,
                env=os.environ | variables,
                timeout=_INSTALL_SECONDS,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            say(f"not finished after {_INSTALL_SECONDS} s, given up")
            self.remember_refusal()
            return False
        if done.returncode != 0:
            last = done.stdout.decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
            say(f"the installation failed: {last[0]}")
            self.remember_refusal()
        return done.returncode == 0


def _fetch(url: str) -> bytes | None:
    """The document, or None where the server cannot be reached or refuses."""
    try:
        with urllib.request.urlopen(url, timeout=_PROBE_SECONDS) as response:
            document: bytes = response.read()
    except OSError:
        return None
    return document
