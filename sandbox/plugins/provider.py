"""A provider plug-in between the engine's protocol and plain Python.

`Provider` is what a plug-in implements, in plain values; `run` serves it. Errors: raise `PluginError` for what the user
should read, `RecordedButFailed` when the object exists although its creation or update failed. Any other exception is a
bug and reaches the user as its type's name only, because its text could hold a property's value.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NoReturn, Protocol, TypeVar

import grpc
from google.protobuf import any_pb2, empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from sandbox.plugins.process import serve
from sandbox.plugins.values import Properties, from_struct, to_struct

Answer = TypeVar("Answer")


class PluginError(Exception):
    """A failure in words for the user. Never holds a secret."""


class RecordedButFailed(Exception):
    """The object exists, but is not what was asked for: the engine records `properties` and reports the reason."""

    def __init__(self, reason: str, *, id: str, properties: Properties) -> None:
        super().__init__(reason)
        self.reason = reason
        self.id = id
        self.properties = properties


@dataclass(frozen=True)
class Refusal:
    """An input that is not accepted. `property` is "" when it concerns the whole resource."""

    property: str
    reason: str


@dataclass(frozen=True)
class Checked:
    inputs: Properties
    refusals: tuple[Refusal, ...] = ()


class Change(Enum):
    """What happens to one property. The names are PropertyDiff.Kind's."""

    ADD = "ADD"
    DELETE = "DELETE"
    UPDATE = "UPDATE"
    ADD_REPLACE = "ADD_REPLACE"
    DELETE_REPLACE = "DELETE_REPLACE"
    UPDATE_REPLACE = "UPDATE_REPLACE"

    @property
    def replaces(self) -> bool:
        return self.name.endswith("_REPLACE")


@dataclass(frozen=True)
class Difference:
    """The changes by property. `input_only`: properties that the program changed, as opposed to drift."""

    changes: Mapping[str, Change] = field(default_factory=dict)
    by_program: frozenset[str] = frozenset()
    delete_first: bool = False


@dataclass(frozen=True)
class State:
    """A resource as it is: its id and all its properties, inputs included."""

    id: str
    properties: Properties


class Provider(Protocol):
    """What a plug-in does. `token` is a resource's type or a function's name, such as `docker:index/image:Image`."""

    name: str
    version: str

    def check_configuration(self, inputs: Properties) -> Checked: ...

    def configure(self, inputs: Properties) -> None: ...

    def check(self, token: str, name: str, old: Properties, new: Properties, seed: bytes) -> Checked: ...

    def diff(self, token: str, state: State, old_inputs: Properties, new: Properties) -> Difference: ...

    def create(self, token: str, inputs: Properties, *, preview: bool) -> State: ...

    def read(self, token: str, state: State) -> State | None: ...

    def adopt(self, token: str, id: str) -> tuple[Properties, State] | None:
        """The inputs and the state of an object that is imported; None where there is none."""
        ...

    def update(self, token: str, state: State, new: Properties, *, preview: bool) -> Properties: ...

    def delete(self, token: str, state: State) -> None: ...

    def invoke(self, token: str, arguments: Properties) -> Properties: ...


def run(provider: Provider) -> NoReturn:
    """Serves `provider` until the engine ends it."""
    serve(lambda server: provider_pb2_grpc.add_ResourceProviderServicer_to_server(_Servicer(provider), server))


class _Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """Translates each call. Secrets are not accepted: the engine hides what it must by itself."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=self._provider.version)

    def GetSchema(self, request: Any, context: Any) -> Any:
        schema = f'{{"name": "{self._provider.name}", "version": "{self._provider.version}"}}'
        return provider_pb2.GetSchemaResponse(schema=schema)

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:
        # As the official plug-in: calls in progress go on, so that what they made is recorded. The engine ends the
        # process with a signal when it wants no more.
        return empty_pb2.Empty()

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return self._checked(context, lambda: self._provider.check_configuration(from_struct(request.news)))

    def DiffConfig(self, request: Any, context: Any) -> Any:
        changed = from_struct(request.old_inputs) != from_struct(request.news)
        return provider_pb2.DiffResponse(changes=_DIFF_SOME if changed else _DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        self._do(context, lambda: self._provider.configure(from_struct(request.args)))
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Check(self, request: Any, context: Any) -> Any:
        token, name = _type_and_name(request.urn)
        old, new = from_struct(request.olds), from_struct(request.news)
        return self._checked(context, lambda: self._provider.check(token, name, old, new, request.randomSeed))

    def Diff(self, request: Any, context: Any) -> Any:
        token, _ = _type_and_name(request.urn)
        state = State(request.id, from_struct(request.olds))
        old, new = from_struct(request.old_inputs), from_struct(request.news)
        difference = self._do(context, lambda: self._provider.diff(token, state, old, new))
        # The engine has put the old inputs in place of ignored ones already; what is left of them is drift. A path into
        # a property concerns that part of it alone: another part that changed still counts.
        changes = {name: change for name, change in difference.changes.items() if name not in request.ignoreChanges}
        return provider_pb2.DiffResponse(
            changes=_DIFF_SOME if changes else _DIFF_NONE,
            diffs=sorted(changes),
            replaces=sorted(name for name, change in changes.items() if change.replaces),
            deleteBeforeReplace=difference.delete_first,
            hasDetailedDiff=True,
            detailedDiff={
                name: provider_pb2.PropertyDiff(
                    kind=provider_pb2.PropertyDiff.Kind.Value(change.value), inputDiff=name in difference.by_program
                )
                for name, change in changes.items()
            },
        )

    def Create(self, request: Any, context: Any) -> Any:
        token, _ = _type_and_name(request.urn)
        inputs = from_struct(request.properties)
        state = self._do(
            context,
            lambda: self._provider.create(token, inputs, preview=request.preview),
            lambda error: _initialisation_failed(error, f"creating {request.urn}", inputs),
        )
        return provider_pb2.CreateResponse(id=state.id, properties=to_struct(state.properties, nulls=True))

    def Read(self, request: Any, context: Any) -> Any:
        token, _ = _type_and_name(request.urn)
        state = State(request.id, from_struct(request.properties))
        if not state.properties:
            adopted = self._do(context, lambda: self._provider.adopt(token, request.id))
            return _read(*adopted) if adopted else provider_pb2.ReadResponse(id="")
        found = self._do(context, lambda: self._provider.read(token, state))
        return _read(from_struct(request.inputs), found) if found else provider_pb2.ReadResponse(id="")

    def Update(self, request: Any, context: Any) -> Any:
        token, _ = _type_and_name(request.urn)
        state = State(request.id, from_struct(request.olds))
        new = from_struct(request.news)
        properties = self._do(
            context,
            lambda: self._provider.update(token, state, new, preview=request.preview),
            lambda error: _initialisation_failed(error, f"updating {request.urn}", new),
        )
        return provider_pb2.UpdateResponse(properties=to_struct(properties, nulls=True))

    def Delete(self, request: Any, context: Any) -> Any:
        token, _ = _type_and_name(request.urn)
        state = State(request.id, from_struct(request.properties))
        self._do(context, lambda: self._provider.delete(token, state))
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        found = self._do(context, lambda: self._provider.invoke(request.tok, from_struct(request.args)))
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(to_struct(found))  # `return` is a keyword
        return response

    def _checked(self, context: Any, check: Callable[[], Checked]) -> Any:
        checked = self._do(context, check)
        return provider_pb2.CheckResponse(
            inputs=to_struct(checked.inputs),
            failures=[provider_pb2.CheckFailure(property=r.property, reason=r.reason) for r in checked.refusals],
        )

    def _do(
        self,
        context: Any,
        call: Callable[[], Answer],
        recorded: Callable[[RecordedButFailed], grpc.Status] | None = None,
    ) -> Answer:
        """The call's answer; its exceptions become gRPC statuses. `recorded`: that of a call that changes something."""
        try:
            return call()
        except PluginError as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        except RecordedButFailed as error:
            if recorded is None:
                raise
            context.abort_with_status(recorded(error))
        except Exception as error:  # noqa: BLE001 - the text of an unforeseen exception may hold a secret
            context.abort(grpc.StatusCode.INTERNAL, f"bug in the {self._provider.name} stand-in: {_where(error)}")
        raise AssertionError("abort() always raises")


def _read(inputs: Properties, state: State) -> Any:
    return provider_pb2.ReadResponse(
        id=state.id, inputs=to_struct(inputs), properties=to_struct(state.properties, nulls=True)
    )


class _Status(grpc.Status):
    """A status with details, as `abort_with_status` wants it."""

    def __init__(self, reason: str, details: bytes) -> None:
        self.code = grpc.StatusCode.UNKNOWN
        self.details = reason
        self.trailing_metadata = (("grpc-status-details-bin", details),)


def _initialisation_failed(error: RecordedButFailed, doing: str, inputs: Properties) -> grpc.Status:
    """What makes the engine record the resource with an initialisation error."""
    reason = f"{doing}: {error.reason}"
    detail = any_pb2.Any()
    detail.Pack(
        provider_pb2.ErrorResourceInitFailed(
            id=error.id, properties=to_struct(error.properties), inputs=to_struct(inputs), reasons=[reason]
        )
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=reason, details=[detail])
    return _Status(reason, status.SerializeToString())


def _where(error: BaseException) -> str:
    """The exception's type and the place where it was raised, without its text."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return type(error).__name__ + (f" at {place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "")


def _type_and_name(urn: str) -> tuple[str, str]:
    """`urn:pulumi:STACK::PROJECT::PARENT$TYPE::NAME` -> TYPE, NAME."""
    _, _, types, name = urn.split("::", 3)
    return types.split("$")[-1], name


_DIFF_NONE = provider_pb2.DiffResponse.DIFF_NONE
_DIFF_SOME = provider_pb2.DiffResponse.DIFF_SOME
