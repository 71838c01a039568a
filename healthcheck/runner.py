"""On the operator's machine: runs the verifier beside each gateway and joins what it saw with what Docker knows."""

import json
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from deployment.description import Deployment
from deployment.errors import ExitCode, IbgwError
from healthcheck.attachments import Attachments
from healthcheck.check_sequence import OVER_API, with_needs
from healthcheck.docker_host import docker_errors, open_docker
from healthcheck.gateway_run import GatewayRun, Verification
from healthcheck.reachability import ReachabilityProber
from healthcheck.redact import Redactor
from healthcheck.report import CheckName, Report
from healthcheck.verifier_container import Verifier, sweep, together


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
) -> Report:
    """Verify gateways of a stack, all at once.

    `gateways`: names, none for all. `wait`: seconds to go on while something may heal; 0 is one attempt. `progress`
    gets one line of text at a time, from several threads, already redacted. `watch`: seconds for which isolation is
    watched at least. `checks`: to run these and what they need, and report these and what went wrong before them; none
    means all. `interrupted`: set it from another thread, and all ends soon and leaves nothing behind. Raises IbgwError
    when nothing could be run.
    """
    unknown = sorted(set(gateways) - set(deployment.gateways))
    if unknown:
        raise IbgwError(
            f"no gateway {', '.join(unknown)} in stack {deployment.stack}; "
            f"expected one of: {', '.join(deployment.gateways)}",
            exit_code=ExitCode.BAD_USAGE,
        )
    wanted = [deployment.gateways[name] for name in gateways or deployment.gateways]
    client = open_docker(deployment.docker_host)
    over = interrupted or threading.Event()
    verifiers: dict[str, Future[Verifier]] = {}
    attachments = Attachments(client, [gateway.api.network for gateway in wanted], deployment.egress_network)
    try:
        with docker_errors(f"Docker host {deployment.docker_host}", "check the daemon and verify again"):
            left = sweep(client, deployment)
            attachments.begin()
        if left:
            progress(f"removed {left} of the verifier's objects that an earlier run left behind")
        # Two for each gateway: one that follows it and, at most, one that starts its verifier.
        with (
            ReachabilityProber(client, deployment, verifiers) as looks,
            ThreadPoolExecutor(max_workers=2 * len(wanted), thread_name_prefix="verify") as pool,
        ):
            shared = Verification(
                client=client,
                deployment=deployment,
                wait=wait,
                watch=watch,
                asked=checks,
                show_accounts=show_accounts,
                progress=progress,
                interrupted=over,
                attachments=attachments,
                looks=looks,
                verifiers=verifiers,
            )
            runs = [GatewayRun(shared, gateway) for gateway in wanted]
            try:
                found = [future.result() for future in [pool.submit(run.begin) for run in runs]]
                targets = [target for target in found if target is not None]
                names = [name for name in CheckName if name in with_needs(checks) & OVER_API]
                for group in together([run for run in runs if run.can_be_asked]):
                    beside = [run.gateway for run in group]
                    started = pool.submit(
                        Verifier, client, deployment, beside, names, wait=wait, show_accounts=show_accounts
                    )
                    verifiers.update({one.name: started for one in beside})
                views = looks.ask(targets)
                reports = [future.result() for future in [pool.submit(run.report, views) for run in runs]]
            finally:
                # Also after Ctrl-C: leaving the pool waits for the threads, which remove their probes.
                over.set()
                futures = [one for one in set(verifiers.values()) if not one.cancel()]
                running = [one.result() for one in futures if one.exception() is None]
                for verifier in running:
                    verifier.leave(*deployment.gateways)
                for complaint in filter(None, [verifier.gone() for verifier in running]):
                    progress(Redactor().text(complaint))
    finally:
        client.close()
    return Report.of(deployment.stack, reports)


def write_report(report: Report, path: Path) -> None:
    """Keep a report as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    text = json.dumps(report.model_dump(mode="json", by_alias=True), indent=2, ensure_ascii=False)
    unfinished.write_text(text + "\n", encoding="utf-8")
    unfinished.replace(path)
