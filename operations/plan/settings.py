"""The settings of a gateway: which differ, and what a change of each does by itself. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from deployment.description import SecondFactor
from infra.settings import Gateway
from operations.plan.model import Effect

# Where each setting goes to. tests/unit/test_operations_plan.py changes each one of the schema and compares with what
# infra.spec makes of it.
_NOTHING = (
    "account.",
    "checks.",
    "clients",
    "credentials.versionId",
    "secondFactor.method",
    "secondFactor.secretId",
    "secondFactor.anyClock",
)
_IN_PLACE = ("resources.memory",)


def effect_of(setting: str) -> Effect:
    """Of a setting of a gateway, such as `session.timeZone`."""
    if setting.startswith(_NOTHING):
        return Effect.NOTHING
    return Effect.IN_PLACE if setting in _IN_PLACE else Effect.REPLACES


def turns_codes_on_or_off(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a gateway comes to share its display with what types its codes, or shares it no longer."""
    on_before, on_after = ((told.get("secondFactor") or {}).get("method") == SecondFactor.TOTP for told in (old, new))
    return on_before != on_after


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
    changed: list[str] = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            changed += changed_settings(before, after, f"{above}{key}.")
        elif before != after:
            changed.append(f"{above}{key}")
    return changed


def completed(value: Any, annotation: Any = Gateway) -> Any:
    """What a component told, in this version's keys: one that only another version has goes, and one that it lacked has
    its default, since nobody has set it."""
    model = _model_in(annotation)
    if model is None:
        return value
    if isinstance(value, list):
        return [completed(part, model) for part in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: completed(value[key], field.annotation) if key in value else _default(field)
        for key, field in ((field.alias or name, field) for name, field in model.model_fields.items())
    }


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a setting is, may be or is a list of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _default(field: FieldInfo) -> Any:
    if field.is_required():
        return None
    return to_jsonable_python(field.get_default(call_default_factory=True))
