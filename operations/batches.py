"""Several gateways acted on: one first, as a canary, then so many at a time, until too many have failed.

The one mechanism of `start`, `stop`, `restart`, `login --again` and `rollout`. Whatever becomes of one
gateway, the others of its batch come to their end, and no other is touched for it: what is left stays as it was, and
the same command goes on with it.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from deployment.description import Deployment, Gateway, SecondFactor
from deployment.errors import ExitCode, IbgwError
from healthcheck.docker_host import DockerHost
from healthcheck.observation import CheckName
from healthcheck.reasons import Reason
from healthcheck.report import GatewayReport, Report, red
from healthcheck.verdict import GatewayVerdict
from operations.lifecycle import Act, Acted, Outcome, noted, together
from operations.promotion.outcome import unapproved

Say = Callable[[str], None]

VERIFIED = (GatewayVerdict.VERIFIED, GatewayVerdict.VERIFIED_WITH_WARNINGS)

LOGIN = (CheckName.CONNECTED, CheckName.AUTHENTICATED)
"""What a batch waits for, where it logs in."""

_OFFLINE = (Reason.OFFLINE.value,)

GOES_ON_SECONDS = 3600
"""For so long after its last gateway the same command goes on with a batch that was interrupted."""


class Result(StrEnum):
    """What became of a gateway."""

    VERIFIED = "verified"
    """Or done, where the act itself knows."""
    FAILED = "failed"
    WAITING = "waiting"
    """For its second factor. Nothing is begun meanwhile: two requests on one phone cannot be told apart."""
    NOT_REACHED = "not_reached"
    """As it was before."""


def result_of(report: Report, gateway: str) -> tuple[Result, tuple[str, ...]]:
    """Of a verification, with the reasons of the checks that failed."""
    seen: GatewayReport = next(one for one in report.gateways if one.gateway == gateway)
    why = tuple(dict.fromkeys(check.reason.value for check in red(seen.checks) if check.reason is not None))
    if gateway in unapproved(report):
        return Result.WAITING, why
    return (Result.VERIFIED if seen.verdict in VERIFIED else Result.FAILED), why


@dataclass(frozen=True)
class Rules:
    """`parallel`: gateways at a time, `max_failures`: after how many more it still goes on, None: after any. `canary`:
    the first one alone. `logs_in`: a batch is over when its gateways are logged in."""

    parallel: int
    max_failures: int | None = 0
    canary: bool = True
    logs_in: bool = True

    def batches(self, names: Sequence[str], asking: Collection[str] = ()) -> list[list[str]]:
        """In this order. `asking`: those whose login somebody approves; each of them is alone."""
        batches: list[list[str]] = []
        for name in names:
            alone = name in asking or not batches or batches[-1][0] in asking
            if alone or len(batches[-1]) >= self.parallel or (self.canary and len(batches) == 1):
                batches.append([])
            batches[-1].append(name)
        return batches


def run(
    batches: Sequence[Sequence[str]],
    act: Callable[[Sequence[str]], Mapping[str, Result]],
    *,
    max_failures: int | None,
    say: Say,
    before: Callable[[], None] = lambda: None,
) -> dict[str, Result]:
    """Acts on one batch after the other. It ends after the one that is a failure too many, after one with a pending
    approval, and where `before` raises IbgwError, which is asked before each but the first."""
    ended: dict[str, Result] = {}
    for number, batch in enumerate(batches):
        why = _ends(ended, max_failures)
        if number and not why:
            try:
                before()
            except IbgwError as error:
                why = str(error)
        if why:
            rest = [name for later in batches[number:] for name in later]
            say(f"{why}. Stopped, with {len(rest)} left as they were; the same command goes on with them.")
            return ended | dict.fromkeys(rest, Result.NOT_REACHED)
        ended |= act(batch)
    return ended


def _ends(ended: Mapping[str, Result], max_failures: int | None) -> str:
    waiting = [name for name, result in ended.items() if result is Result.WAITING]
    failed = [name for name, result in ended.items() if result is Result.FAILED]
    if waiting:
        return f"{', '.join(waiting)}: waits for an approval"
    return f"{', '.join(failed)}: failed" if max_failures is not None and len(failed) > max_failures else ""


# --- acts on containers -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress:
    """How far a command came that leaves no trace on the gateways, a file each. Its end removes it."""

    file: Path

    def done(self) -> frozenset[str]:
        """The gateways of an interrupted run of not long ago."""
        try:
            if time.time() - self.file.stat().st_mtime > GOES_ON_SECONDS:
                return frozenset()
            return frozenset(map(str, json.loads(self.file.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            return frozenset()
        except ValueError:
            raise IbgwError(f"{self.file} is no list of gateways: remove it to begin anew") from None

    def note(self, names: Collection[str]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_suffix(".new")
        draft.write_text(json.dumps(sorted(names)), encoding="utf-8")
        draft.replace(self.file)

    def end(self) -> None:
        self.file.unlink(missing_ok=True)


def act_on(
    act: Act,
    docker: DockerHost,
    deployment: Deployment,
    gateways: Sequence[Gateway],
    rules: Rules,
    acted: list[Acted],
    say: Say,
    *,
    done: Collection[str] = (),
    progress: Progress | None = None,
    before: Callable[[], None] = lambda: None,
) -> None:
    """One of lifecycle's acts in batches. `done`: those that are as they shall be. `acted` gets what came of each.

    Raises IbgwError that names each that failed, at the end: with the exit code that they have in common, else
    COULD_NOT_RUN.
    """
    chosen = {gateway.name: gateway for gateway in gateways}
    finished = {name for name in chosen if name in done}
    if finished:
        say(f"{', '.join(sorted(finished))}: done already, skipped.")
        acted += [Acted(gateway=name, outcome=Outcome.SKIPPED) for name in chosen if name in finished]
    asking = {name for name, one in chosen.items() if one.second_factor is SecondFactor.PUSH} if rules.logs_in else ()
    batches = rules.batches([name for name in chosen if name not in finished], asking)
    failed: dict[str, IbgwError] = {}

    def step(names: Sequence[str]) -> dict[str, Result]:
        if len(batches) > 1:
            say(f"{batches.index(list(names)) + 1}/{len(batches)}: {', '.join(names)}")
        # The batch's own: one that has not ended by then may still add to it.
        told: list[Acted] = []
        ended = together(noted(act, told), docker, deployment, [chosen[name] for name in names], say)
        failed.update({name: error for name, error in ended.items() if isinstance(error, IbgwError)})
        silent = (failed.keys() & set(names)) - {one.gateway for one in told}
        acted.extend((*told, *(Acted(gateway=name, error=str(failed[name])) for name in names if name in silent)))
        results = {name: Result.FAILED if name in failed else Result.VERIFIED for name in names}
        waits = [name for name in names if rules.logs_in and name not in failed and ended[name] is not Outcome.OFFLINE]
        for name, result, error in _logins(deployment, waits, say):
            results[name] = result
            if error is not None:
                failed[name] = error
                acted[:] = [_failed(one, error) if one.gateway == name else one for one in acted]
        finished.update(name for name, result in results.items() if result is Result.VERIFIED)
        if progress is not None:
            progress.note(finished)
        return results

    results = run(batches, step, max_failures=rules.max_failures, say=say, before=before)
    left = [name for name, result in results.items() if result is Result.NOT_REACHED]
    acted += [Acted(gateway=name, outcome=Outcome.NOT_REACHED) for name in left]
    if progress is not None and not failed and not left:
        progress.end()
    if failed or left:
        told = "".join(f"\n  {name}: {error}" for name, error in failed.items())
        codes = {error.exit_code for error in failed.values()} or {ExitCode.REFUSED}
        rest = f", {len(left)} not reached" if left else ""
        raise IbgwError(
            f"{len(failed)} of {len(chosen)} gateways of {deployment.stack} failed{rest}{':' if failed else '.'}{told}",
            exit_code=codes.pop() if len(codes) == 1 else ExitCode.COULD_NOT_RUN,
        )


def _failed(one: Acted, error: IbgwError) -> Acted:
    return one.model_copy(update={"outcome": None, "error": str(error)})


def _logins(deployment: Deployment, names: Sequence[str], say: Say) -> Iterator[tuple[str, Result, IbgwError | None]]:
    """What came of their logins, for which it waits as long as is worth it."""
    if not names:
        return
    from healthcheck.runner import look

    report = look(deployment, gateways=names, wait=None, checks=LOGIN, progress=say)
    for name in names:
        result, why = result_of(report, name)
        if result is Result.VERIFIED or why == _OFFLINE:
            say(f"{name}: {'offline by its hours' if why == _OFFLINE else 'logged in'}")
            yield name, Result.VERIFIED, None
        else:
            code = ExitCode.TIMED_OUT if result is Result.WAITING else ExitCode.FAILED
            yield name, result, IbgwError(f"not logged in ({', '.join(why) or 'unknown'})", exit_code=code)


def logged_in(deployment: Deployment, names: Sequence[str]) -> frozenset[str]:
    """Those that are, now, or that are offline by their hours."""
    from healthcheck.runner import look

    report = look(deployment, gateways=names, wait=0, checks=LOGIN, progress=lambda _: None)
    seen = {name: result_of(report, name) for name in names}
    return frozenset(name for name, (result, why) in seen.items() if result is Result.VERIFIED or why == _OFFLINE)
