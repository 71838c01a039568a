"""Finds or makes the tools, in this order: what is on PATH, the official release, the Go modules and our stand-ins.

Everything made here lives in the cache, outside the tree:

    cli-<version>/       the engine's CLI, built from Go modules
    actionlint-<version>/  likewise, for `make workflows`
    official-<version>/  the official installer's folder
    home/                PULUMI_HOME of official plug-ins installed here
    uv/                  the Makefile's uv alone: beside it in its environment lies a Python
    bin-<hash>/          what goes on PATH for one environment: the CLI and the stand-ins that run in it
    refused.json         when the release server last did not answer

Several processes may call `ensure` at once: one works, the others wait and then find its result.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from deployment.errors import IbgwError
from sandbox.locks import locked
from sandbox.toolchain import modules, release

Say = Callable[[str], None]

# The engine's version is the Python SDK's, and each plug-in's is that of its SDK: pyproject.toml pins them.
ENGINE_VERSION = version("pulumi")
PLUGIN_VERSIONS = {name: version(f"pulumi-{name}") for name in ("docker", "aws")}

_LANGUAGE_HOST = "pulumi-language-python"

VARIABLE = "IBGW_SANDBOX"
"""In the environment of a sandbox: its folder. Its `bin`, first on PATH, holds a `pulumi` that calls the engine."""


@dataclass(frozen=True)
class Toolchain:
    """`path`: folders to put in front of PATH. `embedded`: which of pulumi, language, docker, aws are not official."""

    path: tuple[Path, ...]
    embedded: tuple[str, ...]


def default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ibgw" / "toolchain"


def ensure(cache: Path, say: Say) -> Toolchain:
    """The tools, made now if need be: within a second if they are there, about ten minutes if they must be built.

    `say` gets a line for each step. Raises IbgwError with what to do when there is no way to get the engine.
    """
    with locked(cache / "lock"):
        return _ensure(cache, say)


def ensure_actionlint(cache: Path, say: Say) -> Path:
    """The executable, built now if need be. Raises IbgwError when it cannot be built."""
    with locked(cache / "lock"):
        return modules.build_actionlint(cache, say)


def _ensure(cache: Path, say: Say) -> Toolchain:
    server = release.Server(cache / "refused.json")
    path: list[Path] = []
    embedded: list[str] = []
    links: dict[str, Path] = {}

    cli = _find("pulumi", cache)
    if cli is not None:
        say(f"pulumi: {cli}, found on PATH")
    elif (cli := server.install_cli(cache / f"official-{ENGINE_VERSION}", ENGINE_VERSION, say)) is not None:
        path.append(cli.parent)
    else:
        cli = modules.build_cli(cache / f"cli-{ENGINE_VERSION}", ENGINE_VERSION, say)
        links["pulumi"] = cli
        embedded.append("pulumi")

    beside = cli.parent / _LANGUAGE_HOST
    if not (beside.exists() or _find(_LANGUAGE_HOST, cache)):
        embedded.append("language")

    for name, plugin_version in PLUGIN_VERSIONS.items():
        if _find(f"pulumi-resource-{name}", cache):
            continue
        folder = server.install_plugin(cli, cache / "home", name, plugin_version, say)
        if folder is None:
            embedded.append(name)
        else:
            path.append(folder)

    if (uv := _uv_folder(cache)) is not None:
        path.append(uv)

    if embedded:
        stand_ins = tuple(name for name in embedded if name != "pulumi")
        path.insert(0, _bin_folder(cache, links, stand_ins))
        say(f"{', '.join(embedded)}: built or simulated here, which is all that a sandbox needs")
    return Toolchain(tuple(path), tuple(embedded))


def enter_plugins(found: Toolchain, home: Path) -> dict[str, str]:
    """Enters the stand-ins as installed plug-ins of a PULUMI_HOME; returns the environment that goes with it.

    The engine finds them on PATH too, and warns of each at every command. It can be told to ignore PATH only for all
    plug-ins at once, so where one of the two is official and on PATH, the warnings stay.
    """
    names = [name for name in PLUGIN_VERSIONS if name in found.embedded]
    for name in names:
        target = found.path[0] / _executable(name)
        link = home / "plugins" / f"resource-{name}-v{PLUGIN_VERSIONS[name]}" / target.name
        if not link.is_symlink() or link.readlink() != target:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    return {"PULUMI_IGNORE_AMBIENT_PLUGINS": "true"} if len(names) == len(PLUGIN_VERSIONS) else {}


def _uv_folder(cache: Path) -> Path | None:
    """A folder for PATH that holds the pinned uv that the Makefile has installed; None where only PATH has one. Raises
    IbgwError where neither has.

    Pulumi's Python language host runs `uv` from PATH for every project with `toolchain: uv`.
    """
    folder, own = cache / "uv", cache.parent / "uv" / "bin"
    if not (own / "uv").exists():
        if _find("uv", cache) is not None:
            return None
        raise IbgwError(
            "uv is not on PATH, and Pulumi's Python language host needs it there (toolchain: uv in Pulumi.yaml): "
            "install it (https://docs.astral.sh/uv/), or run `make environment`, which installs one for this project"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("uv", "uvx"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(own / name)
    return folder


def search_path() -> list[str]:
    """PATH, without the commands of the sandbox that this shell works on."""
    own = os.path.join(os.environ.get(VARIABLE, ""), "bin")
    return [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder and folder != own]


def _find(name: str, cache: Path) -> Path | None:
    """The executable on PATH, without what this module made itself."""
    folders = [folder for folder in search_path() if not Path(folder).is_relative_to(cache)]
    found = shutil.which(name, path=os.pathsep.join(folders))
    return Path(found) if found else None


def _bin_folder(cache: Path, links: dict[str, Path], stand_ins: tuple[str, ...]) -> Path:
    """A folder with the executables of this environment, complete or not there at all.

    The CLI is a hard link beside the language host, because that is where it looks for it without a warning. A second
    clone of the project has its own folder: the stand-ins run in the environment that this process runs in.
    """
    scripts = {_executable(name): _script(name) for name in stand_ins}
    identity = "\n".join([*map(str, links.items()), *(f"{name}\n{text}" for name, text in sorted(scripts.items()))])
    folder = cache / f"bin-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for name, target in links.items():
        os.link(target, unfinished / name)
    for name, text in scripts.items():
        script = unfinished / name
        script.write_text(text)
        script.chmod(0o755)
    unfinished.rename(folder)
    return folder


def _executable(name: str) -> str:
    return _LANGUAGE_HOST if name == "language" else f"pulumi-resource-{name}"


def _script(name: str) -> str:
    """`-P` keeps the program's folder, where the engine starts a plug-in, out of the module path. A program gets first
    the path that whoever started the engine has set, as from the official language host."""
    tree = Path(__file__).parents[2]
    path = f"${{PYTHONPATH:+$PYTHONPATH:}}{tree}" if name == "language" else tree
    return f'#!/bin/sh\nPYTHONPATH="{path}" exec "{sys.executable}" -P -m sandbox.plugins.{name} "$@"\n'
