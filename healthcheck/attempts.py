"""Runs the checks of one gateway, again and again while what is wrong may heal. Needs no Docker."""

import asyncio
import itertools
import time
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime

from deployment import VERSION
from deployment.description import Gateway
from healthcheck.check_sequence import shown, with_needs, without_docker
from healthcheck.checks import checks_over, session_for
from healthcheck.reasons import Reason
from healthcheck.report import (
    CheckName,
    CheckResult,
    GatewayReport,
    Vantage,
    VerifierVersion,
    gateway_verdict,
    may_heal,
    timestamp,
)
from healthcheck.session import Timeouts

# Seconds between two attempts: quick at first, and slow enough for a relay that forks a process a connection.
PAUSES = (0.5, 1.0, 1.5, 2.0)

HOLD = 5.0
"""Seconds between two words of progress while a wedged gateway is waited for."""

Progress = Callable[[list[CheckResult], float], None]
"""Told after each attempt that may be repeated: its checks, and the seconds since the first attempt began."""


async def verify_gateway(
    gateway: Gateway,
    stack: str,
    *,
    wait: float,
    progress: Progress,
    names: Collection[CheckName] | None = None,
    timeouts: Timeouts | None = None,
) -> GatewayReport:
    """The report as seen from the api network. `wait`: seconds to go on while something may heal; 0 is one attempt.

    `names`: the checks to report, none for all.
    """
    began = time.monotonic()
    end = began + wait
    wanted = with_needs(names)
    for attempt in itertools.count():
        attempt_began, started_at = time.monotonic(), datetime.now(UTC)
        pause = PAUSES[min(attempt, len(PAUSES) - 1)]
        async with session_for(gateway, timeouts) as session:
            checks = await checks_over(session, gateway, stack, wanted)
            again = may_heal(checks) and time.monotonic() + pause <= end
            if again:
                progress(checks, time.monotonic() - began)
            held_from = time.monotonic()
            # Each connection that a wedged gateway never answered stays open on its side, until it runs out of them
            # (gnzsnz/ib-gateway-docker#336). So it is waited for on the one that there is.
            while again and _wedged(checks) and not await session.heard(min(HOLD, end - time.monotonic())):
                progress(checks, time.monotonic() - began)
                again = time.monotonic() < end
            held = time.monotonic() - held_from
        took = time.monotonic() - attempt_began - held
        if not again:
            break
        await asyncio.sleep(pause)
    found = [*checks, *without_docker(wanted, gateway, stack)]
    return GatewayReport(
        gateway=gateway.name,
        mode=gateway.mode,
        verdict=gateway_verdict(found, waited=wait > 0, asked=names),
        started_at=timestamp(started_at),
        waited_ms=round((time.monotonic() - began - took) * 1000),
        duration_ms=round(took * 1000),
        vantage=Vantage(api=True, docker=False),
        verifier=VerifierVersion(version=VERSION),
        checks=shown(found, names),
    )


def _wedged(checks: Iterable[CheckResult]) -> bool:
    return any(check.reason is Reason.WEDGED for check in checks)
