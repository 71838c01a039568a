"""What the Makefile asks of the toolchain; progress goes to stderr.

`python -m sandbox.toolchain` prints the folders to put in front of PATH, one a line. `... official` does the same, and
refuses where one of them holds a stand-in: those are for a sandbox only. `... actionlint` prints where that is.
"""

import argparse
import sys

from deployment.errors import IbgwError
from sandbox.toolchain import default_cache, ensure, ensure_actionlint


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _lines(wanted: str) -> list[str]:
    if wanted == "actionlint":
        return [str(ensure_actionlint(default_cache(), _say))]
    found = ensure(default_cache(), _say)
    if wanted == "official" and found.embedded:
        raise IbgwError(
            f"not official releases on this machine: {', '.join(found.embedded)}; a stack that is no sandbox's needs "
            "those: install Pulumi (pulumi.com/docs/install), or run where its release server answers"
        )
    return [str(folder) for folder in found.path]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox.toolchain")
    parser.add_argument("wanted", nargs="?", choices=["path", "official", "actionlint"], default="path")
    try:
        lines = _lines(parser.parse_args().wanted)
    except IbgwError as error:
        _say(f"error: {error}")
        sys.exit(int(error.exit_code))
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
