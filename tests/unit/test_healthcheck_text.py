"""What comes over the API, out of a log or from Docker is text, not commands, in every format that shows it."""

import asyncio
import json
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from deployment.description import Mode
from healthcheck.events import EVENT, AttemptEvent, read_attempt
from healthcheck.observation import Attempt, CheckName, CheckObservation
from healthcheck.reasons import Reason
from healthcheck.redact import Redactor, spellings
from healthcheck.report import (
    CheckResult,
    GatewayReport,
    Report,
    Vantage,
    VerifierVersion,
    check_result,
    gateway_report,
)
from healthcheck.session import Timeouts
from healthcheck.text import LONGEST, clean, clean_lines
from healthcheck.verdict import CheckVerdict, GatewayVerdict
from infra.failure import failed, uncoloured
from operations import formats
from operations.answers import Failed
from operations.commands import shared
from operations.logs import LineAnswer
from operations.plan import rendering
from operations.plan.model import Cause, Change, Effect, GatewayPlan, Plan, PlanVerdict
from operations.plan.model import Reason as PlanReason
from operations.status import Row, StackStatus, table
from tests.unit.gateways import gateway, run_checks
from tests.unit.tws_server import Script, error, serving

# One of each kind, and what it does where it is obeyed.
HOSTILE = {
    "erases the screen": "\x1b[2J\x1b[H",
    "sets the clipboard": "\x1b]52;c;cm0gLXJmIH4=\x07",
    "is a link": "\x1b]8;;http://evil.example\x1b\\ok\x1b]8;;\x1b\\",
    "is an escape in one character": "\x9b31m\x90q\x9c",
    "writes the line again": "FAIL\rok  ",
    "writes another line": "x\n  ok    isolation",
    "breaks the line otherwise": "a\x0bb\x0cc\x85d\u2028e\u2029f\x1cg",
    "goes back": "FAIL\x08\x08\x08\x08ok",
    "turns round": "\u202eevil\u202c \u2066x\u2069 \u200f\u061c",
    "is not seen": "DU\u200b12\u200c34\u200d56\u2060\ufeff7\u00ad",
    "is not seen either": "a\u034fb\u115fc\u3164d\ufe0fe\U000e0100f\U000e0041",
    "is no character": "\ud800 \udfff \ufffe \uffff \U0010ffff \ue000",
    "is nothing in XML": "\x00\x01\x0e\x1f\x7f",
}
REAL = ["SPY live 601.1", "José\u2019s iPhone", "東京証券取引所", "a & b < c > 'd' \"e\"", "שלום", "naïve café ☃ 𝄞"]


def harmless(text: str) -> bool:
    """By Unicode's own categories: nothing that controls, formats, separates lines or is no character."""
    return all(unicodedata.category(each)[0] != "C" and unicodedata.category(each) not in ("Zl", "Zp") for each in text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_clean_text_is_harmless_and_stays_as_it_is(text: str) -> None:
    found = clean(text)
    assert harmless(found)
    assert clean(found) == found
    assert found.encode()
    assert found != text
    assert not re.search("[\u034f\u115f\u1160\u3164\ufe00-\ufe0f\uffa0]", found)


@pytest.mark.parametrize("text", REAL)
def test_what_is_real_text_is_left_alone(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize("text", [*HOSTILE.values(), *REAL, "\u2800", "\r", "ends with \\"])
def test_json_tells_the_text_as_it_was_and_commands_nothing(text: str) -> None:
    """A program reads the same; a person at a terminal sees escapes."""
    for answer in (Failed(exit_code=4, error=text), LineAnswer(at="", gateway="main", state=None, text=text)):
        for printed in (answer.as_json(), answer.as_line()):
            assert clean_lines(printed) == printed
            assert text in json.loads(printed).values()
    assert "\n" not in printed


def test_no_character_of_unicode_gets_through_that_does_something() -> None:
    everything = [chr(code) for code in range(0x110000)]
    passed = {character for character in everything if clean(character) == character}
    assert all(map(harmless, passed))
    assert sum(character.isalpha() for character in passed) > 130_000


def test_a_text_without_end_is_cut_and_says_so() -> None:
    for text in ("x" * 10**6, "\x1b" * 10**6, "x" * (LONGEST + 1)):
        found = clean(text)
        assert len(found) <= LONGEST
        assert found.endswith(f"... (cut; {len(text)} characters)")
        assert clean(found) == found
    assert clean("x" * LONGEST) == "x" * LONGEST


def test_lines_of_our_own_stay_lines() -> None:
    assert clean_lines("one\x1b[2J\ntwo\u202e") == "one\\x1b[2J\ntwo\\u202e"


def hostile_report() -> Report:
    everything = " ".join(HOSTILE.values())
    check = CheckResult(
        name=CheckName.CONNECTED,
        verdict=CheckVerdict.FAIL,
        required=True,
        reason=Reason.NOT_THE_API,
        seen=everything,
        data={everything: [everything, {"x": everything}]},
        remedy=everything,
    )
    warns = check.model_copy(update={"name": CheckName.MARKET_DATA, "verdict": CheckVerdict.WARN})
    skipped = check.model_copy(update={"name": CheckName.HYGIENE, "verdict": CheckVerdict.SKIPPED})
    one = GatewayReport(
        gateway=everything,
        mode=Mode.PAPER,
        verdict=GatewayVerdict.FAILED,
        started_at="2026-11-23T15:00:00Z",
        waited_ms=0,
        duration_ms=1,
        vantage=Vantage(api=True, docker=True),
        verifier=VerifierVersion(version=everything, image_id=everything),
        checks=(check, warns, skipped),
    )
    return Report.of(everything, [one])


@pytest.mark.parametrize("name", ["human", "json", "junit"])
def test_no_format_of_a_report_passes_a_command_on(name: str) -> None:
    report = hostile_report()
    shown = formats.RENDERERS[name](report)
    assert all(map(harmless, shown.split("\n")))
    shown.encode()
    if name == "human":
        assert (
            len(shown.split("\n")) == 1 + 2 * 2 + 1 + 1
        )  # the gateway, a check and its remedy each, one skipped, the end
    if name == "json":
        assert Report.model_validate_json(shown) == report
    if name == "junit":
        Xml.fromstring(shown)


def test_rich_markup_is_no_markup() -> None:
    seen = "[red]x[/red] [link=http://evil.example]y[/link] [/] [bold"
    check = CheckObservation(seen, Reason.NO_QUOTE, name=CheckName.MARKET_DATA)
    attempt = Attempt("main", "2026-11-23T15:00:00Z", 0, 1, last=True, checks=(check,))
    vantage = Vantage(api=True, docker=True)
    report = Report.of("paper", [gateway_report(gateway(), "paper", attempt, waited=False, took_ms=1, vantage=vantage)])
    assert seen in formats.human(report)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_a_gateway_says_is_clean_when_it_arrives_and_when_it_leaves(text: str) -> None:
    """Account names, figures, and texts of notices and errors, over a real connection."""
    plain = text.encode("utf-8", "replace").decode().replace("\0", "")

    def refused(connection: Any, message: list[str]) -> None:
        error(connection, message[2] if message[0] == "9" else message[1], 201, plain)

    script = Script(
        accounts=[f"DU1{plain}".replace(",", "")],
        summary=[(f"DU1{plain}".replace(",", ""), "NetLiquidation", "1", plain)],
        answers={"9": refused, "3": refused},
    )
    asked = gateway(expected_accounts=[])
    with serving(script) as server:
        quick = Timeouts(settle=0.05, one_account=0.1)
        asked = gateway(server.port)
        found = asyncio.run(run_checks(asked, timeouts=quick))
    assert [str(check.reason) for check in found[2:]] == ["None", "None", "contract_unknown", "order_rejected"]
    for check in found:
        assert harmless(check.seen)
        assert harmless(json.dumps(check.data, ensure_ascii=False))
        assert harmless(check_result(check, asked, "paper").model_dump_json())


def test_an_earlier_verifier_cleans_nothing_and_its_lines_are_cleaned() -> None:
    everything = " ".join(HOSTILE.values())
    check = CheckObservation(everything, Reason.NO_QUOTE, {"x": everything}, name=CheckName.MARKET_DATA)
    attempt = Attempt("main", "2026-11-23T15:00:00Z", 0, 1, last=True, checks=(check,))
    line = json.dumps(EVENT.dump_python(AttemptEvent(attempt=attempt)))
    result = check_result(read_attempt(line).checks[0], gateway(), "paper")
    assert harmless(result.model_dump_json())


@pytest.mark.parametrize("credential", ["a\u200bb\u202ec", "x\x1b[2Jy", "zero\u034fwidth", "\u00a0nbsp\u2028"])
def test_a_credential_is_masked_before_and_after_it_is_cleaned(credential: str) -> None:
    units = credential.encode("utf-16-be")
    pairs = [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
    redactor = Redactor(credentials=["".join(f"\\u{unit:04X}" for unit in pairs)])
    assert clean(credential) in spellings("".join(f"\\u{unit:04X}" for unit in pairs))
    for written in (credential, clean(credential)):
        check = CheckObservation(
            f"log: {'x' * (LONGEST - 8)}{written} said", Reason.NO_QUOTE, name=CheckName.MARKET_DATA
        )
        result = check_result(check, gateway(), "paper", redactor=redactor)
        for part in (credential, clean(credential)):
            assert part[:3] not in result.seen[-60:]


def test_masking_an_endless_word_ends() -> None:
    for word in ("a" * 10**6, "password" * 10**5, "_secret" * 10**5, "totp" * 10**5):
        assert Redactor().text(f"{word} x") == f"{word} x"
    assert Redactor().text(f"{'a' * 1000}password=hunter2").endswith("password=***")


def test_a_status_is_one_line_a_gateway() -> None:
    now = datetime(2026, 11, 23, 15, tzinfo=UTC)
    everything = " ".join(HOSTILE.values())
    row = Row("main", everything, now - timedelta(days=1), everything, 3, 0, everything, everything, everything)
    shown = table([StackStatus(stack="paper", exit_code=0, gateways=(row,))], now)
    assert len(shown.split("\n")) == 2
    assert all(map(harmless, shown.split("\n")))


def test_the_engines_own_commands_are_taken_out_of_diagnostics() -> None:
    assert uncoloured("a <{%fg 1%}>b<{%reset%}>") == "a <{ %fg 1%}>b<{ %reset%}>"
    assert "<{%" not in str(failed("seen: <{%underline%}>"))


# --- Markdown ---------------------------------------------------------------------------------------------------------

MARKDOWN = [
    "<img src=x onerror=alert(1)>",
    "[click](http://evil.example)",
    "http://evil.example",
    "www.evil.example",
    "@somebody and somebody@evil.example",
    "owner/repo#1 GH-1",
    "a|b\\|c\\\\|d",
    "`x` ``y`` ```z",
    "ends with `",
    "*bold* _i_ ~~s~~ # h",
    "&lt;b&gt; <!-- -->",
    "x\n\n| new | row |",
    "\u202e\x1b[2J",
    "<br>",
    "$x$ \\(y\\)",
]


def spans(line: str) -> tuple[list[str], str]:
    """The code spans of a line, and the line without them (CommonMark: a run of backticks closes an equal one)."""
    found, rest, at = [], "", 0
    for opening in re.finditer(r"(?<!`)`+(?!`)", line):
        if opening.start() < at:
            continue
        fence = opening.group()
        closing = re.search(rf"(?<!`){fence}(?!`)", line[opening.end() :])
        if closing is None:
            break
        rest += line[at : opening.start()]
        found.append(line[opening.end() : opening.end() + closing.start()])
        at = opening.end() + closing.end()
    return found, rest + line[at:]


@pytest.mark.parametrize("text", MARKDOWN)
def test_a_plan_in_markdown_quotes_what_it_shows(text: str) -> None:
    planned = GatewayPlan(
        gateway=text,
        verdict=PlanVerdict.RELOGIN,
        reasons=(PlanReason(cause=Cause.SETTING, setting=text, effect=Effect.REPLACES),),
        asks_second_factor=False,
        downtime=text,
        image=Change(before=text, after=text),
        secret_version=Change(before=text, after=None),
        version=Change(before=None, after=text),
    )
    shown = rendering.markdown(Plan(stack=text, gateways=(planned,), others=())).split("\n")
    assert len(shown) == 5
    row = shown[4]
    # cmark-gfm's table extension: `\` takes the next character along, and a bar on its own ends the cell.
    assert len(re.sub(r"\\.", "", row).split("|")) == 5
    quoted, rest = spans(row.replace("\\|", "|"))
    inside = clean(text).replace("\\|", "\\ |")
    assert sum(span.strip() == inside.strip() for span in quoted) == 7
    for forbidden in ("<img", "http", "www.", "@", "#", "GH-", "*", "_", "&", "<!", "$", "[", "~"):
        assert forbidden not in rest.replace("second_factor", "")


def test_plain_words_are_not_quoted() -> None:
    for text in ("main", "session.timeZone", "ibgw:network.subnetPool", "up to 1m30s to log out, then the login"):
        assert rendering.quoted(text) == text


def test_what_a_command_prints_commands_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    everything = "\n".join(text.replace("\n", " ").encode("utf-8", "replace").decode() for text in HOSTILE.values())
    for print_it in (shared.say, shared.answer):
        print_it(everything)
        told = capsys.readouterr()
        assert all(map(harmless, (told.out + told.err).split("\n")))
        assert len((told.out + told.err).split("\n")) == len(HOSTILE) + 1
