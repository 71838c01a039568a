"""`ibgw alerts test`: whether what a stack's watcher has to tell gets to whom it concerns."""

from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from deployment.description import Deployment
from deployment.errors import ExitCode, IbgwError
from healthcheck.docker_host import DockerHost, docker_errors
from healthcheck.text import clean
from operations.answers import Answer
from operations.forward import monitoring_of, require_watching

TRIES = ("python3", "-m", "healthcheck.monitoring.watching")


class Tried(Answer):
    """`channel`: the id of the secret that holds its address. `why`: it was not delivered."""

    channel: str
    delivered: bool
    why: str


class AlertsAnswer(Answer):
    stack: str
    channels: Annotated[tuple[Tried, ...], Field(min_length=1)]

    def text(self) -> str:
        return "\n".join(
            f"{clean(one.channel)}: " + ("delivered" if one.delivered else f"not delivered: {clean(one.why)}")
            for one in self.channels
        )


def try_out(docker: DockerHost, deployment: Deployment) -> AlertsAnswer:
    """A message to each channel and a heartbeat, from where the stack's own come from.

    Raises IbgwError, REFUSED where there is nobody to tell."""
    watcher = monitoring_of(deployment).watcher
    require_watching(docker, deployment, watcher)
    with docker_errors(f"Container {watcher.name} on {docker.url}", "try again"):
        text = docker.run(watcher.id, TRIES)
    try:
        tried = TypeAdapter(tuple[Tried, ...]).validate_json(text)
    except ValidationError:
        raise IbgwError(
            f"The watcher {watcher.name} did not say what became of the messages. Its log may tell why; an "
            f"update puts a watcher of this version there: `pulumi up --stack {deployment.stack}`."
        ) from None
    if not tried:
        raise IbgwError(
            f"Nobody is told of stack {deployment.stack!r}: name a secret that holds an address in "
            f"ibgw:monitoring.notify, and run `pulumi up --stack {deployment.stack}`, which touches no gateway.",
            exit_code=ExitCode.REFUSED,
        )
    return AlertsAnswer(stack=deployment.stack, channels=tried)
