"""The whole way over `ssh://`, against an sshd on loopback: all parts use the operator's own ssh."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ib_async import IB

from deployment.description import Deployment
from deployment.errors import IbgwError
from healthcheck.docker_host import DockerHost
from sandbox.environment import Stack
from tests.engine.conftest import Completed, Pulumi

STACK = "paper-ssh"


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A port with an sshd behind it, and a folder whose `ssh` has this test's own configuration.

    The sshd has the limits that it has by itself: ten logins under way, ten sessions a connection. OpenSSH takes the
    home folder from the password database, so a test cannot give it another ~/.ssh/config; the wrapper stands for the
    operator's.
    """
    folder = tmp_path_factory.mktemp("ssh")
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert sshd is not None, "openssh-server is needed (make test installs it)"
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    (folder / "authorized_keys").write_text((folder / "user.pub").read_text())
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nListenAddress ::1\nHostKey {folder}/host\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\n"
        f"PidFile {folder}/pid\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nStrictModes no\n"
        "UsePAM no\n"
    )
    host_key = (folder / "host.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port},[::1]:{port} {host_key}")
    (folder / "config").write_text(
        f"Host *\n  Port {port}\n  IdentityFile {folder}/user\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known_hosts\n"
        "  StrictHostKeyChecking yes\n  LogLevel ERROR\n"
    )
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    wrapper = bin_folder / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n')
    wrapper.chmod(0o755)
    Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([sshd, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log")])
    wait_for(port)
    yield port, bin_folder
    server.terminate()
    server.wait(10)


def wait_for(port: int, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on {port}"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def stack(
    project: Callable[..., Stack], ssh: tuple[int, Path], pulumi: Pulumi, leave: Callable[[Stack], None]
) -> Iterator[Stack]:
    _, bin_folder = ssh
    # Its port is ssh's own business.
    quick = {"main": {"container": {"probeInterval": "5s"}}}
    made = project(STACK, dockerHost="ssh://root@127.0.0.1", gateways=quick, monitoring={})
    made = Stack(made.name, made.folder, {**made.env, "PATH": f"{bin_folder}:{made.env['PATH']}"}, made.config)
    pulumi(["up", "--yes", "--skip-preview"], stack=made)
    yield made
    leave(made)


def test_a_settled_stack_over_ssh_previews_as_unchanged(stack: Stack, pulumi: Pulumi) -> None:
    pulumi(["preview", "--expect-no-changes"], stack=stack)


def test_verify_works_over_ssh_with_few_logins(
    stack: Stack, ssh: tuple[int, Path], run: Callable[..., Completed]
) -> None:
    log = ssh[1].parent / "log"
    before = log.read_text().count("Accepted publickey")
    said = run(["ibgw", "verify", "--stack", STACK, "--wait", "0s"], stack=stack).stdout
    assert "VERIFIED" in said
    assert "asked beside the prober" in said
    # Some 70 requests, each of which would be a login by itself. How many are under way at a time depends on the
    # machine: ten on an idle one, sixteen on a busy one.
    assert 0 < log.read_text().count("Accepted publickey") - before < 30


@pytest.mark.exhaustive
def test_a_soft_restart_works_over_ssh(stack: Stack, run: Callable[..., Completed]) -> None:
    """It needs the answer of a command in the container."""
    assert "with its session kept" in run(["ibgw", "restart", "--soft", "--stack", STACK], stack=stack).stdout
    assert "VERIFIED" in run(["ibgw", "verify", "--stack", STACK, "--wait", "60s"], stack=stack).stdout


def test_forward_works_over_ssh_and_ends_cleanly(stack: Stack, pulumi: Pulumi) -> None:
    deployment = Deployment.model_validate_json(pulumi(["stack", "output", "contract", "--json"], stack=stack).stdout)
    assert deployment.docker_host.startswith("ssh://")
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    forward = subprocess.Popen(
        ["ibgw", "forward", "--stack", STACK, "--port", str(port)],
        env={**os.environ, **stack.env},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(port, 60)

        async def accounts() -> list[str]:
            ib = IB()
            await ib.connectAsync("127.0.0.1", port, clientId=901, timeout=30)
            found = list(ib.managedAccounts())
            ib.disconnect()
            return found

        found = asyncio.run(accounts())
        assert found, "no account"
        assert all(account.startswith("D") for account in found)
    finally:
        forward.send_signal(signal.SIGINT)
        _, said = forward.communicate(timeout=30)
    assert forward.returncode in (0, 130), said
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 1)


def test_a_host_that_refuses_the_key_is_named(stack: Stack, pulumi: Pulumi, ssh: tuple[int, Path]) -> None:
    config = ssh[1].parent / "config"
    with written(config, config.read_text().replace("/user\n", "/nobody\n")):
        done = pulumi(["preview"], stack=stack, check=False)
    assert done.returncode != 0
    assert "ibgw:dockerHost" in done.stdout + done.stderr
    assert "root@127.0.0.1: Permission denied (" in done.stdout + done.stderr


@contextmanager
def written(path: Path, text: str) -> Iterator[None]:
    before = path.read_text()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(before)


@pytest.fixture
def folder(ssh: tuple[int, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's own ssh, and all that its sshd reads, lie; with it on PATH."""
    monkeypatch.setenv("PATH", f"{ssh[1]}:{os.environ['PATH']}")
    return ssh[1].parent


def refusal(host: str = "ssh://root@127.0.0.1") -> str:
    with pytest.raises(IbgwError) as refused:
        DockerHost(host)
    return str(refused.value)


def test_a_port_may_be_ssh_s_own_or_the_address_s(ssh: tuple[int, Path], folder: Path) -> None:
    config = folder / "config"
    with written(config, config.read_text().replace(f"Port {ssh[0]}", "Port 1")):
        assert "Connection refused" in refusal()
        with DockerHost(f"ssh://root@127.0.0.1:{ssh[0]}") as docker:
            assert docker.now()


def test_a_jump_host_keeps_its_own_port_and_so_does_what_is_behind_it(ssh: tuple[int, Path], folder: Path) -> None:
    config, wrapper = folder / "config", folder / "bin" / "ssh"
    # As ProxyJump, which would read the real ~/.ssh/config for the first of the two.
    known = f"  HostKeyAlias [127.0.0.1]:{ssh[0]}\n"
    hops = f"Host behind\n  HostName 127.0.0.1\n{known}  ProxyCommand {wrapper} -W %h:%p root@hop\n"
    hops += f"Host hop\n  HostName ::1\n{known}"
    with written(config, hops + config.read_text()), DockerHost("ssh://root@behind") as docker:
        assert docker.now()


def test_an_ipv6_address_is_reached(folder: Path) -> None:
    with DockerHost("ssh://root@[::1]") as docker:
        assert docker.now()


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("echo Welcome;", "printed 'Welcome' where only Docker's answer may come"),
        ("PATH=/nonexistent;", "the host's shell does not find `docker`"),
        ("DOCKER_HOST=unix:///nonexistent;export DOCKER_HOST;", "Docker does not run there"),
    ],
)
def test_what_the_host_does_instead_is_told(folder: Path, before: str, said: str) -> None:
    keys = folder / "authorized_keys"
    with written(keys, f'command="{before} eval $SSH_ORIGINAL_COMMAND" {keys.read_text()}'):
        assert said in refusal()


@pytest.mark.parametrize(("known", "said"), [("", "key is not known here"), ("other", "is another one than")])
def test_a_host_that_is_not_the_one_that_was_known_is_told(
    ssh: tuple[int, Path], folder: Path, known: str, said: str
) -> None:
    other = f"[127.0.0.1]:{ssh[0]} {(folder / 'user.pub').read_text()}" if known else ""
    with written(folder / "known_hosts", other):
        assert said in refusal()
