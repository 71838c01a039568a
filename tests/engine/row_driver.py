"""Runs inside a container of the gateway's image: starts run.sh for each row of the table in a home folder of its own.

`python3 row_driver.py ROWS`: the rows as JSON; prints their outcomes as JSON, in the same order. Standard library only.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HOME = "/home/ibgateway"
SECONDS = 30.0
RECORDER = '#!/bin/bash\necho "ibcstart.sh: $*"\n'


def walk(number: int, row: dict[str, Any]) -> dict[str, Any]:
    """One start for each environment of the row, one after the other in the same home; the outcome of the last one."""
    home = Path(f"/tmp/home-{number}")
    shutil.copytree(HOME, home)
    (home / "ibc" / "scripts" / "ibcstart.sh").write_text(RECORDER)
    for name, content in row["files"].items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
    *before, last_one = row["environments"]
    for environment in before:
        start(home, {**os.environ, **environment}, [])
    last = start(home, {**os.environ, **last_one}, row["lines"])
    return {**last, "files": {name: look(home / name) for name in row["look"]}}


def start(home: Path, environment: dict[str, str], lines: list[str]) -> dict[str, Any]:
    moved = {name: value.replace(HOME, str(home)) for name, value in environment.items()}
    log = home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(home / "scripts" / "run.sh")],
            cwd=home,
            env=moved,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + SECONDS
    try:
        code: int | None = process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        code = None
    # What run.sh left running may still have a line to say: the relay's.
    while code == 0 and time.monotonic() < deadline and not all(line in read(log, home) for line in lines):
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):  # nothing was left running
        os.killpg(process.pid, signal.SIGKILL)
    return {"code": code, "log": read(log, home)}


def read(log: Path, home: Path) -> str:
    return log.read_text(errors="replace").replace(str(home), HOME)


def look(path: Path) -> dict[str, str] | None:
    """A file's permissions and text; None where there is none."""
    if not path.is_file():
        return None
    return {"mode": f"{path.stat().st_mode & 0o777:o}", "text": path.read_text()}


def main() -> None:
    rows = json.loads(Path(sys.argv[1]).read_text())
    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(walk, range(len(rows)), rows))
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main()
