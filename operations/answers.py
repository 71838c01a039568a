"""What commands print with `--json`. Each is a model; its schema is in docs/schemas (operations.reference)."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer

from healthcheck.report import Model

Moment = Annotated[datetime, PlainSerializer(lambda at: at.isoformat(timespec="seconds"), str, when_used="json")]


class Answer(Model):
    schema_version: Literal[1] = Field(1, alias="schema")


class Failed(Answer):
    """In place of the answer, where a command could not give one."""

    exit_code: int
    error: str
