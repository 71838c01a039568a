"""What follows from a configuration, and that nothing is declared after a refusal.

What exactly is declared, the security properties of a gateway among them, is written down in declared.json.
"""

import json
from ipaddress import IPv4Network
from typing import Any

import pulumi
import pytest

from deployment.description import Deployment, Mode
from deployment.errors import IbgwError
from infra.credentials import read_all
from infra.host import HostObject
from tests.leaks import leaks
from tests.stack.conftest import IMAGE_DIGEST, PASSWORD, USER, Engine, Program
from tests.unit.test_settings import tracked

OURS = {"ibgw.prefix": "ibgw", "ibgw.project": "ibgw", "ibgw.stack": "paper"}
REAL_RESOURCES = ("docker:", "aws:", "ibgw:")


def plain(value: Any) -> Any:
    """A recorded input without the engine's marks of secrecy."""
    if isinstance(value, pulumi.Output):
        raise AssertionError("an unresolved output was recorded")
    if isinstance(value, dict) and "4dabf18193072939515e22adb298388d" in value:
        return plain(value["value"])
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def container(engine: Engine, name: str = "main") -> dict[str, Any]:
    return dict(plain(engine.declared("Container", name).inputs))


def test_what_matters_of_the_containers_and_no_rule_says(program: Program) -> None:
    """The rest of what keeps a gateway safe is a rule (deployment/rules.py), or is in declared.json alone."""
    engine = program.run().engine
    gateway, owner = container(engine), container(engine, "main-settings-owner")
    assert gateway["sysctls"] == {"net.ipv4.ip_forward": "0"}
    # A failed wait would replace the container at the next update, and log in again.
    assert gateway["wait"] is False
    assert "/dev/tcp/127.0.0.1/4002" in gateway["healthcheck"]["tests"][3]
    # It changes owners, and nothing else.
    assert owner["capabilities"] == {"adds": ["CAP_CHOWN"], "drops": ["ALL"]}
    assert owner["networkMode"] == "none"
    assert owner["command"] == ["1000:1000", "/home/ibgateway/tws_settings", "/home/ibgateway/tws_settings/guard"]


def test_the_owner_step_brings_the_supervisor_and_the_gateway_only_its_values(program: Program) -> None:
    """So that a new version of the supervisor replaces the step, and no gateway."""
    engine = program.run().engine
    [brought] = container(engine, "main-settings-owner")["uploads"]
    assert brought["file"] == container(engine)["command"][-1]
    assert "flock" in brought["content"]
    assert not any(
        "flock" in upload["content"] for upload in plain(engine.declared("Container", "main").inputs["uploads"])
    )


def test_the_environment_is_exactly_this(program: Program) -> None:
    """The image has no defaults of its own (README and config.ini.tmpl of the image: those are its sample compose
    file's), so each variable is set; none holds a credential."""
    assert container(program.run().engine)["envs"] == [
        "ALLOW_BLIND_TRADING=no",
        "AUTO_RESTART_TIME=11:59 PM",
        "BYPASS_WARNING=no",
        "EXISTING_SESSION_DETECTED_ACTION=primary",
        "JAVA_HEAP_SIZE=768",
        "READ_ONLY_API=no",
        "RELOGIN_AFTER_TWOFA_TIMEOUT=no",
        "SAVE_TWS_SETTINGS=Every 30 mins",
        "TIME_ZONE=America/New_York",
        "TRADING_MODE=paper",
        "TWOFA_EXIT_INTERVAL=60",
        "TWOFA_TIMEOUT_ACTION=exit",
        "TWS_ACCEPT_INCOMING=reject",
        "TWS_COLD_RESTART=07:05",
        "TWS_SETTINGS_PATH=/home/ibgateway/tws_settings",
        "TZ=America/New_York",
    ]


def test_credentials_are_secret_files_and_nothing_else(program: Program) -> None:
    engine = program.run().engine
    recorded = engine.declared("Container", "main")
    assert recorded.secret == {"uploads"}
    uploads = {upload["file"]: upload for upload in plain(recorded.inputs["uploads"])}
    assert uploads["/run/secrets/tws_userid"]["content"] == "mockuser77"
    assert uploads["/run/secrets/tws_password"]["content"] == r"mock\u0024pass\u005Cword"
    assert uploads["/run/secrets/secret_version"]["content"] == "11111111-2222-3333-4444-555555555555"
    assert "MODE=paper\n" in uploads["/home/ibgateway/ibgw/values"]["content"]
    # uid 1000 must read what belongs to root
    assert {uploads[f"/run/secrets/{name}"]["permissions"] for name in ("tws_userid", "tws_password")} == {"0444"}


def test_each_credential_is_wrapped_where_it_is_read(program: Program) -> None:
    """One secret element makes the whole list of uploads secret, so the list alone would hide a forgotten wrapper."""

    async def read() -> tuple[bool, bool]:
        found = (await read_all({"main": ("ibgw/paper/main", None)}, Mode.PAPER))["main"]
        return await found.user_id.is_secret(), await found.password.is_secret()

    assert program.within(read) == (True, True)


def test_no_other_input_of_any_resource_holds_a_credential(program: Program) -> None:
    for resource in program.run().engine.resources:
        for key, value in resource.inputs.items():
            if (resource.name, key) != ("main", "uploads"):
                text = json.dumps(value, default=str)
                assert leaks(text, USER, PASSWORD) == [], f"{resource.name}.{key}"


def test_the_contract_is_valid_and_holds_no_secret(program: Program) -> None:
    outputs = program.run().outputs
    assert list(outputs) == ["contract"]
    deployment = Deployment.model_validate(outputs["contract"])
    gateway = deployment.gateways["main"]
    assert (gateway.api.host, gateway.api.port, gateway.api.inner_port) == ("ibgw-paper-main", 4004, 4002)
    assert gateway.image.digest == IMAGE_DIGEST
    assert gateway.container.id == "d" * 64
    assert gateway.in_place is not None
    assert gateway.in_place.model_dump() == {"memory": 1536, "memory_swap": 1536, "restart": "unless-stopped"}
    assert gateway.secret.version_id == "11111111-2222-3333-4444-555555555555"
    text = json.dumps(outputs)
    assert leaks(text, USER, PASSWORD) == []


NAMED = "ghcr.io/gnzsnz/ib-gateway@sha256:" + "e" * 64


@pytest.mark.parametrize(
    ("reference", "repo_digest", "digest"),
    [
        ("ghcr.io/gnzsnz/ib-gateway:10.45.1j", f"ghcr.io/gnzsnz/ib-gateway@{IMAGE_DIGEST}", IMAGE_DIGEST),
        ("host:5000/gateway:10.45.1j", f"host:5000/gateway@{IMAGE_DIGEST}", IMAGE_DIGEST),
        ("docker.io/gnzsnz/ib-gateway:10.45.1j", f"gnzsnz/ib-gateway@{IMAGE_DIGEST}", IMAGE_DIGEST),
        # A reference with a digest is that digest, whatever else Docker knows the image by.
        (NAMED, f"ghcr.io/another/image@{IMAGE_DIGEST}", "sha256:" + "e" * 64),
        (NAMED.replace("@", ":10.45.1j@"), "", "sha256:" + "e" * 64),
    ],
)
def test_the_recorded_digest_is_the_one_asked_for(
    reference: str, repo_digest: str, digest: str, program: Program
) -> None:
    outputs = program.run(config=tracked("paper") | {"ibgw:image": reference}, repo_digest=repo_digest).outputs
    assert Deployment.model_validate(outputs["contract"]).gateways["main"].image.digest == digest


@pytest.mark.parametrize(
    ("repo_digest", "known"),
    [
        (f"host:5000/another@{IMAGE_DIGEST}", "Docker knows it as host:5000/another@sha256:"),
        (f"host:5000/gateway-fork@{IMAGE_DIGEST}", "Docker knows it as host:5000/gateway-fork@sha256:"),
        ("", "Docker knows none"),
    ],
)
def test_another_repositorys_digest_is_refused_and_touches_no_gateway(
    repo_digest: str, known: str, program: Program
) -> None:
    config = tracked("paper") | {"ibgw:image": "host:5000/gateway:10.45.1j"}
    with pytest.raises(pulumi.RunError) as refused:
        program.run(config=config, repo_digest=repo_digest)
    for said in (known, "expected host:5000/gateway@sha256:", "docker pull host:5000/gateway:10.45.1j"):
        assert said in str(refused.value)
    assert program.engine is not None
    assert program.engine.of_type("Container") == []


def test_everything_an_operator_sets_reaches_the_environment(program: Program) -> None:
    config = tracked("paper")
    main = config["ibgw:gateways"]["main"]
    main["api"] = {
        "readOnly": True,
        "acceptIncoming": "manual",
        "allowBlindTrading": True,
        "bypassWarnings": True,
        "masterClientId": 100,
    }
    main["session"] = {
        "existingSession": "secondary",
        "timeZone": "Europe/Berlin",
        "autoLogoff": "00:10",
        "saveSettings": "1h",
    }
    main["secondFactor"] = {
        "method": "push",
        "device": "IB Key",
        "onTimeout": "restart",
        "relogin": True,
        "exitInterval": "90s",
    }
    main["resources"] = {"javaHeap": 1024, "memory": 2048}
    found = container(program.run(config=config).engine)
    environment = dict(entry.split("=", 1) for entry in found["envs"])
    assert environment["READ_ONLY_API"] == environment["ALLOW_BLIND_TRADING"] == environment["BYPASS_WARNING"] == "yes"
    assert environment["TWS_ACCEPT_INCOMING"] == "manual"
    assert environment["TWS_MASTER_CLIENT_ID"] == "100"
    assert environment["EXISTING_SESSION_DETECTED_ACTION"] == "secondary"
    assert environment["TIME_ZONE"] == environment["TZ"] == "Europe/Berlin"
    assert environment["AUTO_LOGOFF_TIME"] == "12:10 AM"
    assert "AUTO_RESTART_TIME" not in environment
    assert "TWS_COLD_RESTART" not in environment
    assert environment["SAVE_TWS_SETTINGS"] == "Every 60 mins"
    assert environment["TWOFA_DEVICE"] == r"IB\u0020Key"
    assert environment["TWOFA_TIMEOUT_ACTION"] == "restart"
    assert environment["TWOFA_EXIT_INTERVAL"] == "90"
    assert environment["JAVA_HEAP_SIZE"] == "1024"
    assert found["memory"] == 2048


def test_times_of_day_to_save_at_and_labels_of_ones_own_reach_the_container(program: Program) -> None:
    config = tracked("paper")
    main = config["ibgw:gateways"]["main"]
    main["session"]["saveSettings"] = ["08:00", "17:30"]
    main["container"]["labels"] = ["team=quant", "com.example.logs=json=lines"]
    found = container(program.run(config=config).engine)
    assert "SAVE_TWS_SETTINGS=08:00 17:30" in found["envs"]
    labels = {entry["label"]: entry["value"] for entry in found["labels"]}
    assert (labels["team"], labels["com.example.logs"]) == ("quant", "json=lines")
    assert labels["ibgw.stack"] == "paper"
    main["container"]["labels"] = ["password=x"]
    assert "no_credential_in_sight" in refused(program, config=config)


def test_live_uses_its_own_ports_and_runs_only_a_release(program: Program) -> None:
    preview = program.run("live", preview=True)
    image = preview.engine.declared("RemoteImage", "gateway-image").inputs["name"]
    assert image == "unreleased@sha256:" + "0" * 64
    found = container(preview.engine)
    assert "TRADING_MODE=live" in found["envs"]
    assert "/dev/tcp/127.0.0.1/4001" in found["healthcheck"]["tests"][3]


def refused(program: Program, **arguments: Any) -> str:
    with pytest.raises(pulumi.RunError) as error:
        program.run(**arguments)
    assert program.engine is not None
    declared = [found.type for found in program.engine.resources if found.type.startswith(REAL_RESOURCES)]
    assert declared == [], "something was declared before the refusal"
    return str(error.value)


def test_an_update_of_live_without_a_release_declares_nothing(program: Program) -> None:
    assert "ibgw:release" in refused(program, stack="live")


def test_a_missing_release_file_declares_nothing(program: Program) -> None:
    config = tracked("live") | {"ibgw:release": "20260101T000000Z-0123456789ab"}
    assert "no file releases/20260101T000000Z-0123456789ab.json" in refused(program, stack="live", config=config)


def test_bad_configuration_declares_nothing(program: Program) -> None:
    assert "ibgw:nonsense" in refused(program, config=tracked("paper") | {"ibgw:nonsense": "1"})


def test_a_missing_secret_declares_nothing(program: Program) -> None:
    message = refused(program, secrets={})
    assert "'ibgw/paper/main'" in message
    assert "`ibgw credentials put`" in message


def test_a_bad_secret_declares_nothing_and_is_not_shown(program: Program) -> None:
    text = json.dumps({"user_id": USER, "password": "", "trading_mode": "paper"})
    message = refused(program, secrets={"ibgw/paper/main": text})
    assert "password is empty" in message
    assert leaks(message, USER) == []


def test_two_gateways_with_one_user_declare_nothing(program: Program) -> None:
    config = tracked("paper")
    gateways = config["ibgw:gateways"]
    gateways["second"] = gateways["main"] | {"credentials": {"secretId": "ibgw/paper/second"}}
    text = json.dumps({"user_id": USER, "password": "x1", "trading_mode": "paper"})
    message = refused(
        program, config=config, secrets={"ibgw/paper/main": text, "ibgw/paper/second": text.upper().lower()}
    )
    assert "same user" in message
    assert leaks(message, USER) == []


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        (HostObject("container", "ibgw-paper-main", {}), "container 'ibgw-paper-main' exists"),
        (
            HostObject("network", "ibgw-paper-egress", OURS | {"ibgw.stack": "live"}),
            "network 'ibgw-paper-egress' exists",
        ),
        (HostObject("volume", "ibgw-paper-main-settings", {}), "volume 'ibgw-paper-main-settings' exists"),
    ],
)
def test_foreign_objects_of_our_names_declare_nothing(program: Program, thing: HostObject, expected: str) -> None:
    message = refused(program, on_host=(thing,))
    assert expected in message
    assert "ibgw:namePrefix" in message


def test_our_own_objects_are_no_obstacle(program: Program) -> None:
    ours = (
        HostObject("volume", "ibgw-paper-main-settings", OURS),
        HostObject(
            "container", "ibgw-paper-main", OURS | {"ibgw.role": "gateway", "ibgw.secret-id": "ibgw/paper/main"}
        ),
    )
    assert program.run(on_host=ours).verified


def test_not_even_the_provider_is_declared_where_something_stands_in_the_way(program: Program) -> None:
    refused(program, on_host=(HostObject("container", "ibgw-paper-main", {}),))
    assert program.engine is not None
    assert [found.type for found in program.engine.resources if "providers" in found.type] == []


def network(name: str, subnet: str, labels: dict[str, str] | None = None) -> HostObject:
    return HostObject("network", name, labels or {}, (IPv4Network(subnet),))


def test_a_pool_without_a_free_place_declares_nothing(program: Program) -> None:
    message = refused(program, on_host=(network("company", "10.213.0.0/16"),))
    assert "overlaps 10.213.0.0/16 of network 'company'" in message
    assert "ibgw:network.subnetPool" in message


def declared_subnets(program: Program, *on_host: HostObject, preview: bool = False) -> dict[str, str]:
    networks = program.run(on_host=on_host, preview=preview).engine.of_type("Network")
    return {found.inputs["name"]: found.inputs["ipamConfigs"][0]["subnet"] for found in networks}


def test_the_stack_s_own_networks_keep_their_subnets_and_a_new_one_goes_round_the_others(program: Program) -> None:
    ours = network("ibgw-paper-main-api", "10.213.5.0/28", OURS), network("ibgw-paper-egress", "10.213.3.0/24", OURS)
    assert declared_subnets(program, *ours) == {
        "ibgw-paper-main-api": "10.213.5.0/28",
        "ibgw-paper-egress": "10.213.3.0/24",
    }
    # 10.213.11.176/28 is the hashed one.
    others = network("company", "10.213.0.0/28"), network("ibgw-paper-old-api", "10.213.11.176/28", OURS)
    for preview in (True, False):
        assert declared_subnets(program, *others, preview=preview) == {
            "ibgw-paper-main-api": "10.213.11.192/28",
            "ibgw-paper-egress": "10.213.1.0/24",
        }


@pytest.mark.parametrize(
    "other", [network("company", "10.9.0.0/16"), network("ibgw-paper-old-api", "10.9.0.0/28", OURS)]
)
def test_a_configured_subnet_that_another_network_holds_declares_nothing(program: Program, other: HostObject) -> None:
    """One of ours on its way out too: the engine deletes at the end of an update, after it has created."""
    config = tracked("paper")
    config["ibgw:gateways"]["main"]["apiSubnet"] = "10.9.0.0/28"
    message = refused(program, config=config, on_host=(other,))
    assert f"ibgw:gateways.main.apiSubnet: 10.9.0.0/28 overlaps {other.subnets[0]} of network {other.name!r}" in message


def test_a_renamed_gateway_does_not_log_in_beside_its_old_self(program: Program) -> None:
    old = HostObject(
        "container", "ibgw-paper-old", OURS | {"ibgw.role": "gateway", "ibgw.secret-id": "ibgw/paper/main"}
    )
    assert "in an update of its own" in refused(program, on_host=(old,))


def test_a_second_gateway_with_the_same_secret_declares_nothing(program: Program) -> None:
    other = HostObject(
        "container",
        "ibgw-paper-two-main",
        OURS | {"ibgw.stack": "paper-two", "ibgw.role": "gateway", "ibgw.secret-id": "ibgw/paper/main"},
    )
    assert "already logs in with secret 'ibgw/paper/main'" in refused(program, on_host=(other,))


def test_verification_runs_once_everything_is_declared(program: Program) -> None:
    assert [spec.stack for spec in program.run().verified] == ["paper"]


def test_nothing_of_a_gateway_is_declared_before_docker_has_taken_its_container(program: Program) -> None:
    """The engine may replace a network or a container as soon as it knows of it."""
    program.run()
    [(image_id, before)] = program.tried
    assert image_id == "sha256:" + "b" * 64
    assert {name for name in before if not name.startswith("docker-")} <= {"gateway-image", "verifier-image"}


def test_a_preview_tries_nothing(program: Program) -> None:
    program.run(preview=True)
    assert program.tried == []


def test_a_container_that_docker_refuses_ends_the_update_with_docker_s_words(program: Program) -> None:
    program.refusal = IbgwError("Docker refuses the container")
    with pytest.raises(pulumi.RunError, match="Docker refuses the container"):
        program.run()
    assert program.engine is not None
    assert program.engine.of_type("Container") == program.engine.of_type("Network") == []
