"""A port on the operator's loopback that leads to a gateway's API, for as long as the command runs.

Nothing is published: each connection is one `docker exec` of the image's own socat, through the docker CLI, so that an
`ssh://` host is reached with the operator's own ssh configuration.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

from deployment.description import MONITORING_PORT, Container, Deployment, Gateway, Monitoring
from deployment.errors import ExitCode, IbgwError
from deployment.tables import Kind
from healthcheck.docker_host import DockerHost, docker_errors
from healthcheck.remedies import names

LOOPBACK = "127.0.0.1"
CHUNK = 65536
PATIENCE = 3.0
"""Seconds that a relay's process has to end by itself once its input is closed."""

Say = Callable[[str], None]


def relay_command(docker_host: str, gateway: Gateway, inner_port: int) -> list[str]:
    """The process behind one connection to a port of the container. socat ends when either side closes.

    By name, so that a port that stays open leads to the gateway's container after an update has replaced it."""
    return [
        *("docker", "--host", docker_host, "exec", "--interactive", gateway.container.name),
        *("socat", "-", f"TCP:127.0.0.1:{inner_port}"),
    ]


def watcher_relay(docker_host: str, watcher: Container) -> list[str]:
    """The same to a stack's watcher, whose image has no socat."""
    relay = ("python3", "-m", "healthcheck.monitoring.relay", str(MONITORING_PORT))
    return ["docker", "--host", docker_host, "exec", "--interactive", watcher.name, *relay]


def require_docker_cli() -> None:
    """Raises IbgwError."""
    if shutil.which("docker") is None:
        raise IbgwError("There is no `docker` on PATH: forwarding uses the docker command line client. Install it.")


def monitoring_of(deployment: Deployment) -> Monitoring:
    """Raises IbgwError (REFUSED) where there is none."""
    if deployment.monitoring is None:
        raise IbgwError(
            f"Nothing watches stack {deployment.stack!r}: set ibgw:monitoring.enabled to true and run "
            f"`pulumi up --stack {deployment.stack}`, which touches no gateway.",
            exit_code=ExitCode.REFUSED,
        )
    return deployment.monitoring


def require_watching(docker: DockerHost, deployment: Deployment, watcher: Container) -> None:
    """Raises IbgwError if the docker CLI is missing, the host does not answer or the watcher does not run."""
    require_docker_cli()
    with docker_errors(f"Container {watcher.name} on {docker.url}", "try again"):
        container = docker.inspect(Kind.CONTAINER, watcher.id)
    if container is None or not container["State"]["Running"]:
        raise IbgwError(
            f"The watcher {watcher.name} does not run on {deployment.docker_host}. Create it again with "
            f"`pulumi up --refresh --stack {deployment.stack}`, which touches no gateway that is as deployed."
        )


def require_running(docker: DockerHost, deployment: Deployment, gateway: Gateway) -> None:
    """Raises IbgwError if the host does not answer or the container does not run."""
    with docker_errors(f"Container {gateway.container.name} on {docker.url}", "try again"):
        container = docker.inspect(Kind.CONTAINER, gateway.container.id)
    if container is None:
        raise IbgwError(
            f"The container {gateway.container.name} is gone from {deployment.docker_host}. "
            f"Create it again with {names(gateway, deployment.stack, deployment.docker_host)['recreate_missing']}."
        )
    if not container["State"]["Running"]:
        raise IbgwError(
            f"The gateway {gateway.container.name} is stopped. "
            f"Start it with `ibgw start --stack {deployment.stack} --gateway {gateway.name}`.",
            exit_code=ExitCode.REFUSED,
        )


@dataclass
class Forwarder:
    """Accepts connections on the loopback and runs `command` for each."""

    command: list[str]
    say: Say
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, port: int, ready: Callable[[int], None], stop: asyncio.Event) -> None:
        """Serves until `stop` is set, then ends every connection and every process. `port` 0 means any free one.

        `ready` gets the port once it is open. Raises IbgwError if the port cannot be opened.
        """
        try:
            server = await asyncio.start_server(self._accept, LOOPBACK, port)
        except OSError as error:
            raise IbgwError(
                f"Port {port} on {LOOPBACK} cannot be opened ({os.strerror(error.errno or 0)}): "
                "choose another with --port, or end what uses it."
            ) from None
        ready(server.sockets[0].getsockname()[1])
        try:
            await stop.wait()
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._relay(reader, writer)
        except asyncio.CancelledError:
            # The server's end, asked for by the operator: a cancelled handler is no error.
            return
        finally:
            self._connections.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A process group of its own: the terminal's Ctrl-C goes to this program alone, which then ends the whole group
        # (with ssh:// the docker CLI has an ssh of its own below it).
        process = await asyncio.create_subprocess_exec(
            *self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self.say("client connected")
        outward = asyncio.create_task(_pump(reader, process.stdin))
        inward = asyncio.create_task(_pump(process.stdout, writer))
        try:
            # The gateway's side decides: when socat ends, its output ends and the client is told so.
            await inward
        finally:
            outward.cancel()
            inward.cancel()
            await asyncio.gather(outward, inward, return_exceptions=True)
            writer.close()
            await _end(process)
            self.say("client disconnected")


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copies until the source ends, then closes the target. A broken connection is an end like any other."""
    with contextlib.suppress(ConnectionError):
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
    target.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Closes the process's input, which ends socat inside the container too, and makes sure that nothing is left."""
    assert process.stdin is not None
    process.stdin.close()
    for signum in (None, signal.SIGTERM, signal.SIGKILL):
        if signum is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signum)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await process.wait()
            return


def forward(deployment: Deployment, gateway: Gateway, port: int, say: Say) -> None:
    """Forwards `port` on the loopback to the gateway's API, until SIGINT or SIGTERM.

    Raises IbgwError if it cannot begin.
    """
    require_docker_cli()
    with DockerHost(deployment.docker_host) as docker:
        require_running(docker, deployment, gateway)
    command = relay_command(deployment.docker_host, gateway, gateway.api.inner_port)
    _serve(command, port, f"gateway {gateway.name!r} of stack {deployment.stack!r} ({gateway.mode})", say)


def forward_monitoring(deployment: Deployment, port: int, say: Say) -> None:
    """Forwards `port` on the loopback to the stack's watcher, until SIGINT or SIGTERM.

    Raises IbgwError if it cannot begin, REFUSED where nothing watches the stack.
    """
    watcher = monitoring_of(deployment).watcher
    with DockerHost(deployment.docker_host) as docker:
        require_watching(docker, deployment, watcher)
    command = watcher_relay(deployment.docker_host, watcher)
    _serve(
        command, port, f"the watcher of stack {deployment.stack!r}: /, /metrics, /healthz, /readyz, /state.json", say
    )


def _serve(command: list[str], port: int, what: str, say: Say) -> None:
    def opened(number: int) -> None:
        say(f"{LOOPBACK}:{number} leads to {what}. Ctrl-C ends it.")

    async def serve() -> None:
        stop = asyncio.Event()
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        await Forwarder(command, say).run(port, opened, stop)

    asyncio.run(serve())
    say("Forwarding ended.")
