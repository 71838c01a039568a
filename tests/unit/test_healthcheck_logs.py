"""The log profile, on the image's own lines (run.sh and common.sh of 10.45.1j; ibcstart.sh and IBC 3.24.1)."""

import pytest

from healthcheck.logs import read

STAMP = "2026-11-22 18:00:01:234 IBC: "
START = [".> Starting IBC/IB gateway", "Starting IBC version 3.24.1 on 2026-11-22 at 18:00:00"]
FORM = [f"{STAMP}Login dialog WINDOW_OPENED: LoginState is LOGGED_OUT", f"{STAMP}Setting user name"]
ATTEMPT = [*START, *FORM, f"{STAMP}Login attempt: 1", f"{STAMP}Click button: Paper Log In"]
PUSH = [
    *ATTEMPT,
    f"{STAMP}detected dialog entitled: Second Factor Authentication; event=Opened",
    f"{STAMP}Second Factor Authentication initiated",
]
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
        ([*PUSH, f"{STAMP}Duration since login: 12 seconds"], "second_factor_pending", "second_factor_pending"),
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
          f"{STAMP}Continue this session and let the other session exit (scenario 5)"], "submitted", "starting"),
        ([*ATTEMPT, f"{STAMP}detected dialog entitled: Existing session detected; event=Opened",
          f"{STAMP}Other session may be primary, so end this session… (scenario 6)"], "existing_session",
         "competing_session"),
        ([*ATTEMPT, f"{STAMP}Login has completed",
          f"{STAMP}detected dialog entitled: Re-login is required; event=Opened"],
         "relogin_required", "not_logged_in"),
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
