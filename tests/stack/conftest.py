"""Runs the real program under Pulumi's mocks and records what it declares."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pulumi
import pytest
from pulumi.runtime import mocks as pulumi_mocks
from pulumi.runtime.settings import SETTINGS
from pulumi.runtime.stack import run_pulumi_func

from deployment.errors import IbgwError
from infra import host, lost_volumes, trial
from infra.host import HostContents, HostObject
from infra.lost_volumes import OUTPUTS
from infra.spec import GatewaySpec, HostSpec, StackSpec
from tests.unit.test_settings import as_engine, tracked

SECRET_SIGNATURE = "4dabf18193072939515e22adb298388d"  # noqa: S105 - how the engine marks a secret property
IMAGE_DIGEST = "sha256:" + "a" * 64
USER = "mockuser77"
PASSWORD = "mock$pass\\word"  # noqa: S105 - made up
UNWATCHED = {"ibgw:monitoring": {"enabled": False}}


@dataclass
class Recorded:
    """One resource as the program declared it; `secret` names the inputs that were secret."""

    type: str
    name: str
    inputs: dict[str, Any]
    secret: set[str]


T = TypeVar("T")


class InvokeFailed(grpc.RpcError):
    """How the engine reports that a provider's function failed."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return str(self)


@dataclass
class Engine(pulumi_mocks.Mocks):
    secrets: dict[str, str]
    denied: frozenset[str] = frozenset()
    """The functions of aws:secretsmanager that this identity may not call, such as getSecretVersion."""
    repo_digest: str = f"ghcr.io/gnzsnz/ib-gateway@{IMAGE_DIGEST}"
    """What the provider says of the gateway's image."""
    exported: dict[str, Any] = field(default_factory=dict)
    """By an earlier update, as the engine's function tells it."""
    resources: list[Recorded] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def new_resource(self, args: pulumi_mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        inputs = dict(args.inputs)
        secret = {
            key
            for key, value in inputs.items()
            if SECRET_SIGNATURE in json.dumps(value, default=lambda value: str(value))
        }
        self.resources.append(Recorded(args.typ, args.name, inputs, secret))
        outputs = dict(inputs)
        if args.typ == "docker:index/remoteImage:RemoteImage":
            outputs |= {"imageId": "sha256:" + "b" * 64, "repoDigest": self.repo_digest}
        if args.typ == "docker:index/image:Image":
            outputs |= {"repoDigest": "sha256:" + "c" * 64}
        return ("d" * 64 if args.typ == "docker:index/container:Container" else f"{args.name}-id"), outputs

    def call(self, args: pulumi_mocks.MockCallArgs) -> Any:
        if args.token == OUTPUTS:
            return {"outputs": self.exported}
        self.calls.append((args.token, dict(args.args)))
        secret_id, function = args.args["secretId"], args.token.rpartition(":")[2]
        if function in self.denied:
            raise InvokeFailed("AccessDeniedException: User: u is not authorized")
        if secret_id not in self.secrets:
            raise InvokeFailed(f"ResourceNotFoundException: Secrets Manager can't find {secret_id}")
        if function == "getSecretVersions":
            return {
                "secretId": secret_id,
                "versions": [
                    {"versionId": version, "versionStages": stages, "createdTime": "2026-11-20T05:06:40Z"}
                    for version, stages in (
                        ("00000000-2222-3333-4444-555555555555", ["AWSPREVIOUS"]),
                        ("11111111-2222-3333-4444-555555555555", ["other", "AWSCURRENT"]),
                    )
                ],
            }
        return {
            "arn": f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{secret_id}",
            "id": secret_id,
            "secretId": secret_id,
            "secretString": self.secrets[secret_id],
            "versionId": "11111111-2222-3333-4444-555555555555",
            "createdDate": "2026-11-20T05:06:40Z",
        }

    def of_type(self, suffix: str) -> list[Recorded]:
        return [resource for resource in self.resources if resource.type.endswith(f":{suffix}")]

    def declared(self, suffix: str, name: str) -> Recorded:
        resources = [resource for resource in self.of_type(suffix) if resource.name == name]
        assert len(resources) == 1, f"{suffix} {name}: declared {len(resources)} times"
        return resources[0]


@dataclass
class Deployment:
    engine: Engine
    outputs: dict[str, Any]
    verified: list[StackSpec]


class Program:
    """Runs `infra.__main__.program` for a stack; what Docker holds is given, not asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, watched: bool = False) -> None:
        """`watched`: whether the stack is, as its configuration says; else only its gateways are declared."""
        self.monkeypatch = monkeypatch
        self.watched = watched
        self.engine: Engine | None = None
        self.info: dict[str, Any] = {}
        """What the Docker host's daemon says of itself."""
        self.tried: list[tuple[str, list[str]]] = []
        """By each trial: the image's id, and the resources that were declared before it."""
        self.refusal: IbgwError | None = None
        """Of the trial."""
        self.exported: dict[str, Any] = {}
        """By an earlier update."""
        self.kept = Path(os.devnull) / "none"
        """The description that an earlier update has left."""
        self.held: list[tuple[list[str], list[str]]] = []
        """The gateways whose lost volumes were made, and the resources that were declared before."""

    def try_out(self, _stack: StackSpec, _host: HostSpec, image_id: str) -> None:
        assert self.engine is not None
        self.tried.append((image_id, sorted(resource.name for resource in self.engine.resources)))
        if self.refusal is not None:
            raise self.refusal

    def make(self, _stack: StackSpec, _host: HostSpec, _image: str, gateways: Sequence[GatewaySpec], _: Any) -> None:
        assert self.engine is not None
        self.held.append(([one.name for one in gateways], sorted(one.name for one in self.engine.resources)))

    def run(
        self,
        stack: str = "paper",
        config: Mapping[str, Any] | None = None,
        *,
        secrets: Mapping[str, str] | None = None,
        on_host: tuple[HostObject, ...] = (),
        preview: bool = False,
        denied: Collection[str] = (),
        repo_digest: str = Engine.repo_digest,
    ) -> Deployment:
        from infra.__main__ import program

        mode = stack.split("-")[0]
        good = json.dumps({"user_id": USER, "password": PASSWORD, "trading_mode": mode})
        given = dict(secrets) if secrets is not None else {f"ibgw/{mode}/main": good}
        self.engine = engine = Engine(given, frozenset(denied), repo_digest, self.exported)
        verified: list[StackSpec] = []
        outputs: dict[str, Any] = {}
        self.monkeypatch.setattr(host, "read_host", lambda _host: HostContents(on_host, self.info))
        self.monkeypatch.setattr(host, "image_made", lambda *_: 1767225600)
        self.monkeypatch.setattr(trial, "try_out", self.try_out)
        self.monkeypatch.setattr(lost_volumes, "make", self.make)
        self.monkeypatch.setattr(lost_volumes, "kept_file", lambda *_: self.kept)

        async def collect() -> None:
            declared = await program(verify=lambda _deployment, spec: verified.append(spec))
            for key, value in declared.items():
                assert not await value.is_secret(), f"output {key} is secret"
                outputs[key] = await value.future()

        self._start(collect, stack=stack, config=dict(config) if config is not None else tracked(mode), preview=preview)
        return Deployment(engine, outputs, verified)

    def within(self, body: Callable[[], Awaitable[T]]) -> T:
        """Runs `body` as if it were the program of the stack paper, and returns what it returns."""
        good = json.dumps({"user_id": USER, "password": PASSWORD, "trading_mode": "paper"})
        self.engine = Engine({"ibgw/paper/main": good})
        results: list[T] = []

        async def collect() -> None:
            results.append(await body())

        self._start(collect, stack="paper", config=tracked("paper"), preview=False)
        return results[0]

    def _start(self, body: Callable[[], Awaitable[None]], *, stack: str, config: dict[str, Any], preview: bool) -> None:
        async def whole() -> None:
            assert self.engine is not None
            pulumi.runtime.set_mocks(self.engine, project="ibgw", stack=stack, preview=preview)
            pulumi.runtime.set_all_config(as_engine(config if self.watched else {**config, **UNWATCHED}))
            # What an earlier program left unread as it failed: it would be awaited here, in another loop.
            SETTINGS.outputs.clear()
            await run_pulumi_func(body)

        asyncio.run(whole())


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    return Program(monkeypatch)
