"""`ibgw destroy`: what is in the way of `pulumi destroy` is named before it begins, and what is ours is removed.

The provider asks for a network for 30 s while a container is attached to it, and then fails with the network's id; the
program, which could say more, does not run in a destroy.
"""

from collections.abc import Callable

from deployment.docker_address import command_line
from deployment.errors import ExitCode, IbgwError
from deployment.tables import Kind
from healthcheck.docker_host import DockerHost, docker_errors
from healthcheck.verifier_container import sweep
from operations.answers import Answer
from operations.repair.state import State, read_state
from operations.stack import Stack


class DestroyAnswer(Answer):
    """`next`: the command that deploys it again."""

    stack: str
    exit_code: int
    next: str


def destroy(stack: Stack, *, ask: Callable[[str], None], say: Callable[[str], None]) -> None:
    """Asks, and destroys. `ask` raises IbgwError (declined) unless the answer is yes.

    Raises IbgwError: refused, when foreign containers are attached, and nothing was changed; failed.
    """
    configured, state = stack.configured(), read_state(stack.export_state())
    containers = sorted(recorded.name for recorded in state.objects if recorded.kind is Kind.CONTAINER)
    with (
        DockerHost(configured.docker_host) as docker,
        docker_errors(f"Docker host {configured.docker_host}", "run this again once that is resolved"),
    ):

        def clear() -> None:
            removed = sweep(docker, configured.name_prefix, stack.name, running=True)
            if removed:
                say(f"removed {removed} of the verifier's objects")
            attached = in_the_way(docker, state)
            if attached:
                raise IbgwError(
                    f"Stack {stack.name!r} was not destroyed, and nothing was changed: {'; '.join(attached)}. Stop or "
                    "detach them, and run this again.",
                    exit_code=ExitCode.REFUSED,
                )

        clear()
        ask(
            f"Stack {stack.name!r} on {configured.docker_host} is destroyed: {', '.join(containers) or 'nothing'}, "
            "each with its time to log out, and its networks. The settings volumes stay."
        )
        # A question may wait for long, and what is open on live is read by a verifier.
        clear()
        if not stack.destroy():
            attached = in_the_way(docker, state)
            raise IbgwError(
                f"Stack {stack.name!r} was not destroyed, or not wholly: "
                f"{'; '.join(attached) or 'see what pulumi said'}. The same command goes on where it was.",
                exit_code=ExitCode.FAILED,
            )


def in_the_way(docker: DockerHost, state: State) -> list[str]:
    """What is attached to the state's networks and is not the state's, with what to do. Raises DockerError."""
    known = {recorded.id for recorded in state.objects}
    attached: list[str] = []
    for network in (recorded for recorded in state.objects if recorded.kind is Kind.NETWORK):
        inspected = docker.inspect(Kind.NETWORK, network.id)
        for identity, member in ((inspected or {}).get("Containers") or {}).items():
            if identity not in known:
                detach = f"{command_line(docker.url)} network disconnect {network.name} {member['Name']}"
                attached.append(f"container {member['Name']} is attached to {network.name} (`{detach}`)")
    return attached
