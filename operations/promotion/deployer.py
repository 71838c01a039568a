"""Deploys a release to live, from any phase to an end or to the next wait.

Every step can be done again: a promotion that was killed goes on with the step that its journal names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from deployment.errors import ExitCode
from healthcheck.observation import CheckName
from healthcheck.reasons import Reason
from healthcheck.report import Report
from operations.promotion.journal import Entry, Journal, Phase
from operations.promotion.outcome import Outcome, judge, unapproved

Say = Callable[[str], None]


@dataclass(frozen=True)
class Deployed:
    """`report`: of the verification at the update's end, or of one made afterwards where the update ended before that;
    None where neither could be. `touched`: whether another container runs than before."""

    succeeded: bool
    touched: bool
    report: Report | None


class Live(Protocol):
    """Everything that a promotion does to a live stack."""

    def name_release(self, release: str | None) -> None:
        """Has the stack's file name this release, or none."""

    def deploy(self, release: str) -> Deployed:
        """Runs the update, verification included, by the program of the release that the stack's file names."""

    def repair(self) -> None:
        """Puts right what a killed update left: a stale lock, pending operations, unrecorded objects."""

    def stop(self, gateways: Sequence[str]) -> None:
        """Stops these, with time to log out."""

    def start(self, gateways: Sequence[str]) -> None:
        """Starts these, unless they run."""


def deploy_release(live: Live, journal: Journal, entry: Entry, say: Say) -> ExitCode:
    """Brings live to the entry's target, and back where the image fails. `entry.phase` is DEPLOYING or ROLLING_BACK."""
    fresh = journal.read() is None
    journal.write(entry)
    live.name_release(entry.target)
    done = live.deploy(entry.target)
    outcome, reasons = _judge(done)
    why = tuple(reason.value for reason in reasons)
    because = f" ({', '.join(why)})" if why else ""
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
            say(f"The update refused, and no gateway of {entry.stack} was touched. Its file names what ran there.")
            return ExitCode.REFUSED
        case Outcome.NOT_DEPLOYED if not entry.back or entry.asked:
            say("The update could not run; nothing more was done.")
            return ExitCode.COULD_NOT_RUN
        case Outcome.IMAGE if entry.can_go_back:
            say(f"Release {entry.target} fails on {entry.stack}{because}: going back to {entry.previous}.")
            return deploy_release(live, journal, entry.going_back(), say)
    waits = outcome in (Outcome.SECOND_FACTOR, Outcome.BROKER)
    pending = unapproved(done.report) if done.report is not None else ()
    # First the journal, since a stop may take a minute.
    journal.write(entry.at(Phase.WAITING if waits else Phase.STOPPED, why, pending))
    if pending:
        live.stop(pending)
        say(f"Nobody approved the login of {', '.join(pending)}: stopped, so that it is not asked for again by itself.")
    if waits:
        say(f"{entry.stack} runs release {entry.target} and is not verified yet{because}.")
        return ExitCode.TIMED_OUT
    say(
        f"{entry.stack} needs a person{because}: it was brought to release {entry.target} and is not verified. "
        f"`ibgw doctor --stack {entry.stack}` says what to do."
    )
    return ExitCode.NEEDS_A_PERSON


def resume(live: Live, journal: Journal, entry: Entry, say: Say) -> ExitCode:
    """From where the journal says that it is."""
    live.repair()
    if entry.unapproved:
        live.start(entry.unapproved)
    return deploy_release(live, journal, entry.resumed(), say)


def _judge(done: Deployed) -> tuple[Outcome, tuple[Reason, ...]]:
    if done.report is None:
        # The program did not get to its end. Whose fault it is cannot be told.
        return (Outcome.PERSON if done.touched else Outcome.NOT_DEPLOYED), ()
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
