"""A plan out of the engine's JSON preview. Pure.

The verdict is what the engine says that it will do to the gateway's container. The reasons are the settings that
changed, told by the gateway's component (its inputs are the settings, without any secret), since most of what follows
from them is not to be seen in a preview: a container's files are one secret to the engine.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from deployment.description import SecondFactor
from deployment.durations import format_duration
from deployment.names import PROJECT
from deployment.properties import row
from deployment.tables import CONTAINER, KINDS, Token
from operations.plan.model import (
    REPLACED,
    Cause,
    Change,
    Effect,
    GatewayPlan,
    OtherChange,
    Plan,
    PlanVerdict,
    Reason,
)
from operations.plan.settings import changed_settings, completed, effect_of, turns_codes_on_or_off

Step = Mapping[str, Any]

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""A text that only the update will know, in the engine's JSON (sdk/go/common/resource/plugin/rpc.go)."""

NEW_SECRET = "credentials: a new version of the secret"  # noqa: S105 - a reason
THIS_VERSION = "this version of ibgw"
"""No setting has changed: what this version puts into the container is different."""

# What a property of the container follows from where no setting of the gateway has changed: the stack's own
# configuration; and, of a state that does not tell the gateway's settings, what may as well be one of them.
_CONFIGURED = {
    "image": (Cause.IMAGE, "image"),
    "name": (Cause.STACK, f"{PROJECT}:namePrefix"),
    "networks": (Cause.STACK, f"{PROJECT}:network.subnetPool"),
    "labels": (Cause.STACK, f"{PROJECT}:namePrefix"),
    "mounts": (Cause.STACK, f"{PROJECT}:namePrefix"),
    "provider": (Cause.STACK, f"{PROJECT}:dockerHost"),
    "memory": (Cause.STACK, f"{PROJECT}:acceptHost"),
    "memory_swap": (Cause.STACK, f"{PROJECT}:acceptHost"),
}
_UNTOLD = {
    "files": "a file in the container",
    "probe": "ibgw's own probe",
    "environment": "ibgw's own variables",
}
_GRACE = row(CONTAINER, "removal_grace").input


def read(stack: str, preview: str) -> Plan:
    """The plan out of what `pulumi preview --json --show-sames` printed."""
    steps: list[Step] = json.loads(preview).get("steps") or []
    containers, components = _by_gateway(steps, _CONTAINER), _by_gateway(steps, _COMPONENT)
    names = sorted({*containers, *components})
    image = _image(steps)
    gateways = tuple(_gateway(name, containers.get(name, []), components.get(name, []), image) for name in names)
    gateways_own = {step["urn"] for container in containers.values() for step in container}
    others = {
        OtherChange(
            operation=_operation(step),
            kind=kind,
            name=step["urn"].rpartition("::")[2],
            watches=Token.MONITORING in step["urn"],
        )
        for step in steps
        # The stack, its provider and its components are no objects on the Docker host.
        if step["op"] != "same" and (kind := KINDS.get(_type(step["urn"]))) and step["urn"] not in gateways_own
    }
    return Plan(stack=stack, gateways=gateways, others=tuple(sorted(others, key=str)))


def by_owner(preview: str) -> dict[str | None, dict[str, str]]:
    """The resources of each gateway, and under None those that all share, by URN; with the first operation that is more
    than `same`, if there is one. Without the stack itself."""
    steps: list[Step] = json.loads(preview).get("steps") or []
    parents: dict[str, str] = {}
    operations: dict[str, str] = {}
    for step in steps:
        state = step.get("newState") or step.get("oldState") or {}
        parents[step["urn"]] = state.get("parent") or ""
        if operations.get(step["urn"], "same") == "same":
            operations[step["urn"]] = step["op"]

    def owner(urn: str) -> str | None:
        match = _COMPONENT.search(urn)
        return match["gateway"] if match else owner(parents[urn]) if parents.get(urn) else None

    owned: dict[str | None, dict[str, str]] = {None: {}}
    for urn, operation in operations.items():
        if _type(urn) != Token.STACK:
            owned.setdefault(owner(urn), {})[urn] = operation
    return owned


def warnings(preview: str) -> list[str]:
    """What the program and the providers warned of: part of the preview, not of what it changes."""
    diagnostics = json.loads(preview).get("diagnostics") or []
    return [text for diagnostic in diagnostics if (text := diagnostic["message"].strip()).startswith("warning: ")]


def _operation(step: Step) -> str:
    retained = (step.get("oldState") or {}).get("retainOnDelete")
    return "leave" if step["op"] == "delete" and retained else str(step["op"])


_COMPONENT = re.compile(rf"::{Token.GATEWAY}::(?P<gateway>.+)")
_CONTAINER = re.compile(rf"::{Token.GATEWAY}\${Token.CONTAINER}::(?P<gateway>.+)")


def _type(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def _by_gateway(steps: Iterable[Step], pattern: re.Pattern[str]) -> dict[str, list[Step]]:
    of_gateways: dict[str, list[Step]] = {}
    for step in steps:
        if match := pattern.search(step["urn"]):
            of_gateways.setdefault(match["gateway"], []).append(step)
    return of_gateways


def _state(steps: Iterable[Step], which: str) -> Mapping[str, Any]:
    """`oldState` or `newState` of whatever step has it."""
    return next((step[which] for step in steps if step.get(which)), {})


def _gateway(name: str, container: list[Step], component: list[Step], image: Change | None) -> GatewayPlan:
    old, new = (_state(component, which).get("inputs") or {} for which in ("oldState", "newState"))
    settings: Mapping[str, Any] = new.get("settings") or old.get("settings") or {}
    method = (settings.get("secondFactor") or {}).get("method")
    verdict = _verdict({step["op"] for step in container}, push=method == SecondFactor.PUSH)
    before, after = old.get("secretVersion"), new.get("secretVersion")
    # A stack that an older version of this program deployed does not tell what it has.
    told = bool(old and new) or verdict is PlanVerdict.CREATE
    secret_version = Change(before=before, after=after) if told and before != after else None
    logs_in = verdict in (*REPLACED, PlanVerdict.CREATE)
    reasons = tuple(_reasons(container, old, new)) if verdict not in (PlanVerdict.CREATE, PlanVerdict.REMOVE) else ()
    version = Change(before=old.get("version"), after=new.get("version"))
    by_version = version.before != version.after and any(reason.cause is Cause.PROGRAM for reason in reasons)
    return GatewayPlan(
        gateway=name,
        verdict=verdict,
        reasons=reasons,
        asks_second_factor=logs_in and method == SecondFactor.PUSH,
        downtime=_downtime(verdict, container),
        image=image if logs_in else None,
        secret_version=secret_version,
        version=version if by_version else None,
    )


def _replaces(operations: set[str]) -> bool:
    """A replacement is several operations (pkg/resource/deploy/step.go); a preview shows some or all of them."""
    return bool(operations & {"replace", "create-replacement", "delete-replaced"})


def _verdict(operations: set[str], *, push: bool) -> PlanVerdict:
    """By the engine's operations on the container."""
    if _replaces(operations):
        return PlanVerdict.RELOGIN_SECOND_FACTOR if push else PlanVerdict.RELOGIN
    if "create" in operations:
        return PlanVerdict.CREATE
    if "delete" in operations:
        return PlanVerdict.REMOVE
    return PlanVerdict.IN_PLACE if "update" in operations else PlanVerdict.NONE


def _reasons(container: list[Step], old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[Reason]:
    told = bool(old and new)
    changed = changed_settings(completed(old["settings"]), completed(new["settings"])) if told else []
    reasons = [Reason(cause=Cause.SETTING, setting=setting, effect=effect_of(setting)) for setting in changed]
    if told and turns_codes_on_or_off(old["settings"], new["settings"]):
        reasons = [
            reason.model_copy(update={"effect": Effect.REPLACES}) if reason.setting == "secondFactor.method" else reason
            for reason in reasons
        ]
    if told and old.get("secretVersion") != new.get("secretVersion"):
        reasons.append(Reason(cause=Cause.SECRET, setting=NEW_SECRET, effect=Effect.REPLACES))
    explained = Effect.REPLACES in {reason.effect for reason in reasons}
    replaced = _properties(container, "replaceReasons")
    differing = _properties(container, "diffReasons") | replaced
    if not differing and _replaces({step["op"] for step in container}):
        # It goes with what it depends on: the engine names no reason, but the inputs differ.
        before, after = (_state(container, which).get("inputs") or {} for which in ("oldState", "newState"))
        differing = replaced = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    for key in sorted(differing, key=lambda key: (key not in replaced, key)):
        effect = Effect.REPLACES if key in replaced else Effect.IN_PLACE
        cause, setting = _cause(key, told=told)
        # The image is never a gateway's setting; of the others only what no setting explains has another cause.
        unexplained = not explained and effect not in {reason.effect for reason in reasons}
        if (cause is Cause.IMAGE or unexplained) and setting not in {reason.setting for reason in reasons}:
            reasons.append(Reason(cause=cause, setting=setting, effect=effect))
    return sorted(reasons, key=lambda reason: reason.setting)


def _cause(key: str, *, told: bool) -> tuple[Cause, str]:
    """Why a container's input differs, where no setting of the gateway explains it. `told`: both sides tell their
    settings and the secret's version, so that they are known to be equal."""
    name = next((row.name for row in CONTAINER if row.key == key), key)
    if name in _CONFIGURED:
        return _CONFIGURED[name]
    if told:
        return Cause.PROGRAM, THIS_VERSION
    return (Cause.UNTOLD, _UNTOLD[name]) if name in _UNTOLD else (Cause.OTHER, key)


def _properties(container: list[Step], which: str) -> set[str]:
    return {re.split(r"[.\[]", path, maxsplit=1)[0] for step in container for path in step.get(which) or ()}


def _image(steps: list[Step]) -> Change | None:
    """The digest that runs, and the reference that is to be pulled."""
    pulled = [step for step in steps if _type(step["urn"]) == Token.PULLED_IMAGE]
    before = (_state(pulled, "oldState").get("outputs") or {}).get("repoDigest")
    new = _state(pulled, "newState")
    known = (new.get("outputs") or {}).get("repoDigest")
    # A digest is known once it was pulled; before that the reference says more than "unknown".
    after = known if known and known != UNKNOWN else (new.get("inputs") or {}).get("name")
    moved = {step["op"] for step in pulled} - {"same"}
    return Change(before=before, after=after) if moved and before != after else None


def _downtime(verdict: PlanVerdict, container: list[Step]) -> str | None:
    # The grace of the container that is stopped, which is the one in the state.
    grace = (_state(container, "oldState").get("inputs") or {}).get(_GRACE)
    away = f"up to {_seconds(grace)} to log out" if grace else "killed without time to log out"
    if verdict in REPLACED:
        approval = " and its approval on the phone" if verdict is PlanVerdict.RELOGIN_SECOND_FACTOR else ""
        return f"{away}, then the login{approval}"
    return f"{away}, and it does not come back" if verdict is PlanVerdict.REMOVE else None


def _seconds(grace: float) -> str:
    return format_duration(timedelta(seconds=grace))
