"""How answers look: to whom a terminal belongs, tables, and a verification's report in its formats. No verdict is made
here."""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from healthcheck.human import render_human
from healthcheck.report import CheckResult, Report
from healthcheck.verdict import CheckVerdict

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def terminal_width() -> int | None:
    """Of standard output, in columns; None for a pipe or a file, where programs want all."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def columns(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    dispensable: Collection[str] = (),
) -> str:
    """Plain text, each column as wide as what stands in it. Where that is more than `width`, the dispensable ones go,
    the first of them first, and a line says which."""
    lines = [headings, *rows]
    widths = {heading: max(len(line[at]) for line in lines) for at, heading in enumerate(headings)}
    left_out = list[str]()
    for heading in dispensable:
        if width is None or sum(widths.values()) + 2 * (len(widths) - 1) <= width:
            break
        left_out.append(heading)
        del widths[heading]
    shown = [(headings.index(heading), wide) for heading, wide in widths.items()]
    text = ["  ".join(f"{line[at]:<{wide}}" for at, wide in shown).rstrip() for line in lines]
    if left_out:
        text.append(f"(a wider terminal, or --json, shows: {', '.join(left_out)})")
    return "\n".join(text)


def folded(text: str, width: int | None) -> str:
    """Lines that are longer than `width` go on below, in the second column where they have two, else two blanks
    further in. A word is never cut: people copy it."""
    if width is None:
        return text
    return "\n".join(line if len(line) <= width else _folded(line, width) for line in text.splitlines())


def _folded(line: str, width: int) -> str:
    columns = re.match(r"\S+ {2,}", line)
    indent = columns.end() if columns else len(line) - len(line.lstrip()) + 2
    first = line[: columns.end()] if columns else line[: indent - 2]
    return textwrap.fill(
        line[len(first) :],
        width,
        initial_indent=first,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def coloured() -> bool:
    """Whether standard output takes colours: not where NO_COLOR is set (no-color.org), always where FORCE_COLOR is
    (force-color.org), else on a terminal that is not `dumb`."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (sys.stdout.isatty() and os.environ.get("TERM") != "dumb")


def human(report: Report) -> str:
    return render_human(report, colour=coloured())


def junit(report: Report) -> str:
    """JUnit's XML as CI servers read it: a suite a gateway, a case a check. Times in seconds.

    A warning passes, with its text as the case's output; what is skipped or does not apply is skipped.
    """
    from xml.etree import ElementTree as Xml

    suites = Xml.Element("testsuites", name=f"ibgw verify {report.stack}")
    for gateway in report.gateways:
        suite = Xml.SubElement(
            suites,
            "testsuite",
            name=f"{report.stack}/{gateway.gateway}",
            timestamp=gateway.started_at,
            time=_seconds(gateway.duration_ms),
            tests=str(len(gateway.checks)),
            failures=str(sum(check.verdict is CheckVerdict.FAIL for check in gateway.checks)),
            skipped=str(sum(check.verdict in _SKIPPED for check in gateway.checks)),
        )
        if gateway.note:
            Xml.SubElement(suite, "system-out").text = gateway.note
        for check in gateway.checks:
            _case(suite, f"{report.stack}.{gateway.gateway}", check)
    Xml.indent(suites)
    return Xml.tostring(suites, encoding="unicode", xml_declaration=False)


_SKIPPED = (CheckVerdict.SKIPPED, CheckVerdict.NOT_APPLICABLE)


def _case(suite: "Element", owner: str, check: CheckResult) -> None:
    from xml.etree import ElementTree as Xml

    case = Xml.SubElement(suite, "testcase", classname=owner, name=check.name, time=_seconds(check.duration_ms))
    if check.verdict is CheckVerdict.FAIL:
        failure = Xml.SubElement(case, "failure", type=check.reason or "", message=check.seen)
        failure.text = check.remedy
    elif check.verdict in _SKIPPED:
        Xml.SubElement(case, "skipped", message=check.seen)
    else:
        told = (check.reason, check.seen, check.remedy)
        Xml.SubElement(case, "system-out").text = "\n".join(line for line in told if line)


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f}"


def prometheus(report: Report) -> str:
    """Prometheus' text format, for node_exporter's textfile collector."""
    from healthcheck.monitoring import metrics

    return metrics.exposition(metrics.of_report(report)).rstrip("\n")


RENDERERS = {"human": human, "json": Report.as_json, "junit": junit, "prometheus": prometheus}
"""By what `--format` calls them."""
