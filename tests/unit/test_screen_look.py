"""What of a gateway's screen may be seen, on a real display."""

import io
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from Xlib import X

from deployment.errors import IbgwError
from healthcheck.screen.display import Area, Picture, Screen, ScreenError, Window
from healthcheck.screen.look import Shows, look, masked, png, shows
from healthcheck.screen_run import SOCKET, screen_of, titles
from operations.screen import take
from operations.stack import parse_contract
from tests.displays import TestDisplay, display
from tests.unit.local_commands import LocalDocker
from tests.unit.operations_contract import contract_json
from tests.unit.test_screen import BLUE, RED, Client

CONTRACT = parse_contract(contract_json(), "x")
GATEWAY = CONTRACT.gateways["main"]
GREEN = 0x07E0

LOGIN, FACTOR, UNKNOWN = "IBKR Gateway", "Second Factor Authentication", "Annual Agreement"


@pytest.fixture(scope="module")
def shown() -> Iterator[TestDisplay]:
    with display(width=120, height=80) as found:
        yield found


@pytest.fixture
def client(shown: TestDisplay) -> Iterator[Client]:
    found = Client(shown.name)
    yield found
    found.display.close()


@pytest.fixture
def docker(shown: TestDisplay) -> LocalDocker:
    found = LocalDocker({SOCKET: shown.path})
    found.add_container("ibgw-paper-main", container_id=GATEWAY.container.id)
    found.containers[GATEWAY.container.id] = found.containers["ibgw-paper-main"]
    found.containers["ibgw-paper-main"]["State"]["Running"] = True
    found.files["/run/secrets/ibgw"] = ""
    return found


@pytest.mark.parametrize(
    ("title", "what"),
    [
        ("Second Factor Authentication", Shows.DIALOG),
        ("  second  factor AUTHENTICATION ", Shows.DIALOG),
        ("Login failed", Shows.DIALOG),
        ("IBKR Gateway", Shows.LOGIN),
        ("DU1234567 IB Gateway (Simulated)", Shows.LOGIN),
        ("Interactive Brokers Log In", Shows.LOGIN),
        ("Login", Shows.LOGIN),
        ("Change password", Shows.LOGIN),
        ("", Shows.LOGIN),
        (" \t", Shows.LOGIN),
        ("Annual Agreement", Shows.ACCOUNT),
        ("Second Factor Authentication for U1234567", Shows.ACCOUNT),
    ],
)
def test_what_a_window_may_show_is_known_by_its_title(title: str, what: Shows) -> None:
    assert shows(title) is what


def pixel(picture: Picture, x: int, y: int) -> tuple[int, ...]:
    at = 3 * (y * picture.width + x)
    return tuple(picture.pixels[at : at + 3])


def seen(shown: TestDisplay, **options: Any) -> Picture:
    with Screen.at(shown.path) as screen:
        return look(screen, **options).picture


def test_only_a_dialog_is_seen(shown: TestDisplay, client: Client) -> None:
    client.window(LOGIN, Area(0, 0, 40, 40), RED)
    client.window(FACTOR, Area(50, 0, 20, 20), BLUE)
    client.window(UNKNOWN, Area(80, 0, 20, 20), GREEN)
    picture = seen(shown)
    assert pixel(picture, 60, 10) == (0, 0, 255)
    lit = {(at // 3 % 120, at // 3 // 120) for at, value in enumerate(picture.pixels) if value}
    assert lit == {(x, y) for x in range(50, 70) for y in range(20)}


def test_an_unknown_dialog_is_seen_by_who_may_see_accounts_and_a_login_form_never(
    shown: TestDisplay, client: Client
) -> None:
    client.window(LOGIN, Area(0, 0, 40, 40), RED)
    client.window(UNKNOWN, Area(80, 0, 20, 20), GREEN)
    picture = seen(shown, accounts=True)
    assert (pixel(picture, 90, 10), pixel(picture, 20, 20)) == ((0, 252, 0), (0, 0, 0))


@pytest.mark.parametrize("above", [LOGIN, "", "tooltip"])
def test_what_lies_over_a_dialog_is_black_there(shown: TestDisplay, client: Client, above: str) -> None:
    client.window(FACTOR, Area(10, 10, 60, 40), BLUE)
    client.window(above, Area(30, 20, 20, 10), RED)
    picture = seen(shown)
    assert pixel(picture, 12, 12) == (0, 0, 255)
    assert {pixel(picture, x, y) for x in range(30, 50) for y in range(20, 30)} == {(0, 0, 0)}
    assert 255 not in picture.pixels[0::3]


def test_a_dialog_over_the_login_form_is_seen_and_the_form_around_it_is_not(shown: TestDisplay, client: Client) -> None:
    client.window(LOGIN, Area(-10, -10, 100, 100), RED)
    client.window(FACTOR, Area(100, 60, 50, 50), BLUE)
    client.window(FACTOR, Area(-5, -5, 15, 15), BLUE)
    picture = seen(shown)
    assert (pixel(picture, 119, 79), pixel(picture, 5, 5), pixel(picture, 50, 50)) == (
        (0, 0, 255), (0, 0, 255), (0, 0, 0),
    )  # fmt: skip


def test_a_border_belongs_to_its_window(shown: TestDisplay, client: Client) -> None:
    client.window(FACTOR, Area(0, 0, 100, 60), BLUE)
    root = client.display.screen().root
    framed = root.create_window(20, 20, 10, 10, 5, 16, background_pixel=RED, border_pixel=RED)
    framed.set_wm_name(LOGIN)
    framed.map()
    client.display.sync()
    assert 255 not in seen(shown).pixels[0::3]


class Restless:
    """A screen on which something happens each time that it is asked."""

    def __init__(self, screen: Screen, happens: Callable[[int], None]) -> None:
        self.screen, self.happens, self.asked = screen, happens, 0

    def windows(self) -> list[Window]:
        self.asked += 1
        self.happens(self.asked)
        return self.screen.windows()

    def picture(self) -> Picture:
        return self.screen.picture()


def test_no_picture_is_taken_while_windows_move(shown: TestDisplay, client: Client) -> None:
    """Its areas would be those of a moment before."""
    form = client.window(LOGIN, Area(0, 0, 40, 40), RED)
    client.window(FACTOR, Area(0, 0, 100, 60), BLUE)

    def move(asked: int) -> None:
        if asked <= 5:
            form.configure(x=asked, stack_mode=X.Above)
            client.display.sync()

    with Screen.at(shown.path) as screen:
        restless: Any = Restless(screen, move)
        found = look(restless, wait=lambda _: None)
    assert restless.asked == 7
    assert 255 not in found.picture.pixels[0::3]


def test_a_picture_is_taken_anew_where_windows_moved_meanwhile(shown: TestDisplay, client: Client) -> None:
    form = client.window(LOGIN, Area(0, 0, 40, 40), RED)

    def move(asked: int) -> None:
        if asked == 3:  # after the first picture
            form.configure(x=1)
            client.display.sync()

    with Screen.at(shown.path) as screen:
        restless: Any = Restless(screen, move)
        look(restless, wait=lambda _: None)
    assert restless.asked == 5


def test_windows_that_never_stand_still_are_no_picture(shown: TestDisplay, client: Client) -> None:
    form = client.window(LOGIN, Area(0, 0, 40, 40), RED)

    def move(asked: int) -> None:
        form.configure(x=asked)
        client.display.sync()

    with Screen.at(shown.path) as screen, pytest.raises(ScreenError, match="come and go"):
        look(Restless(screen, move), wait=lambda _: None)  # type: ignore[arg-type]


def test_what_was_mapped_a_moment_ago_has_time_to_be_drawn(shown: TestDisplay, client: Client) -> None:
    """A window without a background shows what was there before it: here the login form."""
    form = client.window(LOGIN, Area(0, 0, 40, 40), RED)
    root = client.display.screen().root
    undrawn = root.create_window(0, 0, 40, 40, 0, 16)
    undrawn.set_wm_name(FACTOR)

    def drawn(_: float) -> None:
        undrawn.fill_rectangle(undrawn.create_gc(foreground=BLUE), 0, 0, 40, 40)
        client.display.sync()

    undrawn.map()
    form.unmap()
    client.display.sync()
    with Screen.at(shown.path) as screen:
        found = look(screen, wait=drawn)
    assert pixel(found.picture, 20, 20) == (0, 0, 255)


def test_a_picture_is_a_png() -> None:
    picture = Picture(2, 2, bytes(range(12)))
    file = io.BytesIO(png(picture))
    assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    chunks = {}
    while head := file.read(8):
        length, kind = struct.unpack(">I4s", head)
        chunks[kind] = file.read(length)
        assert file.read(4) == struct.pack(">I", zlib.crc32(kind + chunks[kind]))
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (2, 2, 8, 2, 0, 0, 0)
    assert zlib.decompress(chunks[b"IDAT"]) == b"\0" + bytes(range(6)) + b"\0" + bytes(range(6, 12))
    assert [*chunks] == [b"IHDR", b"IDAT", b"IEND"]


def test_nothing_of_a_window_beyond_the_edges_is_drawn() -> None:
    picture = Picture(2, 1, b"abcdef")
    windows = [Window(number, FACTOR, area) for number, area in enumerate([Area(-5, 0, 6, 9), Area(7, 7, 1, 1)])]
    assert masked(picture, windows, windows).pixels == b"abc\0\0\0"


def test_a_gateway_s_screen_is_seen_through_docker(docker: LocalDocker, client: Client) -> None:
    client.window(FACTOR, Area(10, 10, 60, 40), BLUE)
    with screen_of(docker, "gateway") as screen:
        assert [window.title for window in look(screen).windows] == [FACTOR]
    assert docker.did("talk") == [["gateway", "socat", "STDIO", f"UNIX-CONNECT:{SOCKET}"]]
    assert docker.started[0].returncode == 0


def test_a_display_that_is_not_there_is_said_with_what_socat_said(tmp_path: Path) -> None:
    docker = LocalDocker({SOCKET: str(tmp_path / "none")})
    with pytest.raises(ScreenError, match="No such file"), screen_of(docker, "gateway"):
        pass


def test_the_picture_is_its_owner_s_alone_and_titles_hide_accounts(
    docker: LocalDocker, client: Client, tmp_path: Path
) -> None:
    client.window("DU1234567 IBKR Gateway", Area(0, 0, 40, 40), RED)
    client.window(FACTOR, Area(50, 10, 60, 40), BLUE)
    file = tmp_path / "a" / "screen.png"
    file.parent.mkdir()
    file.write_bytes(b"old")
    file.chmod(0o644)
    answer = take(docker, CONTRACT, GATEWAY, file, show_accounts=False)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes().startswith(b"\x89PNG")
    assert [(seen.title, seen.shows, seen.pictured) for seen in answer.windows] == [
        ("DU***567 IBKR Gateway", Shows.LOGIN, False),
        (FACTOR, Shows.DIALOG, True),
    ]
    assert answer.human().splitlines() == [
        "WINDOW, TOPMOST FIRST         SIZE     AT      IN THE PICTURE",
        "Second Factor Authentication  60 x 40  50, 10  shown",
        "DU***567 IBKR Gateway         40 x 40  0, 0    black: it may be the login form",
        f"Picture: {file}",
    ]
    assert os.listdir(file.parent) == ["screen.png"]


def test_a_gateway_without_a_display_is_said(docker: LocalDocker, tmp_path: Path) -> None:
    docker.instead = {SOCKET: str(tmp_path / "none")}
    with pytest.raises(IbgwError, match=r"shows no screen: .*ibgw status --stack paper --gateway main"):
        take(docker, CONTRACT, GATEWAY, tmp_path / "screen.png", show_accounts=False)
    assert not (tmp_path / "screen.png").exists()


def test_a_picture_that_cannot_be_written_is_said(docker: LocalDocker, client: Client, tmp_path: Path) -> None:
    (tmp_path / "folder").touch()
    with pytest.raises(IbgwError, match=r"folder/x\.png: .* so the picture is not kept"):
        take(docker, CONTRACT, GATEWAY, tmp_path / "folder" / "x.png", show_accounts=False)


@pytest.mark.parametrize(("window", "kept"), [(FACTOR, True), (UNKNOWN, False), (LOGIN, False), ("", False)])
def test_a_failure_s_picture_is_kept_only_of_a_window_that_is_known(
    docker: LocalDocker, client: Client, tmp_path: Path, window: str, kept: bool
) -> None:
    client.window(window, Area(50, 10, 60, 40), BLUE)
    file = tmp_path / "reports" / "paper.main.png"
    assert titles(docker, "main", file) == (window or "(untitled)",)
    assert file.exists() is kept
    assert titles(docker, "main", None) == (window or "(untitled)",)
