"""Which containers are tried before an update touches a gateway, and as what."""

import json
from dataclasses import replace
from typing import Any

import pytest

from deployment.errors import ExitCode, IbgwError
from deployment.names import Label, Role
from deployment.parts import PASSWORD, USER_ID
from deployment.properties import asked_of_docker, declared, facts_of_docker, facts_of_inputs
from deployment.tables import CONTAINER, Kind
from healthcheck.docker_host import DockerError
from infra import settings, spec, trial
from infra.verification import ONLY
from tests.unit.fake_docker import FakeDocker
from tests.unit.test_settings import SECOND, changed

IMAGE = f"sha256:{'b' * 64}"
SEEN = {
    *("environment", "labels", "probe", "probe_interval", "probe_retries", "probe_timeout", "capabilities_dropped"),
    *("security_options", "kernel_parameters", "memory", "memory_swap", "restart", "stop_grace", "log_driver"),
    *("log_options", "command"),
}


def stack(**changes: Any) -> spec.StackSpec:
    loaded = settings.load("paper", changed("paper", {"ibgw:gateways.second": SECOND, **changes}))
    return spec.describe(loaded, project="ibgw", stack="paper", image=loaded.image)


def running(described: spec.StackSpec) -> FakeDocker:
    """A host on which both gateways run as described, with what Docker takes from the image."""
    docker = FakeDocker()
    for gateway in described.gateways.values():
        shown = asked_of_docker(CONTAINER, gateway.container)
        shown["Config"]["Env"] = [*shown["Config"]["Env"], "PATH=/usr/bin"]
        shown["Config"]["Labels"] = {**shown["Config"]["Labels"], "org.opencontainers.image.title": "gateway"}
        docker.objects[Kind.CONTAINER][gateway.container.name] = {"Id": gateway.name, "Image": IMAGE, **shown}
    return docker


def tried(monkeypatch: pytest.MonkeyPatch, docker: FakeDocker, described: spec.StackSpec) -> list[dict[str, Any]]:
    """The options that containers were created with; nothing is left of them, and none was started."""
    monkeypatch.setattr(trial, "DockerHost", lambda _: docker)
    before = {one["Id"] for one in docker.objects[Kind.CONTAINER].values()}
    [host] = described.hosts
    trial.try_out(described, host, IMAGE)
    assert {one["Id"] for one in docker.objects[Kind.CONTAINER].values()} == before
    assert {name for name, *_ in docker.done} <= {"create", "remove"}
    assert docker.closed
    return [options for _, options in docker.did("create")]


def test_what_runs_as_described_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    described = stack()
    assert tried(monkeypatch, running(described), described) == []


@pytest.mark.parametrize(
    "change",
    [
        {"container.probeInterval": "45s"},
        {"container.stopGrace": "2m"},
        {"container.logMaxFiles": 3},
        {"resources.memory": 2048},
        {"session.timeZone": "America/Chicago"},
        {"api.readOnly": True},
        {"credentials.secretId": "ibgw/paper/another"},
    ],
)
def test_what_would_change_is_tried_alone(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]) -> None:
    docker = running(stack())
    now = stack(**{f"ibgw:gateways.main.{key}": value for key, value in change.items()})
    [made] = tried(monkeypatch, docker, now)
    assert made["name"] == "ibgw-paper-main.trial"


def test_another_image_tries_all_and_a_targeted_update_those_that_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    described = stack()
    docker = running(described)
    for one in docker.objects[Kind.CONTAINER].values():
        one["Image"] = f"sha256:{'c' * 64}"
    assert len(tried(monkeypatch, docker, described)) == 2
    docker.done.clear()
    monkeypatch.setenv(ONLY, "second")
    [made] = tried(monkeypatch, docker, described)
    assert made["name"] == "ibgw-paper-second.trial"


def test_the_trial_has_the_arguments_of_the_gateway_and_nothing_to_log_in_with(monkeypatch: pytest.MonkeyPatch) -> None:
    described = stack()
    made, _ = tried(monkeypatch, FakeDocker(), described)
    asked, part = made["asked"], described.gateways["main"].container
    shown, given = (
        facts_of_docker(CONTAINER, asked_as_shown(asked)),
        facts_of_inputs(CONTAINER, declared(CONTAINER, part)),
    )
    differing = {"labels", "restart"}
    assert {name for name in SEEN if shown[name] != given[name]} == differing
    assert asked["HostConfig"]["NetworkMode"] == "none"
    assert asked["HostConfig"]["RestartPolicy"]["Name"] == "no", "a daemon that restarts would start it"
    assert {"Binds", "Mounts", "PortBindings"}.isdisjoint(asked["HostConfig"])
    assert {"NetworkingConfig", "Volumes"}.isdisjoint(asked)
    text = json.dumps(asked)
    assert not any(secret in text for secret in (USER_ID, PASSWORD, described.gateways["main"].secret.id))
    assert asked["Labels"][Label.ROLE] == Role.TRIAL
    assert Label.GATEWAY not in asked["Labels"]
    assert Label.SECRET_ID not in asked["Labels"]


def asked_as_shown(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "Id": "0" * 64,
        "Config": {key: value for key, value in asked.items() if key != "HostConfig"},
        "HostConfig": asked["HostConfig"],
        "NetworkSettings": {"Networks": {}},
    }


def test_all_that_docker_keeps_as_it_was_asked_is_asked_for() -> None:
    """A further property is one row of the table, and is in the trial."""
    part = replace(stack().gateways["main"].container, entry_point=("tini",), user="1000", capabilities=("CHOWN",))
    shown = facts_of_docker(CONTAINER, asked_as_shown(flat(asked_of_docker(CONTAINER, part))))
    given = facts_of_inputs(CONTAINER, declared(CONTAINER, part))
    kept = SEEN | {"entry_point", "user", "capabilities_added"}
    assert {name: shown[name] for name in kept} == {name: given[name] for name in kept}
    assert kept == {
        row.name
        for row in CONTAINER
        if row.declare and row.inspect and row.inspect.startswith(("Config.", "HostConfig.")) and given[row.name]
    } - {"network_mode"}


def flat(asked: dict[str, Any]) -> dict[str, Any]:
    return {**asked["Config"], "HostConfig": asked["HostConfig"]}


def test_what_a_killed_update_left_is_removed_even_where_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    described = stack()
    docker = running(described)
    left, _ = tried(monkeypatch, FakeDocker(), described)
    monkeypatch.setattr(trial, "DockerHost", lambda _: docker)
    docker.create(IMAGE, **left)
    docker.create(IMAGE, name="another-stacks", labels={**left["labels"], Label.STACK: "paper-two"})
    docker.done.clear()
    trial.try_out(described, described.hosts[0], IMAGE)
    assert docker.done == [("remove", "ibgw-paper-main.trial")]


def test_a_refusal_names_the_gateway_and_docker_s_words(monkeypatch: pytest.MonkeyPatch) -> None:
    docker = FakeDocker()
    docker.failing["create"] = DockerError("Minimum memory limit allowed is 6MB")
    monkeypatch.setattr(trial, "DockerHost", lambda _: docker)
    described = stack()
    with pytest.raises(
        IbgwError, match=r"ibgw:gateways\.main: .*Minimum memory limit .*no gateway was touched"
    ) as refused:
        trial.try_out(described, described.hosts[0], IMAGE)
    assert refused.value.exit_code is ExitCode.REFUSED


def test_a_host_that_fails_meanwhile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    docker = FakeDocker()
    docker.failing["find"] = DockerError("read timed out")
    monkeypatch.setattr(trial, "DockerHost", lambda _: docker)
    described = stack()
    with pytest.raises(IbgwError, match=r"docker\.sock; no gateway was touched: read timed out; try again"):
        trial.try_out(described, described.hosts[0], IMAGE)
