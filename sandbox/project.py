"""The sandbox's own Pulumi project folder: the tracked files with what must differ replaced, and nothing else.

Pulumi writes into the stack files that it uses (`encryptionsalt`), so it never gets the tracked ones. Everything here
is a pure function over the files' contents, but for `write`.
"""

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from deployment.description import Mode, SecondFactor
from sandbox.secrets_manager import Login

PROJECT_FILE = "Pulumi.yaml"
SALT = "encryptionsalt"
RELEASE = "ibgw:release"
STACKS = ("paper", "live")
PLACEHOLDER = "U0000000"
"""The account in the tracked live file, which a person replaces by the user's own."""

Document = dict[str, Any]


def stack_file(stack: str) -> str:
    return f"Pulumi.{stack}.yaml"


def read(path: Path) -> Document:
    found = yaml.safe_load(path.read_text())
    if not isinstance(found, dict):
        raise TypeError(f"{path} holds no mapping")
    return found


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
    config = changed["config"]
    config["ibgw:dockerHost"] = docker_host
    config["ibgw:namePrefix"] = prefix
    config["ibgw:verifier"]["baseImage"] = base_image
    if "ibgw:image" in config:
        config["ibgw:image"] = image
    if pool is not None:
        config["ibgw:network"]["subnetPool"] = pool
    return changed


def override(document: Document, changes: Mapping[str, Any]) -> Document:
    """`changes` to the `ibgw` keys, laid over the stack file: mappings are merged, everything else replaced, and None
    takes a key out. A gateway that the file does not have starts as a copy of `main`, with a secret of its own."""
    changed = copy.deepcopy(document)
    config = changed["config"]
    gateways = config["ibgw:gateways"]
    for name in changes.get("gateways", {}):
        if name not in gateways:
            gateways[name] = copy.deepcopy(gateways["main"])
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
    """The users whom a stack file's gateways log in as."""
    config = document["config"]
    return [
        Login(
            secret_id=gateway["credentials"]["secretId"],
            region=config["aws:region"],
            mode=Mode(config["ibgw:mode"]),
            second_factor=SecondFactor(gateway.get("secondFactor", {}).get("method", SecondFactor.NONE)),
        )
        for gateway in config["ibgw:gateways"].values()
    ]


def write(path: Path, document: Document, *, source: str = "") -> bool:
    """Writes the file if its contents changed, and says whether. What was added to it stays: Pulumi's own key, and the
    release that a promotion names. `source`: the file to edit instead of this one, which its first line says."""
    kept = copy.deepcopy(document)
    if path.exists():
        before = read(path)
        if SALT in before:
            kept[SALT] = before[SALT]
        if RELEASE in before.get("config", {}):
            kept["config"].setdefault(RELEASE, before["config"][RELEASE])
        if before == kept:
            return False
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    head = f"# Made by the sandbox out of {source}: edit that one, since this one is written anew.\n" if source else ""
    draft.write_text(head + yaml.safe_dump(kept, sort_keys=False, allow_unicode=True))
    os.replace(draft, path)
    return True
