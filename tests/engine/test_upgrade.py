"""From the commit before to this one on running gateways: what the plan says, what `ibgw rollout` costs, what is kept.

The commit before deploys by its own program, in a work tree of its own; the sandbox is today's. The tests go through
one story, in the order in which they stand.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployment import VERSION
from deployment.names import Names
from infra.spec import SUPERVISOR_PATH
from infra.supervisor import MAXIMUM_ATTEMPTS
from sandbox.environment import ROOT, Stack
from tests.engine.conftest import Tools
from tests.engine.stacks import UP, StackUnderTest


@dataclass(frozen=True)
class Upgrade:
    """`before`: the commit that has deployed. `logins`: what taking this version costs each gateway, 0 or 1.
    `new_settings`: of the tracked file, those that `before` refuses; `new_of_gateways`: of each of its gateways."""

    before: str
    logins: int = 0
    new_settings: Mapping[str, Any] = field(default_factory=dict)
    new_of_gateways: Mapping[str, Any] = field(default_factory=dict)


def with_older(added: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """What was added since a commit: since a later one, and between the two."""
    both = {key for key in {*added} & {*earlier} if earlier[key] is not None}
    within = {key: with_older(added[key], earlier[key]) for key in both}
    return {**added, **earlier, **within}


ADDED: dict[str, Any] = {"monitoring": {"enabled": False}}
ADDED_TO_GATEWAYS: dict[str, Any] = {}
"""Since the first row's commit: `{"session": {"newKey": None}}` takes a key out of what that commit deploys. It did not
watch a stack that does not ask for it."""
SINCE_FBAB89A = with_older(ADDED, {"monitoring": {"notify": None, "alertmanager": None}})
SINCE_81FE9C3 = with_older(SINCE_FBAB89A, {"monitoring": None})
GATEWAYS_SINCE_81FE9C3 = with_older(ADDED_TO_GATEWAYS, {"container": {"labels": None}})
SINCE_9416B3C = with_older(SINCE_81FE9C3, {"acceptHost": None})
GATEWAYS_SINCE_9416B3C = with_older(GATEWAYS_SINCE_81FE9C3, {"checks": {"accountAccess": None}})
GATEWAYS_SINCE_0_1_0 = with_older(GATEWAYS_SINCE_9416B3C, {"session": {"offline": None, "heal": None}})
# The first is what was last published. The next change adds the last commit before itself; what was, is exhaustive.
UPGRADES = [
    pytest.param(Upgrade("38ce034765fde3d8bfad98d973d9bed22a0226ac", 0, ADDED, ADDED_TO_GATEWAYS), id="38ce034"),
    pytest.param(
        Upgrade("fbab89a43098e5845dcf45ccb43a1efad6c12601", 0, SINCE_FBAB89A, ADDED_TO_GATEWAYS),
        id="fbab89a",
        marks=pytest.mark.exhaustive,
    ),
    pytest.param(
        Upgrade("81fe9c3c795c80ca3e6ac2481a72b5e56729a3bd", 0, SINCE_81FE9C3, GATEWAYS_SINCE_81FE9C3),
        id="81fe9c3",
        marks=pytest.mark.exhaustive,
    ),
    pytest.param(
        Upgrade("9416b3ced481071fb778d01c01ad563db00fc181", 0, SINCE_9416B3C, GATEWAYS_SINCE_9416B3C),
        id="9416b3c",
        marks=pytest.mark.exhaustive,
    ),
    pytest.param(
        Upgrade("833c0bd692fdfd59de29b4d079bb03fe57f76c4f", 1, SINCE_9416B3C, GATEWAYS_SINCE_0_1_0),
        id="0.1.0",
        marks=pytest.mark.exhaustive,
    ),
]

STACK = "paper-upgrade"
ASKED = ("main", "second")
"""IBC's command server is on in them at 0.1.0, since they restart themselves daily."""
MUTE = "third"
NAMES = (*ASKED, MUTE)
GATEWAYS: dict[str, dict[str, Any]] = {
    "main": {},
    "second": {},
    MUTE: {"session": {"autoRestart": None, "autoLogoff": "23:45", "coldRestart": None}},
}
SETTINGS_FOLDER = "/home/ibgateway/tws_settings"


@dataclass(frozen=True)
class UpgradedStack(StackUnderTest):
    upgrade: Upgrade

    def counts(self, what: str) -> dict[str, int]:
        return {name: int(self.counted(name)[what]) for name in NAMES}

    def containers(self) -> dict[str, str]:
        return self.ids(*NAMES)

    def volume(self, gateway: str) -> str:
        """The settings' name."""
        mounts = self.container(gateway)["Mounts"]
        [name] = [mount["Name"] for mount in mounts if mount["Destination"] == SETTINGS_FOLDER]
        return str(name)

    def inside(self, gateway: str, script: str) -> str:
        container = self.client.containers.get(self.containers()[gateway])
        code, output = container.exec_run(["bash", "-c", script])
        assert code == 0, output
        assert isinstance(output, bytes)
        return output.decode().strip()

    def log(self, gateway: str) -> str:
        """Of today's first process."""
        written: bytes = self.client.containers.get(self.containers()[gateway]).logs()
        return written.decode()


def program_of(tree: Path, stack: Stack) -> dict[str, str]:
    """Has a stack deployed by the program in another tree; the environment for it."""
    file = stack.folder / "Pulumi.yaml"
    document = yaml.safe_load(file.read_text())
    document["main"] = f"{os.path.relpath(tree, stack.folder)}/infra/"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return {"PYTHONPATH": str(tree), "PULUMI_OPTION_POLICY_PACK": str(tree / "infra" / "policy")}


def added(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in NAMES}


@pytest.fixture(scope="module", params=UPGRADES)
def upgrade(request: pytest.FixtureRequest) -> Upgrade:
    chosen = request.param
    assert isinstance(chosen, Upgrade)
    return chosen


@pytest.fixture(scope="module")
def before(upgrade: Upgrade, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A work tree of the commit before, with the environment that the tests run in."""
    tree = tmp_path_factory.mktemp("before") / "tree"

    def git(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)

    known = git("cat-file", "-e", f"{upgrade.before}^{{commit}}")
    assert known.returncode == 0, (
        f"the upgrade begins at commit {upgrade.before}, which this clone does not have ({known.stderr.strip()}): "
        "fetch the whole history (git fetch --unshallow; in a workflow, actions/checkout with fetch-depth: 0)"
    )
    # A run that was killed left its folder's entry behind.
    git("worktree", "prune")
    made = git("worktree", "add", "--detach", "--quiet", str(tree), upgrade.before)
    assert made.returncode == 0, made.stderr
    (tree / ".venv").symlink_to(sys.prefix)
    yield tree
    # Forced, since .venv is not of the commit.
    removed = git("worktree", "remove", "--force", str(tree))
    assert removed.returncode == 0, removed.stderr


@pytest.fixture(scope="module")
def gateways(upgrade: Upgrade, before: Path, tools: Tools) -> Iterator[UpgradedStack]:
    def declared(unknown: Mapping[str, Any], **of_stack: Any) -> Stack:
        session = unknown.get("session", {})
        declared = {
            name: {**unknown, **given, "session": {**session, **given.get("session", {})}}
            for name, given in GATEWAYS.items()
        }
        return tools.project(STACK, verifier={"timeout": "40s"}, gateways=declared, **{"monitoring": {}, **of_stack})

    stack = declared(upgrade.new_of_gateways, **upgrade.new_settings)
    tools.pulumi(UP, stack=stack, env=program_of(before, stack))
    made = UpgradedStack(tools, declared({}), upgrade)
    yield made
    made.destroy()


def test_the_plan_names_the_version_as_the_only_reason(gateways: UpgradedStack) -> None:
    logins = gateways.upgrade.logins
    found = json.loads(gateways.ibgw(f"plan --stack {STACK} --json").stdout)["gateways"]
    assert [one["gateway"] for one in found] == list(NAMES)
    for one in found:
        assert one["verdict"] == ("relogin" if logins else "none")
        assert [reason["setting"] for reason in one["reasons"]] == ["this version of ibgw"] * logins
        # 0.1.0 did not write its version down.
        assert one["version"] == ({"before": None, "after": VERSION} if logins else None)
    assert (f"ibgw: an earlier version -> {VERSION}" in gateways.ibgw(f"plan --stack {STACK}").stdout) == bool(logins)


def test_a_rollout_takes_it_to_one_after_the_other_by_a_logout_and_a_login(gateways: UpgradedStack) -> None:
    logins = gateways.upgrade.logins
    counters = ("attempts", "logins", "logouts", "stranded_sessions")
    before, counts = gateways.containers(), {what: gateways.counts(what) for what in counters}
    volumes = {name: gateways.volume(name) for name in NAMES}
    # As after an attempt that failed: the one before writes its bare number.
    attempts = f"{SETTINGS_FOLDER}/guard/*.attempts"
    assert gateways.inside("second", f"cat {attempts}") == "0"
    gateways.inside("second", f"for file in {attempts}; do echo 1 >$file; done")

    said = gateways.ibgw(f"rollout --stack {STACK}").stderr

    changed = [name for name, container in gateways.containers().items() if container != before[name]]
    assert changed == list(NAMES) * logins
    cost = {what: added(counts[what], gateways.counts(what)) for what in counters}
    each, asked, stranded = ({name: logins if name in of else 0 for name in NAMES} for of in (NAMES, ASKED, (MUTE,)))
    assert cost == {"attempts": each, "logins": each, "logouts": asked, "stranded_sessions": stranded}
    # The first is the canary.
    verified = [f"{number}/3 {name}: verified" for number, name in enumerate(NAMES, start=1)]
    assert [text for text in verified if text in said] == verified * logins
    order = [said.index(text) for text in verified * logins]
    assert order == sorted(order)
    for name in ASKED:
        container = Names(gateways.sandbox.prefix, STACK).gateway(name)
        assert (f"{container}: logged out." in said) == bool(logins)
    container = Names(gateways.sandbox.prefix, STACK).gateway(MUTE)
    told = f"{container}: does not log out when it is asked: its session stays open at IBKR"
    assert (told in said) == bool(logins)

    assert {name: gateways.volume(name) for name in NAMES} == volumes
    # The guard went on from the count that it found, and the login cleared it.
    if logins:
        assert f"ibgw: attempt 2 of {MAXIMUM_ATTEMPTS}" in gateways.log("second")
        assert f"ibgw: attempt 2 of {MAXIMUM_ATTEMPTS}" not in gateways.log("main")


def test_afterwards_nothing_is_left_to_do_and_nobody_logs_in(gateways: UpgradedStack) -> None:
    before, attempts, saved = gateways.containers(), gateways.counts("attempts"), gateways.counts("soft_logins")
    gateways.ibgw(f"rollout --stack {STACK}")
    gateways.up()
    gateways.pulumi("preview", "--expect-no-changes")
    for watching in ("prober", "watcher"):
        assert gateways.client.containers.get(f"{gateways.base}.{watching}").status == "running"
    assert (gateways.containers(), gateways.counts("attempts"), gateways.counts("soft_logins")) == (
        before,
        attempts,
        saved,
    )


def test_a_newer_supervisor_costs_no_login_and_is_used_from_the_next_start_on(
    gateways: UpgradedStack, tmp_path: Path
) -> None:
    newer = tmp_path / "newer"
    ours = shutil.ignore_patterns(".git", ".venv", ".sandbox", ".ibgw", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, newer, ignore=ours)
    (newer / ".venv").symlink_to(sys.prefix)
    script = newer / "infra" / "supervisor" / "supervisor.sh"
    script.write_text(script.read_text().replace("\n# --- the volume's memory", '\nsay "newer"\n# ---', 1))
    before, attempts = gateways.containers(), gateways.counts("attempts")
    gateways.tools.pulumi(UP, stack=gateways.stack, env=program_of(newer, gateways.stack))
    assert (gateways.containers(), gateways.counts("attempts")) == (before, attempts)
    assert 'say "newer"' in gateways.inside("main", f"cat {SUPERVISOR_PATH}")
    assert "ibgw: newer" not in gateways.log("main")
    gateways.ibgw(f"restart --stack {STACK} --gateway main")
    assert "ibgw: newer" in gateways.log("main")
