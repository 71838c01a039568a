"""Everything that a promotion does to the live stack: its file, its update, its gateways."""

from collections.abc import Sequence
from dataclasses import dataclass

from deployment.errors import IbgwError
from deployment.names import PROJECT, Label, Role
from deployment.paths import RELEASES, project_folder
from deployment.tables import Kind
from healthcheck.docker_host import DockerHost, docker_errors
from healthcheck.report import Report
from healthcheck.runner import look
from infra.release import read_release
from operations import lifecycle
from operations.promotion.checkout import program_of
from operations.promotion.deployer import Deployed, Say
from operations.prompt import confirm
from operations.repair.command import repair
from operations.repair.inventory import Scope
from operations.stack import Stack
from operations.verification import update


def other_program(commit: str, stack: str) -> str:
    """What a person must know after a deployment by another program than the one that is checked out."""
    return (
        f"{stack} was deployed by the program of commit {commit}. `pulumi up` deploys what is checked out: check that "
        "commit out before you use it here, or promote anew."
    )


REFUSED = (
    "That was the release's own program, with today's configuration. Where it does not know a key, take that out of "
    "Pulumi.{}.yaml and run the same again."
)


@dataclass(frozen=True)
class LiveStack:
    """See operations.promotion.deployer.Live."""

    stack: Stack
    say: Say

    def name_release(self, release: str | None) -> None:
        self.stack.name_release(release)

    def deploy(self, release: str) -> Deployed:
        folder, before = project_folder(), self._containers()
        try:
            with program_of(read_release(folder / RELEASES, release), self.stack, folder) as program:
                succeeded, report = update(program.stack, project=program.project)
        except IbgwError as error:
            self.say(str(error))
            return Deployed(succeeded=False, touched=False, report=None)
        touched = self._containers() != before
        if program.commit is not None:
            deployed = other_program(program.commit, self.stack.name)
            self.say(deployed if report or touched else REFUSED.format(self.stack.name))
        if report is None and touched:
            report = self._look()
        return Deployed(succeeded=succeeded, touched=touched, report=report)

    def _look(self) -> Report | None:
        """After an update that ended in the middle: what became of the gateways. None where that cannot be seen."""
        try:
            return look(self.stack.deployment(), wait=0, progress=self.say, recorded=self.stack.recorded_ids)
        except IbgwError as error:
            self.say(str(error))
            return None

    def repair(self) -> None:
        outcome = repair(self.stack, yes=True, say=self.say, ask=confirm)
        for text in (*(f"done: {action.text}" for action in outcome.done), *outcome.notes):
            self.say(text)

    def stop(self, gateways: Sequence[str]) -> None:
        self._each(lifecycle.stop, gateways)

    def start(self, gateways: Sequence[str]) -> None:
        self._each(lifecycle.start, gateways)

    def _each(self, act: lifecycle.Act, gateways: Sequence[str]) -> None:
        """One whose container is gone is passed over: the update that follows makes it anew, or says so."""
        deployment = self.stack.deployment()
        with DockerHost(deployment.docker_host) as docker:
            for name in gateways:
                try:
                    act(docker, deployment, deployment.gateways[name], self.say)
                except IbgwError as error:
                    self.say(str(error))

    def _containers(self) -> frozenset[str]:
        """The ids of the stack's gateways on the Docker host."""
        configured = self.stack.configured()
        with (
            DockerHost(configured.docker_host) as docker,
            docker_errors(f"Docker host {configured.docker_host}", "check the daemon"),
        ):
            scope = Scope(configured.name_prefix, PROJECT, self.stack.name)
            containers = docker.find(Kind.CONTAINER, scope.labels | {Label.ROLE: Role.GATEWAY})
        return frozenset(container["Id"] for container in containers)
