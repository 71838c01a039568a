"""Two stacks in one project, as a promotion needs them, on a sandbox; and images and programs that differ.

The project's repository has the program in it, a copy of the checkout's, since a release names the commit of both.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from operations.promotion.checkout import DEPLOYED
from sandbox import images
from sandbox.environment import ROOT, Sandbox, Stack
from tests.engine.conftest import Completed, Pulumi
from tests.engine.docker_proxy import Call, DockerProxy, Moment

UP = ["up", "--yes", "--skip-preview"]
PATIENCE = 240
"""Seconds for an update to come to a chosen call."""
COMMENT = "# What a person wrote into live's file stays there."
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
VERIFICATION = {"timeout": "40s"}

# Of each image, by its tag, what its Dockerfile adds to the sandbox's gateway.
FIRST, SECOND, BROKEN = "10.45.1k", "10.45.1l", "10.45.1m"
ADDED = {
    FIRST: "",
    SECOND: "",
    # Comes up on paper and ends at once on live.
    BROKEN: "RUN sed -i '2i [ \"$TRADING_MODE\" != live ] || exit 1' /home/ibgateway/scripts/run.sh",
}

# At the end of infra/components/gateway.py: the gateway's first process ends at once, on live alone.
FAILING = """

class _FirstProcessFailsOnLive(docker.Container):
    def __init__(self, *names, command=None, **inputs):
        words = command or ["/home/ibgateway/scripts/run.sh"]
        script = '[ "$TRADING_MODE" != live ] || exit 1; exec "$@"'
        super().__init__(*names, command=["bash", "-c", script, "-", *words], **inputs)


class _Docker:
    Container = _FirstProcessFailsOnLive

    def __getattr__(self, name):
        return getattr(_docker, name)


_docker, docker = docker, _Docker()
"""


@dataclass(frozen=True)
class World:
    paper: Stack
    live: Stack
    sandbox: Sandbox
    client: docker.DockerClient
    pulumi: Pulumi
    run: Callable[..., Completed]
    project: Callable[..., Stack]
    proxy: DockerProxy
    """What live's Docker is reached through."""

    @property
    def folder(self) -> Path:
        return self.paper.folder

    def ibgw(self, line: str, code: int) -> Completed:
        done = self.run(shlex.split(f"ibgw {line}"), stack=self.live, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def promote(self, line: str, code: int, *, yes: bool = True) -> Completed:
        typed = f"--yes {self.live.name}" if yes else ""
        return self.ibgw(f"promote --from {self.paper.name} --to {self.live.name} --soak 0s {typed} {line}", code)

    def promotion_of(self, version: str) -> str:
        """The words for `ibgw` that deploy a prepared release."""
        return f"promote --to {self.live.name} --release {self.release(version)} --yes {self.live.name}"

    def releases(self) -> list[dict[str, Any]]:
        """Newest first."""
        found: list[dict[str, Any]] = json.loads(self.ibgw(f"releases --stack {self.live.name} --json", 0).stdout)[
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

    def container(self, stack: str) -> dict[str, Any]:
        return dict(self.client.api.inspect_container(f"{self.sandbox.prefix}-{stack}-main"))

    def version_on(self, stack: str) -> str:
        """The tag of the image that runs."""
        image = self.client.images.get(self.container(stack)["Image"])
        return str(image.labels["variant"])

    def user(self, stack: str) -> str:
        return self.sandbox.user_of(stack, "main")

    def counted(self, stack: str) -> dict[str, Any]:
        found: dict[str, Any] = self.sandbox.broker().status()["users"][self.user(stack)]
        return found

    def commit(self) -> None:
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-qm", "a change")

    def paper_runs(self, version: str, **changes: Any) -> None:
        reference = f"{self.sandbox.gateway_image.partition('@')[0]}:{version}"
        self.project(self.paper.name, verifier=VERIFICATION, image=reference, **changes)
        own_program(self.folder)
        self.commit()
        self.pulumi(UP, stack=self.paper)

    @contextmanager
    def costs(self, *, logins: int) -> Iterator[None]:
        """So many logins of live, and nothing at all of paper."""
        live, paper = self.counted(self.live.name), self.counted(self.paper.name)
        container = self.container(self.paper.name)["Id"]
        yield
        assert self.counted(self.live.name)["logins"] - live["logins"] == logins
        assert self.counted(self.live.name)["orders"] == self.counted(self.live.name)["what_ifs"] == 0
        assert self.counted(self.paper.name)["attempts"] == paper["attempts"]
        assert self.container(self.paper.name)["Id"] == container

    @contextmanager
    def program(self, addition: str) -> Iterator[None]:
        """The program with this at the end of the gateway's component; afterwards the one before."""
        file = self.folder / "infra" / "components" / "gateway.py"
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


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


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
def promotions(request: pytest.FixtureRequest, name: str) -> Iterator[World]:
    """The stacks `paper-NAME` and `live-NAME`: paper runs FIRST, live nothing yet; each stack's file is committed."""
    fixtures = ("sandbox", "docker_client", "project", "pulumi", "run")
    sandbox, docker_client, project, pulumi, run = [request.getfixturevalue(one) for one in fixtures]
    for version in ADDED:
        build(sandbox, docker_client, version)
    paper_name, live_name = f"paper-{name}", f"live-{name}"
    paper = project(paper_name)
    # Trading hours that are not now, whatever the time zone.
    never = DAYS[(datetime.now(UTC) + timedelta(days=3)).weekday()]
    # A short path: the address of a Unix socket has room for 107 bytes (unix(7)).
    with tempfile.TemporaryDirectory(prefix="ibgw-") as folder, DockerProxy(Path(folder) / "docker.sock") as proxy:
        live = project(
            live_name,
            beside=paper_name,
            verifier=VERIFICATION,
            tradingHours={"days": [never]},
            dockerHost=proxy.url,
        )
        environment = {"PYTHONPATH": str(paper.folder)}
        paper, live = (replace(one, env={**one.env, **environment}) for one in (paper, live))
        copy_program(paper.folder)
        made = World(paper, live, sandbox, docker_client, pulumi, run, project, proxy)
        file = made.folder / f"Pulumi.{live_name}.yaml"
        file.write_text(f"{COMMENT}\n{file.read_text()}")
        (made.folder / ".gitignore").write_text(".ibgw/\n__pycache__/\n")
        git(made.folder, "init", "--quiet")
        git(made.folder, "config", "user.email", "trader@example.com")
        git(made.folder, "config", "user.name", "A Trader")
        made.paper_runs(FIRST)
        yield made
        for stack in (paper, live):
            pulumi(["destroy", "--yes", "--skip-preview"], stack=stack)


def recover(world: World, *, allowed: set[str]) -> None:
    """Runs the command that is named until nothing is under way; then live runs one of `allowed`, verified."""
    for _ in range(3):
        if world.journal() is None:
            break
        assert (
            f"Next: ibgw promote --continue --to {world.live.name}"
            in world.ibgw(f"releases --stack {world.live.name}", 0).stdout
        )
        done = world.run(["ibgw", "promote", "--continue", "--to", world.live.name], stack=world.live, check=False)
        assert done.returncode in (0, 6, 10), done.stdout + done.stderr
    assert world.journal() is None
    world.ibgw(f"verify --stack {world.live.name} --wait 60s", 0)
    version = world.version_on(world.live.name)
    assert version in allowed
    assert world.named == world.release(version)


def starts(world: World) -> Callable[[Call], bool]:
    def matches(call: Call) -> bool:
        _, collection, container, *rest = [*call.path.split("/"), "", "", ""]
        if (call.method, collection, rest[:1]) != ("POST", "containers", ["start"]):
            return False
        return bool(world.client.containers.get(container).name == f"{world.sandbox.prefix}-{world.live.name}-main")

    return matches


def creates(world: World) -> Callable[[Call], bool]:
    wanted = f"name={world.sandbox.prefix}-{world.live.name}-main"
    return lambda call: call.path == "/containers/create" and call.query == wanted


CALLS = {"create": creates, "start": starts}
"""By name, the calls that an update makes to Docker for live's gateway."""


def kill_in_the_update(world: World, call: str, moment: Moment, version: str) -> None:
    """Promotes, and kills the promotion with its engine and plug-ins before or after a call to Docker."""
    process: list[subprocess.Popen[bytes]] = []
    world.proxy.step_in(moment, CALLS[call](world), lambda: os.killpg(process[0].pid, signal.SIGKILL))
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_"))}
    process.append(
        subprocess.Popen(
            ["ibgw", *world.promotion_of(version).split()],
            env=ours | dict(world.live.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    )
    assert process[0].wait(timeout=PATIENCE) == -signal.SIGKILL
    found = world.journal()
    assert found is not None
    assert found["phase"] == "deploying"
