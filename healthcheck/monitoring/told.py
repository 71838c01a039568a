"""What a gateway's first process tells over its `api` network, as what a log would say. Pure but for the asking."""

import asyncio
from contextlib import suppress

from deployment.description import STATUS_PORT, Gateway
from healthcheck.automation.base import OUTCOMES, LoginState, Reading
from healthcheck.automation.status import LONGEST, Status, parse

TIMEOUT = 3.0
"""Seconds for the whole answer."""

HOLDS: dict[str, LoginState] = {
    "attempts": LoginState.GUARD_HELD,
    "wrong_account": LoginState.WRONG_ACCOUNT,
    "logins": LoginState.TOO_MANY_LOGINS,
    "codes": LoginState.CODES_HELD,
    "volume": LoginState.VOLUME_LOCKED,
    "unwritable": LoginState.GUARD_UNWRITABLE,
    "automation": LoginState.AUTOMATION_UNSUPPORTED,
    "pause": LoginState.WAITING,
    "offline": LoginState.OFFLINE,
    "paused": LoginState.PAUSED,
}
"""Why no login is made, by the supervisor's words."""

PHASES: dict[str, LoginState] = {
    **OUTCOMES,
    "starting": LoginState.STARTING,
    "restarting": LoginState.RESTARTING,
    "login": LoginState.SUBMITTED,
    "second_factor": LoginState.SECOND_FACTOR_PENDING,
    "token_refused": LoginState.TOKEN_REFUSED,
    "stopping": LoginState.STOPPING,
    "logged_in": LoginState.LOGGED_IN,
}


async def ask(gateway: Gateway, port: int = STATUS_PORT) -> Status | None:
    """None where nobody answers, or with something else than a status line: what is wrong the checks tell."""
    with suppress(OSError, ValueError):
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(gateway.api.host, port)
            try:
                text = await reader.read(LONGEST)
                while len(text) <= LONGEST and (more := await reader.read(LONGEST)):
                    text += more
            finally:
                writer.close()
        return parse(text.decode("ascii"))
    return None


def reading(status: Status | None) -> Reading:
    """What its log would come to."""
    if status is None:
        return Reading()
    if status.hold in HOLDS:
        outcome = OUTCOMES.get(status.outcomes[-1]) if status.outcomes and status.hold == "attempts" else None
        return Reading(HOLDS[status.hold], outcome=outcome, until=status.until)
    state = PHASES.get(status.phase, LoginState.UNKNOWN)
    stop = LoginState.STOPPING if state is LoginState.STOPPING else None
    return Reading(state, stop=stop, attempt=(status.attempts, status.limit), had_session=status.login is not None)
