"""Everything that a promotion does to the live stack: its file, its update, its gateways."""

from contextlib import closing
from dataclasses import dataclass

from contract.names import Label, Role
from healthcheck.docker_host import docker_errors, open_docker
from healthcheck.report import Report
from healthcheck.runner import REPORTS
from operations import lifecycle
from operations.promotion.course import Deployed, Say
from operations.prompt import confirm
from operations.repair.command import repair
from operations.repair.inventory import Scope
from operations.stack import PROJECT, Stack


@dataclass(frozen=True)
class LiveStack:
    """See operations.promotion.course.Live."""

    stack: Stack
    say: Say

    def name_release(self, release: str | None) -> None:
        self.stack.name_release(release)

    def deploy(self) -> Deployed:
        # The program leaves its report there; an older one must not be taken for it.
        path = REPORTS / f"{self.stack.name}.json"
        path.unlink(missing_ok=True)
        before = self._containers()
        succeeded = self.stack.up()
        report = Report.model_validate_json(path.read_bytes()) if path.exists() else None
        return Deployed(succeeded=succeeded, touched=self._containers() != before, report=report)

    def settle(self) -> None:
        for action in repair(self.stack, yes=True, say=self.say, ask=confirm).done:
            self.say(f"done: {action.text}")

    def stop(self) -> None:
        self._each(lifecycle.stop)

    def start(self) -> None:
        self._each(lifecycle.start)

    def _each(self, act: lifecycle.Act) -> None:
        contract = self.stack.contract()
        with closing(open_docker(contract.docker_host)) as client:
            for gateway in contract.gateways.values():
                act(client, contract, gateway, self.say)

    def _containers(self) -> frozenset[str]:
        """The ids of the stack's gateways on the Docker host."""
        configured = self.stack.configured()
        with (
            closing(open_docker(configured.docker_host)) as client,
            docker_errors(f"Docker host {configured.docker_host}", "check the daemon"),
        ):
            filters = Scope(configured.name_prefix, PROJECT, self.stack.name).filters
            filters["label"].append(f"{Label.ROLE}={Role.GATEWAY}")
            found = client.api.containers(all=True, filters=filters)
        return frozenset(one["Id"] for one in found)
