"""The dialog that asks for a code: where it is, whether it may be typed into, and where its field is. Pure: of windows
and pictures alone, since nothing else of the program can be seen from outside."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from healthcheck.screen.display import Area, Picture, Window
from healthcheck.second_factor.handover import Phase

TITLE = "Second Factor Authentication"
"""IBC knows it by the same one (SecondFactorAuthenticationDialogHandler)."""

WIDTH = 50
HEIGHTS = range(12, 49)
"""Pixels of a field that takes six digits."""
CARET = 3
"""Columns: what stands in an empty field is its caret, and so what changes when it blinks."""


def find(windows: Sequence[Window]) -> Window | Phase:
    """The dialog, or what is in the way. `windows`: the lowest first."""
    found = [window for window in windows if window.title == TITLE]
    if not found:
        return Phase.NO_DIALOG
    if len(found) > 1:
        return Phase.SECOND_DIALOG
    # One above it may take the keys, wherever it lies.
    return found[0] if windows[-1] == found[0] else Phase.WINDOW_IN_FRONT


def field(picture: Picture) -> Area | None:
    """The one empty field of a dialog, by its place in the picture; None where there is none or more than one.

    An empty field is a rectangle of one colour, as high as a line of text, that is closed on all sides and holds at
    most a caret at its beginning. A list of devices has text in it, and a button has its own.
    """
    found = [area for area, colour in _rectangles(picture) if _is_field(picture, area, colour)]
    return found[0] if len(found) == 1 else None


def _is_field(picture: Picture, area: Area, colour: bytes) -> bool:
    right, bottom = area.x + area.width, area.y + area.height
    inside = area.x > 0 and area.y > 0 and right < picture.width and bottom < picture.height
    # Where its colour goes on above or below, it is the part of something that has no text in it.
    return (
        inside
        and area.height in HEIGHTS
        and not any(colour in _pixels(picture, row)[area.x : right] for row in (area.y - 1, bottom))
    )


def _rectangles(picture: Picture) -> Iterator[tuple[Area, bytes]]:
    """Each with its colour: rows under each other whose runs end at the same place and begin there too, but for a
    caret."""
    open_ones: dict[tuple[int, bytes], Area] = {}
    for row in range(picture.height):
        runs = {(end, colour): start for start, end, colour in _long_runs(picture, row)}
        for key, area in [*open_ones.items()]:
            if key not in runs or abs(runs[key] - area.x) > CARET:
                yield open_ones.pop(key), key[1]
        for (end, colour), start in runs.items():
            area = open_ones.get((end, colour), Area(start, row, end - start, 0))
            left = min(start, area.x)
            open_ones[end, colour] = Area(left, area.y, end - left, area.height + 1)
    yield from ((area, colour) for (_, colour), area in open_ones.items())


def _long_runs(picture: Picture, row: int) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    for colour, same in groupby(_pixels(picture, row)):
        start, at = at, at + sum(1 for _ in same)
        if at - start >= WIDTH:
            yield start, at, colour


def _pixels(picture: Picture, row: int) -> list[bytes]:
    line = picture.pixels[row * picture.width * 3 :][: picture.width * 3]
    return [line[at : at + 3] for at in range(0, len(line), 3)]


def typed(before: Picture, after: Picture) -> bool:
    """Whether what differs is more than a caret."""
    if (before.width, before.height) != (after.width, after.height):
        return False
    line = before.width * 3
    columns = {
        at % line // 3 for at, (old, new) in enumerate(zip(before.pixels, after.pixels, strict=True)) if old != new
    }
    return len(columns) > CARET
