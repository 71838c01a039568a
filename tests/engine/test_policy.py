"""The policy pack on the real engine: each rule stops a program that knows none of our checks."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from deployment import VERSION
from deployment.rules import RULES
from sandbox.environment import Sandbox
from tests.engine.conftest import RUNTIME, Completed

PACK = Path(__file__).parents[2] / "infra" / "policy"
STACK = "live-rules"
DIGEST = "sha256:" + "ab" * 32

# Declares what is in declared.json. An unknown host makes the engine skip the plug-in's own check, which would refuse
# some of it first; {"$of": name} is the id of what stands before it.
PROGRAM = """
import json
import re
from pathlib import Path

import pulumi
import pulumi_docker as docker

declared = json.loads(Path(__file__).with_name("declared.json").read_text())
known = pulumi.ResourceOptions(provider=docker.Provider("known", host=declared["host"]))
made = {}
if declared["unknown"]:
    first = docker.Network("first", name=declared["prefix"] + "-first", internal=True, opts=known)
    known = pulumi.ResourceOptions(provider=docker.Provider("unknown", host=first.id))


def value(found):
    if isinstance(found, list):
        return [value(item) for item in found]
    if isinstance(found, dict):
        return made[found["$of"]].id if "$of" in found else {key: value(item) for key, item in found.items()}
    return found


for kind, name, inputs in declared["resources"]:
    snake = {re.sub("[A-Z]", lambda upper: "_" + upper[0].lower(), key): found for key, found in inputs.items()}
    made[name] = getattr(docker, kind)(name, **value(snake), opts=known)
"""

Declared = tuple[str, str, dict[str, Any]]


def labels(**found: str) -> list[dict[str, str]]:
    return [{"label": f"ibgw.{key.replace('_', '-')}", "value": value} for key, value in found.items()]


GOOD: Mapping[str, Any] = {
    "image": f"mock/gateway@{DIGEST}",
    "envs": ["TRADING_MODE=live", "TWS_PASSWORD_FILE=/run/secrets/tws_password"],
    "labels": labels(role="gateway", secret_id="ibgw/live/main"),  # noqa: S106 - its name
    "capabilities": {"drops": ["ALL"]},
    "securityOpts": ["no-new-privileges:true"],
    "memory": 1536,
    "memorySwap": 1536,
    "stopTimeout": 60,
    "destroyGraceSeconds": 60,
    "restart": "unless-stopped",
    "logDriver": "json-file",
    "logOpts": {"max-size": "10m", "max-file": "5"},
    "healthcheck": {"tests": ["CMD", "true"]},
}
EGRESS: Mapping[str, Any] = {
    "labels": labels(role="egress"),
    "options": {"com.docker.network.bridge.enable_icc": "false"},
}


def container(name: str, without: str = "", **changes: Any) -> Declared:
    return ("Container", name, {"name": name, **{k: v for k, v in GOOD.items() if k != without}, **changes})


# Rule, a resource that breaks it and no other, what the engine's diagnostics say.
BROKEN: list[tuple[str, Declared, str]] = [
    (
        "no_published_port",
        container("ports", ports=[{"internal": 4003, "external": 4001, "ip": "0.0.0.0"}]),
        "ports: published port: found 4003/tcp on 0.0.0.0:4001, expected none",
    ),
    ("no_published_port", container("all-ports", publishAllPorts=True), "found all exposed ports"),
    ("own_network", container("host", networkMode="host"), "host: network mode: found host"),
    ("api_internal", ("Network", "open", {"name": "open"}), "open: api network: found not internal"),
    (
        "bridges",
        ("Network", "office", {"name": "office", "driver": "macvlan", "internal": True}),
        "office: api network's driver: found macvlan, expected bridge",
    ),
    ("egress_separates", ("Network", "way-out", {"name": "way-out", "labels": EGRESS["labels"]}), "traffic between"),
    ("image_by_digest_on_live", ("RemoteImage", "tag", {"name": "mock/gateway:1"}), "image: found mock/gateway:1"),
    ("image_by_digest_on_live", container("untagged", image="mock/gateway"), "untagged: image: found mock/gateway"),
    (
        "no_credential_in_sight",
        container("env", envs=["TWS_PASSWORD=not-a-real-one"]),
        "env: environment: found what looks like a credential under TWS_PASSWORD",
    ),
    ("no_capabilities", container("caps", "capabilities"), "caps: capabilities dropped: found none, expected ALL"),
    ("no_capabilities", container("root", privileged=True), "root: privileged: found true, expected false"),
    ("no_new_privileges", container("sudo", "securityOpts"), "sudo: security options: found none"),
    # Having no network does not exempt from this one.
    ("no_new_privileges", container("alone", "securityOpts", networkMode="none"), "alone: security options: found"),
    ("memory_limited", container("swap", memorySwap=-1), "swap: memory with swap: found no limit, expected 1536 MiB"),
    ("log_rotated", container("logs", "logOpts"), "logs: log option max-size: found none, expected a limit"),
    ("time_to_log_out", container("killed", "stopTimeout"), "killed: stop grace: found 10 s, expected 60 s or more"),
    ("time_to_log_out_at_removal", container("removed", "destroyGraceSeconds"), "grace at removal: found 0 s"),
    ("restarted_unless_stopped", container("ends", "restart"), "ends: restart policy: found no, expected unless"),
    ("probed", container("unseen", "healthcheck"), "unseen: probe: found none"),
    (
        "secret_of_this_mode",
        container("paper", labels=labels(role="gateway", secret_id="ibgw/paper/main")),  # noqa: S106 - its name
        "paper: secret: found ibgw/paper/main, expected a secret for live",
    ),
    (
        "no_vnc_on_live",
        container("screen", envs=["VNC_SERVER_PASSWORD_FILE=/x"]),
        "screen: environment VNC_SERVER_PASSWORD_FILE: found set, expected not set on live",
    ),
]
GOOD_STACK: list[Declared] = [
    ("RemoteImage", "good-image", {"name": f"mock/gateway@{DIGEST}"}),
    ("Network", "good-api", {"name": "good-api", "internal": True}),
    ("Network", "good-egress", {"name": "good-egress", **EGRESS}),
    container("good", networksAdvanced=[{"name": {"$of": "good-egress"}}, {"name": {"$of": "good-api"}}]),
]
BOT = container("bot", labels=[], networksAdvanced=[{"name": {"$of": "good-egress"}}])

Command = Callable[..., Completed]


@pytest.fixture(scope="module")
def engine(
    sandbox: Sandbox, run: Command, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Completed]]:
    """`engine(["preview"], RESOURCES)`: a program that declares them, under the pack, without any of our checks."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump({"name": "rules", "runtime": RUNTIME}))
    (folder / "__main__.py").write_text(PROGRAM)
    where = {"PULUMI_OPTION_CWD": str(folder)}
    run(["pulumi", "stack", "init", STACK, "--non-interactive", "--no-select"], env=where)

    def command(words: list[str], resources: list[Declared], *, unknown: bool) -> Completed:
        declared = {"host": sandbox.docker_host, "prefix": sandbox.prefix, "unknown": unknown, "resources": resources}
        (folder / "declared.json").write_text(json.dumps(declared))
        pulumi = ["pulumi", *words, "--stack", STACK, "--non-interactive", "--color", "never"]
        return run(pulumi, env=where, check=False)

    yield command
    run(["pulumi", "stack", "rm", STACK, "--force", "--yes", "--non-interactive"], env=where)


def test_every_rule_has_a_program_here() -> None:
    assert {rule for rule, _, _ in BROKEN} | {"egress_for_gateways"} == {rule.name for rule in RULES}


def test_each_rule_stops_a_program_that_breaks_it(engine: Command) -> None:
    done = engine(["preview"], [*GOOD_STACK, *(resource for _, resource, _ in BROKEN)], unknown=True)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    for rule, (kind, name, _), says in BROKEN:
        assert f"[mandatory]  {rule}  (docker:index:{kind}: {name})" in said, said
        assert says in said, said
    # What keeps the rules is not named, and a credential's value is not repeated.
    assert "good" not in said.partition("Policies:")[2]
    assert "not-a-real-one" not in said


def test_only_gateways_may_join_egress(engine: Command) -> None:
    kept = engine(["preview"], GOOD_STACK, unknown=False)
    assert kept.returncode == 0, kept.stdout + kept.stderr
    broken = engine(["preview"], [*GOOD_STACK, BOT], unknown=False)
    assert broken.returncode != 0
    assert "good-egress: egress network: found bot attached, expected gateways only" in broken.stdout + broken.stderr


def test_an_update_does_not_create_what_breaks_a_rule(
    engine: Command, sandbox: Sandbox, docker_client: docker.DockerClient
) -> None:
    name = f"{sandbox.prefix}-rules-open"
    done = engine(["up", "--yes", "--skip-preview"], [("Network", "open", {"name": name})], unknown=False)
    assert done.returncode != 0
    assert "api network: found not internal, expected internal" in done.stdout + done.stderr
    assert docker_client.networks.list(names=[name]) == []


# Live is previewed under the pack by test_main_job too.
@pytest.mark.parametrize("stack", ["paper", pytest.param("live", marks=pytest.mark.exhaustive)])
def test_our_own_stacks_keep_the_rules(stack: str, run: Command, sandbox: Sandbox) -> None:
    """The environment of `make sandbox-env` names the pack, so a plain preview is under it."""
    assert sandbox.env()["PULUMI_OPTION_POLICY_PACK"] == str(PACK)
    done = run(["pulumi", "preview", "--stack", stack, "--non-interactive", "--color", "never"])
    assert f"ibgw@v{VERSION}" in done.stdout
