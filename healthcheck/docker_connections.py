"""docker-py's connections, kept for whatever is asked next.

By itself it has a pool for each path that is asked for, so that hardly any connection serves twice, and closes the
oldest beyond 25 even while an answer is read from it: a third of the CPU time of a verification. Over ssh, where a
connection is a login and takes half a second, it makes one for each request.
"""

import http.client
import io
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from typing import IO, Any

from requests.adapters import HTTPAdapter

from deployment.docker_address import SshAddress, parse
from healthcheck.docker_py import (
    DEFAULT_DOCKER_API_VERSION,
    APIClient,
    SSHHTTPAdapter,
    UnixHTTPAdapter,
    parse_host,
    sshconn,
)
from healthcheck.ssh_failures import SshFailed, explain

LOGINS = threading.BoundedSemaphore(4)
"""Under way at a time: beyond ten an sshd refuses some (sshd_config, MaxStartups)."""

IDLE = 30
"""Seconds after which a connection over ssh is not used again: what lies between may have forgotten it."""

LOGIN = 50
"""Seconds for a login and Docker's first answer: fewer than those after which a host counts as silent, so that it is
said what ssh was waiting for."""

ENDING = 5
"""Seconds for an ssh that has closed its output to end, and tell by its exit code why."""

ALIVE = ("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3")
"""An ssh by itself waits for ever for a host that is gone, and docker-py's reading from it knows no timeout."""


PLAIN = ("-T", "-o", "ClearAllForwardings=yes", "-o", "PermitLocalCommand=no")
"""Whatever ~/.ssh/config says: a terminal there (RequestTTY) would echo and change what is sent, a port that is
forwarded is taken as soon as there are two connections (ExitOnForwardFailure), and a LocalCommand may print."""


def connected(url: str, *, timeout: int, at_most: int) -> APIClient:
    """A client that speaks the API version of a Docker host that has answered, and keeps up to `at_most` connections.

    `timeout`: seconds that an answer may take. Raises what docker-py and its connections raise: DockerException,
    OSError, ValueError; behind these, where an ssh failed, SshFailed.
    """
    address = parse(url)
    adapter: HTTPAdapter
    if address is None:
        adapter = _UnixAdapter(str(parse_host(url)), timeout=timeout, max_pool_size=at_most)
    else:
        adapter = _SshAdapter(address, timeout=timeout, max_pool_size=at_most)

    def client(version: str) -> APIClient:
        """With a version it asks nothing yet."""
        # docker-py would give an address for ssh the port 22, whatever the operator's configuration says.
        known = url if address is None else "ssh://host"
        made = APIClient(base_url=known, version=version, timeout=timeout, use_ssh_client=address is not None)
        made.mount(made.base_url, adapter)
        return made

    version = client(DEFAULT_DOCKER_API_VERSION).version(api_version=False)
    return client(version["ApiVersion"])


class _UnixAdapter(UnixHTTPAdapter):
    def get_connection(self, url: str | bytes | None, proxies: Any = None) -> Any:
        return super().get_connection("", proxies)


class _SshAdapter(SSHHTTPAdapter):
    def __init__(self, address: SshAddress, **options: Any) -> None:
        super().__init__("ssh://host", shell_out=True, **options)
        self._pool = _SshPool(address, timeout=self.timeout, maxsize=self.max_pool_size)

    def get_connection(self, url: str | bytes | None, proxies: Any = None) -> sshconn.SSHConnectionPool:
        return self._pool

    def close(self) -> None:
        super().close()
        self._pool.close()


class _SshConnection(sshconn.SSHConnection):
    def __init__(self, address: SshAddress) -> None:
        super().__init__()
        self._address = address

    def connect(self) -> None:
        ssh = _Ssh(self._address)
        ssh.connect()
        self.sock = ssh


class _SshPool(sshconn.SSHConnectionPool):
    def __init__(self, address: SshAddress, **options: Any) -> None:
        super().__init__(**options)
        self._address = address

    def _new_conn(self) -> Any:
        return _SshConnection(self._address)

    def _put_conn(self, connection: Any) -> None:
        if connection is not None and connection.sock is not None:
            connection.sock.idle_since = time.monotonic()
        super()._put_conn(connection)

    def _get_conn(self, timeout: Any = None) -> Any:
        """As urllib3 has it, and docker-py has not: one that has ended meanwhile is connected again."""
        connection: Any = super()._get_conn(timeout)
        ssh: _Ssh | None = connection.sock
        if ssh is not None and (ssh.ended or time.monotonic() - ssh.idle_since > IDLE):
            connection.close()
        return connection


class _Ssh(sshconn.SSHSocket):
    """An ssh process, which serves one request after the other.

    It is started without `preexec_fn`, which runs Python in a forked copy of this process: a copy of a Pulumi program's
    gRPC threads breaks both. A session of its own does what that is for: Ctrl-C ends our program, not the ssh under it.
    """

    proc: subprocess.Popen[bytes] | None
    idle_since = 0.0
    _readers = 0
    _closed_by_owner = False

    def __init__(self, address: SshAddress) -> None:
        super().__init__("")
        self._address = address

    def connect(self, *_: object, **__: object) -> None:
        """Logs in, and has an answer from Docker then. Raises SshFailed, and leaves no process then."""
        # docker-py drops these two as well: they belong to this Python, not to ssh.
        environment = {key: os.environ[key] for key in os.environ if key not in ("LD_LIBRARY_PATH", "SSL_CERT_FILE")}
        # A file, not a pipe: nobody need read it, and what serves a shared connection (ControlPersist) holds it open.
        with LOGINS, tempfile.TemporaryFile() as said, ExitStack() as undo:
            try:
                self.proc = subprocess.Popen(
                    ["ssh", *PLAIN, *ALIVE, *self._address.arguments(), "docker system dial-stdio"],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    start_new_session=True,
                )
            except OSError as error:
                raise SshFailed(
                    f"`ssh` cannot be started ({error.strerror}); install it, and have it on PATH"
                ) from error
            undo.callback(self._end)
            assert isinstance(self.proc.stdout, io.BufferedReader)
            self._output = _Output(self.proc.stdout.detach(), self)
            late = threading.Event()
            watchdog = threading.Timer(LOGIN, self._give_up, (self.proc, late))
            # Nobody waits for it at a program's end.
            watchdog.daemon = True
            watchdog.start()
            undo.callback(watchdog.cancel)
            try:
                self.sendall(b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
                answer = http.client.HTTPResponse(self)
                answer.begin()
                answer.read()
                if answer.status != http.client.OK:
                    raise http.client.BadStatusLine(f"HTTP {answer.status} {answer.reason}")
            except (OSError, http.client.HTTPException) as error:
                # urllib3 passes over a broken pipe, and then has no connection to read from.
                raise SshFailed(self._why(error, said, late=late.is_set())) from error
            watchdog.cancel()
            undo.pop_all()

    @staticmethod
    def _give_up(proc: subprocess.Popen[bytes], late: threading.Event) -> None:
        late.set()
        # With its ProxyCommand.
        with suppress(ProcessLookupError):
            os.killpg(proc.pid, signal.SIGTERM)

    def _why(self, error: Exception, said: IO[bytes], *, late: bool) -> str:
        """In words. `error`: what came of reading Docker's first answer."""
        assert self.proc is not None
        printed = ""
        if isinstance(error, http.client.BadStatusLine) and not isinstance(error, http.client.RemoteDisconnected):
            printed = str(error.args[0])
        code = None
        if not late and not printed:
            with suppress(subprocess.TimeoutExpired):
                code = self.proc.wait(ENDING)
        said.seek(0)
        return explain(self._address, said=said.read().decode("utf-8", "replace"), code=code, printed=printed)

    @property
    def ended(self) -> bool:
        return self.proc is None or self.proc.poll() is not None

    def recv(self, n: int, *_: int) -> bytes:
        return self._output.read1(n)

    def makefile(self, *_: object) -> "_Output":  # type: ignore[override]  # for http.client, which reads bytes
        self._readers += 1
        return self._output

    def close(self) -> None:
        """As with any socket, whoever still reads from it may go on until the answer's end."""
        self._closed_by_owner = True
        if self._readers <= 0:
            self._end()

    def shutdown(self, _: int) -> None:
        """Whoever reads from it finds its end."""
        if self.proc is not None:
            self.proc.terminate()

    def done_reading(self) -> None:
        """An answer has been read from it, or will not be."""
        self._readers -= 1
        if self._closed_by_owner and self._readers <= 0:
            self._end()

    def _end(self) -> None:
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
        self.channel.done_reading()
