"""A stack of the sandbox under test: the commands on it, its objects in Docker, what the broker counts of its users."""

import json
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import docker

from deployment.names import Names
from sandbox.environment import Sandbox, Stack
from tests.engine.conftest import Completed, Tools

UP = ["up", "--yes", "--skip-preview"]
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def not_now() -> dict[str, list[str]]:
    """Trading hours that do not hold now, whatever the time zone."""
    return {"days": [DAYS[(datetime.now(UTC) + timedelta(days=3)).weekday()]]}


@dataclass(frozen=True)
class StackUnderTest:
    tools: Tools
    stack: Stack

    @property
    def name(self) -> str:
        return self.stack.name

    @property
    def sandbox(self) -> Sandbox:
        return self.tools.sandbox

    @property
    def client(self) -> docker.DockerClient:
        return self.tools.client

    @property
    def base(self) -> str:
        """What the names of its objects begin with."""
        return f"{self.sandbox.prefix}-{self.name}"

    def pulumi(self, *words: str, check: bool = True) -> Completed:
        return self.tools.pulumi(words, stack=self.stack, check=check)

    def up(self, *, check: bool = True) -> Completed:
        return self.pulumi(*UP, check=check)

    def destroy(self, *, check: bool = True) -> Completed:
        return self.pulumi("destroy", "--yes", "--skip-preview", check=check)

    def leave(self) -> None:
        self.tools.leave(self.stack)

    def ibgw(self, line: str, code: int | None = 0) -> Completed:
        """`code`: what it has to end with; None for anything."""
        done = self.tools.run(shlex.split(f"ibgw {line}"), stack=self.stack, check=False)
        assert code in (None, done.returncode), done.stdout + done.stderr
        return done

    def export(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.pulumi("stack", "export").stdout)
        return found

    def container(self, gateway: str = "main") -> dict[str, Any]:
        """As Docker has it now."""
        return dict(self.client.api.inspect_container(Names(self.sandbox.prefix, self.name).gateway(gateway)))

    def ids(self, *gateways: str) -> dict[str, str]:
        return {gateway: str(self.container(gateway)["Id"]) for gateway in gateways}

    def user(self, gateway: str = "main") -> str:
        return self.sandbox.user_of(self.name, gateway)

    def counted(self, gateway: str = "main") -> dict[str, Any]:
        found: dict[str, Any] = self.sandbox.broker().status()["users"][self.user(gateway)]
        return found
