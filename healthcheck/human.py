"""A report as people read it, in a terminal or in an update's diagnostics. No verdict is made here."""

from healthcheck.observation import CheckName
from healthcheck.report import GatewayReport, Report, wrong_account
from healthcheck.verdict import CheckVerdict, GatewayVerdict

# What each verdict is called, and its style in rich's words.
MARKS: dict[CheckVerdict, tuple[str, str]] = {
    CheckVerdict.PASS: ("ok", "green"),
    CheckVerdict.WARN: ("warn", "yellow"),
    CheckVerdict.FAIL: ("FAIL", "bold red"),
    CheckVerdict.SKIPPED: ("skip", "dim"),
    CheckVerdict.NOT_APPLICABLE: ("n/a", "dim"),
}
VERDICTS: dict[GatewayVerdict, tuple[str, str]] = {
    GatewayVerdict.COULD_NOT_RUN: ("COULD NOT RUN", "bold magenta"),
    GatewayVerdict.FAILED: ("FAILED", "bold red"),
    GatewayVerdict.TIMED_OUT: ("TIMED OUT", "bold red"),
    GatewayVerdict.VERIFIED_WITH_WARNINGS: ("VERIFIED, with warnings", "bold yellow"),
    GatewayVerdict.VERIFIED: ("VERIFIED", "bold green"),
}
NAME_WIDTH = max(len(name) for name in CheckName)


def render_human(report: Report, *, colour: bool = False) -> str:
    """The report as text, readable without colour: a block a gateway, then one line for all when there are several."""
    blocks = [_gateway_block(gateway, report.stack, colour) for gateway in report.gateways]
    if len(report.gateways) > 1:
        verdict = _paint(*VERDICTS[report.verdict], colour)
        blocks.append(f"stack {report.stack}, {len(report.gateways)} gateways: {verdict}")
    if report.note:
        blocks.append(_paint(f"note: {report.note}", "yellow", colour))
    return "\n\n".join(blocks)


def _paint(text: str, style: str, colour: bool) -> str:
    if not colour:
        return text
    from rich.style import Style

    return Style.parse(style).render(text)


def _gateway_block(gateway: GatewayReport, stack: str, colour: bool) -> str:
    name = _paint(f"{stack}/{gateway.gateway}", "bold", colour)
    lines = [f"{name}  {gateway.mode}  {_paint(*VERDICTS[gateway.verdict], colour)}"]
    wrong = wrong_account(gateway)
    if wrong is not None:
        loud = f"  !!!!  DO NOT TRADE HERE: {wrong.seen.upper()}  !!!!"
        lines.append(_paint(loud, "bold white on red", colour))
    for check in gateway.checks:
        mark, style = MARKS[check.verdict]
        time = f"  {check.duration_ms} ms" if check.duration_ms else ""
        reason = f"{check.reason}: " if check.reason and check.remedy else ""
        painted = _paint(f"{mark:<4}", style, colour)
        lines.append(f"  {painted}  {check.name:<{NAME_WIDTH}}  {reason}{check.seen}{time}")
        if check.remedy and check.verdict in (CheckVerdict.FAIL, CheckVerdict.WARN):
            lines.append(f"  {'':<4}  {'':<{NAME_WIDTH}}  -> {check.remedy}")
    if gateway.windows:
        lines.append(f"  on its screen: {', '.join(gateway.windows)}")
    if gateway.picture:
        lines.append(f"  a picture of it: {gateway.picture}")
    if gateway.note:
        lines.append(f"  {_paint(f'note  {gateway.note}', 'yellow', colour)}")
    took = max(gateway.took_ms, gateway.waited_ms + gateway.duration_ms) / 1000
    waited = f", {gateway.waited_ms / 1000:.1f} s of it waiting" if gateway.waited_ms >= 1000 else ""
    lines.append(f"  took {took:.1f} s{waited}{gateway.vantage.in_words}; {gateway.started_at}")
    return "\n".join(lines)
