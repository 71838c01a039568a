"""What a gateway's first process and what types its codes tell each other (healthcheck/second_factor/handover.py)."""

from pathlib import Path

import pytest

from healthcheck.automation.status import parse
from healthcheck.second_factor.handover import Kind, Phase, Told, Wanted, wanted, write
from tests.unit.supervised import Supervised

TOTP = {
    "ibgw:gateways.main.secondFactor": {"method": "totp", "device": "José's app", "secretId": "ibgw/paper/main/seed"}
}
FACTOR = "2026-11-26 12:00:00:000 IBC: detected dialog entitled: Second Factor Authentication; event=Opened"
DEVICE = "2026-11-26 12:00:00:000 IBC: You should specify the required second factor device using SecondFactorDevice"
ROUND = "2026-11-26 12:00:00.112 INFO  [JTS-Main] - NS_AUTH_START version=38 pwd=1 token(s)=[{}] initialTokenType=PWD"
RESTART = "2026-11-26 12:00:00.112 INFO  [JTS-Main] - ---------------- IB GATEWAY RESTART ----------------"
ASKED = "JAVA=100:7 OPEN=yes; NOW=1; FACTOR=$((EPOCHSECONDS - 60)); want_factor"


@pytest.fixture
def box(tmp_path: Path) -> Supervised:
    return Supervised(tmp_path, **TOTP)


def launcher(box: Supervised, *lines: str) -> None:
    (box.settings / "launcher.log").write_text("".join(f"{line}\n" for line in lines))


def told(box: Supervised) -> Wanted:
    return wanted(box.home / "wanted")


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ([ROUND.format("5,[Mobile Authenticator App]")], Kind.CODE),
        ([ROUND.format("5,[IB Key]")], Kind.PUSH),
        ([ROUND.format("5,[SMS]")], Kind.OTHER),
        ([ROUND.format("5,[Passkey]")], Kind.OTHER),
        ([ROUND.format("5,[IB Key]"), ROUND.format("5,[Mobile Authenticator App]")], Kind.CODE),
        ([ROUND.format("5,[Mobile Authenticator App]"), RESTART], Kind.UNNAMED),
        ([ROUND.format("")], Kind.UNNAMED),
        ([], Kind.UNNAMED),
    ],
)
def test_the_program_s_own_log_names_what_is_asked_for(lines: list[str], kind: Kind, box: Supervised) -> None:
    launcher(box, *lines)
    box.bash(ASKED)
    assert (told(box).kind, told(box).login) == (kind, "100:7")
    assert (box.home / "wanted").stat().st_mode & 0o777 == 0o644, "read by a user of its own"


def test_what_is_not_named_yet_is_waited_for(box: Supervised) -> None:
    box.bash("JAVA=100:7; FACTOR=$EPOCHSECONDS; want_factor")
    assert told(box).kind is Kind.NONE


def test_a_list_that_nobody_chooses_from_is_told(box: Supervised) -> None:
    launcher(box, ROUND.format("5,[Mobile Authenticator App]"))
    box.bash(f"JAVA=100:7; on_line '{FACTOR}'; on_line '{DEVICE}'; FACTOR=$((EPOCHSECONDS - 60)); want_factor")
    assert told(box).kind is Kind.DEVICES


@pytest.mark.parametrize("ends", ["failed second_factor_timeout", "process_ended", "before_login"])
def test_what_is_over_is_wanted_no_more(ends: str, box: Supervised) -> None:
    launcher(box, ROUND.format("5,[Mobile Authenticator App]"))
    box.bash(f"load_attempts; load_history; begin_attempt >/dev/null; {ASKED}; {ends}")
    assert told(box).kind is Kind.NONE


def test_a_login_is_told(box: Supervised) -> None:
    box.bash("load_attempts; KIND=saved JAVA=100:7; confirmed")
    assert told(box).kind is Kind.IN


def test_a_gateway_without_codes_tells_nobody(tmp_path: Path) -> None:
    box = Supervised(tmp_path)
    launcher(box, ROUND.format("5,[Mobile Authenticator App]"))
    box.bash(f"load_attempts; {ASKED}; before_login; publish")
    assert not (box.home / "wanted").exists()
    assert "CODES" not in box.values.read_text()
    assert parse((box.home / "run" / "status").read_text()).code == "none"


def test_what_it_does_is_published(box: Supervised) -> None:
    write(box.home / "told", Told(version="v-1", phase=Phase.WINDOW_IN_FRONT, codes=1))
    box.bash("load_attempts; publish")
    assert parse((box.home / "run" / "status").read_text()).code == "window_in_front"


def test_two_codes_in_vain_hold_the_next_start_until_a_person_lets_it_go_on(box: Supervised) -> None:
    write(box.home / "told", Told(version="v-1", phase=Phase.HELD, codes=2, held=1_800_000_000))
    gate = 'gate >/dev/null; echo "$HOLD"'
    assert box.bash(gate) == "codes"
    box.guard.mkdir(exist_ok=True)
    (box.guard / "again").write_text("1800000000\n")
    assert box.bash(gate) == "codes"
    (box.guard / "again").write_text("1800000001\n")
    assert box.bash(gate) == "none"
    box.bash("load_attempts; gate; before_login")
    assert told(box).again == 1_800_000_001


@pytest.mark.parametrize("line", ["", "phase=held", "v=1 version=x phase=HELD step=0 codes=0 held=0 ", "\x00\xff"])
def test_what_cannot_be_read_is_nothing(line: str, box: Supervised) -> None:
    (box.home / "told").write_text(line, encoding="latin-1")
    assert box.bash('gate >/dev/null; echo "$HOLD $CODE"') == "none none"
