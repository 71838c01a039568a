"""A preview by an identity that may list the versions of secrets and not read them; an update by the same refuses."""

import copy
import json
from typing import Any

import pulumi
import pytest

from tests.leaks import leaks
from tests.stack.conftest import PASSWORD, USER, Program
from tests.stack.test_program import container, plain, refused
from tests.unit.test_settings import tracked

VALUE, LIST = "getSecretVersion", "getSecretVersions"
PREVIOUS, CURRENT = "00000000-2222-3333-4444-555555555555", "11111111-2222-3333-4444-555555555555"


def pinned(version: str) -> dict[str, Any]:
    config = copy.deepcopy(tracked("paper"))
    config["ibgw:gateways"]["main"]["credentials"]["versionId"] = version
    return config


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    return said


def test_the_version_and_all_but_the_values_are_declared_as_with_them(program: Program, warned: list[str]) -> None:
    read = program.run(preview=True).engine
    assert warned == []
    unread = program.run(preview=True, denied=[VALUE]).engine
    assert [token.rpartition(":")[2] for token, _ in unread.calls] == [VALUE, LIST]
    assert unread.declared("Container", "main").secret == {"uploads"}
    declared = []
    for engine in (read, unread):
        found = {(one.type, one.name): plain(one.inputs) for one in engine.resources}
        found["docker:index/container:Container", "main"].pop("uploads")
        declared.append(found)
    assert declared[0] == declared[1]
    before, after = container(read)["uploads"], container(unread)["uploads"]
    assert [upload["content"] for upload in after[:2]] == ["not read", "not read"]
    assert after[2]["content"] == CURRENT
    assert after[2:] == before[2:]
    assert [upload["file"] for upload in after] == [upload["file"] for upload in before]
    assert leaks(json.dumps(after), USER, PASSWORD) == []


def test_the_preview_says_what_was_not_checked(program: Program, warned: list[str]) -> None:
    program.run(preview=True, denied=[VALUE])
    [text] = warned
    for said in ("'ibgw/paper/main'", "not read", "well-formed", "no two gateways have the same user"):
        assert said in text


def test_a_configured_version_must_be_listed(program: Program) -> None:
    engine = program.run(config=pinned(PREVIOUS), preview=True, denied=[VALUE]).engine
    assert container(engine)["uploads"][2]["content"] == PREVIOUS
    with pytest.raises(pulumi.RunError, match=r"version .22222222.* is not among those with a staging label"):
        program.run(config=pinned("22222222-0000-0000-0000-000000000000"), preview=True, denied=[VALUE])


def test_an_update_without_the_values_declares_nothing(program: Program) -> None:
    message = refused(program, denied=[VALUE])
    assert "access denied; allow secretsmanager:GetSecretValue" in message
    assert program.engine is not None
    assert [token.rpartition(":")[2] for token, _ in program.engine.calls] == [VALUE]


def test_a_preview_that_may_not_even_list_declares_nothing(program: Program) -> None:
    message = refused(program, preview=True, denied=[VALUE, LIST])
    assert "secretsmanager:ListSecretVersionIds" in message


def test_a_preview_takes_no_other_failure_for_a_denial(program: Program) -> None:
    message = refused(program, preview=True, secrets={})
    assert "`ibgw credentials put`" in message
    assert program.engine is not None
    assert [token.rpartition(":")[2] for token, _ in program.engine.calls] == [VALUE]


def test_a_secret_that_is_not_there_is_refused_where_only_its_list_says_so(program: Program) -> None:
    assert "`ibgw credentials put`" in refused(program, preview=True, secrets={}, denied=[VALUE])
