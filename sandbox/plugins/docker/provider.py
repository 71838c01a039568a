"""Which resource and function goes where, and what all resources have in common."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from sandbox.plugins.docker import container, image, network, remote_image, volume
from sandbox.plugins.docker.daemon import Daemon
from sandbox.plugins.docker.properties import CONTAINER, NETWORK, PROVIDER, REMOTE_IMAGE, VOLUME
from sandbox.plugins.docker.schema import Schema, compare, planned, refusals
from sandbox.plugins.provider import Change, Checked, Difference, PluginError, State
from sandbox.plugins.values import Properties

IMAGE = "docker:index/image:Image"
# Bookkeeping in the inputs: which of them the plug-in filled in, so that a later check keeps them.
_DEFAULTS = "__defaults"
_AUTONAME_RANDOM = 7


@dataclass(frozen=True)
class Kind:
    """One kind of resource, in the hands of its module."""

    schema: Schema
    create: Callable[[Daemon, Properties], State]
    read: Callable[[Daemon, State], State | None]
    delete: Callable[[Daemon, State], None]
    update: Callable[[Daemon, State, Properties], Properties] | None = None
    delete_first: bool = False
    autonamed: bool = True


KINDS = {
    "docker:index/container:Container": Kind(
        CONTAINER, container.create, container.read, container.delete, container.update, delete_first=True
    ),
    "docker:index/network:Network": Kind(NETWORK, network.create, network.read, network.delete),
    "docker:index/volume:Volume": Kind(VOLUME, volume.create, volume.read, volume.delete),
    "docker:index/remoteImage:RemoteImage": Kind(
        REMOTE_IMAGE,
        remote_image.create,
        remote_image.read,
        remote_image.delete,
        remote_image.update,
        autonamed=False,
    ),
}

FUNCTIONS: dict[str, Callable[[Daemon, str], Properties]] = {
    "docker:index/getNetwork:getNetwork": network.get,
    "docker:index/getRemoteImage:getRemoteImage": remote_image.get,
}


class Docker:
    """The provider: one Docker daemon."""

    name = "docker"
    version = "5.1.0"

    def __init__(self) -> None:
        self._daemon = Daemon(None)

    def check_configuration(self, inputs: Properties) -> Checked:
        return Checked(inputs, tuple(refusals(PROVIDER, inputs)))

    def configure(self, inputs: Properties) -> None:
        self._daemon = Daemon(inputs.get("host"))

    def check(self, token: str, name: str, old: Properties, new: Properties, seed: bytes) -> Checked:
        if token == IMAGE:
            return image.check(new)
        kind = _kind(token)
        if kind.autonamed and "name" not in new:
            new = {**new, "name": _autoname(name, old, seed), _DEFAULTS: ["name"]}
        return Checked(new, tuple(refusals(kind.schema, new)))

    def diff(self, token: str, state: State, old_inputs: Properties, new: Properties) -> Difference:
        if token == IMAGE:
            return image.diff(old_inputs, new)
        kind = _kind(token)
        difference = compare(kind.schema, state.properties, old_inputs, new)
        if state.properties.get(container.FAILED):
            difference = replace(difference, changes={**difference.changes, "image": Change.UPDATE_REPLACE})
        return replace(difference, delete_first=kind.delete_first)

    def create(self, token: str, inputs: Properties, *, preview: bool) -> State:
        if token == IMAGE:
            return image.build(self._daemon, inputs, preview=preview)
        kind = _kind(token)
        inputs = _without_bookkeeping(inputs)
        if preview:
            return State("", planned(kind.schema, inputs))
        return kind.create(self._daemon, inputs)

    def read(self, token: str, state: State) -> State | None:
        if token == IMAGE:
            return state
        return _kind(token).read(self._daemon, state)

    def update(self, token: str, state: State, new: Properties, *, preview: bool) -> Properties:
        if token == IMAGE:
            return image.build(self._daemon, new, preview=preview).properties
        kind = _kind(token)
        new = _without_bookkeeping(new)
        if preview:
            return planned(kind.schema, new, state.properties)
        if kind.update is None:
            raise PluginError(f"a {token} is never updated in place")
        return kind.update(self._daemon, state, new)

    def delete(self, token: str, state: State) -> None:
        if token != IMAGE:
            _kind(token).delete(self._daemon, state)

    def invoke(self, token: str, arguments: Properties) -> Properties:
        function = FUNCTIONS.get(token)
        if function is None:
            known = ", ".join(sorted(FUNCTIONS))
            raise PluginError(f"the docker stand-in has no function '{token}': it knows {known}")
        return function(self._daemon, arguments["name"])


def _kind(token: str) -> Kind:
    if token not in KINDS:
        known = ", ".join(sorted([IMAGE, *KINDS]))
        raise PluginError(f"the docker stand-in has no resource '{token}': it knows {known}")
    return KINDS[token]


def _autoname(name: str, old: Properties, seed: bytes) -> str:
    """`<resource's name>-<7 hex digits>`, kept for as long as the resource lives."""
    if "name" in old.get(_DEFAULTS, ()):
        return str(old["name"])
    return f"{name}-{hashlib.sha256(seed).hexdigest()[:_AUTONAME_RANDOM]}"


def _without_bookkeeping(inputs: Properties) -> Properties:
    return {name: value for name, value in inputs.items() if not name.startswith("__")}
