"""`python -m sandbox.toolchain` prints the folders to put in front of PATH, one a line; progress goes to stderr."""

import sys

from sandbox.toolchain import default_cache, ensure


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main() -> None:
    found = ensure(default_cache(), _say)
    sys.stdout.writelines(f"{folder}\n" for folder in found.path)


if __name__ == "__main__":
    main()
