"""The login automation against the broker: which lines it logs, where it ends, what the broker counts.

The lines are those of IBC 3.24, from its LoginManager, AbstractLoginHandler and the handler of each dialog.
"""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandbox.broker.users import SecondFactor, User
from sandbox.gateway.automation import Automation, ColdRestart, GiveUp, LoggedIn, waiting_seconds
from sandbox.gateway.launcher import LAUNCHER
from sandbox.gateway.link import BrokerLink
from sandbox.gateway.settings import Exit, Settings
from tests.helpers import until
from tests.unit.simulated_gateway import INI, SimulatedGateway, simulated_gateway

MONDAY_NOON = 1_795_435_200.0  # 2026-11-23 12:00 UTC

RELOGIN = {"ReloginAfterSecondFactorAuthenticationTimeout": "yes"}
PUSH_USER = {"IbLoginId": "pusher", "TradingMode": "live"}
DIALOG = "detected dialog entitled: {}; event=Opened"
REJECTED = DIALOG.format("Unrecognized Username or Password")

NEW_SESSION = [
    "detected dialog entitled: Existing session detected; event=Opened",
    "Don't know the type of the other session, so continue this one (scenario 3)",
    "detected dialog entitled: Re-login is required; event=Opened",
    "Re-login to session",
]
INTERRUPTED = [
    "detected dialog entitled: Re-login is required; event=Opened",
    "Re-login to session",
    "detected dialog entitled: Existing session detected; event=Opened",
]
SCENARIO_1 = "User must choose whether to continue with this session (scenario 1)"
SCENARIO_2 = "End this session and let the other session proceed (scenario 2)"
SCENARIO_4 = (
    "Other session must be primary or primary override, so end this session and let the other one proceed (scenario 4)"
)
SCENARIO_5 = "Continue this session and let the other session exit (scenario 5)"
SCENARIO_6 = "Other session may be primary, so end this session and let the other one proceed (scenario 6)"


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    def read() -> list[str]:
        printed = capsys.readouterr().out
        return [line.split(" IBC: ", 1)[-1] for line in printed.splitlines() if set(line) != {"!"}]

    return read


async def login_ending(automation: Automation, seconds: float = 20) -> str:
    """How the login ends: logged in, or the name of what it raises; `waits` where it goes on after these seconds."""
    try:
        async with asyncio.timeout(seconds):
            logged_in = await automation.log_in()
    except TimeoutError:
        return "waits"
    except (ColdRestart, GiveUp, Exit) as end:
        return f"{type(end).__name__} {end.code}" if isinstance(end, Exit) else type(end).__name__
    assert isinstance(logged_in, LoggedIn)
    await logged_in.link.close()
    return "logged in"


def end(place: SimulatedGateway, **ini: str) -> str:
    return place.run(login_ending(place.automation(**ini)))


def test_login_form(log: Callable[[], list[str]]) -> None:
    with simulated_gateway(logged_in=False) as place:
        assert end(place) == "logged in"
    assert log() == [
        "Login dialog WINDOW_OPENED: LoginState is LOGGED_OUT",
        "Setting Trading mode = paper",
        "Setting user name",
        "Setting password",
        "Login attempt: 1",
        "Click button: Paper Log In",
        "Login has completed",
    ]


@pytest.mark.parametrize("missing", ["IbLoginId", "IbPassword"])
def test_empty_credentials_are_never_submitted(missing: str, log: Callable[[], list[str]]) -> None:
    with simulated_gateway(logged_in=False) as place:
        assert end(place, **{missing: " "}) == "GiveUp"
        assert place.control.status()["users"]["trader"]["attempts"] == 0
    assert "Login attempt: 1" not in log()


@pytest.mark.parametrize("ini", [{"IbPassword": "wrong"}, {"IbLoginId": "nobody"}], ids=["password", "user"])
def test_what_is_wrong_is_rejected_at_a_dialog_that_stays(ini: dict[str, str], log: Callable[[], list[str]]) -> None:
    with simulated_gateway(logged_in=False) as place:
        assert end(place, **ini) == "GiveUp"
        status = place.control.status()
        known = status["users"]["trader"]
    assert (known["attempts"], status["unknown_user_attempts"]) == ((0, 1) if "IbLoginId" in ini else (1, 0))
    assert (known["failed_attempts"], known["logins"]) == (known["attempts"], 0)
    assert log()[-1] == REJECTED


# Every scenario of the broker in which a login does not come to its end.


@dataclass(frozen=True)
class Login:
    """`ending`: how the automation leaves it. `lines`: the last ones of its log. `launcher`: the last of launcher.log;
    their texts are those that ib-gateway-mcp 0.2.2 reads. `counted`: attempts and failed ones at the broker."""

    ending: str
    lines: list[str]
    launcher: list[str]
    counted: tuple[int, int]
    ini: dict[str, str] = field(default_factory=dict)


FAILED = "Authorization failed: {}"
TOO_MANY = "Too many failed login attempts. Please wait 5 minutes before attempting to re-login again."
OUTDATED = "The current version of the application you are running is no longer supported."
UNAVAILABLE = "The system is not currently available."
WRONG = ["AUTH_RESULT indicates wrong password", FAILED.format("Invalid username or password")]
COLD = "Cold restart in progress"
FACTOR_OVER = "detected dialog entitled: Second Factor Authentication; event=Closed"
INITIATED = "Second Factor Authentication initiated"
UNANSWERED = Login(
    "GiveUp",
    [
        DIALOG.format("Second Factor Authentication"),
        INITIATED,
        FACTOR_OVER,
        "Duration since login: 180 seconds",
        "Re-login after second factor authentication timeout not required",
    ],
    ["Received CHALLENGE", FAILED.format("SUPPRESS_MESSAGE_BOX")],
    (1, 0),
)


OUTDATED_DIALOG = (
    "The current version of the application you are running, 10.45.1j, is no longer supported. Please download the "
    "current version from our website."
)


def error_dialog(text: str) -> list[str]:
    """LoginErrorDialogHandler: the text on a line of its own."""
    return [DIALOG.format("Login Error"), "Login error message:", text, COLD]


LOGINS: dict[str, Login] = {
    # IBC has no handler for it (gnzsnz/ib-gateway-docker#252, #253).
    "wrong-password": Login("GiveUp", [REJECTED], WRONG, (1, 1)),
    # LoginFailedDialogHandler
    "login-failed-restart": Login(
        "ColdRestart", [DIALOG.format("Login failed"), "Login failed", COLD], [FAILED.format("Login failed")], (1, 1)
    ),
    "login-error": Login("ColdRestart", error_dialog("Invalid username or password"), WRONG, (1, 1)),
    "login-error:version": Login(
        "ColdRestart", error_dialog(OUTDATED_DIALOG), [FAILED.format(OUTDATED_DIALOG)], (1, 0)
    ),
    "login-error:unavailable": Login("ColdRestart", error_dialog(UNAVAILABLE), [FAILED.format(UNAVAILABLE)], (1, 0)),
    # TooManyFailedLoginAttemptsDialogHandler quotes the text, and acts only with relogin.
    "locked-out": Login("GiveUp", [DIALOG.format("Login failed"), TOO_MANY], [TOO_MANY], (1, 1)),
    # IBAutomater, HandleServerDisconnectedWindow, quotes the text.
    "login-server-down": Login(
        "ColdRestart",
        ["Connection to server failed: Server disconnected, please try again", COLD],
        ["Authentication timeout"],
        (0, 0),
    ),
    # NotCurrentlyAvailableDialogHandler
    "system-unavailable": Login("GiveUp", [DIALOG.format("Login"), UNAVAILABLE], [FAILED.format(UNAVAILABLE)], (1, 0)),
    # Prevented from logging in by a dialog (waytrade/ib-gateway-docker#9); its title is a guess.
    "version-refused": Login("GiveUp", [DIALOG.format("IBKR Gateway")], [FAILED.format(OUTDATED)], (1, 0)),
    # A dialog that neither IBC nor IBAutomater can answer (IBAutomater, HandleLoginMessages).
    "dialog-blocking": Login("GiveUp", [DIALOG.format("Login Messages")], [], (1, 0)),
    # LoginManager, secondFactorAuthenticationDialogClosed. After 180 seconds nobody has answered.
    "push-pending": UNANSWERED,
    "push-unanswered": UNANSWERED,
    "push-denied": Login(
        "Exit 1111",
        ["If login has not completed, IBC will exit in 0 seconds"],
        ["Received CHALLENGE", FAILED.format("Second factor authentication was denied")],
        (1, 0),
        {**RELOGIN, "SecondFactorAuthenticationExitInterval": "0"},
    ),
    # IBC types no code (IbcAlpha/IBC#263, #292, #342): SecondFactorAuthenticationDialogHandler does nothing more.
    "totp-required": Login("waits", [DIALOG.format("Second Factor Authentication"), INITIATED], ["Heartbeat"], (1, 0)),
    # ExistingSessionDetectedDialogHandler, scenarios 3 and 4
    "competing-session": Login(
        "Exit 0", [*NEW_SESSION, DIALOG.format("Existing session detected"), SCENARIO_4], [], (1, 0)
    ),
}


@pytest.mark.parametrize("name", LOGINS)
def test_a_login_that_does_not_come_to_its_end(name: str, log: Callable[[], list[str]], tmp_path: Path) -> None:
    row = LOGINS[name]
    LAUNCHER.begin(tmp_path)
    with simulated_gateway(logged_in=False) as place:
        if row.ending == "waits" or name == "push-pending":
            place.control.clock(speed=1000.0)
        place.control.scenario(name)
        assert place.run(login_ending(place.automation(**row.ini), seconds=1.8)) == row.ending
        assert log()[-len(row.lines) :] == row.lines
        launcher = [line.partition(" - ")[2] for line in (tmp_path / "launcher.log").read_text().splitlines()]
        if "Heartbeat" not in row.launcher:
            # It comes with time, which goes a thousand times as fast for some.
            launcher = [line for line in launcher if line != "Heartbeat"]
        assert launcher[len(launcher) - len(row.launcher) :] == row.launcher
        assert "Switching to a new encrypted log..." not in launcher
        counted = place.control.status()["users"]["trader"]
        assert (counted["attempts"], counted["failed_attempts"], counted["logins"]) == (*row.counted, 0)
        # The way back: the next login succeeds.
        place.control.clock(real=True)
        place.control.scenario("normal")
        assert end(place) == "logged in"


def test_how_long_a_lockout_is_waited_for() -> None:
    """The text's time and three seconds more (IBC, TooManyFailedLoginAttemptsDialogHandler)."""
    assert waiting_seconds("Please wait 4 minutes & 47 seconds before attempting") == 287


def test_lockout_is_sat_out_with_relogin(log: Callable[[], list[str]]) -> None:
    """IBC waits three seconds longer than the text says, by the clock, which may be moved meanwhile."""

    async def main(place: SimulatedGateway) -> str:
        login = asyncio.create_task(login_ending(place.automation(**RELOGIN)))
        while place.broker.states["trader"].counters.attempts == 0:
            await asyncio.sleep(0.01)
        assert await asyncio.to_thread(place.control.clock, at=MONDAY_NOON + 299)
        await asyncio.sleep(0.1)
        assert not login.done()
        await asyncio.to_thread(place.control.scenario, "normal")
        await asyncio.to_thread(place.control.clock, at=MONDAY_NOON + 304)
        return await login

    with simulated_gateway(logged_in=False) as place:
        place.control.scenario("locked-out")
        place.control.clock(at=MONDAY_NOON)
        assert place.run(main(place)) == "logged in"
        assert place.control.status()["users"]["trader"]["attempts"] == 2
    printed = log()
    # 5 minutes and 3 seconds after noon in UTC, and the moments that the login took.
    (plan,) = [line for line in printed if line.startswith("Will re-login at ")]
    assert re.fullmatch(r"Will re-login at 2026-11-23 \d\d:05:0[3-9]:\d{3}; login number: 2", plan)
    assert "Login attempt: 2" in printed


def test_unreachable_broker_ends_in_a_cold_restart(
    log: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.gateway.automation.CONNECT_SECONDS", 0.2)
    with simulated_gateway(logged_in=False) as place:
        port = place.broker_port
    automation = Automation(Settings(INI), lambda: BrokerLink("127.0.0.1", port))
    assert asyncio.run(login_ending(automation)) == "ColdRestart"
    assert log()[-2:] == [
        "Connection to server failed: Server disconnected, please try again",
        "Cold restart in progress",
    ]


def test_push_of_a_user_who_taps(log: Callable[[], list[str]]) -> None:
    with simulated_gateway(logged_in=False) as place:
        assert end(place, **PUSH_USER) == "logged in"
        assert place.control.status()["users"]["pusher"]["second_factor_prompts"] == 1
    printed = log()
    assert printed[printed.index("Click button: Log In") + 1 :] == [
        "Waiting for Login frame to become SecondFactorAuthenticationDialog",
        "Login frame has now become SecondFactorAuthenticationDialog",
        "detected dialog entitled: Second Factor Authentication; event=Opened",
        "Second Factor Authentication initiated",
        "detected dialog entitled: Second Factor Authentication; event=Closed",
        "Duration since login: 0 seconds",
        "Login has completed",
    ]


@pytest.mark.parametrize(("approve", "interval", "ending"), [(True, "10", "logged in"), (False, "0", "Exit 1111")])
def test_pending_push_waits_for_the_phone(approve: bool, interval: str, ending: str) -> None:
    async def main(place: SimulatedGateway) -> str:
        login = asyncio.create_task(
            login_ending(place.automation(**PUSH_USER, **RELOGIN, SecondFactorAuthenticationExitInterval=interval))
        )
        deadline = time.monotonic() + 5
        while not place.broker.status()["users"]["pusher"]["second_factor_waiting"]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert not login.done()
        answer = place.control.approve if approve else place.control.deny
        assert await asyncio.to_thread(answer, "pusher") == 1
        return await login

    with simulated_gateway(logged_in=False) as place:
        place.control.scenario("push-pending")
        assert place.run(main(place)) == ending


def test_unanswered_push_prompts_again_with_relogin(
    log: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.gateway.automation.RELOGIN_SECONDS", 0)

    async def main(place: SimulatedGateway) -> str:
        login = asyncio.create_task(login_ending(place.automation(**PUSH_USER, **RELOGIN)))
        deadline = time.monotonic() + 5
        while place.broker.status()["users"]["pusher"]["second_factor_prompts"] < 2:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        place.broker.set_scenario(place.broker.states["pusher"], "normal")
        return await login

    with simulated_gateway(logged_in=False) as place:
        place.control.scenario("push-unanswered")
        assert place.run(main(place)) == "logged in"
    assert "Login attempt: 2" in log()


@pytest.mark.parametrize(
    ("open_session", "new_session", "ending", "says", "other_says"),
    # IBC's ExistingSessionDetectedDialogHandler: what each side says, and who has the session in the end.
    [
        ("primary", "primary", "Exit 0", SCENARIO_4, SCENARIO_5),
        ("primary", "primaryoverride", "Exit 0", SCENARIO_4, SCENARIO_5),
        ("primary", "secondary", "Exit 0", SCENARIO_2, None),
        ("primary", "manual", "GiveUp", SCENARIO_1, None),
        ("primary", "", "GiveUp", SCENARIO_1, None),
        ("primary", "nonsense", "Exit 0", SCENARIO_2, None),
        ("primaryoverride", "primary", "logged in", None, SCENARIO_6),
        ("primaryoverride", "primaryoverride", "logged in", None, SCENARIO_6),
        ("secondary", "primary", "logged in", None, SCENARIO_2),
        ("manual", "primary", "logged in", None, SCENARIO_1),
    ],
)
def test_one_session_a_user(
    open_session: str,
    new_session: str,
    ending: str,
    says: str | None,
    other_says: str | None,
    log: Callable[[], list[str]],
) -> None:
    with simulated_gateway(ExistingSessionDetectedAction=open_session) as place:
        log()
        assert place.session is not None
        token = place.session.token
        assert end(place, ExistingSessionDetectedAction=new_session) == ending
        taken = ending == "logged in"

        async def settled() -> bool:
            """The other session ends its process, but for one that waits at a dialog."""
            done, _ = await asyncio.wait({place.running}, timeout=2 if taken and open_session != "manual" else 0.2)
            return bool(done)

        assert place.run(settled()) is (taken and open_session != "manual")
        assert (token in place.broker.states["trader"].tokens) is not taken
        printed = log()
    if says:
        assert says in printed
    if other_says:
        first = printed.index(INTERRUPTED[0])
        assert set(INTERRUPTED) <= set(printed[first:])
        assert other_says in printed[first:]
        assert printed.count("Re-login to session") == 2  # both sides answer that dialog
    else:
        assert "Re-login to session" not in printed
    if new_session.startswith("primary"):
        assert [line for line in NEW_SESSION if line in printed] == NEW_SESSION


@pytest.mark.parametrize(
    ("action", "ending", "line"),
    # IBC's TradingLoginHandoffDialogHandler, for a user with a second factor; its placeholders are not filled in.
    [
        ("primary", "logged in", "Trading Login Handoff dialog; {}"),
        ("primaryoverride", "Exit 1110", None),
    ],
)
def test_handoff_after_the_second_factor(
    action: str, ending: str, line: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with simulated_gateway(logged_in=False) as place:
        assert end(place, **PUSH_USER, ExistingSessionDetectedAction=action) == "logged in"
        place.control.scenario("session-taken-over", "pusher")
        capsys.readouterr()
        assert end(place, **PUSH_USER, ExistingSessionDetectedAction=action) == ending
    printed = capsys.readouterr().out
    order = ["Existing session detected", "(scenario 3)", "Second Factor Authentication", "Trading Login Handoff"]
    assert sorted(order, key=printed.index) == order
    assert line is None or line in printed


def test_a_code_is_typed_by_somebody_at_the_screen(log: Callable[[], list[str]]) -> None:
    """IBC types no code; RFC 6238, appendix B: at 1111111109 the code of its secret ends in 081804."""
    coder = User("coder", "right", (), ("DU3333333",), SecondFactor.TOTP, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")

    async def main(place: SimulatedGateway) -> str:
        login = asyncio.create_task(login_ending(place.automation(IbLoginId="coder")))
        while not place.broker.status()["users"]["coder"]["second_factor_waiting"]:
            await asyncio.sleep(0.01)
        assert await asyncio.to_thread(place.control.approve, "coder") == 0  # there is nothing to tap
        assert not await asyncio.to_thread(place.control.type_code, "123456", "coder")
        assert not login.done()
        assert await asyncio.to_thread(place.control.type_code, "081804", "coder")
        return await login

    with simulated_gateway(coder, logged_in=False) as place:
        place.control.clock(at=1111111109.0)
        assert place.run(main(place)) == "logged in"
        status = place.control.status()["users"]["coder"]
        assert (status["logins"], status["failed_attempts"]) == (1, 1)
    assert log()[-4:-2] == [
        "Second Factor Authentication initiated",
        "detected dialog entitled: Second Factor Authentication; event=Closed",
    ]


def test_a_session_whose_link_broke_stays_for_a_while(log: Callable[[], list[str]]) -> None:
    """Users report it (ibg-controller's documentation); for how long is a guess."""
    with simulated_gateway(logged_in=False) as place:
        place.control.scenario("session-stranded:600", "trader")
        place.control.clock(at=MONDAY_NOON)
        assert end(place) == "logged in"
        until(lambda: place.broker.status()["users"]["trader"]["stranded"] == ["paper"])
        assert end(place, ExistingSessionDetectedAction="secondary") == "Exit 0"
        assert SCENARIO_2 in log()
        assert end(place) == "logged in"  # nobody is there to insist
        assert "Don't know the type of the other session, so continue this one (scenario 3)" in log()
        until(lambda: place.broker.status()["users"]["trader"]["stranded"] == ["paper"])
        place.control.clock(at=MONDAY_NOON + 700)
        assert end(place, ExistingSessionDetectedAction="secondary") == "logged in"


def test_soft_restart_keeps_the_session_and_a_full_logout_does_not() -> None:
    with simulated_gateway() as place:
        assert place.session is not None
        token = place.session.token
        place.control.scenario("nightly-restart", "trader")

        async def restarted() -> bool:
            async with asyncio.timeout(5):
                return await asyncio.shield(place.running)

        assert place.run(restarted()) is True
        assert token in place.broker.states["trader"].tokens
        place.run(place.session.log_out())
        until(lambda: not place.broker.states["trader"].tokens)
