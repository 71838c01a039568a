"""Where the benchmarks print."""

import typer


def say(line: str) -> None:
    typer.echo(line)
