"""What was changed by hand: what a plain run sees of it, and what one with a refresh makes of it."""

from typing import Any

import pytest
from docker.errors import NotFound

from tests.engine.plugins.conftest import Project, of, resource

pytestmark = pytest.mark.timeout(300)

SLEEP = ["sleep", "600"]


def stack(prefix: str, image: str, subnet: str) -> list[dict[str, Any]]:
    def container(name: str, **arguments: Any) -> dict[str, Any]:
        fixed = {"name": f"{prefix}-{name}", "image": of("image", "image_id"), "command": SLEEP}
        return resource("Container", name, **{**fixed, **arguments})

    return [
        resource("RemoteImage", "image", name=image, keep_locally=True),
        resource("Network", "kept", name=f"{prefix}-kept", ipam_configs=[{"subnet": f"{subnet}.64/28"}]),
        resource("Network", "lost", name=f"{prefix}-lost", ipam_configs=[{"subnet": f"{subnet}.80/28"}]),
        resource("Volume", "emptied", name=f"{prefix}-emptied"),
        container("removed", networks_advanced=[{"name": of("kept", "id")}]),
        container("stopped"),
        container("limited", memory=64, memory_swap=64, restart="unless-stopped"),
        container("connected", networks_advanced=[{"name": of("kept", "id")}]),
        container("once", command=["true"], attach=True, must_run=False),
    ]


@pytest.mark.exhaustive
def test_changes_by_hand(project: Project, client: Any, prefix: str, image: str, subnet: str) -> None:
    """What pulumi-docker 5.1.0 was measured to do, with Docker 20.10:

    - a container removed by hand: a plain up says unchanged, up --refresh creates it
    - a container stopped by hand: a plain run sees nothing, --refresh plans an update that starts it
    - labels, environment, uploads and attachments are not read back: joining a network by hand is not seen
    - network_datas, and other outputs that a refresh may change, lead to no step
    """
    project.declare(*stack(prefix, image, subnet))
    made = project.up()
    assert made.code == 0, made.text
    stopped = client.inspect_container(f"{prefix}-stopped")["Id"]

    client.remove_container(f"{prefix}-removed", force=True)
    client.stop(f"{prefix}-stopped", timeout=0)
    client.update_container(
        f"{prefix}-limited",
        mem_limit="128m",
        memswap_limit="128m",
        restart_policy={"Name": "no", "MaximumRetryCount": 0},
    )
    client.connect_container_to_network(f"{prefix}-connected", "bridge")
    client.remove_network(f"{prefix}-lost")
    client.remove_volume(f"{prefix}-emptied")

    # Without a refresh, nothing is seen and nothing done.
    plain = project.up()
    assert (plain.code, plain.changed) == (0, {})
    with pytest.raises(NotFound):
        client.inspect_container(f"{prefix}-removed")
    assert client.inspect_container(stopped)["State"]["Running"] is False

    # With one, what is gone is made, what stopped is started, what differs is brought in line. Who joined a network
    # and which networks were joined by hand is not read back.
    healing = {
        "removed": ["create"],
        "lost": ["create"],
        "emptied": ["create"],
        "stopped": ["update"],
        "limited": ["update"],
    }
    plan = project.preview("--refresh")
    assert (plan.code, plan.changed) == (0, healing)
    assert plan.differences["stopped"] == {"mustRun": "update"}
    healed = project.up("--refresh")
    assert (healed.code, healed.changed) == (0, healing)
    assert client.inspect_container(f"{prefix}-removed")["State"]["Running"] is True
    started = client.inspect_container(f"{prefix}-stopped")
    assert (started["Id"], started["State"]["Running"]) == (stopped, True)
    host = client.inspect_container(f"{prefix}-limited")["HostConfig"]
    assert (host["Memory"], host["RestartPolicy"]["Name"]) == (64 * 2**20, "unless-stopped")
    assert "bridge" in client.inspect_container(f"{prefix}-connected")["NetworkSettings"]["Networks"]
    assert project.preview("--refresh").changed == {}
