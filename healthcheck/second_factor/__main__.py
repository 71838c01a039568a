"""Runs beside one gateway for as long as that does. Its output is phases alone, never a code."""

import argparse
import ctypes
import signal
import sys
import time
from functools import partial
from pathlib import Path

from healthcheck.screen.display import Screen
from healthcheck.second_factor.handover import DISPLAY, DISPLAY_FOLDER, SEED_FILE, TOLD_FOLDER, WANTED, wanted
from healthcheck.second_factor.helper import Helper

EVERY = 0.25
"""Seconds between two looks."""
ERROR = 5  # adjtimex(2): TIME_ERROR, the clock is not synchronised


def synchronised() -> bool:
    """Whether something keeps this machine's clock right, as its kernel knows: a container has the host's clock."""
    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))  # which asks and sets nothing
    return 0 <= state < ERROR


def main() -> None:
    parser = argparse.ArgumentParser(prog="healthcheck.second_factor", description=__doc__)
    parser.add_argument("--version-id", required=True, help="of the seed's secret")
    parser.add_argument("--any-clock", action="store_true", help="type also where nothing synchronises the clock")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    helper = Helper(
        Path(TOLD_FOLDER),
        seed=Path(SEED_FILE).read_text(encoding="ascii").strip(),
        version=arguments.version_id,
        wanted=partial(wanted, Path(DISPLAY_FOLDER, WANTED)),
        screen=partial(Screen.at, DISPLAY),
        synchronised=(lambda: True) if arguments.any_clock else synchronised,
    )
    while True:
        helper.look()
        time.sleep(EVERY)


if __name__ == "__main__":
    main()
