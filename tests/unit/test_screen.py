"""What `healthcheck.screen` sees and does on a real display."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from Xlib import X
from Xlib.display import Display

from healthcheck.screen.display import Area, Screen, ScreenError
from tests.displays import TestDisplay, display

RED, BLUE = 0xF800, 0x001F  # in 16 bits
AT = Area(100, 50, 200, 80)


@pytest.fixture(scope="module")
def shown() -> Iterator[TestDisplay]:
    with display() as found:
        yield found


class Client:
    """A program with windows."""

    def __init__(self, name: str) -> None:
        self.display = Display(name)

    def window(self, title: str, area: Area, colour: int = RED, *, mapped: bool = True) -> Any:
        screen = self.display.screen()
        window = screen.root.create_window(
            area.x, area.y, area.width, area.height, 0, screen.root_depth, background_pixel=colour,
            event_mask=X.KeyPressMask | X.ButtonPressMask,
        )  # fmt: skip
        window.set_wm_name(title)
        if mapped:
            window.map()
        self.display.sync()
        return window

    def events(self) -> list[Any]:
        self.display.sync()
        return [self.display.next_event() for _ in range(self.display.pending_events())]


@pytest.fixture
def client(shown: TestDisplay) -> Iterator[Client]:
    found = Client(shown.name)
    yield found
    found.display.close()


def test_windows_are_listed_from_the_lowest_up(shown: TestDisplay, client: Client) -> None:
    client.window("Login", AT)
    client.window("Second Factor Authentication", Area(10, 20, 30, 40))
    client.window("hidden", AT, mapped=False)
    with Screen.at(shown.path) as screen:
        found = [(window.title, window.area) for window in screen.windows()]
        assert found == [("Login", AT), ("Second Factor Authentication", Area(10, 20, 30, 40))]
        assert screen.area == Area(0, 0, 1024, 768)


def test_a_title_is_harmless(shown: TestDisplay, client: Client) -> None:
    window = client.window("old name", AT)
    atom = client.display.intern_atom
    window.change_property(atom("_NET_WM_NAME"), atom("UTF8_STRING"), 8, "José \x1b[31m\u202e!".encode())
    client.display.sync()
    with Screen.at(shown.path) as screen:
        assert [window.title for window in screen.windows()] == ["José \\x1b[31m\\u202e!"]


@pytest.mark.parametrize("depth", [16, 24])
def test_a_picture_has_each_pixels_colour(depth: int) -> None:
    with display(depth=depth, width=303, height=201) as found:
        client = Client(found.name)
        colours = {16: (0xF800, 0x07E0, 0x001F), 24: (0xFF0000, 0x00FF00, 0x0000FF)}[depth]
        for at, colour in enumerate(colours):
            client.window("colour", Area(at * 10, 7, 10, 5), colour)
        with Screen.at(found.path) as screen:
            part, whole = screen.picture(Area(9, 7, 13, 1)), screen.picture()
            beyond = screen.picture(Area(400, 0, 10, 10))
        client.display.close()
    red, green, blue = bytes((255, 0, 0)), bytes((0, 255 if depth == 24 else 252, 0)), bytes((0, 0, 255))
    assert (part.width, part.height, part.pixels) == (13, 1, red + green * 10 + blue * 2)
    assert (whole.width, whole.height, len(whole.pixels)) == (303, 201, 303 * 201 * 3)
    assert whole.pixels[(7 * 303 + 9) * 3 :][: 13 * 3] == part.pixels
    assert beyond.pixels == b""


def test_the_window_on_top_is_what_is_seen(shown: TestDisplay, client: Client) -> None:
    client.window("below", AT, RED)
    client.window("above", AT, BLUE)
    with Screen.at(shown.path) as screen:
        assert set(screen.picture(AT).pixels[2::3]) == {255}


def test_a_click_and_a_key_arrive(shown: TestDisplay, client: Client) -> None:
    window = client.window("field", AT)
    window.set_input_focus(X.RevertToParent, X.CurrentTime)
    with Screen.at(shown.path) as screen:
        screen.click(AT.x + 7, AT.y + 9)
        screen.press(ord("4"))
    click, key = (found for found in client.events() if found.type in (X.ButtonPress, X.KeyPress))
    assert (click.type, click.event_x, click.event_y) == (X.ButtonPress, 7, 9)
    assert (key.type, client.display.keycode_to_keysym(key.detail, 0)) == (X.KeyPress, ord("4"))


def test_a_key_that_needs_another_is_refused(shown: TestDisplay) -> None:
    with Screen.at(shown.path) as screen, pytest.raises(ScreenError, match="no key for the symbol 0x41"):
        screen.press(ord("A"))


def test_a_display_that_is_gone_is_said(shown: TestDisplay) -> None:
    with pytest.raises(ScreenError, match=r"no display answers at /tmp/.X11-unix/X9999: No such file"):
        Screen.at("/tmp/.X11-unix/X9999")
    with display() as found:
        screen = Screen.at(found.path)
    with pytest.raises(ScreenError, match="the display failed"):
        screen.windows()


def test_one_that_says_nothing_is_left_in_time() -> None:
    here, there = socket.socketpair()
    with there, pytest.raises(ScreenError, match=r"did not answer within 0\.2 s"):
        Screen(here, seconds=0.2)


@pytest.mark.parametrize(
    "said", [b"", b"\x00" * 8, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x01\x00\x0b\x00\x00\x00\x01\x00aaaa"]
)
def test_one_that_speaks_otherwise_is_an_error(said: bytes) -> None:
    here, there = socket.socketpair()

    def answer() -> None:
        there.recv(100)
        there.sendall(said)
        there.close()

    answering = threading.Thread(target=answer)
    answering.start()
    with pytest.raises(ScreenError):
        Screen(here, seconds=5)
    answering.join()


def test_a_connection_may_be_a_pair_of_pipes_to_elsewhere(shown: TestDisplay, client: Client) -> None:
    """As `docker exec` gives it: bytes in, bytes out."""
    client.window("Login", AT)
    here, there = socket.socketpair()
    far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    far.connect(shown.path)

    def pump(source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(1000):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    pumps = [threading.Thread(target=pump, args=ends) for ends in ((there, far), (far, there))]
    for each in pumps:
        each.start()
    with Screen(here) as screen:
        assert [window.title for window in screen.windows()] == ["Login"]
        assert len(screen.picture().pixels) == 1024 * 768 * 3
    for each in pumps:
        each.join(10)
    far.close()
    there.close()
