"""The main job on the real engine and real Docker: the README's plain commands, and what they leave on the host."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest

from deployment.description import Deployment
from sandbox.environment import ROOT, Sandbox
from tests.engine.conftest import Completed, Pulumi
from tests.leaks import Scanner

FIVE = ("connected", "authenticated", "account_access", "market_data", "order_capability")


@pytest.fixture(scope="module")
def first_up(pulumi: Pulumi) -> Iterator[Completed]:
    yield pulumi(["up", "--yes", "--skip-preview", "--stack", "paper"])
    pulumi(["destroy", "--yes", "--skip-preview", "--stack", "paper"])


@pytest.fixture(scope="module")
def deployment(first_up: Completed, pulumi: Pulumi) -> Deployment:
    assert first_up.returncode == 0
    return Deployment.model_validate_json(pulumi(["stack", "output", "contract", "--json", "--stack", "paper"]).stdout)


@pytest.fixture(scope="module")
def inspected(deployment: Deployment, docker_client: docker.DockerClient) -> dict[str, Any]:
    found: dict[str, Any] = docker_client.api.inspect_container(deployment.gateways["main"].container.name)
    return found


def test_up_ends_with_the_report_of_all_five_checks(first_up: Completed) -> None:
    for name in FIVE:
        assert name in first_up.stdout
    assert "VERIFIED" in first_up.stdout


def test_a_second_up_changes_nothing_and_verifies_again(first_up: Completed, pulumi: Pulumi) -> None:
    again = pulumi(["up", "--yes", "--skip-preview", "--expect-no-changes", "--stack", "paper"])
    assert "unchanged" in again.stdout
    assert "order_capability" in again.stdout


def test_a_preview_shows_no_change_not_even_after_a_refresh(first_up: Completed, pulumi: Pulumi) -> None:
    pulumi(["preview", "--expect-no-changes", "--stack", "paper"])
    pulumi(["preview", "--refresh", "--expect-no-changes", "--stack", "paper"])


def test_files_that_are_no_part_of_the_verifier_do_not_rebuild_it(first_up: Completed, pulumi: Pulumi) -> None:
    cache = ROOT / "healthcheck" / "__pycache__"
    cache.mkdir(exist_ok=True)
    stray = cache / "stray.pyc"
    stray.write_bytes(b"\0")
    try:
        pulumi(["preview", "--expect-no-changes", "--stack", "paper"])
    finally:
        stray.unlink()


def test_live_can_be_previewed_and_not_updated_without_a_release(
    pulumi: Pulumi, sandbox: Sandbox, docker_client: docker.DockerClient
) -> None:
    preview = pulumi(["preview", "--stack", "live"])
    assert "ibgw:release is not set" in preview.stdout + preview.stderr
    assert "sha256:" + "0" * 64 in pulumi(["preview", "--diff", "--stack", "live"]).stdout
    up = pulumi(["up", "--yes", "--skip-preview", "--stack", "live"], check=False)
    assert up.returncode != 0
    assert "ibgw:release is not set" in up.stdout + up.stderr
    names = [str(found.name) for found in docker_client.containers.list(all=True, ignore_removed=True)]
    assert [name for name in names if name.startswith(f"{sandbox.prefix}-live-")] == []


def test_what_runs_is_confined(inspected: dict[str, Any]) -> None:
    """The other end of what tests/stack asserts of the program: `docker inspect` of the running container."""
    host = inspected["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Privileged"] is False
    assert not host["PortBindings"]
    assert host["PublishAllPorts"] is False
    assert host["Memory"] == host["MemorySwap"] == 1536 * 1024 * 1024
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "5"}}
    assert inspected["Config"]["StopTimeout"] == 90
    assert inspected["Config"]["User"] in ("ibgateway", "1000", "1000:1000")
    assert inspected["Config"]["Healthcheck"]["Interval"] == 60 * 10**9


def test_the_networks_are_what_they_should_be(deployment: Deployment, docker_client: docker.DockerClient) -> None:
    gateway = deployment.gateways["main"]
    api = docker_client.networks.get(gateway.api.network).attrs
    assert api["Internal"] is True
    assert deployment.monitoring is not None
    on_it = {entry["Name"] for entry in api["Containers"].values()}
    assert on_it == {gateway.container.name, deployment.monitoring.prober.name}
    egress = docker_client.networks.get(deployment.egress_network).attrs
    assert egress["Internal"] is False
    assert egress["Options"]["com.docker.network.bridge.enable_icc"] == "false"


def test_the_image_is_recorded_by_the_digest_that_runs(
    deployment: Deployment, docker_client: Any, inspected: Any
) -> None:
    digests = docker_client.api.inspect_image(inspected["Image"])["RepoDigests"]
    assert any(digest.endswith("@" + deployment.gateways["main"].image.digest) for digest in digests)


def test_the_settings_belong_to_the_gateway(deployment: Deployment, docker_client: docker.DockerClient) -> None:
    container = docker_client.containers.get(deployment.gateways["main"].container.name)
    _, output = container.exec_run(["stat", "-c", "%u:%g", "/home/ibgateway/tws_settings"])
    assert output == b"1000:1000\n"


def test_no_credential_is_anywhere_but_in_its_files(
    sandbox: Sandbox,
    inspected: dict[str, Any],
    deployment: Deployment,
    docker_client: Any,
    pulumi: Pulumi,
    scanner: Scanner,
) -> None:
    """Labels, log, preview, output, processes, state; tests/engine/test_no_leak.py looks everywhere else."""
    container = docker_client.containers.get(deployment.gateways["main"].container.name)
    scanner.check(
        {
            "inspect": json.dumps(inspected),
            "log": container.logs(),
            "preview": pulumi(["preview", "--diff", "--stack", "paper"]).stdout,
            "contract": deployment.model_dump_json(),
        }
    )
    scanner.check_processes()
    assert scanner.check_files(sandbox.folder / "state", sandbox.folder / "pulumi", sandbox.project_folder) > 5


def test_the_credentials_reach_the_gateway_as_files(
    deployment: Deployment, docker_client: Any, sandbox: Sandbox
) -> None:
    container = docker_client.containers.get(deployment.gateways["main"].container.name)
    listing = container.exec_run(["stat", "-c", "%a %n", *(f"/run/secrets/{name}" for name in (
        "tws_userid", "tws_password", "secret_version"))]).output.decode()  # fmt: skip
    assert [line.split()[0] for line in listing.splitlines()] == ["444", "444", "444"]
    assert container.exec_run(["stat", "-c", "%a", "/home/ibgateway/ibc/config.ini"]).output.decode().strip() == "600"


def test_verify_says_the_same_at_any_time(first_up: Completed, run: Callable[..., Completed]) -> None:
    done = run(["ibgw", "verify", "--stack", "paper", "--json"])
    report = json.loads(done.stdout)
    assert report["exit_code"] == 0
    verdicts = {check["name"]: check["verdict"] for check in report["gateways"][0]["checks"]}
    assert {verdicts[name] for name in FIVE} == {"pass"}
    human = run(["ibgw", "verify", "--stack", "paper"]).stdout
    assert all(name in human for name in FIVE)
    assert "\x1b[" not in human  # nothing is coloured when piped


def test_the_verifier_s_module_explains_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "healthcheck", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "verify" in done.stdout


def test_destroy_leaves_the_settings_and_the_next_up_adopts_them(
    deployment: Deployment, docker_client: docker.DockerClient, pulumi: Pulumi
) -> None:
    volume = deployment.gateways["main"].volumes.settings
    container = docker_client.containers.get(deployment.gateways["main"].container.name)
    container.exec_run(["bash", "-c", "echo kept > /home/ibgateway/tws_settings/marker"])
    pulumi(["destroy", "--yes", "--skip-preview", "--stack", "paper"])
    # By its labels: other modules' stacks may stand in the same sandbox, under names that begin alike.
    mine: dict[str, str | list[str] | bool] = {"label": [f"ibgw.prefix={deployment.name_prefix}", "ibgw.stack=paper"]}
    assert docker_client.containers.list(all=True, filters=mine, ignore_removed=True) == []
    assert docker_client.networks.list(filters=mine) == []
    assert docker_client.volumes.get(volume).name == volume
    pulumi(["up", "--yes", "--skip-preview", "--stack", "paper"])
    container = docker_client.containers.get(deployment.gateways["main"].container.name)
    assert container.exec_run(["cat", "/home/ibgateway/tws_settings/marker"]).output == b"kept\n"
