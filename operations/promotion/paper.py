"""Paper's side of a promotion: what runs there is what the commit declares, it is verified now and for a while, and
the release that follows from it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from deployment.description import Deployment, Mode
from deployment.errors import ExitCode, IbgwError
from healthcheck.human import render_human
from healthcheck.observation import CheckName
from healthcheck.reasons import Reason
from healthcheck.report import Report
from healthcheck.verdict import CheckVerdict, GatewayVerdict
from infra.release import PaperReport, Release, Soak
from operations.promotion.checkout import Checkout

AT_LEAST = 3
"""Verifications in a soak, however short it is."""

APART = 300.0
"""Seconds between two of them at most."""

ACCEPTED = frozenset({Reason.MARKET_CLOSED, Reason.MAINTENANCE_WINDOW})
"""Warnings that tell of the hour and not of the gateway."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Watch:
    """How time passes; tests let it pass faster."""

    sleep: Callable[[float], None]
    now: Callable[[], datetime]


def refuse(text: str) -> IbgwError:
    return IbgwError(f"Nothing was changed: {text}", exit_code=ExitCode.REFUSED)


def check_is_paper(deployment: Deployment) -> None:
    if deployment.mode is not Mode.PAPER:
        raise refuse(
            f"--from {deployment.stack}: its mode is {deployment.mode}, and a release comes from a paper stack"
        )


def digest_of(deployment: Deployment) -> str:
    """The one digest that all gateways run. Raises IbgwError (REFUSED) where they differ."""
    digests = {gateway.image.digest for gateway in deployment.gateways.values()}
    if len(digests) > 1:
        raise refuse(
            f"the gateways of {deployment.stack} run {len(digests)} different images; "
            f"deploy them alike first: pulumi up --stack {deployment.stack}"
        )
    return digests.pop()


def live_quote(report: Report) -> bool:
    """Whether every gateway was seen to get a live quote."""
    return all(
        any(
            check.name is CheckName.MARKET_DATA
            and check.verdict is CheckVerdict.PASS
            and check.data.get("type") == "live"
            for check in gateway.checks
        )
        for gateway in report.gateways
    )


def check_report(report: Report, *, require_market_data: bool) -> None:
    """Raises IbgwError (REFUSED) unless the report is good enough to promote."""
    if report.verdict not in (GatewayVerdict.VERIFIED, GatewayVerdict.VERIFIED_WITH_WARNINGS):
        raise refuse(f"{report.stack} does not pass its verification.\n{render_human(report)}")
    warned = [
        f"{report.stack}/{gateway.gateway}: {check.name} ({check.reason})"
        for gateway in report.gateways
        for check in gateway.checks
        if check.verdict is CheckVerdict.WARN and check.reason not in ACCEPTED
    ]
    if warned:
        raise refuse(
            f"{report.stack} is verified with warnings that a promotion does not accept: {', '.join(warned)}. "
            f"Accepted are {' and '.join(sorted(ACCEPTED))}.\n{render_human(report)}"
        )
    if require_market_data and not live_quote(report):
        raise refuse(
            f"no live quote was seen on {report.stack}, and --require-market-data insists on one; "
            "promote while the market is open, with an entitlement to its data"
        )


def moments(soak: float) -> list[float]:
    """Seconds from the beginning at which to verify: the first at once, the last at the end."""
    gaps = max(AT_LEAST - 1, math.ceil(soak / APART))
    return [soak * step / gaps for step in range(gaps + 1)]


def soak(verify: Callable[[], Report], seconds: float, *, require_market_data: bool, watch: Watch, say: Say) -> Report:
    """Verifies again and again for so long; the last report. Each one waits out a planned restart by itself.

    Raises IbgwError (REFUSED) at the first that is not good enough.
    """
    began, due = watch.now(), moments(seconds)
    for number, moment in enumerate(due, start=1):
        rest = moment - (watch.now() - began).total_seconds()
        if rest > 0:
            say(f"soak: verification {number} of {len(due)} in {_span(rest)}")
            watch.sleep(rest)
        report = verify()
        check_report(report, require_market_data=require_market_data)
        # Worst first, and of a gateway that may not be well a verifier asks.
        asked = report.gateways[0].vantage.in_words
        say(f"soak: verification {number} of {len(due)}: {report.verdict.replace('_', ' ')}{asked}")
    return report


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def make_release(
    deployment: Deployment, report: Report, checkout: Checkout, *, soaked: float, now: datetime
) -> Release:
    """The record of what was seen on paper."""
    reference = next(iter(deployment.gateways.values())).image.reference
    named, _, _ = reference.partition("@")
    repository, colon, tag = named.rpartition(":")
    tagged = bool(colon) and "/" not in tag  # a colon before a slash is a registry's port
    return Release(
        image=repository if tagged else named,
        digest=digest_of(deployment),
        version=tag if tagged else None,
        commit=checkout.commit,
        created=now.astimezone(UTC).replace(microsecond=0),
        who=checkout.who,
        soak=Soak(seconds=round(soaked), verifications=len(moments(soaked))),
        live_quote=live_quote(report),
        report=PaperReport.model_validate(report.model_dump(mode="json", by_alias=True)),
    )
