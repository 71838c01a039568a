"""A Docker daemon of a test's own, for what must not be done to the machine's: restarts and a crash.

It lives in the sandbox's internet, a network namespace: there its rules for packets do not meet the machine's own
daemon's, its containers reach the broker as an address next door, and what a killed test leaves ends with the sandbox.
"""

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException

from sandbox.docker_engine import REQUEST_SECONDS
from sandbox.environment import Sandbox
from sandbox.packages import find
from sandbox.processes import wait_until

SECONDS = 180
"""For the daemon to answer, or to end: it stops its containers first."""


class PrivateDocker:
    """Its data lie in the sandbox's folder, its sockets in `folder`, whose path is to be short: the address of a Unix
    socket has room for 107 bytes (unix(7))."""

    def __init__(self, sandbox: Sandbox, folder: Path, *options: str) -> None:
        """`options`: more of dockerd's."""
        self._sandbox = sandbox
        self._folder = folder
        self._options = options
        self._data = sandbox.folder / "private-docker"
        self._log = sandbox.folder / "logs" / "private-docker.log"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.host = f"unix://{folder}/docker.sock"

    def start(self) -> None:
        """The daemon; containerd runs beside it, as it does under systemd, and outlives it."""
        containerd = f"{self._folder}/containerd.sock"
        if not self._processes:
            folders = [f"--root={self._data}/containerd", f"--state={self._folder}/containerd"]
            self._run("containerd", *folders, f"--address={containerd}")
            assert wait_until(Path(containerd).exists, seconds=SECONDS), self._said()
        self._daemon = self._run(
            "dockerd",
            f"--host={self.host}",
            f"--containerd={containerd}",
            f"--data-root={self._data}/docker",
            f"--exec-root={self._folder}/docker",
            f"--pidfile={self._folder}/pid",
            "--bridge=none",
            *self._options,
        )
        wait_until(lambda: self._daemon.poll() is not None or self._answers(), seconds=SECONDS)
        assert self._answers(), self._said()

    def end(self, number: signal.Signals) -> None:
        self._daemon.send_signal(number)
        self._daemon.wait(SECONDS)

    def serve_registry(self) -> None:
        """The sandbox's registry once more, on the namespace's own loopback: images come from there by digest."""
        self._run("docker-registry", "serve", str(self._sandbox.folder / "registry" / "config.yml"))

    def copy_images(self, *images: str) -> None:
        """From the machine's daemon, with all that they were built from: the builder here then finds each of its steps
        in the cache, and there is no way out of the namespace for one that would install something."""
        source = ["docker", "--host", self._sandbox.docker_host]
        history = [subprocess.check_output([*source, "history", "-q", image], text=True) for image in images]
        layers = [layer for layer in " ".join(history).split() if layer != "<missing>"]
        with subprocess.Popen([*source, "save", *images, *layers], stdout=subprocess.PIPE) as saved:
            subprocess.run(["docker", "--host", self.host, "load", "-q"], stdin=saved.stdout, check=True)
        assert saved.returncode == 0

    def client(self) -> docker.DockerClient:
        return docker.DockerClient(base_url=self.host, version="auto", timeout=REQUEST_SECONDS)

    def close(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            process.wait(SECONDS)
        mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for path in reversed(mounted):
            if path.startswith((f"{self._data}/", f"{self._folder}/")):
                subprocess.run(["umount", path], check=True)

    def _said(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]

    def _run(self, command: str, *arguments: str) -> subprocess.Popen[bytes]:
        # Only the network: `ip netns exec` mounts a new /sys too, without the control groups that dockerd needs.
        inside = ["nsenter", f"--net=/run/netns/{self._sandbox.internet.namespace}", find(command) or command]
        with self._log.open("ab") as log:
            process = subprocess.Popen([*inside, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def _answers(self) -> bool:
        try:
            with closing(self.client()):
                return True
        except DockerException:
            return False


@contextmanager
def private_docker(sandbox: Sandbox, verifier: str, *options: str) -> Iterator[PrivateDocker]:
    """With all that a stack needs to be deployed there. `verifier`: its image's id. `options`: more of dockerd's."""
    with tempfile.TemporaryDirectory(prefix="ibgw-") as folder:
        made = PrivateDocker(sandbox, Path(folder), *options)
        try:
            made.start()
            made.serve_registry()
            made.copy_images(sandbox.base_image, verifier)
            yield made
        finally:
            made.close()
