"""What the state records of a stack's objects, and what the engine and Docker say of them now."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from deployment.errors import IbgwError
from deployment.names import Names
from deployment.tables import KINDS, Kind, Token
from healthcheck.docker_host import DockerHost, docker_errors
from operations.drift.comparing import Change, Difference, Drift, Recorded, Seen, compare
from operations.stack import OUTPUT, Stack, parse_contract

Steps = list[dict[str, Any]]
"""Of what `pulumi refresh --preview-only --json` printed."""


def read(steps: Steps) -> list[Recorded]:
    """The objects on a Docker host that the state has. Pure."""
    states = [(step["oldState"], step) for step in steps]
    hosts = {
        f"{state['urn']}::{state['id']}": state["inputs"]["host"]
        for state, _ in states
        if state["type"] == Token.PROVIDER and "host" in state["inputs"]
    }
    return [
        _recorded(state, step, hosts)
        for state, step in states
        # What an interrupted update left to be deleted is no part of the stack any more.
        if state["type"] in KINDS and not state.get("delete")
    ]


def _recorded(state: Mapping[str, Any], step: Mapping[str, Any], hosts: Mapping[str, str]) -> Recorded:
    kind, inputs, outputs = KINDS[state["type"]], state["inputs"], state["outputs"]
    # Of images, the pulled one has a name and an image id, and the one built here an image name and its id as digest.
    image = outputs.get("imageId") or outputs.get("repoDigest")
    return Recorded(
        kind=kind,
        id=str(image) if kind is Kind.IMAGE else state["id"],
        name=inputs.get("name") or inputs["imageName"],
        host=hosts[state["provider"]],
        inputs=inputs,
        outputs=outputs,
        read=(step.get("newState") or {}).get("outputs"),
    )


def forgotten(steps: Steps, recorded: Iterable[Recorded]) -> list[Difference]:
    """What the stack's output promises and the state does not have. Pure."""
    outputs = next(
        (step["oldState"].get("outputs") or {} for step in steps if step["oldState"]["type"] == Token.STACK), {}
    )
    if OUTPUT not in outputs:
        return []
    deployment = parse_contract(json.dumps(outputs[OUTPUT]), f"the stack's output {OUTPUT!r}")
    names = Names(deployment.name_prefix, deployment.stack)
    promised = [(Kind.NETWORK, deployment.egress_network)]
    if (watched := deployment.monitoring) is not None:
        promised += [(Kind.CONTAINER, each.name) for each in (watched.prober, watched.watcher)]
        promised.append((Kind.NETWORK, watched.network))
    for gateway in deployment.gateways.values():
        promised += [
            (Kind.CONTAINER, gateway.container.name),
            (Kind.CONTAINER, names.settings_owner(gateway.name)),
            (Kind.NETWORK, gateway.api.network),
            *((Kind.VOLUME, volume) for volume in (gateway.volumes.settings, gateway.volumes.logs) if volume),
        ]
    there = {(record.kind, record.name) for record in recorded}
    return [
        Difference(kind=kind, name=name, item=None, change=Change.FORGOTTEN)
        for kind, name in promised
        if (kind, name) not in there
    ]


def look(stack: Stack) -> Drift:
    """Asks the engine and Docker. Raises IbgwError (could not run) where one of them does not answer, and where there
    is nothing to look for."""
    steps: Steps = json.loads(stack.refresh_preview()).get("steps") or []
    recorded = read(steps)
    differences = forgotten(steps, recorded)
    if not recorded and not differences:
        raise IbgwError(
            f"Stack {stack.name!r} records nothing on a Docker host: it was never deployed, or it was destroyed. "
            f"Deploy it with `{stack.first_deployment}`."
        )
    networks = {record.id: record.name for record in recorded if record.kind is Kind.NETWORK}
    for host in sorted({record.host for record in recorded}):
        with (
            DockerHost(host) as docker,
            docker_errors(f"Docker host {host}", "nothing is known of a drift; run `ibgw drift` again"),
        ):
            for record in recorded:
                if record.host == host:
                    differences += compare(record, seen(docker, record, networks))
    return Drift(stack=stack.name, differences=tuple(sorted(differences, key=_place)))


def _place(difference: Difference) -> tuple[int, str]:
    """By object; of one object in the table's order."""
    return list(Kind).index(difference.kind), difference.name


def seen(docker: DockerHost, recorded: Recorded, networks: Mapping[str, str]) -> Seen | None:
    """By id, else by name: whoever makes an object anew gives it another id."""
    inspected = docker.inspect(recorded.kind, recorded.id)
    if inspected is None and recorded.kind is not Kind.IMAGE:
        inspected = docker.inspect(recorded.kind, recorded.name)
    if inspected is None:
        return None
    image: Any = None
    if recorded.kind is Kind.CONTAINER:
        # Where the image itself is gone, only what we declared can be judged.
        image = (docker.inspect(Kind.IMAGE, inspected["Image"]) or inspected)["Config"]
    return Seen(inspected=inspected, image=image or {}, networks=networks)
