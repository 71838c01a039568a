"""What an edit does: in place, replaced with the old one gone first, or reported and not done at all."""

from typing import Any

import pytest

from tests.engine.plugins.conftest import Project, of, resource, secret
from tests.leaks import leaks

pytestmark = pytest.mark.timeout(300)

OLD, NEW = "first credential", "second credential"
SLEEP = ["sleep", "600"]
# The engine's steps of a replacement that deletes first, in their order.
DELETED_FIRST = ["delete-replaced", "replace", "create-replacement"]


def probe(interval: str) -> dict[str, Any]:
    return {"tests": ["CMD", "true"], "interval": interval, "timeout": "5s", "retries": 3}


def stack(prefix: str, image: str, subnet: str, *, edited: bool) -> list[dict[str, Any]]:
    def container(name: str, opts: dict[str, Any] | None = None, /, **arguments: Any) -> dict[str, Any]:
        fixed = {"name": f"{prefix}-{name}", "image": of("image", "image_id"), "command": SLEEP}
        return resource("Container", name, opts, **{**fixed, **arguments})

    strict = {"replace_on_changes": ["healthcheck", "tmpfs", "init", "mounts"], "delete_before_replace": True}
    quiet = {
        "healthcheck": probe("2m0s" if edited else "1m0s"),
        "tmpfs": {"/scratch": "size=2m" if edited else "size=1m"},
        "init": edited,
        "cpu_quota": 50000 if edited else 40000,
        "mounts": [{"type": "tmpfs", "target": "/mounted", "read_only": edited}],
    }
    return [
        resource("RemoteImage", "image", name=image, keep_locally=True),
        container("quiet", **quiet),
        container("strict", strict, **quiet),
        container("more_mounts", mounts=[{"type": "tmpfs", "target": f"/m{n}"} for n in range(2 if edited else 1)]),
        container("rotated", uploads=[{"file": "/run/password", "content": secret(NEW if edited else OLD)}]),
        container(
            "limits",
            memory=96 if edited else 64,
            memory_swap=96 if edited else 64,
            memory_reservation=48 if edited else 32,
            cpu_shares=512 if edited else 256,
            restart="on-failure" if edited else "no",
            max_retry_count=4 if edited else 0,
            destroy_grace_seconds=2 if edited else 1,
        ),
        container("no_swap", memory=64),
        container("spelled", healthcheck=probe("60s"), capabilities={"adds": ["CHOWN"]}),
        container("by_name", image=image),
        container("relabelled", labels=[{"label": "a", "value": "2" if edited else "1"}], envs=["A=1"]),
        resource("Network", "moved", name=f"{prefix}-moved", ipam_configs=[{"subnet": _subnet(subnet, edited)}])
        | {"options": {"delete_before_replace": True}},
        container("on_moved", networks_advanced=[{"name": of("moved", "id")}]),
        resource("Container", f"{prefix}-auto", image=of("image", "image_id"), command=SLEEP),
        resource("Volume", f"{prefix}-volume"),
    ]


def _subnet(subnet: str, edited: bool) -> str:
    return f"{subnet}.{'48' if edited else '32'}/28"


def ids(client: Any, prefix: str, names: list[str]) -> dict[str, str]:
    return {name: client.inspect_container(f"{prefix}-{name}")["Id"] for name in names}


def test_edits(project: Project, client: Any, prefix: str, image: str, subnet: str) -> None:
    """What pulumi-docker 5.1.0 was measured to do, with Docker 20.10:

    - memory without memory_swap is a diff for ever
    - an edit of healthcheck, tmpfs, init, cpu_quota is an update that does nothing to the running container
    - listed in replace_on_changes it replaces; with delete_before_replace the old container is gone first
    - a change inside a mount is recorded only, another number of mounts replaces
    - a changed upload replaces, the old container gone first, and shows as [secret] => [secret]
    - restart, max_retry_count, memory, memory_reservation, memory_swap, cpu_shares are applied in place
    - a duration that is not in Go's own form differs after reading
    - a capability without CAP_ is read back with it and replaces the container
    - labels and environment replace a container; every input replaces a network
    - a name that is not given is made of the resource's name and seven digits, and kept
    - a container whose image is given by name is replaced for ever
    """
    names = ["quiet", "strict", "more_mounts", "rotated", "limits", "no_swap", "spelled", "relabelled", "on_moved"]
    project.declare(
        *stack(prefix, image, subnet, edited=False),
        auto=of(f"{prefix}-auto", "name"),
        volume=of(f"{prefix}-volume", "name"),
    )
    made = project.up()
    assert made.code == 0, made.text
    before = ids(client, prefix, names)
    automatic = project.outputs("plugins-t")
    for name in ("auto", "volume"):
        stem, _, random = automatic[name].rpartition("-")
        assert (stem, len(random)) == (f"{prefix}-{name}", 7)
    assert client.inspect_volume(automatic["volume"])["Name"] == automatic["volume"]

    # Without an edit, four kinds of carelessness are never settled.
    swap = client.inspect_container(f"{prefix}-no_swap")["HostConfig"]["MemorySwap"]
    assert swap == 128 * 2**20  # Docker Engine: twice the memory, unless told otherwise
    unsettled = project.preview()
    assert unsettled.changed == {"no_swap": ["update"], "spelled": DELETED_FIRST, "by_name": DELETED_FIRST}
    assert unsettled.differences["no_swap"] == {"memorySwap": "delete"}

    project.declare(
        *stack(prefix, image, subnet, edited=True),
        auto=of(f"{prefix}-auto", "name"),
        volume=of(f"{prefix}-volume", "name"),
    )
    plan = project.preview("--diff")
    assert leaks(plan.text, OLD, NEW) == []
    assert "[secret] => [secret]" in " ".join(plan.text.split())
    done = project.up()
    assert done.code == 0, done.text
    after = ids(client, prefix, names)
    assert done.changed == plan.changed

    # Reported as an update, recorded, and not done.
    assert done.operations["quiet"] == ["update"]
    assert done.differences["quiet"] == {
        "healthcheck": "update",
        "tmpfs": "update",
        "init": "update",
        "cpuQuota": "update",
        "mounts": "update",
    }
    assert after["quiet"] == before["quiet"]
    quiet = client.inspect_container(f"{prefix}-quiet")
    assert quiet["Config"]["Healthcheck"]["Interval"] == 60_000_000_000
    assert quiet["HostConfig"]["Tmpfs"] == {"/scratch": "size=1m"}
    assert quiet["HostConfig"]["Init"] is False
    assert quiet["HostConfig"]["CpuQuota"] == 40000
    assert not quiet["HostConfig"]["Mounts"][0].get("ReadOnly")
    assert project.outputs("quiet")["healthcheck"]["interval"] == "2m0s"

    # The same edits, listed in replace_on_changes: replaced, the old one gone first as it says so.
    for name in ("strict", "more_mounts", "rotated", "relabelled"):
        assert done.operations[name] == DELETED_FIRST, name
        assert after[name] != before[name]
    strict = client.inspect_container(f"{prefix}-strict")
    assert strict["Config"]["Healthcheck"]["Interval"] == 120_000_000_000
    assert strict["HostConfig"]["Init"] is True
    assert leaks(str(client.inspect_container(f"{prefix}-rotated")) + done.text + project.state_text(), NEW) == []

    # Applied in place.
    assert done.operations["limits"] == ["update"]
    assert after["limits"] == before["limits"]
    host = client.inspect_container(f"{prefix}-limits")["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["MemoryReservation"]) == (96 * 2**20, 96 * 2**20, 48 * 2**20)
    assert (host["CpuShares"], host["RestartPolicy"]) == (512, {"Name": "on-failure", "MaximumRetryCount": 4})
    assert project.outputs("limits")["destroyGraceSeconds"] == 2

    # A network's input replaces it, and its containers with it.
    assert done.operations["moved"] == DELETED_FIRST
    assert client.inspect_network(f"{prefix}-moved")["IPAM"]["Config"][0]["Subnet"] == _subnet(subnet, True)
    assert after["on_moved"] != before["on_moved"]

    # Names that the plug-in chose stay.
    assert (done.operations[f"{prefix}-auto"], done.operations[f"{prefix}-volume"]) == (["same"], ["same"])
    assert project.outputs("plugins-t") == automatic

    # Settled, but for the careless ones; a refresh sees what the silent update did not do.
    assert project.preview().changed == unsettled.changed
    refreshed = project.preview("--refresh")
    assert refreshed.changed["quiet"] == ["update"]
    assert set(refreshed.changed) == {"no_swap", "spelled", "by_name", "quiet"}


@pytest.mark.exhaustive
def test_a_forced_replacement_creates_first(project: Project, client: Any, prefix: str, image: str) -> None:
    """By `--replace` or by replace_on_changes, the plug-in itself sees nothing to replace: the new container's fixed
    name is taken, unless the program says that the old one goes first."""

    def declare(opts: dict[str, Any], interval: str) -> None:
        fixed = {"name": f"{prefix}-forced", "image": of("image", "image_id"), "command": SLEEP}
        project.declare(
            resource("RemoteImage", "image", name=image, keep_locally=True),
            resource("Container", "forced", opts, healthcheck=probe(interval), **fixed),
        )

    replacing = {"replace_on_changes": ["healthcheck"]}
    declare(replacing, "1m0s")
    made = project.up()
    assert made.code == 0, made.text
    urn = project.recorded("forced")["urn"]
    before = client.inspect_container(f"{prefix}-forced")["Id"]

    for flags, interval in ((("--replace", urn), "1m0s"), ((), "2m0s")):
        declare(replacing, interval)
        failed = project.up(*flags)
        assert failed.code != 0
        assert failed.operations["forced"] == ["create-replacement"]
        assert "is already in use by container" in " ".join(failed.text.split())
        assert client.inspect_container(f"{prefix}-forced")["Id"] == before

    declare({**replacing, "delete_before_replace": True}, "2m0s")
    done = project.up()
    assert (done.code, done.operations["forced"]) == (0, DELETED_FIRST), done.text
    assert client.inspect_container(f"{prefix}-forced")["Id"] != before
