"""Types a code where one is asked for, and nothing anywhere else.

One look at a time (`Helper.look`): what the first process says is wanted, what the screen shows, which code may still
be used. What is in the way is given some seconds to go by itself before the first key; after it, it ends the typing for
this login. A code is written down as used before it is submitted, so that no restart can submit it again.
"""

import time
from collections.abc import Callable
from pathlib import Path

import pyotp

from healthcheck.screen.display import Area, Screen, ScreenError, Window
from healthcheck.second_factor import dialog
from healthcheck.second_factor.handover import AT_WORK, TOLD, Kind, Phase, Told, Wanted, told, write

PERIOD = 30
"""Seconds that a code belongs to (RFC 6238)."""
LIFE = 8
"""Seconds of life that it has when it is submitted, or it is not: servers refuse younger ones (ibeam #279)."""
TYPING = 5
"""Seconds that typing may take on a slow machine; so much more has a code when its first key is pressed."""
LIMIT = 2
"""Codes that are submitted without a login, as many as the start guard allows attempts."""
PATIENCE = 10.0
"""Seconds for what is in the way to go by itself: windows come and go while a login proceeds."""
DIALOG_PATIENCE = 170.0
"""For the dialog and its field: the window for a second factor is 180 s, and a loaded machine is slow to draw."""
KEY_SECONDS = 10.0
"""For a key to show. What took too long for the code's life is taken back."""
FOCUS_SECONDS = 5.0
TAKEN_SECONDS = 60.0
"""From a submitted code to the word of the first process."""
GLANCE = 0.05
TRIES = 3
"""Times that one login's code is typed and taken back because it took too long."""

BACKSPACE, RETURN = 0xFF08, 0xFF0D

_WANTS: dict[Kind, Phase] = {
    Kind.PUSH: Phase.PUSH,
    Kind.OTHER: Phase.OTHER_DEVICE,
    Kind.UNNAMED: Phase.UNNAMED_DEVICE,
    Kind.DEVICES: Phase.DEVICE_LIST,
}


class Hindered(Exception):
    """Something is in the way; `args[0]` is the Phase that says what."""

    @property
    def phase(self) -> Phase:
        return Phase(self.args[0])


class Helper:
    def __init__(
        self,
        folder: Path,
        *,
        seed: str,
        version: str,
        wanted: Callable[[], Wanted],
        screen: Callable[[], Screen],
        synchronised: Callable[[], bool],
        now: Callable[[], float] = time.time,
    ) -> None:
        """`folder`: its own, kept. `seed`: base32; `version`: of its secret. `screen`: a new connection to the display.
        `synchronised`: whether something keeps the machine's clock right. `now`: seconds since the epoch."""
        self._path = folder / TOLD
        self._codes = pyotp.TOTP(seed)
        self._wanted, self._open, self._synchronised, self._now = wanted, screen, synchronised, now
        # Another seed's codes are others, and its count begins anew.
        before = told(self._path)
        self._told = before if before is not None and before.version == version else Told(version=version)
        self._login = ""  # that is typed for
        self._ended = False  # nothing more is typed for it
        self._tries = 0
        self._submitted = 0.0  # time.monotonic()
        self._hindered: tuple[Phase, float] | None = None
        self._tell(phase=Phase.HELD if self._told.held else Phase.IDLE)

    def look(self) -> None:
        """Once; for who calls it several times a second. Raises OSError where it cannot keep what it knows."""
        wanted = self._wanted()
        if wanted.login != self._login:
            self._login, self._ended, self._tries, self._submitted, self._hindered = wanted.login, False, 0, 0.0, None
        if wanted.kind is Kind.IN:
            if self._told.codes or self._told.held or self._told.phase is not Phase.IDLE:
                self._tell(phase=Phase.IDLE, codes=0, held=0)
            return
        if self._told.held and wanted.again > self._told.held:
            self._tell(phase=Phase.IDLE, codes=0, held=0)
        if self._told.held:
            return
        if wanted.kind is Kind.NONE:
            self._rest()
        elif not self._ended:
            self._serve(wanted)

    def _rest(self) -> None:
        """No login asks for anything: one that has ended without success leaves its codes counted."""
        if self._told.codes >= LIMIT:
            self._hold()
        elif self._told.phase in AT_WORK:
            self._tell(phase=Phase.IDLE)

    def _serve(self, wanted: Wanted) -> None:
        try:
            if wanted.kind is not Kind.CODE:
                raise Hindered(_WANTS[wanted.kind])
            with self._open() as screen:
                self._type(screen)
            self._hindered = None
        except Hindered as hindered:
            self._wait_for(hindered.phase)
        except ScreenError:
            self._wait_for(Phase.DISPLAY)

    def _wait_for(self, phase: Phase) -> None:
        """What is in the way may go by itself; once keys were pressed, nothing is waited for."""
        if self._told.phase is Phase.SUBMITTED:
            return self._await_answer(emptied=False)
        if self._told.phase is Phase.TYPING:
            return self._end(phase)
        if self._hindered is None or self._hindered[0] is not phase:
            self._hindered = phase, time.monotonic()
        waits = DIALOG_PATIENCE if phase in (Phase.NO_DIALOG, Phase.NO_FIELD) else PATIENCE
        if time.monotonic() - self._hindered[1] >= waits:
            return self._end(phase)
        return self._tell(phase=Phase.WAITING)

    def _end(self, phase: Phase) -> None:
        """No key is pressed for this login any more."""
        self._ended = True
        self._tell(phase=phase)

    def _hold(self) -> None:
        self._tell(phase=Phase.HELD, held=int(self._now()))

    def _type(self, screen: Screen) -> None:
        """Raises Hindered, ScreenError."""
        window = _clear(screen)
        place = dialog.field(screen.picture(window.area))
        if self._told.phase is Phase.SUBMITTED:
            return self._await_answer(emptied=place is not None)
        if place is None:
            raise Hindered(Phase.NO_FIELD)
        if self._told.codes >= LIMIT:
            return self._hold()
        step, life = self._code()
        if step <= self._told.step or life < LIFE + TYPING:
            return self._tell(phase=Phase.WAITING)
        if not self._synchronised():
            raise Hindered(Phase.CLOCK)
        field = Area(window.area.x + place.x, window.area.y + place.y, place.width, place.height)
        screen.click(field.x + field.width // 2, field.y + field.height // 2)
        _until(lambda: screen.focused() == window.id, FOCUS_SECONDS, Phase.FOCUS_ELSEWHERE)
        self._tell(phase=Phase.TYPING)
        for digit in self._codes.generate_otp(step):
            _same(screen, window)
            _press(screen, field, ord(digit))
        step_now, life = self._code()
        if step_now != step or life < LIFE:
            return self._take_back(screen, window, field)
        _same(screen, window)
        # Before the key that submits it: whatever happens then, it was used.
        self._tell(phase=Phase.SUBMITTED, step=step, codes=self._told.codes + 1)
        self._submitted = time.monotonic()
        screen.press(RETURN)
        return None

    def _code(self) -> tuple[int, float]:
        """The present half minute's number, and the seconds that are left of it."""
        now = self._now()
        return int(now // PERIOD), PERIOD - now % PERIOD

    def _await_answer(self, *, emptied: bool) -> None:
        """`emptied`: the dialog is there and its field is empty again, so the code was refused."""
        if emptied and time.monotonic() - self._submitted > FOCUS_SECONDS:
            self._tell(phase=Phase.WAITING)
        elif time.monotonic() - self._submitted > TAKEN_SECONDS:
            self._end(Phase.NOT_TAKEN)

    def _take_back(self, screen: Screen, window: Window, field: Area) -> None:
        self._tries += 1
        if self._tries >= TRIES:
            raise Hindered(Phase.TOO_SLOW)
        for _ in range(self._codes.digits):
            _same(screen, window)
            _press(screen, field, BACKSPACE)
        self._tell(phase=Phase.WAITING)

    def _tell(self, **changed: object) -> None:
        new = self._told.model_copy(update=changed)
        if new.phase is not self._told.phase:
            print(f"codes: {new.phase}", flush=True)  # noqa: T201 - its log
        if new != self._told or not self._path.exists():
            write(self._path, new)
            self._told = new


def _clear(screen: Screen) -> Window:
    """The dialog, with nothing in its way. Raises Hindered."""
    found = dialog.find(screen.windows())
    if isinstance(found, Phase):
        raise Hindered(found)
    return found


def _same(screen: Screen, window: Window) -> None:
    """Raises Hindered where a key would not go to this dialog alone."""
    if _clear(screen) != window:
        raise Hindered(Phase.NO_DIALOG)
    if screen.focused() != window.id:
        raise Hindered(Phase.FOCUS_ELSEWHERE)


def _press(screen: Screen, field: Area, symbol: int) -> None:
    """A key that is seen to change the field. Raises Hindered."""
    before = screen.picture(field)
    screen.press(symbol)
    _until(lambda: dialog.typed(before, screen.picture(field)), KEY_SECONDS, Phase.KEY_NOT_SHOWN)


def _until(holds: Callable[[], bool], seconds: float, otherwise: Phase) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise Hindered(otherwise)
        time.sleep(GLANCE)
