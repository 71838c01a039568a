"""A YAML file as the engine reads a stack's: only `true`, `false`, `null` and numbers are no texts, so that `23:59` and
`no` stay as they are written. It also tells in which line something stands. Imports no pulumi.

Stricter than the engine: each key once, and no anchors, whose copies have no line of their own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deployment.errors import ExitCode, IbgwError

_WORDS = re.compile("true|True|TRUE|false|False|FALSE")
_NOTHING = re.compile("null|Null|NULL|~|")
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")


class _Composer(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="an anchor is used; write it out there", problem_mark=mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


@dataclass(frozen=True)
class Document:
    """`value`: mappings, lists, texts, numbers, booleans and None."""

    value: Any
    _root: yaml.Node | None

    def line(self, path: Sequence[str]) -> int:
        """Of the deepest key on this path that is there, counted from 1."""
        node, line = self._root, 1
        for part in path:
            keys = node.value if isinstance(node, yaml.MappingNode) else ()
            found = next((pair for pair in keys if pair[0].value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        return line


def read(file: Path, named: str) -> Document:
    """Raises IbgwError (REFUSED) for what cannot be read. `named`: the setting that names the file."""

    def refused(what: str) -> IbgwError:
        return IbgwError(f"{named}: {file.name}{what}", exit_code=ExitCode.REFUSED)

    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=_Composer)
        return Document(None if root is None else _plain(root), root)
    except FileNotFoundError:
        raise refused(f" is not there; expected it in {file.parent}, beside Pulumi.yaml") from None
    except OSError as error:
        raise refused(f" cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise refused(" is not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        # A text in quotes is the file's own.
        problem = re.sub("'[^'<]{2,}'", "a text", str(error.problem))
        raise refused(f"{where}: {problem}; put that right, nothing of the file is used before") from None
    except yaml.YAMLError:
        raise refused(" holds characters that YAML has not") from None
    except RecursionError:
        raise refused(": nested too deeply") from None


def _plain(node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node)
    # In quotes it is a text.
    return _scalar(node) if isinstance(node, yaml.ScalarNode) and node.style is None else node.value


def _mapping(node: yaml.MappingNode) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a list or a mapping stands for a key", problem_mark=key.start_mark)
        if key.value in found:
            raise yaml.MarkedYAMLError(problem=f"the key {key.value} is there twice", problem_mark=key.start_mark)
        found[key.value] = _plain(value)
    return found


def _scalar(node: yaml.ScalarNode) -> Any:
    text = node.value
    if _NOTHING.fullmatch(text):
        return None
    if _WORDS.fullmatch(text):
        return text.lower() == "true"
    try:
        return int(text) if _WHOLE.fullmatch(text) else float(text) if _NUMBER.fullmatch(text) else text
    except ValueError:
        # Python refuses to read a number of more than 4,300 digits.
        raise yaml.MarkedYAMLError(problem="a number of thousands of digits", problem_mark=node.start_mark) from None
