"""The tables of what may drive the gateway, on lines in the form in which each of them writes. Every row is reached."""

import subprocess
from collections.abc import Iterable

import pytest

from healthcheck.automation import PROFILES, choose, ibc, ibcontroller, ibg_controller, supervisor
from healthcheck.automation.base import OUTCOMES, REASONS, Lines, LoginState, Profile, classify, matches
from healthcheck.reasons import EXPLANATIONS

IBC = "2026-11-22 18:00:01:234 IBC: "
DIALOG = f"{IBC}detected dialog entitled: "
IBC_LINES: list[tuple[str, str | None]] = [
    (".> Starting IBC/IB gateway", "starting"),
    ("Starting IBC version 3.24.1 on 2026-11-22 at 18:00:00", "starting"),
    ("Starting IBC version  on 2026-11-22 at 18:00:00", "starting"),
    (f"{IBC}Starting session: will exit if login dialog is not displayed within 60 seconds", "starting"),
    (f"{DIALOG}Restart in progress; event=Opened", "restarting"),
    ("IBC will restart shortly", "restarting"),
    ("autorestart file found at /home/ibgateway/tws_settings/abc/autorestart: authentication will not be required",
     "restarting"),
    (f"{IBC}Re-starting session", "resuming"),
    ("IBC is paused", "paused"),
    (f"{IBC}Login has completed", "logged_in"),
    (f"{IBC}Configuration tasks completed", "logged_in"),
    (f"{DIALOG}Unrecognized Username or Password; event=Opened", "rejected"),
    (f"{IBC}Too many failed login attempts. Please wait 53 seconds before attempting to re-login again.", "locked_out"),
    (f"{IBC}Login failed", "rejected"),
    (f"{IBC}Login error message:", "login_error"),
    ("Login failed - invalid username or password", "rejected"),
    (f"{IBC}Connection to server failed: Server disconnected, please try again", "server_unreachable"),
    (f"{IBC}The system is not currently available.", "system_unavailable"),
    ("The current version of the application is no longer supported and needs to be upgraded", "version_refused"),
    (f"{DIALOG}Re-login is required; event=Opened", "relogin_required"),
    (f"{IBC}IBC closing after TWS/Gateway failed to display login dialog", "late_form"),
    (f"{IBC}Duration since login: 180 seconds", "second_factor_timeout"),
    (f"{IBC}Duration since login: 1000 seconds", "second_factor_timeout"),
    (f"{IBC}IBC closing because login has not completed after Second Factor Authentication", "second_factor_timeout"),
    (f"{IBC}Re-login after second factor authentication timeout not required", "second_factor_timeout"),
    (f"{IBC}Duration since login: 179 seconds", "second_factor_closed"),
    (f"{IBC}If login has not completed, IBC will exit in 60 seconds", "second_factor_closed"),
    (f"{DIALOG}Second Factor Authentication; event=Closed", "second_factor_closed"),
    (f"{IBC}You should specify the required second factor device using the SecondFactorDevice setting in config.ini",
     "second_factor_device"),
    (f"{IBC}could not find second factor device 'X' in the list", "second_factor_device"),
    (f"{DIALOG}Second Factor Authentication; event=Opened", "second_factor_pending"),
    (f"{IBC}Second Factor Authentication initiated", "second_factor_pending"),
    (f"{IBC}Login frame has now become SecondFactorAuthenticationDialog", "second_factor_pending"),
    (f"{IBC}Don't know the type of the other session, so continue this one (scenario 3)", "submitted"),
    (f"{IBC}Continue this session and let the other session exit (scenario 5)", "session_kept"),
    (f"{IBC}Trading Login Handoff dialog; error: {{}}", "existing_session"),
    (f"{IBC}Trading Login Handoff dialog; could not handle because {{}}", "existing_session"),
    (f"{IBC}Trading Login Handoff dialog; {{}}", "submitted"),
    (f"{DIALOG}Existing session detected; event=Opened", "existing_session"),
    (f"{DIALOG}Trading Login Handoff; event=Opened", "existing_session"),
    (f"{DIALOG}Existing session detected; event=Closed", "dialog_closed"),
    (f"{IBC}User must choose whether to continue with this session (scenario 1)", "existing_session"),
    (f"{IBC}End this session and let the other session proceed (scenario 2)", "existing_session"),
    (f"{IBC}Login dialog WINDOW_OPENED: LoginState is LOGGED_OUT", "login_form"),
    (f"{IBC}Login attempt: 1", "submitted"),
    (f"{IBC}Click button: Log In", "submitted"),
    (f"{IBC}Click button: Paper Log In", "submitted"),
    (f"{IBC}could not find control: Use/store settings on server: this is expected when restarting", "restarting"),
    (f"{IBC}could not login: could not find control: IBAPI password", "automation_failed"),
    (f"{IBC}could not dismiss Login Failed dialog because we could not find the OK button", "automation_failed"),
    (f"{IBC}could not handle 'Re-login is required' dialog because the 'Re-login' button wasn't found.",
     "automation_failed"),
    (f"{IBC}CommandServer failed to create socket", "commands_unavailable"),
    (f"{DIALOG}Login Messages; event=Closed", "dialog_closed"),
    (f"{DIALOG}Login Messages; event=Opened", "dialog"),
    (DIALOG.replace("detected", "Detected") + "Unrecognized Username or Password; event=Opened", "rejected"),
    # Frames, which are no dialogs.
    (f"{IBC}detected frame entitled: Starting application...; event=Opened", None),
    (f"{IBC}detected frame entitled: Authenticating...; event=Opened", None),
    # No line of IBC since 2025.
    ("Autorestart file contains invalid credentials", None),
    (f"{IBC}Login has completed: exiting via [File, Close] menu", None),
    ("IBC will cold-restart shortly", None),
    ("Forking :::4002 onto 0.0.0.0:4004 > trading mode paper", None),
]  # fmt: skip

OWN = "2026-11-22 18:00:01,234 INFO ibcontroller.login: IBController > "
BARE = "2026-11-22 18:00:01,234 WARNING ibcontroller.recognisers: "
IBCONTROLLER_LINES: list[tuple[str, str | None]] = [
    (f"{OWN}launching instance paper (10.45)", "starting"),
    (f"{OWN}startup state: LAUNCHING -> LOGGING_IN", "starting"),
    (f"{OWN}startup state: APPLYING_SETTINGS -> READY", "logged_in"),
    (f"{OWN}startup state: READY -> SHUTTING_DOWN", None),
    (f"{OWN}autorestart marker file -- skipping credential fill", "resuming"),
    (f"{OWN}login frame never appeared -- relaunching (restart hash=None): login frame never appeared within 60s",
     "late_form"),
    (f"{OWN}mfa_timeout_action=restart -- relaunching with a full fresh login: login did not complete",
     "second_factor_timeout"),
    (f"{OWN}cycle aborted: login did not complete within 180s of the 2FA dialog appearing (mfa_timeout)",
     "second_factor_timeout"),
    (f"{OWN}transient login failure -- relaunching with a full fresh login: login failed; server disconnected",
     "restarting"),
    (f"{OWN}cold_restart_time reached -- relaunching with a full fresh login (no restart hash)", "restarting"),
    ("2026-11-22 18:00:01,234 WARNING ibcontroller.control_loop: Gateway restarted on its own schedule (autorestart "
     "marker present at /x, hash=y) -- relaunching", "restarting"),
    (f"{OWN}scheduled shutdown fired: COLD_RESTART", "restarting"),
    (f"{OWN}control loop stop requested (task cancelled)", "stopping"),
    (f"{OWN}shut down cleanly via File > Close (returncode=0)", "stopped_clean"),
    (f"{OWN}shutting down (never logged in) -- terminating directly", "stopped_no_session"),
    (f"{OWN}clean shutdown via File > Close did not exit within 15s -- terminating", "stopped_stranded"),
    (f"{OWN}credentials submitted, awaiting outcome", "submitted"),
    (f"{OWN}second factor authentication in progress", "second_factor_pending"),
    (f"{OWN}re-login after second factor authentication timeout not required", "second_factor_timeout"),
    (f"{OWN}login completed", "logged_in"),
    (f"{OWN}unrecognized username or password -- login rejected", "rejected"),
    (f"{BARE}too many failed login attempts -- relogin disabled, stopping", "locked_out"),
    (f"{BARE}too many failed login attempts -- retrying in 287s", "locked_out"),
    (f"{OWN}login failed -- transient, relaunching", "server_unreachable"),
    (f"{OWN}login error: This version is no longer supported.", "version_refused"),
    (f"{OWN}login error: The system is not currently available.", "system_unavailable"),
    (f"{OWN}login error: Login failed | Invalid username or password", "rejected"),
    (f"{OWN}login error: Login failed - Server disconnected, please try again", "server_unreachable"),
    (f"{OWN}login error: something new", "login_error"),
    (f"{OWN}Connection to server failed: Server disconnected", "server_unreachable"),
    (f"{OWN}existing session detected -- first attempt, continuing this session", "submitted"),
    (f"{OWN}existing session detected -- primary, continuing this session", "session_kept"),
    (f"{OWN}existing session detected -- second attempt, ending this session", "existing_session"),
    (f"{OWN}existing session detected -- manual, leaving for the user", "existing_session"),
    (f"{BARE}unhandled unprompted window: javax.swing.JDialog 'Login Messages'", "dialog"),
]  # fmt: skip

INFO = "18:00:01 [INFO] [paper] "
ERROR = "18:00:01 [ERROR] [paper] "
FAILED = f"{ERROR}ALERT_2FA_FAILED mode=paper "
IBG_CONTROLLER_LINES: list[tuple[str, str | None]] = [
    (f"{INFO}[STATE: LAUNCHING]", "starting"),
    (f"{INFO}[STATE: MONITORING]", "logged_in"),
    (f"{INFO}[STATE: LOGIN]", "login_form"),
    (f"{INFO}Login dialog detected", "login_form"),
    (f"{INFO}[STATE: TWO_FA]", "submitted"),
    (f"{INFO}Log In clicked successfully", "submitted"),
    (f"{ERROR}Login dialog never appeared (no JPasswordField in any showing Window)", "late_form"),
    (f"{INFO}Login complete. Entering monitor loop.", "logged_in"),
    (f"{ERROR}Gateway JVM exited with code 0", "restarting"),
    (f"{INFO}RESTART: terminating Gateway PID 27", "restarting"),
    (f"{INFO}ALERT_AUTO_RESTART mode=paper status=adopted detected_via=restarter_log old_pid=27", "logged_in"),
    (f"{INFO}ALERT_AUTO_RESTART mode=paper status=failed_no_agent detected_via=restarter_log", "restarting"),
    (f'{INFO}ALERT_IBKR_MAINTENANCE_RECOVERY delay_seconds=480 mode=paper reason="JVM exited with code 0"', "waiting"),
    (f'{ERROR}ALERT_LOGIN_FAILED mode=paper reason="bad-credentials" suggested_action="verify"', "rejected"),
    (f'{ERROR}ALERT_LOGIN_FAILED mode=paper reason="post-auth-no-progress" suggested_action="verify"', "dialog"),
    (f'{ERROR}ALERT_PASSWORD_EXPIRED status=expired mode=paper suggested_action="rotate"', "rejected"),
    (f"{ERROR}ALERT_PASSWORD_EXPIRED status=warning mode=paper days_remaining=7", None),
    (f"{INFO}CCP LOCKOUT DETECTED — IBKR's auth server silently dropped the auth request", "server_unreachable"),
    (f"{ERROR}Diagnosis: IBKR SILENTLY DROPPED THE AUTH REQUEST.", "server_unreachable"),
    (f"{ERROR}ALERT_JVM_RESTART_EXHAUSTED mode=paper attempts=5", "server_unreachable"),
    (f"{ERROR}ALERT_CCP_PERSISTENT consecutive_lockouts=3 mode=paper", "existing_session"),
    (f"{ERROR}ALERT_CCP_PERSISTENT_HALT mode=paper", "existing_session"),
    (f"{INFO}Recognized: existing-session-detected dialog", "existing_session"),
    (f"{INFO}Late existing-session dialog detected in 2FA wait: Existing session detected", "existing_session"),
    (f"{INFO}Clicking existing-session button 'Reconnect This Session' in 'Existing' window", "submitted"),
    (f"{INFO}action=manual — leaving dialog for user", "existing_session"),
    (f"{INFO}IB Key 2FA dialog detected: Second Factor Authentication", "second_factor_pending"),
    (f"{INFO}Waiting for IB Key mobile approval — approve on your phone via the IB Key app", "second_factor_pending"),
    (f"{INFO}IB Key approval wait timed out", "second_factor_timeout"),
    (f"{INFO}API port opened — IB Key approval succeeded", "submitted"),
    (f"{INFO}2FA handled successfully", "submitted"),
    (f'{FAILED}reason="2FA dialog timeout; TWOFA_TIMEOUT_ACTION=exit"', "second_factor_timeout"),
    (f'{FAILED}reason="2FA method mismatch" expected=\'x\'', "second_factor_device"),
    (f'{FAILED}reason="JLIST_SELECT on 2FA device selector failed"', "second_factor_device"),
    (f'{FAILED}reason="CLICK_IN_WIN OK on 2FA device selector failed"', "second_factor_device"),
    (f'{FAILED}reason="agent SETTEXT_IN_WIN on 2FA dialog failed"', "automation_failed"),
    (f"{INFO}Unrecognized modal — leaving in place to let Gateway flow proceed", "dialog"),
    (f"{INFO}Received signal 15 (SIGTERM), shutting down Gateway", "stopping"),
    (f'{INFO}ALERT_SHUTDOWN mode=paper signal=SIGTERM graceful=true reason="x"', "stopped_clean"),
    (f'{INFO}ALERT_SHUTDOWN mode=paper signal=SIGTERM graceful=false reason="x"', "stopped_stranded"),
]  # fmt: skip

AUTOMATIONS = [
    (ibc.PROFILE, IBC_LINES),
    (ibcontroller.PROFILE, IBCONTROLLER_LINES),
    (ibg_controller.PROFILE, IBG_CONTROLLER_LINES),
]

SUPERVISOR_LINES: list[tuple[str, str | None]] = [
    ("ibgw: starting", "starting"),
    *((f"ibgw: held: attempts: {outcome}", "guard_held") for outcome in OUTCOMES),
    ("ibgw: held: wrong_account", "wrong_account"),
    ("ibgw: held: logins", "too_many_logins"),
    ("ibgw: held: codes", "codes_held"),
    ("ibgw: held: volume", "volume_locked"),
    ("ibgw: held: unwritable", "guard_unwritable"),
    ("ibgw: held: automation", "automation_unsupported"),
    ("ibgw: waiting: pause", "waiting"),
    ("ibgw: offline until 1795453200", "offline"),
    ("ibgw: paused until 1795453200", "paused"),
    ("ibgw: paused until 99999999999", None),  # beyond every calendar
    ("ibgw: attempt 1 of 2", "starting"),
    ("ibgw: logged in", "logged_in"),
    ("ibgw: stopping", "stopping"),
    ("ibgw: stopped: clean", "stopped_clean"),
    ("ibgw: stopped: no session", "stopped_no_session"),
    ("ibgw: stopped: stranded", "stopped_stranded"),
    ("ibgw: heal: soft_restart", "healing"),
    ("ibgw: heal: full_login", "healing"),
    ("ibgw: token refused", "token_refused"),
    # The start guard's, before there was a first process of ours
    ("ibgw-guard: held: this secret version was tried twice without a successful login", "guard_held"),
    ("ibgw-guard: held: attempts cannot be recorded in /x, so none is made", "guard_unwritable"),
    ("ibgw-guard: logged in", "logged_in"),
]

TABLES = [
    pytest.param(supervisor.LINES, SUPERVISOR_LINES, id="supervisor"),
    *(pytest.param(profile.lines, samples, id=profile.name) for profile, samples in AUTOMATIONS),
]


def as_profile(lines: Lines) -> Profile:
    return Profile("tested", "", lines, {})


@pytest.mark.parametrize(("lines", "samples"), TABLES)
def test_each_line_says_its_state(lines: Lines, samples: list[tuple[str, str | None]]) -> None:
    assert [(line, classify(line, as_profile(lines))) for line, _ in samples] == samples


@pytest.mark.parametrize(("lines", "samples"), TABLES)
def test_each_row_is_reached_by_a_line(lines: Lines, samples: list[tuple[str, str | None]]) -> None:
    reached = {next((pattern for pattern, _ in lines if matches(pattern, line)), None) for line, _ in samples}
    assert [pattern for pattern, _ in lines if pattern not in reached] == []


BASH = r"""
shopt -s nocasematch
mapfile -t patterns <"$1"
mapfile -t lines <"$2"
for pattern in "${patterns[@]}"; do
	for line in "${lines[@]}"; do
		[[ $line =~ $pattern ]]
		printf %s $?
	done
	echo
done
"""


def in_bash(patterns: Iterable[str], lines: Iterable[str], folder: str) -> list[str]:
    """A line a pattern: for each line 0 where bash finds it, 1 where it does not, 2 where the pattern is none."""
    paths = []
    for name, texts in (("patterns", patterns), ("lines", lines)):
        paths.append(f"{folder}/{name}")
        with open(paths[-1], "w", encoding="utf-8") as file:
            file.writelines(f"{text}\n" for text in texts)
    run = subprocess.run(["bash", "-c", BASH, "bash", *paths], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return run.stdout.splitlines()


@pytest.mark.parametrize(("lines", "samples"), TABLES)
def test_bash_and_python_read_the_patterns_alike(
    lines: Lines, samples: list[tuple[str, str | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    patterns = [pattern for pattern, _ in lines]
    texts = [text for text, _ in samples]
    expected = ["".join("0" if matches(pattern, text) else "1" for text in texts) for pattern in patterns]
    assert in_bash(patterns, texts, str(tmp_path_factory.mktemp("bash"))) == expected


def test_bash_tells_a_pattern_that_is_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    """So that the test above cannot pass for want of one."""
    assert in_bash([r"(?:a)", r"a+", r"(a"], ["a"], str(tmp_path_factory.mktemp("bash"))) == ["2", "0", "2"]


@pytest.mark.parametrize("profile", PROFILES, ids=[profile.name for profile in PROFILES])
def test_no_pattern_uses_what_only_python_knows(profile: Profile) -> None:
    """GNU's library knows some of these as extensions, and other ones do not."""
    for pattern, _ in (*profile.lines, *supervisor.LINES):
        assert not [sign for sign in (r"\d", r"\s", r"\w", r"\b", "(?", "*?", "+?") if sign in pattern], pattern


@pytest.mark.parametrize(
    ("profile", "samples"),
    [*AUTOMATIONS, (ibc.PROFILE, SUPERVISOR_LINES), (ibc.PROFILE, [])],
)
def test_the_log_shows_what_drives_the_gateway(profile: Profile, samples: list[tuple[str, str | None]]) -> None:
    image = [".> Starting IBC/IB gateway", ".> Starting Xvfb server", "Forking :::4002 onto 0.0.0.0:4004"]
    assert choose([*image, *(line for line, _ in samples)]).name == profile.name


def test_every_state_is_said_by_a_line_or_is_an_outcome() -> None:
    lines = (*supervisor.LINES, *(row for profile in PROFILES for row in profile.lines))
    said = {state for _, state in lines} | set(OUTCOMES.values())
    assert set(LoginState) == said


def test_what_a_state_explains_has_a_remedy() -> None:
    silent = {LoginState.UNKNOWN, LoginState.LOGGED_IN, LoginState.SESSION_KEPT, LoginState.COMMANDS_UNAVAILABLE}
    assert set(LoginState) - set(REASONS) == silent
    assert set(REASONS.values()) <= set(EXPLANATIONS)


@pytest.mark.parametrize(
    ("profile", "codes"),
    [
        # ibcstart.sh's own errors, and IBC's 1100 to 1112 modulo 256
        (ibc.PROFILE, [*range(1, 9), *range(76, 89), 137, 143]),
        (ibcontroller.PROFILE, [0, 1, 2, 69, 75, 77, 78, 137]),
        (ibg_controller.PROFILE, [0, 1, 2, 3, 4, 137]),
    ],
)
def test_every_exit_code_has_a_meaning(profile: Profile, codes: list[int]) -> None:
    assert sorted(profile.exit_codes) == codes
