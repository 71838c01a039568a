"""envsubst's substitution, for a base image without gettext: stdin to stdout, `$NAME` and `${NAME}` replaced.

As the real one does: a name is a letter or underscore followed by letters, digits and underscores; an unset variable
becomes empty; any other `$` stays as it is; there is no escape (gettext manual, envsubst).
"""

import os
import re
import sys
from collections.abc import Mapping

_REFERENCE = re.compile(rb"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


def substitute(text: bytes, environment: Mapping[bytes, bytes]) -> bytes:
    """Bytes in, bytes out: a value in any encoding arrives as it is."""
    return _REFERENCE.sub(lambda match: environment.get(match[1] or match[2], b""), text)


def main() -> None:
    sys.stdout.buffer.write(substitute(sys.stdin.buffer.read(), os.environb))
