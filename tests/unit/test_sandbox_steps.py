"""Steps run side by side, wait for what they need, and say what they do."""

import re
import threading

import pytest

from deployment.errors import IbgwError
from sandbox.steps import Say, Steps

PATIENCE = 10.0


def test_independent_steps_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2)

    def meet(say: Say) -> None:
        meeting.wait(PATIENCE)

    with Steps(lambda text: None) as steps:
        steps.start("one", meet)
        steps.start("other", meet)


def test_a_step_waits_for_those_it_comes_after() -> None:
    order: list[str] = []
    gate = threading.Event()

    def first(say: Say) -> None:
        gate.wait(PATIENCE)
        order.append("first")

    with Steps(lambda text: None) as steps:
        before = steps.start("first", first)
        steps.start("second", lambda say: order.append("second"), after=[before])
        gate.set()
    assert order == ["first", "second"]


def test_a_failure_is_said_at_once_and_raised_when_the_others_are_done() -> None:
    said: list[str] = []
    finished: list[str] = []
    failed = threading.Event()

    def fail(say: Say) -> None:
        raise IbgwError("no room")

    def hear(text: str) -> None:
        said.append(text)
        failed.set()

    def long(say: Say) -> None:
        assert failed.wait(PATIENCE), "the failure is said while this one is still at work"
        finished.append("long")

    def run() -> None:
        with Steps(hear) as steps:
            broken = steps.start("broken", fail)
            steps.start("dependent", lambda say: finished.append("dependent"), after=[broken])
            steps.start("long", long)

    with pytest.raises(IbgwError, match="no room"):
        run()
    assert finished == ["long"]
    assert [text.partition("] ")[2] for text in said] == ["broken: failed: no room"]


def test_a_step_that_has_nothing_to_do_says_nothing() -> None:
    said: list[str] = []
    with Steps(said.append) as steps:
        steps.start("quiet", lambda say: None)
        steps.start("busy", lambda say: say("working (a second)"))
    assert [text.partition("] ")[2] for text in said][:1] == ["busy: working (a second)"]
    assert re.fullmatch(r"busy: ready \([12] of 2\)", said[1].partition("] ")[2])


def test_nobody_is_silent_for_long() -> None:
    said: list[str] = []
    heard = threading.Event()

    def hear(text: str) -> None:
        said.append(text.partition("] ")[2])
        if len(said) > 2:
            heard.set()

    def take_long(say: Say) -> None:
        say("begins")
        heard.wait(PATIENCE)

    with Steps(hear, quiet=0.05) as steps:
        long = steps.start("long", take_long)
        steps.start("later", lambda say: None, after=[long])
    assert said == ["long: begins", *["still at work: long (0 s)"] * (len(said) - 2), "long: ready (1 of 2)"]
    assert heard.is_set()
