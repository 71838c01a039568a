"""Two stacks in one project, as a promotion needs them, on a sandbox; and images and programs that differ.

The project's repository has the program in it, a copy of the checkout's, since a release names the commit of both.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
import yaml

from operations.promotion.checkout import DEPLOYED
from sandbox import images
from sandbox.environment import ROOT, Sandbox
from tests.engine.conftest import Completed, Tools
from tests.engine.docker_proxy import Call, DockerProxy, Moment
from tests.engine.stacks import StackUnderTest, not_now
from tests.helpers import git

PATIENCE = 240
"""Seconds for an update to come to a chosen call."""
COMMENT = "# What a person wrote into live's file stays there."
VERIFICATION = {"timeout": "40s"}

# Of each image, by its tag, what its Dockerfile adds to the sandbox's gateway.
FIRST, SECOND, BROKEN = "10.45.1k", "10.45.1l", "10.45.1m"
ADDED = {
    FIRST: "",
    SECOND: "",
    # Comes up on paper and ends at once on live.
    BROKEN: "RUN sed -i '2i [ \"$TRADING_MODE\" != live ] || exit 1' /home/ibgateway/scripts/run.sh",
}

# At the end of infra/components/parts.py: the gateway's first process ends at once, on live alone.
FAILING = """

class _FirstProcessFailsOnLive(docker.Container):
    def __init__(self, *names, command=None, **inputs):
        if "entrypoints" not in inputs:
            script = '[ "$TRADING_MODE" != live ] || exit 1; exec "$@"'
            command = ["bash", "-c", script, "-", *command]
        super().__init__(*names, command=command, **inputs)


class _Docker:
    Container = _FirstProcessFailsOnLive

    def __getattr__(self, name):
        return getattr(_docker, name)


_docker, docker = docker, _Docker()
"""


@dataclass(frozen=True)
class PaperAndLive:
    """Two stacks of one project."""

    paper: StackUnderTest
    live: StackUnderTest
    proxy: DockerProxy
    """What live's Docker is reached through."""

    @property
    def folder(self) -> Path:
        return self.paper.stack.folder

    def promote(self, line: str, code: int, *, yes: bool = True) -> Completed:
        typed = f"--yes {self.live.name}" if yes else ""
        return self.live.ibgw(f"promote --from {self.paper.name} --to {self.live.name} --soak 0s {typed} {line}", code)

    def promotion_of(self, version: str) -> str:
        """The words for `ibgw` that deploy a prepared release."""
        return f"promote --to {self.live.name} --release {self.release(version)} --yes {self.live.name}"

    def releases(self) -> list[dict[str, Any]]:
        """Newest first."""
        found: list[dict[str, Any]] = json.loads(self.live.ibgw(f"releases --stack {self.live.name} --json", 0).stdout)[
            "releases"
        ]
        return found

    def release(self, version: str) -> str:
        """The latest that live has run; else the latest."""
        run_first = sorted(self.releases(), key=lambda one: one["deployed"] is None)
        return next(str(one["id"]) for one in run_first if one["version"] == version)

    @property
    def named(self) -> str | None:
        """What live's file names."""
        found = yaml.safe_load((self.folder / f"Pulumi.{self.live.name}.yaml").read_text())["config"].get(
            "ibgw:release"
        )
        return None if found is None else str(found)

    def journal(self) -> dict[str, Any] | None:
        path = self.folder / ".ibgw" / f"promotion-{self.live.name}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def version_on_live(self) -> str:
        """The tag of the image that runs."""
        image = self.live.client.images.get(self.live.container()["Image"])
        return str(image.labels["variant"])

    def commit(self) -> None:
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-qm", "a change")

    def paper_runs(self, version: str, **changes: Any) -> None:
        reference = f"{self.paper.sandbox.gateway_image.partition('@')[0]}:{version}"
        self.paper.tools.project(self.paper.name, verifier=VERIFICATION, image=reference, **changes)
        own_program(self.folder)
        self.commit()
        self.paper.up()

    @contextmanager
    def costs(self, *, logins: int) -> Iterator[None]:
        """So many logins of live, and nothing at all of paper."""
        live, paper = self.live.counted(), self.paper.counted()
        container = self.paper.container()["Id"]
        yield
        after = self.live.counted()
        assert after["logins"] - live["logins"] == logins
        assert after["orders"] == after["what_ifs"] == 0
        assert self.paper.counted()["attempts"] == paper["attempts"]
        assert self.paper.container()["Id"] == container

    @contextmanager
    def program(self, addition: str) -> Iterator[None]:
        """The program with this at the end of the gateway's component; afterwards the one before."""
        file = self.folder / "infra" / "components" / "parts.py"
        before = file.read_text()
        file.write_text(before + addition)
        try:
            yield
        finally:
            file.write_text(before)
            self.commit()


def copy_program(folder: Path) -> None:
    """What an update runs, as far as git knows it."""
    files = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--", *DEPLOYED, ".dockerignore", "pyproject.toml"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, files.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name != "Pulumi.yaml":
            shutil.copy(ROOT / name, folder / name)


def own_program(folder: Path) -> None:
    """Has the project run the program beside it."""
    file = folder / "Pulumi.yaml"
    document = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**document, "main": "infra/"}, sort_keys=False))


def worktrees(folder: Path) -> list[str]:
    """Beside the repository's own."""
    done = subprocess.run(["git", "-C", str(folder), "worktree", "list"], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[1:]


def build(sandbox: Sandbox, client: docker.DockerClient, version: str) -> None:
    """Builds the image and pushes it to the sandbox's registry."""
    repository = sandbox.gateway_image.partition("@")[0]
    dockerfile = f"FROM {sandbox.gateway_image}\nLABEL variant={version}\n{ADDED[version]}\n"
    context = {"Dockerfile": images.ContextFile(dockerfile.encode())}
    images.build(client, context, reference=f"{repository}:{version}", prefix=sandbox.prefix, arguments={})
    for line in client.api.push(repository, tag=version, stream=True, decode=True):
        assert "error" not in line, line


@contextmanager
def promotions(tools: Tools, name: str) -> Iterator[PaperAndLive]:
    """The stacks `paper-NAME` and `live-NAME`: paper runs FIRST, live nothing yet; each stack's file is committed."""
    for version in ADDED:
        build(tools.sandbox, tools.client, version)
    paper_name, live_name = f"paper-{name}", f"live-{name}"
    paper = tools.project(paper_name)
    # A short path: the address of a Unix socket has room for 107 bytes (unix(7)).
    with tempfile.TemporaryDirectory(prefix="ibgw-") as folder, DockerProxy(Path(folder) / "docker.sock") as proxy:
        live = tools.project(
            live_name,
            beside=paper_name,
            verifier=VERIFICATION,
            tradingHours=not_now(),
            dockerHost=proxy.url,
        )
        environment = {"PYTHONPATH": str(paper.folder)}
        paper, live = (replace(one, env={**one.env, **environment}) for one in (paper, live))
        copy_program(paper.folder)
        made = PaperAndLive(StackUnderTest(tools, paper), StackUnderTest(tools, live), proxy)
        file = made.folder / f"Pulumi.{live_name}.yaml"
        file.write_text(f"{COMMENT}\n{file.read_text()}")
        (made.folder / ".gitignore").write_text(".ibgw/\n__pycache__/\n")
        git(made.folder, "init", "--quiet")
        git(made.folder, "config", "user.email", "trader@example.com")
        git(made.folder, "config", "user.name", "A Trader")
        made.paper_runs(FIRST)
        yield made
        made.paper.leave()
        made.live.leave()


def recover(pair: PaperAndLive, *, allowed: set[str]) -> None:
    """Runs the command that is named until nothing is under way; then live runs one of `allowed`, verified."""
    for _ in range(3):
        if pair.journal() is None:
            break
        listed = pair.live.ibgw(f"releases --stack {pair.live.name}").stdout
        assert f"Next: ibgw promote --continue --to {pair.live.name}" in listed
        done = pair.live.ibgw(f"promote --continue --to {pair.live.name}", None)
        assert done.returncode in (0, 6, 10), done.stdout + done.stderr
    assert pair.journal() is None
    pair.live.ibgw(f"verify --stack {pair.live.name} --wait 60s")
    version = pair.version_on_live()
    assert version in allowed
    assert pair.named == pair.release(version)


def starts(pair: PaperAndLive) -> Callable[[Call], bool]:
    def matches(call: Call) -> bool:
        _, collection, container, *rest = [*call.path.split("/"), "", "", ""]
        if (call.method, collection, rest[:1]) != ("POST", "containers", ["start"]):
            return False
        return bool(pair.live.client.containers.get(container).name == f"{pair.live.base}-main")

    return matches


def creates(pair: PaperAndLive) -> Callable[[Call], bool]:
    wanted = f"name={pair.live.base}-main"
    return lambda call: call.path == "/containers/create" and call.query == wanted


CALLS = {"create": creates, "start": starts}
"""By name, the calls that an update makes to Docker for live's gateway."""


def kill_in_the_update(pair: PaperAndLive, call: str, moment: Moment, version: str) -> None:
    """Promotes, and kills the promotion with its engine and plug-ins before or after a call to Docker."""
    process: list[subprocess.Popen[bytes]] = []
    pair.proxy.step_in(moment, CALLS[call](pair), lambda: os.killpg(process[0].pid, signal.SIGKILL))
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_"))}
    process.append(
        subprocess.Popen(
            ["ibgw", *pair.promotion_of(version).split()],
            env=ours | dict(pair.live.stack.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    )
    assert process[0].wait(timeout=PATIENCE) == -signal.SIGKILL
    found = pair.journal()
    assert found is not None
    assert found["phase"] == "deploying"
