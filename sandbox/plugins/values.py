"""Property values as plain Python: what the engine sends as protobuf structs, without the protobuf.

A value is None, bool, int, float, str, list, dict or `UNKNOWN`. Secrets never show here: a plug-in that does not accept
them gets plain values, and the engine marks what comes back (the official docker provider works the same way).
"""

from typing import Any, Final

from google.protobuf import struct_pb2  # type: ignore[import-untyped]


class Unknown:
    """A value that is known only after an update. There is one instance, `UNKNOWN`."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()

Properties = dict[str, Any]

# sdk/go/common/resource/plugin/rpc.go of the engine: the string that stands for an unknown value on the wire.
_UNKNOWN_ON_THE_WIRE = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


def from_struct(struct: struct_pb2.Struct) -> Properties:
    """The struct's properties. Numbers without a fraction become int, since the wire only knows floats."""
    return {key: _from_value(value) for key, value in struct.fields.items()}


def _from_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value == _UNKNOWN_ON_THE_WIRE else value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return [_from_value(item) for item in value.list_value.values]
    return None


def to_struct(properties: Properties, *, nulls: bool = False) -> struct_pb2.Struct:
    """The reverse of `from_struct`. Properties that are None are left out, as the engine does, unless `nulls`."""
    struct = struct_pb2.Struct()
    for key, value in properties.items():
        if value is not None or nulls:
            _fill(struct.fields[key], value)
    return struct


def _fill(target: struct_pb2.Value, value: Any) -> None:
    match value:
        case None:
            target.null_value = struct_pb2.NULL_VALUE
        case Unknown():
            target.string_value = _UNKNOWN_ON_THE_WIRE
        case bool():
            target.bool_value = value
        case int() | float():
            target.number_value = value
        case str():
            target.string_value = value
        case dict():
            target.struct_value.CopyFrom(to_struct(value))
        case list() | tuple():
            target.list_value.values.extend([])
            for item in value:
                _fill(target.list_value.values.add(), item)
        case _:
            raise TypeError(f"a property cannot hold a {type(value).__name__}")


def has_unknown(value: Any) -> bool:
    """Whether anything in `value` is known only after an update."""
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN
