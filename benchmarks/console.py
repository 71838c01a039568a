"""Where the benchmarks print."""

import typer


def say(line: str) -> None:
    typer.echo(line)


def progress(line: str) -> None:
    """Beside the result, so that what is printed can be read by a program."""
    typer.echo(line, err=True)
