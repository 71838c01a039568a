"""What is taken into a state that was lost, and what is not."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from deployment.description import PASSWORD_FILE
from deployment.errors import IbgwError
from deployment.kept import keep
from deployment.names import Role
from deployment.parts import PASSWORD, SECRET_VERSION, USER_ID, Reference
from deployment.properties import asked_of_docker, declared
from deployment.tables import CONTAINER, NETWORK, VOLUME, Kind, Token
from infra import settings, spec
from operations.plan.reading import UNKNOWN
from operations.repair import adoption
from operations.stack import Stack
from tests.leaks import leaks
from tests.unit import gateways
from tests.unit.fake_docker import FakeDocker
from tests.unit.test_settings import SECOND, changed

IMAGE = f"sha256:{'b' * 64}"
VERSION = "version-of-the-secret"
FILES = {USER_ID: "a-user", PASSWORD: "a-password", SECRET_VERSION: VERSION}
ROOT = "urn:pulumi:paper::ibgw::"
STACK = f"{ROOT}{Token.STACK}::ibgw-paper"


def described() -> spec.StackSpec:
    loaded = settings.load("paper", changed("paper", {"ibgw:gateways.second": SECOND}))
    return spec.describe(loaded, project="ibgw", stack="paper", image=loaded.image)


def unknown(value: Any) -> Any:
    """As a preview has what only an update will know."""
    if isinstance(value, dict):
        return {key: unknown(part) for key, part in value.items()}
    if isinstance(value, list):
        return [unknown(part) for part in value]
    return UNKNOWN if isinstance(value, Reference) else value


def container_inputs(part: Any) -> dict[str, Any]:
    inputs = declared(CONTAINER, part)
    inputs["volumes"] = [{**volume, "volumeName": str(volume["volumeName"])} for volume in inputs["volumes"]]
    hidden = any(isinstance(file["content"], Reference) for file in inputs["uploads"])
    return cast(dict[str, Any], unknown({**inputs, "uploads": "[secret]"} if hidden else inputs))


def preview(stack: spec.StackSpec, operation: str = "create") -> str:
    """Of the program over an empty state; `operation`: on the container of `main`."""
    steps: list[dict[str, Any]] = []

    def step(token: str, name: str, inputs: Any, parent: str | None = STACK, *, op: str = "create", **more: Any) -> str:
        urn = f"{ROOT}{token}::{name}"
        state = {
            "urn": urn,
            "type": token.rpartition("$")[2],
            "custom": not token.startswith("ibgw:") or "$" in token,
            "inputs": inputs,
            **more,
        }
        steps.append({"op": op, "urn": urn, "newState": {**state, "parent": parent}})
        return urn

    step(Token.STACK, "ibgw-paper", {}, None)
    provider = {"provider": f"{step(Token.PROVIDER, 'docker', {'host': 'unix:///x'})}::{UNKNOWN}"}
    image = step(Token.PULLED_IMAGE, "gateway-image", {"name": stack.image}, **provider)
    step(Token.BUILT_IMAGE, "verifier-image", {"imageName": "verifier"}, **provider)
    [host] = stack.hosts
    step(Token.NETWORK, "egress", declared(NETWORK, host.egress), **provider)
    for name, gateway in host.gateways.items():
        own = step(Token.GATEWAY, name, {"settings": {}, "secretVersion": VERSION})
        for network in gateway.networks.values():
            step(f"{Token.GATEWAY}${Token.NETWORK}", f"{name}-api", declared(NETWORK, network), own, **provider)
        for volume in gateway.volumes.values():
            step(f"{Token.GATEWAY}${Token.VOLUME}", f"{name}-settings", declared(VOLUME, volume), own, **provider)
        needs = [image]
        for role, part in gateway.containers.items():
            suffix = "" if role is Role.GATEWAY else f"-{role}"
            more: Any = {"dependencies": [*needs], "propertyDependencies": {"image": [*needs]}, **provider}
            op = operation if name == "main" and not suffix else "create"
            token = f"{Token.GATEWAY}${Token.CONTAINER}"
            needs.append(step(token, f"{name}{suffix}", container_inputs(part), own, op=op, **more))
    return json.dumps({"steps": steps})


class Host(FakeDocker):
    """Whose containers have files of their own, by id and path."""

    def read_file(self, container: str, path: str, *, last: int | None = None) -> str | None:
        return super().read_file(container, f"{container}{path}", last=last)


MAIN = "id of ibgw-paper-main"


def host_of(stack: spec.StackSpec) -> Host:
    """On which all of it is as declared."""
    docker = Host()
    docker.objects[Kind.IMAGE][str(stack.image)] = {"Id": IMAGE, "Config": {}}
    [host] = stack.hosts
    networks = [host.egress, *(network for one in host.gateways.values() for network in one.networks.values())]
    for network in networks:
        inputs = declared(NETWORK, network)
        docker.objects[Kind.NETWORK][network.name] = {
            "Id": f"id of {network.name}",
            "Name": network.name,
            "Driver": "bridge",
            "Internal": network.internal,
            "Options": inputs["options"],
            "Labels": dict(network.labels),
            "IPAM": {"Config": [{"Subnet": one["subnet"], "Gateway": one["gateway"]} for one in inputs["ipamConfigs"]]},
        }
    for gateway in host.gateways.values():
        for volume in gateway.volumes.values():
            shown = {"Name": volume.name, "Driver": "local", "Options": None, "Labels": dict(volume.labels)}
            docker.objects[Kind.VOLUME][volume.name] = shown
        for role, part in gateway.containers.items():
            running = role is Role.GATEWAY
            docker.objects[Kind.CONTAINER][part.name] = {
                **asked_of_docker(CONTAINER, part),
                "Id": f"id of {part.name}",
                "Name": f"/{part.name}",
                "Image": IMAGE,
                "Mounts": [{"Name": one.volume, "Destination": one.path, "RW": True} for one in part.mounts],
                "State": {"Status": "running" if running else "exited", "Running": running, "ExitCode": 0},
                "NetworkSettings": {
                    "Networks": {
                        one.network: {"NetworkID": f"id of {one.network}", "Aliases": list(one.aliases)}
                        for one in part.networks
                    }
                },
            }
            for file in part.files:
                docker.files[f"id of {part.name}{file.path}"] = FILES.get(file.content, file.content)  # type: ignore[call-overload]
    return docker


class EmptyStack:
    """Whose state was lost. `previews`: what the engine says, one after the other; then the last."""

    name = "paper"

    def __init__(self, *previews: str) -> None:
        self.previews = list(previews)
        self.state = json.dumps(
            {"version": 3, "deployment": {"secrets_providers": {"type": "passphrase"}, "manifest": {}}}
        )
        self.refreshed: list[str] = []

    def preview(self) -> str:
        return self.previews.pop(0) if len(self.previews) > 1 else self.previews[0]

    def settings(self) -> settings.Settings:
        return settings.load("paper", changed("paper", {"ibgw:gateways.second": SECOND}))

    def export_state(self) -> str:
        return self.state

    def import_state(self, text: str) -> None:
        self.state = text

    def refresh(self, urns: list[str]) -> None:
        self.refreshed = urns

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        """By their names and types."""
        recorded = json.loads(self.state)["deployment"].get("resources") or []
        return {f"{one['urn'].rpartition('::')[2]} {one['type'].rpartition(':')[2]}": one for one in recorded}


def taken(stack: EmptyStack, docker: FakeDocker) -> adoption.Candidates:
    return adoption.take_in(cast(Stack, stack), adoption.look(cast(Stack, stack), docker))


def test_all_that_is_as_declared_is_recorded_with_what_docker_has() -> None:
    stack, docker = EmptyStack(preview(described()), preview(described(), "same")), host_of(described())
    candidates = adoption.look(cast(Stack, stack), docker)
    assert candidates.faults == {}
    # The other one's container is another step of that preview, and would be made.
    stack.previews = [preview(described(), "same").replace('"op": "create"', '"op": "same"')]
    assert adoption.take_in(cast(Stack, stack), candidates).gateways == {
        "main": "ibgw-paper-main",
        "second": "ibgw-paper-second",
    }
    found = stack.resources
    assert set(found) == {
        *("ibgw-paper Stack", "docker docker", "gateway-image RemoteImage", "egress Network"),
        *(
            "main Gateway",
            "main-api Network",
            "main-settings Volume",
            "main-settings-owner Container",
            "main Container",
        ),
        *("second Gateway", "second-api Network", "second-settings Volume"),
        *("second-settings-owner Container", "second Container"),
    }
    main = found["main Container"]
    assert main["id"] == "id of ibgw-paper-main"
    assert main["inputs"]["image"] == IMAGE
    assert [one["name"] for one in main["inputs"]["networksAdvanced"]] == [
        "id of ibgw-paper-main-api",
        "id of ibgw-paper-egress",
    ]
    assert main["provider"] == f"{found['docker docker']['urn']}::{found['docker docker']['id']}"
    files = {file["file"]: file["content"] for file in json.loads(main["outputs"]["uploads"]["plaintext"])}
    assert files[PASSWORD_FILE] == FILES[PASSWORD]
    assert all("__defaults" not in file for file in json.loads(main["outputs"]["uploads"]["plaintext"]))
    assert UNKNOWN not in stack.state
    # Each is read anew, for what only the provider tells.
    assert set(stack.refreshed) == {one["urn"] for one in found.values() if "docker:index" in one["type"]}
    assert docker.done == []


def test_the_secrets_are_nowhere_but_in_what_is_marked_as_secret() -> None:
    stack = EmptyStack(preview(described()))
    candidates = adoption.look(cast(Stack, stack), host_of(described()))
    assert leaks(repr(candidates), FILES[PASSWORD]) == []
    for _, state in candidates.resources:
        for part in ("inputs", "outputs"):
            rest = {key: value for key, value in (state.get(part) or {}).items() if key != "uploads"}
            assert leaks(json.dumps(rest), FILES[PASSWORD]) == []
            uploads = (state.get(part) or {}).get("uploads", {})
            if FILES[PASSWORD] in json.dumps(uploads):
                assert uploads["4dabf18193072939515e22adb298388d"] == "1b47061264138c4ac30d75fd1eb44270"


def container(docker: FakeDocker, gateway: str) -> dict[str, Any]:
    return cast(dict[str, Any], docker.objects[Kind.CONTAINER][f"ibgw-paper-{gateway}"])


def test_of_several_gateways_what_is_otherwise_than_declared_stays_out_as_a_whole() -> None:
    docker = host_of(described())
    container(docker, "main")["Image"] = f"sha256:{'c' * 64}"
    candidates = adoption.look(cast(Stack, EmptyStack(preview(described()))), docker)
    assert list(candidates.gateways) == ["second"]
    assert "container ibgw-paper-main: image is otherwise" in candidates.faults["main"]
    stack = EmptyStack(preview(described()).replace('"op": "create"', '"op": "same"'))
    adoption.take_in(cast(Stack, stack), candidates)
    assert "egress Network" in stack.resources
    assert not any(name.startswith("main") for name in stack.resources)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("User", "root", "user"),
        ("Entrypoint", ["sh"], "entry point"),
        ("Cmd", ["sleep"], "command"),
        ("Env", ["TRADING_MODE=live"], "environment TRADING_MODE"),
        ("Labels", {}, "label ibgw.stack"),
    ],
)
def test_what_would_replace_a_container_keeps_it_out(key: str, value: object, told: str) -> None:
    docker = host_of(described())
    container(docker, "main")["Config"][key] = value
    assert f"{told} is otherwise" in adoption.look(cast(Stack, EmptyStack(preview(described()))), docker).faults["main"]


def test_what_an_update_puts_right_in_place_keeps_nothing_out() -> None:
    docker = host_of(described())
    container(docker, "main")["HostConfig"]["Memory"] = 2**30
    assert adoption.look(cast(Stack, EmptyStack(preview(described()))), docker).faults == {}


def test_a_gateway_that_does_not_run_is_not_taken_in() -> None:
    docker = host_of(described())
    container(docker, "main")["State"] = {"Status": "exited", "Running": False, "ExitCode": 143}
    assert "state" in adoption.look(cast(Stack, EmptyStack(preview(described()))), docker).faults["main"]


def test_another_version_of_the_secret_is_named_with_the_setting_that_asks_for_it() -> None:
    docker = host_of(described())
    docker.files[f"{MAIN}{spec.VERSION_FILE}"] = "an-older-one"
    fault = adoption.look(cast(Stack, EmptyStack(preview(described()))), docker).faults["main"]
    assert f"version an-older-one of its secret, and the program would give it {VERSION}" in fault
    assert "ibgw:gateways.main.credentials.versionId" in fault


def test_another_file_is_named() -> None:
    docker = host_of(described())
    docker.files[f"{MAIN}{spec.VALUES_PATH}"] = "GRACE=1\n"
    fault = adoption.look(cast(Stack, EmptyStack(preview(described()))), docker).faults["main"]
    assert f"file {spec.VALUES_PATH} is otherwise" in fault
    del docker.files[f"{MAIN}{PASSWORD_FILE}"]
    fault = adoption.look(cast(Stack, EmptyStack(preview(described()))), docker).faults["main"]
    assert f"file {PASSWORD_FILE} is not there" in fault


@pytest.mark.parametrize("kind", [Kind.NETWORK, Kind.VOLUME])
def test_a_gateway_without_one_of_its_objects_is_not_taken_in(kind: Kind) -> None:
    docker = host_of(described())
    gone = next(name for name in docker.objects[kind] if "main" in name)
    del docker.objects[kind][gone]
    assert (
        f"{kind} {gone} is not on the host"
        in adoption.look(cast(Stack, EmptyStack(preview(described()))), docker).faults["main"]
    )


def test_what_all_share_keeps_all_out() -> None:
    docker = host_of(described())
    docker.objects[Kind.NETWORK]["ibgw-paper-egress"]["Options"] = {}
    assert set(adoption.look(cast(Stack, EmptyStack(preview(described()))), docker).faults) == {"main", "second"}


def test_the_step_that_prepares_a_volume_is_left_to_the_next_update_where_it_is_gone() -> None:
    docker = host_of(described())
    del docker.objects[Kind.CONTAINER]["ibgw-paper-main-settings-owner"]
    stack = EmptyStack(preview(described()))
    candidates = adoption.look(cast(Stack, stack), docker)
    assert candidates.faults == {}
    stack.previews = [stack.previews[0].replace('"op": "create"', '"op": "same"')]
    adoption.take_in(cast(Stack, stack), candidates)
    known = {one["urn"] for one in stack.resources.values()}
    assert set(stack.resources["main Container"]["dependencies"]) <= known
    assert "main-settings-owner Container" not in stack.resources


def test_what_the_engine_would_replace_all_the_same_is_left_out_again() -> None:
    replaced = preview(described(), "replace").replace('"op": "create"', '"op": "same"')
    stack = EmptyStack(preview(described()), replaced, replaced)
    candidates = taken(stack, host_of(described()))
    assert list(candidates.gateways) == ["second"]
    assert "the next update would replace it" in candidates.faults["main"]
    assert not any(name.startswith("main") for name in stack.resources)


def test_what_fails_midway_leaves_the_state_as_it_was() -> None:
    class Failing(EmptyStack):
        def refresh(self, urns: list[str]) -> None:
            raise IbgwError("locked")

    stack = Failing(preview(described()))
    before = stack.state
    with pytest.raises(IbgwError, match="locked"):
        taken(stack, host_of(described()))
    assert stack.state == before


def test_nothing_is_recorded_where_nothing_would_encrypt_it() -> None:
    stack = EmptyStack(preview(described()))
    stack.state = json.dumps({"version": 3, "deployment": {"manifest": {}}})
    with pytest.raises(IbgwError, match="secrets provider"):
        taken(stack, host_of(described()))


@pytest.mark.parametrize(("container", "there"), [("a" * 64, True), ("b" * 64, False)])
def test_the_output_is_the_one_that_was_kept_here_if_it_is_of_the_same_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: str, there: bool
) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: ibgw\n")
    monkeypatch.setenv("PULUMI_OPTION_CWD", str(tmp_path))
    keep(gateways.stack(gateways.gateway(container={"name": "ibgw-paper-main", "id": container})), tmp_path)
    stack = EmptyStack(preview(described()), preview(described(), "same").replace('"op": "create"', '"op": "same"'))
    docker = host_of(described())
    docker.objects[Kind.CONTAINER]["ibgw-paper-main"]["Id"] = "a" * 64
    for path in [path for path in docker.files if path.startswith(MAIN)]:
        docker.files[f"{'a' * 64}{path.removeprefix(MAIN)}"] = docker.files.pop(path)
    taken(stack, docker)
    outputs = stack.resources["ibgw-paper Stack"]["outputs"]
    assert (outputs.get("contract", {}).get("stack") == "paper") is there
