"""The plan of an identity that may list the versions of secrets and not read them: word for word that of one that may.

An update by it is refused before anything happens. The denial is the sandbox's Secrets Manager's own.
"""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
import pytest

from operations.promotion.command import values_unread
from sandbox.environment import Sandbox, Stack
from tests.engine import secret_versions
from tests.engine.conftest import Completed, Pulumi
from tests.leaks import Scanner

STACK = "paper-unread"
LISTING = {"AWS_ACCESS_KEY_ID": "sandbox-list-only"}
UP = ["up", "--yes", "--skip-preview"]


@pytest.fixture(scope="module")
def undeployed(project: Callable[..., Stack]) -> Stack:
    return project(STACK)


@pytest.fixture(scope="module")
def stack(undeployed: Stack, pulumi: Pulumi, leave: Callable[[Stack], None]) -> Iterator[Stack]:
    pulumi(UP, stack=undeployed)
    yield undeployed
    leave(undeployed)


@pytest.fixture
def plans(undeployed: Stack, run: Callable[..., Completed], scanner: Scanner) -> Callable[[], dict[str, Any]]:
    """The one plan that both identities get; fails where theirs differ, or show a credential."""

    def planned(env: Mapping[str, str]) -> Completed:
        return run(shlex.split(f"ibgw plan --stack {STACK} --json"), stack=undeployed, env=env)

    def both() -> dict[str, Any]:
        with ThreadPoolExecutor() as pool:
            full, listing = pool.map(planned, ({}, LISTING))
        assert listing.stdout == full.stdout
        assert "warning: not read, since this identity may not" in listing.stderr
        assert "not read" not in full.stderr
        scanner.check({"plan": listing.stdout + listing.stderr})
        found: dict[str, Any] = json.loads(full.stdout)
        return found

    return both


@pytest.fixture
def rotated(stack: Stack) -> Iterator[dict[str, str]]:
    with secret_versions.rotated(stack) as versions:
        yield versions


@pytest.mark.exhaustive
def test_a_stack_that_was_never_deployed(plans: Callable[[], dict[str, Any]]) -> None:
    [gateway] = plans()["gateways"]
    assert gateway["verdict"] == "create"


@pytest.mark.exhaustive
def test_no_change_and_a_changed_setting(
    stack: Stack, plans: Callable[[], dict[str, Any]], project: Callable[..., Stack]
) -> None:
    assert plans()["changes"] is False
    project(STACK, gateways={"main": {"resources": {"memory": 1600}}})
    [gateway] = plans()["gateways"]
    project(STACK)
    assert gateway["verdict"] == "in_place"
    assert [reason["setting"] for reason in gateway["reasons"]] == ["resources.memory"]


def test_a_new_version(plans: Callable[[], dict[str, Any]], rotated: dict[str, str]) -> None:
    [gateway] = plans()["gateways"]
    assert gateway["verdict"] == "relogin"
    assert [reason["setting"] for reason in gateway["reasons"]] == ["credentials: a new version of the secret"]
    assert gateway["secret_version"] == rotated


@pytest.mark.usefixtures("rotated")
def test_the_engine_s_own_preview_says_so_and_shows_no_credential(
    stack: Stack, pulumi: Pulumi, scanner: Scanner
) -> None:
    """The old values, which the engine takes from the state, stay secrets in all that it prints."""

    def preview(*how: str) -> str:
        done = pulumi(["preview", *how], stack=stack, env=LISTING)
        return done.stdout + done.stderr

    with ThreadPoolExecutor() as pool:
        shown = pool.submit(preview, "--diff"), pool.submit(preview, "--json", "--show-sames")
        said = "".join(one.result() for one in shown)
    assert "not read, since this identity may not" in said
    scanner.check({"preview": said})


@pytest.mark.parametrize(("env", "unread"), [pytest.param({}, False, marks=pytest.mark.exhaustive), (LISTING, True)])
def test_the_preview_tells_a_promotion_whether_the_values_were_read(
    stack: Stack, pulumi: Pulumi, env: Mapping[str, str], unread: bool
) -> None:
    preview = pulumi(["preview", "--json", "--show-sames"], stack=stack, env=env).stdout
    assert values_unread(preview) is unread


def test_an_update_is_refused_and_the_gateway_stays(
    stack: Stack, pulumi: Pulumi, sandbox: Sandbox, docker_client: docker.DockerClient
) -> None:
    def running() -> tuple[str, bool]:
        found = docker_client.api.inspect_container(f"{sandbox.prefix}-{STACK}-main")
        return found["Id"], found["State"]["Running"]

    state = sandbox.folder / "state" / ".pulumi" / "stacks" / "ibgw" / f"{STACK}.json"

    def recorded() -> set[tuple[str, str]]:
        resources = json.loads(state.read_text())["checkpoint"]["latest"]["resources"]
        return {(found["urn"], found["id"]) for found in resources if "docker:index" in found["type"]}

    before, resources = running(), recorded()
    done = pulumi(UP, stack=stack, check=False, env=LISTING)
    assert done.returncode != 0
    assert "access denied; allow secretsmanager:GetSecretValue" in done.stdout + done.stderr
    assert running() == before == (before[0], True)
    assert recorded() == resources
    assert len(resources) == 7
