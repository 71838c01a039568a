"""On the operator's machine: runs the verifiers beside the gateways, adds what Docker knows, and judges both."""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from deployment.abilities import limits_lacking
from deployment.description import Deployment, Gateway
from deployment.errors import ExitCode, IbgwError
from healthcheck.attachments import Attachments
from healthcheck.check_sequence import OVER_API, with_needs
from healthcheck.docker_host import DockerError, DockerHost, docker_errors
from healthcheck.gateway_run import WATCH_STEP, GatewayRun, Verification
from healthcheck.observation import CheckName
from healthcheck.reachability import ReachabilityRounds
from healthcheck.report import Report
from healthcheck.verifier_container import Verifiers, sweep


def verify(
    deployment: Deployment,
    *,
    gateways: Sequence[str] = (),
    wait: float,
    progress: Callable[[str], None],
    show_accounts: bool = False,
    watch: float = 0,
    checks: Collection[CheckName] | None = None,
    interrupted: threading.Event | None = None,
    acts: bool = True,
) -> Report:
    """Verify gateways of a stack, all at once.

    Docker is asked first what each gateway looks like. Those that can be asked over the API are shared out to
    verifiers, containers that go on asking up to sixteen gateways each and print what they saw; while these start, what
    must not reach the gateways is tried from elsewhere. Each gateway has one thread, which follows what its verifier
    prints until the last attempt, or until Docker shows that waiting is no use, and adds what Docker knows: who can
    reach the gateway, and what really runs. Then everything that was seen of the gateway is judged, once. One more
    thread reads Docker's events now and then. However it ends, all threads are waited for and all containers removed.

    `gateways`: names, none for all. `wait`: seconds to go on while something may heal; 0 is one attempt. `progress`
    gets one line of text at a time, from several threads, already redacted. `watch`: seconds for which isolation is
    watched at least. `checks`: to run these and what they need, and report these and what went wrong before them; none
    means all. `interrupted`: set it from another thread, and all ends soon and leaves nothing behind. `acts`: a gateway
    whose credentials were rejected is stopped, and the report says so; `look` leaves it as it is. Raises IbgwError when
    nothing could be run.
    """
    chosen = _chosen(deployment, gateways)
    over = interrupted or threading.Event()
    with DockerHost(deployment.docker_host) as docker:
        networks = [gateway.api.network for gateway in chosen]
        attachments = Attachments(docker, networks, deployment.egress_network)
        with docker_errors(f"Docker host {deployment.docker_host}", "check the daemon and verify again"):
            left = sweep(docker, deployment)
            attachments.begin()
            lacking = limits_lacking(docker.info())
        if left:
            progress(f"removed {left} of the verifier's objects that an earlier run left behind")
        with (
            Verifiers(docker, deployment, progress) as verifiers,
            ThreadPoolExecutor(max_workers=len(chosen) + 1, thread_name_prefix="verify") as pool,
            _watched(attachments),
            _set_at_end(over),
        ):
            rounds = ReachabilityRounds(docker, deployment, verifiers.starting)
            shared = Verification(
                docker=docker,
                deployment=deployment,
                wait=wait,
                watch=watch,
                asked=checks,
                show_accounts=show_accounts,
                acts=acts,
                progress=progress,
                interrupted=over,
                lacking=lacking,
                attachments=attachments,
                rounds=rounds,
                verifiers=verifiers,
            )
            runs = [GatewayRun(shared, gateway) for gateway in chosen]
            targets = [target for target in pool.map(GatewayRun.begin, runs) if target is not None]
            names = [name for name in CheckName if name in with_needs(checks) & OVER_API]
            askable = [run.gateway for run in runs if run.can_be_asked]
            verifiers.start(askable, names, wait=wait, show_accounts=show_accounts)
            first_round = pool.submit(rounds.ask, targets)
            reports = list(pool.map(lambda run: run.report(first_round), runs))
    return Report.of(deployment.stack, reports)


def look(deployment: Deployment, **options: Any) -> Report:
    """`verify`, with its options, for whoever only looks: whatever is found, the gateways stay as they are."""
    return verify(deployment, **options, acts=False)


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
def _set_at_end(event: threading.Event) -> Iterator[None]:
    """Also after Ctrl-C, so that the threads which are waited for then end soon."""
    try:
        yield
    finally:
        event.set()


@contextmanager
def _watched(attachments: Attachments) -> Iterator[None]:
    """Docker's events are read now and then meanwhile: it remembers only so many."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(WATCH_STEP):
            try:
                attachments.look()
            except DockerError:
                # The next look takes in this time as well; the last one, which is a gateway's own, tells.
                continue

    thread = threading.Thread(target=watch, name="watch-attachments")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
