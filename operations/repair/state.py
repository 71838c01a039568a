"""What the stack's recorded state says about objects on the Docker host. Pure: reads the text of an export.

Keys are those of an export, version 3 (pulumi sdk/go/common/apitype, ResourceV3 and OperationV2). Version 4 is the same
with a list of features that the state uses, such as a tainted resource.
"""

import json
from dataclasses import dataclass
from typing import Any

from deployment.errors import ExitCode, IbgwError
from deployment.parts import Attachment
from deployment.tables import KINDS as ALL_KINDS
from deployment.tables import Kind, Token

KINDS = {token: kind for token, kind in ALL_KINDS.items() if kind is not Kind.IMAGE}
"""Those that need repair."""
VERSIONS = frozenset({3, 4})


@dataclass(frozen=True)
class Recorded:
    """One object as the state holds it. A volume's id is its name. `doomed`: recorded only to be deleted.
    `attachments`: the networks that a container was declared to be on, by their names or ids."""

    urn: str
    kind: Kind
    id: str
    name: str
    doomed: bool = False
    attachments: tuple[Attachment, ...] | None = None


@dataclass(frozen=True)
class State:
    """`hosts`: the Docker hosts that the recorded objects were created on. `pending`: URNs with unfinished work."""

    hosts: frozenset[str]
    objects: tuple[Recorded, ...]
    pending: tuple[str, ...]


def read_state(text: str) -> State:
    """Reads `pulumi stack export`. Raises IbgwError for another version of the format."""
    export: dict[str, Any] = json.loads(text)
    if export.get("version") not in VERSIONS:
        raise IbgwError(
            f"`pulumi stack export` printed a state of version {export.get('version')}, and only versions 3 and 4 can "
            "be repaired: use the version of pulumi that Pulumi.yaml asks for.",
            exit_code=ExitCode.REFUSED,
        )
    deployment: dict[str, Any] = export.get("deployment") or {}
    resources: list[dict[str, Any]] = deployment.get("resources") or []
    hosts = {
        host
        for resource in resources
        if resource["type"] == Token.PROVIDER and isinstance(host := (resource.get("inputs") or {}).get("host"), str)
    }
    return State(
        hosts=frozenset(hosts),
        objects=tuple(_recorded(resource) for resource in resources if resource["type"] in KINDS),
        pending=tuple(operation["resource"]["urn"] for operation in deployment.get("pending_operations") or []),
    )


def _recorded(resource: dict[str, Any]) -> Recorded:
    outputs: dict[str, Any] = resource.get("outputs") or {}
    return Recorded(
        urn=resource["urn"],
        kind=KINDS[resource["type"]],
        id=resource["id"],
        name=str(outputs.get("name", resource["id"])),
        doomed=bool(resource.get("delete") or resource.get("pendingReplacement")),
        attachments=_attachments(outputs.get("networksAdvanced")),
    )


def _attachments(declared: object) -> tuple[Attachment, ...] | None:
    """None where the state does not say: a container without networks of its own, or a value that is encrypted."""
    if not isinstance(declared, list) or not declared:
        return None
    return tuple(Attachment(str(entry["name"]), tuple(entry.get("aliases") or ())) for entry in declared)
