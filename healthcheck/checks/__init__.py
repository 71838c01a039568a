"""The checks over the API, one file each, and the one way to run them.

A check says what it saw and, when something is off, the reason. Which verdict that is follows from the reason and the
level (`healthcheck.verdict`); what it costs the checks after it follows from `healthcheck.check_sequence`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable

from deployment.description import Gateway
from deployment.errors import kind, words
from healthcheck.check_sequence import OVER_API, not_run
from healthcheck.checks import account_access, authenticated, connected, market_data, order_capability, reachable
from healthcheck.checks.context import Context
from healthcheck.observation import NEEDS, CheckName, CheckObservation, Observation
from healthcheck.reasons import Reason
from healthcheck.session import Session, SessionFailure, Timeouts

log = logging.getLogger(__name__)

CLIENT_IDS_TRIED = 10
BUDGET = 60.0
"""Seconds for all checks of one attempt together."""

LOOK: dict[CheckName, Callable[[Context], Awaitable[Observation]]] = {
    CheckName.REACHABLE: reachable.look,
    CheckName.CONNECTED: connected.look,
    CheckName.AUTHENTICATED: authenticated.look,
    CheckName.ACCOUNT_ACCESS: account_access.look,
    CheckName.MARKET_DATA: market_data.look,
    CheckName.ORDER_CAPABILITY: order_capability.look,
}


def client_ids(gateway: Gateway, *, watching: bool = False) -> range:
    """Those that are tried, of the testing range. Its last is for who is `watching`, the prober."""
    first, last = gateway.client_ids.testing
    last -= not watching
    return range(last, max(first, last - CLIENT_IDS_TRIED + 1) - 1, -1)


def session_for(gateway: Gateway, timeouts: Timeouts | None = None, *, watching: bool = False) -> Session:
    """Not connected yet. `watching`: for the prober."""
    return Session(
        gateway.api.host,
        gateway.api.port,
        client_ids(gateway, watching=watching),
        what_if=order_capability.may_ask(gateway),
        timeouts=timeouts,
    )


async def checks_over(
    session: Session,
    gateway: Gateway,
    names: Collection[CheckName] = OVER_API,
    *,
    before: Iterable[CheckObservation] = (),
) -> list[CheckObservation]:
    """The checks called `names`, among them what they need. The session stays as it is afterwards. `before`: those that
    an open session has made already."""
    context = Context(gateway, session)
    deadline = asyncio.get_running_loop().time() + BUDGET
    checks = [*before]
    made = {check.name for check in checks}
    for name in NEEDS:
        if name in names and name not in made:
            checks.append(not_run(name, gateway, checks) or await _run(name, context, deadline))
    return checks


async def _run(name: CheckName, context: Context, deadline: float) -> CheckObservation:
    started = time.monotonic()
    try:
        async with asyncio.timeout_at(deadline):
            observation = await LOOK[name](context)
    except SessionFailure as failure:
        observation = Observation(failure.seen, failure.reason)
    except TimeoutError:
        observation = Observation(f"the {BUDGET:g} s for all checks together are used up", Reason.TOO_SLOW)
    except Exception as error:
        # Whatever one gateway makes of us, the others in this process get their verdicts.
        log.exception("%s of %s", name, context.gateway.name)
        observation = Observation(f"a bug in the verifier ({kind(error)}): {words(error)}", Reason.VERIFIER_FAILED)
    return observation.by(name, round((time.monotonic() - started) * 1000))
