"""The sandbox's own Pulumi project folder: the tracked files with what must differ replaced, and nothing else.

Pulumi writes into the stack files that it uses (`encryptionsalt`), so it never gets the tracked ones. Everything here
is a pure function over the files' contents, but for `write`.
"""

import copy
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from deployment.description import Mode, SecondFactor
from deployment.errors import IbgwError
from infra.gateways import ALL, FILE, gather
from sandbox.secrets_manager import Login

PROJECT_FILE = "Pulumi.yaml"
SALT = "encryptionsalt"
_OURS = "ibgw:"
RELEASE = "ibgw:release"
DEFAULT_BASE_IMAGE = "docker.io/library/python:3.11-slim-bookworm"
"""Where a stack file names none."""
DEFAULT_REGION = "us-east-1"
PLACEHOLDER = "U0000000"
"""The account in the tracked live file, which a person replaces by the user's own."""

Document = dict[str, Any]


def stack_file(stack: str) -> str:
    return f"Pulumi.{stack}.yaml"


def stacks(folder: Path) -> list[str]:
    """The stacks whose files a folder has."""
    return sorted(path.name[len("Pulumi.") : -len(".yaml")] for path in folder.glob(stack_file("*")))


class _OnceOnly(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, as Pulumi's own reader does; PyYAML takes the last in silence."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value} is there twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return node


def read(path: Path) -> Document:
    """Raises IbgwError for what is no YAML or no mapping; whatever else may be wrong in it the program refuses."""
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), _OnceOnly)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise IbgwError(f"{path}{line}: {error.problem}; put it right, nothing of it is used before") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise IbgwError(f"{path} holds characters that YAML has not; put it right, nothing is used before") from None
    if not isinstance(found, dict) or not isinstance(found.get("config", {}), dict):
        raise IbgwError(f"{path} holds no mapping with one named config; put it right, nothing of it is used before")
    return found


def in_one(tracked: Document, folder: Path) -> Document:
    """With all that is told of a gateway in its own place, so that the stack's file needs no other beside it. What is
    wrong with it stays for the program to refuse. Raises IbgwError where the gateways' file cannot be read."""
    config = _mapping(tracked.get("config"))
    own = {key.removeprefix(_OURS): value for key, value in config.items() if key.startswith(_OURS)}
    gathered = gather(own, folder)
    if gathered.document is own:
        return tracked
    left = {key: value for key, value in config.items() if key not in (f"{_OURS}{ALL}", f"{_OURS}{FILE}")}
    return {**tracked, "config": {**left, f"{_OURS}gateways": gathered.document["gateways"]}}


def gateways(document: Document) -> Document:
    """Those with a secret, by name. What else stands in their place is for the program to refuse."""
    found = _mapping(_mapping(document.get("config")).get("ibgw:gateways"))
    return {
        name: one
        for name, one in found.items()
        if isinstance(_mapping(_mapping(one).get("credentials")).get("secretId"), str)
    }


def has_placeholder(gateway: Document) -> bool:
    """Whether the account that it expects is the tracked file's."""
    return bool(_mapping(gateway.get("account")).get("expected") == [PLACEHOLDER])


def region(document: Document) -> str:
    return str(_mapping(document.get("config")).get("aws:region") or DEFAULT_REGION)


def base_image(document: Document) -> str:
    return str(_mapping(_mapping(document.get("config")).get("ibgw:verifier")).get("baseImage") or DEFAULT_BASE_IMAGE)


def _mapping(value: Any) -> Document:
    """Empty for anything else."""
    return value if isinstance(value, dict) else {}


def project(tracked: Document, *, root: Path, folder: Path) -> Document:
    """Pulumi.yaml in `folder`, its two paths turned so that they still lead into the checkout at `root`."""
    changed = copy.deepcopy(tracked)
    way = os.path.relpath(root, folder)
    changed["main"] = f"{way}/{tracked['main']}"
    options = changed["runtime"]["options"]
    options["virtualenv"] = f"{way}/{options['virtualenv']}"
    return changed


def stack(
    tracked: Document, *, docker_host: str, prefix: str, image: str, base_image: str, pool: str | None = None
) -> Document:
    """A stack file for the sandbox. A live stack names no image, so none is put in. `pool` only where two sandboxes
    share a Docker host."""
    changed = copy.deepcopy(tracked)
    config = changed.setdefault("config", {})
    config["ibgw:dockerHost"] = docker_host
    config["ibgw:namePrefix"] = prefix
    if "ibgw:image" in config:
        config["ibgw:image"] = image
    own = {"verifier": {"baseImage": base_image}, **({} if pool is None else {"network": {"subnetPool": pool}})}
    for key, value in own.items():
        if isinstance(config.setdefault(f"ibgw:{key}", {}), dict):
            config[f"ibgw:{key}"].update(value)
    return changed


def override(document: Document, changes: Mapping[str, Any]) -> Document:
    """`changes` to the `ibgw` keys, laid over the stack file: mappings are merged, everything else replaced, and None
    takes a key out. A gateway that the file does not have starts as a copy of `main`, with a secret of its own."""
    changed = copy.deepcopy(document)
    config = changed.setdefault("config", {})
    for name in changes.get("gateways", {}):
        if name not in config["ibgw:gateways"]:
            config["ibgw:gateways"][name] = copy.deepcopy(config["ibgw:gateways"]["main"])
    for key, value in changes.items():
        _lay_over(config, f"ibgw:{key}", value)
    return changed


def _lay_over(target: Document, key: str, value: Any) -> None:
    if value is None:
        target.pop(key, None)
    elif isinstance(value, Mapping) and isinstance(target.get(key), dict):
        for inner, change in value.items():
            _lay_over(target[key], inner, change)
    else:
        target[key] = copy.deepcopy(value)


def logins(document: Document) -> list[Login]:
    """The users whom a stack file's gateways log in as; paper's, without a second factor, where it does not tell."""
    mode = Mode.LIVE if _mapping(document.get("config")).get("ibgw:mode") == Mode.LIVE else Mode.PAPER
    return [
        Login(
            secret_id=gateway["credentials"]["secretId"],
            region=region(document),
            mode=mode,
            second_factor=_second_factor(_mapping(gateway.get("secondFactor")).get("method")),
        )
        for gateway in gateways(document).values()
    ]


def _second_factor(value: Any) -> SecondFactor:
    return next((known for known in SecondFactor if known == value), SecondFactor.NONE)


def write(path: Path, document: Document, *, source: str = "") -> bool:
    """Writes the file if its contents changed, and says whether. What was added to it stays: Pulumi's own key, and the
    release that a promotion names. `source`: the file to edit instead of this one, which its first line says."""
    kept = copy.deepcopy(document)
    if path.exists():
        before = read(path)
        if SALT in before:
            kept[SALT] = before[SALT]
        if RELEASE in before.get("config", {}):
            kept.setdefault("config", {}).setdefault(RELEASE, before["config"][RELEASE])
        if before == kept:
            return False
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    head = f"{_HEAD} {source}: edit that one, since this one is written anew. {_digest(kept)}\n" if source else ""
    draft.write_text(head + yaml.safe_dump(kept, sort_keys=False, allow_unicode=True))
    os.replace(draft, path)
    return True


_HEAD = "# Made by the sandbox out of"


def edited_in_place(path: Path) -> bool:
    """Whether somebody has changed a generated file itself, such as by `pulumi config set`."""
    first = path.read_text().partition("\n")[0] if path.exists() else ""
    return first.startswith(_HEAD) and first.split()[-1] != _digest(read(path))


def _digest(document: Document) -> str:
    """Of what the sandbox itself writes."""
    config = {key: value for key, value in _mapping(document.get("config")).items() if key != RELEASE}
    own = {**{key: value for key, value in document.items() if key != SALT}, "config": config}
    return hashlib.sha256(json.dumps(own, sort_keys=True, default=str).encode()).hexdigest()
