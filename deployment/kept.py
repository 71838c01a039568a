"""The description of a stack's last update, kept on the operator's machine for when the state cannot be read.

It has no secret in it, as the output has none; account numbers and names of secrets are there, so that only its owner
reads it.
"""

import os
from pathlib import Path

from deployment.description import Deployment
from deployment.paths import kept_file


def keep(deployment: Deployment, project: Path) -> None:
    """Whole or not at all; the file's time is when it was last known to be right. Raises OSError."""
    path = kept_file(project, deployment.stack)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)
    unfinished = path.with_suffix(f".{os.getpid()}.new")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(f"{deployment.model_dump_json(by_alias=True, indent=2)}\n")
    unfinished.replace(path)
