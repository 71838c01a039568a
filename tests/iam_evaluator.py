"""Whether policies allow a request, as AWS decides within one account. Refuses what it does not implement.

Source: IAM's user guide, "Policy evaluation logic" and "IAM JSON policy elements". moto enforces policies too, but it
looks at no condition (moto.iam.access_control), and most of ours are about MFA and keys.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_ELEMENTS = {"Effect", "Action", "Resource", "Principal", "Condition"}
Context = Mapping[str, str | list[str]]


@dataclass(frozen=True)
class Request:
    action: str
    resource: str
    principal: str = ""
    """An ARN: of a role for whoever has taken it on."""
    context: Context = field(default_factory=dict)


def allowed(request: Request, identity: Iterable[Mapping[str, Any]], resource: Mapping[str, Any] | None = None) -> bool:
    """`identity`: the documents of the principal. `resource`: that of what is asked for; a KMS key's has to allow too,
    any other may."""
    own = [_effect(request, statement) for document in identity for statement in _statements(document)]
    its = [_effect(request, statement) for statement in _statements(resource or {"Statement": []})]
    if "Deny" in (*own, *its):
        return False
    if request.action.startswith("kms:"):
        assert resource is not None, "a KMS key has a policy"
        return "Allow" in own and "Allow" in its
    return "Allow" in (*own, *its)


def trusted(request: Request, trust: Mapping[str, Any]) -> bool:
    """Whether a role's trust lets the principal take it on."""
    effects = [_effect(request, {"Resource": "*", **statement}) for statement in _statements(trust)]
    return "Allow" in effects and "Deny" not in effects


def _statements(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    assert set(document) <= {"Version", "Statement"}, document.keys()
    found = document["Statement"]
    assert isinstance(found, list)
    return found


def _effect(request: Request, statement: Mapping[str, Any]) -> str | None:
    unknown = set(statement) - _ELEMENTS
    if unknown or statement["Effect"] not in ("Allow", "Deny"):
        raise NotImplementedError(f"{unknown or statement['Effect']}")
    applies = (
        any(_like(action.lower(), request.action.lower()) for action in _list(statement["Action"]))
        and any(_like(resource, request.resource) for resource in _list(statement["Resource"]))
        and ("Principal" not in statement or _is_principal(request, statement["Principal"]))
        and all(_holds(operator, keys, request) for operator, keys in statement.get("Condition", {}).items())
    )
    return statement["Effect"] if applies else None


def _is_principal(request: Request, principal: Any) -> bool:
    if principal == "*":
        return True
    [(kind, named)] = principal.items()
    if kind not in ("AWS", "Federated"):
        raise NotImplementedError(kind)
    account = re.sub(r":(user|role)/.*", ":root", request.principal)
    return request.principal in _list(named) or (kind == "AWS" and account in _list(named))


def _holds(operator: str, expected: Mapping[str, Any], request: Request) -> bool:
    return all(_compare(operator, _list(values), _found(key, request)) for key, values in expected.items())


def _found(key: str, request: Request) -> list[str]:
    """No values where the request has no such key, which fails every operator that we know."""
    if key == "aws:PrincipalArn":
        return [request.principal]
    return _list(request.context.get(key, []))


def _compare(operator: str, expected: list[str], found: list[str]) -> bool:
    if operator == "ForAnyValue:StringEquals":
        return any(value in expected for value in found)
    if len(found) > 1:
        raise NotImplementedError(f"{operator} over several values")
    if operator in ("StringEquals", "Bool"):
        return any(value in expected for value in found)
    if operator == "ArnEquals":
        return any(_like(pattern, value) for value in found for pattern in expected)
    raise NotImplementedError(operator)


def _like(pattern: str, text: str) -> bool:
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
