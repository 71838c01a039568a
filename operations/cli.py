"""`ibgw`: the application, how its errors are shown, and the console script.

The commands are in `operations/commands`. Other packages add subcommands through the entry point group `ibgw.commands`:
the entry's name is the subcommand, its value a typer app.
"""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import FrameType, ModuleType, TracebackType
from typing import Annotated, Any, NoReturn

import typer
import typer.completion
import typer.main

from deployment import VERSION
from deployment.errors import MEANINGS, ExitCode, IbgwError, fault_in_words, words
from deployment.paths import writable_again
from operations.commands.shared import say, takes_stack

COMMANDS = (
    "init",
    *("verify", "plan", "rollout", "drift", "env", "forward", "status", "doctor", "logs", "screen", "start", "stop"),
    *("restart", "login", "credentials", "reset_settings", "repair", "destroy", "promote", "rollback", "releases"),
    *("report", "field_report", "alerts"),
    *("completion", "help"),
)
"""In the order of the help; each is a module of `operations.commands` and the function of that name in it, or the
typer app, where it has subcommands. What a docstring is too short for stands in its `HELP`."""

GROUP = "ibgw.commands"
"""The entry point group of the subcommands that other packages bring."""

COMPLETE = "_IBGW_COMPLETE"
"""Set by what `ibgw completion` prints."""

TRACE = "IBGW_TRACE"
"""Set to 1, this variable makes an internal error show where it happened: files, lines and functions, no values."""

ENDINGS: dict[int, ExitCode] = {signal.SIGTERM: ExitCode.TERMINATED, signal.SIGHUP: ExitCode.HUNG_UP}
"""Signals that end the program in order: as from a service manager, and from a terminal that is closed."""

PLAIN: dict[str, Any] = {
    "rich_markup_mode": None,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
"""Help as plain text: quick to make and the same in a terminal and in a pipe."""


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(VERSION)
        raise typer.Exit


def build_app(chosen: str | None = None) -> typer.Typer:
    """With the chosen command alone if it is one of ours, which is quicker, else with all."""
    app = typer.Typer(name="ibgw", no_args_is_help=True, **PLAIN)

    @app.callback(epilog=exit_codes(ExitCode))
    def ibgw(
        _version: Annotated[
            bool, typer.Option("--version", "-V", callback=show_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        """Deploy and look after Interactive Brokers gateways. Stacks are deployed with `pulumi up --stack NAME`."""

    ours = (chosen or "").replace("-", "_")
    for name in (ours,) if ours in COMMANDS else COMMANDS:
        module = import_module(f"operations.commands.{name}")
        command = getattr(module, name)
        if isinstance(command, typer.Typer):
            for below in command.registered_commands:
                assert below.callback is not None
                below.epilog = epilog(module, below.name or below.callback.__name__)
            app.add_typer(command, name=name, no_args_is_help=True, epilog=epilog(module))
        else:
            app.command(help=getattr(module, "HELP", None), epilog=epilog(module))(takes_stack(command))
    return app


def epilog(command: ModuleType, below: str = "") -> str:
    """What stands below a command's options: how it is called, and how it ends. `below`: of which of its own."""
    called = [example for example in command.EXAMPLES if f" {below} " in example or not below]
    examples = "\n".join(("\b", "Examples:", *(f"  {example}" for example in called)))
    codes = {ExitCode.OK, ExitCode.BAD_USAGE, ExitCode.COULD_NOT_RUN, *getattr(command, "EXIT_CODES", ())}
    return f"{examples}\n\n{exit_codes(codes)}"


def exit_codes(codes: Iterable[ExitCode]) -> str:
    return "\n".join(("\b", "Exit codes:", *(f"  {code:>3}  {MEANINGS[code]}" for code in sorted(codes))))


def add_foreign_commands(app: typer.Typer, chosen: str | None) -> None:
    """Adds the subcommands of other packages. Only the chosen one is imported; the others are names in the help."""
    for entry in entry_points(group=GROUP):
        if entry.name == chosen:
            app.add_typer(load(entry), name=entry.name)
        else:
            app.add_typer(_placeholder(entry), name=entry.name)


def load(entry: EntryPoint) -> typer.Typer:
    """Raises IbgwError (internal error) for an entry that is broken, naming it: it must not fail in silence."""
    try:
        loaded = entry.load()
    except (ImportError, AttributeError, SyntaxError) as error:
        raise IbgwError(
            f"The subcommand {entry.name!r} ({entry.value}) cannot be loaded: {words(error)}. The other commands work.",
            exit_code=ExitCode.INTERNAL_ERROR,
        ) from None
    if not isinstance(loaded, typer.Typer):
        raise IbgwError(
            f"The subcommand {entry.name!r} ({entry.value}) is no typer app.",
            exit_code=ExitCode.INTERNAL_ERROR,
        )
    return loaded


def _placeholder(entry: EntryPoint) -> typer.Typer:
    app = typer.Typer(help=f"Commands of {entry.value.partition(':')[0]}; see `ibgw {entry.name} --help`.")
    app.callback(invoke_without_command=True)(lambda: None)
    return app


def explain_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What an unexpected error looks like. Never the exception's text: it may quote what it choked on."""
    frames = traceback.extract_tb(trace)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
    with suppress(OSError):
        what = f"this is a bug in ibgw, not a verdict: {kind.__name__} at {where}"
        say(f"ibgw: sorry, {what}.")
        tell_program(sys.argv, ExitCode.INTERNAL_ERROR, what)
        if os.environ.get(TRACE) == "1":
            say("".join(f"  {frame.filename}:{frame.lineno} in {frame.name}\n" for frame in frames).rstrip())
        else:
            say(f"Run it again with {TRACE}=1 to see how it came there (files and lines, no values), and report that.")


def could_not_write(error: OSError) -> int | None:
    """The exit code for what a disk, a folder's rights or a closed pipe refused, and its words; None for what is none
    of these."""
    if error.filename is None:
        if error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO):
            return None
        # What is still in the stream goes nowhere: otherwise Python complains of it at its own end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        # Whoever read has enough (`ibgw logs | head`).
        return ExitCode.PIPE_CLOSED
    where = "what this command prints or keeps" if error.filename is None else error.filename
    try:
        say(f"ibgw: {where}: {error.strerror}; {writable_again(error)}. Then try again.")
        sys.stderr.flush()
    except OSError:
        # Not even standard error takes it: the exit code has to do, and Python must not replace it by its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return ExitCode.COULD_NOT_RUN


def know_shells() -> None:
    """What typer does for applications that have its own options for completion."""
    typer.completion.get_completion_inspect_parameters()


def _completed() -> list[str]:
    """The words of the command line that a shell asks to complete; none where this is no such question."""
    if COMPLETE not in os.environ:
        return []
    know_shells()
    return (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]


def tell_program(arguments: Sequence[str], code: ExitCode, text: str) -> None:
    """A failure as JSON where JSON was asked for: standard output holds nothing else then."""
    if "--json" in arguments or "--format json" in " ".join(arguments).replace("=", " "):
        from operations.answers import Failed

        typer.echo(Failed(exit_code=code, error=text).as_line())


def interrupted(number: int, _frame: FrameType | None) -> NoReturn:
    """These end the program like Ctrl-C does: what it started is cleaned up on the way, which a second one, as a shell
    that is closed sends it, does not break off."""
    for ending in ENDINGS:
        signal.signal(ending, signal.SIG_IGN)
    sys.exit(ENDINGS[number])


def run(arguments: Sequence[str]) -> int:
    """The exit code of one command line. Unexpected exceptions pass through."""
    chosen = next(iter(arguments or _completed()), None)
    app = build_app(chosen)
    try:
        add_foreign_commands(app, chosen)
        ended = typer.main.get_command(app).main(list(arguments), prog_name="ibgw", standalone_mode=False)
    except IbgwError as error:
        say(f"ibgw: {error}")
        tell_program(arguments, error.exit_code, str(error))
        return error.exit_code
    except typer.TyperException as error:
        return wrong_usage(arguments, error)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except SystemExit as end:
        # Where a pipe is closed typer ends with 1, which means a bug.
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        return end.code if isinstance(end.code, int) else ExitCode.INTERNAL_ERROR
    return ended if isinstance(ended, int) else ExitCode.OK


def wrong_usage(arguments: Sequence[str], error: typer.TyperException) -> int:
    """What the command line should have been, in typer's words, and of a value in ours: there it quotes pydantic."""
    if callable(faults := getattr(error.__cause__, "errors", None)):
        [fault, *_] = faults()
        error.message = fault_in_words(fault)
        if "error" not in fault.get("ctx", {}):
            error.message = f"found {fault['input']!r}; {error.message}"
    error.show()  # type: ignore[attr-defined]  # which all have that come of a command line
    tell_program(arguments, ExitCode.BAD_USAGE, error.format_message())
    return ExitCode.BAD_USAGE


def main() -> NoReturn:
    """The console script."""
    # An uncaught exception ends Python with exit code 1, ExitCode.INTERNAL_ERROR; only its text is ours to choose.
    sys.excepthook = explain_crash
    for number in ENDINGS:
        # Who starts a program with nohup wants it to go on.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupted)
    try:
        code = run(sys.argv[1:])
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        refused = could_not_write(error)
        if refused is None:
            raise
        code = refused
    sys.exit(code)
