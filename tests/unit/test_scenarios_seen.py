"""Every scenario as it is seen from outside: by a client of the API, or in the container's log. No row asks the broker.

One row each in `LOGINS` (a login that does not come to its end) or `SEEN` (all others), its source beside it. Codes are
those of the TWS API reference, Message Codes, where nothing else is said; log lines those of IBC 3.24.
"""

import asyncio
import itertools
import signal
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import ib_async
import pytest
from ib_async import LimitOrder, Stock

from sandbox.broker.scenarios import SCENARIOS
from sandbox.gateway.automation import Automation, ColdRestart, GiveUp
from sandbox.gateway.settings import Exit
from tests.unit.gateway_sim_start import Installation, end
from tests.unit.gateway_sim_world import INI, World, world

MONDAY_NOON = 1_795_453_200.0  # 2026-11-23 12:00 in New York
SATURDAY_NOON = MONDAY_NOON - 2 * 86_400
DIALOG = "detected dialog entitled: {}; event=Opened"


@dataclass
class View:
    """What somebody outside has: the gateway's log, its port, and the switch of the scenarios."""

    place: World
    capture: pytest.CaptureFixture[str]
    folder: Path
    lines: list[str] = field(default_factory=list)

    def log(self) -> list[str]:
        """The lines so far, those of the login automation without their stamp."""
        printed = self.capture.readouterr().out.splitlines()
        self.lines += [line.split(" IBC: ", 1)[-1] for line in printed]
        return self.lines

    def set(self, scenario: str) -> None:
        self.place.control.scenario(scenario)

    def until(self, seen: Callable[[], object], what: object = "") -> None:
        deadline = time.monotonic() + 8
        while not seen():
            assert time.monotonic() < deadline, f"never seen: {what}; log: {self.log()}"
            time.sleep(0.02)

    def logged(self, *lines: str) -> None:
        """These lines come in this order, others between them or not."""

        def found() -> bool:
            rest = iter(self.log())
            return all(line in rest for line in lines)

        self.until(found, lines)

    @contextmanager
    def started(self) -> Iterator[Iterator[str]]:
        """The whole program under IBC's start script, logged in, at noon; its further lines."""
        self.place.control.clock(at=MONDAY_NOON)
        process = Installation(self.folder, self.place.broker_port).start(**INI, AutoRestartTime="11:59 PM")
        try:
            assert process.stdout is not None
            lines = (line.rstrip("\n").split(" IBC: ", 1)[-1] for line in process.stdout)
            assert "Configuration tasks completed" in lines
            yield lines
        finally:
            end(process)


# Logins that end somewhere else than in a session: how the process is left, and its last lines.


@dataclass(frozen=True)
class Login:
    ending: str
    lines: list[str]
    ini: dict[str, str] = field(default_factory=dict)


EXISTING = DIALOG.format("Existing session detected")
SECOND_FACTOR = DIALOG.format("Second Factor Authentication")
SECOND_FACTOR_OVER = "detected dialog entitled: Second Factor Authentication; event=Closed"
RELOGIN = {"ReloginAfterSecondFactorAuthenticationTimeout": "yes"}

LOGINS: dict[str, Login] = {
    # IBC has no handler for it (gnzsnz/ib-gateway-docker#252, #253).
    "wrong-password": Login("stays", [DIALOG.format("Unrecognized Username or Password")]),
    # LoginFailedDialogHandler
    "login-failed-restart": Login(
        "cold restart", [DIALOG.format("Login failed"), "Login failed", "Cold restart in progress"]
    ),
    # LoginErrorDialogHandler: the text on a line of its own.
    "login-error": Login(
        "cold restart",
        [
            DIALOG.format("Login Error"),
            "Login error message:",
            "Invalid username or password",
            "Cold restart in progress",
        ],
    ),
    # TooManyFailedLoginAttemptsDialogHandler quotes the text, and acts only with relogin.
    "locked-out": Login(
        "stays",
        [
            DIALOG.format("Login failed"),
            "Too many failed login attempts. Please wait 5 minutes before attempting to re-login again.",
        ],
    ),
    # IBAutomater, HandleServerDisconnectedWindow, quotes the text.
    "login-server-down": Login(
        "cold restart",
        ["Connection to server failed: Server disconnected, please try again", "Cold restart in progress"],
    ),
    # NotCurrentlyAvailableDialogHandler
    "system-unavailable": Login("stays", [DIALOG.format("Login"), "The system is not currently available."]),
    # Prevented from logging in by a dialog (waytrade/ib-gateway-docker#9); its title is a guess.
    "version-refused": Login("stays", [DIALOG.format("IBKR Gateway")]),
    # A dialog that neither IBC nor IBAutomater can answer (IBAutomater, HandleLoginMessages).
    "dialog-blocking": Login("stays", [DIALOG.format("Login Messages")]),
    # LoginManager, secondFactorAuthenticationDialogClosed. After 180 seconds nobody has answered.
    "push-pending": Login(
        "stays",
        [
            SECOND_FACTOR,
            "Second Factor Authentication initiated",
            SECOND_FACTOR_OVER,
            "Duration since login: 180 seconds",
            "Re-login after second factor authentication timeout not required",
        ],
    ),
    "push-unanswered": Login(
        "stays",
        [
            SECOND_FACTOR,
            "Second Factor Authentication initiated",
            SECOND_FACTOR_OVER,
            "Duration since login: 180 seconds",
            "Re-login after second factor authentication timeout not required",
        ],
    ),
    "push-denied": Login(
        "exit 1111",
        [
            "If login has not completed, IBC will exit in 1 seconds",
        ],
        {**RELOGIN, "SecondFactorAuthenticationExitInterval": "1"},
    ),
    # IBC types no code (IbcAlpha/IBC#263, #292, #342): SecondFactorAuthenticationDialogHandler does nothing more.
    "totp-required": Login("waits", [SECOND_FACTOR, "Second Factor Authentication initiated"]),
    # ExistingSessionDetectedDialogHandler, scenarios 3 and 4
    "competing-session": Login(
        "exit 0",
        [
            EXISTING,
            "Don't know the type of the other session, so continue this one (scenario 3)",
            DIALOG.format("Re-login is required"),
            "Re-login to session",
            EXISTING,
            "Other session must be primary or primary override, so end this session and let the other one proceed "
            "(scenario 4)",
        ],
    ),
}


async def attempt(automation: Automation) -> str:
    try:
        # By the clock, whose speed the test sets: half an hour.
        await asyncio.wait_for(automation.log_in(), 1.8)
    except GiveUp:
        return "stays"
    except ColdRestart:
        return "cold restart"
    except Exit as exit_:
        return f"exit {exit_.code}"
    except TimeoutError:
        return "waits"
    return "logged in"


@pytest.mark.parametrize("name", LOGINS)
def test_logins(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    row = LOGINS[name]
    with world(gateway=False) as place:
        view = View(place, capsys, tmp_path)
        if row.ending == "waits" or name == "push-pending":
            place.control.clock(speed=1000.0)
        view.set(name)
        assert place.run(attempt(place.automation(**row.ini))) == row.ending
        lines = [line for line in view.log() if set(line) != {"!"}]
        assert lines[-len(row.lines) :] == row.lines
        # The way back: the next login succeeds.
        place.control.clock(real=True)
        view.set("normal")
        assert place.run(attempt(place.automation())) == "logged in"


# What a client of the API sees, or the log of a gateway that was logged in when it happened.


class Api:
    """A client that went through ib_async's start-up, and what it is told."""

    def __init__(self) -> None:
        self.ib = ib_async.IB()
        self.told: list[tuple[int, str]] = []
        self.ib.errorEvent += lambda id_, code, text, contract: self.told.append((code, text))

    @property
    def codes(self) -> list[int]:
        return [code for code, _ in self.told]

    async def hears(self, *codes: int) -> None:
        """These and nothing else."""
        deadline = time.monotonic() + 8
        while self.codes != list(codes):
            assert time.monotonic() < deadline, self.told
            await asyncio.sleep(0.02)

    async def ticks(self, kind: int = 1) -> bool:
        """Whether a quote comes for a market data type (1 live, 2 frozen, 3 delayed), and not before an error."""
        self.told.clear()
        self.ib.reqMarketDataType(kind)
        came = asyncio.Event()
        ticker = self.ib.reqMktData(SPY)  # ib_async's own, which may still show what came to an earlier request
        ticker.updateEvent += lambda news: came.set()
        for _ in range(40):
            await asyncio.sleep(0.02)
            if self.codes or came.is_set():
                break
        await asyncio.sleep(0.02)
        ticker.updateEvent.clear()
        if not any(code in (354, 10089, 10197) for code in self.codes):
            self.ib.cancelMktData(SPY)
        return came.is_set() and ticker.hasBidAsk()

    async def what_if(self, seconds: float = 8) -> float | None:
        """The change of the initial margin that an order would make; None where an error comes, or nothing."""
        self.told.clear()
        order = LimitOrder("BUY", 1, 1.0, account=self.ib.managedAccounts()[0], whatIf=True)
        asked = asyncio.ensure_future(self.ib.whatIfOrderAsync(SPY, order))
        deadline = time.monotonic() + seconds
        while not asked.done() and not self.codes and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if not asked.done() or self.codes:
            asked.cancel()
            return None
        return float(asked.result().initMarginChange)


SPY = Stock("SPY", "SMART", "USD", conId=756733)  # as IBKR publishes it


def client(view: View, work: Callable[[Api], Awaitable[None]], *, forget: bool = True) -> None:
    """Runs `work` as a client that has connected meanwhile; `forget`: what it was told while it connected."""

    async def main() -> None:
        api = Api()
        await api.ib.connectAsync("127.0.0.1", view.place.api_port, clientId=7, readonly=True, timeout=5)
        if forget:
            api.told.clear()
        try:
            await work(api)
        finally:
            api.ib.disconnect()

    asyncio.run(main())


@contextmanager
def raw(view: View) -> Iterator[socket.socket]:
    """A connection that has sent the handshake's first half."""
    with closing(socket.create_connection(("127.0.0.1", view.place.api_port), timeout=0.4)) as connection:
        connection.sendall(b"API\0\0\0\0\x09v100..178")
        yield connection


def frames(connection: socket.socket) -> Iterator[list[str]]:
    """Messages until none has come for a moment."""
    received = b""
    while True:
        while len(received) >= 4 and len(received) >= (size := 4 + struct.unpack(">I", received[:4])[0]):
            yield received[4:size].decode().split("\0")[:-1]
            received = received[size:]
        try:
            part = connection.recv(65536)
        except TimeoutError:
            return
        if not part:
            return
        received += part


def started_raw(view: View) -> list[list[str]]:
    """All that a client hears that has sent startApi."""
    with raw(view) as connection:
        found = frames(connection)
        assert next(found)[0] == "178"
        connection.sendall(struct.pack(">I", 8) + b"71\x002\x009\x00\x00")
        return list(found)


Check = Callable[[View], None]
SEEN: dict[str, Check] = {}
WITHOUT_GATEWAY: set[str] = set()
"""Where the row starts one of its own."""


def seen(name: str, *, gateway: bool = True) -> Callable[[Check], Check]:
    def enter(check: Check) -> Check:
        SEEN[name] = check
        if not gateway:
            WITHOUT_GATEWAY.add(name)
        return check

    return enter


@seen("normal")
def _(view: View) -> None:
    async def work(api: Api) -> None:
        assert api.told == [
            (2104, "Market data farm connection is OK:usfarm"),
            (2106, "HMDS data farm connection is OK:ushmds"),
            (2158, "Sec-def data farm connection is OK:secdefil"),
        ]
        assert api.ib.managedAccounts() == ["DU1111111"]
        assert await api.ticks()
        assert await api.what_if()

    view.set("normal")
    client(view, work, forget=False)


@seen("crash-at-start", gateway=False)
def _(view: View) -> None:
    """ibcstart.sh and IBC's ErrorCodes; all codes: test_gateway_sim_start.py."""
    installation = Installation(view.folder, view.place.broker_port)
    view.set("crash-at-start")
    status, lines = installation.run(**INI)
    assert status == 76
    assert "IBC returned exit status 76" in lines
    assert any(line.endswith("IBC: An exception has occurred: java.lang.NullPointerException") for line in lines)
    view.set("crash-at-start:4")
    status, lines = installation.run(**INI)
    assert status == 4
    assert "Error: Offline TWS/Gateway version 10.45.1j is not installed: can't find jars folder" in lines


@seen("session-taken-over")
def _(view: View) -> None:
    """ExistingSessionDetectedDialogHandler, scenario 5; the client is cut off while it lasts (IBC#54, IBC#45)."""

    async def work(api: Api) -> None:
        await asyncio.to_thread(view.set, "session-taken-over")
        await api.hears(1100, 1102)

    client(view, work)
    view.logged(
        DIALOG.format("Re-login is required"),
        "Re-login to session",
        EXISTING,
        "Continue this session and let the other session exit (scenario 5)",
    )


@seen("session-stranded")
def _(view: View) -> None:
    """Reported for hours, until the user logs in elsewhere (ibg-controller's documentation)."""
    view.set("session-stranded")
    automation = view.place.automation

    async def broken_off() -> None:
        logged_in = await automation(IbLoginId="pusher").log_in()
        await logged_in.link.close()

    view.place.run(broken_off())
    assert (
        view.place.run(attempt(automation(IbLoginId="pusher", ExistingSessionDetectedAction="secondary"))) == "exit 0"
    )
    view.logged(EXISTING, "End this session and let the other session proceed (scenario 2)")


@seen("api-wedged")
def _(view: View) -> None:
    """gnzsnz/ib-gateway-docker#336: accepts, never answers, and keeps what clients have left in CLOSE_WAIT."""
    view.set("api-wedged")
    ports = []
    for _ in range(3):
        with raw(view) as connection:
            ports.append(connection.getsockname()[1])
            assert list(frames(connection)) == []
    view.until(lambda: all((view.place.api_port, port, "08") in connections() for port in ports), "CLOSE_WAIT")
    view.set("normal")
    view.until(lambda: not any(local == view.place.api_port and state == "08" for local, _, state in connections()))


def connections() -> set[tuple[int, int, str]]:
    """Own port, the peer's port and state of each connection over IPv4 (proc(5), /proc/net/tcp; 08 is CLOSE_WAIT)."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, peer, state = line.split()[1:4]
        found.add((int(local.split(":")[1], 16), int(peer.split(":")[1], 16), state))
    return found


@seen("api-silent")
def _(view: View) -> None:
    view.set("api-silent")
    assert started_raw(view) == []


@seen("slow-form", gateway=False)
def _(view: View) -> None:
    """SessionManager.startSession: 1112, 88 to ibcstart.sh, which starts again whatever was configured."""
    view.set("slow-form:3")
    process = Installation(view.folder, view.place.broker_port).start(**INI, LoginDialogDisplayTimeout="1")
    try:
        assert process.stdout is not None
        before = list(itertools.takewhile(lambda line: line != "IBC returned exit status 88\n", process.stdout))
        assert any(line.endswith("IBC closing after TWS/Gateway failed to display login dialog\n") for line in before)
        assert not any("Login dialog WINDOW_OPENED" in line for line in before)
        assert "IBC will restart shortly\n" in process.stdout
    finally:
        end(process)
    assert view.place.control.status()["users"]["trader"]["attempts"] == 0


@seen("session-ends", gateway=False)
def _(view: View) -> None:
    """As an automatic logoff: a logout, and exit code 0."""
    view.set("session-ends:0.5")
    with view.started() as lines:
        after = list(lines)
    assert DIALOG.format("Shutdown progress") in after
    assert "IBC returned exit status 0" in after
    assert view.place.control.status()["users"]["trader"]["logouts"] == 1


def answers(port: int, command: bytes) -> bool:
    """Whether IBC's command server says anything."""
    with socket.create_connection(("127.0.0.1", port), timeout=1.5) as channel:
        channel.sendall(command)
        try:
            return channel.recv(1) != b""
        except TimeoutError:
            return False


@seen("deaf", gateway=False)
def _(view: View) -> None:
    """A program that hangs: what it was sent is not seen in its log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = Installation(view.folder, view.place.broker_port).start(**INI, CommandServerPort=str(port))
    try:
        assert process.stdout is not None
        assert any("Configuration tasks completed" in line for line in process.stdout)
        view.set("deaf")
        while answers(port, b"BOGUS\n"):
            time.sleep(0.05)  # until the broker's word has reached it
        process.send_signal(signal.SIGTERM)
        assert not answers(port, b"STOP\n")
        assert process.poll() is None
        assert view.place.control.status()["users"]["trader"]["sessions"] == ["paper"]
    finally:
        end(process)


@seen("api-half-open")
def _(view: View) -> None:
    """heshiming/ibga#24: the accounts (15) come, a next order id (9) never does."""
    view.set("api-half-open")
    heard = started_raw(view)
    assert ["15", "1", "DU1111111"] in heard
    assert "9" not in {message[0] for message in heard}


@seen("account-list-empty")
def _(view: View) -> None:
    view.set("account-list-empty")
    heard = started_raw(view)
    assert ["15", "1", ""] in heard
    assert "9" in {message[0] for message in heard}


@seen("account-kind-swapped")
def _(view: View) -> None:
    """Paper accounts begin with D, live ones with U (IBKR's account numbers)."""
    view.set("account-kind-swapped")
    assert ["15", "1", "U1111111"] in started_raw(view)


@seen("summary-empty")
def _(view: View) -> None:
    async def work(api: Api) -> None:
        assert await api.ib.accountSummaryAsync() == []

    view.set("summary-empty")
    client(view, work)


@seen("summary-insane")
def _(view: View) -> None:
    async def work(api: Api) -> None:
        summary = {value.tag: value.value for value in await api.ib.accountSummaryAsync()}
        assert (summary["NetLiquidation"], summary["AvailableFunds"], summary["BuyingPower"]) == ("-1.00", "nan", "")

    view.set("summary-insane")
    client(view, work)


def entitlement(name: str, live: int, delayed: int | None) -> None:
    """`live`: the code that a request for live data gets. `delayed`: the one that comes with delayed data, if it
    comes."""

    def check(view: View) -> None:
        async def work(api: Api) -> None:
            assert not await api.ticks(1)
            assert api.codes == [live]
            assert await api.ticks(3) is (delayed is not None)
            assert api.codes == [delayed or live]

        view.set(name)
        client(view, work)

    SEEN[name] = check


entitlement("no-entitlement", 354, None)
entitlement("extra-subscription", 10089, 10167)
entitlement("delayed-only", 354, 10167)
entitlement("competing-live-session", 10197, None)


@seen("market-closed")
def _(view: View) -> None:
    """TWS API reference, Market Data Types: frozen is the quote at the close."""

    async def work(api: Api) -> None:
        assert not await api.ticks(1)
        assert api.codes == []
        assert await api.ticks(2)

    view.set("market-closed")
    client(view, work)


@seen("market-hours")
def _(view: View) -> None:
    """The regular hours of US stocks, Monday to Friday."""

    async def work(api: Api) -> None:
        await asyncio.to_thread(view.place.control.clock, at=MONDAY_NOON)
        assert await api.ticks(1)
        await asyncio.to_thread(view.place.control.clock, at=SATURDAY_NOON)
        assert not await api.ticks(1)

    view.set("market-hours")
    client(view, work)


@seen("farm-broken")
def _(view: View) -> None:
    async def work(api: Api) -> None:
        for value, broken, ok in [("", 2103, 2104), (":history", 2105, 2106), (":definition", 2157, 2158)]:
            api.told.clear()
            await asyncio.to_thread(view.set, f"farm-broken{value}")
            await api.hears(broken)
            assert await api.ticks() is (broken != 2103)
            await asyncio.to_thread(view.set, "normal")
            await api.hears(ok)

    client(view, work)


@seen("order-rejected")
def _(view: View) -> None:
    async def work(api: Api) -> None:
        assert await api.what_if() is None
        assert api.codes == [201]

    view.set("order-rejected")
    client(view, work)


@seen("order-no-margin")
def _(view: View) -> None:
    async def work(api: Api) -> None:
        assert await api.what_if(0.5) is None
        assert api.codes == []

    view.set("order-no-margin")
    client(view, work)


@seen("read-only")
def _(view: View) -> None:
    """IBC#10, gnzsnz/ib-gateway-docker#267, #447."""

    async def work(api: Api) -> None:
        assert await api.what_if() is None
        ((code, text),) = api.told
        assert code == 321
        assert text.endswith("The API interface is currently in Read-Only mode.")

    view.set("read-only")
    client(view, work)


@seen("connectivity-lost")
def _(view: View) -> None:
    async def work(api: Api) -> None:
        await asyncio.to_thread(view.set, "connectivity-lost")
        await api.hears(1100)

    async def newcomer(api: Api) -> None:
        assert api.codes == [2110]

    client(view, work)
    client(view, newcomer, forget=False)


def restored(name: str, code: int) -> None:
    def check(view: View) -> None:
        async def work(api: Api) -> None:
            await asyncio.to_thread(view.set, "connectivity-lost")
            await asyncio.to_thread(view.set, name)
            await api.hears(1100, code)

        client(view, work)

    SEEN[name] = check


restored("connectivity-restored", 1102)
restored("connectivity-restored-data-lost", 1101)


@seen("slow")
def _(view: View) -> None:
    """Nothing comes for a moment, where all came at once; then all comes."""
    assert started_raw(view)
    view.set("slow:1")
    with raw(view) as connection:
        assert list(frames(connection)) == []
        connection.settimeout(8)
        assert next(frames(connection))[0] == "178"


@seen("memory-growth")
def _(view: View) -> None:
    """As `docker stats` shows it: the resident memory of the process (proc(5), /proc/pid/statm, in pages)."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = resident()
    view.set("memory-growth:512")
    view.until(lambda: resident() > before + 100 * 2**20, "100 MiB more")
    view.set("normal")


@seen("nightly-restart", gateway=False)
def _(view: View) -> None:
    """ibcstart.sh: an autorestart file; IBC: no login form."""
    with view.started() as lines:
        view.set("nightly-restart")
        after = list(itertools.takewhile(lambda line: line != "Login has completed", lines))
    order = [
        DIALOG.format("Restart in progress"),
        "IBC returned exit status 0",
        "IBC will restart shortly",
        "Re-starting session",
    ]
    assert [line for line in after if line in order] == order
    assert any(line.endswith("/autorestart: authentication will not be required") for line in after)
    assert not any(line.startswith("Login attempt") for line in after)


@seen("weekly-login")
def _(view: View) -> None:
    """IBKR's rule, which IBC cannot change (IBC#23, #246); ReloginDialogHandler clicks and types no password."""

    async def work(api: Api) -> None:
        await asyncio.to_thread(view.set, "weekly-login")
        await api.hears(1100)

    client(view, work)
    view.logged(DIALOG.format("Re-login is required"), "Re-login to session")
    assert view.place.control.status()["users"]["trader"]["attempts"] == 1


def test_every_scenario_has_a_row() -> None:
    assert LOGINS.keys() | SEEN.keys() == SCENARIOS.keys()
    assert not LOGINS.keys() & SEEN.keys()


@pytest.mark.parametrize("name", SEEN)
def test_seen(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with world(gateway=name not in WITHOUT_GATEWAY) as place:
        if place.server is not None:
            place.server.timing = replace(place.server.timing, tick=0.05)
        view = View(place, capsys, tmp_path)
        SEEN[name](view)


def test_a_paper_session_has_no_data_while_the_user_s_live_session_is_open(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """QuantConnect/Lean.Brokerages.InteractiveBrokers#140, extrange/ibkr-docker#64 and #102: the paper session loses,
    and gets its data back."""

    async def work(api: Api) -> None:
        assert await api.ticks()
        live = await asyncio.to_thread(view.place.run, view.place.automation(TradingMode="live").log_in())
        assert not await api.ticks()
        assert api.told == [(10197, "No market data during competing live session")]
        await asyncio.to_thread(view.place.run, live.link.close())
        deadline = time.monotonic() + 5
        while not await api.ticks():
            assert time.monotonic() < deadline

    with world() as place:
        view = View(place, capsys, tmp_path)
        client(view, work)
