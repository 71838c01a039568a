"""What to do about a reason, as steps in their order, with commands that can be run as they stand. Pure.

A command depends on more than the reason: on live nothing is deployed but by `ibgw`; a gateway that is stopped is
started, one that its start guard holds is let go, and any other is restarted; Docker is asked where the gateway runs.
"""

import shlex
from collections.abc import Mapping

from pydantic import JsonValue

from deployment.description import Gateway, Mode
from deployment.docker_address import LOCAL, command_line
from deployment.tables import Token
from healthcheck.observation import HELD, SHARING, STRANGERS, Observation
from healthcheck.reasons import EXPLANATIONS, LOG_IN, VERIFY, Reason, Retry

URN = "urn:pulumi:{stack}::ibgw::{token}::{name}"
IMAGE_TOKEN = str(Token.BUILT_IMAGE)
CONTAINER_TOKEN = f"{Token.GATEWAY}${Token.CONTAINER}"

GUARDED = frozenset(
    {
        Reason.GUARD_HELD,
        Reason.WRONG_ACCOUNT,
        Reason.VOLUME_LOST,
        Reason.TOO_MANY_LOGINS,
        Reason.SECOND_FACTOR_HELD,
    }
)
"""Whatever else is known of the gateway, its start guard holds it."""

BRINGS_UP = ("{login}", "{other_image}")
"""What a last step holds after which the gateway runs."""


def steps(observation: Observation, gateway: Gateway, stack: str, docker_host: str = LOCAL) -> tuple[str, ...]:
    """What to do about what was seen; nothing where it has no reason."""
    if observation.reason is None:
        return ()
    own = EXPLANATIONS[observation.reason]
    todo = (*own.before, *own.remedy)
    if observation.because is not None:
        # First the cause. What then brings the gateway up is the last step, unless the cause's own steps do.
        cause = tuple(step for step in EXPLANATIONS[observation.because].remedy if step != VERIFY)
        brought_up = any(word in cause[-1] for word in BRINGS_UP)
        todo = (*own.before, *cause, *(() if brought_up else own.remedy[-1:]))
    if observation.data.get(HELD) and not any("{login}" in step for step in todo):
        # Whatever else is put right, it stays held until somebody lets it go.
        todo = (*todo, LOG_IN)
    guarded = {observation.reason, observation.because} & GUARDED
    retry = Retry.AGAIN if guarded else observation.retry
    known = names(gateway, stack, docker_host, retry=retry, data=observation.data)
    return tuple(dict.fromkeys(step.format_map(known) for step in todo))


def names(
    gateway: Gateway,
    stack: str,
    docker_host: str = LOCAL,
    *,
    retry: Retry = Retry.RESTART,
    data: Mapping[str, JsonValue] | None = None,
) -> dict[str, str]:
    """What a step may hold, in words and commands."""
    where = f"--stack {stack} --gateway {gateway.name}"
    container, network = gateway.container.name, gateway.api.network
    docker = command_line(docker_host)
    urns = {
        token: URN.format(stack=stack, token=token, name=name)
        for token, name in ((IMAGE_TOKEN, "verifier-image"), (CONTAINER_TOKEN, gateway.name))
    }
    detach = _each(f"{docker} network disconnect {network}", (data or {}).get(STRANGERS))
    restart = f"`ibgw restart {where}` (this logs in again)"
    logins = {
        Retry.RESTART: restart,
        Retry.START: f"`ibgw start {where}`",
        Retry.AGAIN: f"`ibgw login --again {where}`",
    }
    known = {
        "stack": stack,
        "gateway": gateway.name,
        "container": container,
        "network": network,
        "secret": gateway.secret.id,
        "settings": f"ibgw:gateways.{gateway.name}",
        "testing_ids": "{} to {}".format(*gateway.client_ids.testing),
        "put_secret": f"`ibgw credentials put {where}`",
        "login": logins[retry],
        "start": f"`ibgw start {where}`",
        "stop": f"`ibgw stop {where}`",
        "verify": f"`ibgw verify {where}`",
        "logs": f"`ibgw logs {where}`",
        "screen": f"`ibgw screen {where}`",
        "repair": f"`ibgw repair --stack {stack}`",
        "unpause": f"`{docker} unpause {container}`",
        "remove": f"`{docker} rm --force {container}`",
        "stats": f"`{docker} stats --no-stream {container}`",
        "inspect_network": f"`{docker} network inspect {network}`",
        "volume_users": f"`{docker} ps --filter volume={gateway.volumes.settings}`",
        "detach": f"detach it: {detach}" if detach else "find out who starts it; it is gone again",
        "remove_sharing": _each(f"{docker} rm --force", (data or {}).get(SHARING)) or "it is gone again",
        **(_on_live if gateway.mode is Mode.LIVE else _on_paper)(stack, where, docker, container, urns),
    }
    return known | {"hand_over": f"`{docker} rm {container}-settings-owner`, then {known['recreate_missing']}"}


def _on_paper(stack: str, where: str, docker: str, container: str, urns: Mapping[str, str]) -> dict[str, str]:
    up = f"pulumi up --stack {stack}"
    return {
        "deploy": f"`{up}`",
        "recreate_missing": f"`pulumi up --refresh --stack {stack}`",
        "apply_again": f"`pulumi up --refresh --stack {stack}`",
        "recreate": f"`{up} --replace '{urns[CONTAINER_TOKEN]}'` (this logs in again)",
        "rebuild": f"`{up} --replace '{urns[IMAGE_TOKEN]}'`",
        "other_image": f"name another one in ibgw:image of Pulumi.{stack}.yaml, then `{up}`",
    }


def _on_live(stack: str, where: str, docker: str, container: str, urns: Mapping[str, str]) -> dict[str, str]:
    """A promotion takes no change of the configuration or of a secret along; a rollout does, and verifies."""
    rollout = f"`ibgw rollout {where}`"
    anew = f"`ibgw repair --stack {stack}`, then {rollout}"
    return {
        "deploy": rollout,
        "recreate_missing": anew,
        "apply_again": f"`pulumi refresh --stack {stack} --target '{urns[CONTAINER_TOKEN]}'`, then {rollout}",
        "recreate": f"`ibgw stop {where}`, then `{docker} rm {container}`, then {anew} (this logs in again)",
        # Nothing else is touched, and nothing else makes it.
        "rebuild": f"`pulumi up --stack {stack} --target-replace '{urns[IMAGE_TOKEN]}'`",
        "other_image": "name another one in ibgw:image of the paper stack and deploy it there, then "
        f"`ibgw promote --to {stack}`",
    }


def _each(command: str, names: JsonValue) -> str:
    """The command for each of these, in their order; empty where there are none."""
    quoted = [shlex.quote(str(name)) for name in names] if isinstance(names, list) else []
    return ", then ".join(f"`{command} {name}`" for name in quoted)
