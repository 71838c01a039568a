"""The log profile, on the image's own lines (run.sh and common.sh of 10.45.1j; ibcstart.sh and IBC 3.24.1)."""

from datetime import UTC, datetime

import pytest

from healthcheck.automation import ibc
from healthcheck.logs import classify, read
from healthcheck.reasons import EXPLANATIONS, Reason

STAMP = "2026-11-22 18:00:01:234 IBC: "
START = [".> Starting IBC/IB gateway", "Starting IBC version 3.24.1 on 2026-11-22 at 18:00:00"]
FORM = [f"{STAMP}Login dialog WINDOW_OPENED: LoginState is LOGGED_OUT", f"{STAMP}Setting user name"]
ATTEMPT = [*START, *FORM, f"{STAMP}Login attempt: 1", f"{STAMP}Click button: Paper Log In"]
PUSH = [
    *ATTEMPT,
    f"{STAMP}detected dialog entitled: Second Factor Authentication; event=Opened",
    f"{STAMP}Second Factor Authentication initiated",
]


def dialog(title: str, event: str = "Opened") -> str:
    return f"{STAMP}detected dialog entitled: {title}; event={event}"


REJECTED = f"{STAMP}detected dialog entitled: Unrecognized Username or Password; event=Opened"
LOCKED = (
    f"{STAMP}Too many failed login attempts. Please wait 4 minutes & 47 seconds before attempting to re-login again."
)
HELD = "ibgw-guard: held: this secret version was tried twice without a successful login"


@pytest.mark.parametrize(
    ("lines", "state", "reason"),
    [
        ([], "unknown", None),
        (["Forking :::4002 onto 0.0.0.0:4004 > trading mode paper"], "unknown", None),
        (START, "starting", "starting"),
        ([*START, *FORM], "login_form", "starting"),
        (ATTEMPT, "submitted", "starting"),
        (PUSH, "second_factor_pending", "second_factor_pending"),
        ([*PUSH, f"{STAMP}Duration since login: 181 seconds"], "second_factor_timeout", "second_factor_timeout"),
        ([*PUSH, f"{STAMP}Duration since login: 12 seconds"], "second_factor_closed", "second_factor_denied"),
        (
            [*PUSH, f"{STAMP}IBC closing because login has not completed after Second Factor Authentication"],
            "second_factor_timeout",
            "second_factor_timeout",
        ),
        ([*PUSH, f"{STAMP}Login has completed"], "logged_in", None),
        ([*ATTEMPT, f"{STAMP}Login has completed: exiting via [File, Close] menu"], "submitted", "starting"),
        ([*ATTEMPT, REJECTED], "rejected", "login_failed"),
        ([*ATTEMPT, REJECTED.replace("detected", "Detected")], "rejected", "login_failed"),
        ([*ATTEMPT, f"{STAMP}Login failed", f"{STAMP}Cold restart in progress", *START], "rejected", "login_failed"),
        ([*ATTEMPT, REJECTED, *ATTEMPT], "rejected", "login_failed"),
        ([*ATTEMPT, REJECTED, *ATTEMPT, f"{STAMP}Login has completed"], "logged_in", None),
        ([*ATTEMPT, LOCKED, f"{STAMP}Will re-login at 18:05; login number: 2"], "locked_out", "locked_out"),
        ([*ATTEMPT, REJECTED, *ATTEMPT, LOCKED], "locked_out", "locked_out"),
        ([*START, HELD, *FORM], "guard_held", "guard_held"),
        ([*ATTEMPT, f"{STAMP}Connection to server failed: Server disconnected"], "server_unreachable",
         "server_unreachable"),
        ([*ATTEMPT, f"{STAMP}detected dialog entitled: Existing session detected; event=Opened",
          f"{STAMP}User must choose whether to continue with this session (scenario 1)"], "existing_session",
         "competing_session"),
        ([*ATTEMPT, f"{STAMP}detected dialog entitled: Existing session detected; event=Opened",
          f"{STAMP}Continue this session and let the other session exit (scenario 5)"], "session_kept", None),
        ([*ATTEMPT, f"{STAMP}detected dialog entitled: Existing session detected; event=Opened",
          f"{STAMP}Other session may be primary, so end this session… (scenario 6)"], "existing_session",
         "competing_session"),
        ([*ATTEMPT, f"{STAMP}Login has completed",
          f"{STAMP}detected dialog entitled: Re-login is required; event=Opened"],
         "relogin_required", "relogin_required"),
        ([*ATTEMPT, f"{STAMP}The system is not currently available."], "system_unavailable", "system_unavailable"),
        # Retries after an outage begin like any login.
        ([*ATTEMPT, f"{STAMP}Connection to server failed: Server disconnected", *ATTEMPT], "server_unreachable",
         "server_unreachable"),
        ([*ATTEMPT, f"{STAMP}Connection to server failed: Server disconnected", "IBC will restart shortly",
          f"{STAMP}Re-starting session", *ATTEMPT], "server_unreachable", "server_unreachable"),
        ([*ATTEMPT, f"{STAMP}Connection to server failed: Server disconnected", "IBC will restart shortly",
          *ATTEMPT, f"{STAMP}Login has completed", dialog("Restart in progress")], "restarting", "planned_restart"),
        ([*ATTEMPT, f"{STAMP}Connection to server failed: Server disconnected", *PUSH], "second_factor_pending",
         "second_factor_pending"),
        ([*ATTEMPT, dialog("Login Messages")], "dialog", "dialog_blocking"),
        ([*ATTEMPT, dialog("Login Messages"), dialog("Login Messages", "Closed")], "dialog_closed", "starting"),
        # A frame, which is no dialog.
        ([*ATTEMPT, f"{STAMP}detected frame entitled: Starting application...; event=Opened"], "submitted", "starting"),
        ([*ATTEMPT, f"{STAMP}Login has completed", dialog("Welcome")], "logged_in", None),
        ([*ATTEMPT, f"{STAMP}Login has completed", dialog("Welcome", "Closed")], "logged_in", None),
        ([*ATTEMPT, f"{STAMP}The current version of the application is no longer supported."], "version_refused",
         "version_refused"),
        ([*PUSH, f"{STAMP}You should specify the required second factor device using the SecondFactorDevice setting "
          "in config.ini"], "second_factor_device", "second_factor_device"),
        ([*PUSH, f"{STAMP}could not find second factor device 'X' in the list"], "second_factor_device",
         "second_factor_device"),
        ([*PUSH, dialog("Second Factor Authentication", "Closed")], "second_factor_closed", "second_factor_denied"),
        ([*ATTEMPT, f"{STAMP}Login has completed", dialog("Restart in progress")], "restarting", "planned_restart"),
        (["IBC will restart shortly"], "restarting", "planned_restart"),
        (["IBC will cold-restart shortly"], "unknown", None),
        ([*ATTEMPT, f"{STAMP}Login has completed", dialog("Existing session detected"),
          f"{STAMP}End this session and let the other session proceed (scenario 2)"], "existing_session",
         "session_taken_over"),
        ([*ATTEMPT, f"{STAMP}Trading Login Handoff dialog; error: {{}}"], "existing_session", "competing_session"),
        ([HELD, "ibgw-guard: logged in"], "logged_in", None),
    ],
)  # fmt: skip
def test_lines_lead_to_a_state_and_a_reason(lines: list[str], state: str, reason: str | None) -> None:
    reading = read(lines)
    assert (reading.state.value, reading.reason) == (state, reason)


def test_a_lock_tells_how_long_it_lasts() -> None:
    reading = read([LOCKED])
    assert reading.retry_after == 287
    assert reading.line == LOCKED
    assert read([LOCKED.replace("4 minutes & 47", "9")]).retry_after == 9


@pytest.mark.parametrize(
    "stamp", ["2026-13-01 10:00:00", "2026-02-30 10:00:00", "2026-11-27 10:90:00", "0000-01-01 00:00:00"]
)
def test_a_line_with_a_time_that_there_is_not_is_a_line_without(stamp: str) -> None:
    found = read([f"{stamp}:000 IBC: Login has completed"])
    assert (found.state, found.at) == ("logged_in", None)


@pytest.mark.parametrize(
    "line", ["ibgw: held: paused until {}", "Too many failed login attempts. Please wait {} minutes"]
)
def test_a_number_that_is_no_time_is_none(line: str) -> None:
    for digits in (12, 20, 5000):
        found = read([line.format("9" * digits)])
        assert (found.until, found.retry_after) == (None, None)


def test_the_line_that_decided_is_kept() -> None:
    assert read([*ATTEMPT, REJECTED, *FORM]).line == REJECTED


def test_the_time_of_the_line_that_decided_is_kept() -> None:
    assert read([*ATTEMPT, REJECTED]).at == datetime(2026, 11, 22, 18, 0, 1)
    assert read([HELD]).at is None


# ibcstart.sh's own errors (1 to 8) and IBC's 1100 to 1112, modulo 256.
@pytest.mark.parametrize("code", [*range(1, 9), *range(76, 89)])
def test_every_exit_code_has_a_meaning(code: int) -> None:
    assert ibc.PROFILE.exit_codes[code]


# The setup guide's signs, which the image never logs in these words, and what it does log. That the API is ready is
# never logged: the relay's line comes before the login.
@pytest.mark.parametrize(
    ("guides", "real", "state"),
    [
        ("Gateway initialization completed", "Configuration tasks completed", "logged_in"),
        ("API socket listening on port 4002", "Forking :::4002 onto 0.0.0.0:4004 > trading mode paper", None),
        ("Successfully logged in", "Login has completed", "logged_in"),
        ("Too many failed attempts", "Too many failed login attempts. Please wait 5 minutes", "locked_out"),
        ("Account locked", "Too many failed login attempts. Please wait 5 minutes", "locked_out"),
    ],
)
def test_the_guides_signs_are_corrected(guides: str, real: str, state: str | None) -> None:
    assert classify(f"{STAMP}{guides}") is None
    assert classify(f"{STAMP}{real}") == state


def test_the_guides_one_right_warning_sign() -> None:
    assert classify(f"{STAMP}Login failed") == "rejected"


# --- the 'Login Error' dialog: LoginErrorDialogHandler prints its text on the next line ----------------------------

ERROR = f"{STAMP}Login error message:"
RETRY = [
    f"{STAMP}Cold restart in progress",
    f"{STAMP}could not dismiss Login Error dialog because we could not find the OK button",
    dialog("Login Error", "Closed"),
    "IBC returned exit status 0",
    "IBC will cold-restart shortly",
    "IBC will restart shortly",
    f"{STAMP}Starting session: will exit if login dialog is not displayed within 60 seconds",
]


@pytest.mark.parametrize(
    ("text", "state", "reason"),
    [
        ("Login failed - Invalid username or password", "rejected", "login_failed"),
        ("Unrecognized Username or Password", "rejected", "login_failed"),
        ("This version of the application is no longer supported.", "version_refused", "version_refused"),
        ("The system is not currently available.", "system_unavailable", "system_unavailable"),
        ("Login failed - Server disconnected, please try again", "server_unreachable", "server_unreachable"),
        ("Please read the agreement first", "login_error", "login_error"),
        # Nothing that is said of other windows counts here.
        (dialog("Login Messages"), "login_error", "login_error"),
    ],
)
def test_the_text_of_a_login_error_decides_and_stays(text: str, state: str, reason: str) -> None:
    reading = read([*ATTEMPT, dialog("Login Error"), ERROR, text, *RETRY])
    assert (reading.state.value, reading.reason, reading.line) == (state, reason, text)


def test_a_login_error_without_a_text_is_one() -> None:
    assert read([*ATTEMPT, ERROR]).state == "login_error"
    assert read([*ATTEMPT, ERROR, "", "It is no longer supported"]).state == "version_refused"
    assert read([*ATTEMPT, ERROR, "", dialog("Login Messages")]).state == "login_error"


def test_only_the_line_after_it_is_the_text() -> None:
    assert read([*ATTEMPT, ERROR, "something", f"{STAMP}Login has completed"]).state == "logged_in"


# --- a saved session that is refused --------------------------------------------------------------------------------

RESUMED = [f"{STAMP}Re-starting session"]


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ([*RESUMED], "resuming"),
        ([*RESUMED, FORM[0]], "token_refused"),
        # IBC types no password at such a start: what is rejected is the session (IBC#345, #309).
        ([*RESUMED, dialog("Re-login is required"), f"{STAMP}Re-login to session", REJECTED], "token_refused"),
        ([*RESUMED, FORM[0], f"{STAMP}Login has completed"], "logged_in"),
        ([*RESUMED, f"{STAMP}Login has completed", FORM[0]], "login_form"),
        ([*RESUMED, *ATTEMPT], "submitted"),
        ([*RESUMED, FORM[0], *START, *FORM], "login_form"),
        ([*RESUMED, *ATTEMPT, REJECTED], "rejected"),
    ],
)
def test_a_refused_session_is_told_from_a_login(lines: list[str], state: str) -> None:
    assert read([*ATTEMPT, f"{STAMP}Login has completed", dialog("Restart in progress"), *lines]).state == state


def test_a_refused_session_says_what_to_do() -> None:
    reason = read([*RESUMED, FORM[0]]).reason
    assert reason is Reason.TOKEN_REFUSED
    assert "{login}" in EXPLANATIONS[reason].remedy[-1]


# --- what else IBC says, beside what was known before it --------------------------------------------------------------

LATE = f"{STAMP}IBC closing after TWS/Gateway failed to display login dialog"
STUCK = f"{STAMP}could not login: could not find control: IBAPI password"


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ([*START, LATE, "IBC will restart shortly", *START], "late_form"),
        ([*START, *FORM, STUCK], "automation_failed"),
        ([*ATTEMPT, REJECTED, STUCK], "rejected"),
        ([*ATTEMPT, f"{STAMP}Login has completed", f"{STAMP}could not dismiss Tip of the Day because"], "logged_in"),
        ([*START, f"{STAMP}CommandServer failed to create socket"], "starting"),
        ([*ATTEMPT, f"{STAMP}The system is not currently available.", *ATTEMPT], "system_unavailable"),
        # A closed dialog takes nothing back.
        ([*ATTEMPT, f"{STAMP}Connection to server failed: x", dialog("Gateway", "Closed")], "server_unreachable"),
        ([*ATTEMPT, dialog("Existing session detected"), f"{STAMP}so continue this one (scenario 3)",
          dialog("Existing session detected", "Closed")], "submitted"),
        (["IBC is paused"], "paused"),
    ],
)  # fmt: skip
def test_what_else_ibc_says(lines: list[str], state: str) -> None:
    assert read(lines).state == state


# --- the container's first process ----------------------------------------------------------------------------------

COMPETING = "ibgw: held: attempts: competing_session"


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ("rejected", "guard_held"),
        ("unknown", "guard_held"),
        ("a_later_word", "guard_held"),
        ("locked_out", "locked_out"),
        ("competing_session", "competing_session"),
        ("second_factor_timeout", "second_factor_timeout"),
        ("second_factor_denied", "second_factor_denied"),
        ("unreachable", "server_unreachable"),
        ("unavailable", "system_unavailable"),
        ("version_refused", "version_refused"),
        ("login_error", "login_error"),
        ("late_form", "late_form"),
        ("wrong_account", "wrong_account"),
        ("ended", "login_ended"),
    ],
)
def test_the_guard_names_how_the_last_attempt_ended(outcome: str, reason: str) -> None:
    reading = read([*START, f"ibgw: held: attempts: {outcome}"])
    assert (reading.state, reading.reason, reading.held) == ("guard_held", reason, True)


@pytest.mark.parametrize(
    ("line", "reason", "held"),
    [
        ("ibgw: held: wrong_account", "wrong_account", True),
        ("ibgw: held: logins", "too_many_logins", True),
        ("ibgw: held: volume", "volume_locked", True),
        ("ibgw: held: unwritable", "guard_unwritable", True),
        ("ibgw: held: automation", "automation_unsupported", True),
        ("ibgw: waiting: pause", "login_delayed", False),
        ("ibgw: attempt 2 of 2", "starting", False),
        ("ibgw: logged in", None, False),
        ("ibgw: heal: full_login", "healing", False),
        ("ibgw: token refused", "token_refused", False),
        ("ibgw: stopping", "stopping", False),
        ("ibgw: stopped: clean", "stopping", False),
        ("ibgw: stopped: no session", "stopping", False),
        ("ibgw: stopped: stranded", "session_stranded", False),
        (HELD, "guard_held", True),
        ("ibgw-guard: held: attempts cannot be recorded in /x, so none is made", "guard_unwritable", True),
    ],
)
def test_what_the_first_process_says_has_its_reason(line: str, reason: str | None, held: bool) -> None:
    reading = read([line])
    assert (reading.reason, reading.held) == (reason, held)


@pytest.mark.parametrize(("word", "state"), [("offline", "offline"), ("paused", "paused")])
def test_a_pause_tells_its_end_whatever_was_before(word: str, state: str) -> None:
    reading = read([*ATTEMPT, REJECTED, f"ibgw: {word} until 1795453200"])
    assert (reading.state, reading.reason, reading.until) == (state, state, datetime(2026, 11, 23, 17, tzinfo=UTC))
    assert read([f"ibgw: {word} until 1795453200", "ibgw: attempt 1 of 2"]).state == "starting"


def test_a_stop_leaves_what_was_known_of_the_login() -> None:
    reading = read([*ATTEMPT, REJECTED, "ibgw: stopping", "ibgw: stopped: no session"])
    assert (reading.state, reading.stop, reading.reason_of_login) == ("rejected", "stopped_no_session", "login_failed")
    assert not read([COMPETING, "ibgw: stopping"]).held
    assert read(["ibgw: stopped: clean", *START]).stop is None
    assert read(["ibgw: stopping", *FORM, dialog("Login Messages")]).stop == "stopping"


@pytest.mark.parametrize(
    ("lines", "code", "meaning"),
    [
        (START, 87, "the login or its second factor was not completed in time"),
        ([*START, "ibgw: attempt 1 of 2"], 75, "ended so that the next start waits its turn"),
        (["x INFO ibcontroller.login: IBController > login completed"], 75,
         "the second factor was not approved in time"),
        (["ibgw: attempt 1 of 2", "x INFO ibcontroller.login: IBController > login completed"], 75,
         "ended so that the next start waits its turn"),
        ([], 143, "stopped"),
    ],
)  # fmt: skip
def test_exit_codes_are_those_of_what_ran(lines: list[str], code: int, meaning: str) -> None:
    assert read(lines).exit_codes[code] == meaning


# --- the other automations, as sequences ------------------------------------------------------------------------------


def controller(*lines: str) -> list[str]:
    return [f"2026-11-22 18:00:01,234 INFO ibcontroller.login: {line}" for line in lines]


OWN = "IBController > "


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        (controller(f"{OWN}credentials submitted, awaiting outcome", f"{OWN}second factor authentication in progress"),
         "second_factor_pending"),
        (controller(f"{OWN}login error: new", f"{OWN}shutting down (never logged in) -- terminating directly",
                    f"{OWN}transient login failure -- relaunching with", f"{OWN}launching instance x"), "login_error"),
        (controller("too many failed login attempts -- retrying in 287s"), "locked_out"),
        (["18:00:01 [INFO] [live] [STATE: TWO_FA]", "18:00:02 [INFO] [live] IB Key 2FA dialog detected: x"],
         "second_factor_pending"),
        (['18:00:01 [ERROR] [live] ALERT_LOGIN_FAILED mode=live reason="bad-credentials"',
          "18:00:01 [INFO] [live] [STATE: LOGIN]"], "rejected"),
    ],
)  # fmt: skip
def test_the_other_automations_lines_lead_to_the_same_states(lines: list[str], state: str) -> None:
    reading = read(lines)
    assert (reading.state, reading.stop) == (state, None)


def test_their_times_and_locks_are_read_too() -> None:
    reading = read(controller("too many failed login attempts -- retrying in 287s"))
    assert (reading.at, reading.retry_after) == (datetime(2026, 11, 22, 18, 0, 1), 287)
