"""No credential is anywhere but where it belongs, whatever is done to a stack, and whatever fails.

The tests go through one story, in the order in which they stand: deployed at every verbosity that the documents allow,
rotated, rotated in vain, refused, refreshed, destroyed. Meanwhile all processes of the machine are watched; after each
step every place is looked at where something of it may be left.
"""

import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from docker.errors import NotFound

from sandbox.environment import ROOT
from sandbox.secrets_manager import Content
from tests.engine.conftest import Tools
from tests.engine.stacks import UP
from tests.engine.test_credentials_rotation import Rotated
from tests.leaks import Scanner

STACK = "paper-no-leak"
# Of this run: the repository is looked through as well.
OWN = secrets.token_hex(4)
NEW, WRONG = f"n3w-{OWN} Grü$e/+<&'\"\\x", f'wr0ng {OWN} é€"\\%'
SAYING = ("plan", "drift", "status --json", "logs", "logs --known", "env", "doctor --json", "field-report")
pytestmark = pytest.mark.exhaustive


class Story(Rotated):
    """`done` runs a step and looks everywhere."""

    @property
    def temporary(self) -> Path:
        return Path(self.stack.env["TMPDIR"])

    @property
    def scanner(self) -> Scanner:
        known = [found for found in self.sandbox.credentials() if found.user_id == self.user()]
        return Scanner(*{value for found in known for value in (found.password, found.user_id)}, NEW, WRONG)

    def done(self, *lines: str, code: int | None = 0) -> None:
        """Each of these commands, and what it says. `code`: what it has to end with; None for anything."""
        for line in lines:
            with self.scanner.watching() as watch:
                done = self.tools.run(["bash", "-c", line], stack=self.stack, check=False)
            self.scanner.check({f"what `{line}` says": done.stdout + done.stderr})
            assert code in (None, done.returncode), f"{line}\n{done.stdout}\n{done.stderr}"
            assert watch.looks >= 1
        self.look_everywhere()

    def look_everywhere(self) -> None:
        scanner, api = self.scanner, cast(Any, self.client.api)
        mine = {"label": [f"ibgw.stack={self.name}"]}
        containers = api.containers(all=True, filters=mine)
        for container in containers:
            scanner.check(
                {
                    "inspect of a container": str(api.inspect_container(container["Id"])),
                    "log of a container": api.logs(container["Id"]),
                    "changes in a container": str(api.diff(container["Id"])),
                }
            )
        for network in api.networks(filters=mine):
            scanner.check({"inspect of a network": str(api.inspect_network(network["Id"]))})
        scanner.check({"volumes": str(api.volumes(filters=mine))})
        for image in api.images():
            # Other tests' come and go.
            try:
                said = str(api.inspect_image(image["Id"])) + str(api.history(image["Id"]))
            except NotFound:
                continue
            scanner.check({"an image and its history": said})
        scanner.check_processes()
        vault = (self.sandbox.folder / "secrets.json", self.sandbox.folder / "users.json")
        assert scanner.check_files(self.sandbox.folder, self.temporary, besides=vault) > 20
        scanner.check_files(Path.home() / ".pulumi", besides=(Path.home() / ".pulumi" / "plugins",))
        tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
        scanner.check({file: (ROOT / file).read_bytes() for file in tracked.stdout.splitlines()})


@pytest.fixture(scope="module")
def story(tools: Tools) -> Iterator[Story]:
    with tempfile.TemporaryDirectory() as temporary:
        stack = tools.project(STACK, verifier={"timeout": "30s"})
        made = Story(tools, replace(stack, env={**stack.env, "TMPDIR": temporary}))
        try:
            yield made
        finally:
            made.destroy(check=False)


def test_deployed_at_the_loudest(story: Story) -> None:
    story.done("pulumi preview --diff -v=8", f"pulumi {' '.join(UP)} -v=8")
    assert list(story.temporary.glob("pulumi*")), "the engine wrote no log: nothing was proved"


def test_what_shows_a_stack(story: Story) -> None:
    story.done(
        "pulumi stack export",
        "pulumi stack output --json",
        "pulumi stack --show-urns --show-ids",
        "pulumi stack history --json",
        "pulumi config --json",
        "pulumi preview --json --show-sames --show-reads",
        "pulumi preview --diff --show-config --show-replacement-steps --show-reads --show-sames",
        *(f"pulumi {' '.join(UP)} -v={level}" for level in range(1, 8)),
    )


def test_what_ibgw_says(story: Story) -> None:
    formats = [f"ibgw verify {STACK} --format {name}" for name in ("human", "json", "junit", "prometheus")]
    story.done(
        *formats,
        *(
            f"ibgw {words} --stack {STACK}"
            for words in ("plan", "drift", "status --json", "logs", "logs --known", "env")
        ),
        f"ibgw doctor --stack {STACK} --json",
        f"ibgw field-report --stack {STACK}",
        f"ibgw credentials check {STACK}",
        f"ibgw credentials show {STACK} --json",
    )


def test_rotated_in_vain(story: Story) -> None:
    with story.scanner.watching():
        assert story.rotate(WRONG, 3)["result"] == "taken_back"
    story.look_everywhere()


def test_rotated(story: Story) -> None:
    story.change_at_the_broker(NEW)
    with story.scanner.watching():
        assert story.rotate(NEW, 0)["result"] == "rotated"
    story.look_everywhere()


@pytest.mark.parametrize("content", [Content.NO_JSON, Content.WRONG_MODE, Content.WRONG_PASSWORD])
def test_what_is_refused_and_what_is_rejected(story: Story, content: Content) -> None:
    story.sandbox.put_secret(STACK, "main", content)
    story.done(
        f"pulumi {' '.join(UP)} -v=8",
        f"ibgw plan --stack {STACK}",
        f"ibgw credentials check {STACK}",
        f"ibgw verify {STACK} --wait 0s",
        f"ibgw logs --stack {STACK}",
        code=None,
    )


def test_refreshed_and_destroyed(story: Story) -> None:
    story.sandbox.put_secret(STACK, "main", Content.NEW_PASSWORD)
    story.done(
        f"pulumi {' '.join(UP)} --refresh",
        "pulumi refresh --yes --diff -v=8",
        "pulumi destroy --yes --diff -v=8",
        "pulumi stack export",
    )
