"""The container's first process with the real engine and real Docker: every end is a logout, every login is counted.

What the broker has counted is the proof. Unit tests of the same run the script alone (tests/unit/test_supervisor.py):
what they show of a kind that a test here shows in a container already, is exhaustive here.
"""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from deployment.description import STATUS_PORT
from healthcheck.automation.status import parse
from infra.properties import escape
from infra.spec import SETTINGS_PATH, VALUES_PATH
from sandbox.broker.control import BrokerControl
from sandbox.docker_engine import SANDBOX_LABEL
from sandbox.environment import Sandbox, Stack
from tests.engine.conftest import Completed, Pulumi
from tests.engine.deployed import SECRETS, Deployed, from_now, nothing_planned
from tests.engine.private_docker import PrivateDocker
from tests.engine.secret_versions import rotated
from tests.helpers import until

STACK = "paper-supervised"
PLANNED = nothing_planned()
UP = ["up", "--yes", "--skip-preview"]
RELAY = 4004
STOPPED = 143

exhaustive = pytest.mark.exhaustive
Run = Callable[..., Completed]
Verify = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def declare(project: Callable[..., Stack]) -> Callable[..., Stack]:
    """The stack with further keys of its gateway's session and container."""

    def declared(name: str = STACK, /, *, session: Any = None, container: Any = None, **changes: Any) -> Stack:
        main = {"session": PLANNED | (session or {}), "container": {"stopGrace": "60s"} | (container or {})}
        return project(name, verifier={"timeout": "20s"}, gateways={"main": main}, **changes)

    return declared


@pytest.fixture(scope="module")
def stack(declare: Callable[..., Stack], pulumi: Pulumi, leave: Callable[[Stack], None]) -> Iterator[Stack]:
    made = declare()
    pulumi(UP, stack=made)
    yield made
    leave(made)


@pytest.fixture
def resting(sandbox: Sandbox, stack: Stack, docker_client: docker.DockerClient, broker: BrokerControl) -> Deployed:
    """The gateway, stopped, with nothing remembered."""
    found = Deployed(sandbox, stack.name, docker_client, broker)
    found.forget()
    return found


@pytest.fixture
def gateway(resting: Deployed) -> Deployed:
    """The gateway, logged in."""
    resting.container.start()
    resting.until_logged_in()
    return resting


@pytest.fixture
def ibgw(run: Run, stack: Stack) -> Callable[..., Completed]:
    """A command on the stack's one gateway."""
    return lambda *words, check=True: run(["ibgw", *words, "--stack", stack.name], stack=stack, check=check)


@pytest.fixture
def verify(ibgw: Callable[..., Completed]) -> Verify:
    return lambda wait="0s": report(ibgw("verify", "--wait", wait, "--json", check=False))


def report(done: Completed) -> dict[str, Any]:
    """The first failed check of the only gateway, with what was waited for it; empty where there is none."""
    [found] = json.loads(done.stdout)["gateways"]
    failed = [check for check in found["checks"] if check["verdict"] == "fail"]
    return {**failed[0], "waited_ms": found["waited_ms"]} if failed else {}


# --- every stop is a logout -----------------------------------------------------------------------------------------


def test_every_stop_is_a_logout(gateway: Deployed, ibgw: Callable[..., Completed], verify: Verify) -> None:
    for stop in (lambda: ibgw("stop"), lambda: gateway.container.stop(timeout=60)):
        before, began = gateway.counted, time.monotonic()
        stop()
        assert time.monotonic() - began < 50, "it did not end within its grace"
        assert (gateway.ended, gateway.since(before), gateway.sessions) == (STOPPED, {"logouts": 1}, [])
        found = verify()
        assert found["reason"] == "stopped"
        assert f"exit code {STOPPED}, stopped after its logout" in found["seen"]
        gateway.container.start()
        gateway.until_logged_in()
    before, gateway.began = gateway.counted, time.time()
    ibgw("restart")
    gateway.until_logged_in()
    assert gateway.since(before) == {"logouts": 1, "attempts": 1, "logins": 1}
    assert gateway.log.count("ibgw: stopped: clean") == 1
    assert gateway.restarts == 0, "the restart policy has started it, and not ibgw"


@exhaustive
def test_a_stop_without_a_session_is_no_logout(resting: Deployed, ibgw: Callable[..., Completed]) -> None:
    """At the login form, with a second factor pending, and while it is held."""

    def stopped() -> None:
        before = resting.counted
        resting.container.stop(timeout=60)
        assert (resting.ended, resting.since(before)) == (STOPPED, {})
        assert "ibgw: stopped: no session" in resting.log
        resting.forget()

    resting.scenario("slow-form:120")
    resting.container.start()
    resting.until_status(kind="password")
    stopped()
    resting.scenario("push-pending")
    resting.container.start()
    resting.until_status(phase="second_factor")
    before = resting.counted
    # IBC would answer OK and restart the gateway as soon as the login is approved.
    refused = ibgw("restart", "--soft", check=False)
    assert (refused.returncode, "is not logged in (second_factor)" in refused.stderr) == (7, True)
    assert resting.since(before) == {}
    stopped()
    resting.remember(**{f"{resting.version}.attempts": "2\n1 rejected\n2 rejected\n"})
    resting.container.start()
    resting.until_status(hold="attempts")
    stopped()


@exhaustive
def test_a_deaf_gateway_ends_before_its_grace_is_over(gateway: Deployed, verify: Verify) -> None:
    gateway.scenario("deaf")
    began = time.monotonic()
    gateway.container.stop(timeout=60)
    assert 50 < time.monotonic() - began < 60
    assert gateway.ended == STOPPED
    found = verify()
    assert (found["reason"], "its session may be open at IBKR still" in found["seen"]) == ("stopped", True)
    assert "ibgw: stopped: stranded" in gateway.log


# --- replaced, offline, paused --------------------------------------------------------------------------------------


@exhaustive
def test_offline_hours_begin_with_a_logout_and_end_with_a_login(
    gateway: Deployed, declare: Callable[..., Stack], pulumi: Pulumi, verify: Verify
) -> None:
    before, replaced = gateway.counted, gateway.container.id
    offline = {"from": from_now(minutes=-2), "until": from_now(hours=3)}
    update = pulumi(UP, stack=declare(session={"offline": offline}), check=False)
    assert "offline" in update.stdout + update.stderr
    assert gateway.container.id != replaced
    gateway.until_status(hold="offline")
    assert gateway.runs_nothing()
    found = verify("120s")
    assert (found["reason"], found["waited_ms"] < 60_000) == ("offline", True)
    assert gateway.since(before) == {"logouts": 1}
    pulumi(UP, stack=declare())
    assert gateway.since(before) == {"logouts": 1, "attempts": 1, "logins": 1}


def test_a_pause_outlives_updates_and_its_end_gives_way(
    gateway: Deployed,
    declare: Callable[..., Stack],
    stack: Stack,
    pulumi: Pulumi,
    ibgw: Callable[..., Completed],
    verify: Verify,
) -> None:
    before, first = gateway.counted, gateway.container.id
    ibgw("stop", "--for", "30m")
    found = verify("120s")
    assert (found["reason"], found["waited_ms"] < 60_000) == ("paused", True)
    pulumi([*UP, "--refresh"], stack=declare(container={"probeInterval": "45s"}), check=False)
    second, version = gateway.container.id, gateway.version
    with rotated(stack):
        pulumi(UP, stack=stack, check=False)
    assert len({first, second, gateway.container.id}) == 3
    assert gateway.version != version
    gateway.until_status(hold="paused")
    assert (gateway.runs_nothing(), gateway.since(before)) == (True, {"logouts": 1})
    # A person has a session open, which ends for whoever insists.
    gateway.scenario("session-taken-over")
    gateway.remember(pause=f"{time.time() + 2:.0f}\n")
    gateway.until_status(hold="pause", outcomes="competing_session")
    assert gateway.since(before) == {"logouts": 1, "attempts": 1}
    # At any other time it insists.
    gateway.forget()
    before = gateway.counted
    gateway.scenario("session-taken-over")
    gateway.container.start()
    gateway.until_logged_in()
    assert gateway.since(before) == {"attempts": 1, "logins": 1}


# --- one of a kind, and bounded -------------------------------------------------------------------------------------


def test_two_containers_on_one_volume_never_log_in_both(gateway: Deployed) -> None:
    before = gateway.counted
    with gateway.twin(same_settings=True) as second:
        second.start()
        until(lambda: b"ibgw: held: volume" in second.logs(), "the second one is held")
        assert gateway.since(before) == {}
        # It is held by the lock and by nothing else: it goes on when the first one lets go.
        gateway.container.stop(timeout=60)
        until(lambda: b"ibgw: logged in" in second.logs(), "the second one logs in")
        second.stop(timeout=60)
        assert gateway.since(before) == {"attempts": 1, "logins": 1, "logouts": 2}


@exhaustive
def test_a_gateway_that_ends_after_each_login_is_held(
    resting: Deployed, ibgw: Callable[..., Completed], verify: Verify
) -> None:
    """The fifth login within an hour. The whole course, the pauses that grow and what else a start remembers:
    tests/unit/test_supervisor.py."""
    before, now = resting.counted, int(time.time())
    resting.remember(history="".join(f"{now - 3000 + login} login\n" for login in range(4)))
    resting.scenario("session-ends:10")
    resting.container.start()
    resting.until_status(hold="logins", logins="5")
    assert resting.since(before) == {"attempts": 1, "logins": 1, "logouts": 1}
    assert resting.runs_nothing()
    assert verify()["reason"] == "too_many_logins"
    resting.broker.clear(resting.user)
    ibgw("login", "--again")
    resting.until_logged_in()
    assert resting.since(before) == {"attempts": 2, "logins": 2, "logouts": 1}


# --- the wrong account ----------------------------------------------------------------------------------------------


def put_out(gateway: Deployed, container: Container) -> None:
    """A login that shows accounts of the wrong kind, ended at once."""
    before, seen = gateway.counted, dict[str, float]()
    gateway.scenario("account-kind-swapped")
    container.start()

    def ended() -> bool:
        for counter in gateway.since(before):
            seen.setdefault(counter, time.monotonic())
        return "logouts" in seen

    until(ended, "it is logged out")
    assert seen["logouts"] - seen["logins"] < 5
    until(lambda: b"ibgw: held: attempts: wrong_account" in container.logs(since=gateway.began), "it is held")
    assert gateway.since(before) == {"attempts": 1, "logins": 1, "logouts": 1}


def test_a_live_account_is_put_out_of_a_paper_gateway(resting: Deployed, verify: Verify) -> None:
    put_out(resting, resting.container)
    assert resting.runs_nothing()
    assert verify()["reason"] == "wrong_account"


@exhaustive
def test_a_paper_account_is_put_out_of_a_live_gateway(resting: Deployed, sandbox: Sandbox) -> None:
    """By the same script with the values of live, and a user of live: a stack of live runs promoted releases only."""
    user = sandbox.user_of("live", "main")
    [credential] = [one for one in sandbox.credentials() if one.user_id == user]
    values, paper = resting.text_of(VALUES_PATH), "MODE=paper\nPORT=4002\nRELAY_PORT=4004\n"
    assert paper in values
    files = {
        VALUES_PATH: values.replace(paper, "MODE=live\nPORT=4001\nRELAY_PORT=4003\n"),
        f"{SECRETS}/tws_userid": escape(credential.user_id),
        f"{SECRETS}/tws_password": escape(credential.password),
        f"{SECRETS}/secret_version": credential.version_id,
    }
    with resting.twin(same_settings=False, environment={"TRADING_MODE": "live"}, files=files) as live:
        resting.user = user
        put_out(resting, live)


# --- clients --------------------------------------------------------------------------------------------------------


@contextmanager
def clients(gateway: Deployed, ids: Sequence[int]) -> Iterator[list[int]]:
    """Clients that hold these ids and come back at once whenever they lose one. Yields those that have theirs now."""
    networks = gateway.container.attrs["NetworkSettings"]["Networks"]
    [name] = [name for name in networks if not name.endswith("-egress")]
    address, ended, holding = str(networks[name]["IPAddress"]), threading.Event(), list[int]()

    def hold(client_id: int) -> None:
        start = f"71\0002\0{client_id}\0\0".encode()
        while not ended.wait(0.05):
            try:
                with socket.create_connection((address, RELAY), timeout=2) as connection:
                    connection.sendall(b"API\0" + (9).to_bytes(4, "big") + b"v100..178")
                    if not connection.recv(4096):
                        continue
                    connection.sendall(len(start).to_bytes(4, "big") + start)
                    connection.settimeout(0.5)
                    follow(connection, client_id)
            except OSError:
                continue

    def follow(connection: socket.socket, client_id: int) -> None:
        if not connection.recv(4096):
            return
        holding.append(client_id)
        try:
            while not ended.is_set():
                try:
                    if not connection.recv(4096):
                        return
                except TimeoutError:
                    continue
        finally:
            holding.remove(client_id)

    threads = [threading.Thread(target=hold, args=(client_id,)) for client_id in ids]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(holding) == len(ids), "each client has its id")
        yield holding
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@exhaustive
@pytest.mark.parametrize(
    ("ids", "answer"),
    [
        pytest.param(range(900, 903), "taken", id="the-guard-s-ids"),
        pytest.param(range(100, 132), "full", id="32-clients"),
    ],
)
def test_clients_that_leave_no_place_make_no_attempt_of_a_login(
    ids: Sequence[int], answer: str, gateway: Deployed, ibgw: Callable[..., Completed]
) -> None:
    answers = set()
    with clients(gateway, ids) as holding:
        for restarts in range(1, 4):
            before = gateway.counted
            gateway.container.restart(timeout=60)
            gateway.says("ibgw: logged in", 1 + restarts)
            until(lambda: len(holding) == len(ids), "each client is back")
            assert gateway.since(before) == {"logouts": 1, "attempts": 1, "logins": 1}
            gateway.until_status(phase="logged_in", attempts="0")
            answers.add(gateway.status()["api"])
        for _ in range(3):
            before = gateway.counted
            ibgw("restart", "--soft")
            until(lambda: len(holding) == len(ids), "each client is back")
            assert gateway.since(before) == {"logouts": 1, "soft_logins": 1}
            assert gateway.status()["attempts"] == "0"
        if answer not in answers:  # the logins were proved before all of them were back; it is asked once a minute
            gateway.until_status(api=answer, phase="logged_in")
    assert gateway.guard(f"{gateway.version}.attempts") == ["0"]


# --- what a restart heals -------------------------------------------------------------------------------------------


@exhaustive  # the supervisor waits for two minutes before it calls a saved session refused
def test_a_refused_token_is_healed_by_one_full_login(gateway: Deployed, ibgw: Callable[..., Completed]) -> None:
    """The session and its token end at IBKR; the restart that would keep them stands at a form that nobody fills in."""
    before = gateway.counted
    gateway.scenario("weekly-login")
    refused = ibgw("restart", "--soft", check=False)
    assert (refused.returncode, "did not keep its session" in refused.stderr) == (3, True), refused.stderr
    gateway.broker.clear(gateway.user)
    gateway.until_logged_in()
    assert "ibgw: heal: full_login" in gateway.log
    counted = gateway.since(before)
    assert (counted["attempts"], counted["logins"], counted.get("soft_logins")) == (1, 1, None)


@exhaustive
def test_a_file_that_a_soft_restart_left_makes_no_loop(gateway: Deployed) -> None:
    """One that is new when the gateway stops, and one that is old when it starts."""
    leave = f"for d in {SETTINGS_PATH}/*/; do [[ $d == */guard/ ]] || touch -d '{{}}' $d/autorestart; done"
    find = f"find {SETTINGS_PATH} -name autorestart"
    gateway.bash(leave.format("now"))
    assert gateway.bash(find)
    before, gateway.began = gateway.counted, time.time()
    gateway.container.stop(timeout=60)
    assert gateway.ended == STOPPED
    gateway.container.start()
    gateway.until_logged_in()
    assert gateway.bash(find) == ""
    gateway.bash(leave.format("10 minutes ago"))
    gateway.container.kill()
    gateway.container.start()
    gateway.until_logged_in()
    counted = gateway.since(before)
    assert (counted["attempts"], counted["logins"], counted["logouts"]) == (2, 2, 1)
    assert gateway.log.count("IBC: Starting session:") == 2


@exhaustive
def test_a_wedged_api_is_healed_by_one_soft_restart(gateway: Deployed) -> None:
    before = gateway.counted
    gateway.scenario("api-wedged")
    until(lambda: "ibgw: heal: soft_restart" in gateway.log, "it heals", seconds=400)
    gateway.broker.clear(gateway.user)
    gateway.until_status(kind="saved", phase="logged_in", heals="1")
    assert gateway.since(before) == {"logouts": 1, "soft_logins": 1}


# --- the status line ------------------------------------------------------------------------------------------------


def test_the_status_is_told_on_the_api_network_alone(
    gateway: Deployed, sandbox: Sandbox, docker_client: docker.DockerClient
) -> None:
    networks = gateway.container.attrs["NetworkSettings"]["Networks"]
    image = gateway.container.attrs["Image"]

    def asked(from_: str, address: str) -> list[str]:
        """What a container there is told, line by line, and the code of its client: 124 for none in time."""
        client = f"timeout 5 bash -c 'cat </dev/tcp/{address}/{STATUS_PORT}'"
        output = docker_client.containers.run(
            image,
            ["bash", "-c", f"{client} 2>&1; echo $?"],
            network=from_,
            labels={SANDBOX_LABEL: sandbox.prefix},
            remove=True,
        )
        assert isinstance(output, bytes)
        return output.decode().splitlines()

    def silent(from_: str, address: str) -> bool:
        """While a network is made, Docker lets packets between bridges through for a moment: what answers is asked
        again (as healthcheck.reachability does)."""
        return any(asked(from_, address) == ["124"] for _ in range(3))

    elsewhere = docker_client.networks.create(f"{gateway.name}-elsewhere", labels={SANDBOX_LABEL: sandbox.prefix})
    addresses = {name: str(entry["IPAddress"]) for name, entry in networks.items()}
    [egress] = [name for name in networks if name.endswith("-egress")]
    [api] = {*networks} - {egress}
    try:
        with ThreadPoolExecutor() as pool:
            ways = [(egress, addresses[egress]), *((str(elsewhere.name), address) for address in addresses.values())]
            found = [pool.submit(silent, *way) for way in ways]
        assert all(one.result() for one in found)
        line, code = asked(api, gateway.name)
        assert (parse(line).phase, parse(line).mode, code) == ("logged_in", "paper", "0")
    finally:
        elsewhere.remove()


# --- Docker itself --------------------------------------------------------------------------------------------------


@exhaustive
def test_the_daemon_s_shutdown_is_a_logout_and_a_pause_outlives_its_restart(
    own_docker: PrivateDocker,
    sandbox: Sandbox,
    declare: Callable[..., Stack],
    pulumi: Pulumi,
    broker: BrokerControl,
    run: Run,
) -> None:
    made = declare(f"{STACK}-dockerd", dockerHost=own_docker.host)
    pulumi(UP, stack=made)
    with closing(own_docker.client()) as client:
        gateway = Deployed(sandbox, made.name, client, broker)
        gateway.until_logged_in()
    before = gateway.counted
    for round_, length in enumerate(("", "30m"), 1):
        if length:
            run(["ibgw", "stop", "--for", length, "--stack", made.name], stack=made)
        own_docker.end(signal.SIGTERM)
        own_docker.start()
        with closing(own_docker.client()) as client:
            gateway.client = client
            if length:
                gateway.until_status(hold="paused")
                gateway.remember(pause="0\n")
            gateway.until_logged_in()
            assert gateway.log.count("ibgw: stopped: clean") == round_
    assert gateway.since(before) == {"logouts": 2, "attempts": 2, "logins": 2}


def test_destroy_is_a_logout(gateway: Deployed, stack: Stack, pulumi: Pulumi) -> None:
    """The last one: it leaves nothing to look at."""
    before = gateway.counted
    pulumi(["destroy", "--yes", "--skip-preview"], stack=stack)
    assert gateway.since(before) == {"logouts": 1}
