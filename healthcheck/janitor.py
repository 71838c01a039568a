"""Outlives a verification that is killed, and removes what it left on the Docker host.

A program can clean up after a signal that it gets. It gets none when it is killed, or when its engine is, as by a
terminal that is closed under `pulumi up`. So a process of its own waits for its end, in a session that no terminal and
no Ctrl-C reaches, and costs next to nothing until then.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DONE = b"nothing is left"

PAUSE = 2.0
"""Seconds between two looks: what Docker was asked for just before the end, it may make after that."""

PATIENCE = 120.0
"""Seconds for which a Docker host is asked that does not answer. What is left then, the next verification removes."""


@contextmanager
def janitor(docker_host: str) -> Iterator[None]:
    """Beside a verification."""
    from healthcheck.verifier_container import LEFT, RUN

    process = subprocess.Popen(
        [sys.executable, "-m", "healthcheck.janitor", docker_host, RUN],
        cwd=Path(__file__).resolve().parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        yield
    finally:
        if not LEFT:
            process.communicate(DONE)
        process.stdin.close()


def main(docker_host: str, run: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.buffer.read() == DONE:
        return
    # Only now, as it takes long to load.
    from deployment.errors import IbgwError
    from healthcheck.docker_host import DockerError, DockerHost
    from healthcheck.verifier_container import remove_run

    deadline = time.monotonic() + PATIENCE
    quiet = 0
    while quiet < 2 and time.monotonic() < deadline:
        try:
            with DockerHost(docker_host) as docker:
                quiet = 0 if remove_run(docker, run) else quiet + 1
        except (IbgwError, DockerError):
            # Nobody is there to be told; it is tried again.
            quiet = 0
        time.sleep(PAUSE)


if __name__ == "__main__":
    main(*sys.argv[1:])
