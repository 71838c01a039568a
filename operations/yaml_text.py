"""YAML whose values stay as they are written: `17:00` and `no` are words to the engine and to compose, and a number and
a boolean to PyYAML (YAML 1.1)."""

import re
from typing import Any

import yaml


class _Words(yaml.SafeLoader):
    yaml_implicit_resolvers = {"<": [("tag:yaml.org,2002:merge", re.compile("<<"))]}  # noqa: RUF012 - of the base class


def _untagged(loader: yaml.SafeLoader, _tag: str, node: yaml.Node) -> Any:
    """Compose has tags of its own, such as !reset."""
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else node.value


_Words.add_multi_constructor("!", _untagged)


def read(text: str) -> Any:
    """Mappings, lists and texts; what is empty is an empty text. Raises yaml.YAMLError."""
    try:
        return yaml.load(text, Loader=_Words)
    except RecursionError:
        raise yaml.MarkedYAMLError(problem="it is nested too deeply") from None


def what_is_wrong(error: yaml.YAMLError) -> str:
    """Where the text stops being YAML, and what is the usual reason."""
    place = getattr(error, "problem_mark", None)
    before = getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or "it cannot be read")
    if place is not None and "\\t" in problem:
        return f"line {place.line + 1} is indented with a tab; YAML wants blanks"
    if "end of stream" in problem and before is not None:
        return f"a quote that opens in line {before.line + 1} is never closed"
    context = str(getattr(error, "context", None))
    if "flow" in context and before is not None:
        bracket = "{" if "mapping" in context else "["
        return f"a {bracket} that opens in line {before.line + 1} is never closed, or a comma is missing behind it"
    # A text in quotes is the file's, and may be a credential.
    problem = re.sub("'[^'<]{2,}'", "a text", problem)
    where = f"line {place.line + 1}: " if place is not None else ""
    return f"{where}{problem}; a quote, colon or bracket is missing there or above, or an indent is wrong"
