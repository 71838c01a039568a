"""What acting on live asks for: that it is outside the trading hours, and the stack's name, typed by somebody who has
seen what is open.

One way for everything that ends a session there. A command that acts is always given its stack's name: only those that
look have a default (operations.commands.shared.looked_at).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from deployment.description import Deployment, Gateway, Mode
from deployment.errors import ExitCode, IbgwError
from deployment.trading import trading
from healthcheck.docker_host import DockerHost
from healthcheck.exposure_run import exposures
from infra.settings import TradingHours
from infra.trading import in_words
from operations.prompt import confirm_by_name
from operations.stack import Stack

Say = Callable[[str], None]

CANCELS_NONE = (
    "Nothing of this cancels an order: what works at IBKR goes on to work, and nobody here hears of it meanwhile."
)


@dataclass(frozen=True)
class Leave:
    """What the command line says of acting on live. `typed`: the stack's name, for who is not to be asked;
    `during_market`: also within the trading hours."""

    typed: str | None = None
    during_market: bool = False


def consent(
    docker: DockerHost,
    deployment: Deployment,
    gateways: Sequence[Gateway],
    leave: Leave,
    say: Say,
    *,
    question: str | None = None,
) -> None:
    """Goes on if the stack is not live, or with the leave of somebody who knows what is open under these gateways.

    Raises IbgwError: REFUSED within the trading hours, DECLINED without the name.
    """
    if not _concerns(deployment):
        return
    still_allowed(deployment, leave)
    tell_open(docker, deployment, gateways, say)
    names = ", ".join(gateway.name for gateway in gateways)
    by_name(question or f"This ends the sessions of {names} in {deployment.stack}.", deployment.stack, leave.typed)


def still_allowed(deployment: Deployment, leave: Leave) -> None:
    """Goes on outside of a live stack's trading hours. Raises IbgwError (REFUSED)."""
    if _concerns(deployment):
        check_hours(deployment.stack, leave, "this ends sessions")


def _concerns(deployment: Deployment) -> bool:
    """By both: where the state cannot be read, the mode is a file's word."""
    return deployment.mode is Mode.LIVE or is_live(deployment.stack)


def is_live(stack: str) -> bool:
    """By its name, which begins with its mode (infra.settings.load)."""
    return stack.partition("-")[0] == Mode.LIVE


def by_name(question: str, stack: str, typed: str | None) -> None:
    """Asks for the stack's name to be typed, or takes the one that was given. Raises IbgwError (DECLINED)."""
    if typed is None:
        confirm_by_name(question, stack)
    elif typed != stack:
        raise IbgwError(
            f"--yes-live {typed}: expected {stack}, the name of the stack; nothing was done.",
            exit_code=ExitCode.DECLINED,
        )


def tell_open(docker: DockerHost, deployment: Deployment, gateways: Sequence[Gateway], say: Say) -> None:
    """Working orders and positions, read over the API; where that cannot be, says so."""
    say(f"Open at IBKR under {deployment.stack}:")
    for exposure in exposures(docker, deployment, gateways):
        for line in exposure.lines():
            say(f"  {line}")
    say(CANCELS_NONE)


def tell_open_of(stack: Stack, say: Say) -> None:
    """The same of a whole stack. What cannot be read is said, and no reason to end."""
    try:
        if stack.deployed():
            deployment = stack.deployment()
            with DockerHost(deployment.docker_host) as docker:
                tell_open(docker, deployment, tuple(deployment.gateways.values()), say)
    except IbgwError as error:
        say(f"Working orders and positions of {stack.name} could not be read: {error}")


def check_hours(
    stack: str, leave: Leave, why: str, *, hours: TradingHours | None = None, now: datetime | None = None
) -> None:
    """Raises IbgwError (REFUSED) within the trading hours of a stack, and where its file does not tell them."""
    if leave.during_market:
        return
    remedy = "Nothing was changed. Wait until they are over, or say --during-market"
    try:
        known = hours or Stack(stack).trading_hours()
    except IbgwError as error:
        raise IbgwError(
            f"The trading hours of {stack} are not known ({error}), and {why}. Nothing was changed. Mend that, or say "
            "--during-market",
            exit_code=ExitCode.REFUSED,
        ) from None
    if trading(known, now or datetime.now(UTC)):
        raise IbgwError(
            f"It is within {stack}'s trading hours ({in_words(known)}, ibgw:tradingHours), and {why}. {remedy}",
            exit_code=ExitCode.REFUSED,
        )
