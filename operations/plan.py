"""What an update would do to each gateway, in the field's words: the engine's JSON preview made into a plan. Pure.

The verdict is what the engine says that it will do to the gateway's container. The reasons are the settings that
changed, told by the gateway's component (its inputs are the settings, without any secret), since most of what follows
from them is not to be seen in a preview: a container's files are one secret to the engine.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from deployment.description import SecondFactor
from deployment.durations import format_duration
from infra.settings import PROJECT, Gateway

Step = Mapping[str, Any]


class PlanVerdict(StrEnum):
    """What happens to a gateway. `create` logs in as well; so does `remove` log out."""

    NONE = "none"
    IN_PLACE = "in_place"
    RELOGIN = "relogin"
    RELOGIN_SECOND_FACTOR = "relogin_second_factor"
    CREATE = "create"
    REMOVE = "remove"


class FailOn(StrEnum):
    """The gate of `ibgw plan --fail-on`."""

    RELOGIN = "relogin"
    REPLACE = "replace"
    ANY = "any"


UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""A text that only the update will know, in the engine's JSON (sdk/go/common/resource/plugin/rpc.go)."""


NEW_SECRET = "credentials: a new version of the secret"  # noqa: S105 - a reason
THIS_VERSION = "this version of ibgw"
"""No setting has changed: what this version puts into the container is different."""
EARLIER = "an earlier version"
"""Of ibgw, whose states do not tell which one it was."""


class Effect(StrEnum):
    """What one changed setting does by itself."""

    REPLACES = "replaces"
    IN_PLACE = "in_place"
    NOTHING = "nothing"
    """To the container: it is for whoever verifies or connects, or it shows only together with another."""


REPLACED = PlanVerdict.RELOGIN, PlanVerdict.RELOGIN_SECOND_FACTOR

# Where each setting of a gateway goes to. tests/unit/test_operations_plan.py changes each one of the schema and
# compares with what infra.spec makes of it.
_NOTHING = ("account.", "checks.", "clients", "credentials.versionId", "secondFactor.method")
_IN_PLACE = ("resources.memory",)

# What a container's input follows from where no setting of the gateway has changed: the stack's own configuration; and,
# of a state that does not tell the gateway's settings, what may as well be one of them.
_CONFIGURED = {
    "image": "image",
    "name": f"{PROJECT}:namePrefix",
    "networksAdvanced": f"{PROJECT}:network.subnetPool",
    "labels": f"{PROJECT}:namePrefix",
    "volumes": f"{PROJECT}:namePrefix",
    "provider": f"{PROJECT}:dockerHost",
}
_UNTOLD = {
    "uploads": "a file in the container",
    "healthcheck": "ibgw's own probe",
    "envs": "ibgw's own variables",
}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Reason(_Model):
    """A setting by its key below the gateway (`session.timeZone`) or the stack (`ibgw:network.subnetPool`), and what
    the change of it leads to. Never a value."""

    setting: str
    effect: Effect


class Change(_Model):
    """From and to; either is None where there is none or where only the update will know."""

    before: str | None
    after: str | None


class GatewayPlan(_Model):
    """`downtime`: what the gateway is away for, None where it stays. `image` and `secret_version`: None where they stay
    the same. `version`: of ibgw, where another one is a reason. `asks_second_factor`: whether this update leads to a
    request on the phone."""

    gateway: str
    verdict: PlanVerdict
    reasons: tuple[Reason, ...]
    asks_second_factor: bool
    downtime: str | None
    image: Change | None
    secret_version: Change | None
    version: Change | None


class Plan(_Model):
    stack: str
    gateways: tuple[GatewayPlan, ...]
    others: tuple[str, ...]
    """What else changes, such as `update verifier-image`; `leave` is of a volume that the stack lets go and keeps."""

    @property
    def changes(self) -> bool:
        return bool(self.others) or any(one.verdict is not PlanVerdict.NONE or one.reasons for one in self.gateways)

    def hits(self, gate: FailOn) -> bool:
        """Whether the gate is hit: a new login of a running gateway, any container that goes or is replaced, or any
        change at all."""
        verdicts = {one.verdict for one in self.gateways}
        match gate:
            case FailOn.RELOGIN:
                return bool(verdicts & set(REPLACED))
            case FailOn.REPLACE:
                return bool(verdicts & {*REPLACED, PlanVerdict.REMOVE})
            case FailOn.ANY:
                return self.changes


def read(stack: str, preview: str) -> Plan:
    """The plan out of what `pulumi preview --json --show-sames` printed."""
    steps: list[Step] = json.loads(preview).get("steps") or []
    containers, components = _by_gateway(steps, _CONTAINER), _by_gateway(steps, _COMPONENT)
    names = sorted({*containers, *components})
    image = _image(steps)
    gateways = tuple(_gateway(name, containers.get(name, []), components.get(name, []), image) for name in names)
    gateways_own = {step["urn"] for found in containers.values() for step in found}
    others = {
        f"{_operation(step)} {step['urn'].rpartition('::')[2]}"
        for step in steps
        # The stack, its provider and its components are no objects on the Docker host.
        if step["op"] != "same" and _type(step["urn"]).startswith("docker:") and step["urn"] not in gateways_own
    }
    return Plan(stack=stack, gateways=gateways, others=tuple(sorted(others)))


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

    found: dict[str | None, dict[str, str]] = {None: {}}
    for urn, operation in operations.items():
        if _type(urn) != "pulumi:pulumi:Stack":
            found.setdefault(owner(urn), {})[urn] = operation
    return found


def warnings(preview: str) -> list[str]:
    """What the program and the providers warned of: part of the preview, not of what it changes."""
    diagnostics = json.loads(preview).get("diagnostics") or []
    return [text for one in diagnostics if (text := one["message"].strip()).startswith("warning: ")]


def _operation(step: Step) -> str:
    retained = (step.get("oldState") or {}).get("retainOnDelete")
    return "leave" if step["op"] == "delete" and retained else str(step["op"])


_COMPONENT = re.compile(r"::ibgw:gateway:Gateway::(?P<gateway>.+)")
_CONTAINER = re.compile(r"::ibgw:gateway:Gateway\$docker:index/container:Container::(?P<gateway>.+)")
_IMAGE = "docker:index/remoteImage:RemoteImage"


def _type(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def _by_gateway(steps: Iterable[Step], pattern: re.Pattern[str]) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for step in steps:
        if match := pattern.search(step["urn"]):
            found.setdefault(match["gateway"], []).append(step)
    return found


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
    by_version = version.before != version.after and THIS_VERSION in {reason.setting for reason in reasons}
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
    changed = changed_settings(_settings(old), _settings(new)) if told else []
    reasons = {setting: effect_of(setting) for setting in changed}
    if told and old.get("secretVersion") != new.get("secretVersion"):
        reasons[NEW_SECRET] = Effect.REPLACES
    replaced = _properties(container, "replaceReasons")
    explained = {Effect.REPLACES} & set(reasons.values())
    differing = _properties(container, "diffReasons") | replaced
    if not differing and _replaces({step["op"] for step in container}):
        # It goes with what it depends on: the engine names no reason, but the inputs differ.
        before, after = (_state(container, which).get("inputs") or {} for which in ("oldState", "newState"))
        differing = replaced = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    for found in sorted(differing, key=lambda found: (found not in replaced, found)):
        effect = Effect.REPLACES if found in replaced else Effect.IN_PLACE
        # The image is never a gateway's setting; of the others only what no setting explains has another cause.
        if found == "image" or (effect not in reasons.values() and not explained):
            reasons.setdefault(_cause(found, told=told), effect)
    return (Reason(setting=setting, effect=effect) for setting, effect in sorted(reasons.items()))


def _cause(found: str, *, told: bool) -> str:
    """Why a container's input differs, where no setting of the gateway explains it. `told`: both sides tell their
    settings and the secret's version, so that they are known to be equal."""
    if told and found not in _CONFIGURED:
        return THIS_VERSION
    return {**_CONFIGURED, **_UNTOLD}.get(found, found)


def _settings(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a component told, with this version's keys: one that only another version has goes, and one that it lacked
    has its default, since nobody has set it."""

    def completed(found: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: completed(found[key], default)
            if isinstance(default, Mapping) and isinstance(found.get(key), Mapping)
            else found.get(key, default)
            for key, default in defaults.items()
        }

    # With what has no default.
    least = Gateway.model_validate({"credentials": {"secretId": "-"}, "session": {"autoRestart": "00:00"}})
    return completed(told["settings"], least.model_dump(mode="json", by_alias=True))


def _properties(container: list[Step], which: str) -> set[str]:
    return {re.split(r"[.\[]", found, maxsplit=1)[0] for step in container for found in step.get(which) or ()}


def effect_of(setting: str) -> Effect:
    """Of a setting of a gateway, such as `session.timeZone`."""
    if setting.startswith(_NOTHING):
        return Effect.NOTHING
    return Effect.IN_PLACE if setting in _IN_PLACE else Effect.REPLACES


def every_setting(model: type[BaseModel] = Gateway, above: str = "") -> Iterator[str]:
    """The keys of all settings of a gateway, down to the last model."""
    for name, field in model.model_fields.items():
        key = f"{above}{field.alias or name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from every_setting(field.annotation, f"{key}.")
        else:
            yield key


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any], above: str = "") -> list[str]:
    """The keys of what differs, down to the last mapping. What is absent and what is null are the same."""
    found: list[str] = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += changed_settings(before, after, f"{above}{key}.")
        elif before != after:
            found.append(f"{above}{key}")
    return found


def _image(steps: list[Step]) -> Change | None:
    """The digest that runs, and the reference that is to be pulled."""
    found = [step for step in steps if _type(step["urn"]) == _IMAGE]
    before = (_state(found, "oldState").get("outputs") or {}).get("repoDigest")
    new = _state(found, "newState")
    known = (new.get("outputs") or {}).get("repoDigest")
    # A digest is known once it was pulled; before that the reference says more than "unknown".
    after = known if known and known != UNKNOWN else (new.get("inputs") or {}).get("name")
    moved = {step["op"] for step in found} - {"same"}
    return Change(before=before, after=after) if moved and before != after else None


def _downtime(verdict: PlanVerdict, container: list[Step]) -> str | None:
    # The grace of the container that is stopped, which is the one in the state.
    grace = (_state(container, "oldState").get("inputs") or {}).get("destroyGraceSeconds")
    away = f"up to {_seconds(grace)} to log out" if grace else "killed without time to log out"
    if verdict in REPLACED:
        approval = " and its approval on the phone" if verdict is PlanVerdict.RELOGIN_SECOND_FACTOR else ""
        return f"{away}, then the login{approval}"
    return f"{away}, and it does not come back" if verdict is PlanVerdict.REMOVE else None


def _seconds(grace: float) -> str:
    from datetime import timedelta

    return format_duration(timedelta(seconds=grace))


# --- formats ------------------------------------------------------------------------------------------------------

WORDS = {
    PlanVerdict.NONE: "stays as it is",
    PlanVerdict.IN_PLACE: "changes in place, without a login",
    PlanVerdict.RELOGIN: "is replaced and logs in again",
    PlanVerdict.RELOGIN_SECOND_FACTOR: "is replaced, logs in again and asks for a second factor",
    PlanVerdict.CREATE: "is created and logs in",
    PlanVerdict.REMOVE: "is removed",
}
_EFFECTS = {
    Effect.REPLACES: "replaces the container",
    Effect.IN_PLACE: "in place",
    Effect.NOTHING: "does not touch the container",
}


def human(plan: Plan) -> str:
    """One line where nothing changes; else a line for each gateway, and under it what is to be known."""
    if not plan.changes:
        return f"{plan.stack}: no change"
    width = max((len(one.gateway) for one in plan.gateways), default=0)
    lines = []
    for one in plan.gateways:
        lines.append(f"{plan.stack}/{one.gateway:{width}}  {one.verdict.upper():21}  {WORDS[one.verdict]}")
        lines += [f"  {text}" for text in _details(one)]
    return "\n".join([*lines, *_others(plan)])


def markdown(plan: Plan) -> str:
    """For a pull request's comment."""
    if not plan.changes:
        return f"**{plan.stack}**: no change"
    lines = [f"### Plan for `{plan.stack}`", "", "| Gateway | Verdict | What happens |", "|---|---|---|"]
    for one in plan.gateways:
        said = "<br>".join(text.replace("|", "\\|") for text in (WORDS[one.verdict], *_details(one)))
        lines.append(f"| {one.gateway} | `{one.verdict}` | {said} |")
    others = _others(plan)
    return "\n".join([*lines, *(["", *others] if others else [])])


def as_json(plan: Plan) -> str:
    return json.dumps({"schema": 1, "changes": plan.changes, **plan.model_dump(mode="json")}, indent=2)


def effects_table() -> str:
    """The table of docs/plan.md."""
    rows = [f"| `{setting}` | {_EFFECTS[effect_of(setting)]} |" for setting in every_setting()]
    return "\n".join(["| Setting | A change of it |", "|---|---|", *rows])


def _details(one: GatewayPlan) -> Iterable[str]:
    for reason in one.reasons:
        yield f"because of {reason.setting} ({_EFFECTS[reason.effect]})"
    if one.image is not None:
        yield f"image: {one.image.before or 'none'} -> {one.image.after or 'known at the update'}"
    if one.secret_version is not None:
        yield f"secret version: {one.secret_version.before or 'none'} -> {one.secret_version.after or 'none'}"
    if one.version is not None:
        yield f"ibgw: {one.version.before or EARLIER} -> {one.version.after or EARLIER}"
    if one.downtime is not None:
        yield f"away: {one.downtime}"
    if one.asks_second_factor:
        yield "second factor: approve it in IBKR Mobile during the update"


def _others(plan: Plan) -> list[str]:
    return [f"also: {', '.join(plan.others)}"] if plan.others else []


RENDERERS = {"human": human, "json": as_json, "markdown": markdown}
"""By what `--format` calls them."""
