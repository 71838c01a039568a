"""The course of a deployment to live, from any phase to an end or to the next wait.

Every step can be done again: a promotion that was killed goes on with the step that its journal names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from contract.errors import ExitCode
from healthcheck.reasons import Reason
from healthcheck.report import CheckName, Report
from operations.promotion.journal import Entry, Journal, Phase
from operations.promotion.outcome import Outcome, judge

Say = Callable[[str], None]


@dataclass(frozen=True)
class Deployed:
    """`report`: of the verification at the update's end; None where the update ended before that. `touched`: whether
    another container runs than before."""

    succeeded: bool
    touched: bool
    report: Report | None


class Live(Protocol):
    """Everything that a promotion does to a live stack."""

    def name_release(self, release: str | None) -> None:
        """Has the stack's file name this release, or none."""

    def deploy(self) -> Deployed:
        """Runs the update, verification included."""

    def settle(self) -> None:
        """Puts right what a killed update left: a stale lock, pending operations, unrecorded objects."""

    def stop(self) -> None:
        """Stops the gateways that run, with time to log out."""

    def start(self) -> None:
        """Starts those that do not."""


def go(live: Live, journal: Journal, entry: Entry, say: Say) -> ExitCode:
    """Brings live to the entry's target, and back where the image fails. `entry.phase` is DEPLOYING or ROLLING_BACK."""
    fresh = journal.read() is None
    journal.write(entry)
    live.name_release(entry.target)
    done = live.deploy()
    outcome, reasons = _judge(done)
    why = tuple(reason.value for reason in reasons)
    told = f" ({', '.join(why)})" if why else ""
    match outcome:
        case Outcome.VERIFIED:
            journal.close()
            say(f"{entry.stack} runs release {entry.target}, verified.")
            for line in _what_ifs(done.report):
                say(line)
            return ExitCode.ROLLED_BACK if entry.back and not entry.asked else ExitCode.OK
        case Outcome.NOT_DEPLOYED if fresh:
            live.name_release(entry.release if entry.back else entry.previous)
            journal.close()
            say(f"The update refused, and no gateway of {entry.stack} was touched. Its file names what runs there.")
            return ExitCode.REFUSED
        case Outcome.NOT_DEPLOYED:
            say(f"The update could not run; nothing more was done. {entry.describe()}. Next: {entry.next_command}")
            return ExitCode.COULD_NOT_RUN
        case Outcome.IMAGE if not entry.back and entry.previous is not None:
            say(f"Release {entry.target} fails on {entry.stack}{told}: going back to {entry.previous}.")
            return go(live, journal, entry.going_back(), say)
        case Outcome.SECOND_FACTOR:
            # Stopped, so that it does not ask again by itself; first the journal, since a stop may take a minute.
            return _wait(live, journal, entry.at(Phase.WAITING, why), say, stop=True)
        case Outcome.BROKER:
            return _wait(live, journal, entry.at(Phase.WAITING, why), say, stop=False)
        case _:
            stopped = entry.at(Phase.STOPPED, why)
            journal.write(stopped)
            say(
                f"{entry.stack} needs a person{told}: it was brought to release {entry.target} and is not verified. "
                f"`ibgw doctor --stack {entry.stack}` says what to do. Next, once that is done: {stopped.next_command}"
            )
            return ExitCode.NEEDS_A_PERSON


def go_on(live: Live, journal: Journal, entry: Entry, say: Say) -> ExitCode:
    """From where the journal says that it is."""
    live.settle()
    if entry.phase is Phase.WAITING:
        live.start()
    return go(live, journal, entry.resumed(), say)


def _judge(done: Deployed) -> tuple[Outcome, tuple[Reason, ...]]:
    if done.report is None:
        # Without a report the program did not get to its end: Docker refused to make or to start the container.
        return (Outcome.IMAGE if done.touched else Outcome.NOT_DEPLOYED), ()
    outcome, reasons = judge(done.report)
    return (Outcome.PERSON if outcome is Outcome.VERIFIED and not done.succeeded else outcome), reasons


def _what_ifs(report: Report | None) -> list[str]:
    """Whether each gateway answered a what-if order: on live it is off unless configured."""
    return [
        f"{report.stack}/{gateway.gateway}: what-if order: {check.verdict.replace('_', ' ')}, {check.seen}"
        for gateway in (report.gateways if report is not None else ())
        for check in gateway.checks
        if report is not None and check.name is CheckName.ORDER_CAPABILITY
    ]


def _wait(live: Live, journal: Journal, entry: Entry, say: Say, *, stop: bool) -> ExitCode:
    journal.write(entry)
    if stop:
        live.stop()
        say(f"Nobody approved the login. {entry.stack} is stopped, so that it does not ask again by itself.")
    say(
        f"{entry.stack} runs release {entry.target} and is not verified yet: {', '.join(entry.why)}. "
        f"Next, once that is over: {entry.next_command} (or go back: ibgw rollback --stack {entry.stack})"
    )
    return ExitCode.TIMED_OUT
