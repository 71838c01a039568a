"""Gateways that run and of which the state knows nothing: taken into it as they are, without a login.

The provider cannot import them, since it reads no files back. So the state is written here: what the program would
declare (the engine's preview), where Docker shows the same (operations.drift), and the files as the containers hold
them. The engine has the last word: what a preview over the new state would replace is left out again.

The secrets among the files go from Docker through this process into the CLI's standard input, which encrypts them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from deployment.errors import ExitCode, IbgwError
from deployment.names import PROJECT
from deployment.parts import SECRET_VERSION, ContainerSpec, Reference
from deployment.paths import kept_file, project_folder
from deployment.properties import Update, declared
from deployment.tables import CONTAINER, KINDS, TABLES, Kind, Token
from healthcheck.docker_host import DockerHost
from infra.spec import GatewaySpec, describe
from operations.drift.comparing import HIDDEN, Recorded, Seen, compare
from operations.drift.reading import seen
from operations.plan import reading
from operations.plan.model import PlanVerdict
from operations.plan.reading import UNKNOWN
from operations.stack import OUTPUT, Stack, parse_contract

Resource = dict[str, Any]
"""As a state has it (pulumi sdk/go/common/apitype, ResourceV3)."""

PROVIDERS = "pulumi:providers:"
FILES = "uploads"
_SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
"""What marks a secret in a state (pulumi sdk/go/common/resource, SigKey and SecretSig)."""
_MAY_DIFFER = {
    kind: {row.item for row in table if row.update is Update.IN_PLACE and row.name != "state"}
    for kind, table in TABLES.items()
}
"""What the next update puts right on the object that is there."""


@dataclass(frozen=True)
class Candidates:
    """`gateways`: the names of the containers of those that can be taken in, by gateway. `faults`: of the others, why
    not. `resources`: what would be recorded, of whichever gateway (None: shared), in the order of a state."""

    gateways: Mapping[str, str]
    faults: Mapping[str, str]
    resources: tuple[tuple[str | None, Resource], ...] = field(repr=False)


def look(stack: Stack, docker: DockerHost) -> Candidates:
    """Compares what the program would create with what is on the host. Changes nothing.

    Raises IbgwError with what the preview refused, and DockerError.
    """
    return _Look(stack, docker).candidates()


class _Look:
    def __init__(self, stack: Stack, docker: DockerHost) -> None:
        self._docker = docker
        preview = stack.preview()
        steps = json.loads(preview)["steps"]
        self._steps = [step for step in steps if step["op"] == "create"]
        self._owner = {urn: owner for owner, urns in reading.by_owner(preview).items() for urn in urns}
        # As on an empty host: which subnets its networks have is told by the preview.
        [self._host] = describe(stack.settings(), project=PROJECT, stack=stack.name, image=None).hosts
        self._parts = {part.name: part for gateway in self._gateways for part in gateway.containers.values()}
        self._own = {gateway.container.name for gateway in self._gateways}
        self._ids: dict[str, str] = {}
        """Of networks, by their names."""
        self._image = ""
        self._versions = {
            self._owner.get(step["urn"]): step["newState"]["inputs"]["secretVersion"]
            for step in steps
            if step.get("newState", {}).get("type") == Token.GATEWAY
        }
        """Of the secrets, by gateway."""
        self._faults: dict[str | None, list[str]] = {}

    def candidates(self) -> Candidates:
        recorded = [(self._owner.get(state["urn"]), state) for state in self._recorded()]
        shared = self._faults.get(None, [])
        faults = {
            gateway: "; ".join([*shared, *self._faults.get(gateway, [])])
            for gateway in self._host.gateways
            if shared or gateway in self._faults
        }
        there = {state["inputs"]["name"] for _, state in recorded if KINDS.get(state["type"]) is Kind.CONTAINER}
        return Candidates(
            gateways={
                name: gateway.container.name
                for name, gateway in self._host.gateways.items()
                if name not in faults and gateway.container.name in there
            },
            faults=faults,
            resources=tuple(recorded),
        )

    def _recorded(self) -> Iterator[Resource]:
        # Networks and the image first, since containers name them by their ids.
        steps = sorted(self._steps, key=lambda step: _kind(step) is Kind.CONTAINER)
        found = {state["urn"]: state for step in steps if (state := self._object(deepcopy(step["newState"])))}
        return (found[step["urn"]] for step in self._steps if step["urn"] in found)

    def _object(self, state: Resource) -> Resource | None:
        """With its id and its outputs; None where it is not to be recorded."""
        token, urn = state["type"], state["urn"]
        # The verifier's image is built by the next update, and what watches is made anew by it.
        if token == Token.BUILT_IMAGE or Token.MONITORING in urn:
            return None
        if token.startswith(PROVIDERS):
            return {**state, "id": str(uuid4()), "outputs": state["inputs"]}
        if token not in KINDS:
            return state
        return self._on_the_host(KINDS[token], state)

    def _on_the_host(self, kind: Kind, state: Resource) -> Resource | None:
        inputs, owner = state["inputs"], self._owner.get(state["urn"])
        name = inputs["name"]
        inspected = self._docker.inspect(kind, name)
        part = self._parts.get(name) if kind is Kind.CONTAINER else None
        # What prepares a volume is run again where it cannot be recorded, which costs no login.
        needless = part is not None and name not in self._own
        if inspected is None:
            if not needless:
                self._fault(owner, f"{kind} {name} is not on the host")
            return None
        if kind is Kind.IMAGE:
            self._image = inspected["Id"]
            return _with_outputs({**state, "id": f"{inspected['Id']}{name}"})
        if kind is Kind.NETWORK:
            self._ids[name] = inspected["Id"]
        faults = []
        if part is not None:
            faults += list(self._fill(inputs, part, inspected["Id"], owner))
        identity = str(inspected.get("Id", name))
        recorded = Recorded(kind, identity, name, self._host.docker_host, inputs, outputs={}, read=None)
        shown = seen(self._docker, recorded, {identity: network for network, identity in self._ids.items()})
        differing = [difference.item for difference in compare(recorded, shown)]
        if name in self._own and shown is not None:
            differing += _undeclared(inputs, shown)
        faults += [
            f"{kind} {name}: {item} is otherwise than the program would declare it"
            for item in dict.fromkeys(differing)
            if item not in _MAY_DIFFER[kind]
        ]
        if needless and (faults or inspected["State"]["ExitCode"] != 0):
            return None
        for fault in faults:
            self._fault(owner, fault)
        return _with_outputs({**state, "id": identity})

    @property
    def _gateways(self) -> Iterable[GatewaySpec]:
        return self._host.gateways.values()

    def _fault(self, owner: str | None, text: str) -> None:
        self._faults.setdefault(owner, []).append(text)

    def _fill(self, inputs: Resource, part: ContainerSpec, container: str, gateway: str | None) -> Iterator[str]:
        """Puts in what a preview does not tell: the ids of image and networks, and the files as they are in the
        container. Yields what is wrong with those."""
        if inputs["image"] == UNKNOWN:
            inputs["image"] = self._image
        for entry, attachment in zip(inputs.get("networksAdvanced") or (), part.networks, strict=True):
            if entry["name"] == UNKNOWN:
                entry["name"] = self._ids.get(attachment.network, attachment.network)
        files = []
        for file in declared(CONTAINER, part)[FILES]:
            found = self._docker.read_file(container, file["file"])
            wanted = self._versions[gateway] if file["content"] is SECRET_VERSION else file["content"]
            if found is None:
                yield f"container {part.name}: file {file['file']} is not there"
            elif file["content"] is SECRET_VERSION and found != wanted:
                yield (
                    f"container {part.name} has version {found} of its secret, and the program would give it {wanted}: "
                    f"set {PROJECT}:gateways.{gateway}.credentials.versionId to the one that it has"
                )
            elif not isinstance(file["content"], Reference) and found != wanted and part.name in self._own:
                yield f"container {part.name}: file {file['file']} is otherwise than the program would put it there"
            files.append({"__defaults": ["executable"], **file, "content": found, "executable": False})
        inputs[FILES] = {**_SECRET, "plaintext": json.dumps(files)} if inputs[FILES] == HIDDEN else files


def _undeclared(inputs: Mapping[str, Any], shown: Seen) -> Iterator[str]:
    """What of a container is not as its image has it, or as Docker does by itself, where the program says nothing."""
    for row in CONTAINER:
        left = inputs.get(row.key) is None and (row.inspect or "").startswith(("Config.", "HostConfig."))
        if left and row.of_docker(shown.own) != row.of_docker({"Config": shown.image}):
            yield row.item


def _kind(step: Mapping[str, Any]) -> Kind | None:
    return KINDS.get(step["newState"]["type"])


def _with_outputs(state: Resource) -> Resource:
    """What a provider keeps of the inputs; what it reads itself, a refresh adds."""
    return {**state, "outputs": _plain(state["inputs"])}


def _plain(value: Any) -> Any:
    """Without the bookkeeping of inputs, inside of a secret too."""
    if isinstance(value, dict):
        if "plaintext" in value and value.keys() > _SECRET.keys():
            return {**value, "plaintext": json.dumps(_plain(json.loads(value["plaintext"])))}
        return {key: _plain(part) for key, part in value.items() if not key.startswith("__")}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def take_in(stack: Stack, candidates: Candidates) -> Candidates:
    """Records them: those that could be, and of the others why not. Raises IbgwError; the state is then as before."""
    before = stack.export_state()
    gateways, faults = dict(candidates.gateways), dict(candidates.faults)
    while gateways:
        resources = list(_chosen(candidates.resources, gateways))
        stack.import_state(_with(before, resources, _contract(stack.name, resources)))
        try:
            stack.refresh([state["urn"] for state in resources if state["type"] in KINDS])
            plan = reading.read(stack.name, stack.preview())
        except BaseException:
            stack.import_state(before)
            raise
        touched = {
            planned.gateway: "the next update would replace it because of "
            + (", ".join(reason.setting for reason in planned.reasons) or "something that the engine does not tell")
            for planned in plan.gateways
            if planned.gateway in gateways and planned.verdict not in (PlanVerdict.NONE, PlanVerdict.IN_PLACE)
        }
        if not touched:
            break
        stack.import_state(before)
        faults |= touched
        gateways = {name: container for name, container in gateways.items() if name not in touched}
    return Candidates(gateways, faults, candidates.resources)


def _chosen(resources: Iterable[tuple[str | None, Resource]], gateways: Mapping[str, str]) -> Iterator[Resource]:
    """Of these gateways and of all; what depends on nothing that is left out."""
    kept = [state for owner, state in resources if owner is None or owner in gateways]
    known = {state["urn"] for state in kept}
    providers = {state["urn"]: state["id"] for state in kept if state["type"].startswith(PROVIDERS)}
    for state in kept:
        chosen = deepcopy(state)
        if "dependencies" in chosen:
            chosen["dependencies"] = [urn for urn in chosen["dependencies"] if urn in known]
        if "propertyDependencies" in chosen:
            chosen["propertyDependencies"] = {
                key: [urn for urn in urns if urn in known] for key, urns in chosen["propertyDependencies"].items()
            }
        provider, _, identity = (chosen.get("provider") or "").rpartition("::")
        if identity == UNKNOWN:
            chosen["provider"] = f"{provider}::{providers[provider]}"
        yield chosen


def _contract(stack: str, resources: Iterable[Resource]) -> Mapping[str, Any]:
    """The stack's output, which else only the next update gives: as the last one left it on this machine, if it is of
    these very containers."""
    path = kept_file(project_folder(), stack)
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    try:
        kept = parse_contract(text, str(path))
    except IbgwError:
        # Of another version of ibgw, or broken: no worse than none.
        return {}
    ids = {state["id"] for state in resources if KINDS.get(state["type"]) is Kind.CONTAINER}
    same = kept.stack == stack and all(gateway.container.id in ids for gateway in kept.gateways.values())
    return {OUTPUT: json.loads(text)} if same else {}


def _with(exported: str, resources: list[Resource], outputs: Mapping[str, Any]) -> str:
    """The state with these besides, and the stack with these outputs. Raises IbgwError where nothing would encrypt the
    secrets among them."""
    state: dict[str, Any] = json.loads(exported)
    deployment = state["deployment"]
    if not (deployment.get("secrets_providers") or {}).get("type"):
        raise IbgwError(
            "The state names no secrets provider, so that nothing would encrypt what is recorded. "
            "Make the stack anew (`pulumi stack init`, with --secrets-provider where it had one).",
            exit_code=ExitCode.REFUSED,
        )
    deployment["resources"] = [*(deployment.get("resources") or ()), *resources]
    for resource in deployment["resources"]:
        if resource["type"] == Token.STACK:
            resource["outputs"] = {**outputs, **(resource.get("outputs") or {})}
    return json.dumps(state)
