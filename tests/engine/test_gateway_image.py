"""The simulated gateway's image from outside: start sequence, variables, exit codes, processes, ports, restarts, stop.

Each expectation is one of the real image's: from its Dockerfile, run.sh and common.sh, or from IBC and its ibcstart.sh.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import docker
import pytest
from docker.models.containers import Container
from docker.models.networks import Network
from docker.models.volumes import Volume

from sandbox.broker.control import BrokerControl
from sandbox.docker_engine import SANDBOX_LABEL
from sandbox.environment import Sandbox, Stack

STACK = "paper-image"
DEADLINE = 30.0
LOGGED_IN = "IBC: Configuration tasks completed"


@dataclass
class Bench:
    """Starts containers of the gateway image with one user's credentials, and reads the broker's counters of it."""

    client: docker.DockerClient
    image: str
    prefix: str
    network: Network
    offline: Network
    broker: BrokerControl
    user: str = field(repr=False)
    password: str = field(repr=False)
    containers: list[Container] = field(default_factory=list)

    def start(
        self,
        env: Mapping[str, str | None] | None = None,
        *,
        network: Network | None = None,
        volumes: Mapping[str, str] | None = None,
    ) -> Container:
        """A container as `infra` runs it: no capabilities, no new privileges. `env`: what differs from a working
        gateway's variables, None to leave one out. `volumes`: volume to mount point."""
        given: dict[str, str | None] = {
            "TWS_USERID": self.user,
            "TWS_PASSWORD": escaped(self.password),
            "TRADING_MODE": "paper",
            "READ_ONLY_API": "no",
            "AUTO_RESTART_TIME": "11:59 PM",
            "EXISTING_SESSION_DETECTED_ACTION": "primary",
            "TWOFA_TIMEOUT_ACTION": "exit",
            **(env or {}),
        }
        made = self.client.containers.run(
            self.image,
            detach=True,
            network=(network or self.network).name,
            environment={name: value for name, value in given.items() if value is not None},
            volumes={name: {"bind": at, "mode": "rw"} for name, at in (volumes or {}).items()},
            name=f"{self.prefix}-image-{len(self.containers)}",
            labels={SANDBOX_LABEL: self.prefix},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
        )
        self.containers.append(made)
        return made

    def one_shot(self, command: str, volume: Volume, at: str) -> None:
        """Runs a command as root on a volume, as the step that gives a settings volume its owner."""
        output = self.client.containers.run(
            self.image,
            ["bash", "-ec", command],
            user="0",
            volumes={volume.name: {"bind": at, "mode": "rw"}},
            network_mode="none",
            remove=True,
            labels={SANDBOX_LABEL: self.prefix},
        )
        assert output == b""

    def counter(self, name: str) -> int:
        return int(self.broker.status()["users"][self.user][name])

    @property
    def sessions(self) -> list[str]:
        found: list[str] = self.broker.status()["users"][self.user]["sessions"]
        return found

    def remove(self) -> None:
        for container in self.containers:
            container.remove(force=True, v=True)
        self.containers.clear()
        until(lambda: not self.sessions, "the broker sees the session end")


def escaped(value: str) -> str:
    """As a value of a Java properties file, which config.ini is."""
    units = value.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02X}{units[at + 1]:02X}" for at in range(0, len(units), 2))


def until(done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not done():
        assert time.monotonic() < deadline, f"not within {DEADLINE:.0f} s: {what}"
        time.sleep(0.1)


def log(container: Container) -> str:
    output = container.logs()
    assert isinstance(output, bytes)
    return output.decode()


def shows(container: Container, line: str, times: int = 1) -> None:
    until(lambda: log(container).count(line) >= times, f"the log shows {line!r}\n{log(container)}")


def exit_code(container: Container) -> int:
    return int(container.wait(timeout=DEADLINE)["StatusCode"])


def inside(container: Container, command: str) -> str:
    output = container.exec_run(["bash", "-c", command]).output
    assert isinstance(output, bytes)
    return output.decode()


# The API handshake in bash, as the container's health probe does it.
PROBE = (
    "exec 3<>/dev/tcp/{host}/{port} && printf 'API\\0\\0\\0\\0\\x09v100..178' >&3 && "
    "timeout 2 head -c 4 <&3 | od -An -tx1 | tr -d ' \\n'"
)


def probe(container: Container, port: int, host: str = "127.0.0.1") -> str:
    return inside(container, f"({PROBE.format(host=host, port=port)}) 2>/dev/null")


@pytest.fixture(scope="module")
def place(
    sandbox: Sandbox, gateway_image: str, docker_client: docker.DockerClient, project: Callable[..., Stack]
) -> Iterator[Bench]:
    stack = project(STACK)
    user = sandbox.user_of(stack.name, "main")
    password = next(found.password for found in sandbox.credentials() if found.user_id == user)
    network = docker_client.networks.create(f"{sandbox.prefix}-image-egress", driver="bridge")
    offline = docker_client.networks.create(f"{sandbox.prefix}-image-offline", driver="bridge", internal=True)
    made = Bench(docker_client, gateway_image, sandbox.prefix, network, offline, sandbox.broker(), user, password)
    yield made
    network.remove()
    offline.remove()


@pytest.fixture
def bench(place: Bench, broker: BrokerControl) -> Iterator[Bench]:
    yield place
    broker.clear(place.user)
    place.remove()


@pytest.fixture
def volume(bench: Bench, sandbox: Sandbox) -> Iterator[Volume]:
    """A fresh named volume: it belongs to root."""
    made = bench.client.volumes.create(f"{sandbox.prefix}-image-settings")
    yield made
    bench.remove()
    made.remove(force=True)


SETTINGS = "/home/ibgateway/tws_settings"

# run.sh, common.sh, ibcstart.sh and IBC, in this order; the misspelt words are the real image's.
START_SEQUENCE = [
    ".> Starting IBC/IB gateway",
    ".> Starting Xvfb server",
    ".> SSH tunnel disabled",
    ".> Usign default Java heap size 768m.",
    ".> VNC server disabled",
    ".> API_PORT set to: 4002",
    ".> SOCAT_PORT set to: 4004",
    ".> Appling settings to IBC's config.ini",
    ".> Settings directory NOT set, defaulting to: /home/ibgateway/Jts",
    ".> Setting timezone in /home/ibgateway/Jts/jts.ini",
    ".> Starting Port Forwarding.",
    ".> Starting socat",
    ".> Starting IBC in paper mode, with params:",
    ".>\t\tVersion: 10.45.1j",
    ".>\t\ton2fatimeout: exit",
    "Starting IBC version 3.24.1 on ",
    "autorestart file not found: full authentication will be required",
    "Starting Gateway with this command:",
    "IBC Settings:",
    "    IbLoginId=***",
    "    IbPassword=***",
    "End IBC Settings",
    "IBC: Starting session: will exit if login dialog is not displayed within 60 seconds",
    "IBC: Login dialog WINDOW_OPENED: LoginState is LOGGED_OUT",
    "IBC: Setting Trading mode = paper",
    "IBC: Login attempt: 1",
    "IBC: Click button: Paper Log In",
    "IBC: Login has completed",
    "IBC: Setting ReadOnlyApi",
    "IBC: Read-Only API checkbox is now set to: false",
    "IBC: Auto restart time set to 11:59 PM",
    "IBC: Configuration tasks completed",
]


def test_start_sequence_processes_ports_and_stop(bench: Bench) -> None:
    logins = bench.counter("logins")
    container = bench.start()
    relayed = probe(container, 4004, "127.0.0.1")
    assert LOGGED_IN not in log(container)
    assert relayed == "", "the relay answers before the login"
    shows(container, LOGGED_IN)
    assert bench.counter("logins") == logins + 1

    found = log(container)
    position = 0
    for line in START_SEQUENCE:
        assert line in found[position:], f"{line!r} is missing or out of order"
        position = found.index(line, position) + len(line)
    assert "Forking :::4002 onto 0.0.0.0:4004 > trading mode paper" in found
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d:\d{3} IBC: Login has completed$", found, re.MULTILINE)
    for secret in (bench.user, bench.password):
        assert secret not in found

    assert inside(container, "id -u; id -g; pwd; echo $HOME").split() == [
        "1000",
        "1000",
        "/home/ibgateway",
        "/home/ibgateway",
    ]
    processes = inside(container, "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f; echo; done").splitlines()
    assert "/bin/bash /home/ibgateway/scripts/run.sh " in inside(container, "tr '\\0' ' ' </proc/1/cmdline")
    (java,) = [line for line in processes if "ibcalpha.ibc.IbcGateway" in line]
    assert re.match(r"/usr/local/i4j_jres/\S+/bin/java ", java)
    assert java.endswith(" ibcalpha.ibc.IbcGateway /home/ibgateway/ibc/config.ini ")
    assert " -Xmx768m " in java
    assert "-Drestart=" not in java
    assert bench.password not in java
    assert inside(container, "stat -c '%a %u' ibc/config.ini").strip() == "600 1000"

    assert probe(container, 4002) != ""
    assert probe(container, 4004) != ""
    address = inside(container, "hostname -i").strip()
    assert probe(container, 4004, address) != ""
    assert probe(container, 4002, address) == "", "the gateway's own port is on loopback only"

    logouts = bench.counter("logouts")
    container.stop(timeout=30)
    stopping = log(container)[len(found) :]
    order = ["Received SIGINT or SIGTERM", "Stopping Xvfb.", "Stopping socat.", "Stopping IBC.", "Gateway finished"]
    assert [line for line in order if line in stopping] == order
    assert [stopping.index(line) for line in order] == sorted(stopping.index(line) for line in order)
    assert "IBC returned exit status 143" in stopping
    assert exit_code(container) == 143
    assert bench.counter("logouts") == logouts + 1


BAD_VARIABLES: list[tuple[dict[str, str | None], int, str]] = [
    ({"TRADING_MODE": None}, 1, ".> Invalid TRADING_MODE: "),
    ({"TRADING_MODE": "demo"}, 1, ".> Invalid TRADING_MODE: demo"),
    (
        {"TWS_PASSWORD_FILE": "/etc/hostname"},
        1,
        "error: both TWS_PASSWORD and TWS_PASSWORD_FILE are set (but are exclusive)",
    ),
    ({"TRADING_MODE": "both"}, 1, "error: TRADING_MODE=both is not supported by the simulated gateway"),
    ({"SSH_TUNNEL": "yes"}, 1, "error: SSH_TUNNEL is not supported by the simulated gateway"),
    ({"TWS_USERID_PAPER": "x"}, 1, "error: TWS_USERID_PAPER is not supported by the simulated gateway"),
    ({"TWOFA_TIMEOUT_ACTION": "sometimes"}, 3, "2FA timeout action set to sometimes but must be either"),
    ({"TWS_COLD_RESTART": "7 AM"}, 81, "Invalid ColdRestartTime setting: '7 AM'"),
    ({"BYPASS_WARNING": "maybe"}, 81, "IBC: Exiting after error with exit code=1105"),
    ({"TWS_SETTINGS_PATH": "/home/ibgateway/none/settings"}, 1, ".> Creating directory: "),
]


def test_bad_variables_end_the_container(bench: Bench) -> None:
    """All at once: none of them keeps a session."""
    started = [bench.start(variables) for variables, _, _ in BAD_VARIABLES]
    for container, (variables, code, line) in zip(started, BAD_VARIABLES, strict=True):
        assert exit_code(container) == code, variables
        assert line in log(container), variables


def test_bad_times_of_day_are_only_logged(bench: Bench) -> None:
    container = bench.start({"AUTO_RESTART_TIME": "23:59", "AUTO_LOGOFF_TIME": "10:00 PM"})
    shows(container, 'Auto restart time setting must be hh:mm AM or hh:mm PM, for example "09:30 AM" or "04:00 PM"')
    shows(container, "AutoLogoffTime is ignored because AutoRestartTime is also set")
    shows(container, LOGGED_IN)


def test_unset_variables(bench: Bench) -> None:
    """No time, no API mode, no action: nothing is configured, and the API stays read-only."""
    container = bench.start(
        {
            "READ_ONLY_API": None,
            "AUTO_RESTART_TIME": None,
            "EXISTING_SESSION_DETECTED_ACTION": None,
            "TWOFA_TIMEOUT_ACTION": None,
        }
    )
    shows(container, "IBC: Login has completed")
    until(lambda: probe(container, 4002), "the API opens")
    assert "Configuration tasks completed" not in log(container)
    assert 'readOnlyApi="true"' in inside(container, "cat Jts/*/ibg.xml")


def test_empty_credentials_stay_at_the_form(bench: Bench) -> None:
    before = bench.counter("attempts")
    containers = [bench.start({missing: ""}) for missing in ("TWS_USERID", "TWS_PASSWORD")]
    for container in containers:
        shows(container, "IBC: Setting Trading mode = paper")
    time.sleep(1)
    for container in containers:
        assert "Login attempt" not in log(container)
        container.stop(timeout=30)
        assert exit_code(container) == 143
    assert bench.counter("attempts") == before


USER_SCRIPT = """
sed -i "s/^IbLoginId=.*/IbLoginId=$(cat "$HOME/start.d/user")/" "$HOME/ibc/config.ini.tmpl"
export TRADING_MODE=live
exit 7
"""


def test_start_scripts_run_before_the_templates_and_cannot_fail_the_start(bench: Bench, volume: Volume) -> None:
    bench.one_shot(
        f"printf %s '{bench.user}' >/scripts/user; printf %s '{USER_SCRIPT}' >/scripts/10-user.sh; "
        "chmod 755 /scripts /scripts/*",
        volume,
        "/scripts",
    )
    container = bench.start(
        {"TWS_USERID": None, "START_SCRIPTS": "start.d"}, volumes={volume.name: "/home/ibgateway/start.d"}
    )
    shows(container, LOGGED_IN)
    found = log(container)
    assert "> Running start up scripts on /home/ibgateway/start.d" in found
    assert "> Running /home/ibgateway/start.d/10-user.sh" in found
    assert ".> Starting IBC in paper mode" in found, "a start script is a child: it cannot change the environment"
    container.restart(timeout=30)
    shows(container, LOGGED_IN, times=2)


def test_settings_directory(bench: Bench, volume: Volume) -> None:
    """A fresh named volume belongs to root: the start fails. Once it belongs to uid 1000, jts.ini is written once."""
    mount = {volume.name: SETTINGS}
    refused = bench.start({"TWS_SETTINGS_PATH": SETTINGS}, volumes=mount)
    assert exit_code(refused) == 1
    assert "Permission denied" in log(refused)
    bench.one_shot(f"chown 1000:1000 {SETTINGS}", volume, SETTINGS)
    first = bench.start({"TWS_SETTINGS_PATH": SETTINGS, "TIME_ZONE": "America/New_York"}, volumes=mount)
    shows(first, f".> Setting timezone in {SETTINGS}/jts.ini")
    shows(first, LOGGED_IN)
    assert "TimeZone=America/New_York" in inside(first, f"cat {SETTINGS}/jts.ini")
    first.stop(timeout=30)
    second = bench.start({"TWS_SETTINGS_PATH": SETTINGS, "TIME_ZONE": "Europe/London"}, volumes=mount)
    shows(second, ".> File jts.ini already exists, not setting timezone")
    shows(second, "Read-Only API checkbox is already set to: false")
    assert "TimeZone=America/New_York" in inside(second, f"cat {SETTINGS}/jts.ini")


def test_java_heap_sticks_in_a_container(bench: Bench) -> None:
    container = bench.start({"JAVA_HEAP_SIZE": "1024"})
    shows(container, ".> Java heap size set to 1024m")
    shows(container, "-Xmx1024m")
    assert "-Xmx768m" not in log(container)


def test_vnc_greets_on_its_port(bench: Bench) -> None:
    container = bench.start({"VNC_SERVER_PASSWORD": "throwaway"})
    shows(container, ".> Starting VNC server")
    until(
        lambda: "RFB 003.008" in inside(container, "exec 3<>/dev/tcp/127.0.0.1/5900; timeout 1 head -c 11 <&3"), "VNC"
    )
    container.stop(timeout=30)
    shows(container, ".> Stopping x11vnc.")


def test_password_from_a_file_is_in_no_environment(bench: Bench, volume: Volume) -> None:
    bench.one_shot(
        f"printf %s '{escaped(bench.password)}' >/secrets/tws_password; chmod 444 /secrets/tws_password",
        volume,
        "/secrets",
    )
    container = bench.start(
        {"TWS_PASSWORD": None, "TWS_PASSWORD_FILE": "/run/secrets/tws_password"}, volumes={volume.name: "/run/secrets"}
    )
    shows(container, LOGGED_IN)
    environments = inside(container, "cat /proc/[0-9]*/environ | tr '\\0' '\\n'")
    assert "TWS_PASSWORD_FILE=" in environments
    assert "TWS_PASSWORD=" not in environments
    assert escaped(bench.password) not in environments


def test_wrong_password_fails_the_login(bench: Bench) -> None:
    before = bench.counter("failed_attempts")
    container = bench.start({"TWS_PASSWORD": "wrong"})
    shows(container, "IBC: detected dialog entitled: Unrecognized Username or Password; event=Opened")
    assert bench.counter("failed_attempts") == before + 1
    assert probe(container, 4002) == ""
    container.reload()
    assert container.status == "running"
    assert "Login has completed" not in log(container)
    container.stop(timeout=30)
    assert exit_code(container) == 143


def test_without_egress_there_is_no_login(bench: Bench) -> None:
    before = bench.counter("attempts")
    container = bench.start(network=bench.offline)
    shows(container, "IBC: Connection to server failed")
    shows(container, "IBC will cold-restart shortly")
    assert bench.counter("attempts") == before
    assert probe(container, 4002) == ""
    container.stop(timeout=30)


def test_failed_login_is_retried_at_once_by_a_new_process(bench: Bench) -> None:
    """`Login failed` makes IBC cold-restart inside ibcstart.sh, without back-off; the form takes a second at least."""
    before = bench.counter("attempts")
    bench.broker.scenario("login-failed-restart", bench.user)
    container = bench.start()
    shows(container, "IBC: Cold restart in progress", times=2)
    found = log(container)
    assert found.count("Starting Gateway with this command:") >= 2
    assert "IBC will cold-restart shortly" in found
    assert "IBC will restart shortly\nsleep 2\n" in found
    assert found.count("> Starting IBC/IB gateway") == 1
    bench.broker.clear(bench.user)
    shows(container, LOGGED_IN)
    assert bench.counter("attempts") - before >= 3
    stamps = re.findall(r"(\d\d:\d\d:\d\d):(\d{3}) IBC: (version|Login attempt)", found)
    seconds = [_seconds(clock) + int(millis) / 1000 for clock, millis, _ in stamps[:2]]
    assert seconds[1] - seconds[0] > 0.5


def _seconds(clock: str) -> int:
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    return hours * 3600 + minutes * 60 + seconds


def test_exit_87_restarts_only_if_told_so(bench: Bench) -> None:
    """IBC's 1111: an answered second factor without a login in time."""
    bench.broker.scenario("push-denied", bench.user)
    again, once, unset = (
        bench.start({"TWOFA_TIMEOUT_ACTION": action, "RELOGIN_AFTER_TWOFA_TIMEOUT": "yes", "TWOFA_EXIT_INTERVAL": "1"})
        for action in ("restart", "exit", None)
    )
    for container in (again, once, unset):
        shows(container, "IBC: Exiting after error with exit code=1111")
        shows(container, "IBC returned exit status 87")
    shows(again, "Starting Gateway with this command:", times=2)
    for container in (once, unset):
        assert exit_code(container) == 87
        assert "Gateway finished" in log(container)


def test_soft_restart_keeps_the_session_and_cold_restart_does_not(bench: Bench) -> None:
    container = bench.start()
    shows(container, LOGGED_IN)
    logins, soft = bench.counter("logins"), bench.counter("soft_logins")
    bench.broker.scenario("nightly-restart", bench.user)
    shows(container, "IBC: Re-starting session")
    shows(container, LOGGED_IN, times=2)
    found = log(container)
    assert "authentication will not be required" in found
    assert re.search(r"AUTORESTART_OPTION is -Drestart=[a-p]{24}\n", found)
    assert re.search(r"/bin/java .* -Drestart=[a-p]{24} ibcalpha\.ibc\.IbcGateway", found)
    assert (bench.counter("logins"), bench.counter("soft_logins")) == (logins, soft + 1)
    until(lambda: probe(container, 4002), "the API is back")
    bench.broker.clear(bench.user)
    container.restart(timeout=30)
    until(lambda: bench.counter("logins") == logins + 1, "a full login")
    assert bench.counter("soft_logins") == soft + 1


def test_java_killed_ends_the_container_with_its_code(bench: Bench) -> None:
    container = bench.start()
    shows(container, LOGGED_IN)
    inside(container, "for f in /proc/[0-9]*/comm; do [ $(cat $f) = java ] && kill -9 $(basename ${f%/comm}); done")
    assert exit_code(container) == 137
    assert "Gateway finished" in log(container)
    until(lambda: not bench.sessions, "the broker sees the session end")


def test_custom_config_is_left_alone(bench: Bench) -> None:
    container = bench.start({"CUSTOM_CONFIG": "yes"})
    shows(container, ".> Using CUSTOM_CONFIG, (value:yes)")
    shows(container, "IBC Settings:\nEnd IBC Settings")
    assert "Login attempt" not in log(container)
