"""The last step of `pulumi up`: the gateways are verified, and the update is green only if they are."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pulumi

from deployment.description import Deployment
from deployment.errors import ExitCode, IbgwError, kind
from deployment.kept import keep
from deployment.paths import kept_file, pictures, update_report, writable_again
from deployment.tables import Token
from infra.failure import failed, uncoloured
from infra.spec import StackSpec

ONLY = "IBGW_VERIFY_ONLY"
"""In the environment: the names, with commas, of the gateways that an update of chosen targets is for (`ibgw rollout`).
The others are as they were before, and are not verified after it."""


def chosen_gateways() -> list[str]:
    """Their names; none where the update is for all."""
    return [name for name in os.environ.get(ONLY, "").split(",") if name]


_STATE = "pulumi:pulumi:readStackResourceOutputs"
"""The engine's own function: what the state holds, with what this update has made and not yet deleted."""


async def _recorded(stack: str) -> frozenset[str]:
    """The ids of the gateways' containers in the state, and of the prober's, as the components registered them. Raises
    IbgwError."""
    try:
        state = await pulumi.runtime.invoke_async(_STATE, {"stackName": stack})
        told = [
            resource["outputs"]
            for resource in state["outputs"].values()
            if resource["type"] in (Token.GATEWAY, Token.MONITORING)
        ]
        return frozenset(str(outputs["container_id"]) for outputs in told if "container_id" in outputs)
    except Exception as error:  # noqa: BLE001 - the engine raises a bare Exception, whose text may hold anything
        raise IbgwError(f"the engine did not tell the state of stack {stack!r} ({kind(error)})") from None


def _progress(line: str) -> None:
    pulumi.log.info(uncoloured(line), ephemeral=True)


@contextmanager
def interruption() -> Iterator[threading.Event]:
    """Set when the update is interrupted: the verification then ends soon, and removes its containers."""
    event, signals = threading.Event(), (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # Only the main thread may take signals.
    loop = asyncio.get_running_loop() if threading.current_thread() is threading.main_thread() else None
    if loop is not None:
        for number in signals:
            loop.add_signal_handler(number, event.set)
    try:
        yield event
    finally:
        event.set()
        if loop is not None:
            for number in signals:
                loop.remove_signal_handler(number)


def verify_after_update(deployment: pulumi.Output[dict[str, Any]], spec: StackSpec) -> None:
    """Verifies once everything is up, at every update and in no preview.

    The result is no output: an output that fails would leave the stack without any after a first update, when they are
    needed most. It goes to the diagnostics and to `.ibgw/reports/<stack>.update.json`.
    """
    if pulumi.runtime.is_dry_run():
        return
    # Here, since a preview verifies nothing and should not wait for what a verification loads.
    from healthcheck.human import render_human
    from healthcheck.runner import verify

    project = Path(pulumi.get_root_directory())

    async def run(value: dict[str, Any]) -> int:
        loop = asyncio.get_running_loop()
        described = Deployment.model_validate(value)
        try:
            keep(described, project)
        except OSError as error:
            pulumi.log.warn(
                f"{kept_file(project, spec.stack)} cannot be written ({error.strerror}); {writable_again(error)}"
            )
        try:
            with interruption() as interrupted:
                report = await asyncio.to_thread(
                    verify,
                    described,
                    gateways=chosen_gateways(),
                    wait=spec.verification_timeout.total_seconds() if spec.verification_timeout else None,
                    progress=_progress,
                    interrupted=interrupted,
                    pictures=pictures(project, spec.stack),
                    recorded=lambda: asyncio.run_coroutine_threadsafe(_recorded(spec.stack), loop).result(),
                )
        except IbgwError as error:
            raise failed(f"the verification of stack {spec.stack!r} could not run: {error}") from None
        report.write(update_report(project, spec.stack), pulumi.log.warn)
        text = render_human(report)
        if report.exit_code != ExitCode.OK:
            raise failed(text)
        pulumi.log.info(uncoloured(text))
        return report.exit_code

    _: pulumi.Output[int] = deployment.apply(run)
