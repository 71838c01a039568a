"""What this machine knows of the project's stacks, out of files alone: quick, and nobody is asked.

For the default stack and for completion. What is known here may be out of date; whoever uses a name finds out.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from deployment.errors import IbgwError
from deployment.names import PROJECT
from deployment.paths import RELEASES, find_project, kept_file

PULUMI_STACK = "PULUMI_STACK"
"""Pulumi's own variable for the stack that it uses without `--stack`."""


class Default(NamedTuple):
    """The stack that a command without `--stack` looks at, and who chose it."""

    stack: str
    by: str


def stacks() -> list[str]:
    """Those that have a file in the project."""
    project = find_project()
    if project is None:
        return []
    return sorted(file.name[len("Pulumi.") : -len(".yaml")] for file in project.glob("Pulumi.*.yaml"))


def gateways(stack: str) -> list[str]:
    """As deployed last, else as configured; none where neither is known."""
    return sorted(_gateways(stack))


def clients(stack: str) -> list[str]:
    """The containers that are declared as clients of its gateways, as `gateways` knows them."""
    try:
        declared = [client for gateway in _gateways(stack).values() for client in gateway.get("clients", ())]
        return sorted({str(client["container"]) for client in declared if client.get("container")})
    except (AttributeError, TypeError):
        return []


def _gateways(stack: str) -> dict[str, Any]:
    project = find_project()
    if project is None:
        return {}
    deployed: dict[str, Any] | None = _read(kept_file(project, stack)).get("gateways")
    return deployed or _configured(project / f"Pulumi.{stack}.yaml")


def _configured(file: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))["config"]
        document: Mapping[str, Any] = {key.removeprefix(f"{PROJECT}:"): value for key, value in config.items()}
        if "gatewaysFile" in document or "gatewayDefaults" in document:
            # Here, since who completes a word waits.
            from infra.gateways import gather

            document = gather(document, file.parent).document
        found: dict[str, Any] = document["gateways"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError, IbgwError):
        return {}
    return found


def releases() -> list[str]:
    """Newest first."""
    project = find_project()
    return sorted((file.stem for file in (project / RELEASES).glob("*.json")), reverse=True) if project else []


def default_stack() -> Default | None:
    """As the Pulumi CLI chooses it: by its variable, then by what `pulumi stack select` left."""
    if named := os.environ.get(PULUMI_STACK):
        return Default(_short(named), PULUMI_STACK)
    project = find_project()
    if project is not None and (selected := _selected(project)):
        return Default(_short(selected), "pulumi stack select")
    return None


def _short(stack: str) -> str:
    """Without the organization and the project that may stand before it."""
    return stack.rpartition("/")[2]


def _selected(project: Path) -> str | None:
    """Out of the CLI's file for a project folder, which has one stack for each backend (sdk/go/common/workspace)."""
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    # The CLI takes the folder as the shell calls it, which may be a link.
    called = Path(os.environ.get("PWD", project))
    folders = {project, *(folder for folder in (called, *called.parents) if folder.resolve() == project)}
    files = (
        file
        for folder in folders
        for file in (home / "workspaces").glob(f"*-{_sha1(folder / 'Pulumi.yaml')}-workspace.json")
    )
    for file in files:
        settings = _read(file)
        by_backend: dict[str, str] = settings.get("stacks") or {}
        backend = os.environ.get("PULUMI_BACKEND_URL") or _read(home / "credentials.json").get("current")
        if backend in by_backend:
            return by_backend[backend]
        # Pulumi.yaml may name the backend, and an older CLI keeps one stack for all of them.
        names = set(by_backend.values())
        return names.pop() if len(names) == 1 else settings.get("stack")
    return None


def _sha1(path: Path) -> str:
    return hashlib.sha1(str(path).encode(), usedforsecurity=False).hexdigest()


def _read(file: Path) -> dict[str, Any]:
    """Empty for a file that is not there or holds something else: then nothing is selected."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
