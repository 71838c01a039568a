"""A container, a network or a volume as a resource: its inputs by deployment.tables, its options here."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pulumi
import pulumi_docker as docker

from deployment.parts import HIDDEN, ContainerSpec, NetworkSpec, Reference, VolumeSpec
from deployment.properties import Part, Table, Update, declared
from deployment.tables import CONTAINER, NETWORK, VOLUME

Known = Mapping[Reference, pulumi.Input[str]]
"""What the engine knows, by the names that the description has for it."""


def declare_container(
    name: str, spec: ContainerSpec, known: Known, opts: pulumi.ResourceOptions, *, values_were_read: bool = True
) -> docker.Container:
    """`values_were_read`: False in a preview without the secret's values. It takes them from the state: whether they
    differ is told by the secret's version alone."""
    inputs = declared(CONTAINER, spec)
    # A change that the provider would record, and that Docker shows it did not make.
    not_applied = {row.key for row in CONTAINER if row.update is Update.RECORDS and row.inspect and row.key in inputs}
    hidden = [path for path, reference in references(inputs) if reference in HIDDEN]
    own = pulumi.ResourceOptions(
        replace_on_changes=sorted(not_applied),
        # The provider says so for its own replacements; a forced one (`up --replace`) needs it said here.
        delete_before_replace=True,
        ignore_changes=None if values_were_read else hidden,
    )
    return docker.Container(name, **_arguments(inputs, known), opts=pulumi.ResourceOptions.merge(opts, own))


def declare_network(name: str, spec: NetworkSpec, opts: pulumi.ResourceOptions) -> docker.Network:
    """Its name is fixed, so a replacement must delete first: Docker refuses a second network of one name."""
    own = pulumi.ResourceOptions(delete_before_replace=True)
    return docker.Network(name, **_inputs(NETWORK, spec), opts=pulumi.ResourceOptions.merge(opts, own))


def declare_volume(name: str, spec: VolumeSpec, opts: pulumi.ResourceOptions, *, kept: bool = True) -> docker.Volume:
    """One that is kept outlives every deployment, `pulumi destroy` included."""
    own = pulumi.ResourceOptions(retain_on_delete=kept or None)
    return docker.Volume(name, **_inputs(VOLUME, spec), opts=pulumi.ResourceOptions.merge(opts, own))


def _inputs(table: Table[Part], part: Part) -> dict[str, Any]:
    return _arguments(declared(table, part), {})


def _arguments(inputs: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """As the provider's Python classes take them. Raises KeyError for a reference to what is not known."""
    return {
        re.sub("[A-Z]", lambda upper: f"_{upper[0].lower()}", key): _resolved(value, known.__getitem__)
        for key, value in inputs.items()
    }


def _resolved(value: Any, know: Callable[[Reference], Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _resolved(part, know) for key, part in value.items()}
    if isinstance(value, list):
        return [_resolved(part, know) for part in value]
    return know(value) if isinstance(value, Reference) else value


def references(value: Any, path: str = "") -> Iterator[tuple[str, Reference]]:
    """Each with its address among the inputs, as the engine writes it: `uploads[0].content`."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from references(part, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for at, part in enumerate(value):
            yield from references(part, f"{path}[{at}]")
    elif isinstance(value, Reference):
        yield path, value
