"""Which resource and function goes where, and what all resources have in common."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sandbox.plugins.docker import container, image, network, remote_image, volume
from sandbox.plugins.docker.daemon import Daemon
from sandbox.plugins.docker.properties import CONTAINER, NETWORK, PROVIDER, REMOTE_IMAGE, VOLUME
from sandbox.plugins.docker.schema import DEFAULTS, Schema, compare, planned, recorded_inputs, refusals
from sandbox.plugins.provider import Change, Checked, Difference, PluginError, RecordedButFailed, State
from sandbox.plugins.values import Properties

IMAGE = "docker:index/image:Image"
_AUTONAME_RANDOM = 7


@dataclass(frozen=True)
class Kind:
    """One kind of resource, in the hands of its module. `delete_first`: the official plug-in says so for replacements
    of its own (pulumi-docker, DeleteBeforeReplace)."""

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
        named = {**new, "name": _autoname(name, old, seed)} if kind.autonamed and "name" not in new else new
        refused = tuple(refusals(kind.schema, named))
        return Checked(named if refused else recorded_inputs(kind.schema, named, given=new), refused)

    def diff(self, token: str, state: State, old_inputs: Properties, new: Properties) -> Difference:
        if token == IMAGE:
            return image.diff(state, new)
        kind = _kind(token)
        difference = compare(kind.schema, state.properties, old_inputs, new)
        if state.properties.get(container.FAILED):
            difference = replace(difference, changes={**difference.changes, "image": Change.UPDATE_REPLACE})
        # pulumi-terraform-bridge, Diff: a replacement that only the engine wants, forced by its option or its command,
        # is left to the engine, which creates first unless the program says otherwise.
        replaces = any(change.replaces for change in difference.changes.values())
        named_by_program = kind.autonamed and "name" not in new.get(DEFAULTS, ())
        return replace(difference, delete_first=replaces and (kind.delete_first or named_by_program))

    def create(self, token: str, inputs: Properties, *, preview: bool) -> State:
        if token == IMAGE:
            return image.build(self._daemon, inputs, preview=preview)
        kind = _kind(token)
        inputs = _without_bookkeeping(inputs)
        if preview:
            return State("", planned(kind.schema, inputs))
        with _in_the_bridges_words():
            return _with_nulls(kind, kind.create(self._daemon, inputs))

    def read(self, token: str, state: State) -> State | None:
        if token == IMAGE:
            return state
        kind = _kind(token)
        with _in_the_bridges_words():
            found = kind.read(self._daemon, state)
        return None if found is None else _with_nulls(kind, found)

    def adopt(self, token: str, id: str) -> tuple[Properties, State] | None:
        raise PluginError("the docker stand-in imports nothing")

    def update(self, token: str, state: State, new: Properties, *, preview: bool) -> Properties:
        if token == IMAGE:
            return image.build(self._daemon, new, preview=preview).properties
        kind = _kind(token)
        new = _without_bookkeeping(new)
        if preview:
            return planned(kind.schema, new, state.properties)
        if kind.update is None:
            raise PluginError(f"a {token} is never updated in place")
        with _in_the_bridges_words():
            return _with_nulls(kind, State(state.id, kind.update(self._daemon, state, new))).properties

    def delete(self, token: str, state: State) -> None:
        if token != IMAGE:
            with _in_the_bridges_words():
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


def _with_nulls(kind: Kind, state: State) -> State:
    """With a null for whatever the object does not have, as the official plug-in records it."""
    return State(state.id, {**dict.fromkeys(kind.schema), **state.properties})


@contextmanager
def _in_the_bridges_words() -> Iterator[None]:
    """A failure as pulumi-terraform-bridge passes it on: a list with one error."""

    def worded(reason: str) -> str:
        return f"1 error occurred:\n\t* {reason}\n\n"

    try:
        yield
    except PluginError as error:
        raise PluginError(worded(str(error))) from None
    except RecordedButFailed as error:
        raise RecordedButFailed(worded(error.reason), id=error.id, properties=error.properties) from None


def _autoname(name: str, old: Properties, seed: bytes) -> str:
    """`<resource's name>-<7 hex digits>`, kept for as long as the resource lives."""
    if "name" in old.get(DEFAULTS, ()):
        return str(old["name"])
    return f"{name}-{hashlib.sha256(seed).hexdigest()[:_AUTONAME_RANDOM]}"


def _without_bookkeeping(inputs: Properties) -> Properties:
    return {name: value for name, value in inputs.items() if not name.startswith("__")}
