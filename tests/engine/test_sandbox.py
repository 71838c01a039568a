"""The sandbox itself: what it brings up, that it is found up again, and that it goes without a trace or a victim."""

import json
import os
import re
import secrets
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path

import docker
import pytest
import yaml
from docker.errors import ContainerError, NotFound
from docker.models.networks import Network

from sandbox import images, internet, processes
from sandbox.base_image import bootstrap, pull
from sandbox.environment import ROOT, Sandbox, Stack, free_index, sweep
from sandbox.images import ContextFile
from sandbox.record import Record
from tests.engine.conftest import SANDBOXES, Completed, Pulumi
from tests.engine.secret_versions import secrets_manager
from tests.leaks import Scanner

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 4000), timeout=3)"
FOREIGN_VOLUME = "ibgw-paper-main-settings"
FOREIGN_PREFIX = "ibgw-foreign"


def record(sandbox: Sandbox) -> Record:
    return Record.model_validate_json((sandbox.folder / "record.json").read_text())


def network(client: docker.DockerClient, sandbox: Sandbox, number: int, *, internal: bool) -> Network:
    """A network of the sandbox's own prefix, out of a subnet pool that no stack has."""
    subnet = str(list(IPv4Network(sandbox.pool("probes")).subnets(new_prefix=24))[number])
    pool = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=subnet)])
    return client.networks.create(f"{sandbox.prefix}-probe-{number}", internal=internal, ipam=pool)


# What it brings up


def test_a_second_up_finds_everything_up_and_leaves_it_to_whose_it_is(
    sandbox: Sandbox, run: Callable[..., Completed]
) -> None:
    before = record(sandbox)
    said: list[str] = []
    again = Sandbox(sandbox.folder, sandbox.prefix, sandbox.index, say=said.append)
    again.up()
    assert [line for line in said if "toolchain:" not in line] == []
    assert run(["python", "-m", "sandbox.cli", "up"]).stdout.endswith("the sandbox is up\n")
    assert record(sandbox) == before
    assert all(again.status().values())


def test_the_broker_is_beyond_the_host(sandbox: Sandbox, docker_client: docker.DockerClient, base_image: str) -> None:
    """Who has egress reaches it, who has only an internal network does not."""
    way_out = network(docker_client, sandbox, 0, internal=False)
    inside = network(docker_client, sandbox, 1, internal=True)
    command = ["python3", "-c", CONNECT, sandbox.internet.broker]
    try:
        docker_client.containers.run(base_image, command, network=way_out.name, remove=True)
        with pytest.raises(ContainerError, match=r"timed out|Network is unreachable"):
            docker_client.containers.run(base_image, command, network=inside.name, remove=True)
    finally:
        way_out.remove()
        inside.remove()


def test_pip_works_in_an_image_built_on_the_base_image(
    sandbox: Sandbox, docker_client: docker.DockerClient, base_image: str
) -> None:
    """What the verifier's Dockerfile does. The package is small, pure and without dependencies."""
    steps = b"ARG BASE\nFROM ${BASE}\nRUN pip install --no-cache-dir tomli==2.2.1 && python -c 'import tomli'\n"
    reference = f"{sandbox.prefix}-pip:1"
    context = {"Dockerfile": ContextFile(steps)}
    images.build(docker_client, context, reference=reference, prefix=sandbox.prefix, arguments={"BASE": base_image})
    docker_client.images.remove(reference)


def test_a_base_image_that_a_registry_has_is_pulled_under_our_own_name(
    sandbox: Sandbox, docker_client: docker.DockerClient, base_image: str
) -> None:
    """By a tag and the digest, as the tracked files name it."""
    repository = f"127.0.0.1:{record(sandbox).ports['registry']}/{sandbox.prefix}-upstream"
    docker_client.images.get(base_image).tag(repository, "1")
    docker_client.images.push(repository, tag="1")
    [digest] = [d for d in docker_client.images.get(base_image).attrs["RepoDigests"] if d.startswith(f"{repository}@")]
    upstream = f"{repository}:1@{digest.partition('@')[2]}"
    docker_client.images.remove(f"{repository}:1")
    assert not images.exists(docker_client, upstream)
    name = f"{sandbox.prefix}-pulled:1"
    assert pull(docker_client, sandbox.docker_host, upstream=upstream, name=name, say=lambda text: None)
    assert docker_client.images.get(name).id == docker_client.images.get(base_image).id
    assert not images.exists(docker_client, upstream)
    docker_client.images.remove(name)


def test_a_registry_that_does_not_answer_is_said_and_not_waited_for(
    sandbox: Sandbox, docker_client: docker.DockerClient
) -> None:
    said: list[str] = []
    given = {"upstream": "127.0.0.1:1/nobody/python:3", "name": f"{sandbox.prefix}-pulled:1"}
    assert not pull(docker_client, sandbox.docker_host, **given, say=said.append)
    assert said[-1] == "its registry does not answer"


@pytest.mark.exhaustive
def test_a_base_image_is_bootstrapped_from_the_machines_own_mirror(tmp_path: Path) -> None:
    kept = tmp_path / "base.tar"
    bootstrap(kept, lambda text: None)
    with tarfile.open(kept) as tar:
        names = set(tar.getnames())
    assert {"./usr/bin/python3", "./usr/local/bin/python", "./usr/bin/pip", "./usr/bin/socat"} <= names
    assert "./usr/lib/python3.11/EXTERNALLY-MANAGED" not in names


def test_the_verifiers_base_image_is_named_by_digest(sandbox: Sandbox, base_image: str) -> None:
    """Live takes no other."""
    assert re.fullmatch(rf"127\.0\.0\.1:\d+/{sandbox.prefix}-base@sha256:[0-9a-f]{{64}}", base_image)
    for stack in ("paper", "live"):
        document = yaml.safe_load((sandbox.project_folder / f"Pulumi.{stack}.yaml").read_text())
        assert document["config"]["ibgw:verifier"]["baseImage"] == base_image


def test_the_gateways_image_is_pulled_by_digest_and_not_under_the_real_images_name(
    docker_client: docker.DockerClient, gateway_image: str, sandbox: Sandbox
) -> None:
    name, _, digest = gateway_image.partition("@")
    assert name.startswith("127.0.0.1:")
    assert name.endswith(f"/{sandbox.prefix}-gateway")
    assert "gnzsnz" not in gateway_image
    pulled = docker_client.images.pull(name, tag=digest)
    assert gateway_image in pulled.attrs["RepoDigests"]


def test_the_stacks_paper_and_live_exist_and_paper_is_selected(pulumi: Pulumi, sandbox: Sandbox) -> None:
    stacks = {stack["name"]: stack["current"] for stack in json.loads(pulumi(["stack", "ls", "--json"]).stdout)}
    assert {"paper", "live"} <= set(stacks)
    assert (sandbox.folder / "state" / ".pulumi" / "stacks" / "ibgw" / "paper.json").exists()


def test_tracked_files_are_left_alone(run: Callable[..., Completed]) -> None:
    assert "encryptionsalt" not in (ROOT / "Pulumi.paper.yaml").read_text()
    assert "encryptionsalt" not in (ROOT / "Pulumi.live.yaml").read_text()
    folders = [".sandbox/x", str(SANDBOXES.relative_to(ROOT) / "x")]
    assert run(["git", "check-ignore", *folders]).stdout.split() == folders


def secret_of(sandbox: Sandbox, secret_id: str) -> tuple[str, str]:
    """The current version's id and text, as the program would read them."""
    found = secrets_manager(sandbox.env()).get_secret_value(SecretId=secret_id)
    return found["VersionId"], found["SecretString"]


def test_a_restart_of_secrets_manager_does_not_look_like_a_rotation(sandbox: Sandbox) -> None:
    names = [credential.secret_id for credential in sandbox.credentials()]
    assert f"{sandbox.prefix}/ibgw/paper/main" in names
    before = {name: secret_of(sandbox, name) for name in names}
    port = record(sandbox).ports["secrets-manager"]
    process = record(sandbox).processes["secrets-manager"]
    assert processes.end(process, grace=10)
    Sandbox(sandbox.folder, sandbox.prefix, sandbox.index, say=lambda text: None).up()
    assert record(sandbox).ports["secrets-manager"] == port
    assert {name: secret_of(sandbox, name) for name in before} == before
    assert json.loads(before[f"{sandbox.prefix}/ibgw/live/main"][1])["trading_mode"] == "live"


def test_a_killed_registry_comes_back_where_it_was_with_its_images(
    sandbox: Sandbox, docker_client: docker.DockerClient, gateway_image: str
) -> None:
    os.kill(record(sandbox).processes["registry"].pid, signal.SIGKILL)
    again = Sandbox(sandbox.folder, sandbox.prefix, sandbox.index, say=lambda text: None)
    again.up()
    assert again.gateway_image == gateway_image
    name, _, digest = gateway_image.partition("@")
    docker_client.images.pull(name, tag=digest)


def test_no_password_is_in_an_environment_or_an_argument(sandbox: Sandbox, scanner: Scanner) -> None:
    scanner.check(sandbox.env())
    scanner.check_processes()


# Further stacks


def test_a_further_stack_has_users_secrets_subnets_and_a_folder_of_its_own(
    sandbox: Sandbox, project: Callable[..., Stack], pulumi: Pulumi
) -> None:
    stack = project("paper-more", gateways={"second": {"container": {"probeInterval": "5s"}}})
    gateways = stack.config["config"]["ibgw:gateways"]
    assert gateways["second"]["container"]["probeInterval"] == "5s"
    assert gateways["main"]["container"]["probeInterval"] == "60s"
    ids = [gateway["credentials"]["secretId"] for gateway in gateways.values()]
    assert ids == [f"{sandbox.prefix}/paper/more/main", f"{sandbox.prefix}/paper/more/second"]
    users = {json.loads(secret_of(sandbox, name)[1])["user_id"] for name in ids}
    assert len(users) == 2
    assert users <= set(sandbox.broker().status()["users"])
    assert stack.config["config"]["ibgw:network"]["subnetPool"] != record(sandbox).pools["paper"]
    assert pulumi(["config", "get", "ibgw:mode"], stack=stack).stdout.strip() == "paper"


# Taking it down


@pytest.fixture
def foreign(docker_client: docker.DockerClient, base_image: str) -> Iterator[None]:
    """Somebody else's objects on the same daemon, one of them with a name that a real deployment would have."""
    made_volume = not any(volume.name == FOREIGN_VOLUME for volume in docker_client.volumes.list())
    if made_volume:
        docker_client.volumes.create(FOREIGN_VOLUME, labels={"ibgw.prefix": "ibgw", "ibgw.role": "settings"})
    docker_client.volumes.create(f"{FOREIGN_PREFIX}-data")
    yield
    if made_volume:
        docker_client.volumes.get(FOREIGN_VOLUME).remove()
    docker_client.volumes.get(f"{FOREIGN_PREFIX}-data").remove()


def containers_of(client: docker.DockerClient, prefix: str) -> list[str]:
    return [
        str(found.name)
        for found in client.containers.list(all=True, ignore_removed=True)
        if str(found.name).startswith(prefix)
    ]


@pytest.mark.exhaustive
def test_down_leaves_no_trace_and_no_victim(
    sandbox: Sandbox,
    docker_client: docker.DockerClient,
    base_image: str,
    foreign: None,
    say: Callable[[str], None],
    tmp_path: Path,
) -> None:
    """A second sandbox beside the run's own goes, with everything on it; the first, and what is foreign, stays."""
    prefix = f"ibgw-test-{secrets.token_hex(3)}"
    second = Sandbox(SANDBOXES / prefix, prefix, free_index(), say=say)
    bot = None
    try:
        second.up()
        assert second.internet.broker != sandbox.internet.broker
        mine = network(docker_client, second, 0, internal=True)
        labels = {"ibgw.prefix": prefix, "ibgw.role": "settings"}
        docker_client.volumes.create(f"{prefix}-paper-main-settings", labels=labels)
        docker_client.containers.run(
            second.gateway_image,
            ["600"],
            entrypoint="sleep",
            name=f"{prefix}-paper-main",
            network=mine.name,
            detach=True,
        )
        # A trading bot of somebody's, from an image of somebody else's (another sandbox's), on our network.
        bot = docker_client.containers.run(
            base_image,
            ["sleep", "600"],
            name=f"{FOREIGN_PREFIX}-bot",
            labels={"app": "bot"},
            network=mine.name,
            detach=True,
        )
        (tmp_path / "Dockerfile").write_text(f"FROM {second.base_image}\nRUN true\n")
        docker_client.images.build(path=str(tmp_path), rm=True)  # without a name, as a rebuilt verifier leaves them
        before = record(second)
        log_of_broker = second.folder / "logs" / "broker.log"
        assert log_of_broker.exists()
    finally:
        second.down()
    try:
        assert not second.folder.exists()
        assert not any(processes.alive(process) for process in before.processes.values())
        assert not second.internet.exists()
        assert not Path("/sys/class/net", second.internet.host_link).exists()
        assert prefix not in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
        assert containers_of(docker_client, prefix) == []
        assert [found.name for found in docker_client.networks.list() if prefix in str(found.name)] == []
        assert [found.name for found in docker_client.volumes.list() if prefix in str(found.name)] == []
        left = [found for found in docker_client.images.list(all=True) if prefix in json.dumps(found.attrs)]
        assert [found.tags for found in left] == []

        assert bot is not None
        bot.reload()
        assert bot.status == "running"
        for name in (FOREIGN_VOLUME, f"{FOREIGN_PREFIX}-data"):
            docker_client.volumes.get(name)
        assert all(sandbox.status().values())
        assert docker_client.images.get(sandbox.base_image)
    finally:
        if bot is not None:
            bot.remove(force=True)


def test_what_a_killed_run_left_is_swept_and_what_a_running_one_has_is_not(
    tmp_path: Path, docker_client: docker.DockerClient
) -> None:
    killed, running = f"ibgw-test-{secrets.token_hex(3)}", f"ibgw-test-{secrets.token_hex(3)}"
    owner = processes.this_process()
    gone = owner.model_copy(update={"identity": "an-earlier-boot/1"})
    for prefix, process in ((killed, gone), (running, owner)):
        (tmp_path / prefix).mkdir()
        left = Record(prefix=prefix, index=internet.COUNT - 1, owner=process)
        (tmp_path / prefix / "record.json").write_text(left.model_dump_json())
        docker_client.volumes.create(f"{prefix}-paper-main-settings")
    try:
        sweep(tmp_path, lambda text: None)
        assert [path.name for path in tmp_path.iterdir()] == [running]
        with pytest.raises(NotFound):
            docker_client.volumes.get(f"{killed}-paper-main-settings")
    finally:
        docker_client.volumes.get(f"{running}-paper-main-settings").remove()


def test_down_twice_is_no_error(tmp_path: Path, docker_client: docker.DockerClient) -> None:
    said: list[str] = []
    nothing = Sandbox(tmp_path / "state", f"ibgw-test-{secrets.token_hex(3)}", free_index(), say=said.append)
    nothing.down()
    nothing.down()
    assert said == []
    with pytest.raises(NotFound):
        docker_client.networks.get(f"{nothing.prefix}-probe-0")
