"""Whatever a person or a program writes into a stack's file or a secret: a setting, or a refusal in words."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError
from infra import rules, spec
from infra.secret_document import parse
from infra.settings import load
from infra.values import unseen
from tests.unit.test_settings import as_engine, tracked

# The same examples each time, kept nowhere.
bounded = settings(max_examples=300, derandomize=True, database=None, deadline=None)

ODD = st.sampled_from(
    [
        *("", " ", "null", "true", "{", "[]", "9" * 5000, "-0", "1e999", "NaN", "x" * 5000, "9" * 400 + "m", "1.5h"),
        *("\x00", "\x1b[2J", "\u202e", "\ud800", "\U000e0041", "\uff11\uff12:\uff10\uff10", "24:00", "0.0.0.0/0"),
        *(
            "10.0.0.0/99",
            "::/0",
            "ssh://",
            "ssh://a:b@c",
            "ssh://a@[",
            "unix://",
            "unix:///\x00",
            "a/b:" + "c" * 200,
            "@",
        ),
        *("a/b@", "../../etc/passwd", "Factory", "EST", "arn:", "=", "a=", "{}", "U0000000", "DU1"),
    ]
)
LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**4000]),
    st.floats(),
    st.text(max_size=30),
    ODD,
)
VALUE = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
DEEP = "[" * 100_000
LONG = "9" * 5000
TEXT = st.one_of(
    st.text(max_size=60), ODD, VALUE.map(json.dumps), st.sampled_from([DEEP, '{"a":' * 3000, f'{{"a": {LONG}}}'])
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a document, and in each mapping the one of a key that is not there."""
    yield path
    if isinstance(value, dict):
        yield (*path, "unknown")
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


DOCUMENTS = {mode: {key: value for key, value in tracked(mode).items() if key.startswith("ibgw:")} for mode in Mode}
PLACES = {mode: [path for path in places(document) if path] for mode, document in DOCUMENTS.items()}


@given(st.data())
@bounded
def test_any_configuration_is_taken_or_refused_in_words(data: st.DataObject) -> None:
    """Up to three values of a tracked file are anything at all."""
    mode = data.draw(st.sampled_from(Mode))
    document = copy.deepcopy(DOCUMENTS[mode])
    for _ in range(data.draw(st.integers(1, 3))):
        *folders, last = data.draw(st.sampled_from(PLACES[mode]))
        place: Any = document
        for folder in folders:
            place = place[folder] if isinstance(place, dict) and folder in place else None
        if isinstance(place, dict):
            place[last] = data.draw(VALUE)
    described(str(mode), as_engine(document))


@given(st.sampled_from(sorted(DOCUMENTS[Mode.PAPER])) | st.text(max_size=10).map("ibgw:{}".format), TEXT)
@bounded
@example("ibgw:gateways", DEEP)
@example("ibgw:gateways", f'{{"main": {{"resources": {{"memory": {LONG}}}}}}}')
@example("ibgw:verifier", '{"timeout": "' + "9" * 400 + 'm"}')
def test_any_text_in_the_place_of_a_key_is_taken_or_refused_in_words(key: str, text: str) -> None:
    described("paper", as_engine(DOCUMENTS[Mode.PAPER]) | {key: text})


def described(stack: str, config: dict[str, str]) -> None:
    try:
        loaded = load(stack, config)
        everything = spec.describe(loaded, project="ibgw", stack=stack, image=loaded.image)
        rules.check_rules(stack, rules.records(everything))
    except IbgwError as refusal:
        check_words(refusal)


@given(TEXT)
@bounded
@example(DEEP)
@example(f'{{"user_id": {LONG}}}')
def test_any_text_as_a_secret_is_taken_or_refused_in_words(text: str) -> None:
    secret(text)


@given(VALUE, VALUE, VALUE)
@bounded
def test_any_value_in_a_secret_is_taken_or_refused_in_words(user_id: Any, password: Any, mode: Any) -> None:
    secret(json.dumps({"user_id": user_id, "password": password, "trading_mode": mode}))
    secret(json.dumps({"user_id": user_id, "password": password, "trading_mode": "paper"}))


def secret(text: str) -> None:
    try:
        assert all(value and unseen(value) is None for value in parse("ibgw/paper/main", text, Mode.PAPER))
    except IbgwError as refusal:
        check_words(refusal)


def check_words(refusal: IbgwError) -> None:
    assert refusal.exit_code is ExitCode.REFUSED
    words = str(refusal)
    assert unseen(words.replace("\n", "")) is None, ascii(words)
    assert len(words) < 20_000
