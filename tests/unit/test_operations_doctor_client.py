"""`ibgw doctor --from`: what a client's side of the way shows, and what is done for it."""

import json
from typing import Any

import pytest

from deployment.errors import IbgwError
from deployment.tables import Kind
from operations.doctor import Observation
from operations.doctor_client import try_from
from operations.stack import parse_contract
from tests.unit.fake_docker import FakeDocker
from tests.unit.operations_contract import contract_document

API = "ibgw-paper-main-api"
NAME, ADDRESS = "ibgw-paper-main:4004", "10.213.1.2:4004"


def container(identity: str, *networks: str, mode: str = "bots", running: bool = True) -> dict[str, Any]:
    return {
        "Id": identity * 64,
        "Name": f"/{identity}",
        "Config": {"Labels": {}},
        "State": {"Running": running},
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {"Networks": {name: {"IPAddress": "10.213.1.2"} for name in networks}},
    }


class Host(FakeDocker):
    """`answers`: what the probe finds at each address; what else it is asked is out of reach."""

    def __init__(self, **answers: str) -> None:
        super().__init__()
        self.answers = {NAME: answers.get("name", "unreachable"), ADDRESS: answers.get("address", "unreachable")}
        self.objects[Kind.CONTAINER] = {
            "ibgw-paper-main": container("a", API),
            "bot": container("b", API) | {"Name": "/bot"},
            "other": container("c", "bots"),
            "sidecar": container("d", mode="container:bot"),
            "beside-gateway": container("e", mode=f"container:{'a' * 64}"),
            "on-host": container("f", mode="host"),
            "ended": container("0", API, running=False),
        }

    def create(self, image: str, command: Any = None, **options: Any) -> str:
        name = super().create(image, command, **options)
        self.logs[name] = [
            json.dumps({"address": address, "answer": self.answers[address]}) for address in command or ()
        ]
        return name


def examine(host: Host, client: str = "bot") -> dict[str, Observation]:
    document = contract_document()
    document["gateways"]["main"]["clients"] = [{"container": "bot"}]
    deployment = parse_contract(json.dumps(document), "x")
    found = try_from(host, deployment, [deployment.gateways["main"]], client)
    return {finding.topic: finding for finding in found["main"]}


def marks(findings: dict[str, Observation]) -> dict[str, bool | None]:
    return {topic: finding.ok for topic, finding in findings.items()}


def test_a_way_that_is_open_is_looked_at_from_the_client_s_namespace_and_nothing_runs_in_it() -> None:
    host = Host(name="api", address="api")
    assert marks(examine(host)) == dict.fromkeys(("network", "declared", "name", "port", "handshake"), True)
    [[image, options]] = host.did("create")
    assert (image, options["network"]) == ("sha256:" + "c" * 64, f"container:{'b' * 64}")
    # Of the namespace that is the client's nothing is set.
    assert options["sysctls"] is None
    assert host.did("run") == []
    assert [name for [name] in host.did("remove")] == [options["name"]]


@pytest.mark.parametrize(
    ("host", "client", "topic", "ok", "said"),
    [
        (Host(), "other", "network", False, "docker network connect ibgw-paper-main-api c"),
        (Host(), "other", "declared", False, "pulumi up --stack paper"),
        (Host(), "other", "port", None, "as it has to be"),
        (Host(address="api"), "other", "port", False, "must not reach it"),
        (Host(address="api"), "bot", "name", False, "Docker's own DNS"),
        (Host(name="closed", address="closed"), "bot", "port", False, "refuses"),
        (Host(name="hung_up", address="hung_up"), "bot", "handshake", False, "accepts and hangs up"),
        (Host(name="silent", address="silent"), "bot", "handshake", False, "accepts and says nothing"),
        (Host(name="api", address="api"), "sidecar", "network", True, API),
    ],
)
def test_what_stands_in_the_way_is_said_with_what_to_do(
    host: Host, client: str, topic: str, ok: bool | None, said: str
) -> None:
    finding = examine(host, client)[topic]
    assert finding.ok is ok
    assert said in f"{finding.found} {finding.next}"


def test_a_gateway_that_does_not_run_is_not_asked() -> None:
    host = Host()
    host.objects[Kind.CONTAINER]["ibgw-paper-main"] = container("a", running=False)
    assert examine(host)["port"].next == "`ibgw verify --stack paper --gateway main`"
    assert host.did("create") == []


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ("nobody", "no such container on unix:///var/run/docker.sock"),
        ("ended", "does not run"),
        ("on-host", "ibgw forward --stack paper"),
        ("ibgw-paper-main", "that is a gateway"),
        ("beside-gateway", "in one's network namespace"),
    ],
)
def test_what_is_no_client_is_refused(client: str, said: str) -> None:
    host = Host(name="api", address="api")
    with pytest.raises(IbgwError, match=said):
        examine(host, client)
    assert host.done == []
