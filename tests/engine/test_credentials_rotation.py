"""`ibgw credentials rotate` on a running gateway: the real engine's updates, and a broker that counts each login.

The tests go through one story, in the order in which they stand.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.secrets_manager import write_private
from tests.engine.conftest import Tools
from tests.engine.secret_versions import secrets_manager
from tests.engine.stacks import StackUnderTest
from tests.leaks import Scanner

STACK = "paper-password"
pytestmark = pytest.mark.exhaustive


class Rotated(StackUnderTest):
    @property
    def secret(self) -> str:
        return str(self.stack.config["config"]["ibgw:gateways"]["main"]["credentials"]["secretId"])

    def stages(self) -> dict[str, str]:
        held = secrets_manager(self.stack.env).describe_secret(SecretId=self.secret)["VersionIdsToStages"]
        return {stage: version for version, stages in held.items() for stage in stages}

    def password(self) -> str:
        value = secrets_manager(self.stack.env).get_secret_value(SecretId=self.secret)["SecretString"]
        return str(json.loads(value)["password"])

    def rotate(self, password: str, code: int, *words: str, by: str = "ibgw") -> dict[str, Any]:
        """With the new password on a descriptor. Neither it nor the current one may be shown. `by`: the command."""
        return self._with(password, code, f"{by} credentials rotate {self.name} --changed --json {' '.join(words)}")

    def put(self, password: str) -> None:
        self._with(password, 0, f"ibgw credentials put {self.name} --json")

    def _with(self, password: str, code: int, line: str) -> dict[str, Any]:
        mode = self.name.partition("-")[0]
        document = {"user_id": self.user(), "password": password, "trading_mode": mode}
        file = self.sandbox.folder / "new-secret.json"
        write_private(file, json.dumps(document))
        current = self.password()
        done = self.tools.run(["bash", "-c", f"exec {line} --fd 9 9<{file}"], stack=self.stack, check=False)
        file.unlink()
        said = done.stdout + done.stderr
        Scanner(password, current, self.user()).check({"what it said": said})
        assert done.returncode == code, said
        found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
        return {**found, "stderr": done.stderr}

    def change_at_the_broker(self, password: str) -> None:
        """As a person does at IBKR's site."""
        users = self.sandbox.folder / "users.json"
        document = json.loads(users.read_text())
        for user in document["users"]:
            if user["user_id"] == self.user():
                user["password"] = password
        write_private(users, json.dumps(document))
        self.sandbox.broker().reload_users()

    def deployed(self) -> str:
        contract = json.loads(self.pulumi("stack", "output", "contract", "--json").stdout)
        return str(contract["gateways"]["main"]["secret"]["version_id"])

    def since(self, before: dict[str, Any]) -> dict[str, int]:
        now = self.counted()
        return {what: now[what] - before[what] for what in ("attempts", "logins", "failed_attempts")}


@pytest.fixture(scope="module")
def gateway(tools: Tools) -> Iterator[Rotated]:
    made = Rotated(tools, tools.project(STACK, verifier={"timeout": "30s"}))
    made.up()
    yield made
    made.destroy()


def test_a_password_that_is_not_the_broker_s_is_taken_back(gateway: Rotated) -> None:
    before, counted = gateway.stages()["AWSCURRENT"], gateway.counted()
    done = gateway.rotate("wr0ng-One-7", 3)
    assert done["result"] == "taken_back"
    assert 1 <= done["attempts"] <= 2
    assert gateway.stages()["AWSCURRENT"] == before == gateway.deployed()
    assert "AWSPENDING" not in gateway.stages()
    since = gateway.since(counted)
    assert since["failed_attempts"] == done["attempts"]
    assert since["logins"] == 1, "with the old one again, once"
    assert since["attempts"] == done["attempts"] + 1


def test_the_new_password_is_proved_by_one_login_and_then_current(gateway: Rotated) -> None:
    before, counted = gateway.stages()["AWSCURRENT"], gateway.counted()
    gateway.change_at_the_broker("n3w-0ne Grü$e")
    done = gateway.rotate("n3w-0ne Grü$e", 0)
    assert (done["result"], done["before"]) == ("rotated", before)
    assert gateway.stages() == {"AWSCURRENT": done["after"], "AWSPREVIOUS": before}
    assert gateway.deployed() == done["after"]
    assert gateway.since(counted) == {"attempts": 1, "logins": 1, "failed_attempts": 0}


def test_an_update_afterwards_changes_nothing(gateway: Rotated) -> None:
    container, counted = gateway.container()["Id"], gateway.counted()
    assert json.loads(gateway.ibgw(f"plan --stack {STACK} --json").stdout)["changes"] is False
    gateway.up()
    assert gateway.container()["Id"] == container
    assert gateway.since(counted)["attempts"] == 0
    checked = json.loads(gateway.ibgw(f"credentials check {STACK} --json").stdout)["secrets"][0]
    assert {finding["topic"]: finding["ok"] for finding in checked["findings"]}["deployed"] is True


def test_one_that_was_killed_behind_its_login_goes_on_without_another(gateway: Rotated) -> None:
    """The login is made by an update with the version named, as `rotate` does it; the label is what a kill leaves."""
    client, before = secrets_manager(gateway.stack.env), gateway.stages()["AWSCURRENT"]
    password = "th1rd-One-x"  # noqa: S105 - made up
    gateway.change_at_the_broker(password)
    value = json.dumps({"user_id": gateway.user(), "password": password, "trading_mode": "paper"})
    pending = client.put_secret_value(SecretId=gateway.secret, SecretString=value, VersionStages=["AWSPENDING"])
    after, counted = pending["VersionId"], gateway.counted()
    gateway.tools.project(STACK, verifier={"timeout": "30s"}, gateways={"main": {"credentials": {"versionId": after}}})
    gateway.up()
    gateway.tools.project(STACK, verifier={"timeout": "30s"})
    assert gateway.since(counted)["logins"] == 1
    done = gateway.rotate("not-re4d", 0)
    assert (done["result"], done["before"], done["after"]) == ("rotated", before, after)
    assert gateway.stages()["AWSCURRENT"] == after
    assert gateway.since(counted)["attempts"] == 1


def test_where_neither_is_right_each_is_tried_twice_at_most(gateway: Rotated) -> None:
    """The password was changed to another one than was typed: the worst that a hand can do."""
    before, counted = gateway.stages()["AWSCURRENT"], gateway.counted()
    gateway.change_at_the_broker("f0urth-One-y")
    done = gateway.rotate("m1styped-One", 3)
    assert done["result"] == "taken_back"
    assert gateway.stages()["AWSCURRENT"] == before
    for _ in range(2):
        gateway.ibgw(f"verify {STACK} --wait 0s", 3)
        gateway.up(check=False)
    since = gateway.since(counted)
    assert since["logins"] == 0
    assert since["failed_attempts"] <= 4, "two for each version, whoever tries again"
    assert done["attempts"] <= 2
    gateway.put("f0urth-One-y")
    gateway.up()
    assert gateway.since(counted)["logins"] == 1
