"""`ibgw`: the commands that people run around a deployment.

This module parses words and prints answers; the work is elsewhere and is imported by the command that needs it, so that
`ibgw --help` stays quick. Other packages add subcommands through the entry point group `ibgw.commands`: the entry's
name is the subcommand, its value a typer app.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import typer.main

from deployment import VERSION
from deployment.errors import ExitCode, IbgwError

if TYPE_CHECKING:
    import docker

    from deployment.description import Deployment, Gateway
    from healthcheck.report import CheckName
    from operations.lifecycle import Act

COMMANDS = "ibgw.commands"
"""The entry point group of the subcommands that other packages bring."""

TRACE = "IBGW_TRACE"
"""Set to 1, this variable makes an internal error show where it happened: files, lines and functions, no values."""

Stack = Annotated[str, typer.Option("--stack", "-s", metavar="NAME", help="The stack, such as paper or live.")]
OptionalStack = Annotated[
    str | None, typer.Option("--stack", "-s", metavar="NAME", help="The stack, such as paper or live.")
]
OneGateway = Annotated[
    str | None, typer.Option("--gateway", "-g", metavar="NAME", help="Which gateway; needed if there are several.")
]
Gateways = Annotated[
    list[str] | None, typer.Option("--gateway", "-g", metavar="NAME", help="Only this gateway; may be repeated.")
]
ShowAccounts = Annotated[
    bool, typer.Option("--show-accounts", help="Show account numbers in full instead of DU***567.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


class PlanFormat(StrEnum):
    """Of a plan, which operations.plan renders."""

    HUMAN = "human"
    JSON = "json"
    MARKDOWN = "markdown"


class Gate(StrEnum):
    """What `ibgw plan --fail-on` stops at (operations.plan.FailOn)."""

    RELOGIN = "relogin"
    REPLACE = "replace"
    ANY = "any"


class Format(StrEnum):
    """Of a report. What each looks like is in operations.formats, which takes long to import."""

    HUMAN = "human"
    JSON = "json"
    JUNIT = "junit"
    PROMETHEUS = "prometheus"


PLAIN: dict[str, Any] = {
    "rich_markup_mode": None,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
"""Help as plain text: quick to make and the same in a terminal and in a pipe."""


def say(text: str) -> None:
    """Progress and questions go to standard error; standard output holds the answer alone."""
    typer.echo(text, err=True)


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(VERSION)
        raise typer.Exit


def build_app() -> typer.Typer:
    app = typer.Typer(name="ibgw", no_args_is_help=True, **PLAIN)

    @app.callback()
    def ibgw(
        _version: Annotated[
            bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        """Deploy and look after Interactive Brokers gateways. Stacks are deployed with `pulumi up --stack NAME`."""

    app.command()(verify)
    app.command()(plan)
    app.command()(rollout)
    app.command()(drift)
    app.command(help=env_help())(env)
    app.command()(forward)
    app.command()(status)
    app.command()(doctor)
    app.command()(logs)
    app.command()(start)
    app.command()(stop)
    app.command()(restart)
    app.command()(login)
    app.command()(reset_settings)
    app.command()(repair)
    app.command()(promote)
    app.command()(rollback)
    app.command()(releases)
    return app


def verify(
    stack: OptionalStack = None,
    gateway: Gateways = None,
    deployment: Annotated[
        Path | None,
        typer.Option("--contract", metavar="FILE", help="Read the contract from a file (- for stdin), without Pulumi."),
    ] = None,
    wait: Annotated[
        str, typer.Option(metavar="DURATION", help="How long to retry what may heal by itself, such as 90s; 0s: once.")
    ] = "10m",
    watch: Annotated[
        str, typer.Option(metavar="DURATION", help="Watch at least so long, such as 5m, who attaches to the API.")
    ] = "0s",
    checks: Annotated[
        list[str] | None,
        typer.Option("--checks", metavar="NAMES", help="Only these and what they need, with commas or repeated."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 4 instead of 0 if there are warnings.")] = False,
    output: Annotated[
        Format, typer.Option("--format", help="For people, for programs, for CI, or for node_exporter's textfiles.")
    ] = Format.HUMAN,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    show_accounts: ShowAccounts = False,
) -> None:
    """Prove that a trader could trade, by these checks in this order:

    reachable, connected, authenticated, account_access, market_data, order_capability, isolation, hygiene.

    The report is also written to .ibgw/reports/NAME.json beside Pulumi.yaml. Exit code: 0 verified, 3 failed,
    4 warnings (--strict), 5 could not run, 6 timed out.
    """
    seconds, watched = duration(wait, "--wait"), duration(watch, "--watch")
    from operations import verification
    from operations.formats import RENDERERS
    from operations.stack import choose_gateways, read_contract

    chosen_checks = check_names(checks or [])
    target = read_contract(stack, deployment)
    report = verification.run(
        target,
        [chosen.name for chosen in choose_gateways(target, gateway or [])],
        wait=seconds,
        watch=watched,
        checks=chosen_checks,
        strict=strict,
        show_accounts=show_accounts,
        progress=say,
    )
    typer.echo(RENDERERS[Format.JSON if as_json else output](report))
    raise typer.Exit(report.exit_code)


def plan(
    stack: Stack,
    output: Annotated[
        PlanFormat, typer.Option("--format", help="For people, for programs, or for a pull request's comment.")
    ] = PlanFormat.HUMAN,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    fail_on: Annotated[
        Gate | None,
        typer.Option(
            "--fail-on",
            help="Exit with 9 if a running gateway logs in again (relogin), if one is replaced or removed (replace), "
            "or if anything changes (any).",
        ),
    ] = None,
) -> None:
    """Show what `pulumi up` would do to each gateway: who logs in again, for how long it is away, and why.

    Changes nothing. Verdicts: none, in_place, relogin, relogin_second_factor, create, remove.
    """
    from operations.plan import RENDERERS, FailOn, read, warnings
    from operations.stack import Stack as PulumiStack

    preview = PulumiStack(stack).preview()
    found = read(stack, preview)
    for text in warnings(preview):
        typer.echo(text, err=True)
    typer.echo(RENDERERS[PlanFormat.JSON if as_json else output](found))
    if fail_on is not None and found.hits(FailOn(fail_on)):
        raise typer.Exit(ExitCode.GATE_HIT)


def rollout(
    stack: Stack,
    gateway: Annotated[
        str, typer.Option("--gateway", "-g", metavar="PATTERN", help="Only those of this name; * and ? stand for any.")
    ] = "*",
    max_failures: Annotated[
        int, typer.Option("--max-failures", metavar="N", min=0, help="Go on after so many that are not verified.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Take what waits to be deployed to running gateways, one after the other: the first is the canary, and each is
    verified before the next. What is as declared already is verified only, and first.

    Stops after more failures than allowed, and while a second factor is pending; the same command goes on.
    Exit code: 0 all are verified, 3 some failed, 5 an update broke off, 6 one waits for its second factor,
    7 refused, nothing was changed.
    """
    from operations.rollout import rollout as run
    from operations.stack import Stack as PulumiStack

    done = run(PulumiStack(stack), gateway, max_failures=max_failures, say=say)
    if as_json:
        print_json(done.json())
    else:
        typer.echo("\n".join(one.human() for one in done.gateways))
    raise typer.Exit(done.exit_code)


def drift(stack: Stack, as_json: Json = False) -> None:
    """Tell what was changed on the Docker host since the last update, by whomever. Changes nothing itself.

    Names what differs and shows no value that could be secret. Exit code: 0 no drift, 9 drift, 5 could not look.
    """
    from operations.drift import as_json as rendered
    from operations.drift import human, look
    from operations.stack import Stack as PulumiStack

    found = look(PulumiStack(stack))
    typer.echo(rendered(found) if as_json else human(found))
    if found.differences:
        raise typer.Exit(ExitCode.GATE_HIT)


def status(stack: Stack, as_json: Json = False) -> None:
    """Show all gateways of a stack at a glance: state, since when, account, latency, restarts, image, next and last
    planned restart.

    Asks each gateway now, by its API; the exit code is that of the answers, as for verify.
    """
    from datetime import UTC, datetime

    from healthcheck.runner import verify as ask
    from operations.stack import read_contract
    from operations.status import CHECKS, rows, table

    deployment = read_contract(stack, None)
    report = ask(deployment, wait=0, checks=CHECKS, progress=lambda _: None)
    now = datetime.now(UTC)
    with closing(docker_of(deployment)) as client:
        found = rows(client, deployment, report, now)
    if as_json:
        print_json([row.json() for row in found])
    else:
        typer.echo(table(found, now))
    raise typer.Exit(report.exit_code)


def doctor(stack: Stack, gateway: Gateways = None, as_json: Json = False) -> None:
    """Verify, then walk through what usually is wrong: what was found, and the one command to run next.

    Topics: container, authentication, lockout, port, firewall, settings, second factor, schedule, time zone.
    """
    from healthcheck.runner import verify as ask
    from operations.doctor import collect, examine, render
    from operations.formats import human
    from operations.stack import choose_gateways, read_contract

    deployment = read_contract(stack, None)
    chosen = [one.name for one in choose_gateways(deployment, gateway or [])]
    report = ask(deployment, gateways=chosen, wait=0, progress=say)
    with closing(docker_of(deployment)) as client:
        found = {one.gateway: examine(collect(client, deployment, one)) for one in report.gateways}
    if as_json:
        print_json({name: [finding.json() for finding in findings] for name, findings in found.items()})
    else:
        typer.echo(human(report))
        for name, findings in found.items():
            typer.echo(f"\n{render(f'{stack}/{name}', findings)}")
    raise typer.Exit(report.exit_code)


def env(stack: Stack, gateway: OneGateway = None, as_json: Json = False) -> None:
    from operations.client import client_environment
    from operations.stack import choose_gateway, read_contract

    deployment = read_contract(stack, None)
    variables = client_environment(deployment, choose_gateway(deployment, gateway))
    if as_json:
        print_json(variables)
    else:
        typer.echo("\n".join(f"{name}={value}" for name, value in variables.items()))


def env_help() -> str:
    """The help of `ibgw env`, with every variable it prints."""
    from operations.client import VARIABLES

    width = max(len(name) for name in VARIABLES) + 2
    table = "\n".join(f"{name:{width}}{meaning}" for name, meaning in VARIABLES.items())
    return (
        "Print what a client needs, as KEY=value lines for a shell or a compose env file.\n\n"
        f"docs/examples has a bot and a compose file that use them.\n\n\b\n{table}"
    )


def forward(
    stack: Stack,
    gateway: OneGateway = None,
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", min=1, max=65535, help="The local port.", show_default="4002 on paper, 4001 live"),
    ] = None,
    vnc: Annotated[
        bool, typer.Option("--vnc", help="The gateway's screen, where it is on, instead of its API.")
    ] = False,
) -> None:
    """Open a port on this machine's loopback that leads to a gateway, until Ctrl-C. Nothing is published.

    Whoever can open a connection to 127.0.0.1 on this machine can use the gateway meanwhile.
    """
    from deployment.description import VNC_PORT, Mode
    from operations.forward import forward as run
    from operations.prompt import confirm_by_name
    from operations.stack import choose_gateway, read_contract

    deployment = read_contract(stack, None)
    chosen = choose_gateway(deployment, gateway)
    if deployment.mode is Mode.LIVE:
        confirm_by_name(
            f"Stack {deployment.stack!r} is live: while this runs, anyone on this machine can trade with real money.",
            deployment.stack,
        )
    run(deployment, chosen, port or (VNC_PORT if vnc else chosen.api.inner_port), say, vnc=vnc)


def logs(
    stack: Stack,
    gateway: Gateways = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with each line as it comes.")] = False,
    tail: Annotated[int, typer.Option("--tail", "-n", min=0, help="How many lines of each gateway.")] = 100,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DURATION", help="Nothing older than this, such as 2h.")
    ] = None,
    known: Annotated[bool, typer.Option("--known", help="Only the lines that say something of the login.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    show_accounts: ShowAccounts = False,
) -> None:
    """Show what gateways wrote: when (UTC), which gateway, what the line means for the login, the line.

    Credentials are masked, and account numbers unless --show-accounts.
    """
    age = None if since is None else timedelta(seconds=duration(since, "--since"))
    from operations.logs import read
    from operations.stack import choose_gateways, read_contract

    deployment = read_contract(stack, None)
    chosen = choose_gateways(deployment, gateway or [])
    width = max(len(one.name) for one in chosen)
    with closing(docker_of(deployment)) as client:
        for line in read(client, deployment, chosen, tail=tail, since=age, follow=follow, show_accounts=show_accounts):
            if line.state is not None or not known:
                typer.echo(line.json() if as_json else line.human(width))


def start(stack: Stack, gateway: Gateways = None) -> None:
    """Start stopped gateways. Each logs in again, on live perhaps with a phone approval."""
    from operations import lifecycle

    for_each_gateway(lifecycle.start, stack, gateway)


def stop(
    stack: Stack,
    gateway: Gateways = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="Only for so long, such as 2h; then they log in.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="HH:MM", help="Only until this time of day, in each gateway's own time zone."),
    ] = None,
) -> None:
    """Stop gateways, with time to log out. They stay stopped until `ibgw start`.

    With --for or --until they only log out for a while, whatever restarts, updates or reboots them meanwhile. Their
    login afterwards gives way to a session that a person has open then.
    """
    from operations import lifecycle

    if for_ is not None and until is not None:
        raise IbgwError("stop: --for and --until exclude each other: choose one.", exit_code=ExitCode.BAD_USAGE)
    if for_ is None and until is None:
        for_each_gateway(lifecycle.stop, stack, gateway)
        return
    length = None if for_ is None else pause_length(for_)

    def pause(
        client: "docker.DockerClient", deployment: "Deployment", chosen: "Gateway", say: Callable[[str], None]
    ) -> None:
        end = lifecycle.pause_end(chosen, length=length, until=until)
        lifecycle.pause(client, deployment, chosen, say, until=end)

    for_each_gateway(pause, stack, gateway)


def restart(
    stack: Stack,
    gateway: Gateways = None,
    soft: Annotated[
        bool, typer.Option("--soft", help="Let them restart themselves, which keeps the session: no login.")
    ] = False,
) -> None:
    """Stop gateways, with time to log out, and start them. Each logs in again, perhaps with a phone approval."""
    from operations import lifecycle

    for_each_gateway(lifecycle.soft_restart if soft else lifecycle.restart, stack, gateway)


def login(
    stack: Stack,
    gateway: OneGateway = None,
    again: Annotated[
        bool, typer.Option("--again", help="Grant one more attempt, although two failed. Needed: it may cost a lock.")
    ] = False,
) -> None:
    """Let a gateway log in that the start guard holds back after two failed attempts with one version of its secret.

    Check the credentials first, by logging in at IBKR's site: too many wrong attempts lock the account.
    """
    from operations import lifecycle
    from operations.stack import choose_gateway, read_contract

    if not again:
        raise IbgwError(
            "login: nothing was done. Gateways log in by themselves; to grant one more attempt to a secret that failed "
            "twice, add --again.",
            exit_code=ExitCode.BAD_USAGE,
        )
    deployment = read_contract(stack, None)
    chosen = choose_gateway(deployment, gateway)
    with closing(docker_of(deployment)) as client:
        lifecycle.login_again(client, deployment, chosen, typer.echo)


def reset_settings(
    stack: Stack,
    gateway: OneGateway = None,
    restore: Annotated[
        Path | None, typer.Option("--restore", metavar="FILE", help="Put this backup back instead of emptying.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking; on live the stack is typed.")] = False,
) -> None:
    """Empty a gateway's settings volume, after a backup to .ibgw/backups. The gateway logs in anew.

    Says what is lost and asks first. The start guard's counts stay.
    """
    from deployment.description import Mode
    from deployment.paths import backups, project_folder
    from operations import settings_reset
    from operations.prompt import confirm, confirm_by_name
    from operations.stack import choose_gateway, read_contract

    deployment = read_contract(stack, None)
    chosen = choose_gateway(deployment, gateway)

    def ask(question: str) -> None:
        if deployment.mode is Mode.LIVE:
            confirm_by_name(question, deployment.stack)
        elif not yes:
            confirm(question)

    with closing(docker_of(deployment)) as client:
        if restore is not None:
            ask(f"{chosen.container.name} is stopped, gets the settings of {restore}, and logs in anew. Go on?")
            settings_reset.restore(client, deployment, chosen, restore, say=typer.echo)
        else:
            kept = backups(project_folder())
            settings_reset.reset(client, deployment, chosen, ask=ask, say=typer.echo, backups=kept)


def repair(
    stack: Stack,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Put a stack right after an interrupted `pulumi up`. Shows what it will do, and asks.

    Removes a stale lock, pending operations, and containers and networks that no state knows; volumes stay.
    """
    from operations.prompt import confirm
    from operations.repair.command import repair as run
    from operations.stack import Stack as PulumiStack

    outcome = run(PulumiStack(stack), yes=yes, say=say, ask=confirm)
    if as_json:
        print_json(outcome.as_json())
        return
    for note in outcome.notes:
        typer.echo(f"Note: {note}.")
    typer.echo(
        f"Stack {stack!r} is put right. Bring it up with `pulumi up --stack {stack}`."
        if outcome.done
        else f"Nothing to repair in stack {stack!r}."
    )


Live = Annotated[str, typer.Option("--to", metavar="NAME", help="The live stack.")]
Typed = Annotated[
    str | None, typer.Option("--yes", metavar="NAME", help="Do not ask: the live stack's name, as one would type it.")
]


def promote(
    source: Annotated[str, typer.Option("--from", metavar="NAME", help="The paper stack.")] = "paper",
    target: Live = "live",
    soak: Annotated[
        str, typer.Option(metavar="DURATION", help="For how long paper must stay verified: at least three times.")
    ] = "30m",
    release: Annotated[
        str | None, typer.Option("--release", metavar="ID", help="Deploy this one, which was prepared.")
    ] = None,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Verify paper and write the release; deploy nothing.")
    ] = False,
    resume: Annotated[bool, typer.Option("--continue", help="Go on with a promotion that is under way.")] = False,
    require_market_data: Annotated[
        bool, typer.Option("--require-market-data", help="Insist on a live quote on paper.")
    ] = False,
    during_market: Annotated[
        bool, typer.Option("--during-market", help="Also within live's ibgw:tradingHours.")
    ] = False,
    yes: Typed = None,
) -> None:
    """Take what runs verified on paper to live: verify it for a while, write the release, show the plan, ask, deploy,
    verify, keep it, or go back.

    Exit code: 0 live runs it, verified; 6 live waits for a second factor or for IBKR (then --continue); 7 refused,
    nothing was changed; 8 you said no; 10 it failed, and live runs the release before, verified; 11 it failed, and
    live needs a person.
    """
    if sum((resume, prepare, release is not None)) > 1:
        raise IbgwError(
            "--continue, --prepare and --release exclude each other: choose one.", exit_code=ExitCode.BAD_USAGE
        )
    seconds = duration(soak, "--soak")
    from operations.promotion import command

    if resume:
        raise typer.Exit(command.resume_promotion(target, say=say))
    options = command.Options(
        source=source,
        target=target,
        soak=seconds,
        release=release,
        prepare=prepare,
        require_market_data=require_market_data,
        during_market=during_market,
    )
    raise typer.Exit(command.promote(options, say=say, confirm=confirmation(yes)))


def rollback(
    target: Annotated[str, typer.Option("--stack", "-s", metavar="NAME", help="The live stack.")] = "live",
    release: Annotated[
        str | None,
        typer.Option("--to", metavar="ID", help="To this release.", show_default="the one that ran before"),
    ] = None,
    yes: Typed = None,
) -> None:
    """Take live back to an earlier release, also out of a promotion that failed or hangs. One login.

    Exit code: 0 live runs it, verified; 6 and 11 as for promote; 7 refused, nothing was changed; 8 you said no.
    """
    from operations.promotion.command import rollback as run

    raise typer.Exit(run(target, release, say=say, confirm=confirmation(yes)))


def releases(
    stack: Annotated[str, typer.Option("--stack", "-s", metavar="NAME", help="The live stack.")] = "live",
    as_json: Json = False,
) -> None:
    """List the releases: what was verified on paper, by whom, and when live was brought to it. * is what it runs."""
    from deployment.paths import project_folder
    from infra.release import RELEASES
    from operations.promotion.journal import Journal
    from operations.releases import listed, table
    from operations.stack import Stack as PulumiStack

    live, folder = PulumiStack(stack), project_folder()
    current = live.deployment().release if live.deployed() else None
    rows = listed(folder / RELEASES, live.history(), current)
    under_way = Journal.of(folder, stack).read()
    if as_json:
        entry = None if under_way is None else under_way.model_dump(mode="json", by_alias=True)
        print_json({"schema": 1, "stack": stack, "under_way": entry, "releases": [row.json() for row in rows]})
        return
    typer.echo(table(rows))
    if under_way is not None:
        typer.echo(f"\n{under_way.describe()}. Next: {under_way.next_command}")


def confirmation(typed: str | None) -> Callable[[str, str], None]:
    """Asks for a name to be typed, or takes the one that `--yes` was given."""
    from operations.prompt import confirm_by_name

    def confirm(question: str, name: str) -> None:
        if typed is None:
            confirm_by_name(question, name)
        elif typed != name:
            raise IbgwError(
                f"--yes {typed}: expected {name}, the name of the stack; nothing was done.",
                exit_code=ExitCode.DECLINED,
            )

    return confirm


def for_each_gateway(act: "Act", stack: str, names: list[str] | None) -> None:
    """One of lifecycle's acts for the named gateways, or all."""
    from operations.stack import choose_gateways, read_contract

    deployment = read_contract(stack, None)
    chosen = choose_gateways(deployment, names or [])
    with closing(docker_of(deployment)) as client:
        for gateway in chosen:
            act(client, deployment, gateway, typer.echo)


def docker_of(deployment: "Deployment") -> "docker.DockerClient":
    from healthcheck.docker_host import open_docker

    return open_docker(deployment.docker_host)


def pause_length(text: str) -> timedelta:
    """Raises IbgwError (bad usage)."""
    seconds = duration(text, "--for")
    if not 60 <= seconds <= 7 * 86_400:
        raise IbgwError(f"--for {text}: expected 1m to 168h.", exit_code=ExitCode.BAD_USAGE)
    return timedelta(seconds=seconds)


def duration(text: str, option: str) -> float:
    """Seconds. Raises IbgwError (bad usage)."""
    from deployment.durations import parse_duration

    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise IbgwError(f"{option}: {error}.", exit_code=ExitCode.BAD_USAGE) from None


def check_names(texts: Sequence[str]) -> "frozenset[CheckName] | None":
    """None for all. Raises IbgwError (bad usage)."""
    from healthcheck.check_sequence import named

    try:
        return named(texts)
    except ValueError as error:
        raise IbgwError(f"--checks: {error}.", exit_code=ExitCode.BAD_USAGE) from None


def print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))


def add_foreign_commands(app: typer.Typer, chosen: str | None) -> None:
    """Adds the subcommands of other packages. Only the chosen one is imported; the others are names in the help."""
    for entry in entry_points(group=COMMANDS):
        if entry.name == chosen:
            app.add_typer(load(entry), name=entry.name)
        else:
            app.add_typer(_placeholder(entry), name=entry.name)


def load(entry: EntryPoint) -> typer.Typer:
    """Raises IbgwError (internal error) for an entry that is broken, naming it: it must not fail in silence."""
    try:
        found = entry.load()
    except (ImportError, AttributeError, SyntaxError) as error:
        raise IbgwError(
            f"The subcommand {entry.name!r} ({entry.value}) cannot be loaded: {type(error).__name__}: {error}. "
            "The other commands work.",
            exit_code=ExitCode.INTERNAL_ERROR,
        ) from None
    if not isinstance(found, typer.Typer):
        raise IbgwError(
            f"The subcommand {entry.name!r} ({entry.value}) is a {type(found).__name__}, not a typer app.",
            exit_code=ExitCode.INTERNAL_ERROR,
        )
    return found


def _placeholder(entry: EntryPoint) -> typer.Typer:
    app = typer.Typer(help=f"Commands of {entry.value.partition(':')[0]}; see `ibgw {entry.name} --help`.")
    app.callback(invoke_without_command=True)(lambda: None)
    return app


def explain_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What an unexpected error looks like. Never the exception's text: it may quote what it choked on."""
    frames = traceback.extract_tb(trace)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
    say(f"ibgw: sorry, this is a bug in ibgw, not a verdict: {kind.__name__} at {where}.")
    if os.environ.get(TRACE) == "1":
        say("".join(f"  {frame.filename}:{frame.lineno} in {frame.name}\n" for frame in frames).rstrip())
    else:
        say(f"Run it again with {TRACE}=1 to see how it came there (files and lines, no values), and report that.")


def interrupted(_signal: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends the program like Ctrl-C does: what it started is cleaned up on the way."""
    sys.exit(ExitCode.TERMINATED)


def run(arguments: Sequence[str]) -> int:
    """The exit code of one command line. Unexpected exceptions pass through."""
    app = build_app()
    try:
        add_foreign_commands(app, arguments[0] if arguments else None)
        typer.main.get_command(app).main(list(arguments), prog_name="ibgw")
    except IbgwError as error:
        say(f"ibgw: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.INTERNAL_ERROR
    return ExitCode.OK


def main() -> NoReturn:
    """The console script."""
    # An uncaught exception ends Python with exit code 1, ExitCode.INTERNAL_ERROR; only its text is ours to choose.
    sys.excepthook = explain_crash
    signal.signal(signal.SIGTERM, interrupted)
    sys.exit(run(sys.argv[1:]))
