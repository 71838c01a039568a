"""`python -m healthcheck`: what the verifier's container runs. Needs no Docker and holds no secret.

Prints one JSON object a line. Only the standard library and pydantic besides ib_async: the image stays small.
"""

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from deployment import VERSION
from deployment.description import Gateway
from deployment.errors import ExitCode, faults_in_words
from healthcheck import exposure, exposure_session, probe
from healthcheck.attempts import attempts
from healthcheck.check_sequence import OVER_API, named, with_needs, without_docker
from healthcheck.events import EVENT, AttemptEvent, Event, ProgressEvent, ReportEvent
from healthcheck.observation import CheckName
from healthcheck.redact import RedactingFilter, Redactor
from healthcheck.report import GatewayReport, Report, Vantage, check_result, gateway_report
from healthcheck.text import clean_value


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m healthcheck",
        description="Verify a gateway from where its clients are: from a container on its api network. "
        "Docker is not needed here; `ibgw verify` runs this and adds what Docker knows.",
    )
    top.add_argument("--version", action="version", version=VERSION)
    commands = top.add_subparsers(dest="command", required=True)

    verify = commands.add_parser(
        "verify",
        help="run the checks of a gateway",
        description="Run the checks of a gateway and print one JSON object a line: progress events, then the report. "
        "Exit codes: 0 verified (warnings included), 2 bad usage, 3 failed, 5 nothing that was asked for could run, "
        "6 timed out on something that may heal.",
    )
    source = verify.add_mutually_exclusive_group()
    source.add_argument(
        "--gateway", metavar="FILE", default="-", help="the gateway as JSON, one entry of the contract; - is stdin"
    )
    source.add_argument(
        "--gateway-json", metavar="JSON", action="append", help="the same as an argument; several are verified at once"
    )
    verify.add_argument("--stack", default="STACK", help="the stack's name, for the commands in remedies")
    verify.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="how long to retry what may heal")
    verify.add_argument(
        "--checks",
        metavar="NAMES",
        action="append",
        default=[],
        help=f"run and report only these and what they need, with commas: {', '.join(CheckName)}",
    )
    verify.add_argument(
        "--stay",
        type=float,
        metavar="SECONDS",
        help="for ibgw verify: print what each attempt saw, unjudged, and stay so long afterwards, without a session",
    )
    verify.add_argument("--show-accounts", action="store_true", help="do not mask account numbers")

    exposing = commands.add_parser(
        exposure.COMMAND,
        help="say what is open: working orders and positions",
        description="Print one JSON object: working orders and positions, or why they cannot be read.",
    )
    exposing.add_argument("--gateway-json", metavar="JSON", required=True, help="one entry of the contract")
    exposing.add_argument("--show-accounts", action="store_true", help="do not mask account numbers")

    probing = commands.add_parser("probe", help="say what answers at addresses", description="Say what answers.")
    probing.add_argument("addresses", nargs="+", metavar="ADDRESS:PORT")
    return top


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    run = {"probe": _probe, exposure.COMMAND: _exposure, "verify": _verify}[options.command]
    try:
        return run(options)
    except _UsageError as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.BAD_USAGE


class _UsageError(Exception):
    """A wrong argument: what was found, and what was expected."""


def _gateways(texts: Iterable[str]) -> list[Gateway]:
    try:
        return [Gateway.model_validate_json(text) for text in texts]
    except ValidationError as error:
        wrong = faults_in_words(error.errors(include_url=False, include_input=False))
        raise _UsageError(f"the gateway's JSON is not an entry of the contract: {wrong}") from None


def _read(path: str) -> str:
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise _UsageError(f"--gateway {path}: {error.strerror}; expected a readable JSON file") from None


def _names(texts: Sequence[str]) -> frozenset[CheckName] | None:
    try:
        return named(texts)
    except ValueError as error:
        raise _UsageError(f"--checks: {error}") from None


def _verify(options: argparse.Namespace) -> int:
    gateways = _gateways(options.gateway_json or [_read(options.gateway)])
    names = _names(options.checks)
    wanted = with_needs(names)
    accounts = [account for gateway in gateways for account in gateway.expected_accounts]
    redactor = Redactor(show_accounts=options.show_accounts, accounts=accounts)
    _log_to_stderr(redactor)

    def emit(event: Event) -> None:
        line = json.dumps(clean_value(redactor.value(EVENT.dump_python(event, mode="json"))), ensure_ascii=False)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    async def observe(gateway: Gateway) -> None:
        async for attempt in attempts(gateway, wait=options.wait, names=wanted & OVER_API):
            emit(AttemptEvent(attempt=attempt))

    async def judge(gateway: Gateway) -> GatewayReport:
        async for attempt in attempts(gateway, wait=options.wait, names=wanted & OVER_API):
            if not attempt.last:
                results = tuple(check_result(check, gateway, options.stack) for check in attempt.checks)
                elapsed_ms = attempt.waited_ms + attempt.duration_ms
                emit(ProgressEvent(gateway=gateway.name, elapsed_ms=elapsed_ms, checks=results))
        report = gateway_report(
            gateway,
            options.stack,
            replace(attempt, checks=(*attempt.checks, *without_docker(wanted))),
            waited=options.wait > 0,
            took_ms=attempt.waited_ms + attempt.duration_ms,
            vantage=Vantage(api=True, docker=False),
            asked=names,
        )
        emit(ReportEvent(report=report))
        return report

    async def all_of_them() -> int:
        if options.stay is None:
            return Report.of(options.stack, await asyncio.gather(*map(judge, gateways))).exit_code
        await asyncio.gather(*map(observe, gateways))
        await asyncio.sleep(options.stay)
        return ExitCode.OK

    async def run() -> int:
        task = asyncio.create_task(all_of_them())
        # As process 1 of a container we get no default handler; a cancelled session still disconnects cleanly.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        return ExitCode.TERMINATED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _exposure(options: argparse.Namespace) -> int:
    [gateway] = _gateways([options.gateway_json])
    redactor = Redactor(show_accounts=options.show_accounts, accounts=gateway.expected_accounts)
    _log_to_stderr(redactor)
    exposure = asyncio.run(exposure_session.look(gateway))
    sys.stdout.write(json.dumps(redactor.value(exposure.model_dump(mode="json")), ensure_ascii=False) + "\n")
    return ExitCode.OK


def _probe(options: argparse.Namespace) -> int:
    try:
        probe.main(options.addresses)
    except ValueError as error:
        raise _UsageError(str(error)) from None
    return ExitCode.OK


def _log_to_stderr(redactor: Redactor) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RedactingFilter(redactor))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # ib_async logs what the checks report anyway.
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)


if __name__ == "__main__":
    sys.exit(main())
