"""On the operator's machine: runs the verifiers beside the gateways, adds what Docker knows, and judges both."""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from deployment.description import Deployment, Gateway
from deployment.errors import ExitCode, IbgwError
from deployment.tables import Kind
from healthcheck.attachments import Attachments
from healthcheck.check_sequence import OVER_API, with_needs
from healthcheck.docker_host import DockerHost, docker_errors
from healthcheck.gateway_run import LONGEST, GatewayRun, Verification
from healthcheck.inside import on_networks_of, running_prober
from healthcheck.janitor import janitor
from healthcheck.observation import CheckName
from healthcheck.reachability import ReachabilityRounds
from healthcheck.report import Report
from healthcheck.verifier_container import Verifiers, sweep


def verify(
    deployment: Deployment,
    *,
    gateways: Sequence[str] = (),
    wait: float | None,
    progress: Callable[[str], None],
    show_accounts: bool = False,
    watch: float = 0,
    checks: Collection[CheckName] | None = None,
    interrupted: threading.Event | None = None,
    acts: bool = True,
    recorded: Callable[[], Collection[str]] = tuple,
    pictures: Callable[[str], Path] | None = None,
) -> Report:
    """Verify gateways of a stack, all at once.

    Docker is asked first what each gateway looks like. Those that can be asked over the API are shared out to
    verifiers, containers that go on asking up to sixteen gateways each and print what they saw; while these start, what
    must not reach the gateways is tried from elsewhere. Each gateway has one thread, which follows what its verifier
    prints until the last attempt, or until Docker shows that waiting is no use, and adds what Docker knows: who can
    reach the gateway, and what really runs. Then everything that was seen of the gateway is judged, once. One more
    thread reads Docker's events. However it ends, all other threads are waited for and all containers removed, by a
    janitor where this process is killed.

    `gateways`: names, none for all. `wait`: seconds to go on while something may heal; 0 is one attempt, None as long
    as it is worth it for what is wrong (`Explanation.patience`). `progress` gets one line of text at a time, from
    several threads, already redacted. `watch`: seconds for which isolation is watched at least. `checks`: to
    run these and what they need, and report these and what went wrong before them; none means all. `interrupted`: set
    it from another thread, and all ends soon and leaves nothing behind. `acts`: a gateway whose credentials were
    rejected is stopped, and the report says so; `look` leaves it as it is. `recorded`: asks for the ids of the
    containers that the stack's state holds now, once at most, and only where somebody is found whom the description
    does not know; it may raise IbgwError. `pictures`: for a gateway's name the file for what it shows where a window
    may be why it fails; none is kept in CI, and none without. Raises IbgwError when nothing could be run.
    """
    began = time.monotonic()
    chosen = _chosen(deployment, gateways)
    over = interrupted or threading.Event()
    with DockerHost(deployment.docker_host) as docker:
        networks = [gateway.api.network for gateway in chosen]
        attachments = Attachments(docker, networks, deployment.egress_network)
        with docker_errors(f"Docker host {deployment.docker_host}", "check the daemon and verify again"):
            image = docker.inspect(Kind.IMAGE, deployment.verifier.image_id)
            left = sweep(docker, deployment.name_prefix, deployment.stack)
            attachments.begin()
            isolation = CheckName.ISOLATION in with_needs(checks)
            if isolation:
                attachments.scan()
            host = docker.info()
            prober = running_prober(docker, deployment)
            # Where it is of another version, it may tell in other words.
            if prober is not None and (image is None or prober["Image"] != image["Id"]):
                prober = None
        if left:
            progress(f"removed {left} of the verifier's objects that an earlier run left behind")
        with (
            janitor(deployment.docker_host),
            _watched(attachments if isolation else None) as watching,
            Verifiers(docker, deployment, progress) as verifiers,
            ThreadPoolExecutor(max_workers=len(chosen) + 1, thread_name_prefix="verify") as pool,
            _set_at_end(over, watching),
        ):
            rounds = ReachabilityRounds(docker, deployment, verifiers.starting)
            shared = Verification(
                docker=docker,
                deployment=deployment,
                began=began,
                wait=wait,
                watch=watch,
                asked=checks,
                show_accounts=show_accounts,
                acts=acts,
                progress=progress,
                interrupted=over,
                host=host,
                attachments=attachments,
                rounds=rounds,
                verifiers=verifiers,
                image=image,
                recorded=_once(recorded),
                pictures=pictures,
            )
            runs = [GatewayRun(shared, gateway) for gateway in chosen]
            targets = [target for target in pool.map(GatewayRun.begin, runs) if target is not None]
            names = [name for name in CheckName if name in with_needs(checks) & OVER_API]
            longest = LONGEST if wait is None else wait
            askable = [run.gateway for run in runs if run.can_be_asked]
            beside = [
                run.gateway for run in runs if run.can_be_asked and run.healthy and on_networks_of(prober, run.gateway)
            ]
            if prober is not None and beside:
                verifiers.ask_beside(prober["Id"], beside, names, wait=longest, show_accounts=show_accounts)
            others = [gateway for gateway in askable if gateway not in beside]
            verifiers.start(others, names, wait=longest, show_accounts=show_accounts)
            first_round = pool.submit(rounds.ask, targets)
            reports = list(pool.map(lambda run: run.report(first_round), runs))
    return Report.of(deployment.stack, reports)


def look(deployment: Deployment, **options: Any) -> Report:
    """`verify`, with its options, for whoever only looks: whatever is found, the gateways stay as they are."""
    return verify(deployment, **options, acts=False)


def _once(ask: Callable[[], Collection[str]]) -> Callable[[], Collection[str]]:
    """For many threads."""
    lock, asked = threading.Lock(), cache(ask)

    def answer() -> Collection[str]:
        with lock:
            return asked()

    return answer


def _chosen(deployment: Deployment, names: Sequence[str]) -> list[Gateway]:
    unknown = sorted(set(names) - set(deployment.gateways))
    if unknown:
        raise IbgwError(
            f"no gateway {', '.join(unknown)} in stack {deployment.stack}; "
            f"expected one of: {', '.join(deployment.gateways)}",
            exit_code=ExitCode.BAD_USAGE,
        )
    return [deployment.gateways[name] for name in names or deployment.gateways]


@contextmanager
def _set_at_end(*events: threading.Event) -> Iterator[None]:
    """Also after Ctrl-C, so that the threads which are waited for then end soon."""
    try:
        yield
    finally:
        for event in events:
            event.set()


@contextmanager
def _watched(attachments: Attachments | None) -> Iterator[threading.Event]:
    """Docker's events are read meanwhile, until the event is set; None: they are not needed."""
    over = threading.Event()
    if attachments is not None:
        # Nobody waits for it: it may hear nothing from Docker for a second, and each gateway has taken in all events
        # up to its own end.
        threading.Thread(target=attachments.watch, args=(over,), name="watch-attachments", daemon=True).start()
    try:
        yield over
    finally:
        over.set()
