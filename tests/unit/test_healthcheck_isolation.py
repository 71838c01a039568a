"""Who can reach the API, from what `docker inspect` shows."""

from dataclasses import replace

import pytest

from healthcheck.finding import Finding
from healthcheck.isolation import Attached, Surroundings, judge
from tests.unit.gateways import gateway

GATEWAY = Attached("a" * 64, "ibgw-paper-main", {"ibgw.role": "gateway"})
BOT = Attached("b" * 64, "bot")
LABELLED = Attached("c" * 64, "compose-bot-1", {"app": "bot"})
VERIFIER = Attached("d" * 64, "ibgw-paper-main-verifier-1234", {"ibgw.role": "verifier"})
FINE = Surroundings(
    gateway_id="a" * 64,
    network_mode="ibgw-paper-main-api",
    networks=("ibgw-paper-main-api", "ibgw-paper-egress"),
    published=(),
    internal=True,
    attached=(GATEWAY,),
)


def look(found: Surroundings, *clients: dict[str, str]) -> Finding:
    return judge(gateway(clients=clients), "ibgw-paper-egress", found)


def test_alone_on_an_internal_network_is_isolated() -> None:
    finding = look(FINE)
    assert finding.reason is None
    assert finding.seen == "no published port, internal network, attached: the gateway only"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (replace(FINE, published=("4004/tcp on 127.0.0.1:4002",)), "port published: 4004/tcp on 127.0.0.1:4002"),
        (replace(FINE, internal=False), "network ibgw-paper-main-api is not internal"),
        (replace(FINE, network_mode="host"), "network mode host"),
        (replace(FINE, network_mode="container:abc"), "network mode container:abc"),
        (replace(FINE, networks=(*FINE.networks, "bridge")), "attached to network bridge too"),
    ],
)
def test_every_way_in_is_exposure(found: Surroundings, said: str) -> None:
    finding = look(found)
    assert finding.reason == "exposed"
    assert said in finding.seen


def test_an_undeclared_container_is_named() -> None:
    finding = look(replace(FINE, attached=(GATEWAY, BOT, LABELLED)), {"label": "app=bot"})
    assert finding.reason == "undeclared_client"
    assert finding.seen == "attached to ibgw-paper-main-api and not declared: bot"
    assert finding.data == {"clients": ["compose-bot-1"], "verifiers": 0, "undeclared": ["bot"]}


def test_declared_clients_and_verifiers_are_reported_and_pass() -> None:
    found = replace(FINE, attached=(GATEWAY, BOT, LABELLED, VERIFIER))
    finding = look(found, {"container": "bot"}, {"label": "app=bot"})
    assert finding.reason is None
    assert finding.data == {"clients": ["bot", "compose-bot-1"], "verifiers": 1}
    assert finding.seen.endswith("attached: the gateway and 2 declared clients")


def test_a_label_must_match_with_its_value() -> None:
    assert look(replace(FINE, attached=(GATEWAY, LABELLED)), {"label": "app=other"}).reason == "undeclared_client"
    assert look(replace(FINE, attached=(GATEWAY, LABELLED)), {"label": "app"}).reason == "undeclared_client"


def test_a_container_that_only_bears_the_gateways_name_is_a_stranger() -> None:
    impostor = Attached("e" * 64, "ibgw-paper-main")
    assert look(replace(FINE, attached=(GATEWAY, impostor))).reason == "undeclared_client"
