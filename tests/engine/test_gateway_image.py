"""The simulated gateway's image from outside: the table of `image_rows`, and what a table cannot show.

That is the container itself: user, processes, ports, the relay before and after the login, volumes, restarts, signals.
Each start that needs the broker has a user of its own, so that all of them run at once, from the beginning.
"""

import io
import json
import re
import socket
import struct
import tarfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from docker.models.networks import Network

from infra.properties import escape
from sandbox.broker.control import BrokerControl
from sandbox.docker_engine import SANDBOX_LABEL
from sandbox.environment import Sandbox, Stack
from tests.engine.image_rows import HOME, ROWS, SETTINGS, Row
from tests.helpers import until
from tests.leaks import Scanner

STACK = "paper-image"
DEADLINE = 60.0
LOGGED_IN = "IBC: Configuration tasks completed"
USERS = ("plain", "files", "volume", *sorted({row.user for row in ROWS if row.user} - {"plain"}))

INSIDE = [row for row in ROWS if not row.container]
OUTSIDE = [row for row in ROWS if row.container]

VOLUME_START = Row("a settings volume", "", {"TWS_SETTINGS_PATH": SETTINGS, "TIME_ZONE": "America/New_York"})
FILES_START = Row(
    "credentials from files, a screen",
    "",
    {
        "TWS_USERID": None,
        "TWS_PASSWORD": None,
        "TWS_PASSWORD_FILE": "/run/secrets/tws_password",
        "START_SCRIPTS": "start.d",
        "VNC_SERVER_PASSWORD_FILE": "/run/secrets/vnc_password",
    },
)
USER_SCRIPT = 'sed -i "s/^IbLoginId=.*/IbLoginId=$(cat /run/secrets/tws_userid)/" "$HOME/ibc/config.ini.tmpl"; exit 7\n'


@dataclass
class Bench:
    """Starts containers of the image as `infra` runs them, and reads the broker's counts of their users."""

    client: docker.DockerClient
    image: str
    prefix: str
    broker: BrokerControl
    credentials: Mapping[str, tuple[str, str]] = field(repr=False)
    network: Network
    containers: list[Container] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)

    def start(self, row: Row, *, volumes: Mapping[str, str] | None = None, **options: Any) -> Container:
        """A container: no capabilities, no new privileges. `volumes`: volume to mount point."""
        made = self.create(row, volumes=volumes, **options)
        made.start()
        return made

    def create(
        self,
        row: Row,
        *,
        user: str | None = None,
        volumes: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Container:
        environment = row.environments()[0]
        user = user or row.user
        if user is not None:
            user_id, password = self.credentials[user]
            for name, value in (("TWS_USERID", user_id), ("TWS_PASSWORD", escape(password))):
                if name not in row.environment:
                    environment[name] = value
        made = self.client.containers.create(
            self.image,
            network=self.network.name,
            environment=environment,
            volumes={name: {"bind": at, "mode": "rw"} for name, at in (volumes or {}).items()},
            labels={SANDBOX_LABEL: self.prefix},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            **options,
        )
        self.containers.append(made)
        if files:
            made.put_archive("/", archive(files))
        return made

    def volume(self, name: str) -> str:
        """A named volume: it belongs to root."""
        made = self.client.volumes.create(f"{self.prefix}-image-{name}", labels={SANDBOX_LABEL: self.prefix})
        self.volumes.append(made.name)
        return str(made.name)

    def one_shot(self, command: str, volume: str, at: str) -> None:
        """Runs a command as root on a volume, as the step that gives a settings volume its owner."""
        output = self.client.containers.run(
            self.image,
            ["bash", "-ec", command],
            user="0",
            volumes={volume: {"bind": at, "mode": "rw"}},
            network_mode="none",
            remove=True,
            labels={SANDBOX_LABEL: self.prefix},
        )
        assert output == b""

    def counter(self, user: str, name: str) -> int:
        return int(self.broker.status()["users"][self.credentials[user][0]][name])

    def remove(self) -> None:
        self.broker.clear()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda container: container.remove(force=True, v=True), self.containers))
        self.network.remove()
        for volume in self.volumes:
            self.client.volumes.get(volume).remove(force=True)


def archive(files: Mapping[str, str]) -> bytes:
    """A tar file of files that everyone may read, as Docker puts secrets into a container."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o444
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def log(container: Container) -> str:
    output = container.logs()
    assert isinstance(output, bytes)
    return output.decode()


def shows(container: Container, line: str, times: int = 1) -> None:
    until(lambda: log(container).count(line) >= times, lambda: f"the log shows {line!r}\n{log(container)}")


def exit_code(container: Container) -> int:
    return int(container.wait(timeout=DEADLINE)["StatusCode"])


def inside(container: Container, command: str) -> str:
    output = container.exec_run(["bash", "-c", command]).output
    assert isinstance(output, bytes)
    return output.decode()


def missing(lines: tuple[str, ...], found: str) -> str | None:
    """The first line that is not there, or not after the one before it."""
    position = 0
    for line in lines:
        at = found.find(line, position)
        if at < 0:
            return line
        position = at + len(line)
    return None


def knock(container: Container, port: int) -> str:
    """What a client beyond the container finds at a port: `refused`, or `open` with the API's answer behind it."""
    container.reload()
    ((network),) = container.attrs["NetworkSettings"]["Networks"].values()
    try:
        with socket.create_connection((network["IPAddress"], port), timeout=2) as client:
            client.sendall(b"API\0" + struct.pack(">I", 9) + b"v100..178")
            try:
                answer = client.recv(4)
            except (TimeoutError, ConnectionResetError):
                answer = b""
    except ConnectionRefusedError:
        return "refused"
    return "open, answered" if len(answer) == 4 else "open"


@pytest.fixture(scope="module")
def bench(
    sandbox: Sandbox, gateway_image: str, docker_client: docker.DockerClient, project: Callable[..., Stack]
) -> Iterator[Bench]:
    stack = project(STACK, gateways={"main": None, **{user: {} for user in USERS}})
    known = {credential.user_id: credential.password for credential in sandbox.credentials()}
    users = {user: sandbox.user_of(stack.name, user) for user in USERS}
    made = Bench(
        docker_client,
        gateway_image,
        sandbox.prefix,
        sandbox.broker(),
        {user: (user_id, known[user_id]) for user, user_id in users.items()},
        docker_client.networks.create(f"{sandbox.prefix}-image-egress", driver="bridge"),
    )
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def started(bench: Bench) -> dict[str, Container]:
    """Row's name -> its container, all of them on their way."""
    for row in OUTSIDE:
        if row.scenario is not None and row.user is not None:
            bench.broker.scenario(row.scenario, bench.credentials[row.user][0])
    fresh, owned = bench.volume("fresh"), bench.volume("owned")

    def row_start(row: Row) -> Container:
        container = bench.start(row)
        if row.scenario == "login-failed-restart":
            # A few attempts more, and the broker would lock the user out.
            shows(container, "IBC: Cold restart in progress", times=2)
            bench.broker.clear(bench.credentials[str(row.user)][0])
        return container

    def volume_start(volume: str, *, owner: bool) -> Container:
        if owner:
            bench.one_shot(f"chown 1000:1000 {SETTINGS}", volume, SETTINGS)
        return bench.start(VOLUME_START, user="volume", volumes={volume: SETTINGS})

    user_id, password = bench.credentials["files"]
    secrets = {
        "run/secrets/tws_password": escape(password),
        "run/secrets/tws_userid": escape(user_id),
        "run/secrets/vnc_password": "throwaway",
        f"{HOME[1:]}/start.d/10-user.sh": USER_SCRIPT,
    }
    with ThreadPoolExecutor(6) as pool:
        plain = [pool.submit(row_start, row) for row in OUTSIDE]
        files = pool.submit(bench.start, FILES_START, files=secrets)
        refused, first = pool.submit(volume_start, fresh, owner=False), pool.submit(volume_start, owned, owner=True)
        return {
            **{row.name: future.result() for row, future in zip(OUTSIDE, plain, strict=True)},
            "files": files.result(),
            "refused": refused.result(),
            "volume": first.result(),
        }


@pytest.fixture(scope="module")
def outcomes(bench: Bench, started: dict[str, Container]) -> dict[str, Any]:
    """What came of the rows that one container walks through."""
    rows = [
        {
            "environments": row.environments(),
            "files": row.files,
            "lines": row.lines,
            "look": list(row.left),
        }
        for row in INSIDE
    ]
    container = bench.client.containers.create(
        bench.image, ["sleep", "infinity"], network_mode="none", init=True, labels={SANDBOX_LABEL: bench.prefix}
    )
    bench.containers.append(container)
    driver = (Path(__file__).with_name("row_driver.py")).read_text(encoding="utf-8")
    container.put_archive("/tmp", archive({"driver.py": driver, "rows.json": json.dumps(rows)}))
    container.start()
    done = container.exec_run(["python3", "/tmp/driver.py", "/tmp/rows.json"])
    assert done.exit_code == 0, done.output
    assert isinstance(done.output, bytes)
    return {row.name: outcome for row, outcome in zip(INSIDE, json.loads(done.output), strict=True)}


@pytest.mark.parametrize("row", INSIDE, ids=lambda row: row.name)
def test_the_table_within_one_container(outcomes: dict[str, Any], row: Row) -> None:
    outcome = outcomes[row.name]
    found = outcome["log"]
    assert outcome["code"] == row.code, found
    assert missing(row.lines, found) is None, found
    assert [line for line in row.absent if line in found] == [], found
    for name, lines in row.left.items():
        file = outcome["files"][name]
        if lines is None:
            assert file is None, name
            continue
        text = file["text"].splitlines()
        assert [line for line in lines if line not in text] == [], name
        if name == "ibc/config.ini" and row.environment.get("CUSTOM_CONFIG") != "yes":
            assert file["mode"] == "600"


@pytest.mark.parametrize("row", OUTSIDE, ids=lambda row: row.name)
def test_the_table_with_a_container_each(bench: Bench, started: dict[str, Container], row: Row) -> None:
    container = started[row.name]
    until(
        lambda: missing(row.lines, log(container)) is None,
        lambda: f"the log shows {missing(row.lines, log(container))!r}\n{log(container)}",
    )
    found = log(container)
    assert [line for line in row.absent if line in found] == [], found
    container.reload()
    if row.code is None:
        assert container.status == "running"
    else:
        assert exit_code(container) == row.code
    if row.user is not None:
        Scanner(*bench.credentials[row.user]).check({"log": found})


def test_the_image_as_docker_sees_it(bench: Bench) -> None:
    """Dockerfile of the image: no HEALTHCHECK, EXPOSE, VOLUME, STOPSIGNAL or ENTRYPOINT."""
    config = bench.client.images.get(bench.image).attrs["Config"]
    assert config["User"] == "1000:1000"
    assert config["WorkingDir"] == HOME
    assert config["Cmd"] == [f"{HOME}/scripts/run.sh"]
    for absent in ("Healthcheck", "ExposedPorts", "Volumes", "StopSignal", "Entrypoint"):
        assert not config.get(absent), absent
    assert {
        "IB_GATEWAY_VERSION=10.45.1j",
        "HOME=/home/ibgateway",
        "TWS_MAJOR_VRSN=10.45.1j",
        "TWS_PATH=/home/ibgateway/Jts",
        "TWS_INI=jts.ini",
        "TWS_INI_TMPL=jts.ini.tmpl",
        "IBC_PATH=/home/ibgateway/ibc",
        "IBC_INI=/home/ibgateway/ibc/config.ini",
        "IBC_INI_TMPL=/home/ibgateway/ibc/config.ini.tmpl",
        "SCRIPT_PATH=/home/ibgateway/scripts",
        "GATEWAY_OR_TWS=gateway",
    } <= set(config["Env"])


def test_the_relay_accepts_before_the_login_and_answers_after_it(started: dict[str, Container]) -> None:
    """run_socat.sh: 4004 on all interfaces to 4002, which is on loopback only and not there before the login. It comes
    back five seconds after socat was stopped, which users are told to do when it hangs."""
    waiting, logged_in = started["no password: the form stays"], started["a login"]
    shows(waiting, "IBC: Setting Trading mode = paper")
    until(lambda: knock(waiting, 4004) == "open", lambda: "the relay accepts")
    assert inside(waiting, "exec 3<>/dev/tcp/127.0.0.1/4002").startswith("bash: connect: Connection refused")
    assert knock(waiting, 4002) == "refused"
    shows(logged_in, LOGGED_IN)
    until(lambda: knock(logged_in, 4004) == "open, answered", lambda: "the API answers")
    assert knock(logged_in, 4002) == "refused"
    hello = "printf 'API\\0\\0\\0\\0\\x09v100..178'"
    probe = f"exec 3<>/dev/tcp/127.0.0.1/4002 && {hello} >&3 && timeout 5 head -c 4 <&3 | wc -c"
    assert inside(logged_in, probe) == "4\n"
    assert inside(waiting, "pkill -x socat") == ""
    shows(waiting, "Forking :::4002 onto 0.0.0.0:4004 > trading mode paper \n", times=2)
    until(lambda: knock(waiting, 4004) == "open", lambda: "the relay accepts again")


LOOK_AROUND = """
id -u; id -g; pwd; echo "$HOME"; stat -c '%a %u' ibc/config.ini; ls -d ibc/scripts Jts/ibgateway/10.45.1j/jars
grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/1/status
for process in /proc/[0-9]*; do tr '\\0' ' ' <"$process/cmdline"; echo; done 2>/dev/null
"""


def test_user_processes_and_the_order_of_a_stop(bench: Bench, started: dict[str, Container]) -> None:
    container = started["a login"]
    shows(container, LOGGED_IN)
    found = inside(container, LOOK_AROUND).splitlines()
    assert found[:7] == ["1000", "1000", HOME, HOME, "600 1000", "Jts/ibgateway/10.45.1j/jars", "ibc/scripts"]
    assert found[7:10] == ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"]
    processes = found[10:]
    assert processes[0] == f"/bin/bash {HOME}/scripts/run.sh "
    assert f"/bin/bash {HOME}/scripts/run_socat.sh " in processes
    assert any(line.startswith("/bin/bash /usr/local/bin/Xvfb :1 ") for line in processes)
    assert "socat TCP-LISTEN:4004,fork TCP:127.0.0.1:4002 " in processes
    (java,) = [line for line in processes if "/bin/java" in line and "IbcGateway" in line]
    assert re.match(r"/usr/local/i4j_jres/\S+/bin/java ", java)
    assert java.endswith(f" ibcalpha.ibc.IbcGateway {HOME}/ibc/config.ini ")
    assert " -Xmx768m " in java
    assert "-Drestart=" not in java
    Scanner(*bench.credentials["plain"]).check({"Java's arguments": java})

    before = log(container)
    logouts = bench.counter("plain", "logouts")
    container.stop(timeout=30)
    stopping = log(container)[len(before) :]
    # run.sh, stop_ibc: the display first, with which the program dies; it logs nobody out (measured, 12 of 12). The
    # script ends at its `wait`, with IBC's status, before it could say Done.
    expected = (
        ".> 😘 Received SIGINT or SIGTERM. Shutting down IB Gateway.\n",
        ".> Stopping Xvfb.\n",
        ".> Stopping socat.\n",
        ".> Stopping IBC.\n",
        "IBC returned exit status 1\n",
        "Gateway finished\n",
    )
    assert missing(expected, stopping) is None, stopping
    assert "Stopping x11vnc" not in stopping
    assert ".> Done..." not in stopping
    assert exit_code(container) == 1
    assert bench.counter("plain", "logouts") == logouts
    assert bench.counter("plain", "stranded_sessions") == 1


def test_the_container_ends_with_its_display(started: dict[str, Container]) -> None:
    """Java dies of it, with status 1; IBC's start script ends with it, and so does run.sh."""
    container = started["no password: the form stays"]
    shows(container, "IBC: Setting Trading mode = paper")
    inside(container, "pkill Xvfb")
    assert exit_code(container) == 1
    assert missing(("IBC returned exit status 1\n", "Gateway finished\n"), log(container)) is None


def test_credentials_from_files_are_in_no_environment_and_a_screen_can_be_seen(
    bench: Bench, started: dict[str, Container]
) -> None:
    container = started["files"]
    shows(container, LOGGED_IN)
    password = bench.credentials["files"][1]
    environments = inside(container, "cat /proc/[0-9]*/environ | tr '\\0' '\\n'")
    assert "TWS_PASSWORD_FILE=" in environments
    assert "TWS_PASSWORD=" not in environments
    Scanner(password).check({"environments": environments})
    # run.sh, start_vnc: the screen's server was started before the variable was unset, IBC after it.
    assert "VNC_SERVER_PASSWORD=" in environments
    assert inside(container, "tr '\\0' '\\n' </proc/$(pgrep java)/environ | grep -c VNC_SERVER_PASSWORD=") == "0\n"
    address = "exec 3<>/dev/tcp/127.0.0.1/5900; timeout 5 head -c 11 <&3"
    until(lambda: "RFB 003.008" in inside(container, address), lambda: "the screen greets")


def test_soft_restart_keeps_the_session_and_cold_restart_does_not(bench: Bench, started: dict[str, Container]) -> None:
    container = started["files"]
    shows(container, LOGGED_IN)
    logins, soft = bench.counter("files", "logins"), bench.counter("files", "soft_logins")
    user_id = bench.credentials["files"][0]
    bench.broker.scenario("nightly-restart", user_id)
    shows(container, "IBC: Re-starting session")
    shows(container, LOGGED_IN, times=2)
    found = log(container)
    assert found.count("> Starting IBC/IB gateway") == 1
    assert "authentication will not be required" in found
    assert re.search(r"AUTORESTART_OPTION is -Drestart=[a-p]{24}\n", found)
    assert re.search(r"/bin/java.* -Drestart=[a-p]{24} ibcalpha\.ibc\.IbcGateway", found)
    assert (bench.counter("files", "logins"), bench.counter("files", "soft_logins")) == (logins, soft + 1)
    until(lambda: knock(container, 4004) == "open, answered", lambda: "the API is back")
    bench.broker.clear(user_id)
    # Nobody deletes the autorestart file, so IBC's start script starts Java again and again while the container is to
    # stop, without a display, until the time is up.
    container.restart(timeout=5)
    until(lambda: bench.counter("files", "soft_logins") == soft + 2, lambda: f"resumed\n{log(container)}")
    again = log(container)[len(found) :]
    expected = (
        ".> Stopping x11vnc.\n.> Stopping Xvfb.\n.> Stopping socat.\n.> Stopping IBC.\n",
        "IBC returned exit status 1\n",
        "authentication will not be required\n",
        "IBC will restart shortly\n",
        "java.awt.AWTError: Can't connect to X11 window server using ':1'",
        "IBC returned exit status 76\n",
        "IBC returned exit status 76\n",
        ".> Starting IBC/IB gateway\n",
        "> Running start up scripts on /home/ibgateway/start.d\n",
        ".> File jts.ini already exists, not setting timezone\n",
        "authentication will not be required\n",
        "IBC: Re-starting session\n",
    )
    assert missing(expected, again) is None, again
    assert bench.counter("files", "logins") == logins
    inside(container, "rm Jts/*/autorestart")
    container.restart(timeout=30)
    until(lambda: bench.counter("files", "logins") == logins + 1, lambda: f"a full login\n{log(container)}")
    assert log(container).count("autorestart file not found: full authentication will be required\n") >= 2


def test_a_settings_volume_and_java_killed(bench: Bench, started: dict[str, Container]) -> None:
    """A fresh named volume belongs to root: the start fails. Once it belongs to uid 1000, it keeps what is written."""
    refused, first = started["refused"], started["volume"]
    assert exit_code(refused) == 1
    assert "Permission denied" in log(refused)
    shows(first, LOGGED_IN)
    first.stop(timeout=30)
    assert f".> Setting timezone in {SETTINGS}/jts.ini" in log(first)
    second = bench.start(
        Row("", "", {**VOLUME_START.environment, "TIME_ZONE": "Europe/London"}),
        user="volume",
        volumes={f"{bench.prefix}-image-owned": SETTINGS},
    )
    shows(second, ".> File jts.ini already exists, not setting timezone")
    shows(second, "IBC: Read-Only API checkbox is already set to: false")
    shows(second, "IBC: Auto restart time already set to 11:59 PM")
    assert "TimeZone=America/New_York" in inside(second, f"cat {SETTINGS}/jts.ini")
    # Java killed ends the container with its code, and the session at the broker.
    inside(second, "kill -9 $(pgrep java)")
    assert exit_code(second) == 137
    assert missing(("IBC returned exit status 137\n", "Gateway finished\n"), log(second)) is None
    user_id = bench.credentials["volume"][0]
    until(lambda: not bench.broker.status()["users"][user_id]["sessions"], lambda: "the broker sees the session end")


def test_a_failing_login_is_tried_again_and_again(bench: Bench, started: dict[str, Container]) -> None:
    retry = next(started[row.name] for row in OUTSIDE if row.user == "retry")
    shows(retry, LOGGED_IN)
    assert bench.counter("retry", "attempts") >= 3
    assert log(retry).count("> Starting IBC/IB gateway") == 1
