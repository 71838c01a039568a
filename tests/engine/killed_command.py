"""`ibgw` with one side effect, of a promotion, a rotation or a batch, at which it is killed: run as a program by tests.

Arguments: the effect's name, which of its calls, `before` or `after` it, then the words for `ibgw`. The kill is a
SIGKILL, so that nothing of the program runs after it.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from operations import cli
from operations.batches import Progress
from operations.credentials import rotation
from operations.credentials.secrets_manager import SecretsManager
from operations.promotion import command
from operations.promotion.journal import Journal
from operations.promotion.live import LiveStack

EFFECTS: dict[str, tuple[Any, str]] = {
    "record": (command, "write_release"),
    "journal": (Journal, "write"),
    "close": (Journal, "close"),
    "file": (LiveStack, "name_release"),
    "deploy": (LiveStack, "deploy"),
    "stop": (LiveStack, "stop"),
    "add a version": (SecretsManager, "add"),
    "move a stage": (SecretsManager, "move"),
    "update for a rotation": (rotation, "rollout"),
    "batch": (Progress, "note"),
}


def kill_at(effect: str, call: int, moment: str) -> None:
    owner, name = EFFECTS[effect]
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def effective(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = real(*arguments, **options)
        if calls == call and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    setattr(owner, name, effective)


if __name__ == "__main__":
    kill_at(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    sys.exit(cli.run(sys.argv[4:]))
