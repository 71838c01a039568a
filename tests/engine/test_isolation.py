"""Who reaches the API: every way in that somebody could open by hand is seen, on real Docker with real packets."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from docker.types import IPAMConfig, IPAMPool

from deployment.description import Deployment
from sandbox.environment import ROOT, Sandbox, Stack
from tests.engine.conftest import Completed, Pulumi
from tests.engine.private_docker import private_docker
from tests.helpers import until

STACK = "paper-isolated"
SECONDS = 60

# README of the image (gnzsnz/ib-gateway): socat listens on 4003 (live) or 4004 (paper) for 4001 or 4002; VNC on 5900.
# The container's first process tells its status on 4010.
PORTS = (4001, 4002, 4003, 4004, 4010, 5900)

Run = Callable[..., Completed]


@pytest.fixture(scope="module")
def stack(
    project: Callable[..., Stack], pulumi: Pulumi, run: Run, docker_client: docker.DockerClient
) -> Iterator[Stack]:
    """Two gateways, so that there is another one's api network."""
    made = project(STACK, gateways={"main": {}, "second": {}})
    pulumi(["up", "--yes", "--skip-preview"], stack=made)
    names = Deployment.model_validate_json(pulumi(["stack", "output", "contract", "--json"], stack=made).stdout)
    yield made
    run(["ibgw", "destroy", "--yes", "--stack", STACK], stack=made)
    # The tests put other networks in the place of the stack's own, which it does not know.
    for name in (names.egress_network, names.gateways["main"].api.network):
        for network in docker_client.networks.list(names=[name]):
            network.remove()


@pytest.fixture(scope="module")
def deployment(stack: Stack, pulumi: Pulumi) -> Deployment:
    return Deployment.model_validate_json(pulumi(["stack", "output", "contract", "--json"], stack=stack).stdout)


@pytest.fixture(scope="module")
def verify(
    stack: Stack, deployment: Deployment, run: Run, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """The checks of the gateway `main` by name; `isolation` names the expected verdict and reason."""
    path = tmp_path_factory.mktemp("contract") / "contract.json"
    path.write_text(deployment.model_dump_json(by_alias=True))

    def command(isolation: tuple[str, str | None] = ("pass", None)) -> dict[str, Any]:
        line = ["ibgw", "verify", "--contract", str(path), "--gateway", "main", "--wait", "0s", "--json"]
        done = run(line, stack=stack, check=False)
        assert done.returncode in (0, 3), done.stderr
        checks = {found["name"]: found for found in json.loads(done.stdout)["gateways"][0]["checks"]}
        found = checks["isolation"]
        assert (found["verdict"], found["reason"]) == isolation, repr(found)
        return checks

    return command


def networks_of(client: docker.DockerClient, name: str) -> dict[str, Any]:
    found: dict[str, Any] = client.containers.get(name).attrs["NetworkSettings"]["Networks"]
    return found


@contextmanager
def sleeping(
    client: docker.DockerClient, deployment: Deployment, suffix: str, *, started: bool = True, **options: Any
) -> Iterator[Container]:
    """A container of the verifier's image that does nothing by itself."""
    container = client.containers.create(
        deployment.verifier.image_id,
        options.pop("command", ["300"]),
        entrypoint=options.pop("entrypoint", ["sleep"]),
        name=f"{deployment.name_prefix}-{suffix}",
        **options,
    )
    try:
        if started:
            container.start()
        yield container
    finally:
        container.remove(force=True)


@contextmanager
def on_top_of(client: docker.DockerClient, interface: str, name: str) -> Iterator[str]:
    """A network that lies on an interface of the host, a bridge of Docker's too."""
    network = client.networks.create(name, driver="macvlan", options={"parent": interface})
    try:
        yield name
    finally:
        network.remove()


def test_isolation_is_tried_from_every_origin_and_leaves_nothing(
    verify: Callable[..., Any], deployment: Deployment, docker_client: docker.DockerClient
) -> None:
    data = verify()["isolation"]["data"]
    assert data["control"] == "connects"
    beyond = data["vantage_points"].pop("beyond_the_host")
    assert data["vantage_points"] == {"throwaway_bridge": "silent", "egress": "silent", "other_api": "silent"}
    assert "this machine is the Docker host" in beyond
    mine: dict[str, str | list[str] | bool] = {
        "label": [f"ibgw.prefix={deployment.name_prefix}", f"ibgw.stack={STACK}", "ibgw.role=verifier"]
    }
    assert docker_client.containers.list(all=True, filters=mine, ignore_removed=True) == []
    assert docker_client.networks.list(filters=mine) == []


def test_verifications_at_the_same_time_agree(verify: Callable[..., Any]) -> None:
    """Neither takes the other's containers for strangers, nor sweeps them: four, of which two begin in the midst."""

    def twice() -> None:
        verify()
        verify()

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(twice) for _ in range(2)]:
            done.result()


def test_what_runs_is_as_it_must_be(verify: Callable[..., Any]) -> None:
    hygiene = verify()["hygiene"]
    assert (hygiene["verdict"], hygiene["required"]) == ("pass", True)
    assert (hygiene["data"]["restarts"], hygiene["data"]["out_of_memory"]) == (0, False)
    rules = hygiene["data"]["rules"]
    # An engine's grace at a removal is not visible in Docker.
    assert rules.pop("time_to_log_out_at_removal") == "unseen"
    assert set(rules.values()) == {"kept"}


def test_packets_from_beyond_the_host_get_no_answer(
    sandbox: Sandbox, deployment: Deployment, docker_client: docker.DockerClient
) -> None:
    """With a control: a port that somebody published on purpose does answer there."""
    addresses = [
        f"{entry['IPAddress']}:{port}"
        for entry in networks_of(docker_client, deployment.gateways["main"].container.name).values()
        for port in PORTS
    ]
    listening: dict[str, Any] = {
        "entrypoint": ["python3", "-m", "http.server"],
        "command": ["8000"],
        "ports": {"8000/tcp": None},
    }
    with sleeping(docker_client, deployment, "published", **listening) as control:
        control.reload()
        port = control.attrs["NetworkSettings"]["Ports"]["8000/tcp"][0]["HostPort"]
        published = f"{sandbox.internet.host_address}:{port}"
        answers: dict[str, str] = {}
        deadline = time.monotonic() + SECONDS
        while answers.get(published) != "silent" and time.monotonic() < deadline:
            answers = probe(sandbox.internet.inside(sys.executable), [published])
    # It accepts, and then waits for the rest of a request.
    assert answers == {published: "silent"}
    assert set(probe(sandbox.internet.inside(sys.executable), addresses).values()) == {"unreachable"}


def probe(python: Sequence[str], addresses: Sequence[str]) -> dict[str, str]:
    done = subprocess.run(
        [*python, "-m", "healthcheck.probe", *addresses],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return {answer["address"]: answer["answer"] for answer in answers}


def test_a_bot_that_is_attached_for_a_moment_is_caught(
    stack: Stack, deployment: Deployment, docker_client: docker.DockerClient, tmp_path: Path
) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PULUMI_"))}
    network = docker_client.networks.get(deployment.gateways["main"].api.network)
    line = ["ibgw", "verify", "--stack", stack.name, "--gateway", "main", "--watch", f"{SECONDS}s", "--json"]
    with sleeping(docker_client, deployment, "passer-by", network_mode="none") as bot:
        docker_client.networks.get("none").disconnect(bot)
        verifying = subprocess.Popen(
            line, env=environment | dict(stack.env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            watching = threading.Event()

            def read() -> None:
                assert verifying.stderr is not None
                for told in verifying.stderr:
                    if "watching who is attached" in told:
                        watching.set()

            reader = threading.Thread(target=read, daemon=True)
            reader.start()
            assert watching.wait(SECONDS)
            network.connect(bot)
            network.disconnect(bot)
            assert verifying.stdout is not None
            output = verifying.stdout.read()
            assert verifying.wait(SECONDS) == 3
        finally:
            verifying.kill()
            verifying.wait()
    [found] = [check for check in json.loads(output)["gateways"][0]["checks"] if check["name"] == "isolation"]
    assert found["reason"] == "undeclared_client"
    assert f"for a moment attached to {network.name} and not declared: {bot.name}" in found["seen"]


def test_a_container_on_egress_that_is_no_gateway_is_exposure(
    verify: Callable[..., Any], deployment: Deployment, docker_client: docker.DockerClient
) -> None:
    with sleeping(docker_client, deployment, "intruder", network=deployment.egress_network) as intruder:
        found = verify(("fail", "exposed"))["isolation"]
    assert f"egress network: found {intruder.name} attached, expected gateways only" in found["seen"]


def test_whoever_is_beside_a_gateway_is_known_by_what_it_is(
    verify: Callable[..., Any], deployment: Deployment, docker_client: docker.DockerClient
) -> None:
    """By a sidecar's ordinary options, or with the labels of ours; one of them is not even started."""
    gateway, second = deployment.gateways["main"], deployment.gateways["second"]
    forged = docker_client.containers.get(second.container.name).labels
    mountpoint = docker_client.volumes.get(gateway.volumes.settings).attrs["Mountpoint"]
    joins = f"container:{gateway.container.name}"
    bridge = f"br-{docker_client.networks.get(gateway.api.network).attrs['Id'][:12]}"
    with (
        on_top_of(docker_client, bridge, f"{deployment.name_prefix}-macvlan") as on_top,
        sleeping(docker_client, deployment, "macvlan", network=on_top),
        sleeping(docker_client, deployment, "net", network_mode=joins),
        sleeping(docker_client, deployment, "pid", pid_mode=joins, network_mode="none"),
        sleeping(docker_client, deployment, "volume", network_mode="none", volumes_from=[gateway.container.name]),
        sleeping(docker_client, deployment, "bind", network_mode="none", volumes=[f"{mountpoint}:/data:ro"]),
        sleeping(docker_client, deployment, "role", network=gateway.api.network, labels={"ibgw.role": "verifier"}),
        sleeping(docker_client, deployment, "forged", network=deployment.egress_network, labels=forged),
        sleeping(docker_client, deployment, "created", started=False, network=gateway.api.network),
    ):
        found = verify(("fail", "exposed"))["isolation"]["seen"]
    prefix, volume = deployment.name_prefix, gateway.volumes.settings
    for said in (
        f"egress network: found {prefix}-forged attached, expected gateways only",
        f"{prefix}-net shares its network namespace",
        f"{prefix}-macvlan shares its network {gateway.api.network}, by network {on_top}",
        f"{prefix}-pid shares its process namespace",
        f"{prefix}-volume shares its volume {volume}",
        f"{prefix}-bind shares its volume {volume}, by {mountpoint}",
        f"attached to {gateway.api.network} and not declared: {prefix}-role",
        f"when it runs attached to {gateway.api.network} and not declared: {prefix}-created",
    ):
        assert said in found
    verify()


def test_a_bot_in_the_way_of_a_destroy_is_named(
    stack: Stack, deployment: Deployment, run: Run, docker_client: docker.DockerClient
) -> None:
    network = deployment.gateways["main"].api.network
    with sleeping(docker_client, deployment, "bot", network=network) as bot:
        done = run(["ibgw", "destroy", "--stack", STACK, "--yes"], stack=stack, check=False)
    assert done.returncode == 7
    disconnect = f"(`docker network disconnect {network} {bot.name}`)"
    assert f"container {bot.name} is attached to {network} {disconnect}" in done.stderr
    assert docker_client.containers.get(deployment.gateways["main"].container.name).status == "running"


def test_a_container_made_by_hand_with_a_published_port_is_exposure(
    verify: Callable[..., Any], deployment: Deployment, docker_client: docker.DockerClient
) -> None:
    """In the place of the gateway, with its labels; the gateway itself waits beside it under another name."""
    gateway = deployment.gateways["main"]
    own = docker_client.containers.get(gateway.container.name)
    own.rename(f"{gateway.container.name}-aside")
    try:
        made = docker_client.containers.create(
            own.attrs["Image"],
            ["300"],
            entrypoint=["sleep"],
            name=gateway.container.name,
            labels=own.labels,
            environment={"TWS_PASSWORD": "made-up"},
            network=deployment.egress_network,
            ports={"4004/tcp": None},
        )
        try:
            docker_client.networks.get(gateway.api.network).connect(made)
            made.start()
            checks = verify(("fail", "exposed"))
        finally:
            made.remove(force=True)
    finally:
        own.rename(gateway.container.name)
    assert "published port: found 4004/tcp on 0.0.0.0:" in checks["isolation"]["seen"]
    hygiene = checks["hygiene"]
    assert (hygiene["verdict"], hygiene["reason"]) == ("fail", "credential_visible")
    assert "environment: found what looks like a credential under TWS_PASSWORD" in hygiene["seen"]
    assert "made-up" not in json.dumps(checks)
    # One of each kind: a rule, and the settings.
    assert "capabilities dropped: found none, expected ALL" in hygiene["seen"]
    assert "settings: found not mounted" in hygiene["seen"]


def test_settings_that_belong_to_root_are_seen_and_the_remedy_hands_them_over(
    stack: Stack, pulumi: Pulumi, verify: Callable[..., Any], deployment: Deployment, docker_client: docker.DockerClient
) -> None:
    gateway = deployment.gateways["main"]
    own = docker_client.containers.get(gateway.container.name)
    docker_client.containers.run(
        own.attrs["Image"], ["0:0", "/settings"], entrypoint=["chown"], user="0", network_mode="none", remove=True,
        volumes={gateway.volumes.settings: {"bind": "/settings", "mode": "rw"}},
    )  # fmt: skip
    hygiene = verify()["hygiene"]
    assert (hygiene["verdict"], hygiene["reason"]) == ("fail", "settings_owner")
    assert "owner of the settings: found 0:0, expected 1000:1000" in hygiene["seen"]
    handed_over = f"`docker rm {own.name}-settings-owner`, then `pulumi up --refresh --stack {STACK}`"
    assert handed_over in hygiene["remedy"]
    docker_client.containers.get(f"{own.name}-settings-owner").remove()
    pulumi(["up", "--refresh", "--yes", "--skip-preview"], stack=stack)
    assert verify()["hygiene"]["verdict"] == "pass"
    assert docker_client.containers.get(gateway.container.name).id == own.id


@contextmanager
def replaced(client: docker.DockerClient, name: str, **changes: Any) -> Iterator[None]:
    """Another network in the place of one, with everything that was attached, and back."""
    original = client.networks.get(name).attrs
    wanted = {"internal": original["Internal"], "options": original["Options"]}
    try:
        replace_network(client, original, **(wanted | changes))
        yield
    finally:
        replace_network(client, original, **wanted)


def replace_network(client: docker.DockerClient, original: dict[str, Any], **options: Any) -> None:
    name = original["Name"]
    old = client.networks.get(name)
    members = {member: networks_of(client, member)[name] for member in old.attrs["Containers"]}
    for member in members:
        old.disconnect(member, force=True)
    old.remove()
    [pool] = original["IPAM"]["Config"]
    new = client.networks.create(
        name,
        driver="bridge",
        labels=original["Labels"],
        ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=pool["Subnet"], gateway=pool["Gateway"])]),
        **options,
    )
    for member, entry in members.items():
        new.connect(member, ipv4_address=entry["IPAddress"], aliases=entry["Aliases"])


def test_an_api_network_that_is_not_internal_is_exposure(
    verify: Callable[..., Any], deployment: Deployment, docker_client: docker.DockerClient
) -> None:
    with replaced(docker_client, deployment.gateways["main"].api.network, internal=False):
        found = verify(("fail", "exposed"))["isolation"]
    assert "api network: found not internal, expected internal" in found["seen"]
    verify()


@pytest.mark.exhaustive
def test_traffic_between_gateways_over_egress_is_exposure(
    verify: Callable[..., Any], deployment: Deployment, docker_client: docker.DockerClient
) -> None:
    with replaced(docker_client, deployment.egress_network, options={}):
        found = verify(("fail", "exposed"))["isolation"]
    assert "egress network: found traffic between its containers" in found["seen"]


@pytest.mark.exhaustive
def test_a_docker_that_keeps_no_filter_rules_is_named_as_the_cause(
    sandbox: Sandbox, project: Callable[..., Stack], deployment: Deployment, pulumi: Pulumi, run: Run
) -> None:
    """Its records are as they should be, and so is what was deployed."""
    with private_docker(sandbox, deployment.verifier.image_id, "--iptables=false") as unfiltered:
        made = project(f"{STACK}-unfiltered", dockerHost=unfiltered.host)
        pulumi(["up", "--yes", "--skip-preview"], stack=made, check=False)
        done = run(["ibgw", "verify", made.name, "--wait", "0s", "--json"], stack=made, check=False)
        checks = {found["name"]: found for found in json.loads(done.stdout)["gateways"][0]["checks"]}
        found = checks["isolation"]
        assert (found["verdict"], found["reason"]) == ("fail", "exposed"), repr(found)
        assert "answers from throwaway_bridge" in found["seen"]
        assert '"iptables": false' in found["remedy"]
        run(["ibgw", "destroy", "--yes", "--stack", made.name], stack=made)


@pytest.mark.parametrize(
    ("updated", "verified"),
    [
        (signal.SIGHUP, signal.SIGKILL),
        pytest.param(signal.SIGINT, signal.SIGHUP, marks=pytest.mark.exhaustive),
    ],
    ids=str,
)
def test_nothing_is_left_of_a_verification_that_is_broken_off(
    stack: Stack,
    deployment: Deployment,
    pulumi: Pulumi,
    docker_client: docker.DockerClient,
    tmp_path: Path,
    updated: signal.Signals,
    verified: signal.Signals,
) -> None:
    """An update's by a closed terminal or Ctrl-C, which reach the engine alone, and one of `ibgw verify` that waits; a
    third one, which begins then, goes on."""
    right, wrong = tmp_path / "contract.json", tmp_path / "wrong.json"
    right.write_text(deployment.model_dump_json(by_alias=True))
    wrong.write_text(right.read_text().replace('"port":4004', '"port":4005'))
    verify = ["ibgw", "verify", "--gateway", "main", "--contract"]
    update = ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", STACK]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PULUMI_"))}
    ours: dict[str, str | list[str] | bool] = {
        "label": [f"ibgw.prefix={deployment.name_prefix}", f"ibgw.stack={STACK}", "ibgw.role=verifier"]
    }

    def runs() -> set[str]:
        found = docker_client.containers.list(all=True, filters=ours, ignore_removed=True)
        return {container.labels["ibgw.run"] for container in found}

    with ExitStack() as stop:

        def start(line: list[str]) -> "subprocess.Popen[bytes]":
            begun = subprocess.Popen(
                line, env=environment | dict(stack.env), stdout=subprocess.DEVNULL, start_new_session=True
            )
            stop.callback(begun.wait)
            stop.callback(begun.kill)
            return begun

        broken_off = start([*verify, str(wrong)])
        until(lambda: len(runs()) == 1, "it has begun", seconds=SECONDS)
        updating = start(update)
        until(lambda: len(runs()) == 2, "both have begun", seconds=SECONDS)
        other = start([*verify, str(right)])
        updating.send_signal(updated)
        broken_off.send_signal(verified)
        assert other.wait(SECONDS) == 0
        until(lambda: not runs() and not docker_client.networks.list(filters=ours), "all is removed", seconds=SECONDS)
        updating.wait(SECONDS)
    pulumi(["cancel", "--yes"], stack=stack)


def test_a_gateway_that_leaves_the_configuration_is_no_stranger_in_that_update(
    stack: Stack,
    deployment: Deployment,
    project: Callable[..., Stack],
    pulumi: Pulumi,
    docker_client: docker.DockerClient,
) -> None:
    """It is removed after the verification; until then it is in the state, and in no description."""
    left = deployment.gateways["second"].container.name
    project(STACK, gateways={"main": {}})
    pulumi(["up", "--yes", "--skip-preview"], stack=stack)
    assert docker_client.containers.list(all=True, filters={"name": f"^{left}$"}) == []
