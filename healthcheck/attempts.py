"""Runs the checks of one gateway, again and again while what is wrong may heal. Needs no Docker."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from deployment.description import Gateway
from healthcheck.check_sequence import OVER_API
from healthcheck.checks import checks_over, session_for
from healthcheck.observation import Attempt, CheckName, CheckObservation, timestamp
from healthcheck.reasons import Reason
from healthcheck.session import Timeouts
from healthcheck.verdict import may_heal

# Seconds between two attempts: quick at first, and slow enough for a relay that forks a process a connection.
PAUSES = (0.5, 1.0, 1.5, 2.0)

HOLD = 5.0
"""Seconds between two words of a wedged gateway that is waited for."""


async def attempts(
    gateway: Gateway, *, wait: float, names: Collection[CheckName] = OVER_API, timeouts: Timeouts | None = None
) -> AsyncIterator[Attempt]:
    """What each attempt saw from the api network; a wedged gateway's is told again while it is waited for.

    `wait`: seconds to go on while something may heal; 0 is one attempt. `names`: the checks, with all that they need.
    """
    began = time.monotonic()
    end = began + wait
    for number in itertools.count():
        attempt_began, started_at = time.monotonic(), timestamp(datetime.now(UTC))
        pause = PAUSES[min(number, len(PAUSES) - 1)]
        async with session_for(gateway, timeouts) as session:
            checks = tuple(await checks_over(session, gateway, names))
            attempt = Attempt(gateway.name, started_at, 0, _ms_since(attempt_began), last=False, checks=checks)
            again = may_heal(checks, gateway) and time.monotonic() + pause <= end
            if again:
                yield _told_now(attempt, began)
            held_from = time.monotonic()
            # Each connection that a wedged gateway never answered stays open on its side, until it runs out of them
            # (gnzsnz/ib-gateway-docker#336). So it is waited for on the one that there is.
            while again and _wedged(checks) and not await session.heard(min(HOLD, end - time.monotonic())):
                yield _told_now(attempt, began)
                again = time.monotonic() < end
            held_ms = _ms_since(held_from)
        if not again:
            own_ms = _ms_since(attempt_began) - held_ms
            yield _told_now(replace(attempt, last=True, duration_ms=own_ms), began)
            return
        await asyncio.sleep(pause)


def _ms_since(moment: float) -> int:
    return round((time.monotonic() - moment) * 1000)


def _told_now(attempt: Attempt, began: float) -> Attempt:
    """What has passed since `began` and was not its own time was waiting."""
    return replace(attempt, waited_ms=max(0, _ms_since(began) - attempt.duration_ms))


def _wedged(checks: Iterable[CheckObservation]) -> bool:
    return any(check.reason is Reason.WEDGED for check in checks)
