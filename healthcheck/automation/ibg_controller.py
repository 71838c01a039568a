"""ibg-controller 0.10 (code-hustler-ft3d/ibg-controller), from its docs/OBSERVABILITY.md and sources.

Its ALERT_ tokens are a contract of its own; the other lines are those of its login. Not deployed: it takes the user id
from the environment.
"""

from healthcheck.automation.base import LoginState, Profile

PROFILE = Profile(
    name="ibg-controller 0.10",
    recognised=r"^[0-9:]{8} \[(DEBUG|INFO|WARNING|ERROR|CRITICAL)\] \[(live|paper)\] ",
    lines=(
        (r"\[STATE: (INIT|LAUNCHING|AGENT_WAIT|APP_DISCOVERY)\]", LoginState.STARTING),
        (r"\[STATE: (CONFIG|COMMAND_SERVER|READY|MONITORING)\]", LoginState.LOGGED_IN),
        (r"\[STATE: LOGIN\]", LoginState.LOGIN_FORM),
        (r"Login dialog detected", LoginState.LOGIN_FORM),
        # TWO_FA is entered by every login, with a second factor or without
        (r"\[STATE: (POST_LOGIN|TWO_FA|DISCLAIMERS|API_WAIT)\]", LoginState.SUBMITTED),
        (r"\] Log In clicked successfully", LoginState.SUBMITTED),
        (r"Login dialog never appeared", LoginState.LATE_FORM),
        (r"\] Login complete\. Entering monitor loop", LoginState.LOGGED_IN),
        # A session lost, or a restart
        (r"\] Gateway JVM exited with code ", LoginState.RESTARTING),
        (r"\] RESTART: terminating Gateway", LoginState.RESTARTING),
        (r"ALERT_AUTO_RESTART .*status=adopted", LoginState.LOGGED_IN),
        (r"ALERT_AUTO_RESTART .*status=failed_", LoginState.RESTARTING),
        (r"ALERT_IBKR_MAINTENANCE_RECOVERY ", LoginState.WAITING),
        # Refused
        (r"ALERT_LOGIN_FAILED .*reason=.bad-credentials", LoginState.REJECTED),
        (r"ALERT_LOGIN_FAILED .*reason=.post-auth-no-progress", LoginState.DIALOG),
        (r"ALERT_PASSWORD_EXPIRED status=expired", LoginState.REJECTED),
        (r"CCP LOCKOUT DETECTED", LoginState.SERVER_UNREACHABLE),
        (r"Diagnosis: (SSL HANDSHAKE FAILED|IBKR SILENTLY DROPPED|Gateway NEVER reached)",
         LoginState.SERVER_UNREACHABLE),
        (r"ALERT_JVM_RESTART_EXHAUSTED ", LoginState.SERVER_UNREACHABLE),
        # three of those in a row: its authors name another session, or one that was left behind
        (r"ALERT_CCP_PERSISTENT(_HALT)? ", LoginState.EXISTING_SESSION),
        # Another session
        (r"Recognized: existing-session-detected dialog", LoginState.EXISTING_SESSION),
        (r"Late existing-session dialog detected", LoginState.EXISTING_SESSION),
        (r"Clicking existing-session button", LoginState.SUBMITTED),
        (r"action=manual .* leaving dialog for user", LoginState.EXISTING_SESSION),
        # Second factor
        (r"2FA dialog detected: ", LoginState.SECOND_FACTOR_PENDING),
        (r"Waiting for IB Key mobile approval", LoginState.SECOND_FACTOR_PENDING),
        (r"IB Key approval wait timed out", LoginState.SECOND_FACTOR_TIMEOUT),
        (r"IB Key approval (detected|succeeded)", LoginState.SUBMITTED),
        (r"2FA handled successfully", LoginState.SUBMITTED),
        (r"ALERT_2FA_FAILED .*reason=.2FA dialog timeout", LoginState.SECOND_FACTOR_TIMEOUT),
        (r"ALERT_2FA_FAILED .*reason=.(2FA method mismatch|2FA device switch|[^ ]+( OK)? on 2FA device selector)",
         LoginState.SECOND_FACTOR_DEVICE),
        (r"ALERT_2FA_FAILED ", LoginState.AUTOMATION_FAILED),
        (r"\] Unrecognized modal", LoginState.DIALOG),
        # A stop
        (r"\] Received signal [0-9]+ .*, shutting down Gateway", LoginState.STOPPING),
        (r"ALERT_SHUTDOWN .*graceful=true", LoginState.STOPPED_CLEAN),
        (r"ALERT_SHUTDOWN .*graceful=false", LoginState.STOPPED_STRANDED),
    ),
    exit_codes={
        0: "stopped",
        1: "ibg-controller gave up: the login failed, or the gateway's program did",
        2: "a setting of ibg-controller is wrong or missing",
        3: "the second factor was not approved in time",
        4: "the second factor was not approved in time, and a restart failed",
        137: "killed, for want of memory or by hand",
    },
)  # fmt: skip
