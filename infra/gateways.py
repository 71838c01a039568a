"""A stack's gateways out of the three places that may tell of them: what holds for all (`ibgw:gatewayDefaults`), a file
of them (`ibgw:gatewaysFile`), and the stack's own file (`ibgw:gateways`). Imports no pulumi.

What is nearer to one gateway wins, in this order. Mappings are merged key by key; everything else, a list and a null
too, replaces what it is laid over.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from deployment.errors import ExitCode, IbgwError
from deployment.names import PROJECT
from infra import strict_yaml
from infra.values import gateways_file

ALL = "gatewayDefaults"
FILE = "gatewaysFile"
OWN = "gateways"

_FAULT = re.compile(rf"{PROJECT}:{OWN}\.(?P<path>[^\s:]+)")


@dataclass(frozen=True)
class Gathered:
    """`document`: the configuration's keys without their namespace, all that is told of each gateway in `gateways`."""

    document: Mapping[str, Any]
    _all: Any = None
    _filed: Any = None
    _own: Any = None
    _file: strict_yaml.Document | None = None
    _named: str = ""

    def placed(self, fault: str) -> str:
        """A fault that begins with the key of a gateway's setting, with the place where that stands: one in the file
        has its line, and one that all gateways have is named as theirs, once."""
        found = _FAULT.match(fault)
        if found is None:
            return fault
        path = found["path"].split(".")
        places = list(self._places(path))
        if not places:
            return fault
        first, *others = places
        if first == f"{PROJECT}:{ALL}":
            return ".".join((first, *path[1:])) + fault[found.end() :]
        told = [] if first == f"{PROJECT}:{OWN}" else [first]
        told += [f"over {other}" for other in others]
        where = f" ({', '.join(told)})" if told else ""
        return f"{found[0]}{where}{fault[found.end() :]}"

    def _places(self, path: Sequence[str]) -> Iterator[str]:
        """Where the value comes from, nearest to the gateway first; several where their mappings are merged."""
        name, inner = path[0], path[1:]
        of_all = None if self._all is None or not inner else {name: self._all}
        told = ((f"{PROJECT}:{OWN}", self._own), (self._named, self._filed), (f"{PROJECT}:{ALL}", of_all))
        held = [(place, *_deepest(value, path)) for place, value in told]
        deepest = max(depth for _, depth, _ in held)
        for place, depth, value in held:
            if depth == deepest > 0:
                line = self._file.line((name, *inner)) if place == self._named and self._file else None
                yield place if line is None else f"{place}, line {line}"
                if not isinstance(value, Mapping):
                    return


def gather(document: Mapping[str, Any], folder: Path) -> Gathered:
    """Of a configuration's keys without their namespace. `folder`: Pulumi.yaml's, where the gateways' file lies.

    What has another form than it must have stays for infra.settings to refuse. Raises IbgwError (REFUSED) where the
    file cannot be read.
    """
    defaults, own, named = document.get(ALL), document.get(OWN), document.get(FILE)
    file, filed = None, None
    if isinstance(named, str):
        try:
            gateways_file(named)
        except ValueError as error:
            raise IbgwError(f"{PROJECT}:{FILE}: {error}", exit_code=ExitCode.REFUSED) from None
        file = strict_yaml.read(folder / named, f"{PROJECT}:{FILE}")
        # Empty: none yet.
        filed = {} if file.value is None else file.value
        if not isinstance(filed, Mapping):
            raise IbgwError(
                f"{PROJECT}:{FILE}: {named} holds no mapping; expected the gateways' names, each with its settings "
                "below it",
                exit_code=ExitCode.REFUSED,
            )
    told = [value for value in (defaults, own, filed) if value is not None]
    if (defaults is None and filed is None) or not all(isinstance(value, Mapping) for value in told):
        return Gathered(document)
    names = dict.fromkeys((*(filed or {}), *(own or {})))
    gateways = {name: _merged(defaults, *((each or {}).get(name) for each in (filed, own))) for name in names}
    # Where no key tells of any, that is what is wrong.
    merged = {**document, OWN: gateways} if names or OWN in document or filed is not None else document
    return Gathered(merged, defaults, filed, own, file, str(named))


def _merged(*layers: Any) -> Any:
    """None stands for nothing of its own: a name without any setting."""
    told = [layer for layer in layers if layer is not None]
    return reduce(_laid_over, told) if told else None


def _laid_over(below: Any, above: Any) -> Any:
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    return {**below, **{key: _laid_over(below[key], value) if key in below else value for key, value in above.items()}}


def _deepest(value: Any, path: Sequence[str]) -> tuple[int, Any]:
    """How much of the path is there, and what stands at its end; None where that is not all."""
    for depth, part in enumerate(path):
        if not isinstance(value, Mapping) or part not in value:
            return depth, None
        value = value[part]
    return len(path), value
