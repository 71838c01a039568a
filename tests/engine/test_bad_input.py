"""Bad input through the real engine: one of each source (a key, the Docker host, AWS, a secret's value), in preview and
update; further classes of each are exhaustive.

Each is refused by name before any resource but the stack and its providers is registered, and a proxy on the Docker
socket sees nothing but reads.
"""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml

from sandbox.environment import Stack
from tests.engine.conftest import Pulumi
from tests.engine.docker_proxy import DockerProxy
from tests.engine.secret_versions import secrets_manager

exhaustive = pytest.mark.exhaustive

STACK = "paper-bad"
OWN_SECRET = "ibgw/bad-input"  # noqa: S105 - a name
# boto3 puts this into the AWS SDK's error, and the message must come from us
DENIED = "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: secretsmanager:GetSecretValue"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerProxy]:
    with DockerProxy(tmp_path_factory.mktemp("proxy") / "docker.sock") as made:
        yield made


@pytest.fixture(scope="module")
def stack(project: Callable[..., Stack], proxy: DockerProxy) -> Stack:
    return project(STACK, dockerHost=proxy.url)


@pytest.fixture
def configure(stack: Stack) -> Iterator[Callable[[Callable[[dict[str, Any]], None]], None]]:
    """Changes the stack's configuration for one test."""
    path = stack.folder / f"Pulumi.{STACK}.yaml"
    before = path.read_text()

    def change(edit: Callable[[dict[str, Any]], None]) -> None:
        document = yaml.safe_load(before)
        edit(document["config"])
        path.write_text(yaml.safe_dump(document))

    yield change
    path.write_text(before)


@pytest.fixture(scope="module")
def denying_aws() -> Iterator[str]:
    """An endpoint that denies everything, as AWS words it (moto checks no permissions)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps({"__type": "AccessDeniedException", "Message": DENIED}).encode()
            self.send_response(400)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("x-amzn-ErrorType", "AccessDeniedException")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="module")
def set_secret(stack: Stack) -> Iterator[Callable[[str], None]]:
    """Sets the value of a secret that only this module uses."""
    client = secrets_manager(stack.env)
    client.create_secret(Name=OWN_SECRET, SecretString="{}")
    yield lambda text: client.put_secret_value(SecretId=OWN_SECRET, SecretString=text) and None
    client.delete_secret(SecretId=OWN_SECRET, ForceDeleteWithoutRecovery=True)


def refused(pulumi: Pulumi, stack: Stack, proxy: DockerProxy, *expected: str, **env: str) -> str:
    """Both commands, side by side, refuse, say so, and change nothing. Returns all that they said."""

    def says(*command: str) -> str:
        done = pulumi(command, stack=stack, check=False, env=env or None)
        said = done.stdout + done.stderr
        assert done.returncode != 0, f"{command[0]} accepted it"
        for text in expected:
            assert text in said, f"{command[0]} does not say {text!r}:\n{said}"
        assert "Traceback" not in said
        assert "unhandled error" not in said, "the refusal is followed by a second error"
        return said

    proxy.forget_calls()
    with ThreadPoolExecutor() as pool:
        preview, up = pool.submit(says, "preview"), pool.submit(says, "up", "--yes", "--skip-preview")
        everything = preview.result() + up.result()
    assert [str(call) for call in proxy.calls if not call.reads] == []
    state = stack.folder.parents[1] / "state" / ".pulumi" / "stacks" / "ibgw" / f"{STACK}.json"
    recorded = json.loads(state.read_text())["checkpoint"]["latest"] or {}
    types = {resource["type"] for resource in recorded.get("resources", [])}
    assert {name for name in types if not name.startswith(("pulumi:providers:", "pulumi:pulumi:Stack"))} == set()
    return everything


def edit(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        *folders, last = path.split(".")
        place = config
        for folder in folders:
            place = place[folder]
        if value is None:
            del place[last]
        else:
            place[last] = value

    return change


MAIN = "ibgw:gateways.main"
# One of each class; each rule has its row in tests/unit/test_settings.py or test_secret_document.py.


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        pytest.param("ibgw:gateways", None, "ibgw:gateways: missing", id="missing"),
        pytest.param(f"{MAIN}.session.autoLogoff", "22:00", "exactly one", id="contradictory", marks=exhaustive),
        pytest.param("ibgw:mode", "live", "ibgw init --stack live", id="mode-and-stack", marks=exhaustive),
        pytest.param("ibgw:image", "ghcr.io/gnzsnz/ib-gateway:latest", "'latest' moves", id="latest", marks=exhaustive),
        pytest.param("ibgw:dockerHost", None, "ibgw:dockerHost", id="no-docker-host", marks=exhaustive),
        pytest.param(
            "ibgw:dockerHost", "unix:///nonexistent/docker.sock", "there is no such socket", id="docker-not-there"
        ),
        pytest.param(
            f"{MAIN}.credentials.secretId", "ibgw/none", "'ibgw/none': could not be read", id="missing-secret"
        ),
        pytest.param(
            "ibgw:network.subnetPool", "172.17.0.0/20", "overlaps", id="overlapping-networks", marks=exhaustive
        ),
    ],
)
def test_bad_configuration(
    path: str, value: Any, expected: str, stack: Stack, proxy: DockerProxy, configure: Any, pulumi: Pulumi
) -> None:
    configure(edit(path, value))
    refused(pulumi, stack, proxy, expected)


@exhaustive
def test_the_same_secret_twice(stack: Stack, proxy: DockerProxy, configure: Any, pulumi: Pulumi) -> None:
    def twice(config: dict[str, Any]) -> None:
        config["ibgw:gateways"]["second"] = config["ibgw:gateways"]["main"]

    configure(twice)
    refused(pulumi, stack, proxy, "ibgw:gateways.second.credentials.secretId", "one session")


def test_a_denied_secret(stack: Stack, proxy: DockerProxy, pulumi: Pulumi, denying_aws: str) -> None:
    endpoints = {"AWS_ENDPOINT_URL": denying_aws, "AWS_ENDPOINT_URL_SECRETS_MANAGER": denying_aws}
    refused(pulumi, stack, proxy, "access denied; allow secretsmanager:GetSecretValue", **endpoints)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("plainpass-7731", "not JSON", id="not-json"),
        pytest.param(
            '{"user_id": "u7731", "password": "p7731", "trading_mode": "live"}',
            "'live'",
            id="live-secret",
            marks=exhaustive,
        ),
    ],
)
def test_a_bad_secret_is_refused_and_not_shown(
    text: str, expected: str, stack: Stack, proxy: DockerProxy, pulumi: Pulumi, configure: Any, set_secret: Any
) -> None:
    configure(edit(f"{MAIN}.credentials.secretId", OWN_SECRET))
    set_secret(text)
    said = refused(pulumi, stack, proxy, expected)
    assert "7731" not in said


def test_a_good_preview_only_reads(
    stack: Stack, proxy: DockerProxy, pulumi: Pulumi, configure: Any, set_secret: Any
) -> None:
    """The positive control: with nothing wrong the preview works, and it too changes nothing."""
    configure(edit(f"{MAIN}.credentials.secretId", OWN_SECRET))
    set_secret(json.dumps({"user_id": "someone", "password": "fine-pass", "trading_mode": "paper"}))
    proxy.forget_calls()
    pulumi(["preview"], stack=stack)
    assert proxy.calls, "the proxy saw nothing, so it proves nothing"
    assert [str(call) for call in proxy.calls if not call.reads] == []
