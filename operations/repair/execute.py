"""Carries out a plan, action by action."""

import contextlib
from collections.abc import Callable, Iterable

from healthcheck.docker_host import DockerHost, NotFound
from operations.repair import processes
from operations.repair.plan import Action, Verb
from operations.stack import Stack

Say = Callable[[str], None]


def execute(actions: Iterable[Action], *, docker: DockerHost, stack: Stack, say: Say) -> None:
    """Acts in the order given and says each action before it. What is gone already is no error.

    Raises IbgwError from Pulumi and DockerError from Docker; a second run picks up what was left.
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
                _remove_container(docker, action)
            case Verb.REMOVE_NETWORK:
                _remove_network(docker, action)
            case Verb.CLEAR_PENDING:
                stack.clear_pending()
            case Verb.FORGET:
                # All at once, below: each call of Pulumi takes about a second.
                continue
            case Verb.RENAME:
                docker.rename(action.id, action.name)
            case Verb.CONNECT:
                docker.connect(action.network, action.id, action.aliases)
            case Verb.DISCONNECT:
                docker.disconnect(action.network, action.id)
    gone = [action.id for action in pending if action.verb is Verb.FORGET]
    if gone:
        stack.refresh(gone)


def _remove_container(docker: DockerHost, action: Action) -> None:
    with contextlib.suppress(NotFound):
        if action.running:
            docker.stop(action.id, grace=action.grace)
        # Anonymous volumes go too; the settings volume has a name and stays.
        docker.remove(action.id)


def _remove_network(docker: DockerHost, action: Action) -> None:
    with contextlib.suppress(NotFound):
        for guest in action.guests:
            docker.disconnect(action.id, guest, force=True)
        docker.remove_network(action.id)
