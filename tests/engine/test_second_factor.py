"""Codes of an authenticator, typed into real windows by the container beside each gateway."""

import json
from collections.abc import Iterator

import pytest

from deployment.names import Names
from sandbox.secrets_manager import SEED
from tests.engine.conftest import Tools
from tests.engine.stacks import StackUnderTest
from tests.leaks import Scanner

GATEWAYS = ("main", "second", "third", "fourth", "fifth")
DEVICE = "Mobile Authenticator App"
SCREEN = {"resources": {"javaHeap": 256, "memory": 768}}


class Typed(StackUnderTest):
    def names(self, gateway: str) -> str:
        return Names(self.sandbox.prefix, self.name).codes(gateway)

    def seeds(self) -> list[str]:
        users = {self.user(gateway) for gateway in GATEWAYS}
        return [found.totp_secret for found in self.sandbox.credentials() if found.user_id in users]


def stack(tools: Tools, name: str, gateways: tuple[str, ...]) -> Typed:
    sandbox = tools.sandbox
    factor = {
        gateway: {
            "method": "totp",
            "device": DEVICE,
            "secretId": f"{sandbox.prefix}/{name.replace('-', '/', 1)}/{gateway}{SEED}",
            # The machine that a test runs on need not keep its clock.
            "anyClock": True,
        }
        for gateway in gateways
    }
    changes = {gateway: {"secondFactor": factor[gateway], **SCREEN} for gateway in gateways}
    return Typed(tools, tools.project(name, image=sandbox.windows_image(), gateways=changes))


@pytest.fixture(scope="module")
def typed(tools: Tools) -> Iterator[Typed]:
    made = stack(tools, "paper-codes", GATEWAYS)
    broker = made.sandbox.broker()
    for gateway in GATEWAYS[1:]:
        broker.scenario("totp-devices", made.user(gateway))
    yield made
    made.leave()


def test_five_users_log_in_at_a_time_with_codes(typed: Typed) -> None:
    """Each with one code, that was never used and had life left; most of them after a list of devices."""
    with Scanner(*typed.seeds()).watching() as watch:
        done = typed.up()
    assert watch.looks >= 1
    counted = {gateway: typed.counted(gateway) for gateway in GATEWAYS}
    assert {gateway: found["logins"] for gateway, found in counted.items()} == dict.fromkeys(GATEWAYS, 1)
    assert {gateway: found["codes_refused"] for gateway, found in counted.items()} == dict.fromkeys(GATEWAYS, 0)
    assert min(found["least_code_life"] for found in counted.values()) >= 8
    scanner = Scanner(*typed.seeds())
    places = {"what the update says": done.stdout + done.stderr}
    for gateway in GATEWAYS:
        for name in (typed.names(gateway), Names(typed.sandbox.prefix, typed.name).gateway(gateway)):
            places[f"inspect {name}"] = json.dumps(typed.client.api.inspect_container(name))
            places[f"log of {name}"] = typed.client.api.logs(name).decode(errors="replace")
    scanner.check(places)


def test_it_can_write_to_nothing_but_its_volume(typed: Typed) -> None:
    container = typed.client.containers.get(typed.names("main"))
    # What may not be listed is complained of.
    command = "find / -xdev -writable -type d -not -path '/proc/*' 2>/dev/null"
    looked = container.exec_run(["sh", "-c", command])
    assert isinstance(looked.output, bytes)
    assert looked.output.decode().split() == ["/var/lib/ibgw-codes"]
    inspected = container.attrs
    assert inspected["HostConfig"]["NetworkMode"] == "none"
    assert inspected["Config"]["User"] == "65533:65533"
