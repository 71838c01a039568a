"""What runs inside the gateway's container, and what it is given."""

import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deployment.properties import declared
from deployment.tables import CONTAINER
from infra.settings import load
from infra.spec import describe, probe_script
from tests.unit.test_settings import as_engine, changed, tracked


@contextmanager
def listener(answer: bytes | None) -> Iterator[int]:
    """A port that accepts and answers once with `answer`, or never."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                received = connection.recv(64)
                # API reference, EClient.connect: "API", a NUL, then the length and text of the version range
                assert received == b"API\0" + b"\0\0\0\x09" + b"v100..178"
                if answer is not None:
                    connection.sendall(answer)
                connection.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def probe(port: int) -> int:
    return subprocess.run(["bash", "-c", probe_script(port)], capture_output=True, check=False, timeout=30).returncode


def test_the_probe_tells_an_api_from_an_open_port() -> None:
    with listener(b"\0\0\0\x0a" + b"178\0" + b"time\0\0") as port:
        assert probe(port) == 0
    with listener(None) as port:
        assert probe(port) != 0


def test_the_probe_fails_where_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert probe(port) != 0


def test_nothing_of_the_secret_is_in_the_description() -> None:
    settings = load("paper", as_engine(tracked("paper")))
    text = repr(describe(settings, project="ibgw", stack="paper", image=None))
    assert "ibgw/paper/main" in text  # the secret's name is no secret
    assert "SecretString" not in text


@pytest.mark.parametrize("device", ["Jos\u00e9\u2019s iPhone", "back\\slash", "$HOME ${TWS_USERID}"])
def test_a_device_s_name_adds_no_setting_and_arrives(device: str) -> None:
    """It goes through the image's envsubst into a Java properties file, as the credentials do."""
    changes = {"ibgw:gateways.main.secondFactor": {"method": "push", "device": device}}
    settings = load("paper", changed("paper", changes))
    gateway = describe(settings, project="ibgw", stack="paper", image=None).gateways["main"]
    told = gateway.container.environment["TWOFA_DEVICE"]
    assert re.fullmatch(r"([A-Za-z0-9]|\\u[0-9A-F]{4})+", told)
    assert told.encode().decode("unicode_escape") == device


def test_the_first_process_is_our_own_and_no_packet_is_forwarded() -> None:
    stack = describe(load("paper", as_engine(tracked("paper"))), project="ibgw", stack="paper", image=None)
    container = stack.gateways["main"].container
    assert container.command == ("bash", "/home/ibgateway/tws_settings/guard/supervisor.sh")
    assert declared(CONTAINER, container)["sysctls"] == {"net.ipv4.ip_forward": "0"}
    assert not {name for name in container.environment if "PASSWORD" in name or "USERID" in name}
