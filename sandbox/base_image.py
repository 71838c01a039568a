"""The image under the sandbox's gateway and verifier: Python 3.11 on Debian bookworm, with socat.

Pulled where a registry answers, else bootstrapped from the machine's own Debian mirror, which is kept as a tar file in
the cache. Either way a layer is put on top: the host's CA certificates and where its pip finds packages, so that a
build's `pip install` works wherever the host's does.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import docker
import requests
from docker.errors import APIError

from deployment.errors import IbgwError
from sandbox import images
from sandbox.docker_engine import SANDBOX_LABEL, connect
from sandbox.images import ContextFile
from sandbox.locks import locked
from sandbox.packages import find
from sandbox.processes import run
from sandbox.steps import Say

SUITE = "bookworm"
INCLUDED = ("ca-certificates", "python3", "python3-pip", "socat")
NOT_NEEDED = (
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/lib/python3.11/EXTERNALLY-MANAGED",
)
"""Removed from the bootstrapped system. The last one makes Debian's pip refuse to install, unlike `python:3.11`'s."""

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PULL_SILENCE_SECONDS = 15
"""How long a registry may say nothing at all before it counts as out of reach."""

PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")
"""What of the host's pip configuration makes sense in a container: no paths, which mean something else there."""

DOCKERFILE = f"""\
ARG ORIGIN
FROM ${{ORIGIN}}
COPY ca-certificates.crt {CERTIFICATES}
COPY pip.conf /etc/pip.conf
RUN command -v socat >/dev/null \\
    || {{ apt-get update && apt-get install -y --no-install-recommends ca-certificates socat \\
        && rm -rf /var/lib/apt/lists/*; }}
RUN python --version && pip --version
ENV LANG=C.UTF-8
CMD ["python3"]
"""


def ensure(address: str, *, upstream: str, prefix: str, cache: Path, say: Say) -> str:
    """The base image's name, `<prefix>-base:<hash>`; made if it is not there. `upstream` is what it stands in for."""
    client = connect(address)
    context = {
        "Dockerfile": ContextFile(DOCKERFILE.encode()),
        "ca-certificates.crt": ContextFile(certificates()),
        "pip.conf": ContextFile(pip_config(say).encode()),
    }
    reference = f"{prefix}-base:{images.digest(context, {})}"
    if not images.exists(client, reference):
        origin = f"{prefix}-origin:{SUITE}"
        if not images.exists(client, origin):
            _make_origin(client, address, upstream=upstream, origin=origin, prefix=prefix, cache=cache, say=say)
        say("adding this machine's certificates to the base image (a few seconds)")
        images.build(client, context, reference=reference, prefix=prefix, arguments={"ORIGIN": origin})
    return reference


def archive(cache: Path) -> Path:
    """Where the bootstrapped root file system is kept, named after what it is made from."""
    recipe = " ".join((SUITE, *INCLUDED, *NOT_NEEDED))
    return cache / f"base-{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.tar"


def _make_origin(
    client: docker.DockerClient,
    address: str,
    *,
    upstream: str,
    origin: str,
    prefix: str,
    cache: Path,
    say: Say,
) -> None:
    kept = archive(cache)
    with locked(kept.with_suffix(".lock")):
        if not kept.exists():
            if pull(client, address, upstream=upstream, name=origin, say=say):
                return
            bootstrap(kept, say)
    say("importing the root file system (5 to 15 s)")
    repository, _, tag = origin.partition(":")
    labelled = [f"LABEL {SANDBOX_LABEL}={prefix}"]
    client.api.import_image_from_file(str(kept), repository=repository, tag=tag, changes=labelled)


def pull(client: docker.DockerClient, address: str, *, upstream: str, name: str, say: Say) -> bool:
    """Pulls `upstream` under our own name; one that was there already stays. False when no registry answers."""
    found_before = images.exists(client, upstream)
    if not found_before:
        say(f"pulling {upstream} (half a minute, where its registry answers)")
        impatient = connect(address)
        impatient.api.timeout = PULL_SILENCE_SECONDS
        try:
            for line in impatient.api.pull(upstream, stream=True, decode=True):
                if "error" in line:
                    say(f"its registry does not give it: {line['error']}")
                    return False
        except (APIError, requests.exceptions.ConnectionError, requests.exceptions.ReadTimeout):
            say("its registry does not answer")
            return False
        finally:
            impatient.close()
    client.images.get(upstream).tag(name)
    if not found_before:
        client.images.remove(upstream, noprune=True)
    return True


def bootstrap(kept: Path, say: Say) -> None:
    """Makes the root file system with debootstrap and keeps it as a tar file. Needs root. Raises IbgwError."""
    if os.geteuid() != 0:
        raise IbgwError("debootstrap needs root; run as root, or where a registry gives the base image")
    say("bootstrapping Debian for the base image (1 to 4 minutes)")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ibgw-bootstrap-", dir=kept.parent) as folder:
        root = Path(folder) / "root"
        mirror = debian_mirror()
        run(
            [
                "debootstrap",
                "--variant=minbase",
                f"--include={','.join(INCLUDED)}",
                SUITE,
                str(root),
                *([mirror] if mirror else []),
            ],
            doing="bootstrapping Debian",
        )
        for path in NOT_NEEDED:
            found = root / path
            shutil.rmtree(found) if found.is_dir() else found.unlink(missing_ok=True)
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        say("packing it into the cache")
        draft = Path(folder) / "root.tar"
        run(["tar", "-C", str(root), "--numeric-owner", "-cf", str(draft), "."], doing="packing the base image")
        os.replace(draft, kept)


def debian_mirror() -> str | None:
    """The mirror that this machine's own apt uses, if it is a Debian's; None leaves the choice to debootstrap."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if release.get("ID", "").strip('"') != "debian" or find("apt-get") is None:
        return None
    targets = run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"],
        doing="asking apt for its mirror",
    )
    return mirror_of(targets, release.get("VERSION_CODENAME", SUITE).strip('"'))


def mirror_of(targets: str, codename: str) -> str | None:
    """`targets`: lines of a repository's address and its code name; the first with exactly this code name."""
    return next((line.split()[0] for line in targets.splitlines() if line.split()[1:] == [codename]), None)


def certificates() -> bytes:
    try:
        return CERTIFICATES.read_bytes()
    except FileNotFoundError as error:
        raise IbgwError(f"{CERTIFICATES} is missing; install the package ca-certificates") from error


def pip_config(say: Say) -> str:
    """What of the host's pip configuration, files and environment, holds in a container too, as a pip.conf."""
    pip = find("pip3") or find("pip")
    listed = ""
    if pip is not None:
        try:
            listed = run([pip, "config", "list"], doing="asking pip for its configuration")
        except IbgwError as error:
            say(f"{error}; builds use pip's defaults")
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    return render_pip_config(f"{listed}\nglobal.proxy='{proxy}'" if proxy else listed, say)


def render_pip_config(listed: str, say: Say) -> str:
    """`listed` is what `pip config list` prints: `global.index-url='https://...'`, and `:env:.index-url='...'` for what
    the environment says, which wins. An address with credentials in it is left out: an image can be read by many."""
    chosen: dict[str, str] = {}
    for line in sorted(listed.splitlines(), key=lambda line: not line.startswith(":env:")):
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2].removeprefix("default-")
        if name not in PIP_SETTINGS:
            continue
        words = value.strip("'\"").replace("\\n", " ").split()
        if any(urlsplit(word).password is not None or urlsplit(word).username is not None for word in words):
            say(f"pip's {name} holds credentials, so it is not copied into the base image")
            continue
        chosen.setdefault(name, " ".join(words))
    lines = [f"cert = {CERTIFICATES}", *(f"{name} = {value}" for name, value in sorted(chosen.items()))]
    return "\n".join(["[global]", *lines, ""])
