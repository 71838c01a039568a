"""The table of the image's outside: a start's variables and files -> its log lines, exit code and what it leaves.

Each row names the file of the image that it is read from: run.sh, common.sh, run_socat.sh and config.ini.tmpl of
ib-gateway-docker (tag 10.45.1j), ibcstart.sh and the Java classes of IBC 3.24.1. Misspelt words are theirs. What these
do once they run is tested without a container: tests/unit/test_gateway_sim_*.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

HOME = "/home/ibgateway"
SETTINGS = f"{HOME}/tws_settings"

Environment = Mapping[str, str | None]
"""What differs from BASE; None leaves a variable out."""

BASE: Environment = {
    "TWS_USERID": "someone",
    "TWS_PASSWORD": "Pass77word",
    "TRADING_MODE": "paper",
    "READ_ONLY_API": "no",
    "AUTO_RESTART_TIME": "11:59 PM",
    "EXISTING_SESSION_DETECTED_ACTION": "primary",
    "TWOFA_TIMEOUT_ACTION": "exit",
}


@dataclass(frozen=True)
class Row:
    """`again`: a second start in the same home, or container layer, with this environment: what is expected is its.

    `files`: path in the home -> text, None to remove it. `lines`: in this order in the log. `code`: None while it runs.
    `left`: path in the home -> lines of it, None for a file that must not be there. `user`: whose credentials, in a
    container; None for BASE's. `scenario`: the broker's for this user. `container`: a container of its own, which logs
    in or stands before its login; else run.sh runs in a home of its own, all such rows in one container, where IBC's
    start script only prints its arguments.
    """

    name: str
    source: str
    environment: Environment = field(default_factory=dict)
    again: Environment | None = None
    files: Mapping[str, str | None] = field(default_factory=dict)
    code: int | None = 0
    lines: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    left: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    user: str | None = None
    scenario: str | None = None
    container: bool = False

    def environments(self) -> list[dict[str, str]]:
        every = [{**BASE, **self.environment}]
        if self.again is not None:
            every.append({**every[0], **self.again})
        return [{name: value for name, value in one.items() if value is not None} for one in every]


BANNER = (
    "*************************************************************************\n"
    ".> Starting IBC/IB gateway\n"
    "*************************************************************************\n"
)

RUN_SH = (
    BANNER,
    ".> Starting Xvfb server\n",
    ".> SSH tunnel disabled\n",
    ".> Usign default Java heap size 768m.\n",
    ".> VNC server disabled\n",
    ".> API_PORT set to: 4002\n",
    ".> SOCAT_PORT set to: 4004\n",
    ".> Appling settings to IBC's config.ini\n",
    f".> Settings directory NOT set, defaulting to: {HOME}/Jts\n",
    f".> Setting timezone in {HOME}/Jts/jts.ini\n",
    ".> Starting Port Forwarding.\n",
    ".> Starting socat\n",
    ".> Starting IBC in paper mode, with params:\n",
    # A line each: the relay, which starts meanwhile, writes its own between them.
    ".>\t\tVersion: 10.45.1j\n",
    ".>\t\tprogram: gateway\n",
    f".>\t\ttws-path: {HOME}/Jts\n",
    f".>\t\tibc-path: {HOME}/ibc\n",
    f".>\t\tibc-init: {HOME}/ibc/config.ini\n",
    f".>\t\ttws-settings-path: {HOME}/Jts\n",
    ".>\t\ton2fatimeout: exit\n",
)

IBC_START = (
    "Starting IBC version  on ",
    "autorestart file not found: full authentication will be required",
    "Starting Gateway with this command:",
    "IBC Settings:",
    "    IbLoginId=***",
    "    IbPassword=***",
    "End IBC Settings",
    "IBC: Starting session: will exit if login dialog is not displayed within 60 seconds",
    "IBC: Login dialog WINDOW_OPENED: LoginState is LOGGED_OUT",
    "IBC: Setting Trading mode = paper",
    "IBC: Setting user name",
    "IBC: Setting password",
    "IBC: Login attempt: 1",
    "IBC: Click button: Paper Log In",
    "IBC: Login has completed",
)

CONFIG, JTS, VMOPTIONS = "ibc/config.ini", "Jts/jts.ini", "Jts/ibgateway/10.45.1j/ibgateway.vmoptions"

SET = {
    "TWOFA_DEVICE": "IB Key",
    "RELOGIN_AFTER_TWOFA_TIMEOUT": "yes",
    "TWOFA_EXIT_INTERVAL": "90",
    "TWS_MASTER_CLIENT_ID": "7",
    "READ_ONLY_API": "yes",
    "BYPASS_WARNING": "yes",
    "AUTO_LOGOFF_TIME": "10:00 PM",
    "TWS_COLD_RESTART": "07:05",
    "TWS_ACCEPT_INCOMING": "reject",
    "ALLOW_BLIND_TRADING": "yes",
    "SAVE_TWS_SETTINGS": "Every 30 mins",
}

PRECAUTIONS = (
    "BypassOrderPrecautions",
    "BypassBondWarning",
    "BypassNegativeYieldToWorstConfirmation",
    "BypassCalledBondWarning",
    "BypassSameActionPairTradeWarning",
    "BypassPriceBasedVolatilityRiskWarning",
    "BypassUSStocksMarketDataInSharesWarning",
    "BypassRedirectOrderWarning",
    "BypassNoOverfillProtectionPrecaution",
)

START_SCRIPT = """
echo "template: $(grep '^IbLoginId' "$HOME/ibc/config.ini.tmpl")"
sed -i 's/^IbLoginId=.*/IbLoginId=fromscript/' "$HOME/ibc/config.ini.tmpl"
export TRADING_MODE=live TWS_PASSWORD=other
exit 7
"""


def not_implemented(name: str, value: str, shown: str | None = None) -> Row:
    """Not of the image: the simulator ends, with a code of its own, rather than ignore what it cannot do."""
    return Row(
        name=f"{name}={value} is refused",
        source="the simulator; variables of common.sh and run.sh that infra never sets",
        environment={name: value},
        code=69,
        lines=(BANNER, f"error: the simulated gateway does not implement {shown or name}\n"),
        absent=(".> Starting Xvfb server",),
    )


ROWS = (
    # run.sh and common.sh
    Row(
        "a start",
        "run.sh, common.sh",
        lines=(
            *RUN_SH,
            f"ibcstart.sh: 10.45.1j -g --tws-path={HOME}/Jts --ibc-path={HOME}/ibc --ibc-ini={HOME}/ibc/config.ini "
            "--on2fatimeout=exit --tws-settings-path=\n",
        ),
        left={VMOPTIONS: ("-Xmx768m",)},
    ),
    Row("the relay of paper", "run_socat.sh", lines=("Forking :::4002 onto 0.0.0.0:4004 > trading mode paper \n",)),
    Row(
        "live",
        "common.sh, set_ports; run_socat.sh",
        {"TRADING_MODE": "live"},
        lines=(".> API_PORT set to: 4001\n", ".> SOCAT_PORT set to: 4003\n", ".> Starting IBC in live mode"),
        left={CONFIG: ("TradingMode=live",)},
    ),
    Row(
        "the relay of live",
        "run_socat.sh",
        {"TRADING_MODE": "live"},
        lines=("Forking :::4001 onto 0.0.0.0:4003 > trading mode live \n",),
    ),
    Row(
        "no mode",
        "common.sh, set_ports",
        {"TRADING_MODE": None},
        code=1,
        lines=(*RUN_SH[:5], ".> Invalid TRADING_MODE: \n"),
        absent=(".> API_PORT", ".> Appling"),
    ),
    Row(
        "a wrong mode",
        "common.sh, set_ports",
        {"TRADING_MODE": "Paper"},
        code=1,
        lines=(".> Invalid TRADING_MODE: Paper\n",),
    ),
    Row(
        "password twice",
        "common.sh, apply_settings and file_env",
        {"TWS_PASSWORD_FILE": "/etc/hostname"},
        code=1,
        lines=(
            ".> Appling settings to IBC's config.ini\n",
            "error: both TWS_PASSWORD and TWS_PASSWORD_FILE are set (but are exclusive)\n",
        ),
        absent=(".> Settings directory", "Pass77word"),
    ),
    Row(
        "password from a file; an empty variable beside it is none",
        "common.sh, file_env",
        {"TWS_PASSWORD": "", "TWS_PASSWORD_FILE": f"{HOME}/password"},
        files={"password": "From\\u0020file\n\n"},
        left={CONFIG: ("IbPassword=From\\u0020file",)},
    ),
    Row(
        "password file that is not there",
        "common.sh, file_env; run.sh, set -e",
        {"TWS_PASSWORD": None, "TWS_PASSWORD_FILE": "/run/secrets/none"},
        code=1,
        lines=(".> Appling settings to IBC's config.ini\n", "/run/secrets/none: No such file or directory\n"),
    ),
    Row(
        "no credentials",
        "common.sh; config.ini.tmpl",
        {"TWS_USERID": None, "TWS_PASSWORD": None},
        left={CONFIG: ("IbLoginId=", "IbPassword=")},
    ),
    Row(
        "values are substituted once",
        "common.sh, envsubst",
        {"TWS_USERID": "a$HOME${TZ}$b", "TWS_PASSWORD": "\\u0024\\\\x"},
        left={CONFIG: ("IbLoginId=a$HOME${TZ}$b", "IbPassword=\\u0024\\\\x")},
    ),
    Row(
        "every variable of config.ini",
        "config.ini.tmpl",
        SET,
        left={
            CONFIG: (
                *("IbLoginId=someone", "IbPassword=Pass77word", "TradingMode=paper", "ReadOnlyApi=yes"),
                *("SecondFactorDevice=IB Key", "ReloginAfterSecondFactorAuthenticationTimeout=yes"),
                *("SecondFactorAuthenticationExitInterval=90", "OverrideTwsMasterClientID=7"),
                *("ExistingSessionDetectedAction=primary", "AutoRestartTime=11:59 PM", "AutoLogoffTime=10:00 PM"),
                *("ColdRestartTime=07:05", "AcceptIncomingConnectionAction=reject", "AllowBlindTrading=yes"),
                *("SaveTwsSettingsAt=Every 30 mins", *(f"{key}=yes" for key in PRECAUTIONS)),
            )
        },
    ),
    Row(
        "every variable unset, and what no variable sets",
        "config.ini.tmpl",
        {"READ_ONLY_API": None, "AUTO_RESTART_TIME": None, "EXISTING_SESSION_DETECTED_ACTION": None},
        left={
            CONFIG: (
                *("ReadOnlyApi=", "AutoRestartTime=", "AutoLogoffTime=", "ColdRestartTime=", "SecondFactorDevice="),
                *("ExistingSessionDetectedAction=", "AcceptIncomingConnectionAction=", "AllowBlindTrading="),
                *("ReloginAfterSecondFactorAuthenticationTimeout=", "SecondFactorAuthenticationExitInterval="),
                *("OverrideTwsMasterClientID=", "SaveTwsSettingsAt=", *(f"{key}=" for key in PRECAUTIONS)),
                *("SecondFactorAuthenticationTimeout=180", "ExitAfterSecondFactorAuthenticationTimeout=no"),
                *("AcceptNonBrokerageAccountWarning=yes", "LoginDialogDisplayTimeout=60", "ReadOnlyLogin=no"),
                *("CommandServerPort=0", "SuppressInfoMessages=yes", "ConfirmCryptoCurrencyOrders=transmit"),
                *("LogStructureWhen=never", "OverrideTwsApiPort="),
            )
        },
    ),
    Row(
        "heap",
        "common.sh, set_java_heap",
        {"JAVA_HEAP_SIZE": "1024"},
        lines=(".> Java heap size set to 1024m\n",),
        absent=(".> Usign",),
        left={VMOPTIONS: ("-Xmx1024m",)},
    ),
    Row(
        "another heap in the same container: announced, and the first one stays",
        "common.sh, set_java_heap",
        {"JAVA_HEAP_SIZE": "1024"},
        {"JAVA_HEAP_SIZE": "2048"},
        lines=(".> Java heap size set to 2048m\n",),
        left={VMOPTIONS: ("-Xmx1024m",)},
    ),
    Row("no time zone", "jts.ini.tmpl", left={JTS: ("TrustedIPs=127.0.0.1", "ApiOnly=true", "TimeZone=")}),
    Row(
        "time zone",
        "common.sh, apply_settings; jts.ini.tmpl",
        {"TIME_ZONE": "America/New_York"},
        lines=(f".> Setting timezone in {HOME}/Jts/jts.ini\n",),
        left={JTS: ("TimeZone=America/New_York",)},
    ),
    Row(
        "another time zone in the same container: jts.ini is there",
        "common.sh, apply_settings",
        {"TIME_ZONE": "America/New_York"},
        {"TIME_ZONE": "Europe/London"},
        lines=(".> File jts.ini already exists, not setting timezone\n",),
        absent=(".> Setting timezone",),
        left={JTS: ("TimeZone=America/New_York",)},
    ),
    Row(
        "settings directory, made",
        "common.sh, apply_settings",
        {"TWS_SETTINGS_PATH": SETTINGS},
        lines=(
            f".> Settings directory set to: {SETTINGS}\n.> Creating directory: {SETTINGS}\n"
            f".> Setting timezone in {SETTINGS}/jts.ini\n",
            f".>\t\ttws-settings-path: {SETTINGS}\n",
            f"--tws-settings-path={SETTINGS}\n",
        ),
        left={"tws_settings/jts.ini": ("TimeZone=",), JTS: None},
    ),
    Row(
        "settings directory, found",
        "common.sh, apply_settings",
        {"TWS_SETTINGS_PATH": SETTINGS},
        files={"tws_settings/other": ""},
        lines=(f".> Settings directory set to: {SETTINGS}\n.> Setting timezone in {SETTINGS}/jts.ini\n",),
    ),
    Row(
        "settings directory without a parent",
        "common.sh, apply_settings: plain mkdir; run.sh, set -e",
        {"TWS_SETTINGS_PATH": f"{HOME}/none/settings"},
        code=1,
        lines=(f".> Creating directory: {HOME}/none/settings\n", "No such file or directory"),
        absent=(".> Setting timezone", ".> Starting Port Forwarding."),
    ),
    Row(
        "CUSTOM_CONFIG leaves the files alone, and looks at no password",
        "common.sh, apply_settings",
        {"CUSTOM_CONFIG": "yes", "TWS_PASSWORD_FILE": "/etc/hostname"},
        lines=(".> SOCAT_PORT set to: 4004\n.> Using CUSTOM_CONFIG, (value:yes)\n.> Starting Port Forwarding.\n",),
        absent=(".> Appling", ".> Settings directory"),
        left={CONFIG: ("IbLoginId=edemo", "IbPassword=demouser", "TradingMode=live"), JTS: None},
    ),
    Row(
        "CUSTOM_CONFIG is exactly yes",
        "common.sh, apply_settings",
        {"CUSTOM_CONFIG": "YES"},
        lines=(".> Appling settings to IBC's config.ini\n",),
        left={CONFIG: ("IbLoginId=someone",)},
    ),
    Row(
        "start scripts: first of all, and children that can change files only",
        "run.sh; common.sh, run_scripts",
        {"START_SCRIPTS": "start.d"},
        files={"start.d/10-user.sh": START_SCRIPT, "start.d/20-more.sh": "echo more", "start.d/notes": "echo notes"},
        lines=(
            BANNER,
            f"> Running start up scripts on {HOME}/start.d\n> Running {HOME}/start.d/10-user.sh\n"
            f"template: IbLoginId=${{TWS_USERID}}\nFile {HOME}/start.d/10-user.sh not found.\n"
            f"> Running {HOME}/start.d/20-more.sh\nmore\n.> Starting Xvfb server\n",
            ".> Starting IBC in paper mode",
        ),
        absent=("notes",),
        left={CONFIG: ("IbLoginId=fromscript", "IbPassword=Pass77word")},
    ),
    Row(
        "start scripts that are not there",
        "common.sh, run_scripts",
        {"START_SCRIPTS": "none.d"},
        lines=(f"> No start scripts defined on {HOME}/none.d\n.> Starting Xvfb server\n",),
    ),
    Row(
        "start scripts, none of them *.sh",
        "common.sh, run_scripts",
        {"START_SCRIPTS": "start.d"},
        files={"start.d/notes": ""},
        lines=(f"> Running {HOME}/start.d/*.sh\nFile {HOME}/start.d/*.sh not found.\n.> Starting Xvfb server\n",),
    ),
    Row(
        "scripts with the display, and after IBC's start",
        "run.sh",
        {"X_SCRIPTS": "x.d", "IBC_SCRIPTS": "ibc.d"},
        files={"x.d/a.sh": "echo display $DISPLAY\n", "ibc.d/a.sh": "echo port $API_PORT\n"},
        lines=(
            f".> VNC server disabled\n> Running start up scripts on {HOME}/x.d\n",
            "display :1\n.> API_PORT set to: 4002\n",
            ".>\t\ton2fatimeout: exit\n",
            f"> Running start up scripts on {HOME}/ibc.d\n",
            "port 4002\n",
        ),
    ),
    Row(
        "VNC",
        "run.sh, start_vnc",
        {"VNC_SERVER_PASSWORD_FILE": f"{HOME}/vnc_password"},
        files={"vnc_password": "throwaway"},
        lines=(".> Usign default Java heap size 768m.\n", ".> Starting VNC server\n", ".> API_PORT"),
        absent=("throwaway",),
    ),
    Row(
        "VNC password twice",
        "run.sh, start_vnc; common.sh, file_env",
        {"VNC_SERVER_PASSWORD": "x", "VNC_SERVER_PASSWORD_FILE": "/etc/hostname"},
        code=1,
        lines=("error: both VNC_SERVER_PASSWORD and VNC_SERVER_PASSWORD_FILE are set (but are exclusive)\n",),
        absent=(".> API_PORT",),
    ),
    not_implemented("TRADING_MODE", "both", "TRADING_MODE=both"),
    not_implemented("DUAL_MODE", "yes"),
    not_implemented("GATEWAY_OR_TWS", "tws", "GATEWAY_OR_TWS=tws"),
    not_implemented("TWS_USERID_PAPER", "someone"),
    not_implemented("TWS_PASSWORD_PAPER", "x"),
    not_implemented("TWS_PASSWORD_PAPER_FILE", "/etc/hostname"),
    not_implemented("SSH_TUNNEL", "yes"),
    not_implemented("SSH_TUNNEL", "no"),
    not_implemented("SSH_RESTART", "1"),
    not_implemented("SSH_USER_TUNNEL", "user@host"),
    not_implemented("SSH_VNC_PORT", "5900"),
    not_implemented("SSH_PASSPHRASE_FILE", "/etc/hostname"),
    # With a login, or what stands in its way
    Row(
        "a login",
        "run.sh, ibcstart.sh, IBC",
        # Without effect on the relay's clients, which come from 127.0.0.1 (TrustedIPs in jts.ini.tmpl).
        {"TWS_ACCEPT_INCOMING": "reject"},
        container=True,
        user="plain",
        code=None,
        lines=(
            *RUN_SH,
            *IBC_START,
            "IBC: Setting ReadOnlyApi\n",
            "IBC: Read-Only API checkbox is now set to: false\n",
            "IBC: Setting Auto restart time\n",
            "IBC: Auto restart time set to 11:59 PM\n",
            "IBC: Configuration tasks completed\n",
        ),
        absent=("AutoLogoffTime is ignored", "Gateway finished"),
    ),
    Row(
        "no password: the form stays",
        "IBC's login handler",
        {"TWS_PASSWORD": ""},
        container=True,
        code=None,
        lines=("IBC: Setting Trading mode = paper\n",),
        absent=("Login attempt",),
    ),
    Row(
        "a login that fails: again at once, in a new process, without back-off",
        "LoginFailedDialogHandler, ibcstart.sh (which prints its sleep)",
        container=True,
        user="retry",
        scenario="login-failed-restart",
        code=None,
        lines=(
            "IBC: Login failed\n",
            "IBC: Cold restart in progress\n",
            "IBC returned exit status 0\nIBC will cold-restart shortly\nIBC will restart shortly\nsleep 2\n",
            "Starting Gateway with this command:\n",
            "IBC: Login attempt: 1\n",
            "IBC: Cold restart in progress\n",
            "IBC: Login has completed\n",
        ),
    ),
    Row(
        "no login after the second factor, and nothing said of what to do then",
        "IBC's SecondFactorAuthenticationDialogHandler, ErrorCodes 1111; ibcstart.sh",
        {
            "TWOFA_TIMEOUT_ACTION": None,
            "RELOGIN_AFTER_TWOFA_TIMEOUT": "yes",
            "TWOFA_EXIT_INTERVAL": "1",
            "EXISTING_SESSION_DETECTED_ACTION": None,
        },
        container=True,
        user="factor",
        scenario="push-denied",
        code=87,
        lines=(
            "IBC: If login has not completed, IBC will exit in 1 seconds\n",
            "IBC: IBC closing because login has not completed after Second Factor Authentication\n",
            "IBC: Exiting after error with exit code=1111\n",
            "IBC returned exit status 87\n",
            "Gateway finished\n",
        ),
    ),
)
