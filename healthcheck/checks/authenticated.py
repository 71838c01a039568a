"""authenticated: the gateway has a session with IBKR, of an account of the right kind.

A handshake proves nothing about the login; accounts, the next order id and standing connectivity do.
"""

from collections.abc import Iterable

from healthcheck.api_client import ApiError
from healthcheck.api_facts import LOST, RESTORED, account_kind
from healthcheck.checks.context import Context
from healthcheck.observation import Observation
from healthcheck.reasons import Reason
from healthcheck.session import Session, Unanswered


async def look(context: Context) -> Observation:
    session, gateway = context.session, context.gateway
    if not await session.ready():
        return _not_ready(session)
    wrong = [account for account in session.accounts if account_kind(account) != gateway.account_kind]
    if wrong:
        kinds = " and ".join(f"{account_kind(account)} account {account}" for account in wrong)
        return Observation(
            f"{kinds} on a gateway for {gateway.account_kind} accounts",
            Reason.ACCOUNT_KIND_MISMATCH,
            {"accounts": list(session.accounts), "expected_kind": gateway.account_kind.value},
        )
    try:
        await session.server_time()
    except Unanswered as error:
        return Observation(str(error), Reason.HALF_OPEN)
    await session.settled(lambda: connectivity_lost(session.notices) is None)
    session.still_open()
    lost = connectivity_lost(session.notices)
    if lost is not None:
        return Observation(str(lost), Reason.CONNECTIVITY_LOST, {"code": lost.code})
    return Observation(
        f"{', '.join(session.accounts)} ({gateway.account_kind})",
        data={"accounts": list(session.accounts), "account_kind": gateway.account_kind.value},
    )


def connectivity_lost(notices: Iterable[ApiError]) -> ApiError | None:
    """The notice that says so, unless a later one took it back."""
    lost: ApiError | None = None
    for notice in notices:
        if notice.code in LOST:
            lost = notice
        elif notice.code in RESTORED:
            lost = None
    return lost


def _not_ready(session: Session) -> Observation:
    if session.told_accounts and not session.accounts:
        return Observation("an empty list of accounts", Reason.NO_ACCOUNTS)
    if session.accounts or session.next_id is not None:
        session.still_open()
        got, missing = ("accounts", "no next order id") if session.accounts else ("a next order id", "no accounts")
        return Observation(f"{got} and {missing} within {session.timeouts.ready:g} s", Reason.HALF_OPEN)
    lost = connectivity_lost(session.notices)
    if lost is not None:
        return Observation(str(lost), Reason.CONNECTIVITY_LOST, {"code": lost.code})
    if not session.hung_up:
        session.still_open()
    silence = session.closed or f"neither accounts nor a next order id within {session.timeouts.ready:g} s"
    return Observation(f"after the handshake: {silence}", Reason.NOT_LOGGED_IN)
