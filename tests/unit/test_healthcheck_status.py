"""The status line of a gateway's first process: closed words and numbers, whatever else is answered on its port."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from healthcheck.automation.status import Status, parse
from tests.unit.supervised import Supervised

LINE = (
    "v=1 phase=held since=1795150740 hold=attempts until=0 now=1795150800 mode=paper automation=ibc started=0 "
    "kind=none login=0 api=unknown attempts=2 limit=2 outcomes=rejected,competing_session logins=0 factor=0 event=none "
    "due=0 done=0 heals=0 healed=none memory=20971520 clients=0 stopped=no_session"
)


def test_a_line_is_read() -> None:
    status = parse(f"{LINE}   \n")
    assert status.since == datetime(2026, 11, 20, 4, 59, tzinfo=UTC)
    assert status.until is None
    assert (status.attempts, status.outcomes) == (2, ("rejected", "competing_session"))
    assert parse(LINE.replace("rejected,competing_session", "none")).outcomes == ()


def test_a_word_that_a_later_version_adds_is_passed_over() -> None:
    assert parse(f"{LINE} more=words").phase == "held"


@pytest.mark.parametrize(
    "line",
    [
        "",
        LINE.replace("phase=held", "phase=\x1b[2J"),
        LINE.replace("phase=held", "phase=Held!"),
        LINE.replace("attempts=2", "attempts=-1"),
        LINE.replace("attempts=2", "attempts=many"),
        LINE.replace("until=0", "until=99999999999999999999"),
        LINE.replace("now=1795150800", ""),
        LINE + " " * 5000,
    ],
    ids=["empty", "escape", "not a word", "negative", "no number", "no time", "missing", "long"],
)
def test_anything_else_is_refused_and_not_repeated(line: str) -> None:
    with pytest.raises(ValueError, match="not a status line") as refused:
        parse(line)
    assert "Held!" not in str(refused.value)
    assert "\x1b" not in str(refused.value)


def test_the_line_that_the_supervisor_writes_has_every_field(tmp_path: Path) -> None:
    box = Supervised(tmp_path)
    box.bash("publish")
    line = (box.home / "run" / "status").read_text()
    assert set(Status.model_fields) == {word.partition("=")[0] for word in line.split()}
    assert parse(line).phase == "starting"
