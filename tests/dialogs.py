"""A program with the windows of a login, drawn over the X protocol: what a code helper meets, without Java."""

import threading
from collections.abc import Callable
from typing import Any

from Xlib import X
from Xlib.display import Display

from healthcheck.screen.display import Area
from healthcheck.second_factor.dialog import TITLE

GREY, WHITE, BLACK = 0xEF5D, 0xFFFF, 0x0000  # in 16 bits
DIALOG = Area(280, 260, 420, 180)
FIELD = Area(20, 50, 134, 18)
"""In the dialog, with its border."""
RETURN, BACKSPACE = 0xFF0D, 0xFF08


class Program:
    """Everything that it does, it does in one thread, as Swing does. `codes`: those that were submitted; `strayed`:
    keys that came elsewhere. `on_code`, `on_key`: what it does then. `takes`: False for a field that shows no key."""

    def __init__(self, name: str) -> None:
        self.codes: list[str] = []
        self.strayed: list[int] = []
        self.takes = True
        self.on_code: Callable[[str], None] = lambda code: None
        self.on_key: Callable[[str], None] = lambda text: None
        self._display = Display(name)
        self._windows: dict[str, Any] = {}
        self._text = ""
        self._asks = False
        self._todo: list[tuple[Callable[[], None], threading.Event]] = []
        self._ended = threading.Event()
        self._running = threading.Thread(target=self._run, daemon=True)
        self._running.start()

    def close(self) -> None:
        self._ended.set()
        self._running.join(10)
        self._display.close()

    # what a test tells it

    def ask_for_code(self, title: str = TITLE, *, at: Area = DIALOG) -> None:
        self._do(lambda: self._ask(title, at))

    def show(self, title: str, area: Area, colour: int = GREY, *, focused: bool = False) -> None:
        self._do(lambda: self._show(title, area, colour, focused))

    def hide(self, title: str = TITLE) -> None:
        self._do(lambda: self._hide(title))

    def refuse(self) -> None:
        """The dialog stays, and its field is empty again."""
        self._do(self._clear)

    def type_before(self, text: str) -> None:
        self._do(lambda: self._set(text))

    def focus(self, title: str) -> None:
        self._do(lambda: self._windows[title].set_input_focus(X.RevertToParent, X.CurrentTime))

    def _do(self, act: Callable[[], None]) -> None:
        if threading.current_thread() is self._running:
            return act()
        done = threading.Event()
        self._todo.append((act, done))
        assert done.wait(10)
        return None

    def _run(self) -> None:
        while not self._ended.wait(0.005):
            while self._todo:
                act, done = self._todo.pop(0)
                act()
                self._display.sync()
                done.set()
            while self._display.pending_events():
                self._on(self._display.next_event())

    def _on(self, event: Any) -> None:
        dialog = self._windows.get(TITLE)
        if event.type == X.ButtonPress and dialog is not None and event.window.id == dialog.id:
            if FIELD.holds(event.event_x, event.event_y):
                dialog.set_input_focus(X.RevertToParent, X.CurrentTime)
        elif event.type == X.KeyPress:
            symbol = self._display.keycode_to_keysym(event.detail, 0)
            if dialog is None or event.window.id != dialog.id:
                self.strayed.append(symbol)
            elif symbol == RETURN:
                self.codes.append(self._text)
                self.on_code(self._text)
            elif self.takes:
                self._set(self._text[:-1] if symbol == BACKSPACE else self._text + chr(symbol))
                self.on_key(self._text)
        elif event.type == X.Expose and dialog is not None and event.window.id == dialog.id:
            self._draw()
        self._display.sync()

    def _show(self, title: str, area: Area, colour: int, focused: bool) -> None:
        screen = self._display.screen()
        window = screen.root.create_window(
            area.x, area.y, area.width, area.height, 0, screen.root_depth, background_pixel=colour,
            event_mask=X.KeyPressMask | X.ButtonPressMask | X.ExposureMask,
        )  # fmt: skip
        window.set_wm_name(title)
        window.map()
        self._display.sync()
        self._windows[title] = window
        if focused:
            window.set_input_focus(X.RevertToParent, X.CurrentTime)

    def _hide(self, title: str) -> None:
        window = self._windows.pop(title, None)
        if window is not None:
            window.destroy()

    def _ask(self, title: str, at: Area) -> None:
        self._text, self._asks = "", True
        self._show(title, at, GREY, False)
        self._draw()

    def _clear(self) -> None:
        self._set("")

    def _set(self, text: str) -> None:
        self._text = text
        self._draw()

    def _draw(self) -> None:
        """A field with a border, a block for each digit, and a caret after the last."""
        dialog = self._windows.get(TITLE)
        if dialog is None or not self._asks:
            return
        black, white = (dialog.create_gc(foreground=colour) for colour in (BLACK, WHITE))
        dialog.fill_rectangle(white, FIELD.x, FIELD.y, FIELD.width - 1, FIELD.height - 1)
        dialog.rectangle(black, FIELD.x, FIELD.y, FIELD.width - 1, FIELD.height - 1)
        for at in range(len(self._text)):
            dialog.fill_rectangle(black, FIELD.x + 3 + 8 * at, FIELD.y + 4, 6, 9)
        dialog.fill_rectangle(black, FIELD.x + 2 + 8 * len(self._text), FIELD.y + 2, 1, 12)
        black.free()
        white.free()
