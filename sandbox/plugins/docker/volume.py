"""`docker:index/volume:Volume`. Every input replaces. A volume of the same name is adopted, contents and all."""

from typing import Any

from sandbox.plugins.docker.daemon import (
    Daemon,
    failing_as,
    labels_from_docker,
    labels_to_docker,
    remove_when_free,
)
from sandbox.plugins.provider import State
from sandbox.plugins.values import Properties


def create(daemon: Daemon, inputs: Properties) -> State:
    with failing_as("Unable to create volume"):
        inspected = daemon.client.create_volume(
            inputs["name"], inputs.get("driver"), inputs.get("driverOpts"), labels_to_docker(inputs.get("labels"))
        )
    return State(inspected["Name"], {**inputs, **_outputs(inspected)})


def read(daemon: Daemon, state: State) -> State | None:
    from docker.errors import NotFound

    with failing_as("Unable to inspect volume"):
        try:
            inspected = daemon.client.inspect_volume(state.id)
        except NotFound:
            return None
    return State(inspected["Name"], {**state.properties, **_outputs(inspected)})


def delete(daemon: Daemon, state: State) -> None:
    client = daemon.client
    remove_when_free(
        lambda: client.remove_volume(state.id, force=True), "volume is in use", f"Unable to remove volume {state.id}"
    )


def _outputs(inspected: dict[str, Any]) -> Properties:
    return {
        "name": inspected["Name"],
        "driver": inspected["Driver"],
        "driverOpts": inspected.get("Options") or {},
        "labels": labels_from_docker(inspected.get("Labels")),
        "mountpoint": inspected["Mountpoint"],
    }
