"""`ibgw promote` and `ibgw rollback`: what is asked before anything is done, and then the deployment."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deployment.description import Mode
from deployment.errors import ExitCode, IbgwError
from deployment.paths import RELEASES, project_folder
from infra.release import Release, read_release, write_release
from infra.settings import Settings
from operations import releases, verification
from operations.live import Leave, check_hours
from operations.plan import reading, rendering
from operations.plan.model import Plan
from operations.promotion import paper
from operations.promotion.checkout import (
    Program,
    changed_program,
    check_commit,
    check_same_program,
    program_of,
    read_checkout,
)
from operations.promotion.deployer import Say, deploy_release, resume
from operations.promotion.expected import unexpected
from operations.promotion.journal import Entry, Journal, Phase
from operations.promotion.live import REFUSED, LiveStack
from operations.promotion.paper import Watch, refuse
from operations.stack import Stack

Confirm = Callable[[str, str], None]
"""Shows a question and raises IbgwError (declined) unless the name is typed."""

CLOCK = Watch(sleep=time.sleep, now=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class Options:
    """`soak` in seconds. `release`: one that was prepared, instead of what paper runs now. `prepare`: write the release
    and deploy nothing."""

    source: str
    target: str
    soak: float
    release: str | None = None
    prepare: bool = False
    require_market_data: bool = False
    during_market: bool = False


def promote(options: Options, *, say: Say, confirm: Confirm, watch: Watch = CLOCK) -> ExitCode:
    """Raises IbgwError (REFUSED), with nothing changed, unless everything that a promotion needs is there."""
    folder, live = project_folder(), Stack(options.target)
    journal = Journal.of(folder, live.name)
    under_way = journal.read()
    if under_way is not None and under_way.phase is not Phase.STOPPED and not options.prepare:
        raise refuse(f"{under_way.describe()}. Next: {under_way.next_command}")
    settings = _live_settings(live)
    previous = None
    if not options.prepare:
        _check_hours(settings, options, watch.now())
        previous = under_way.previous if under_way is not None else _last_verified(live)
        if previous is not None:
            # The way back.
            check_commit(folder, read_release(folder / RELEASES, previous).commit)
    written = None
    if options.release is None:
        release = _verified(options, folder, live, say, watch)
        written = write_release(folder / RELEASES, release)
    else:
        release = _prepared(options.release, options, folder, live)
    try:
        _show_plan(live, release, say, unread=options.prepare)
    except IbgwError:
        if written is not None:
            written.unlink()
        raise
    if options.prepare:
        live.name_release(release.id)
        say(
            f"Release {release.id} is prepared: commit {RELEASES}/{release.id}.json and Pulumi.{live.name}.yaml, then "
            f"deploy it with: ibgw promote --to {live.name} --release {release.id}"
        )
        return ExitCode.OK
    try:
        _check_hours(settings, options, watch.now())
        if previous is not None:
            _tell_way_back(live, read_release(folder / RELEASES, previous), folder, say)
        confirm(f"Bring {live.name} to release {release.id}?", live.name)
    except IbgwError as error:
        if written is not None:
            say(f"Release {release.id} is kept: ibgw promote --to {live.name} --release {release.id}")
        raise error
    entry = Entry(stack=live.name, release=release.id, previous=previous, target=release.id, phase=Phase.DEPLOYING)
    with _ready(live, journal, under_way, say) as worker:
        code = deploy_release(worker, journal, entry, say)
    if code in (ExitCode.OK, ExitCode.ROLLED_BACK):
        say(f"Commit {RELEASES}/ and Pulumi.{live.name}.yaml, so that the next checkout knows what {live.name} runs.")
    return code


def resume_promotion(target: str, *, say: Say) -> ExitCode:
    """`ibgw promote --continue`."""
    live = Stack(target)
    journal = Journal.of(project_folder(), target)
    entry = journal.read()
    if entry is None:
        raise refuse(f"no promotion of {target} is under way; `ibgw releases` shows what it runs")
    say(f"{entry.describe()}: going on.")
    with _telling_what_is_next(journal, say):
        return resume(LiveStack(live, say), journal, entry, say)


def rollback(target: str, to: str | None, *, say: Say, confirm: Confirm) -> ExitCode:
    """Brings live to an earlier release: `to`, or the one that ran before, also out of a promotion that hangs."""
    folder, live = project_folder(), Stack(target)
    _live_settings(live)
    journal = Journal.of(folder, target)
    under_way = journal.read()
    history = live.history()
    current = under_way.release if under_way is not None else _running(live)
    earlier = to or (under_way.previous if under_way else None)
    if earlier is None and current is not None:
        earlier = releases.before(history, current)
    if earlier is None:
        raise refuse(f"{target} ran no release before; `ibgw releases` lists what there is (--to ID)")
    if under_way is None and earlier == current:
        raise refuse(f"{target} runs {earlier} already")
    if earlier not in releases.deployments(history):
        raise refuse(f"{target} has never run {earlier}, verified; what is new is promoted: ibgw promote --release ID")
    release = read_release(folder / RELEASES, earlier)
    check_commit(folder, release.commit)
    if under_way is None:
        with program_of(release, live, folder) as program:
            _tell(_plan_of(program, release.id), say)
    else:
        # Its state may be in the middle of something; a preview of it would say little.
        say(under_way.describe())
    confirm(f"Take {target} back to release {release.id}?", target)
    entry = Entry(
        stack=target, release=current, previous=release.id, target=release.id, phase=Phase.ROLLING_BACK, asked=True
    )
    with _ready(live, journal, under_way, say) as worker:
        if under_way is not None and _same(folder, read_release(folder / RELEASES, under_way.target), release):
            # The update will not replace what was stopped for want of an approval.
            worker.start(under_way.unapproved)
        return deploy_release(worker, journal, entry, say)


@contextmanager
def _ready(live: Stack, journal: Journal, seen: Entry | None, say: Say) -> Iterator[LiveStack]:
    """For a deployment that begins now, after a soak or a question. Raises IbgwError (REFUSED) where another has begun
    since its beginning was read."""
    if journal.read() != seen:
        raise refuse(f"another promotion or rollback of {live.name} began meanwhile; see `ibgw releases`")
    worker = LiveStack(live, say)
    with _telling_what_is_next(journal, say):
        if seen is not None:
            worker.repair()
        yield worker


@contextmanager
def _telling_what_is_next(journal: Journal, say: Say) -> Iterator[None]:
    """However it ends: while something is under way, the last word is how it goes on."""
    try:
        yield
    finally:
        entry = journal.read()
        if entry is not None:
            say(f"{entry.describe()}. Next: {entry.next_command} (or back: ibgw rollback --stack {entry.stack})")


def _tell_way_back(live: Stack, previous: Release, folder: Path, say: Say) -> None:
    """Before it is needed: whether the program of the release before takes today's configuration."""
    with program_of(previous, live, folder) as program:
        if program.commit is None:
            return
        try:
            program.stack.preview(release=previous.id)
        except IbgwError as error:
            say(
                f"Should it fail, it cannot be taken back to {previous.id} as the configuration is now. {error}\n"
                f"{REFUSED.format(live.name)}"
            )


def _same(folder: Path, release: Release, other: Release) -> bool:
    """Whether nothing of a container differs between them."""
    return release.digest == other.digest and not changed_program(folder, release.commit, other.commit)


def _plan_of(program: Program, release: str) -> Plan:
    """What the release's program would do with today's configuration. Raises IbgwError (REFUSED)."""
    try:
        return _plan(program.stack, release)[0]
    except IbgwError as error:
        if program.commit is None:
            raise
        raise IbgwError(f"{error}\n{REFUSED.format(program.stack.name)}", exit_code=error.exit_code) from None


def _prepared(name: str, options: Options, folder: Path, live: Stack) -> Release:
    """A release that was written before, if the program that would deploy it is still the one that paper ran."""
    release = read_release(folder / RELEASES, name)
    read_checkout(folder, apart_from=_apart(live))
    check_same_program(folder, release.commit)
    if options.require_market_data and not release.live_quote:
        raise refuse(f"release {name} was verified without a live quote, and --require-market-data insists on one")
    return release


def _apart(live: Stack) -> tuple[str, str]:
    """What of the checkout a promotion itself changes."""
    return RELEASES, f"Pulumi.{live.name}.yaml"


def _live_settings(live: Stack) -> Settings:
    settings = live.settings()
    if settings.mode is not Mode.LIVE:
        raise refuse(f"{live.name} is a {settings.mode} stack; only live runs releases")
    return settings


def _running(live: Stack) -> str | None:
    """The release that live was last brought to. None where it was never deployed."""
    return live.deployment().release if live.deployed() else None


def _last_verified(live: Stack) -> str | None:
    """The one of the last update that succeeded: verified, since an update succeeds only so."""
    return next(iter(releases.deployments(live.history())), None)


def _check_hours(settings: Settings, options: Options, now: datetime) -> None:
    leave = Leave(during_market=options.during_market)
    check_hours(options.target, leave, "a promotion logs its gateways in again", hours=settings.trading_hours, now=now)


def _verified(options: Options, folder: Path, live: Stack, say: Say, watch: Watch) -> Release:
    """The release that follows from what paper runs, once that is seen to be good for the whole soak."""
    source = Stack(options.source)
    checkout = read_checkout(folder, apart_from=_apart(live))
    deployment = source.deployment()
    paper.check_is_paper(deployment)
    paper.digest_of(deployment)
    say(f"previewing {source.name} and {live.name}")
    pending, _ = _plan(source)
    if pending.changes:
        raise refuse(
            f"{source.name} does not run what this commit declares; deploy it first: pulumi up --stack {source.name}\n"
            f"{rendering.human(pending)}"
        )
    # Live's configuration, its secret, and what of it would change already without a new release.
    current, preview = _plan(live)
    _check_read(preview, unread=options.prepare)
    _check_expected(current)
    report = paper.soak(
        lambda: verification.run(
            source.deployment(),
            [],
            checks=None,
            wait=None,
            watch=0,
            strict=False,
            show_accounts=False,
            progress=say,
            looking=True,
        ),
        options.soak,
        require_market_data=options.require_market_data,
        watch=watch,
        say=say,
    )
    if source.deployment() != deployment or read_checkout(folder, apart_from=_apart(live)) != checkout:
        raise refuse(f"{source.name} or the work tree changed while it was verified; promote again")
    return paper.make_release(deployment, report, checkout, soaked=options.soak, now=watch.now())


def _show_plan(live: Stack, release: Release, say: Say, *, unread: bool) -> None:
    planned, preview = _plan(live, release.id)
    for text in reading.warnings(preview):
        say(text)
    _check_read(preview, unread=unread)
    _check_expected(planned)
    _tell(planned, say)


def _tell(planned: Plan, say: Say) -> None:
    say(rendering.human(planned))
    for gateway in planned.gateways:
        if gateway.asks_second_factor:
            name = f"{planned.stack}/{gateway.gateway}"
            say(f"Have IBKR Mobile at hand: {name} waits for your approval during the update.")


def _plan(stack: Stack, release: str | None = None) -> tuple[Plan, str]:
    """The plan, and the engine's preview that it is read from.

    Raises IbgwError (REFUSED): what the program refuses in a preview, it would refuse in the update.
    """
    try:
        preview = stack.preview(release=release)
    except IbgwError as error:
        raise refuse(str(error)) from None
    return reading.read(stack.name, preview), preview


def _check_read(preview: str, *, unread: bool) -> None:
    """A preview goes on without the secret's value where it may not be read; a promotion does so only to prepare."""
    if not unread and values_unread(preview):
        raise refuse("live's secret cannot be read by this identity, and an update needs its value")


def values_unread(preview: str) -> bool:
    """Whether a preview went on without a secret's value: the one case in which the program has the engine ignore
    changes of something (infra.components.gateway)."""
    steps = json.loads(preview).get("steps") or []
    return any((step.get("newState") or {}).get("ignoreChanges") for step in steps)


def _check_expected(planned: Plan) -> None:
    extra = unexpected(planned)
    if extra:
        raise refuse(
            f"{planned.stack} has changes that no release explains: {', '.join(extra)}. Deploy them by themselves "
            f"first (`ibgw rollout --stack {planned.stack}`), or take them back\n{rendering.human(planned)}"
        )
