"""The supervisor's script, run by bash in a folder that looks like the container's home.

What the image brings is played by small programs: `run.sh`, which starts an `ibcstart.sh` that starts a gateway again
where IBC's own does, and the gateway: a Python program under Java's name that answers the API and IBC's command server,
and writes down its logins and logouts.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from infra.settings import load
from infra.spec import SUPERVISOR_PATH, VALUES_PATH, describe
from tests.helpers import free_port, until
from tests.unit.test_settings import as_engine, changed, tracked

VERSION = "v1"

RUN_SH = """#!/bin/bash
trap 'kill -TERM $child' TERM INT
cp "$IBC_INI_TMPL" "$IBC_INI"
"$IBC_PATH/scripts/ibcstart.sh" --ibc-ini="$IBC_INI" & child=$!
wait $child
exit $?
"""

IBCSTART = """#!/bin/bash
while true; do
	restart=()
	for file in "$TWS_SETTINGS_PATH"/*/autorestart; do [[ -e $file ]] && restart=(-Drestart=abc); done
	"$HOME/java" "${restart[@]}" ibcalpha.ibc.IbcGateway "$IBC_INI"
	code=$?
	[[ -e $HOME/again ]] || [[ $code == 88 || $code == 3 ]] || exit $code
done
"""

JAVA = """#!/bin/bash
exec -a "$0" PYTHON "$HOME/gateway.py" "$@"
"""

GATEWAY = """
import json, os, signal, socket, sys, threading, time
home = os.environ["HOME"]
plan = json.load(open(home + "/plan.json"))
def note(word):
    with open(home + "/events", "a") as events:
        events.write(word + "\\n")
restart = sys.argv[1].startswith("-Drestart")
note("start saved" if restart else "start")
session = False
def leave(code=0, word="logout"):
    if session and word:
        note(word)
    os._exit(code)
def on_term(*_):
    if not plan.get("deaf"):
        leave(143)
signal.signal(signal.SIGTERM, on_term)
def commands():
    server = socket.create_server(("127.0.0.1", plan["commands"]))
    while True:
        connection, _ = server.accept()
        line = connection.makefile().readline().strip()
        note(line)
        if plan.get("deaf"):
            continue
        if line == "STOP":
            leave()
        elif line == "RESTART":
            os.makedirs(os.environ["TWS_SETTINGS_PATH"] + "/abc", exist_ok=True)
            open(os.environ["TWS_SETTINGS_PATH"] + "/abc/autorestart", "w").close()
            leave(3, None)
threading.Thread(target=commands, daemon=True).start()
def frame(*fields):
    body = "".join(str(field) + "\\0" for field in fields).encode()
    return len(body).to_bytes(4, "big") + body
def client(connection):
    api = plan.get("api", "ok")
    if api == "wedged":
        time.sleep(60)
    connection.recv(64)
    connection.sendall(frame(178, "20261126 12:00:00 UTC"))
    connection.recv(64)
    if api == "taken":
        connection.sendall(frame(4, 2, -1, 326, "client id is already in use"))
    elif api == "half_open":
        connection.sendall(frame(15, 1, plan["accounts"]))
        time.sleep(60)
    else:
        connection.sendall(frame(15, 1, plan["accounts"]) + frame(9, 1, 1))
    connection.recv(1)
    connection.close()
def serve():
    server = socket.create_server(("127.0.0.1", plan["port"]))
    while True:
        connection, _ = server.accept()
        threading.Thread(target=client, args=(connection,), daemon=True).start()
print(f"2026-11-26 12:00:00:000 IBC: {'Re-starting session' if restart else 'Starting session: ...'}", flush=True)
time.sleep(plan.get("form", 0.3))
for line in plan.get("saved_lines", []) if restart else plan.get("lines", []):
    print(line, flush=True)
if plan.get("logs_in", True) and not (restart and plan.get("token_refused")):
    session = True
    note("login saved" if restart else "login")
    note_login = lambda: print("2026-11-26 12:00:00:000 IBC: Login has completed", flush=True)
    threading.Thread(target=serve, daemon=True).start()
    threading.Timer(plan.get("notes_login_after", 0), note_login).start()
if plan.get("ends_after") is not None:
    time.sleep(plan["ends_after"])
    leave(plan.get("code", 0), None)
while True:
    time.sleep(60)
"""


class Supervised:
    """`plan`: what the gateway does. `events`: what it did, a word or two a line. `started`: all runs, to be ended."""

    started: ClassVar[list["Run"]] = []

    def __init__(self, folder: Path, stack: str = "paper", /, **changes: Any) -> None:
        self.home = folder
        self.settings = folder / "tws_settings"
        self.guard = self.settings / "guard"
        self.template = folder / "ibc" / "config.ini.tmpl"
        self.ports = {"port": free_port(), "commands": free_port()}
        for path in (self.settings, folder / "ibc" / "scripts", folder / "scripts", folder / "secrets"):
            path.mkdir(parents=True, exist_ok=True)
        (folder / "ibc" / "IBC.jar").touch()
        self._program(folder / "scripts" / "run.sh", RUN_SH + "# ibcstart.sh\n")
        self._program(folder / "ibc" / "scripts" / "ibcstart.sh", IBCSTART)
        self._program(folder / "java", JAVA.replace("PYTHON", sys.executable))
        (folder / "gateway.py").write_text(GATEWAY)
        (folder / "secrets" / "tws_userid").write_text(r"some\u002Dbody")
        (folder / "secrets" / "tws_password").write_text(r"Pass\u0024word")
        (folder / "secrets" / "secret_version").write_text(VERSION)
        self.template.write_text("IbLoginId=${TWS_USERID}\nIbPassword=${TWS_PASSWORD}\nBindAddress=\n")
        self.script = folder / "supervisor.sh"
        self.values = folder / "values"
        self.render(stack, **changes)
        self.plan()

    def _program(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def render(self, stack: str = "paper", /, **changes: Any) -> None:
        settings = load(stack, changed(stack, changes) if changes else as_engine(tracked(stack)))
        gateway = describe(settings, project="ibgw", stack=stack, image=None).gateways["main"]
        files = {file.path: file.content for part in gateway.containers.values() for file in part.files}
        inner = 4002 if stack == "paper" else 4001
        self.values.write_text(files[VALUES_PATH].replace(f"PORT={inner}\n", f"PORT={self.ports['port']}\n", 1))
        text = files[SUPERVISOR_PATH]
        for before, after in (
            ("/home/ibgateway/ibgw/values", str(self.values)),
            ("COMMANDS=7462", f"COMMANDS={self.ports['commands']}"),
            ("=/run/secrets", f"={self.home}/secrets"),
            ("/tmp/ibgw", f"{self.home}/run"),
            ("=/tmp/.X11-unix/ibgw-wanted", f"={self.home}/wanted"),
            ("=/var/lib/ibgw-codes/told", f"={self.home}/told"),
            ("=/home/ibgateway/debug_logs", f"={self.home}/debug_logs"),
        ):
            assert before in text, before
            text = text.replace(before, after, 1)
        self.script.write_text(text)

    def plan(self, **plan: Any) -> None:
        (self.home / "plan.json").write_text(json.dumps({"accounts": "DU1234567", **self.ports, **plan}))

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.home),
            "TWS_SETTINGS_PATH": str(self.settings),
            "SCRIPT_PATH": str(self.home / "scripts"),
            "IBC_PATH": str(self.home / "ibc"),
            "IBC_INI": str(self.home / "ibc" / "config.ini"),
            "IBC_INI_TMPL": str(self.template),
            "EXISTING_SESSION_DETECTED_ACTION": "primary",
            "TIME_ZONE": "America/New_York",
            "TZ": "America/New_York",
            "VNC_SERVER_PASSWORD_FILE": str(self.home / "vnc_password"),
        }

    def bash(self, code: str) -> str:
        """Runs code with the script's functions, after its preparations; what it printed."""
        done = subprocess.run(
            ["bash", "-uc", f"source {self.script}\nserve_status() {{ :; }}\nexec {{TICK}}<> <(:)\nprepare\n{code}"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert not done.stderr, done.stderr
        return done.stdout.strip()

    def start(self, *, reached: bool = True, before: str = "") -> "Run":
        """As the first process. `reached`: whether the gateway's connections get anywhere. `before`: more code."""
        code = (
            f"source {self.script}\nserve_status() {{ :; }}\nreached_broker() {{ {'true' if reached else 'false'}; }}\n"
            f"{before}\nfirst_process"
        )
        with (self.home / "output").open("a") as output:
            process = subprocess.Popen(
                ["bash", "-uc", code], env=self.environment, stdout=output, stderr=subprocess.STDOUT, cwd=self.home,
                start_new_session=True,
            )  # fmt: skip
        run = Run(self, process)
        self.started.append(run)
        return run

    def until_held(self, most: int = 10, **options: Any) -> "Run":
        """Starts it again whenever it ends, as Docker does, until it waits."""
        for _ in range(most):
            run = self.start(**options)
            until(lambda: run.ended or self.status().get("hold", "none") != "none")  # noqa: B023
            if not run.ended:
                return run
        raise AssertionError(f"not held after {most} starts: {self.events}")

    @property
    def output(self) -> str:
        return (self.home / "output").read_text()

    @property
    def events(self) -> list[str]:
        path = self.home / "events"
        return path.read_text().splitlines() if path.exists() else []

    def status(self) -> dict[str, str]:
        path = self.home / "run" / "status"
        return dict(word.split("=") for word in path.read_text().split()) if path.exists() else {}

    def attempts(self) -> list[str]:
        """The count, then how each attempt ended."""
        path = self.guard / f"{VERSION}.attempts"
        count, *outcomes = path.read_text().splitlines() if path.exists() else ["none"]
        return [count, *(line.split()[1] for line in outcomes if line)]


class Run:
    """One life of the container."""

    def __init__(self, supervised: Supervised, process: "subprocess.Popen[bytes]") -> None:
        self._supervised = supervised
        self._process = process

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def until(self, done: Callable[[], object], what: str = "") -> None:
        until(done, lambda: f"{what}: {self._supervised.output}\n{self._supervised.status()}")

    def until_phase(self, phase: str) -> None:
        self.until(lambda: self._supervised.status().get("phase") == phase, f"phase {phase}")

    def code(self) -> int:
        """The exit code, once it has ended by itself."""
        self.until(lambda: self.ended, "ended")
        self.sweep()
        return int(self._process.returncode)

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self.code()

    def kill(self) -> None:
        """As a container that is killed: all of it at once."""
        self.sweep()
        self._process.wait(10)

    def sweep(self) -> None:
        """What is left of it goes with its first process, as in a container."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
