"""What the code helper does on a real display: where it types, and where it does not."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyotp
import pytest

from healthcheck.screen.display import Area, Screen
from healthcheck.second_factor import dialog, helper
from healthcheck.second_factor.dialog import TITLE
from healthcheck.second_factor.handover import TOLD, Kind, Phase, Told, Wanted, told, wanted, write
from healthcheck.second_factor.helper import LIMIT, PERIOD, Helper
from tests.dialogs import DIALOG, FIELD, Program
from tests.displays import TestDisplay, display

SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
LOGIN = Wanted(login="100:7", at=1, kind=Kind.CODE)
PUSHED = Area(600, 20, 200, 100)


@pytest.fixture(scope="module")
def shown() -> Iterator[TestDisplay]:
    with display() as found:
        yield found


@pytest.fixture
def program(shown: TestDisplay) -> Iterator[Program]:
    found = Program(shown.name)
    yield found
    found.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATIENCE", "DIALOG_PATIENCE", "KEY_SECONDS", "FOCUS_SECONDS"):
        monkeypatch.setattr(helper, name, 0.3)


class Kept(Screen):
    """One connection for a whole test: to open one takes longer than a look."""

    def close(self) -> None:
        pass


class Beside:
    """A helper and what it is told. `clock`: seconds since the epoch, which stand still unless a test moves them."""

    def __init__(self, shown: TestDisplay, folder: Path) -> None:
        self.shown, self.folder = shown, folder
        self.clock = 1_800_000_000.0
        self.wanted = LOGIN
        self.synchronised = True
        self.screen: Screen | None = None
        self.start()

    def start(self, version: str = "v-1", seed: str = SEED) -> None:
        self.helper = Helper(
            self.folder,
            seed=seed,
            version=version,
            wanted=lambda: self.wanted,
            screen=self.open,
            synchronised=lambda: self.synchronised,
            now=lambda: self.clock,
        )

    def open(self) -> Screen:
        self.screen = self.screen or Kept.at(self.shown.path)
        return self.screen

    @property
    def told(self) -> Told:
        found = told(self.folder / TOLD)
        assert found is not None
        return found

    def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(200):
            self.helper.look()
            if holds():
                return
            time.sleep(0.02)
        raise AssertionError(self.told)

    def reach(self, phase: Phase) -> None:
        self.until(lambda: self.told.phase is phase)

    @property
    def code(self) -> str:
        return pyotp.TOTP(SEED).at(int(self.clock))

    def next_code(self) -> None:
        self.clock += PERIOD


@pytest.fixture
def beside(shown: TestDisplay, tmp_path: Path) -> Beside:
    return Beside(shown, tmp_path)


def test_a_code_is_typed_and_submitted(beside: Beside, program: Program) -> None:
    program.ask_for_code()
    beside.reach(Phase.SUBMITTED)
    beside.until(lambda: program.codes == [beside.code])
    assert beside.told == Told(version="v-1", phase=Phase.SUBMITTED, step=60_000_000, codes=1)
    program.hide()
    beside.wanted = LOGIN.model_copy(update={"kind": Kind.IN})
    beside.reach(Phase.IDLE)
    assert beside.told.codes == 0
    assert program.strayed == []


def test_nothing_is_typed_that_nobody_asked_for(beside: Beside, program: Program) -> None:
    program.ask_for_code()
    beside.wanted = Wanted()
    for _ in range(20):
        beside.helper.look()
    assert beside.told.phase is Phase.IDLE
    assert (program.codes, program.strayed) == ([], [])


@pytest.mark.parametrize(
    ("kind", "phase"),
    [
        (Kind.PUSH, Phase.PUSH),
        (Kind.OTHER, Phase.OTHER_DEVICE),
        (Kind.UNNAMED, Phase.UNNAMED_DEVICE),
        (Kind.DEVICES, Phase.DEVICE_LIST),
    ],
)
def test_what_is_no_code_is_not_answered(kind: Kind, phase: Phase, beside: Beside, program: Program) -> None:
    program.ask_for_code()
    beside.wanted = LOGIN.model_copy(update={"kind": kind})
    beside.reach(phase)
    # Not even where it becomes one: the login has met something that nobody foresaw.
    beside.wanted = LOGIN
    for _ in range(20):
        beside.helper.look()
    assert beside.told.phase is phase
    assert (program.codes, program.strayed) == ([], [])


def no_dialog(program: Program) -> None:
    program.show("IBKR Gateway", DIALOG)


def no_field(program: Program) -> None:
    program.show(TITLE, DIALOG)


def filled_field(program: Program) -> None:
    program.ask_for_code()
    program.type_before("12")


def window_in_front(program: Program) -> None:
    program.ask_for_code()
    program.show("Anything", PUSHED)


def second_dialog(program: Program) -> None:
    program.show(TITLE, PUSHED)
    program.ask_for_code()


def dead_field(program: Program) -> None:
    program.takes = False
    program.ask_for_code()


@pytest.mark.parametrize(
    ("meet", "phase"),
    [
        (no_dialog, Phase.NO_DIALOG),
        (no_field, Phase.NO_FIELD),
        (filled_field, Phase.NO_FIELD),
        (window_in_front, Phase.WINDOW_IN_FRONT),
        (second_dialog, Phase.SECOND_DIALOG),
        (dead_field, Phase.KEY_NOT_SHOWN),
    ],
)
def test_what_is_in_the_way_ends_the_typing(
    meet: Callable[[Program], None], phase: Phase, beside: Beside, program: Program
) -> None:
    meet(program)
    beside.reach(phase)
    assert (program.codes, program.strayed, beside.told.codes) == ([], [], 0)


def test_what_is_in_the_way_for_a_moment_is_waited_for(beside: Beside, program: Program) -> None:
    window_in_front(program)
    for _ in range(3):
        beside.helper.look()
    assert beside.told.phase is Phase.WAITING
    program.hide("Anything")
    beside.reach(Phase.SUBMITTED)


@pytest.mark.parametrize("title", ["Anything", TITLE])
def test_one_that_comes_while_it_types_ends_it(title: str, beside: Beside, program: Program) -> None:
    program.ask_for_code()
    program.on_key = lambda text: program.show(title, PUSHED, focused=True) if len(text) == 3 else None
    beside.until(lambda: beside.told.phase in (Phase.WINDOW_IN_FRONT, Phase.SECOND_DIALOG))
    assert (program.codes, program.strayed) == ([], [])


def test_a_focus_that_is_stolen_ends_it(beside: Beside, program: Program) -> None:
    program.show("IBKR Gateway", PUSHED)
    program.ask_for_code()
    program.on_key = lambda text: program.focus("IBKR Gateway") if len(text) == 3 else None
    beside.reach(Phase.FOCUS_ELSEWHERE)
    assert (program.codes, program.strayed) == ([], [])


def test_a_dialog_that_goes_while_it_types_ends_it(beside: Beside, program: Program) -> None:
    program.show("IBKR Gateway", DIALOG)
    program.ask_for_code()
    program.on_key = lambda text: program.hide() if len(text) == 3 else None
    beside.reach(Phase.NO_DIALOG)
    assert (program.codes, program.strayed) == ([], [])


def test_a_clock_that_nobody_keeps_ends_it(beside: Beside, program: Program) -> None:
    program.ask_for_code()
    beside.synchronised = False
    beside.reach(Phase.CLOCK)
    assert (program.codes, program.strayed) == ([], [])


def test_a_code_has_life_left(beside: Beside, program: Program) -> None:
    """13 s when the first key is pressed, 8 s when it is submitted."""
    program.ask_for_code()
    beside.clock += 17.5
    beside.reach(Phase.WAITING)
    for _ in range(10):
        beside.helper.look()
    assert program.codes == []
    beside.clock += 13
    beside.until(lambda: program.codes == [beside.code])


def test_one_that_was_typed_too_slowly_is_taken_back(beside: Beside, program: Program) -> None:
    program.ask_for_code()
    beside.clock += 10

    def slow(text: str) -> None:
        if len(text) == 6:
            beside.clock += 13
            program.on_key = lambda text: None

    program.on_key = slow
    beside.reach(Phase.WAITING)
    assert program.codes == []
    beside.clock += 10
    beside.until(lambda: program.codes == [beside.code])


def test_one_that_is_always_typed_too_slowly_ends_it(beside: Beside, program: Program) -> None:
    program.ask_for_code()
    program.on_key = lambda text: setattr(beside, "clock", beside.clock + 24) if len(text) == 6 else None

    def next_code() -> bool:
        beside.clock += PERIOD - beside.clock % PERIOD
        return beside.told.phase is Phase.TOO_SLOW

    beside.until(next_code)
    assert program.codes == []


def refused_twice(beside: Beside, program: Program) -> list[str]:
    program.on_code = lambda _: program.refuse()
    program.ask_for_code()
    codes = []
    for count in range(1, LIMIT + 1):
        beside.until(lambda count=count: len(program.codes) == count)  # type: ignore[misc]
        codes.append(beside.code)
        beside.next_code()
    return codes


def test_a_code_is_never_used_twice_and_two_are_all(beside: Beside, program: Program) -> None:
    codes = refused_twice(beside, program)
    assert program.codes == codes
    beside.reach(Phase.HELD)
    beside.next_code()
    for _ in range(30):
        beside.helper.look()
    assert program.codes == codes
    assert (beside.told.codes, beside.told.held > 0) == (LIMIT, True)


def test_a_refused_code_is_not_repeated_within_its_half_minute(beside: Beside, program: Program) -> None:
    program.on_code = lambda _: program.refuse()
    program.ask_for_code()
    beside.until(lambda: len(program.codes) == 1)
    beside.reach(Phase.WAITING)
    beside.clock += 5
    for _ in range(30):
        beside.helper.look()
    assert len(program.codes) == 1


def test_counts_and_used_codes_outlive_it(beside: Beside, program: Program) -> None:
    program.on_code = lambda _: program.refuse()
    program.ask_for_code()
    beside.until(lambda: len(program.codes) == 1)
    beside.start()
    for _ in range(30):
        beside.helper.look()
    assert len(program.codes) == 1
    beside.next_code()
    beside.until(lambda: len(program.codes) == 2)
    beside.start()
    beside.next_code()
    beside.reach(Phase.HELD)
    beside.start()
    assert beside.told.phase is Phase.HELD
    # Another seed is another matter, as another password is to the guard.
    beside.start("v-2")
    beside.until(lambda: len(program.codes) == 3)


def test_a_person_lets_it_go_on(beside: Beside, program: Program) -> None:
    refused_twice(beside, program)
    beside.reach(Phase.HELD)
    beside.wanted = LOGIN.model_copy(update={"login": "200:8", "again": beside.told.held - 1})
    beside.helper.look()
    assert beside.told.phase is Phase.HELD
    beside.next_code()
    beside.wanted = LOGIN.model_copy(update={"login": "200:8", "again": beside.told.held + 1})
    beside.until(lambda: len(program.codes) == 3)


def test_a_login_that_ends_after_two_codes_is_held_before_the_next_begins(beside: Beside, program: Program) -> None:
    refused_twice(beside, program)
    program.hide()
    beside.wanted = Wanted()
    beside.reach(Phase.HELD)


def test_one_that_nobody_takes_is_told(beside: Beside, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    program.ask_for_code()
    beside.reach(Phase.SUBMITTED)
    monkeypatch.setattr(helper, "TAKEN_SECONDS", 0.2)
    beside.reach(Phase.NOT_TAKEN)


def test_a_display_that_is_gone_is_told(tmp_path: Path) -> None:
    beside = Beside(TestDisplay(":0", str(tmp_path / "X1")), tmp_path)
    beside.reach(Phase.DISPLAY)


@pytest.mark.parametrize("depth", [16, 24])
def test_the_field_is_found_at_each_depth(depth: int) -> None:
    with display(depth=depth) as found:
        program = Program(found.name)
        program.ask_for_code()
        with Screen.at(found.path) as screen:
            place = dialog.field(screen.picture(DIALOG))
        program.close()
    assert place == Area(FIELD.x + 1, FIELD.y + 1, FIELD.width - 2, FIELD.height - 2)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "v=1 login=100:7 at=1 kind=please again=0",
        "v=1 login=100:7;rm at=1 kind=code again=0",
        "v=1 login=100:7 at=-1 kind=code again=0",
        "v=0 login=100:7 at=1 kind=code again=0",
        f"v=1 login=100:7 at=1 kind=code again=0 {'x' * 500}",
        "v=1 login=100:7 at=1 kind=code again=0 \xff",
    ],
)
def test_a_line_of_another_form_wants_nothing(line: str, tmp_path: Path) -> None:
    (tmp_path / "line").write_text(line, encoding="latin-1")
    assert wanted(tmp_path / "line") == Wanted()


def test_lines_are_read_as_they_were_written(tmp_path: Path) -> None:
    write(tmp_path / "line", LOGIN)
    assert (tmp_path / "line").read_text() == "v=1 login=100:7 at=1 kind=code again=0\n"
    assert wanted(tmp_path / "line") == LOGIN
    assert wanted(tmp_path / "none") == Wanted()
    assert told(tmp_path / "none") is None


def test_it_prints_no_code(beside: Beside, program: Program, capfd: pytest.CaptureFixture[str]) -> None:
    program.ask_for_code()
    beside.reach(Phase.SUBMITTED)
    assert capfd.readouterr().out == "codes: typing\ncodes: submitted\n"
