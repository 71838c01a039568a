"""docker-py's connection over ssh, made safe for processes that use gRPC (Pulumi programs and plug-ins)."""

import os
import subprocess

from docker.transport import sshconn


class _Ssh(sshconn.SSHSocket):
    """docker-py's ssh process, started without `preexec_fn`.

    That runs Python in a forked copy of this process, and a copy of a Pulumi program's gRPC threads breaks both. A
    session of its own does what it is for: Ctrl-C ends our program, not the ssh under it.
    """

    def connect(self, *_: object, **__: object) -> None:
        user = ["-l", self.user] if self.user else []
        port = ["-p", self.port] if self.port else []
        # docker-py drops these two as well: they belong to this Python, not to ssh.
        environment = {key: os.environ[key] for key in os.environ if key not in ("LD_LIBRARY_PATH", "SSL_CERT_FILE")}
        self.proc = subprocess.Popen(
            ["ssh", *user, *port, "--", self.host, "docker system dial-stdio"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )


def start_ssh_without_fork() -> None:
    """From here on, docker-py's clients for `ssh://` in this process start their ssh so."""
    sshconn.SSHSocket = _Ssh  # type: ignore[misc]
