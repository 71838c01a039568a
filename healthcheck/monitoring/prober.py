"""`python -m healthcheck.monitoring.prober`: looks at a stack's gateways all the time, from their `api` networks.

It keeps one connection a gateway, sends nothing that could trade, not even a what-if order, and hands what it saw over
to the watcher (healthcheck.monitoring.handover). It serves nothing.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from deployment.description import STATUS_PORT, CheckLevel, Gateway, OrderCapabilityCheck
from deployment.errors import kind
from healthcheck.api_client import ApiError
from healthcheck.automation.status import Status
from healthcheck.check_sequence import OVER_API, all_skipped, not_run
from healthcheck.checks import checks_over, session_for
from healthcheck.checks.authenticated import connectivity_lost
from healthcheck.explain import explained
from healthcheck.maintenance import reset_at
from healthcheck.monitoring import handover, told
from healthcheck.monitoring.handover import (
    CheckSeen,
    Disk,
    Farms,
    GatewaySeen,
    Planned,
    Seen,
    Supervised,
    Weekly,
    Window,
)
from healthcheck.monitoring.metrics import UP
from healthcheck.observation import NEEDS, CheckName, CheckObservation, Observation
from healthcheck.reasons import Reason
from healthcheck.redact import RedactingFilter, Redactor
from healthcheck.schedule import just_planned, next_planned, weekly_login
from healthcheck.session import Session, SessionFailure, Timeouts, Unanswered
from healthcheck.verdict import SEEN_THROUGH_API, check_verdict, gateway_verdict

log = logging.getLogger(__name__)

ON_CONNECTING = (CheckName.REACHABLE, CheckName.CONNECTED)
CHEAP = (*ON_CONNECTING, CheckName.AUTHENTICATED)
ALL = OVER_API - {CheckName.ORDER_CAPABILITY}
RARELY = 300.0
"""Seconds between two runs of all checks while all is well. While something is not, all run at each look."""
SECOND_FACTOR_EVERY = 2.0
"""Seconds between two questions whether a gateway that is not up asks for a second factor."""

UNCLEAN = ("killed", "stranded")
"""How a session ends without a logout (Status.stopped)."""

BROKEN = {2103: "market_data", 2105: "historical", 2157: "definitions"}
WELL = {2104: "market_data", 2108: "market_data", 2106: "historical", 2107: "historical", 2158: "definitions"}
"""Of IBKR's data farms (message codes of the TWS API reference). An inactive one (2107, 2108) comes when needed."""


class Watch:
    """One gateway, looked at again and again."""

    def __init__(self, gateway: Gateway, timeouts: Timeouts | None = None, status_port: int = STATUS_PORT) -> None:
        off = OrderCapabilityCheck(level=CheckLevel.OFF)
        # The write filter refuses what-if orders too of a session for such a gateway.
        self.gateway = gateway.model_copy(
            update={"checks": gateway.checks.model_copy(update={"order_capability": off})}
        )
        self._timeouts = timeouts
        self._status_port = status_port
        self._session: Session | None = None
        self._checks: tuple[CheckObservation, ...] = ()
        self._ran: dict[CheckName, float] = {}
        self._all_at = -RARELY
        self._verified = 0.0
        self._since = 0.0
        self._clock: float | None = None
        self._started: datetime | None = None
        self._restarts = 0
        self._unclean = 0.0
        self._factor: datetime | None = None
        self.seen: GatewaySeen | None = None

    async def look(self) -> GatewaySeen:
        """One look; what was seen stays in `seen`."""
        status = await told.ask(self.gateway, self._status_port)
        self._factor = None if status is None else status.factor
        now = datetime.now(UTC)
        planned = just_planned(self.gateway.schedule, now)
        up = self.seen is not None and self.seen.verdict in UP
        if planned is not None and not self._stands() and (status is None or status.api != "ok"):
            await self.leave()
            checks = tuple(all_skipped(self.gateway, Observation(planned.event, Reason.PLANNED_RESTART)))
        else:
            rarely = time.monotonic() - self._all_at >= RARELY
            checks = await self._check(full=not up or rarely, answers=status is not None and status.api == "ok")
            checks = explained(checks, told.reading(status), self.gateway, now, status=status)
        self._checks = checks
        self.seen = self._handed_over(checks, status, now)
        return self.seen

    async def rest(self, seconds: float) -> None:
        """Until the next look: for so long, or until a gateway that is not up asks for a second factor, which a person
        has three minutes for."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            up = self.seen is not None and self.seen.verdict in UP
            await asyncio.sleep(left if up else min(left, SECOND_FACTOR_EVERY))
            status = None if up else await told.ask(self.gateway, self._status_port)
            if status is not None and status.factor not in (None, self._factor):
                return

    async def leave(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _stands(self) -> bool:
        return self._session is not None and self._session.closed is None

    async def _check(self, *, full: bool, answers: bool) -> tuple[CheckObservation, ...]:
        """Over the connection that stands, else over a new one. `answers`: whether the gateway's first process, which
        makes connections of its own, is answered: then ours is a left-over of a time when nobody was."""
        left_over = answers and self._found(Reason.WEDGED, Reason.HALF_OPEN)
        if self._session is not None and self._stands() and not left_over:
            if self._found(Reason.WEDGED) and not await self._session.heard(0):
                # A wedged gateway keeps each connection that it never answered: the one that there is will do.
                return self._checks
            # One that could not be made, or that was answered late, is made anew.
            if all(_passed(self._checks, name) for name in ON_CONNECTING):
                checks = await self._over(self._session, self._checks, full=full)
                if self._stands():
                    return checks
        await self.leave()
        self._session = session_for(self.gateway, self._timeouts, watching=True)
        return await self._over(self._session, (), full=True)

    def _found(self, *reasons: Reason) -> bool:
        """At the last look."""
        found = {reason for check in self._checks for reason in (check.reason, str(check.data.get(SEEN_THROUGH_API)))}
        return not found.isdisjoint(reasons)

    async def _over(
        self, session: Session, before: Iterable[CheckObservation], *, full: bool
    ) -> tuple[CheckObservation, ...]:
        """`before`: the last look over the same connection, none for a new one."""
        last = {check.name: check for check in before}
        connecting = [last[name] for name in ON_CONNECTING if name in last]
        checks = await checks_over(session, self.gateway, ALL if full else CHEAP, before=connecting)
        if not full:
            for name in (name for name in NEEDS if name in ALL and name not in CHEAP):
                checks.append(not_run(name, self.gateway, checks) or last[name])
        elif any(check.name is CheckName.AUTHENTICATED and check.reason is None for check in checks):
            self._all_at = time.monotonic()
        await self._read_clock(session)
        self._ran |= {check.name: time.time() for check in checks if check is not last.get(check.name)}
        return tuple(checks)

    async def _read_clock(self, session: Session) -> None:
        self._clock = None
        if session.server_version:
            with suppress(SessionFailure, Unanswered):
                self._clock = (await session.server_time()).timestamp() - time.time()

    def _handed_over(self, checks: Sequence[CheckObservation], status: Status | None, now: datetime) -> GatewaySeen:
        verdict, before, moment = gateway_verdict(checks, self.gateway, waited=False), self.seen, now.timestamp()
        if before is None or before.verdict is not verdict:
            self._since = moment
        if verdict in UP and time.monotonic() - self._all_at < RARELY:
            self._verified = moment
        notices = [] if self._session is None else [*self._session.notices]
        coming, weekly = next_planned(self.gateway.schedule, now), weekly_login(self.gateway.schedule, now)
        return GatewaySeen(
            gateway=self.gateway.name,
            mode=self.gateway.mode,
            verdict=verdict,
            since=self._since,
            looked=moment,
            verified=self._verified,
            checks=tuple(
                CheckSeen(
                    name=check.name,
                    verdict=check_verdict(check, self.gateway),
                    reason=check.reason,
                    duration_ms=check.duration_ms,
                    at=self._ran.get(check.name, 0.0),
                )
                for check in checks
            ),
            session=verdict in UP or _passed(checks, CheckName.AUTHENTICATED),
            connectivity=self._stands() and connectivity_lost(notices) is None,
            farms=farms(notices),
            clock=self._clock,
            window=self._window(status, now),
            planned=None if coming is None else Planned(event=coming.event, at=coming.at.timestamp()),
            weekly=weekly and Weekly(last=weekly[0].timestamp(), coming=weekly[1].timestamp()),
            memory_limit=0 if self.gateway.in_place is None else self.gateway.in_place.memory,
            expected=len(self.gateway.clients),
            supervised=None if status is None else self._supervised(status),
        )

    def _window(self, status: Status | None, now: datetime) -> Window:
        """Why it may be away with nobody at fault."""
        if status is not None and status.hold == "offline":
            return "offline"
        if status is not None and status.hold == "paused":
            return "paused"
        if just_planned(self.gateway.schedule, now) is not None:
            return "planned_restart"
        return "none" if reset_at(now, self.gateway.schedule.time_zone) is None else "maintenance"

    def _supervised(self, status: Status) -> Supervised:
        if status.started is not None and status.started != self._started:
            self._restarts += self._started is not None
            self._started = status.started
        # A soft restart, which takes up the saved session, leaves the word of the container's start in place.
        if status.kind == "password":
            self._unclean = _seconds(status.started) if status.stopped in UNCLEAN else 0.0
        times = ("until", "started", "login", "factor", "due", "done")
        words = ("hold", "kind", "attempts", "limit", "logins", "event", "heals", "memory", "clients", "stopped")
        return Supervised(
            **{name: _seconds(getattr(status, name)) for name in times},
            **{name: getattr(status, name) for name in words},
            restarts=self._restarts,
            unclean=self._unclean,
        )


def _passed(checks: Iterable[CheckObservation], name: CheckName) -> bool:
    return any(check.name is name and check.reason is None for check in checks)


def _seconds(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.timestamp()


def farms(notices: Iterable[ApiError]) -> Farms:
    """How many are lost, by what was last said of each."""
    lost: dict[tuple[str, str], bool] = {}
    for notice in notices:
        farm = BROKEN.get(notice.code) or WELL.get(notice.code)
        if farm is not None:
            lost[farm, notice.message.rpartition(":")[2]] = notice.code in BROKEN
    return Farms.model_validate(Counter(farm for (farm, _), is_lost in lost.items() if is_lost))


async def _watch(watch: Watch, interval: float) -> None:
    while True:
        try:
            await watch.look()
        except Exception as error:  # noqa: BLE001 - whatever one gateway makes of us, the others are looked at
            # The next look begins anew.
            log.error("%s: %s", watch.gateway.name, kind(error))
            await watch.leave()
        await watch.rest(interval)


BESIDE_THE_LOG = "/etc/hostname"
"""Docker mounts it into each container, from the folder in which it keeps the container's log."""


def disk() -> Disk:
    """On which the logs of containers grow. Their own files may lie elsewhere (containerd's image store), and volumes
    too. Raises OSError."""
    system = os.statvfs(BESIDE_THE_LOG)
    return Disk(size=system.f_blocks * system.f_frsize, free=system.f_bavail * system.f_frsize)


async def _hand_over(watches: Sequence[Watch], stack: str, interval: float) -> None:
    while True:
        seen = tuple(watch.seen for watch in watches if watch.seen is not None)
        handover.write(Seen(stack=stack, interval=interval, written=time.time(), disk=disk(), gateways=seen))
        await asyncio.sleep(min(interval, 1.0))


async def run(gateways: Sequence[Gateway], stack: str, interval: float) -> None:
    """Until it is cancelled; every connection is closed then. `interval`: seconds between two looks."""
    watches = [Watch(gateway) for gateway in gateways]
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_hand_over(watches, stack, interval))
            for watch in watches:
                group.create_task(_watch(watch, interval))
    finally:
        await asyncio.gather(*(watch.leave() for watch in watches))


def _gateway(text: str) -> Gateway:
    """As an argument has it: an entry of the contract without `secret`, which is nobody's business here."""
    return Gateway.model_validate({**json.loads(text), "secret": {"id": "", "version_id": ""}})


def main(arguments: Sequence[str] | None = None) -> int:
    top = argparse.ArgumentParser(prog="python -m healthcheck.monitoring.prober", description="Watch gateways.")
    top.add_argument("--stack", required=True)
    top.add_argument("--interval", type=float, required=True, metavar="SECONDS")
    top.add_argument("--gateway-json", action="append", required=True, metavar="JSON")
    options = top.parse_args(arguments)
    gateways = [_gateway(text) for text in options.gateway_json]
    redactor = Redactor(show_accounts=False, accounts=[each for one in gateways for each in one.expected_accounts])
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RedactingFilter(redactor))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)

    async def until_told() -> None:
        task = asyncio.create_task(run(gateways, options.stack, options.interval))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await task

    try:
        asyncio.run(until_told())
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
