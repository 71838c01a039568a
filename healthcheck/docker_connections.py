"""docker-py's connections, kept for whatever is asked next.

By itself it has a pool for each path that is asked for, so that hardly any connection serves twice, and closes the
oldest beyond 25 even while an answer is read from it: a third of the CPU time of a verification. Over ssh, where a
connection is a login and takes half a second, it makes one for each request.
"""

import http.client
import io
import os
import socket
import subprocess
import threading
from contextlib import suppress
from typing import Any

from docker.api import client
from docker.transport import SSHHTTPAdapter, UnixHTTPAdapter, sshconn

LOGINS = threading.BoundedSemaphore(4)
"""Under way at a time: beyond ten an sshd refuses some (sshd_config, MaxStartups)."""


class _UnixAdapter(UnixHTTPAdapter):
    def get_connection(self, url: str | bytes | None, proxies: Any = None) -> Any:
        return super().get_connection("", proxies)


class _SshAdapter(SSHHTTPAdapter):
    """For clients with `use_ssh_client`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._pool = _SshPool(timeout=self.timeout, maxsize=self.max_pool_size, host=self.ssh_host)

    def get_connection(self, url: str | bytes | None, proxies: Any = None) -> "_SshPool":
        return self._pool

    def close(self) -> None:
        super().close()
        self._pool.close()


class _SshPool(sshconn.SSHConnectionPool):
    def _get_conn(self, timeout: Any = None) -> Any:
        """As urllib3 has it, and docker-py has not: one that has ended meanwhile is connected again."""
        connection: Any = super()._get_conn(timeout)
        if connection.sock is not None and connection.sock.proc.poll() is not None:
            connection.close()
        return connection


class _Ssh(sshconn.SSHSocket):
    """An ssh process, which serves one request after the other.

    It is started without `preexec_fn`, which runs Python in a forked copy of this process: a copy of a Pulumi program's
    gRPC threads breaks both. A session of its own does what that is for: Ctrl-C ends our program, not the ssh under it.
    """

    proc: subprocess.Popen[bytes] | None

    def connect(self, *_: object, **__: object) -> None:
        """Logs in, and has an answer from Docker then. Raises OSError and HTTPException, and leaves no process then."""
        user = ["-l", self.user] if self.user else []
        port = ["-p", self.port] if self.port else []
        # docker-py drops these two as well: they belong to this Python, not to ssh.
        environment = {key: os.environ[key] for key in os.environ if key not in ("LD_LIBRARY_PATH", "SSL_CERT_FILE")}
        with LOGINS:
            self.proc = subprocess.Popen(
                ["ssh", *user, *port, "--", self.host, "docker system dial-stdio"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            assert isinstance(self.proc.stdout, io.BufferedReader)
            self._output = _Output(self.proc.stdout.detach(), self)
            try:
                self.sendall(b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
                answer = http.client.HTTPResponse(self)
                answer.begin()
                answer.read()
            except (OSError, http.client.HTTPException):
                self.close()
                raise

    def recv(self, n: int, *_: int) -> bytes:
        return self._output.read1(n)

    def makefile(self, *_: object) -> "_Output":  # type: ignore[override]  # for http.client, which reads bytes
        return self._output

    def close(self) -> None:
        if self.proc is not None and self.proc.stdin is not None:
            self.proc.terminate()
            with suppress(BrokenPipeError):
                self.proc.stdin.close()
            self.proc.wait()
            self._output.raw.close()
        socket.socket.close(self)


class _Output(io.BufferedReader):
    """What an ssh process writes. An answer closes what it was read from; the next one is read from the same.

    `channel`: docker-py looks for its socket under this name.
    """

    def __init__(self, raw: io.RawIOBase, channel: _Ssh) -> None:
        super().__init__(raw)
        self.channel = channel

    def close(self) -> None:
        """Not yet: the process closes it."""


def keep_connections() -> None:
    """From here on, docker-py's clients that are made in this process do so."""
    client.UnixHTTPAdapter = _UnixAdapter  # type: ignore[attr-defined]
    client.SSHHTTPAdapter = _SshAdapter  # type: ignore[attr-defined]
    sshconn.SSHSocket = _Ssh  # type: ignore[misc]
