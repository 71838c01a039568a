"""What a deployment of live came to, from the report of its verification: what follows depends on whose fault it is."""

from enum import StrEnum

from healthcheck.reasons import EXPLANATIONS, Reason, Side
from healthcheck.report import Report, red
from healthcheck.verdict import GatewayVerdict


class Outcome(StrEnum):
    VERIFIED = "verified"
    CREDENTIALS = "credentials"
    """Rejected or locked out: the image before it has the same ones, so going back would only try them again."""
    IMAGE = "image"
    """It does not come up, or not as it did on paper: back to the one before."""
    SECOND_FACTOR = "second_factor"
    """Nobody approved the login; not asked again before somebody is there."""
    BROKER = "broker"
    """IBKR's side, or something that heals: it stays, and is verified again later."""
    PERSON = "person"
    """Something else that neither waiting nor going back puts right."""
    NOT_DEPLOYED = "not_deployed"
    """The update ended before it touched a gateway."""


# Worst first: with several gateways, the first outcome that occurs is the stack's. Only what points to the image is its
# fault: a gateway that cannot reach IBKR's servers restarts again and again, and may be met while it is `starting`.
REASONS: dict[Outcome, frozenset[Reason]] = {
    Outcome.CREDENTIALS: frozenset({Reason.LOGIN_FAILED, Reason.LOCKED_OUT, Reason.GUARD_HELD}),
    Outcome.PERSON: frozenset({Reason.ACCOUNT_KIND_MISMATCH, Reason.ACCOUNT_MISSING, Reason.EXPOSED}),
    Outcome.IMAGE: frozenset(
        {
            Reason.CONTAINER_MISSING,
            Reason.CRASH_LOOPING,
            Reason.PORT_CLOSED,
            Reason.WEDGED,
            Reason.NOT_THE_API,
            Reason.HALF_OPEN,
            Reason.VERSION_REFUSED,
            Reason.READ_ONLY_UNEXPECTED,
            Reason.OUT_OF_MEMORY,
        }
    ),
    Outcome.SECOND_FACTOR: frozenset(
        {
            Reason.SECOND_FACTOR_PENDING,
            Reason.SECOND_FACTOR_TIMEOUT,
            Reason.SECOND_FACTOR_DENIED,
            Reason.SECOND_FACTOR_CODE,
            Reason.SECOND_FACTOR_DEVICE,
            Reason.SECOND_FACTOR_TYPING,
            Reason.SECOND_FACTOR_UNTYPED,
            Reason.SECOND_FACTOR_HELD,
        }
    ),
}


def judge(report: Report) -> tuple[Outcome, tuple[Reason, ...]]:
    """The outcome, and the reasons of the checks that failed."""
    if report.verdict in (GatewayVerdict.VERIFIED, GatewayVerdict.VERIFIED_WITH_WARNINGS):
        return Outcome.VERIFIED, ()
    reasons = tuple(
        dict.fromkeys(
            check.reason for gateway in report.gateways for check in red(gateway.checks) if check.reason is not None
        )
    )
    for outcome, named in REASONS.items():
        if named & set(reasons):
            return outcome, reasons
    waits = all(EXPLANATIONS[reason].side is Side.IBKR or EXPLANATIONS[reason].heals for reason in reasons)
    return (Outcome.BROKER if reasons and waits else Outcome.PERSON), reasons


def unapproved(report: Report) -> tuple[str, ...]:
    """The gateways that wait for a second factor."""
    return tuple(
        gateway.gateway
        for gateway in report.gateways
        if any(check.reason in REASONS[Outcome.SECOND_FACTOR] for check in red(gateway.checks))
    )
