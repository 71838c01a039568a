"""The protocol's side of a plug-in: values, errors, names."""

from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import provider_pb2, status_pb2

from sandbox.plugins import provider
from sandbox.plugins.docker.properties import NETWORK as NETWORK_SCHEMA
from sandbox.plugins.docker.provider import KINDS, Docker
from sandbox.plugins.docker.schema import with_defaults
from sandbox.plugins.provider import Checked, Difference, PluginError, RecordedButFailed, State
from sandbox.plugins.values import UNKNOWN, from_struct, has_unknown, to_struct

URN = "urn:pulumi:paper::ibgw::ibgw:index:Gateway$docker:index/container:Container::main"

# sdk/go/common/resource/plugin/rpc.go: UnknownStringValue
UNKNOWN_ON_THE_WIRE = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


def test_values_survive_the_wire() -> None:
    properties = {"a": [1, 2.5, "x", True, [], {}], "b": {"c": UNKNOWN}, "d": False, "e": 0}
    struct = to_struct({**properties, "left_out": None})
    assert from_struct(struct) == properties
    assert struct.fields["b"].struct_value.fields["c"].string_value == UNKNOWN_ON_THE_WIRE


def test_numbers_without_a_fraction_are_integers() -> None:
    struct = struct_pb2.Struct()
    struct.update({"n": 60.0, "f": 0.5})
    found = from_struct(struct)
    assert (found, type(found["n"])) == ({"n": 60, "f": 0.5}, int)


def test_unknowns_are_found_at_any_depth() -> None:
    assert has_unknown({"a": [{"b": UNKNOWN}]})
    assert not has_unknown({"a": [{"b": None}]})


class Aborted(Exception):
    pass


class Context:
    """What gRPC gives a call; remembers how it was aborted."""

    def __init__(self) -> None:
        self.code: Any = None
        self.text = ""
        self.status: Any = None

    def abort(self, code: Any, text: str) -> None:
        self.code, self.text = code, text
        raise Aborted

    def abort_with_status(self, status: Any) -> None:
        self.status = status
        raise Aborted


class Failing(Docker):
    """A provider whose creations fail as told."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def create(self, token: str, inputs: dict[str, Any], *, preview: bool) -> State:
        raise self.error


def create(error: Exception) -> Context:
    context = Context()
    request = provider_pb2.CreateRequest(urn=URN, properties=to_struct({"name": "c"}))
    with pytest.raises(Aborted):
        provider._Servicer(Failing(error)).Create(request, context)
    return context


def test_an_expected_failure_is_told_in_its_own_words() -> None:
    context = create(PluginError("Unable to create network: taken"))
    assert (context.code, context.text) == (grpc.StatusCode.UNKNOWN, "Unable to create network: taken")


def test_a_bug_tells_where_it_is_and_nothing_of_what_it_saw() -> None:
    context = create(KeyError("a password"))
    assert context.code is grpc.StatusCode.INTERNAL
    assert "KeyError at " in context.text
    assert "test_plugin_provider.py" in context.text
    assert "password" not in context.text


def test_what_exists_but_failed_is_handed_over_to_be_recorded() -> None:
    context = create(RecordedButFailed("not healthy", id="abc", properties={"name": "c", "x": 1}))
    ((key, details),) = context.status.trailing_metadata
    assert key == "grpc-status-details-bin"
    status = status_pb2.Status.FromString(details)
    found = provider_pb2.ErrorResourceInitFailed()
    assert status.details[0].Unpack(found)
    assert (found.id, list(found.reasons)) == ("abc", [f"creating {URN}: not healthy"])
    assert from_struct(found.properties) == {"name": "c", "x": 1}
    assert from_struct(found.inputs) == {"name": "c"}


@pytest.fixture
def docker() -> Docker:
    return Docker()


def test_a_name_is_made_once_and_kept(docker: Docker) -> None:
    token = "docker:index/volume:Volume"  # noqa: S105 - a resource's type
    first = docker.check(token, "data", {}, {}, b"seed").inputs
    assert first["name"].startswith("data-")
    assert len(first["name"]) == len("data-") + 7
    assert docker.check(token, "data", first, {}, b"other").inputs == first
    assert docker.check(token, "data", {}, {}, b"other").inputs["name"] != first["name"]
    named = docker.check(token, "data", first, {"name": "mine"}, b"seed")
    assert named == Checked({"name": "mine", "__defaults": []})
    renamed = docker.check(token, "data", {"name": "mine"}, {}, b"seed").inputs["name"]
    assert renamed == first["name"]


def test_drift_of_an_ignored_property_is_ignored(docker: Docker) -> None:
    request = provider_pb2.DiffRequest(
        urn=URN,
        id="x",
        olds=to_struct({"name": "c", "image": "i", "memorySwap": 128, "tty": True}),
        news=to_struct({"name": "c", "image": "i"}),
        ignoreChanges=["memorySwap", "uploads[0].content"],
    )
    found = provider._Servicer(docker).Diff(request, Context())
    assert "tty" in found.detailedDiff
    assert "memorySwap" not in found.detailedDiff


def test_an_ignored_part_hides_no_other_part_of_its_property(docker: Docker) -> None:
    """The engine has put the old content in before it asks; another element has changed."""
    files = [{"file": "/a", "content": "secret"}, {"file": "/b", "content": "1"}]
    request = provider_pb2.DiffRequest(
        urn=URN,
        id="x",
        olds=to_struct({"name": "c", "image": "i", "uploads": files}),
        news=to_struct({"name": "c", "image": "i", "uploads": [files[0], {"file": "/b", "content": "2"}]}),
        ignoreChanges=["uploads[0].content"],
    )
    assert "uploads" in provider._Servicer(docker).Diff(request, Context()).replaces


def test_nothing_is_imported(docker: Docker) -> None:
    context = Context()
    with pytest.raises(Aborted):
        provider._Servicer(docker).Read(provider_pb2.ReadRequest(urn=URN, id="x"), context)
    assert (context.code, context.text) == (grpc.StatusCode.UNKNOWN, "the docker stand-in imports nothing")


CONTAINER, NETWORK, REMOTE = "container:Container", "network:Network", "remoteImage:RemoteImage"
NAMED: dict[str, Any] = {"__defaults": []}
AUTONAMED: dict[str, Any] = {"__defaults": ["name"]}


@pytest.mark.parametrize(
    ("token", "old", "new", "first"),
    [
        # Its own replacements: of containers always, of others that the program named.
        (CONTAINER, {"user": "a"}, {"user": "b", **NAMED}, True),
        (CONTAINER, {"user": "a"}, {"user": "b", **AUTONAMED}, True),
        (NETWORK, {"driver": "a"}, {"driver": "b", **NAMED}, True),
        (NETWORK, {"driver": "a"}, {"driver": "b", **AUTONAMED}, False),
        (REMOTE, {"platform": "a"}, {"platform": "b", **NAMED}, False),
        # What only the engine may replace, forced by its option or its command, is the engine's.
        (CONTAINER, {"memory": 64}, {"memory": 96, **NAMED}, False),
        (CONTAINER, {}, NAMED, False),
        (NETWORK, {}, NAMED, False),
    ],
)
def test_what_is_deleted_first(
    docker: Docker, token: str, old: dict[str, Any], new: dict[str, Any], first: bool
) -> None:
    fixed = {"name": "x", "image": "sha256:1"} if token == CONTAINER else {"name": "x"}
    state = State("x", with_defaults(KINDS[f"docker:index/{token}"].schema, {**fixed, **old}))
    found: Difference = docker.diff(f"docker:index/{token}", state, {}, {**fixed, **new})
    assert found.delete_first is first


def test_a_failure_is_told_in_the_bridges_words(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> State:
        raise PluginError("Unable to create network: taken")

    monkeypatch.setitem(
        KINDS, "docker:index/network:Network", replace(KINDS["docker:index/network:Network"], create=fail)
    )
    with pytest.raises(PluginError) as raised:
        docker.create("docker:index/network:Network", {"name": "n"}, preview=False)
    assert str(raised.value) == "1 error occurred:\n\t* Unable to create network: taken\n\n"


def test_what_an_object_does_not_have_is_recorded_as_null(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    token = "docker:index/network:Network"  # noqa: S105 - a resource's type
    made = replace(KINDS[token], create=lambda _daemon, inputs: State("n1", inputs))
    monkeypatch.setitem(KINDS, token, made)
    request = provider_pb2.CreateRequest(urn=URN.replace("container:Container", "network:Network"))
    request.properties.CopyFrom(to_struct({"name": "n"}))
    answer = provider._Servicer(docker).Create(request, Context())
    assert from_struct(answer.properties)["name"] == "n"
    assert answer.properties.fields["ipamOptions"].WhichOneof("kind") == "null_value"
    assert set(answer.properties.fields) == set(NETWORK_SCHEMA)


def test_what_failed_half_way_is_replaced(docker: Docker) -> None:
    inputs = {"name": "c", "image": "i"}
    state = {**docker.create("docker:index/container:Container", inputs, preview=True).properties}
    settled = docker.diff("docker:index/container:Container", State("x", state), inputs, inputs)
    assert not settled.changes
    failed = docker.diff("docker:index/container:Container", State("x", {**state, "__failed": True}), inputs, inputs)
    assert [name for name, change in failed.changes.items() if change.replaces] == ["image"]


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"host": "ssh://a@b", "sshOpts": '["-i"]'}, "the docker stand-in refuses 'sshOpts': ssh options live in"),
        ({"context": "remote"}, "the docker stand-in refuses 'context': name the daemon with `host`"),
        ({"caMaterial": "x"}, "the docker stand-in refuses 'caMaterial'"),
        ({"registryAuth": "[]"}, "the docker stand-in refuses 'registryAuth'"),
    ],
)
def test_provider_settings_are_refused_by_name(docker: Docker, inputs: dict[str, Any], reason: str) -> None:
    (refusal,) = docker.check_configuration(inputs).refusals
    assert refusal.reason.startswith(reason)


def test_a_plain_host_is_accepted(docker: Docker) -> None:
    assert docker.check_configuration({"host": "ssh://user@host:22", "version": "5.1.0"}).refusals == ()


def test_unknown_resources_and_functions_are_refused_by_name(docker: Docker) -> None:
    with pytest.raises(PluginError, match="no resource 'docker:index/tag:Tag'"):
        docker.check("docker:index/tag:Tag", "t", {}, {}, b"")
    with pytest.raises(PluginError, match="no function 'docker:index/getLogs:getLogs'"):
        docker.invoke("docker:index/getLogs:getLogs", {"name": "c"})


def test_an_image_is_never_pushed(docker: Docker) -> None:
    checked = docker.check("docker:index/image:Image", "i", {}, {"imageName": "a:1"}, b"")
    assert [refusal.property for refusal in checked.refusals] == ["skipPush"]
