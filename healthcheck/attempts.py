"""Runs the checks of one gateway, again and again while what is wrong may heal. Needs no Docker."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Collection, Iterable
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
            took = time.monotonic() - attempt_began

            def told(*, last: bool) -> Attempt:
                elapsed = time.monotonic() - began
                waited_ms, duration_ms = round((elapsed - took) * 1000), round(took * 1000)  # noqa: B023
                return Attempt(gateway.name, started_at, waited_ms, duration_ms, last, checks)  # noqa: B023

            again = may_heal(checks, gateway) and time.monotonic() + pause <= end
            if again:
                yield told(last=False)
            # Each connection that a wedged gateway never answered stays open on its side, until it runs out of them
            # (gnzsnz/ib-gateway-docker#336). So it is waited for on the one that there is.
            while again and _wedged(checks) and not await session.heard(min(HOLD, end - time.monotonic())):
                yield told(last=False)
                again = time.monotonic() < end
        if not again:
            yield told(last=True)
            return
        await asyncio.sleep(pause)


def _wedged(checks: Iterable[CheckObservation]) -> bool:
    return any(check.reason is Reason.WEDGED for check in checks)
