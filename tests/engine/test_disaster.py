"""The drills of docs/disaster.md: something is lost, and what is put back costs no login."""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployment.description import PASSWORD_FILE
from sandbox.broker.control import BrokerControl
from tests.documented import ACCOUNT, blocks
from tests.engine.conftest import Tools
from tests.engine.deployed import Deployed, packed
from tests.engine.docker_proxy import DockerProxy
from tests.engine.stacks import StackUnderTest
from tests.helpers import until
from tests.leaks import Scanner

STACK = "paper-lost"
UNCHANGED = ("attempts", "logins", "logouts", "sessions")


@pytest.fixture(scope="module")
def deployed(tools: Tools) -> Iterator[StackUnderTest]:
    stack = StackUnderTest(tools, tools.project(STACK))
    stack.up()
    yield stack
    stack.destroy()


def walk(stack: StackUnderTest, beginning: str, **instead: str) -> None:
    """Runs the block of docs/disaster.md that begins so, as it is printed, and all questions are agreed to. `red`
    beside a command is one that fails. `instead`: of what the reader has, what the sandbox has."""
    [block] = [block for block in blocks("docs/disaster.md") if block[0].text.startswith(beginning)]
    for command in block:
        if command.words[0][0] in ACCOUNT:
            continue
        text = re.sub(r"\bpaper\b", stack.name, command.text)
        for theirs, ours in instead.items():
            text = text.replace(theirs, ours)
        agreed = {"PULUMI_SKIP_CONFIRMATIONS": "true"}
        # Where Pulumi finds its project, files are looked for as well.
        folder = Path(stack.stack.env["PULUMI_OPTION_CWD"])
        done = stack.tools.run(["bash", "-c", text], stack=stack.stack, env=agreed, check=False, cwd=folder)
        assert (done.returncode != 0) is ("# red" in text), f"{text}\n{done.stdout}\n{done.stderr}"


def lose_state(stack: StackUnderTest) -> None:
    stack.pulumi("stack", "rm", "--force", "--yes", "--preserve-config")


def lose_volume(stack: StackUnderTest) -> None:
    gateway = f"{stack.base}-main"
    for name in (gateway, f"{gateway}-settings-owner"):
        stack.client.api.remove_container(name, force=True)
    stack.client.api.remove_volume(f"{gateway}-settings")


def changes(stack: StackUnderTest) -> dict[str, str]:
    """What an update would do, by the resource's name."""
    steps = json.loads(stack.pulumi("preview", "--json").stdout)["steps"]
    return {step["urn"].rpartition("::")[2]: step["op"] for step in steps if step["op"] != "same"}


@pytest.mark.exhaustive
def test_what_runs_is_taken_into_an_empty_state_without_a_login(deployed: StackUnderTest, scanner: Scanner) -> None:
    before, container = deployed.counted(), deployed.container()["Id"]
    lose_state(deployed)
    deployed.pulumi("stack", "init")
    # What comes to mind first touches nothing, and leaves a state that knows a part.
    assert deployed.up(check=False).returncode != 0

    done = deployed.ibgw(f"repair --stack {STACK} --yes --json")
    assert [one["action"] for one in json.loads(done.stdout)["done"]] == ["adopt"]
    exported = json.dumps(deployed.export())
    scanner.check({"state and what was said": exported + done.stdout + done.stderr})

    # That first update has built the verifier's image. Without it, that is what the next one does.
    assert changes(deployed) == {}
    deployed.up()
    deployed.pulumi("preview", "--expect-no-changes")
    deployed.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    assert json.loads(deployed.ibgw(f"drift {STACK} --json").stdout)["differences"] == []
    assert deployed.container()["Id"] == container
    after = deployed.counted()
    assert {name: after[name] for name in UNCHANGED} == {name: before[name] for name in UNCHANGED}


@pytest.mark.exhaustive
def test_what_is_otherwise_than_declared_is_not_taken_in(deployed: StackUnderTest, broker: BrokerControl) -> None:
    """Another setting than the container has, and then files that only the engine can compare."""
    before, container = deployed.counted(), deployed.container()["Id"]
    lose_state(deployed)
    deployed.pulumi("stack", "init")
    heap = "ibgw:gateways.main.resources.javaHeap"
    deployed.pulumi("config", "set", "--path", heap, "700")
    refused = deployed.ibgw(f"repair --stack {STACK} --yes", 7)
    assert "environment JAVA_HEAP_SIZE" in refused.stderr
    assert "docs/disaster.md" in refused.stderr
    deployed.pulumi("config", "rm", "--path", heap)

    password = Deployed(deployed.sandbox, STACK, deployed.client, broker).text_of(PASSWORD_FILE)
    deployed.client.api.put_archive(container, "/", packed({PASSWORD_FILE: "another"}, mode=0o444))
    refused = deployed.ibgw(f"repair --stack {STACK} --yes", 7)
    assert "the next update would replace it" in refused.stderr
    assert not deployed.export()["deployment"].get("resources")
    deployed.client.api.put_archive(container, "/", packed({PASSWORD_FILE: password}, mode=0o444))

    assert deployed.container()["Id"] == container
    assert deployed.counted() == before

    lose_state(deployed)
    walk(deployed, "pulumi stack init")
    assert deployed.container()["Id"] == container
    assert deployed.counted()["attempts"] == before["attempts"]


@pytest.mark.exhaustive
def test_a_state_that_is_lost_is_put_back_without_a_login(deployed: StackUnderTest) -> None:
    before, container = deployed.counted(), deployed.container()["Id"]
    lose_state(deployed)
    walk(deployed, "cp ", **{"~/": f"{deployed.stack.env['PULUMI_BACKEND_URL'].removeprefix('file://')}/"})
    assert json.loads(deployed.ibgw(f"repair --stack {STACK} --yes --json").stdout)["done"] == []
    deployed.up()
    assert deployed.container()["Id"] == container
    after = deployed.counted()
    assert {name: after[name] for name in UNCHANGED} == {name: before[name] for name in UNCHANGED}


@pytest.mark.exhaustive
def test_a_settings_volume_that_is_lost_starts_held(deployed: StackUnderTest, broker: BrokerControl) -> None:
    before = deployed.counted()
    lose_volume(deployed)
    walk(deployed, "ibgw repair")
    after = deployed.counted()
    assert (after["attempts"], after["logins"]) == (before["attempts"] + 1, before["logins"] + 1)

    before, gateway = after, f"{deployed.base}-main"
    lose_volume(deployed)
    done = json.loads(deployed.ibgw(f"repair --stack {STACK} --yes --json").stdout)["done"]
    assert {(one["action"], one["name"]) for one in done} == {
        ("forget", name) for name in (gateway, f"{gateway}-settings-owner", f"{gateway}-settings")
    }
    # Held until somebody says so, however often it is started.
    assert "ibgw login --again" in deployed.pulumi("preview").stdout
    assert deployed.up(check=False).returncode != 0
    deployed.client.api.restart(gateway)
    held = Deployed(deployed.sandbox, STACK, deployed.client, broker)
    held.until_status(hold="attempts", outcomes="volume_lost")
    waiting = deployed.counted()
    assert (waiting["attempts"], waiting["logins"]) == (before["attempts"], before["logins"])
    report = json.loads(deployed.ibgw(f"verify --stack {STACK} --wait 0s --json", None).stdout)
    assert "volume_lost" in json.dumps(report)

    # One attempt is granted, and not two.
    broker.scenario("wrong-password", deployed.user())
    deployed.ibgw(f"login --again --stack {STACK}")
    held.until_status(hold="attempts", outcomes="rejected")
    broker.clear(deployed.user())
    deployed.ibgw(f"login --again --stack {STACK}")
    held.until_logged_in()
    after = deployed.counted()
    assert (after["attempts"], after["logins"]) == (before["attempts"] + 2, before["logins"] + 1)
    deployed.up()


@pytest.mark.exhaustive
def test_a_settings_volume_that_is_filled_from_a_copy_starts_held(
    deployed: StackUnderTest, broker: BrokerControl
) -> None:
    """Over the one that is there, with owners and times kept, as a backup is put back."""
    before, gateway = deployed.counted(), f"{deployed.base}-main"
    deployed.ibgw(f"stop {STACK}")
    deployed.client.containers.run(
        deployed.sandbox.base_image,
        ["bash", "-ec", "cp -a /volume /tmp/copy; find /volume -mindepth 1 -delete; cp -a /tmp/copy/. /volume"],
        volumes={f"{gateway}-settings": {"bind": "/volume"}},
        network_mode="none",
        user="0",
        remove=True,
    )
    deployed.client.api.start(gateway)
    held = Deployed(deployed.sandbox, STACK, deployed.client, broker)
    held.until_status(hold="attempts", outcomes="volume_lost")
    assert deployed.counted()["attempts"] == before["attempts"]
    deployed.ibgw(f"login --again --stack {STACK}")
    held.until_logged_in()
    # It is asked once: the next start is an ordinary one.
    deployed.ibgw(f"restart {STACK}")
    held.until_logged_in()
    after = deployed.counted()
    assert (after["attempts"], after["logins"]) == (before["attempts"] + 2, before["logins"] + 2)


@pytest.mark.exhaustive
def test_a_host_that_is_lost_is_replaced_with_one_login(tools: Tools, broker: BrokerControl) -> None:
    """The old host is the sandbox's own behind an address that is closed, and what was on it is gone with it."""
    name = "paper-lost-host"
    with tempfile.TemporaryDirectory(prefix="ibgw-") as folder, DockerProxy(Path(folder) / "docker.sock") as old:
        stack = StackUnderTest(tools, tools.project(name, dockerHost=old.url))
        stack.up()
    lose_volume(stack)
    for network in (f"{stack.base}-main-api", f"{stack.base}-egress"):
        stack.client.api.remove_network(network)
    until(lambda: not stack.counted()["sessions"], "IBKR has seen the session end")
    before = stack.counted()

    moved = StackUnderTest(tools, tools.project(name))
    assert moved.up(check=False).returncode != 0
    assert moved.counted() == before
    # What was on the old host may still run: the new gateway waits for the operator's word that it does not.
    walk(moved, "pulumi stack export", **{"ssh://ibgw@new": "unix:///var/run/docker.sock"})
    after = moved.counted()
    assert (after["attempts"], after["logins"]) == (before["attempts"] + 1, before["logins"] + 1)

    # The old one returns, with what was on it: it meets the session, gives way and waits.
    new = Deployed(tools.sandbox, name, tools.client, broker)
    with new.twin(same_settings=False) as returned:
        returned.start()
        until(lambda: b"waiting: pause until" in returned.logs(), "the old gateway gives way")
        assert new.status()["phase"] == "logged_in"
        last = moved.counted()
        assert (last["attempts"], last["logins"]) == (after["attempts"] + 1, after["logins"])
        assert last["sessions"] == after["sessions"]
    moved.destroy()
