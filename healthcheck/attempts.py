"""Runs the checks of one gateway, again and again while what is wrong may heal. Needs no Docker."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from contract.target import Gateway
from healthcheck import VERSION
from healthcheck.checks import run_checks
from healthcheck.report import (
    CheckResult,
    GatewayReport,
    Vantage,
    VerifierVersion,
    gateway_verdict,
    may_heal,
    red,
    timestamp,
)
from healthcheck.session import Timeouts

# Seconds between two attempts: quick at first, and slow enough for a relay that forks a process a connection.
PAUSES = (0.5, 1.0, 1.5, 2.0)

Progress = Callable[[list[CheckResult], float], None]
"""Told after each attempt that may be repeated: its checks, and the seconds since the first attempt began."""


async def verify_gateway(
    gateway: Gateway, stack: str, *, wait: float, progress: Progress, timeouts: Timeouts | None = None
) -> GatewayReport:
    """The report as seen from the api network. `wait`: seconds to go on while something may heal; 0 is one attempt."""
    began = time.monotonic()
    attempt = 0
    while True:
        attempt_began = time.monotonic()
        started_at = datetime.now(UTC)
        checks = await run_checks(gateway, stack, timeouts=timeouts)
        now = time.monotonic()
        pause = PAUSES[min(attempt, len(PAUSES) - 1)]
        again = bool(red(checks)) and may_heal(checks)
        over = now - began + pause > wait
        if not again or over:
            return GatewayReport(
                gateway=gateway.name,
                mode=gateway.mode,
                verdict=gateway_verdict(checks, waited=wait > 0 and over),
                started_at=timestamp(started_at),
                waited_ms=round((attempt_began - began) * 1000),
                duration_ms=round((now - attempt_began) * 1000),
                vantage=Vantage(api=True, docker=False),
                verifier=VerifierVersion(version=VERSION),
                checks=tuple(checks),
            )
        progress(checks, now - began)
        await asyncio.sleep(pause)
        attempt += 1
