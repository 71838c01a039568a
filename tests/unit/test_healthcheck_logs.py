"""The log profile, on the image's own lines (run.sh and common.sh of 10.45.1j; ibcstart.sh and IBC 3.24.1)."""

from datetime import datetime

import pytest

from healthcheck.automation import ibc
from healthcheck.logs import classify, read

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
