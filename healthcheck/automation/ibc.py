"""IBC 3.24 in the image ib-gateway-docker, 10.45 to 10.50: run.sh, ibcstart.sh and IBC's own lines."""

from healthcheck.automation.base import LoginState, Profile
from healthcheck.reasons import Reason

PROFILE = Profile(
    name="IBC 3.24",
    recognised=r" IBC: |^Starting IBC version|^\.> Starting IBC in ",
    lines=(
        # run.sh and ibcstart.sh; the version that the latter names may be empty
        (r"^\.> Starting IBC/IB gateway", LoginState.STARTING),
        (r"^Starting IBC version", LoginState.STARTING),
        (r"IBC: Starting session:", LoginState.STARTING),
        # A restart of its own, which keeps the session
        (r"detected dialog entitled: Restart in progress", LoginState.RESTARTING),
        (r"^IBC will restart shortly", LoginState.RESTARTING),
        (r"autorestart file found at .*: authentication will not be required", LoginState.RESTARTING),
        (r"IBC: Re-starting session", LoginState.RESUMING),
        # By the command PAUSE of its command server
        (r"^IBC is paused", LoginState.PAUSED),
        # Login
        (r"Login has completed$", LoginState.LOGGED_IN),
        (r"Configuration tasks completed$", LoginState.LOGGED_IN),
        (r"detected dialog entitled: Unrecognized Username or Password", LoginState.REJECTED),
        (r"Too many failed login attempts", LoginState.LOCKED_OUT),
        (r"IBC: Login failed", LoginState.REJECTED),
        # LoginErrorDialogHandler: the text of the dialog is on the next line
        (r"IBC: Login error message:", LoginState.LOGIN_ERROR),
        (r"(invalid|unrecognized|incorrect) (user ?name|user ?id|login) or password", LoginState.REJECTED),
        (r"Connection to server failed|server disconnected", LoginState.SERVER_UNREACHABLE),
        (r"(is|are) not currently available", LoginState.SYSTEM_UNAVAILABLE),
        # IBKR's words: in a 'Login Error' dialog, otherwise only with `debug` on (mvberg/ib-gateway-docker#29)
        (r"is no longer supported", LoginState.VERSION_REFUSED),
        (r"detected dialog entitled: Re-login is required", LoginState.RELOGIN_REQUIRED),
        # SessionManager, LoginDialogDisplayTimeout
        (r"failed to display login dialog", LoginState.LATE_FORM),
        # Second factor; 180 seconds (SecondFactorAuthenticationTimeout) mean that nobody answered
        (
            r"Duration since login: (1[89][0-9]|[2-9][0-9][0-9]|[0-9]{4,}) seconds",
            LoginState.SECOND_FACTOR_TIMEOUT,
        ),
        (r"IBC closing because login has not completed after Second Factor", LoginState.SECOND_FACTOR_TIMEOUT),
        (r"Re-login after second factor authentication timeout", LoginState.SECOND_FACTOR_TIMEOUT),
        # answered, or closed by hand: either the login completes now or it was denied
        (r"Duration since login: [0-9]+ seconds", LoginState.SECOND_FACTOR_CLOSED),
        (r"If login has not completed, IBC will exit in", LoginState.SECOND_FACTOR_CLOSED),
        (r"detected dialog entitled: Second Factor Authentication; event=Closed", LoginState.SECOND_FACTOR_CLOSED),
        (r"You should specify the required second factor device", LoginState.SECOND_FACTOR_DEVICE),
        (r"could not find second factor device", LoginState.SECOND_FACTOR_DEVICE),
        (r"detected dialog entitled: Second Factor Authentication", LoginState.SECOND_FACTOR_PENDING),
        (r"Second Factor Authentication initiated", LoginState.SECOND_FACTOR_PENDING),
        (r"Login frame has now become SecondFactorAuthenticationDialog", LoginState.SECOND_FACTOR_PENDING),
        # Another session of the same user; at 3 the login goes on by itself, at 5 a session that was there
        (r"so continue this one \(scenario 3\)", LoginState.SUBMITTED),
        (r"Continue this session and let the other session exit", LoginState.SESSION_KEPT),
        (r"Trading Login Handoff dialog; (error|could not handle)", LoginState.EXISTING_SESSION),
        (r"IBC: Trading Login Handoff dialog", LoginState.SUBMITTED),
        (r"detected dialog entitled: (Existing session detected|Trading Login Handoff); event=Opened",
         LoginState.EXISTING_SESSION),
        (r"User must choose whether to continue with this session", LoginState.EXISTING_SESSION),
        (r"end this session", LoginState.EXISTING_SESSION),
        # Login form
        (r"Login dialog WINDOW_OPENED", LoginState.LOGIN_FORM),
        (r"Login attempt: [0-9]+", LoginState.SUBMITTED),
        (r"Click button: (Paper )?Log In", LoginState.SUBMITTED),
        # What IBC cannot operate. LoginFrameHandler's own word for what is no failure comes first.
        (r"could not find control: .*: this is expected when restarting", LoginState.RESTARTING),
        (r"could not find control", LoginState.AUTOMATION_FAILED),
        (r"could not (handle|dismiss) ", LoginState.AUTOMATION_FAILED),
        (r"CommandServer failed to create socket", LoginState.COMMANDS_UNAVAILABLE),
        # Dialogs that IBC closes; what is left waits for somebody. 'Authenticating' and 'Starting application...' are
        # frames.
        (r"detected dialog entitled: .*; event=Closed", LoginState.DIALOG_CLOSED),
        (r"detected dialog entitled: .*; event=Opened", LoginState.DIALOG),
    ),
    # ibcstart.sh's own codes, and IBC's modulo 256 (its ErrorCodes).
    exit_codes={
        1: "Java, Xvfb or the image's settings",
        2: "the gateway's version is not set",
        3: "a wrong argument of the start script",
        4: "the gateway's program files are missing",
        5: "a path of the start script is missing",
        6: "IBC's configuration is missing",
        7: "the options of the Java machine are missing",
        8: "an operating system that the start script does not know",
        76: "IBC failed unexpectedly",
        77: "IBC did not find a control that it needs",
        78: "IBC was started with wrong arguments",
        79: "IBC's configuration is missing",
        80: "IBC refused the trading mode",
        81: "IBC refused a setting",
        82: "IBC cannot use the settings folder",
        83: "the gateway's program could not be started",
        84: "jts.ini is a folder",
        85: "jts.ini cannot be written",
        86: "IBC met a dialog that it cannot handle",
        87: "the login or its second factor was not completed in time",
        88: "the login form did not appear",
        137: "killed, for want of memory or by hand",
        143: "stopped",
    },
    exit_reasons={
        **dict.fromkeys((2, 3, 4, 5, 6, 7, 8, 79, 83), Reason.IMAGE_BROKEN),
        **dict.fromkeys((80, 81), Reason.SETTING_REFUSED),
        **dict.fromkeys((77, 86), Reason.AUTOMATION_FAILED),
        **dict.fromkeys((82, 85), Reason.GUARD_UNWRITABLE),
        87: Reason.SECOND_FACTOR_TIMEOUT,
        88: Reason.LATE_FORM,
    },
    # TwsSettingsSaver: 49 lines at each start where it saves every half hour, then one each time
    routine=r"IBC: (Tws settings will be saved at [0-9:]+|Saving Tws settings)$",
)  # fmt: skip
