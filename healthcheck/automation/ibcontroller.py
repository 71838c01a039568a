"""ibcontroller 0.1 (`py-ib-controller` on PyPI, by the image's maintainer), from its sources of 0.1.4.

Not deployed: the container's first process refuses it, since it relaunches without a bound.
"""

from healthcheck.automation.base import LoginState, Profile

PROFILE = Profile(
    name="ibcontroller 0.1",
    recognised=r"IBController > | ibcontroller\.[a-z_]+: ",
    lines=(
        # launcher.py and control_loop.py
        (r"IBController > launching instance ", LoginState.STARTING),
        (r"IBController > startup state: [A-Z_]+ -> LOGGING_IN", LoginState.STARTING),
        (r"IBController > startup state: [A-Z_]+ -> (APPLYING_SETTINGS|READY)", LoginState.LOGGED_IN),
        (r"IBController > .* -- skipping credential fill", LoginState.RESUMING),
        (r"IBController > login frame never appeared -- relaunching", LoginState.LATE_FORM),
        (r"mfa_timeout_action=restart -- relaunching", LoginState.SECOND_FACTOR_TIMEOUT),
        (r"cycle aborted: login did not complete within .* of (the 2FA|second factor)",
         LoginState.SECOND_FACTOR_TIMEOUT),
        # names no cause: the line before it does
        (r"IBController > transient login failure -- relaunching", LoginState.RESTARTING),
        (r"IBController > cold_restart_time reached -- relaunching", LoginState.RESTARTING),
        (r"Gateway restarted on its own schedule", LoginState.RESTARTING),
        (r"IBController > scheduled shutdown fired: COLD_RESTART", LoginState.RESTARTING),
        (r"IBController > control loop stop requested", LoginState.STOPPING),
        (r"IBController > shut down cleanly via ", LoginState.STOPPED_CLEAN),
        (r"IBController > shutting down \(never logged in\)", LoginState.STOPPED_NO_SESSION),
        (r"IBController > clean shutdown via .* did not exit within ", LoginState.STOPPED_STRANDED),
        # login.py
        (r"IBController > credentials submitted, awaiting outcome", LoginState.SUBMITTED),
        (r"IBController > second factor authentication in progress", LoginState.SECOND_FACTOR_PENDING),
        (r"IBController > re-login after second factor authentication timeout", LoginState.SECOND_FACTOR_TIMEOUT),
        (r"IBController > login completed", LoginState.LOGGED_IN),
        # recognisers.py; a title 'Login failed' is its authors' 'server disconnected'
        (r"unrecognized username or password -- login rejected", LoginState.REJECTED),
        (r"too many failed login attempts -- ", LoginState.LOCKED_OUT),
        (r"IBController > login failed -- transient, relaunching", LoginState.SERVER_UNREACHABLE),
        (r"IBController > login error: .*no longer supported", LoginState.VERSION_REFUSED),
        (r"IBController > login error: .*not currently available", LoginState.SYSTEM_UNAVAILABLE),
        (r"IBController > login error: .*(invalid|unrecognized) user ?name or password", LoginState.REJECTED),
        (r"IBController > login error: .*server disconnected", LoginState.SERVER_UNREACHABLE),
        (r"IBController > login error: ", LoginState.LOGIN_ERROR),
        (r"IBController > Connection to server failed", LoginState.SERVER_UNREACHABLE),
        (r"IBController > existing session detected -- first attempt, continuing", LoginState.SUBMITTED),
        (r"IBController > existing session detected -- primary, continuing", LoginState.SESSION_KEPT),
        (r"IBController > existing session detected -- ", LoginState.EXISTING_SESSION),
        (r"unhandled unprompted window: ", LoginState.DIALOG),
    ),
    # cli.py, after sysexits.h
    exit_codes={
        0: "stopped",
        1: "ibcontroller failed unexpectedly",
        2: "ibcontroller was called with wrong arguments",
        69: "a failure that may pass",
        75: "the second factor was not approved in time",
        77: "the credentials were rejected",
        78: "a setting of ibcontroller is wrong or missing",
        137: "killed, for want of memory or by hand",
    },
)  # fmt: skip
