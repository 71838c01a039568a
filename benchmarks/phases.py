"""`ibgw verify` with a clock: `python -m benchmarks.phases SPAWNED verify ...`, what follows being ibgw's own words.

`SPAWNED`: `time.time()` just before this process was started. The same code runs as for `ibgw`; a few functions of it
are wrapped. Prints the moments as JSON to standard error, last.
"""

import functools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from operations import cli


def main() -> int:
    spawned = float(sys.argv[1])
    moments: dict[str, float] = {}

    def wrap(owner: Any, name: str) -> None:
        wrapped: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(wrapped)
        def timed(*arguments: Any, **options: Any) -> Any:
            moments.setdefault(f"{name} begins", time.time() - spawned)
            try:
                return wrapped(*arguments, **options)
            finally:
                moments[f"{name} ends"] = time.time() - spawned

        setattr(owner, name, timed)

    # What `ibgw verify` imports by itself comes first: it is timed as the way to `described_stack`.
    import operations.commands.shared
    import operations.verification
    from healthcheck.gateway_run import GatewayRun

    wrap(operations.commands.shared, "described_stack")
    wrap(operations.verification, "run")
    for name in ("_follow_verifier", "_isolation", "_hygiene"):
        wrap(GatewayRun, name)
    code = cli.run(sys.argv[2:])
    sys.stdout.flush()
    moments["end"] = time.time() - spawned
    sys.stderr.write(f"{json.dumps(moments)}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
