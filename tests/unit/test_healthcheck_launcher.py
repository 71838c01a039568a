"""launcher.log, replayed: what the gateway's own program says of its present start. The lines are those of 10.45 and
10.50, with addresses and hashes that stand for real ones."""

from dataclasses import asdict
from datetime import datetime, timedelta

import pytest

from healthcheck.automation import launcher
from healthcheck.automation.base import LoginState, Reading
from healthcheck.logs import read

BEGIN = datetime(2026, 11, 22, 18, 0, 0)
RESTART = "------------------------------- IB GATEWAY RESTART --------------------------------"
RESUMED = "Running in auto-restart mode: restoring session token and session ID [userDirname=aaaaaaaaaaaaaaaaaaaa]..."
LOGIN = "LauncherLoginThread.runLoginWithUI()[hotBackupStrategy=ON,loginAttempt=1,socketDelay=20000]."
KEY = (
    " NS_AUTH_START version=52 pwd=1 soft=0 token(s)=[token=5, tokenSubtype=2, suffix=a[IB Key]] initialTokenType=PWD "
    "authenticationType=MARKET_DATA_CONNECTION identityHashcode=1"
)
PLAIN = " NS_AUTH_START version=52 pwd=1 soft=0 token(s)=[token=0] initialTokenType=PWD authenticationType=X"
CHALLENGE = "Received CHALLENGE"
BEAT = "Sent NS_HEART_BEAT:#%#%0000MISC51;531;20261122-18:00:23;"
CLOSED = "Authorization failed: SUPPRESS_MESSAGE_BOX. MessageType: null. FailReason: 2147483647"
WRONG = ["AUTH_RESULT indicates wrong password", "Authorization failed: Invalid username or password. "]
OUT = "SPLASH Attempt 13: network error, will retry in seconds"
COMPLETED = "### onAuthenticationCompleted tokenProtocol=5; authenticated=true"
SWITCHED = "Switching to a new encrypted log..."
LOCKED = "Too many failed login attempts. Please wait 4 minutes & 55 seconds before attempting to re-login again."
NOISE = ["Peer: 192.0.2.7:4000, sessionId=6592f0e1.0001, mac=02:42:ac:11:00:02", "\tat jlauncher.Thread.run"]


def written(*lines: str | timedelta, began: datetime = BEGIN) -> str:
    """As the file has them, a second apart; a timedelta passes before the next line."""
    at, text = began, ""
    for line in lines:
        if isinstance(line, timedelta):
            at += line
            continue
        at += timedelta(seconds=1)
        stamp = f"{at:%Y-%m-%d %H:%M:%S}.112 INFO  [JTS-Main] - "
        text += f"{line}\n" if line.startswith("\t") else f"{stamp}{line}\n"
    return text


START = (RESTART, *NOISE)
PUSHED = (*START, LOGIN, KEY, CHALLENGE, BEAT)


@pytest.mark.parametrize(
    ("lines", "state", "kind"),
    [
        ((), "unknown", None),
        (NOISE, "unknown", None),
        (START, "starting", None),
        ((*START, LOGIN), "submitted", None),
        ((*START, LOGIN, PLAIN), "submitted", None),
        ((*START, LOGIN, KEY), "submitted", "ib_key"),
        ((*START, LOGIN, KEY.replace("IB Key", "SMS")), "submitted", "sms"),
        ((*START, LOGIN, KEY.replace("IB Key", "Mobile Authenticator app")), "submitted", "other"),
        ((*START, LOGIN, KEY.replace("IB Key", "Passkey")), "submitted", "passkey"),
        (PUSHED, "second_factor_pending", "ib_key"),
        ((*PUSHED, timedelta(seconds=178), CLOSED), "second_factor_timeout", "ib_key"),
        ((*PUSHED, timedelta(seconds=20), CLOSED), "second_factor_closed", "ib_key"),
        ((*PUSHED, timedelta(seconds=20), "Authorization failed: It was denied."), "second_factor_closed", "ib_key"),
        # While the next attempt only begins, and when it gets as far.
        ((*PUSHED, timedelta(seconds=178), CLOSED, LOGIN, KEY), "second_factor_timeout", "ib_key"),
        ((*PUSHED, timedelta(seconds=178), CLOSED, LOGIN, KEY, CHALLENGE), "second_factor_pending", "ib_key"),
        ((*START, LOGIN, KEY, CLOSED), "login_error", "ib_key"),
        # A round of its own, which did not get as far as the one before it.
        ((*START, LOGIN, KEY, CHALLENGE, LOGIN, KEY, CLOSED), "login_error", "ib_key"),
        ((*START, LOGIN, PLAIN, *WRONG), "rejected", None),
        ((*START, LOGIN, PLAIN, WRONG[0]), "rejected", None),
        ((*START, LOGIN, PLAIN, WRONG[1], LOGIN, PLAIN), "rejected", None),
        ((*START, LOGIN, PLAIN, "Authorization failed: This version is no longer supported."), "version_refused", None),
        ((*START, LOGIN, PLAIN, "Authorization failed: The system is not currently available."),
         "system_unavailable", None),
        ((*START, LOGIN, PLAIN, "Authorization failed: Something new. FailReason: 99"), "login_error", None),
        ((*START, LOGIN, "Authentication timeout"), "server_unreachable", None),
        ((*START, LOGIN, OUT, LOGIN), "server_unreachable", None),
        ((*START, LOGIN, PLAIN, LOCKED), "locked_out", None),
        ((*PUSHED, COMPLETED), "logged_in", "ib_key"),
        ((*PUSHED, COMPLETED, SWITCHED), "logged_in", "ib_key"),
        ((*START, LOGIN, PLAIN, *WRONG, LOGIN, PLAIN, SWITCHED), "logged_in", None),
        # A new process knows nothing of the one before it.
        ((*PUSHED, COMPLETED, SWITCHED, *START), "starting", None),
        ((*START, LOGIN, PLAIN, *WRONG, *START, LOGIN), "submitted", None),
        # A saved session: no password is typed, so whatever is refused is the session.
        ((*START, RESUMED), "resuming", None),
        ((*START, RESUMED, LOGIN, PLAIN), "resuming", None),
        ((*START, RESUMED, LOGIN, PLAIN, *WRONG), "token_refused", None),
        ((*START, RESUMED, LOGIN, PLAIN, "Authorization failed: Something new."), "token_refused", None),
        ((*START, RESUMED, LOGIN, PLAIN, *WRONG, *START, LOGIN, PLAIN, *WRONG), "rejected", None),
        ((*START, RESUMED, LOGIN, OUT), "server_unreachable", None),
        ((*START, RESUMED, LOGIN, PLAIN, COMPLETED, SWITCHED), "logged_in", None),
        # The file was begun anew at midnight, in the middle of a login.
        ((BEAT, CHALLENGE), "second_factor_pending", None),
    ],
)  # fmt: skip
def test_the_last_state_of_the_present_start(lines: tuple[str, ...], state: str, kind: str | None) -> None:
    assert launcher.read(written(*lines), BEGIN) == launcher.Witness(LoginState(state), kind)


def test_lines_with_a_time_that_there_is_not_are_passed_over() -> None:
    text = written(COMPLETED)
    broken = text.replace("2026-11-22", "2026-11-31")
    assert broken != text
    assert launcher.read(broken + text, BEGIN) == launcher.read(text, BEGIN)
    assert launcher.line(broken.splitlines()[0]) is None


def test_each_row_is_reached() -> None:
    said = [
        RESTART, RESUMED, LOGIN, KEY.strip(), CHALLENGE, *WRONG, CLOSED, "Authorization failed: no longer supported",
        "Authorization failed: not currently available", "Authorization failed: new", "Authentication timeout", OUT,
        LOCKED, COMPLETED, SWITCHED,
    ]  # fmt: skip
    reached = [next(row for row, (pattern, _) in enumerate(launcher.LINES) if pattern.match(line)) for line in said]
    assert reached == list(range(len(launcher.LINES)))


def test_what_is_older_than_the_container_is_another_start_s() -> None:
    text = written(*START, LOGIN, PLAIN, *WRONG, began=BEGIN - timedelta(minutes=5))
    assert launcher.read(text, BEGIN) == launcher.Witness()
    assert launcher.read(text, BEGIN - timedelta(hours=1)).state == "rejected"
    # The file's times have whole milliseconds, Docker's are finer.
    assert launcher.read(written(RESTART), BEGIN.replace(second=1, microsecond=500_000)).state == "starting"


def test_builds_before_10_30_have_a_tag_before_the_level() -> None:
    text = written(*START, LOGIN).replace(" INFO ", " [AB] INFO ")
    assert launcher.read(text, BEGIN).state == "submitted"


def test_nothing_of_a_line_leaves_the_reader() -> None:
    """The file holds addresses, session ids and hashes. What comes out is two closed words."""
    secret = "192.0.2.99 6592f0e1.0001 mary02"  # noqa: S105
    lines = [*START, LOGIN, KEY.replace("IB Key", secret), f"Authorization failed: {secret}", f"{RESUMED} {secret}"]
    for end in range(len(lines) + 1):
        seen = asdict(launcher.read(written(*lines[:end]), BEGIN))
        assert set(seen) == {"state", "second_factor"}
        assert seen["state"] in set(LoginState)
        assert seen["second_factor"] in (None, "ib_key", "sms", "other")


# --- beside the automation's log --------------------------------------------------------------------------------------

STAMP = "2026-11-22 18:00:01:234 IBC: "
FORM = f"{STAMP}Login dialog WINDOW_OPENED: LoginState is LOGGED_OUT"
REJECTED = f"{STAMP}detected dialog entitled: Unrecognized Username or Password; event=Opened"
PUSH = f"{STAMP}Second Factor Authentication initiated"


def joined(lines: list[str], state: str, kind: str | None = None) -> Reading:
    return launcher.joined(read(lines), launcher.Witness(LoginState(state), kind))


@pytest.mark.parametrize(
    ("lines", "witness", "state"),
    [
        # Until its login the program wins ...
        ([FORM], "rejected", "rejected"),
        ([FORM], "second_factor_pending", "second_factor_pending"),
        ([PUSH], "second_factor_timeout", "second_factor_timeout"),
        ([f"{STAMP}Login has completed"], "second_factor_pending", "second_factor_pending"),
        ([f"{STAMP}Login has completed"], "starting", "starting"),
        ([f"{STAMP}Re-starting session", FORM], "server_unreachable", "server_unreachable"),
        ([], "resuming", "resuming"),
        ([REJECTED], "token_refused", "token_refused"),
        # ... but that it is logging in takes nothing from what stands in the way of that ...
        ([FORM, f"{STAMP}detected dialog entitled: Login Messages; event=Opened"], "submitted", "dialog"),
        ([REJECTED], "login_error", "rejected"),
        ([FORM], "login_error", "login_error"),
        ([PUSH], "submitted", "second_factor_pending"),
        ([REJECTED], "submitted", "rejected"),
        # ... a form at a start with a saved session proves nothing yet, other than what our first process says ...
        ([f"{STAMP}Re-starting session", FORM], "resuming", "resuming"),
        ([f"{STAMP}Re-starting session", FORM], "unknown", "token_refused"),
        ([f"{STAMP}Re-starting session", FORM, "ibgw: token refused"], "resuming", "token_refused"),
        # ... and after its login, or where it wrote nothing, the log is what there is.
        ([FORM], "unknown", "login_form"),
        ([FORM], "logged_in", "login_form"),
        ([f"{STAMP}Login has completed"], "logged_in", "logged_in"),
    ],
)
def test_the_program_wins_until_its_login(lines: list[str], witness: str, state: str) -> None:
    assert joined(lines, witness).state == state


def test_where_both_say_the_same_the_log_has_its_line_and_time() -> None:
    reading = joined([PUSH], "second_factor_pending", "sms")
    assert (reading.line, reading.at, reading.second_factor) == (PUSH, datetime(2026, 11, 22, 18, 0, 1), "sms")


def test_where_the_program_wins_no_line_is_shown() -> None:
    reading = joined([PUSH], "rejected")
    assert (reading.line, reading.at, reading.exit_codes[143]) == ("", None, "stopped")


@pytest.mark.parametrize(
    ("lines", "needed"),
    [
        ([], True),
        ([FORM], True),
        ([f"{STAMP}Login has completed"], True),
        ([REJECTED], True),
        (["ibgw: held: attempts: competing_session"], False),
        (["ibgw: held: volume"], False),
        (["ibgw: offline until 1795453200"], False),
        (["ibgw: waiting: pause"], False),
        ([f"{STAMP}Login has completed", "ibgw: stopping"], False),
    ],
)
def test_the_program_is_not_asked_where_it_is_kept_from_running(lines: list[str], needed: bool) -> None:
    assert launcher.needed(read(lines)) is needed
