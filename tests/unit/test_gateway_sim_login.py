"""The login automation against the broker: which lines it logs, where it ends, what the broker counts.

The lines are those of IBC 3.24, from its LoginManager, AbstractLoginHandler and the handler of each dialog.
"""

import asyncio
import time
from collections.abc import Callable

import pytest

from sandbox.gateway.automation import Automation, ColdRestart, GiveUp, LoggedIn, waiting_seconds
from sandbox.gateway.link import BrokerLink
from sandbox.gateway.settings import Exit, Settings
from tests.unit.gateway_sim_world import INI, World, world

RELOGIN = {"ReloginAfterSecondFactorAuthenticationTimeout": "yes"}
PUSH_USER = {"IbLoginId": "pusher", "TradingMode": "live"}


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    def read() -> list[str]:
        printed = capsys.readouterr().out
        return [line.split(" IBC: ", 1)[1] for line in printed.splitlines() if " IBC: " in line]

    return read


async def _end(automation: Automation) -> str:
    """How the login ends: logged in, or the name of what it raises."""
    try:
        logged_in = await automation.log_in()
    except (ColdRestart, GiveUp, Exit) as end:
        return f"{type(end).__name__} {end.code}" if isinstance(end, Exit) else type(end).__name__
    assert isinstance(logged_in, LoggedIn)
    await logged_in.link.close()
    return "logged in"


def end(place: World, **ini: str) -> str:
    return place.run(_end(place.automation(**ini)))


def test_login_form(log: Callable[[], list[str]]) -> None:
    with world(gateway=False) as place:
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
    with world(gateway=False) as place:
        assert end(place, **{missing: " "}) == "GiveUp"
        assert place.control.status()["users"]["trader"]["attempts"] == 0
    assert "Login attempt: 1" not in log()


def test_wrong_password_hangs_at_the_dialog(log: Callable[[], list[str]]) -> None:
    with world(gateway=False) as place:
        assert end(place, IbPassword="wrong") == "GiveUp"
        status = place.control.status()["users"]["trader"]
    assert (status["attempts"], status["failed_attempts"], status["logins"]) == (1, 1, 0)
    assert log()[-1] == "detected dialog entitled: Unrecognized Username or Password; event=Opened"


def test_unknown_user_is_rejected_like_a_wrong_password(log: Callable[[], list[str]]) -> None:
    with world(gateway=False) as place:
        assert end(place, IbLoginId="nobody") == "GiveUp"
        assert place.control.status()["unknown_user_attempts"] == 1
    assert log()[-1] == "detected dialog entitled: Unrecognized Username or Password; event=Opened"


@pytest.mark.parametrize(
    ("scenario", "ending", "lines"),
    [
        ("wrong-password", "GiveUp", ["detected dialog entitled: Unrecognized Username or Password; event=Opened"]),
        ("login-failed-restart", "ColdRestart", ["Login failed", "Cold restart in progress"]),
        (
            "login-server-down",
            "ColdRestart",
            ["Connection to server failed: Server disconnected, please try again", "Cold restart in progress"],
        ),
        ("system-unavailable", "GiveUp", ["The system is not currently available."]),
        (
            "competing-session",
            "Exit 0",
            [
                "detected dialog entitled: Existing session detected; event=Opened",
                "Don't know the type of the other session, so continue this one (scenario 3)",
                "detected dialog entitled: Existing session detected; event=Opened",
                "Other session must be primary or primary override, so end this session and let the other session "
                "proceed (scenario 4)",
            ],
        ),
    ],
)
def test_scenarios(scenario: str, ending: str, lines: list[str], log: Callable[[], list[str]]) -> None:
    with world(gateway=False) as place:
        place.control.scenario(scenario)
        assert end(place) == ending
        assert place.control.status()["users"]["trader"]["logins"] == 0
    assert log()[-len(lines) :] == lines


def test_lockout_waits_only_with_relogin(log: Callable[[], list[str]]) -> None:
    with world(gateway=False) as place:
        place.control.scenario("locked-out")
        assert end(place) == "GiveUp"
    text = log()[-1]
    assert text.startswith("Too many failed login attempts. Please wait ")
    # The text's time and three seconds more (IBC, TooManyFailedLoginAttemptsDialogHandler).
    assert waiting_seconds("Please wait 4 minutes & 47 seconds before attempting") == 287


def test_lockout_is_sat_out_with_relogin(log: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(place: World) -> str:
        slept: list[float] = []
        sleep = asyncio.sleep

        async def no_wait(seconds: float) -> None:
            if seconds > 100:
                slept.append(seconds)
                place.broker.set_scenario(place.broker.states["trader"], "normal")
            await sleep(0)

        monkeypatch.setattr("sandbox.gateway.automation.asyncio.sleep", no_wait)
        ending = await _end(place.automation(**RELOGIN))
        monkeypatch.undo()
        assert slept == [303]
        return ending

    with world(gateway=False) as place:
        place.control.scenario("locked-out")
        assert place.run(main(place)) == "logged in"
    printed = log()
    assert any(line.startswith("Will re-login at ") and line.endswith("; login number: 2") for line in printed)
    assert "Login attempt: 2" in printed


def test_unreachable_broker_ends_in_a_cold_restart(
    log: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.gateway.automation.CONNECT_SECONDS", 0.2)
    with world(gateway=False) as place:
        port = place.broker_port
    automation = Automation(Settings(INI), lambda: BrokerLink("127.0.0.1", port))
    assert asyncio.run(_end(automation)) == "ColdRestart"
    assert log()[-2:] == [
        "Connection to server failed: Server disconnected, please try again",
        "Cold restart in progress",
    ]


def test_push_of_a_user_who_taps(log: Callable[[], list[str]]) -> None:
    with world(gateway=False) as place:
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
    async def main(place: World) -> str:
        login = asyncio.create_task(
            _end(place.automation(**PUSH_USER, **RELOGIN, SecondFactorAuthenticationExitInterval=interval))
        )
        deadline = time.monotonic() + 5
        while not place.broker.status()["users"]["pusher"]["second_factor_waiting"]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert not login.done()
        answer = place.control.approve if approve else place.control.deny
        assert await asyncio.to_thread(answer, "pusher") == 1
        return await login

    with world(gateway=False) as place:
        place.control.scenario("push-pending")
        assert place.run(main(place)) == ending


def test_denied_push_exits_after_the_interval_with_relogin(log: Callable[[], list[str]]) -> None:
    with world(gateway=False) as place:
        place.control.scenario("push-denied")
        assert end(place, **PUSH_USER, **RELOGIN, SecondFactorAuthenticationExitInterval="0") == "Exit 1111"
        assert place.control.status()["users"]["pusher"]["logins"] == 0
    assert log()[-1] == "If login has not completed, IBC will exit in 0 seconds"


def test_unanswered_push_gives_up_without_relogin(log: Callable[[], list[str]]) -> None:
    with world(gateway=False) as place:
        place.control.scenario("push-unanswered")
        assert end(place, **PUSH_USER) == "GiveUp"
    assert log()[-2:] == [
        "Duration since login: 180 seconds",
        "Re-login after second factor authentication timeout not required",
    ]


def test_unanswered_push_prompts_again_with_relogin(
    log: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.gateway.automation.RELOGIN_SECONDS", 0)

    async def main(place: World) -> str:
        login = asyncio.create_task(_end(place.automation(**PUSH_USER, **RELOGIN)))
        deadline = time.monotonic() + 5
        while place.broker.status()["users"]["pusher"]["second_factor_prompts"] < 2:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        place.broker.set_scenario(place.broker.states["pusher"], "normal")
        return await login

    with world(gateway=False) as place:
        place.control.scenario("push-unanswered")
        assert place.run(main(place)) == "logged in"
    assert "Login attempt: 2" in log()


@pytest.mark.parametrize(
    ("open_session", "new_session", "ending", "taken_over"),
    # IBC's config.ini, Existing Session Detected Action.
    [
        ("primary", "primary", "Exit 0", False),
        ("primary", "secondary", "Exit 0", False),
        ("primary", "manual", "GiveUp", False),
        ("primaryoverride", "primary", "logged in", True),
        ("primaryoverride", "primaryoverride", "logged in", True),
        ("secondary", "primary", "logged in", True),
        ("manual", "primary", "logged in", True),
    ],
)
def test_one_session_a_user(open_session: str, new_session: str, ending: str, taken_over: bool) -> None:
    with world(ExistingSessionDetectedAction=open_session) as place:
        assert end(place, ExistingSessionDetectedAction=new_session) == ending

        async def ended() -> bool:
            done, _ = await asyncio.wait({place.running}, timeout=2 if taken_over else 0.2)
            return bool(done)

        assert place.run(ended()) is taken_over


def test_soft_restart_keeps_the_session_and_a_full_logout_does_not() -> None:
    with world() as place:
        assert place.session is not None
        token = place.session.token
        place.control.scenario("nightly-restart", "trader")

        async def restarted() -> bool:
            return await asyncio.wait_for(asyncio.shield(place.running), 5)

        assert place.run(restarted()) is True
        assert token in place.broker.states["trader"].tokens
        place.run(place.session.log_out())
        deadline = time.monotonic() + 5
        while place.broker.states["trader"].tokens:
            assert time.monotonic() < deadline
            time.sleep(0.01)
