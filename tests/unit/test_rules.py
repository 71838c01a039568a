"""Each rule about a gateway's container: kept by a proper one, broken by each thing that it forbids, or not seen."""
# ruff: noqa: S106 - ids of secrets

from dataclasses import replace
from typing import Any

import pytest

from deployment.description import Mode
from deployment.rules import RULES, GatewayRecord, credential_in, names_credential, violations
from tests.leaks import leaks

DIGEST = "sha256:" + "ab" * 32

PAPER = GatewayRecord(
    name="ibgw-paper-main",
    mode=Mode.PAPER,
    image="ghcr.io/gnzsnz/ib-gateway:10.45.1j",
    secret_id="ibgw/paper/main",
    environment={"TRADING_MODE": "paper", "TWS_PASSWORD_FILE": "/run/secrets/tws_password", "TWS_PASSWORD": ""},
    labels={"ibgw.secret-id": "ibgw/paper/main", "ibgw.role": "gateway"},
    arguments=("/home/ibgateway/scripts/run.sh", "CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/4002"),
    published=(),
    network_mode="ibgw-paper-main-api",
    api_driver="bridge",
    api_internal=True,
    egress_driver="bridge",
    egress_traffic=False,
    egress_strangers=(),
    privileged=False,
    capabilities_added=(),
    capabilities_dropped=("ALL",),
    security_options=("no-new-privileges:true",),
    memory=1536,
    memory_swap=1536,
    stop_grace=60,
    removal_grace=60,
    restart="unless-stopped",
    log_driver="json-file",
    log_options={"max-size": "10m", "max-file": "5"},
    probe=("CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/4002"),
)
LIVE = replace(PAPER, mode=Mode.LIVE, image=f"ghcr.io/gnzsnz/ib-gateway@{DIGEST}", secret_id="ibgw/live/main")

# Rule, what breaks it, and what its text must say: the field, what was found, what was expected.
BROKEN: list[tuple[str, GatewayRecord, str]] = [
    (
        "no_published_port",
        replace(PAPER, published=("4004/tcp on 0.0.0.0:4002",)),
        "published port: found 4004/tcp on 0.0.0.0:4002, expected none",
    ),
    ("own_network", replace(PAPER, network_mode="host"), "network mode: found host"),
    ("own_network", replace(PAPER, network_mode="container:abc"), "network mode: found container:abc"),
    ("api_internal", replace(PAPER, api_internal=False), "api network: found not internal, expected internal"),
    ("bridges", replace(PAPER, api_driver="macvlan"), "api network's driver: found macvlan, expected bridge"),
    ("bridges", replace(PAPER, egress_driver="ipvlan"), "egress network's driver: found ipvlan"),
    ("egress_separates", replace(PAPER, egress_traffic=True), "egress network: found traffic between its containers"),
    ("egress_for_gateways", replace(PAPER, egress_strangers=("bot",)), "found bot attached, expected gateways only"),
    (
        "image_by_digest_on_live",
        replace(LIVE, image="ghcr.io/gnzsnz/ib-gateway:10.45.1j"),
        "image: found ghcr.io/gnzsnz/ib-gateway:10.45.1j, expected repository@sha256:... on live",
    ),
    ("image_by_digest_on_live", replace(LIVE, image="ghcr.io/gnzsnz/ib-gateway@sha256:abc"), "image: found"),
    (
        "no_credential_in_sight",
        replace(PAPER, environment={"TWS_PASSWORD": "x"}),
        "environment: found what looks like a credential under TWS_PASSWORD",
    ),
    (
        "no_credential_in_sight",
        replace(PAPER, environment={"TWS_USERID": "x"}),
        "environment: found what looks like a credential under TWS_USERID",
    ),
    (
        "no_credential_in_sight",
        replace(PAPER, environment={"NOTE": '{"user_id": "x", "password": "y"}'}),
        "environment: found what looks like a credential under NOTE",
    ),
    (
        "no_credential_in_sight",
        replace(PAPER, labels={"com.example.token": "x"}),
        "labels: found what looks like a credential under com.example.token",
    ),
    # ibcstart.sh of IBC: --user and --pw.
    (
        "no_credential_in_sight",
        replace(PAPER, arguments=("ibcstart.sh", "--pw=x")),
        "arguments: found what looks like a credential under --pw",
    ),
    (
        "no_credential_in_sight",
        replace(PAPER, arguments=("run", "--password", "x")),
        "arguments: found what looks like a credential under --password",
    ),
    (
        "no_credential_in_sight",
        replace(PAPER, arguments=("sh", "-c", "IbPassword=x run")),
        "arguments: found what looks like a credential under number 3",
    ),
    ("no_capabilities", replace(PAPER, privileged=True), "privileged: found true, expected false"),
    ("no_capabilities", replace(PAPER, capabilities_added=("NET_ADMIN",)), "added: found NET_ADMIN, expected none"),
    ("no_capabilities", replace(PAPER, capabilities_dropped=("NET_RAW",)), "dropped: found NET_RAW, expected ALL"),
    ("no_new_privileges", replace(PAPER, security_options=("seccomp=unconfined",)), "expected no-new-privileges:true"),
    ("memory_limited", replace(PAPER, memory=0, memory_swap=0), "memory: found no limit"),
    ("memory_limited", replace(PAPER, memory_swap=3072), "with swap: found 3072, expected 1536 MiB"),
    ("memory_limited", replace(PAPER, memory_swap=-1), "with swap: found no limit, expected 1536 MiB"),
    ("log_rotated", replace(PAPER, log_driver="syslog"), "log driver: found syslog, expected json-file"),
    ("log_rotated", replace(PAPER, log_options={"max-file": "5"}), "log option max-size: found none"),
    ("log_rotated", replace(PAPER, log_options={"max-size": "10m"}), "log option max-file: found none"),
    ("time_to_log_out", replace(PAPER, stop_grace=59), "stop grace: found 59 s, expected 60 s or more"),
    ("time_to_log_out_at_removal", replace(PAPER, removal_grace=0), "at removal: found 0 s, expected 60 s or more"),
    ("restarted_unless_stopped", replace(PAPER, restart="always"), "found always, expected unless-stopped"),
    ("restarted_unless_stopped", replace(PAPER, restart=""), "restart policy: found none"),
    ("probed", replace(PAPER, probe=()), "probe: found none"),
    ("probed", replace(PAPER, probe=("NONE",)), "probe: found none"),
    ("secret_of_this_mode", replace(PAPER, secret_id="ibgw/live/main"), "expected a secret for paper"),
    ("secret_of_this_mode", replace(LIVE, secret_id="ibgw/paper/main"), "expected a secret for live"),
    # run_x11_vnc of the image: either variable starts the server.
    (
        "no_vnc_on_live",
        replace(LIVE, environment={"VNC_SERVER_PASSWORD_FILE": "/home/ibgateway/vnc_password"}),
        "environment VNC_SERVER_PASSWORD_FILE: found set, expected not set on live",
    ),
]


def names() -> list[str]:
    return [rule.name for rule in RULES]


@pytest.mark.parametrize("record", [PAPER, LIVE])
def test_a_proper_gateway_keeps_every_rule(record: GatewayRecord) -> None:
    assert violations(record) == {}
    assert [rule.name for rule in RULES if rule.unseen(record)] == []


@pytest.mark.parametrize(("rule", "record", "said"), BROKEN)
def test_each_rule_is_broken_by_what_it_forbids_and_alone(rule: str, record: GatewayRecord, said: str) -> None:
    found = violations(record)
    assert list(found) == [rule]
    assert said in "; ".join(found[rule])


def test_every_rule_has_a_violation_above_a_meaning_and_a_place() -> None:
    assert {rule for rule, _, _ in BROKEN} == set(names())
    assert len(names()) == len(set(names()))
    assert all(rule.meaning.endswith(".") for rule in RULES)


def test_what_was_found_under_a_credentials_name_is_never_repeated() -> None:
    secret = "hunter2-and-more"  # noqa: S105 - made up
    record = replace(
        PAPER,
        environment={"TWS_PASSWORD": secret, "NOTE": f"password={secret}"},
        labels={"api.secret": secret},
        arguments=(f"--password={secret}", "--pw", secret, f"x TWS_USERID={secret}"),
    )
    text = str(violations(record))
    assert "no_credential_in_sight" in text
    assert leaks(text, secret) == []


@pytest.mark.parametrize("rule", RULES)
def test_a_fact_that_is_not_seen_is_neither_kept_nor_broken(rule: Any) -> None:
    for fact in rule.facts:
        if fact == "mode":
            continue
        for broken in (record for name, record, _ in BROKEN if name == rule.name):
            blind = replace(broken, **dict[str, Any]({fact: None}))
            assert rule.unseen(blind) == [fact]
            assert rule.violations(blind) == []


# The environment of the image and its base (Dockerfile), and what we set.
@pytest.mark.parametrize("name", ["TWS_PASSWORD_FILE", "SSH_PASSPHRASE_FILE", "USER_ID", "PATH", "ibgw.secret-id"])
def test_names_of_what_is_no_credential(name: str) -> None:
    assert not names_credential(name)


@pytest.mark.parametrize("name", ["TWS_PASSWORD", "TWS_USERID_PAPER", "SSH_PASSPHRASE", "AWS_SECRET_ACCESS_KEY"])
def test_names_of_credentials(name: str) -> None:
    assert names_credential(name)


@pytest.mark.parametrize("text", ["TWS_PASSWORD_FILE=/run/secrets/tws_password", "IbPassword=", "a password", ""])
def test_texts_without_a_credential(text: str) -> None:
    assert not credential_in(text)
