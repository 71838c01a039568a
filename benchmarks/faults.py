"""Fifteen faults, put to three ways of running the same gateway image, all in one run and by one judge.

Run: `python -m benchmarks.faults [--faults NAME,...] [--json]`; it brings a sandbox of its own up, and down again. The
ways are a setup guide's compose file with its script of metrics and its alert, the sample compose file of the image's
own repository, and this project with its watcher. Each fault has a gateway of its own, with a user of its own, in each
way. The first two are made through the Docker API as compose would make them. The faults begin one after the other and
last side by side. Every few seconds all are asked, by the checks of a verification, whether a trader could trade.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import docker
from docker.types import Healthcheck

from benchmarks import processes
from benchmarks.console import progress, say
from benchmarks.own_sandbox import own_sandbox
from benchmarks.sandbox import machine, moment
from deployment.description import PORTS, Api, ClientIds, Deployment, Gateway, Mode
from deployment.names import Names
from healthcheck.check_sequence import OVER_API
from healthcheck.checks import checks_over, session_for
from healthcheck.monitoring.metrics import UP
from healthcheck.observation import CheckName
from healthcheck.session import Timeouts
from healthcheck.verdict import gateway_verdict
from sandbox.docker_engine import SANDBOX_LABEL
from sandbox.environment import Sandbox
from sandbox.processes import wait_until
from sandbox.secrets_manager import Credential

PREFIX = "ibgw-faults"
GUIDE, SAMPLE, OURS = "guide", "sample", "ours"
WAYS = (GUIDE, SAMPLE, OURS)
STACK = "paper-faults"

APART = 5.0
"""Seconds between the beginnings of two faults."""
CURED = 120.0
"""Seconds after which what caused a fault is over, where somebody else puts it right."""
WINDOW = 290.0
"""Seconds for which each fault is looked at."""
EVERY = 4.0
"""Seconds between two looks at all."""
AT_ONCE = 8
METRIC_EVERY = 30.0
"""Seconds between two rounds of the guide's script."""
ALERT_FOR = 120.0
"""Seconds for which the guide's alert waits."""
STRANDED = "session-stranded:120"
"""IBKR keeps a session that ended without a logout open for hours, as users report; two minutes here."""

JUDGE = Timeouts(connect=2, handshake=3, ready=3, request=3, quote=3, settle=0.2)
ASKED = OVER_API - {CheckName.ORDER_CAPABILITY}
COUNTED = ("attempts", "logins", "soft_logins", "second_factor_prompts", "stranded_sessions")


@dataclass
class Contender:
    """One gateway. `up`: what was found, in order: seconds since its fault began, and whether a trader could trade.
    `metric`: the same of the guide's own. `notices`: seconds, and what somebody could see or was told."""

    way: str
    fault: str
    name: str
    user: str
    port: int = 0
    began: float = 0.0
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    locked: bool = False
    unhealthy: bool = False
    up: list[tuple[float, bool]] = field(default_factory=list)
    metric: list[tuple[float, bool]] = field(default_factory=list)
    notices: list[tuple[float, str]] = field(default_factory=list)
    told: list[tuple[float, str]] = field(default_factory=list)

    @property
    def since(self) -> float:
        return time.time() - self.began


@dataclass(frozen=True)
class Fault:
    """`begin` has it happen; `end` puts right what caused it, after CURED seconds. `in_process`: what is wrong sits in
    the gateway's process, and is gone once that has logged in anew."""

    line: str
    begin: Callable[["Run", Contender], None]
    end: Callable[["Run", Contender], None] | None = None
    in_process: bool = False


@dataclass(frozen=True)
class Result:
    """`noticed`: seconds until somebody could see it, and `by` what. `back`: seconds from the end of the cause (of the
    fault's beginning, where nobody puts it right) until a trader could trade for good, None for not at all. `away`:
    whether one could not at any time."""

    fault: str
    way: str
    noticed: float | None
    by: str
    back: float | None
    away: bool
    counted: dict[str, int]
    locked: bool
    told: list[str]


def scenario(name: str, *, restart: bool = False) -> Callable[["Run", Contender], None]:
    def begin(run: "Run", one: Contender) -> None:
        run.broker.scenario(name, one.user)
        if restart:
            run.restart(one)

    return begin


def kill_gateway(run: "Run", one: Contender) -> None:
    """As the kernel does where memory is short: the largest process goes."""
    init = run.pid(one)
    found = processes.all_processes()
    inside = processes.descendants(init, found) - {init}
    largest = max(inside, key=lambda pid: processes.memory([pid]).rss)
    os.kill(largest, signal.SIGKILL)


def lose_power(run: "Run", one: Contender) -> None:
    run.broker.scenario(STRANDED, one.user)
    os.kill(run.pid(one), signal.SIGKILL)


FAULTS: Mapping[str, Fault] = {
    "refused": Fault(
        "a start with a password that is wrong for two minutes",
        scenario("wrong-password", restart=True),
        scenario("normal"),
    ),
    "login-failed": Fault(
        "a start whose logins fail for two minutes",
        scenario("login-failed-restart", restart=True),
        scenario("normal"),
    ),
    "competing": Fault(
        "a start while another session is open for two minutes",
        scenario("competing-session", restart=True),
        scenario("normal"),
    ),
    "taken-over": Fault("somebody logs in elsewhere as the user", scenario("session-taken-over")),
    "factor-missed": Fault(
        "nobody answers the second factor of a start", scenario("push-unanswered", restart=True), scenario("normal")
    ),
    "factor-late": Fault(
        "the second factor of a start is approved after two minutes",
        scenario("push-pending", restart=True),
        lambda run, one: run.approve(one),
    ),
    "nightly": Fault("the nightly restart", scenario("nightly-restart")),
    "weekly": Fault("the week ends, and its session", scenario("weekly-login")),
    "wedged": Fault("the API accepts and never answers", scenario("api-wedged"), in_process=True),
    "half-open": Fault("the API gives accounts and no order id", scenario("api-half-open"), in_process=True),
    "farm": Fault("a market data farm is away for two minutes", scenario("farm-broken"), scenario("normal")),
    "reboot": Fault("the host restarts: docker restart, and IBKR keeps what did not log out",
                    scenario(STRANDED, restart=True)),
    "power": Fault("the host loses its power: the first process is killed", lose_power),
    "memory": Fault("the kernel kills the gateway's process", kill_gateway),
    "connectivity": Fault(
        "the connection to IBKR is lost for two minutes",
        scenario("connectivity-lost"),
        scenario("connectivity-restored"),
    ),
}  # fmt: skip


class Run:
    """All of it, on a sandbox that is up."""

    def __init__(self, sandbox: Sandbox, faults: Sequence[str], window: float) -> None:
        self.sandbox = sandbox
        self.client = sandbox.client()
        self.broker = sandbox.broker()
        self.window = window
        self.names = Names(sandbox.prefix, STACK)
        self.faults = {name: FAULTS[name] for name in faults}
        self.contenders: list[Contender] = []
        self._stack = sandbox.add_stack(
            STACK,
            gateways={"main": None, **{name: {"session": _nothing_planned()} for name in faults}},
            monitoring={"enabled": True},
        )
        self._template: Gateway | None = None
        self._watcher = ""

    # --- what runs ----------------------------------------------------------------------------------------------------

    def deploy(self) -> None:
        progress("the guide's and the sample's containers")
        for way, make in ((GUIDE, self._guide), (SAMPLE, self._sample)):
            users = self._users(f"paper-{way}")
            network = self.client.networks.create(
                f"{self.sandbox.prefix}-{way}_default", driver="bridge", labels={SANDBOX_LABEL: self.sandbox.prefix},
                ipam=docker.types.IPAMConfig(
                    pool_configs=[docker.types.IPAMPool(subnet=self.sandbox.pool(f"faults-{way}"))]
                ),
            )  # fmt: skip
            for fault, user in users.items():
                name = f"{self.sandbox.prefix}-{way}-{fault}"
                port = _free_port()
                assert network.name is not None
                make(name, user, network.name, port)
                self.contenders.append(Contender(way, fault, name, user.user_id, port=port))
        progress("pulumi up of this project's")
        self._pulumi("up", "--yes", "--skip-preview")
        deployment = Deployment.model_validate_json(self._pulumi("stack", "output", "contract", "--json"))
        assert deployment.monitoring is not None
        self._watcher = deployment.monitoring.watcher.id
        self._template = next(iter(deployment.gateways.values()))
        for fault in self.faults:
            user_id = self.sandbox.user_of(STACK, fault)
            self.contenders.append(Contender(OURS, fault, self.names.gateway(fault), user_id))

    def _pulumi(self, *words: str) -> str:
        command = ["pulumi", *words, "--non-interactive", "--color", "never", "--stack", STACK]
        done = subprocess.run(command, env={**os.environ, **self._stack.env}, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def _users(self, stack: str) -> dict[str, Credential]:
        added = self.sandbox.add_stack(stack, gateways={"main": None, **{name: {} for name in self.faults}})
        known = {credential.secret_id: credential for credential in self.sandbox.credentials()}
        gateways = added.config["config"]["ibgw:gateways"]
        return {name: known[gateways[name]["credentials"]["secretId"]] for name in self.faults}

    def _guide(self, name: str, user: Credential, network: str, port: int) -> None:
        """../setup-guide's compose file: variables that the image does not know, and a health check of a port."""
        second = 10**9
        self._plain(
            name,
            network,
            restart="unless-stopped",
            environment={
                "TWS_USERID": user.user_id, "TWS_PASSWORD": user.password, "TRADING_MODE": "paper",
                "TWS_ACCEPT_INCOMING": "accept", "TWS_LOGOFF_TIME": "22:00", "TWS_RESTART_TIME": "06:00",
                "TWS_TIMEZONE": "America/New_York",
            },
            ports={"4002/tcp": ("127.0.0.1", port)},
            volumes={f"{name}-settings": {"bind": "/root/Jts", "mode": "rw"}},
            healthcheck=Healthcheck(
                test=["CMD", "nc", "-z", "localhost", "4002"], interval=30 * second, timeout=10 * second, retries=3,
                start_period=60 * second,
            ),
        )  # fmt: skip

    def _sample(self, name: str, user: Credential, network: str, port: int) -> None:
        """The image's docker-compose.yml with its .env-dist: what a user of it has to fill in, and else as it is."""
        self._plain(
            name,
            network,
            restart="always",
            environment={
                "TWS_USERID": user.user_id, "TWS_PASSWORD": user.password, "TRADING_MODE": "paper",
                "TWS_ACCEPT_INCOMING": "manual", "READ_ONLY_API": "no", "TWOFA_TIMEOUT_ACTION": "restart",
                "AUTO_RESTART_TIME": "11:59 PM", "RELOGIN_AFTER_TWOFA_TIMEOUT": "yes", "TWOFA_EXIT_INTERVAL": "60",
                "EXISTING_SESSION_DETECTED_ACTION": "primary", "ALLOW_BLIND_TRADING": "no",
                "TIME_ZONE": "Europe/Zurich", "TZ": "Europe/Zurich", "CUSTOM_CONFIG": "NO",
            },
            ports={"4004/tcp": ("127.0.0.1", port)},
        )  # fmt: skip

    def _plain(self, name: str, network: str, *, restart: str, **options: Any) -> None:
        policy: Any = {"Name": restart, "MaximumRetryCount": 0}
        self.client.containers.run(
            self.sandbox.gateway_image,
            name=name,
            detach=True,
            network=network,
            labels={SANDBOX_LABEL: self.sandbox.prefix},
            restart_policy=policy,
            **options,
        )

    # --- what is done -------------------------------------------------------------------------------------------------

    def pid(self, one: Contender) -> int:
        return int(self.client.api.inspect_container(one.name)["State"]["Pid"])

    def restart(self, one: Contender) -> None:
        """By the command, which waits as long as the container says."""
        subprocess.Popen(["docker", "restart", one.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def approve(self, one: Contender) -> None:
        self.broker.approve(one.user)
        self.broker.clear(one.user)

    async def watch(self) -> None:
        """Until each fault has had its time."""
        start = time.time()
        for at, name in enumerate(self.faults):
            for one in self.contenders:
                if one.fault == name:
                    one.began = start + APART * (at + 1)
        begun: set[int] = set()
        ended: set[int] = set()
        until = start + APART * len(self.faults) + self.window
        limit = asyncio.Semaphore(AT_ONCE)
        while (now := time.time()) < until:
            status = self.broker.status()["users"]
            for one in self.contenders:
                fault, counted = self.faults[one.fault], status[one.user]
                if now >= one.began and id(one) not in begun:
                    begun.add(id(one))
                    one.before = {key: int(counted[key]) for key in COUNTED}
                    one.unhealthy = self._unhealthy(one)
                    one.began = time.time()
                    fault.begin(self, one)
                elif id(one) in begun:
                    one.locked |= counted["locked_for"] > 0
                    again = counted["logins"] + counted["soft_logins"]
                    if (
                        fault.in_process
                        and id(one) not in ended
                        and again > one.before["logins"] + one.before["soft_logins"]
                    ):
                        ended.add(id(one))
                        self.broker.clear(one.user)
                    if fault.end is not None and id(one) not in ended and one.since >= CURED:
                        ended.add(id(one))
                        fault.end(self, one)
            await asyncio.gather(*(self._look(one, limit) for one in self.contenders if id(one) in begun))
            await asyncio.sleep(max(0.0, EVERY - (time.time() - now)))
        status = self.broker.status()["users"]
        for one in self.contenders:
            one.after = {key: int(status[one.user][key]) for key in COUNTED}

    def _unhealthy(self, one: Contender) -> bool:
        health = self.client.api.inspect_container(one.name)["State"].get("Health") or {}
        return health.get("Status") == "unhealthy"

    async def _look(self, one: Contender, limit: asyncio.Semaphore) -> None:
        if one.since > self.window:
            return
        async with limit:
            state = await asyncio.to_thread(self.client.api.inspect_container, one.name)
            one.up.append((one.since, await self._could_trade(one, state)))
            if one.way == GUIDE:
                if one.since >= (one.metric[-1][0] + METRIC_EVERY if one.metric else METRIC_EVERY / 2):
                    one.metric.append((one.since, await asyncio.to_thread(_accepts, one.port)))
                sick = (state["State"].get("Health") or {}).get("Status") == "unhealthy"
                if sick and not one.unhealthy:
                    one.notices.append((one.since, "health check"))
                one.unhealthy = sick

    async def _could_trade(self, one: Contender, state: Mapping[str, Any]) -> bool:
        """On the relay's port, by the container's own address, whether or not the way's own port leads there."""
        networks = state["NetworkSettings"]["Networks"]
        address = networks.get(self.names.egress_network, next(iter(networks.values())))["IPAddress"]
        if not address:
            return False
        assert self._template is not None
        gateway = self._template.model_copy(
            update={
                "name": one.fault,
                "expected_accounts": (),
                "api": Api(network="", host=address, port=PORTS[Mode.PAPER].client, inner_port=PORTS[Mode.PAPER].inner),
                "client_ids": ClientIds(testing=(900, 989)),
            }
        )
        async with session_for(gateway, JUDGE) as session:
            checks = await checks_over(session, gateway, ASKED)
        return gateway_verdict(checks, gateway, waited=False) in UP

    # --- what came of it ----------------------------------------------------------------------------------------------

    def results(self) -> list[Result]:
        self._read_watcher()
        for one in self.contenders:
            if one.way == GUIDE:
                alerted(one)
        order = {name: at for at, name in enumerate(self.faults)}
        found = sorted(self.contenders, key=lambda one: (order[one.fault], WAYS.index(one.way)))
        return [result(one, self.faults[one.fault]) for one in found]

    def _read_watcher(self) -> None:
        """What the watcher logged: each change of state, and whom it told of what."""
        log: Any = self.client.api.logs(self._watcher, timestamps=True)
        ours = {one.fault: one for one in self.contenders if one.way == OURS}
        for line in log.decode().splitlines():
            stamp, _, text = line.partition(" ")
            with suppress(ValueError):
                event = json.loads(text)
                at = moment(stamp)
                if event["event"] == "state" and (event["verdict"] not in UP or event["reason"] != "none"):
                    one = ours[event["gateway"]]
                    if 0 <= at - one.began <= self.window:
                        one.notices.append((at - one.began, f"watcher: {event['reason'].replace('_', ' ')}"))
                elif event["event"] == "told":
                    for name, one in ours.items():
                        if re.search(rf"\b{name}\b", event["title"]) and 0 <= at - one.began <= self.window:
                            one.told.append((at - one.began, event["title"].partition(": ")[2]))


def alerted(one: Contender) -> None:
    """What the guide's own metric and alert (`ib_gateway_up == 0` for two minutes) would say."""
    down: float | None = None
    for at, up in one.metric:
        if up:
            down = None
        elif down is None:
            down = at
            one.notices.append((at, "metric"))
        elif at - down >= ALERT_FOR and not one.told:
            one.told.append((at, "IB Gateway is down"))


def result(one: Contender, fault: Fault) -> Result:
    first = min(one.notices, default=None)
    return Result(
        fault=one.fault,
        way=one.way,
        noticed=None if first is None else first[0],
        by="nothing" if first is None else first[1],
        back=back(one.up, CURED if fault.end is not None else 0.0),
        away=not all(up for _, up in one.up),
        counted={key: one.after[key] - one.before[key] for key in COUNTED},
        locked=one.locked,
        told=[text for _, text in one.told],
    )


def back(up: Sequence[tuple[float, bool]], cured: float) -> float | None:
    """Seconds from `cured` until it was up for good, 0 where it was before; None where it was not at the end."""
    if not up or not up[-1][1]:
        return None
    down = [at for at, could in up if not could]
    if not down:
        return 0.0
    return max(0.0, next(at for at, could in up if could and at > down[-1]) - cured)


def table(results: Sequence[Result], faults: Mapping[str, Fault]) -> str:
    """Markdown."""
    lines = [
        "| Fault | Way | noticed | by | back | forms | logins | pushes | stranded | locked out | told |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        counted = one.counted
        cells = (
            faults[one.fault].line if one.way == WAYS[0] else "",
            one.way,
            "-" if one.noticed is None else f"{one.noticed:.0f} s",
            one.by,
            ("not away" if not one.away else f"{one.back:.0f} s") if one.back is not None else "no",
            f"{counted['attempts']}",
            f"{counted['logins'] + counted['soft_logins']}",
            f"{counted['second_factor_prompts']}",
            f"{counted['stranded_sessions']}",
            "yes" if one.locked else "no",
            "; ".join(dict.fromkeys(one.told)) or "nothing",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def run(sandbox: Sandbox, faults: Sequence[str], window: float = WINDOW) -> list[Result]:
    """The faults of these names, on a sandbox that is up."""
    made = Run(sandbox, faults, window)
    made.deploy()
    progress("waiting for all to be logged in")
    users = [one.user for one in made.contenders]
    if not wait_until(lambda: _all_in(made, users), seconds=300):
        raise RuntimeError("not all gateways logged in within 300 s")
    progress(f"{len(made.faults)} faults, each looked at for {window:.0f} s")
    asyncio.run(made.watch())
    return made.results()


def _all_in(made: Run, users: Sequence[str]) -> bool:
    known = made.broker.status()["users"]
    return all(known[user]["sessions"] for user in users)


def _nothing_planned() -> dict[str, str]:
    now = datetime.now(ZoneInfo("America/New_York"))
    return {
        "autoRestart": f"{now + timedelta(hours=12):%H:%M}",
        "coldRestart": f"{now + timedelta(hours=9):%H:%M}",
    }


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _accepts(port: int) -> bool:
    """As `nc -z localhost PORT`."""
    try:
        socket.create_connection(("127.0.0.1", port), 3).close()
    except OSError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", default=",".join(FAULTS), help="of " + ", ".join(FAULTS))
    parser.add_argument("--window", type=float, default=WINDOW, metavar="SECONDS")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    before = os.getloadavg()[0]
    with own_sandbox(PREFIX) as sandbox:
        found = run(sandbox, options.faults.split(","), options.window)
    if options.json:
        say(json.dumps([asdict(one) for one in found], indent=1))
    else:
        say(f"{machine(before)}\n\n{table(found, FAULTS)}")


if __name__ == "__main__":
    main()
