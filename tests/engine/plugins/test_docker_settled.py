"""A stack as this project deploys it: made, left alone, refreshed, destroyed and made again."""

import json
import subprocess
from typing import Any

import pytest
from docker.errors import NotFound

from tests.engine.plugins.conftest import Project, of, resource, secret
from tests.leaks import leaks

pytestmark = pytest.mark.timeout(300)

PASSWORD = "correct horse battery"  # noqa: S105 - looked for where it must not be
WAITS_FOR_TERM = ["sh", "-c", "trap 'echo said goodbye > /data/last; exit 0' TERM; while :; do sleep 1; done"]


def stack(prefix: str, image: str, subnet: str) -> list[dict[str, object]]:
    return [
        resource("RemoteImage", "image", name=image, keep_locally=True),
        resource("Network", "api", name=f"{prefix}-api", internal=True, ipam_configs=[{"subnet": f"{subnet}.0/28"}]),
        resource(
            "Network",
            "egress",
            name=f"{prefix}-egress",
            options={"com.docker.network.bridge.enable_icc": "false"},
            ipam_configs=[{"subnet": f"{subnet}.16/28"}],
        ),
        resource(
            "Volume",
            "settings",
            {"retain_on_delete": True},
            name=f"{prefix}-settings",
            labels=[{"label": "test.role", "value": "settings"}],
        ),
        resource(
            "Container",
            "owner",
            name=f"{prefix}-owner",
            image=of("image", "image_id"),
            command=["sh", "-c", "echo was here >> /data/owner; echo done; exit 3"],
            network_mode="none",
            mounts=[{"type": "volume", "source": of("settings", "name"), "target": "/data"}],
            attach=True,
            logs=True,
            must_run=False,
        ),
        resource(
            "Container",
            "gateway",
            {"replace_on_changes": ["healthcheck", "tmpfs", "init", "mounts"]},
            name=f"{prefix}-gateway",
            image=of("image", "image_id"),
            command=WAITS_FOR_TERM,
            networks_advanced=[
                {"name": of("api", "id"), "aliases": [f"{prefix}-gw"]},
                {"name": of("egress", "id")},
            ],
            memory=64,
            memory_swap=64,
            tmpfs={"/scratch": "size=1m"},
            mounts=[{"type": "volume", "source": of("settings", "name"), "target": "/data"}],
            uploads=[
                {"file": "/run/secrets/password", "content": secret(PASSWORD), "permissions": "0444"},
                {"file": "/run/start", "content_base64": "ZWNobyBzdGFydGVk", "executable": True},
            ],
            envs=["MODE=paper"],
            labels=[{"label": "test.role", "value": "gateway"}],
            log_driver="json-file",
            log_opts={"max-size": "10m", "max-file": "2"},
            healthcheck={"tests": ["CMD", "true"], "interval": "1m0s", "timeout": "5s", "retries": 3},
            restart="unless-stopped",
            capabilities={"drops": ["ALL"], "adds": ["CAP_CHOWN"]},
            security_opts=["no-new-privileges:true"],
            destroy_grace_seconds=30,
        ),
    ]


def test_settled_stack(project: Project, client: Any, prefix: str, image: str, subnet: str) -> None:
    """What pulumi-docker 5.1.0 was measured to do, with Docker 20.10:

    - a stack with limits, mounts, tmpfs, uploads, labels, log options, probe and two networks previews empty
    - the same with --refresh, again and again, with added capabilities written CAP_CHOWN
    - a preview changes nothing in Docker
    - secret upload content is encrypted in the state and absent from docker inspect
    - uploads belong to root, with their permissions (0644 by default)
    - attach, logs and no must_run: runs to its end inside up, gives exit_code and container_logs, does not fail
    - network_mode none; networks_advanced with aliases replaces the default bridge
    - a volume with a fixed name and retain_on_delete survives destroy and is adopted again, contents and all
    - destroy_grace_seconds is the time that a container gets to stop
    """
    project.declare(
        *stack(prefix, image, subnet),
        network=of("api", "id"),
        container=of("gateway", "id"),
        exit_code=of("owner", "exit_code"),
        logs=of("owner", "container_logs"),
        image_id=of("image", "image_id"),
        datas=of("gateway", "network_datas"),
    )

    # A first preview plans it all and touches nothing.
    plan = project.preview()
    assert plan.code == 0, plan.text
    assert plan.operations == {name: ["create"] for name in ("image", "api", "egress", "settings", "owner", "gateway")}
    assert client.networks(names=[f"{prefix}-api"]) == []
    assert client.containers(all=True, filters={"name": f"{prefix}-gateway"}) == []

    made = project.up()
    assert made.code == 0, made.text

    # Docker's side.
    found = client.inspect_container(f"{prefix}-gateway")
    config, host = found["Config"], found["HostConfig"]
    networks = found["NetworkSettings"]["Networks"]
    assert set(networks) == {f"{prefix}-api", f"{prefix}-egress"}
    assert f"{prefix}-gw" in networks[f"{prefix}-api"]["Aliases"]
    assert (host["Memory"], host["MemorySwap"]) == (64 * 2**20, 64 * 2**20)
    assert host["Tmpfs"] == {"/scratch": "size=1m"}
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], ["CAP_CHOWN"])
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["PortBindings"] in ({}, None)
    assert config["Healthcheck"] == {
        "Test": ["CMD", "true"],
        "Interval": 60_000_000_000,
        "Timeout": 5_000_000_000,
        "Retries": 3,
    }
    assert config["Labels"]["test.role"] == "gateway"
    assert "MODE=paper" in config["Env"]
    api, egress = client.inspect_network(f"{prefix}-api"), client.inspect_network(f"{prefix}-egress")
    assert (api["Internal"], egress["Internal"]) == (True, False)
    assert api["IPAM"]["Config"][0]["Subnet"] == f"{subnet}.0/28"
    assert egress["Options"] == {"com.docker.network.bridge.enable_icc": "false"}
    inside = subprocess.run(
        [
            "docker",
            "exec",
            f"{prefix}-gateway",
            "sh",
            "-c",
            "cat /run/secrets/password; ls -ln /run/secrets /run/start",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert inside.startswith(PASSWORD)
    assert "-r--r--r--    1 0        0" in inside
    assert "-rwxr--r--    1 0        0" in inside
    assert client.inspect_container(f"{prefix}-owner")["State"]["ExitCode"] == 3

    # The engine's side, and the secret in neither.
    assert project.outputs("plugins-t") == {
        "network": api["Id"],
        "container": found["Id"],
        "exit_code": 3,
        "logs": "done\n",
        "image_id": client.inspect_image(image)["Id"],
        "datas": [
            {
                "network_name": name,
                "ip_address": settings["IPAddress"],
                "ip_prefix_length": 28,
                "gateway": settings["Gateway"],
                "global_ipv6_address": "",
                "global_ipv6_prefix_length": 0,
                "ipv6_gateway": "",
                "mac_address": settings["MacAddress"],
            }
            for name, settings in sorted(networks.items())
        ],
    }
    assert leaks(project.state_text() + made.text + json.dumps(found), PASSWORD) == []
    recorded = project.recorded("gateway")
    assert set(recorded["inputs"]["uploads"]) == {"4dabf18193072939515e22adb298388d", "ciphertext"}
    assert set(recorded["outputs"]["uploads"]) == {"4dabf18193072939515e22adb298388d", "ciphertext"}

    # Left alone: nothing to do, with and without a refresh, again and again.
    assert project.preview().changed == {}
    for _ in range(2):
        refreshed = project.preview("--refresh")
        assert refreshed.code == 0, refreshed.text
        assert refreshed.changed == {}

    # Destroyed: everything goes with its grace, the retained volume stays and is adopted again.
    assert project.destroy().code == 0
    with pytest.raises(NotFound):
        client.inspect_container(f"{prefix}-gateway")
    with pytest.raises(NotFound):
        client.inspect_network(f"{prefix}-api")
    assert client.inspect_volume(f"{prefix}-settings")["Labels"] == {"test.role": "settings"}
    again = project.up()
    assert again.code == 0, again.text
    read = ["docker", "exec", f"{prefix}-gateway", "cat", "/data/owner", "/data/last"]
    kept = subprocess.run(read, capture_output=True, text=True, check=True).stdout
    assert kept == "was here\nwas here\nsaid goodbye\n"
    assert client.inspect_image(image)["Id"].startswith("sha256:")
