"""Carries out a plan, action by action."""

import contextlib
from collections.abc import Callable, Iterable

import docker
import docker.errors

from operations.repair import processes
from operations.repair.plan import Action, Verb
from operations.stack import Stack

Say = Callable[[str], None]


def execute(actions: Iterable[Action], *, client: docker.DockerClient, stack: Stack, say: Say) -> None:
    """Acts in the order given and says each action before it. What is gone already is no error.

    Raises IbgwError from Pulumi and docker.errors.APIError from Docker; a second run picks up what was left.
    """
    pending = list(actions)
    for action in pending:
        say(action.text)
        match action.verb:
            case Verb.END_PROCESS:
                processes.end(int(action.id))
            case Verb.CANCEL_LOCK:
                stack.cancel_lock()
            case Verb.REMOVE_CONTAINER:
                _remove_container(client, action)
            case Verb.REMOVE_NETWORK:
                _remove_network(client, action)
            case Verb.CLEAR_PENDING:
                stack.clear_pending()
            case Verb.FORGET:
                # All at once, below: each call of Pulumi takes about a second.
                continue
            case Verb.RENAME:
                client.api.rename(action.id, action.name)
            case Verb.CONNECT:
                client.api.connect_container_to_network(action.id, action.network, aliases=list(action.aliases))
            case Verb.DISCONNECT:
                client.api.disconnect_container_from_network(action.id, action.network)
    gone = [action.id for action in pending if action.verb is Verb.FORGET]
    if gone:
        stack.forget(gone)


def _remove_container(client: docker.DockerClient, action: Action) -> None:
    with contextlib.suppress(docker.errors.NotFound):
        if action.running:
            client.api.stop(action.id, timeout=action.grace)
        # Anonymous volumes go too; the settings volume has a name and stays.
        client.api.remove_container(action.id, v=True, force=True)


def _remove_network(client: docker.DockerClient, action: Action) -> None:
    with contextlib.suppress(docker.errors.NotFound):
        for guest in action.guests:
            client.api.disconnect_container_from_network(guest, action.id, force=True)
        client.api.remove_network(action.id)
