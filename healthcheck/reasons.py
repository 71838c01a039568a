"""Why a check did not pass: a closed list, and for each reason what it means, whose it is and what to do.

`docs/runbook.md` has one section a reason, under the reason's own name. Nothing here looks at a gateway; which commands
the steps come to is `healthcheck.remedies`' business.
"""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    # The container, as Docker knows it.
    CONTAINER_MISSING = "container_missing"
    CONTAINER_DEAD = "container_dead"
    FROZEN = "frozen"
    STOPPED = "stopped"
    STOPPING = "stopping"
    SESSION_STRANDED = "session_stranded"
    CRASH_LOOPING = "crash_looping"
    IMAGE_BROKEN = "image_broken"
    SETTING_REFUSED = "setting_refused"
    # The way to the API.
    UNREACHABLE = "unreachable"
    PORT_CLOSED = "port_closed"
    RELAY_ONLY = "relay_only"
    WEDGED = "wedged"
    NOT_THE_API = "not_the_api"
    CLIENT_ID_IN_USE = "client_id_in_use"
    CLIENTS_FULL = "clients_full"
    CONNECTION_DROPPED = "connection_dropped"
    RATE_LIMITED = "rate_limited"
    TOO_SLOW = "too_slow"
    # The login.
    STARTING = "starting"
    START_STUCK = "start_stuck"
    PLANNED_RESTART = "planned_restart"
    OFFLINE = "offline"
    PAUSED = "paused"
    HEALING = "healing"
    LOGIN_DELAYED = "login_delayed"
    TOO_MANY_LOGINS = "too_many_logins"
    NOT_LOGGED_IN = "not_logged_in"
    HALF_OPEN = "half_open"
    NO_ACCOUNTS = "no_accounts"
    LOGIN_FAILED = "login_failed"
    LOGIN_ERROR = "login_error"
    LOGIN_ENDED = "login_ended"
    LATE_FORM = "late_form"
    TOKEN_REFUSED = "token_refused"  # noqa: S105
    LOCKED_OUT = "locked_out"
    GUARD_HELD = "guard_held"
    GUARD_UNWRITABLE = "guard_unwritable"
    VOLUME_LOCKED = "volume_locked"
    WRONG_ACCOUNT = "wrong_account"
    VOLUME_LOST = "volume_lost"
    AUTOMATION_UNSUPPORTED = "automation_unsupported"
    AUTOMATION_FAILED = "automation_failed"
    SECOND_FACTOR_PENDING = "second_factor_pending"
    SECOND_FACTOR_TIMEOUT = "second_factor_timeout"
    SECOND_FACTOR_DENIED = "second_factor_denied"
    SECOND_FACTOR_CODE = "second_factor_code"
    SECOND_FACTOR_DEVICE = "second_factor_device"
    SECOND_FACTOR_TYPING = "second_factor_typing"
    SECOND_FACTOR_UNTYPED = "second_factor_untyped"
    SECOND_FACTOR_HELD = "second_factor_held"
    DIALOG_BLOCKING = "dialog_blocking"
    VERSION_REFUSED = "version_refused"
    COMPETING_SESSION = "competing_session"
    SESSION_TAKEN_OVER = "session_taken_over"
    RELOGIN_REQUIRED = "relogin_required"
    SERVER_UNREACHABLE = "server_unreachable"
    SYSTEM_UNAVAILABLE = "system_unavailable"
    MAINTENANCE_WINDOW = "maintenance_window"
    CONNECTIVITY_LOST = "connectivity_lost"
    ACCOUNT_KIND_MISMATCH = "account_kind_mismatch"
    # The account.
    ACCOUNT_MISSING = "account_missing"
    NO_ACCOUNT_SUMMARY = "no_account_summary"
    IMPLAUSIBLE_SUMMARY = "implausible_summary"
    # Market data.
    MARKET_CLOSED = "market_closed"
    NO_ENTITLEMENT = "no_entitlement"
    DATA_LINES_USED = "data_lines_used"
    NOT_PERMITTED = "not_permitted"
    DELAYED_DATA = "delayed_data"
    COMPETING_MARKET_DATA = "competing_market_data"
    FARM_BROKEN = "farm_broken"
    NO_QUOTE = "no_quote"
    CONTRACT_UNKNOWN = "contract_unknown"
    CONTRACT_EXPIRED = "contract_expired"
    # Orders.
    READ_ONLY_UNEXPECTED = "read_only_unexpected"
    ORDER_REJECTED = "order_rejected"
    NO_MARGIN_FIGURES = "no_margin_figures"
    # Isolation.
    EXPOSED = "exposed"
    UNFILTERED = "unfiltered"
    NETWORK_MISSING = "network_missing"
    GATEWAY_SHARED = "gateway_shared"
    UNDECLARED_CLIENT = "undeclared_client"
    ISOLATION_UNPROVEN = "isolation_unproven"
    # What really runs.
    CREDENTIAL_VISIBLE = "credential_visible"
    IMAGE_DIFFERS = "image_differs"
    NOT_APPLIED = "not_applied"
    RULE_BROKEN = "rule_broken"
    HOST_LACKS = "host_lacks"
    SETTINGS_OWNER = "settings_owner"
    OUT_OF_MEMORY = "out_of_memory"
    PLAN_MISSED = "plan_missed"
    RESTARTED = "restarted"
    SILENCE_UNNOTICED = "silence_unnoticed"
    # The verification itself could not run.
    VERIFIER_IMAGE_MISSING = "verifier_image_missing"
    VERIFIER_FAILED = "verifier_failed"
    # Not applicable.
    SWITCHED_OFF = "switched_off"
    READ_ONLY = "read_only"
    NEEDS_DOCKER = "needs_docker"


class Side(StrEnum):
    """Where the cause lies: it decides whether a check that only warns turns red."""

    OURS = "ours"
    IBKR = "ibkr"
    HINT = "hint"  # nothing that stops a trader: always a warning
    NOBODY = "nobody"  # as configured; the check does not apply


class Retry(StrEnum):
    """How a gateway is had to log in once more."""

    RESTART = "restart"
    START = "start"  # it does not run
    AGAIN = "again"  # its start guard holds it back


START = 600
"""Seconds within which a start is over: IBC waits 60 s for the login form and as long for the login
(LoginDialogDisplayTimeout, SecondFactorAuthenticationExitInterval), and the supervisor says when it waits."""

PUSH = 200
"""Seconds within which a push message is over: it lasts 180 (IBC, SecondFactorAuthenticationTimeout)."""

SOON = 120
"""Seconds for what is over soon, or only when somebody does something: whoever waits should hear of it by then."""


@dataclass(frozen=True)
class Explanation:
    """What a reason means, whose it is and what to do: `remedy`, steps in the order in which to take them.

    A step may hold the names of `healthcheck.remedies.names`; commands stand in backquotes. `before`: steps that come
    even before the cause is put right, where that is known. `heals`: waiting alone may put it right; `patience`: for
    how many seconds to wait then, unless somebody says for how long.
    """

    meaning: str
    remedy: tuple[str, ...]
    side: Side = Side.OURS
    heals: bool = False
    before: tuple[str, ...] = ()
    patience: int = START


NEW_SECRET = "put a new version of the secret {secret} into Secrets Manager: {put_secret}"  # noqa: S105
VERIFY = "verify again: {verify}"
LOG_IN = "have it log in again: {login}"
NONE_NEEDED = ("none needed",)
NO_DATA = (
    "subscribe at IBKR's site or share the live user's data with the paper user; or name another contract in "
    "{settings}.checks.marketData.contract",
    "deploy it: {deploy}",
)
RIGHT_AFTER_ALL = "deploy it: {deploy}; or, if the version that was tried is right after all: {login}"

EXPLANATIONS: dict[Reason, Explanation] = {
    Reason.CONTAINER_MISSING: Explanation(
        "The gateway's container does not exist on the Docker host.",
        ("recreate it: {recreate_missing}",),
    ),
    Reason.CONTAINER_DEAD: Explanation(
        "Docker began to remove the gateway's container and failed; it can neither run nor be started.",
        (
            "remove what is left of it: {remove}",
            "recreate it: {recreate_missing}",
        ),
    ),
    Reason.FROZEN: Explanation(
        "Somebody paused the gateway's container (docker pause): its processes stand still, and a session that is "
        "not answered ends.",
        (
            "let it run on: {unpause}",
            "see whether its session has survived: {verify}",
        ),
    ),
    Reason.STOPPED: Explanation(
        "The gateway's container exists and does not run; nothing starts it by itself, so that no login is wasted.",
        ("start it: {start}",),
    ),
    Reason.STOPPING: Explanation(
        "The gateway was told to stop, and logs out.",
        (
            "wait until it has stopped, a minute or two",
            "start it: {start}",
        ),
        heals=True,
        patience=SOON,
    ),
    Reason.SESSION_STRANDED: Explanation(
        "The gateway was ended before it had logged out, and its session may be open at IBKR still: the next login "
        "may meet it.",
        ("log in to the IBKR Mobile app as the gateway's user, which ends the session, and out again",),
        heals=True,
        patience=SOON,
    ),
    Reason.CRASH_LOOPING: Explanation(
        "The gateway's container ends again and again, and Docker restarts it each time.",
        (
            "read why it ended: {logs}",
            "once that is put right, start it: {start}",
        ),
        before=("stop it meanwhile: {stop}",),
    ),
    Reason.IMAGE_BROKEN: Explanation(
        "The image's own start script does not find what it needs: files are missing in the image, or it is not an "
        "image of the gateway.",
        ("{other_image}",),
    ),
    Reason.SETTING_REFUSED: Explanation(
        "The login automation refuses one of its settings.",
        (
            "read which one: {logs}",
            "correct it in {settings}",
            "deploy it: {deploy}",
        ),
    ),
    Reason.UNREACHABLE: Explanation(
        "The gateway's name does not resolve on its api network, or no packet gets there.",
        (
            "see whether the container is attached: {inspect_network}",
            "attach again what was detached: {repair}",
        ),
        heals=True,
    ),
    Reason.PORT_CLOSED: Explanation(
        "Nothing listens on the client port: the image's relay (socat) is not running, or not yet.",
        (
            "wait while it starts",
            "if it stays so, read why: {logs}",
        ),
        heals=True,
    ),
    Reason.RELAY_ONLY: Explanation(
        "The image's relay accepts and hangs up at once: behind it the gateway's own port is closed, since it has "
        "not logged in.",
        ("see how far the login got: {logs}",),
        heals=True,
    ),
    Reason.WEDGED: Explanation(
        "The port accepts connections and the API never answers its handshake.",
        ("restart the gateway: {login}",),
        heals=True,
    ),
    Reason.NOT_THE_API: Explanation(
        "Something answers on the port, and it does not speak the TWS API as a gateway does.",
        ("find out what took the gateway's place: {inspect_network}",),
    ),
    Reason.CLIENT_ID_IN_USE: Explanation(
        "Every client id that the verifier may take is taken.",
        (
            "see who is attached: {inspect_network}",
            "disconnect clients that use ids from {testing_ids}, the verifier's range",
        ),
        heals=True,
        patience=SOON,
    ),
    Reason.CLIENTS_FULL: Explanation(
        "All 32 places for clients of the gateway are taken. It is logged in; nobody else gets in.",
        (
            "see who is attached: {inspect_network}",
            "close connections that nobody needs, such as those of a bot that does not disconnect",
            VERIFY,
        ),
        heals=True,
        patience=SOON,
    ),
    Reason.CONNECTION_DROPPED: Explanation(
        "The gateway closed the connection in the middle of the verification.",
        (
            VERIFY,
            "if it repeats, read why: {logs}",
        ),
        heals=True,
    ),
    Reason.RATE_LIMITED: Explanation(
        "The gateway had more messages in a second than it takes (100): other clients of it send too much.",
        (
            "slow the other clients down; the limit, 50 messages a second, is shared by all",
            VERIFY,
        ),
        heals=True,
        patience=SOON,
    ),
    Reason.TOO_SLOW: Explanation(
        "The gateway answers, and so slowly that the time for all checks together was used up.",
        (
            "look at the load and the memory of the Docker host: {stats}",
            "read what the gateway does: {logs}",
        ),
        heals=True,
    ),
    Reason.STARTING: Explanation(
        "The gateway is starting and has not logged in yet.",
        (
            "wait a few minutes",
            VERIFY,
        ),
        heals=True,
    ),
    Reason.START_STUCK: Explanation(
        "The gateway began to start, and has said nothing for longer than a start takes: it stands still.",
        (
            "read how far it got: {logs}",
            "start it anew: {login}",
        ),
    ),
    Reason.PLANNED_RESTART: Explanation(
        "The gateway restarts by itself, as its schedule or a command says, and comes back.",
        (
            "wait a few minutes",
            "if it stays away, read why: {logs}",
        ),
        heals=True,
    ),
    Reason.OFFLINE: Explanation(
        "These are the gateway's offline hours (session.offline): it is logged out, and logs in at their end.",
        ("wait for their end; or change {settings}.session.offline, then {deploy}",),
    ),
    Reason.PAUSED: Explanation(
        "The gateway was stopped for a while: it is logged out, and logs in at the pause's end.",
        ("wait for its end; or end it now: {start}",),
    ),
    Reason.HEALING: Explanation(
        "The gateway found its API or its session broken, and restarts its program to mend that.",
        (
            "wait a few minutes",
            "if it stays away, read why: {logs}",
        ),
        heals=True,
    ),
    Reason.LOGIN_DELAYED: Explanation(
        "The gateway's program ended soon after its last logins, and the next one waits, longer each time.",
        (
            "read meanwhile why the program ended: {logs}",
            "wait; or, once that is put right, have it log in at once: {login}",
        ),
        heals=True,
    ),
    Reason.TOO_MANY_LOGINS: Explanation(
        "The gateway's program ended after each of its logins, until there were too many of them within an hour. It"
        " does not log in again by itself.",
        (
            "read why the program ended, and put it right: {logs}",
            LOG_IN,
        ),
    ),
    Reason.NOT_LOGGED_IN: Explanation(
        "The API answers its handshake and sends no account: the gateway has no session with IBKR.",
        (
            "see how far the login got: {logs}",
            "if it stays so, have it log in anew: {login}",
        ),
        heals=True,
    ),
    Reason.HALF_OPEN: Explanation(
        "Accounts arrived and the next order id did not, or the other way round: the API is only half open.",
        ("if it stays so, restart the gateway: {login}",),
        heals=True,
    ),
    Reason.NO_ACCOUNTS: Explanation(
        "The API sends an empty list of accounts.",
        (
            "log in at IBKR's site and see which accounts the user has",
            "if they are there, restart the gateway: {login}",
        ),
        heals=True,
    ),
    Reason.LOGIN_FAILED: Explanation(
        "IBKR rejected the user name or the password. A verification or an update stops the gateway, so that it "
        "cannot lock the account. Right credentials may be rejected once, at a restart of the gateway's own.",
        (
            NEW_SECRET,
            RIGHT_AFTER_ALL,
        ),
    ),
    Reason.LOGIN_ERROR: Explanation(
        "IBKR refused the login with a text that is not known here; the log has it, after 'Login error message:'.",
        (
            "read IBKR's text, and do what it asks: {logs}",
            LOG_IN,
        ),
        heals=True,
        patience=SOON,
    ),
    Reason.LOGIN_ENDED: Explanation(
        "The gateway's program ended before its login was complete.",
        (
            "read why it ended: {logs}",
            "once that is put right: {login}",
        ),
    ),
    Reason.LATE_FORM: Explanation(
        "The gateway's program did not show its login form in time: the Docker host is slow, or short of memory.",
        (
            "look at the load and the memory of the Docker host: {stats}",
            LOG_IN,
        ),
        heals=True,
    ),
    Reason.TOKEN_REFUSED: Explanation(
        "IBKR refused the saved session with which the gateway restarted. The gateway's program shows its login "
        "form, and the automation types nothing into it. A start deletes what is left of the saved session.",
        ("have it log in with its password: {login}",),
        heals=True,
    ),
    Reason.LOCKED_OUT: Explanation(
        "IBKR refuses further attempts for a while after too many failed logins. A verification or an update stops "
        "the gateway.",
        (
            "wait until the lock ends",
            (
                "check the credentials by logging in at IBKR's site; where they are wrong, put a new version of "
                "the secret {secret} into Secrets Manager and deploy it: {deploy}; where they are right: {login}"
            ),
        ),
        side=Side.IBKR,
    ),
    Reason.GUARD_HELD: Explanation(
        "This version of the secret was tried twice without a successful login; the guard in the container holds it"
        " back, so that the account is not locked.",
        (
            "see how the attempts ended: {logs}",
            NEW_SECRET,
            RIGHT_AFTER_ALL,
        ),
    ),
    Reason.GUARD_UNWRITABLE: Explanation(
        "Attempts to log in cannot be counted on the settings volume, so none is made: the Docker host's disk is "
        "full, or the volume does not belong to 1000:1000.",
        (
            "make room on the Docker host if its disk is full: `df -h`",
            "where the volume's owner is wrong, hand it over: {hand_over}",
            LOG_IN,
        ),
    ),
    Reason.VOLUME_LOCKED: Explanation(
        "Another container runs on the gateway's settings volume: both would log in as one user, so this one does not.",
        (
            "see which two have it: {volume_users}",
            "stop and remove the one that is not {container}",
            LOG_IN,
        ),
    ),
    Reason.WRONG_ACCOUNT: Explanation(
        "The last login led to an account of the wrong kind and was ended at once; no other one is made.",
        (
            NEW_SECRET,
            RIGHT_AFTER_ALL,
        ),
    ),
    Reason.VOLUME_LOST: Explanation(
        "The gateway's settings volume was lost, or filled from a copy, and with it went the count of attempts to log "
        "in: further ones could lock the account, so that none is made before somebody says so.",
        (
            "make certain that this user logs in nowhere else, such as on a Docker host that was replaced",
            "where the last attempts failed, put a new version of the secret {secret} in first: {put_secret}",
            "have it log in: {login}",
        ),
    ),
    Reason.AUTOMATION_UNSUPPORTED: Explanation(
        "The image drives the gateway's program with something else than IBC, the only one that takes its "
        "credentials from files. It was not started.",
        ("take an image with IBC: {other_image}",),
    ),
    Reason.AUTOMATION_FAILED: Explanation(
        "The login automation does not find its way in a window of the gateway's program: the two do not fit "
        "together, or IBKR changed the window.",
        (
            "see which window it is: {screen}",
            "{other_image}",
        ),
    ),
    Reason.SECOND_FACTOR_PENDING: Explanation(
        "IBKR waits for the second factor: approve the login in the IBKR Mobile app now.",
        (
            "approve the login in the IBKR Mobile app",
            VERIFY,
        ),
        heals=True,
        patience=PUSH,
    ),
    Reason.SECOND_FACTOR_TIMEOUT: Explanation(
        "Nobody approved the second factor in time.",
        (
            "take the phone with the IBKR Mobile app, and be ready to approve",
            "have it ask again: {login}",
        ),
        heals=True,
        patience=SOON,
    ),
    Reason.SECOND_FACTOR_DENIED: Explanation(
        "The second factor's dialog was closed and the login has not completed: it was denied, or it completes now.",
        (
            "wait a minute for it to complete",
            "if it does not, take the phone with the IBKR Mobile app and have it ask again: {login}",
        ),
        heals=True,
        patience=SOON,
    ),
    Reason.SECOND_FACTOR_CODE: Explanation(
        "IBKR waits for a second factor longer than a push message lasts: it wants a code, or a passkey, and nothing "
        "is configured that could give it.",
        (
            "give the user IB Key (push in the IBKR Mobile app), or an authenticator's codes "
            "({settings}.secondFactor.method: totp); a passkey works on no gateway without a person",
            LOG_IN,
        ),
    ),
    Reason.SECOND_FACTOR_TYPING: Explanation(
        "IBKR waits for a code of the authenticator, and it is being typed.",
        (VERIFY,),
        heals=True,
        patience=PUSH,
    ),
    Reason.SECOND_FACTOR_UNTYPED: Explanation(
        "IBKR waits for a second factor, and what types codes has stopped: what it met is named.",
        (
            "where it names a push message, a list of devices or another device, name the authenticator in "
            "{settings}.secondFactor.device, as IBKR's list does, and deploy it: {deploy}",
            "where it names the clock, have the Docker host's clock kept right (systemd-timesyncd, chrony)",
            "where it names a window or a dialog, see what it is, and do at IBKR's site what it asks for: {screen}",
            LOG_IN,
        ),
    ),
    Reason.SECOND_FACTOR_HELD: Explanation(
        "Two codes of the authenticator were submitted without a login. No more is typed and no login is made, since "
        "more of them lock the user out.",
        (
            "compare the Docker host's clock with the right time: codes of a clock that is half a minute off are wrong",
            "compare a code that your own authenticator shows with the seed: put the seed in anew where it is another",
            LOG_IN,
        ),
    ),
    Reason.SECOND_FACTOR_DEVICE: Explanation(
        "The user has several second factors, and the gateway does not know which one to ask for.",
        (
            "see the list's names: {screen}",
            "name one in {settings}.secondFactor.device, as the list does",
            "deploy it: {deploy}",
        ),
    ),
    Reason.DIALOG_BLOCKING: Explanation(
        "A dialog that nobody answers stands in the way of the login. Only its title is in the log; it may ask for "
        "an agreement, or refuse this version of the gateway.",
        (
            "see which it is: {screen}",
            "log in at IBKR's site and do what it asks",
            "where it refuses this version of the gateway, {other_image}; where not, {login}",
        ),
        heals=True,
        patience=SOON,
    ),
    Reason.VERSION_REFUSED: Explanation(
        "IBKR no longer supports this version of the gateway.",
        ("take a newer image: {other_image}",),
    ),
    Reason.COMPETING_SESSION: Explanation(
        "Another session of the same user is open, in TWS, a mobile app or another gateway, and this login gave way.",
        (
            "end the other session, or give this gateway a user of its own",
            LOG_IN,
        ),
        side=Side.IBKR,
        heals=True,
        patience=SOON,
    ),
    Reason.SESSION_TAKEN_OVER: Explanation(
        "The same user logged in elsewhere, and this gateway's session ended.",
        (
            "end the other session, or give this gateway a user of its own",
            LOG_IN,
        ),
        side=Side.IBKR,
        heals=True,
        patience=SOON,
    ),
    Reason.RELOGIN_REQUIRED: Explanation(
        "IBKR ended the session, as it does each week, and asks the gateway to log in again.",
        (
            "take the phone with the IBKR Mobile app if the user has a second factor",
            "if it stays so: {login}",
        ),
        side=Side.IBKR,
        heals=True,
    ),
    Reason.SERVER_UNREACHABLE: Explanation(
        "The gateway cannot reach IBKR's servers, or they are not available.",
        (
            "check the Docker host's way out (firewall, DNS, egress network) and IBKR's system status page",
            VERIFY,
        ),
        side=Side.IBKR,
        heals=True,
    ),
    Reason.SYSTEM_UNAVAILABLE: Explanation(
        "IBKR answered the login that its system is not available, and the gateway stays at that message.",
        (
            "wait until IBKR's system status page shows it available",
            LOG_IN,
        ),
        side=Side.IBKR,
    ),
    Reason.MAINTENANCE_WINDOW: Explanation(
        "The gateway is cut off from IBKR's servers, at an hour at which IBKR resets them: each night, and from "
        "Friday night to Saturday morning.",
        (
            "wait until the reset is over; the gateway connects again by itself",
            VERIFY,
        ),
        side=Side.IBKR,
        heals=True,
    ),
    Reason.CONNECTIVITY_LOST: Explanation(
        "The API answers and the gateway has lost its connection to IBKR (1100 or 2110).",
        (
            "wait for it to come back; check the Docker host's way out and IBKR's system status page",
            VERIFY,
        ),
        side=Side.IBKR,
        heals=True,
    ),
    Reason.ACCOUNT_KIND_MISMATCH: Explanation(
        "The gateway is logged in to an account of the wrong kind. Orders sent here would not be what they seem.",
        (
            "stop it now: {stop}",
            NEW_SECRET,
            "deploy it: {deploy}",
        ),
    ),
    Reason.ACCOUNT_MISSING: Explanation(
        "An account that the configuration expects is not among those of the login.",
        (
            (
                "compare {settings}.account.expected with the accounts that the user may reach at IBKR's site, "
                "and correct one of them"
            ),
            "deploy it: {deploy}",
        ),
    ),
    Reason.NO_ACCOUNT_SUMMARY: Explanation(
        "Neither the summary of all accounts nor the figures of one account arrived.",
        (
            VERIFY,
            "if it repeats, sign pending agreements at IBKR's site, and read {logs}",
            "of a user for market data alone expect none: set {settings}.checks.accountAccess.level, then {deploy}",
        ),
        side=Side.IBKR,
        heals=True,
        patience=SOON,
    ),
    Reason.IMPLAUSIBLE_SUMMARY: Explanation(
        "An account has no usable numbers, neither in the summary of all accounts nor asked by itself.",
        (
            "look at the account at IBKR's site: it may be new, closed or not funded yet",
            "if it stays so, name the accounts that count in {settings}.account.expected, or set "
            "{settings}.checks.accountAccess.level",
            "deploy it: {deploy}",
        ),
        side=Side.IBKR,
        heals=True,
        patience=SOON,
    ),
    Reason.MARKET_CLOSED: Explanation(
        "The market of the configured contract is closed.",
        NONE_NEEDED,
        side=Side.IBKR,
    ),
    Reason.NO_ENTITLEMENT: Explanation(
        "The user has no market data subscription for the configured contract, and no delayed data either.",
        NO_DATA,
        side=Side.IBKR,
    ),
    Reason.DATA_LINES_USED: Explanation(
        "The user's market data lines are all in use (101), so that no other quote is sent.",
        (
            (
                "cancel subscriptions that other clients and sessions of the user hold, or book more lines at "
                "IBKR's site"
            ),
            VERIFY,
        ),
        side=Side.IBKR,
        heals=True,
        patience=SOON,
    ),
    Reason.NOT_PERMITTED: Explanation(
        "The user may not trade the configured contract: the account or its country does not allow it, or there is "
        "no key information document (KID) for it.",
        (
            (
                "name a contract that the user may trade in {settings}.checks.marketData.contract, such as a "
                "stock; or ask for the permission at IBKR's site"
            ),
            "deploy it: {deploy}",
        ),
        side=Side.IBKR,
    ),
    Reason.DELAYED_DATA: Explanation(
        "The user has no live market data subscription for the configured contract; delayed data arrives.",
        NO_DATA,
        side=Side.IBKR,
    ),
    Reason.COMPETING_MARKET_DATA: Explanation(
        "Another session uses the market data subscription that this user shares (10197); orders and accounts work.",
        (
            "end the other session, or give this gateway a user with a subscription of its own (docs/accounts.md)",
            VERIFY,
        ),
        side=Side.IBKR,
        heals=True,
        patience=SOON,
    ),
    Reason.FARM_BROKEN: Explanation(
        "IBKR's market data farm is disconnected.",
        (
            "wait; IBKR's system status page tells more",
            VERIFY,
        ),
        side=Side.IBKR,
        heals=True,
    ),
    Reason.NO_QUOTE: Explanation(
        "The market is open, nothing is reported wrong, and no quote arrives.",
        (
            VERIFY,
            "if it repeats, compare with another contract in {settings}.checks.marketData.contract",
        ),
        side=Side.IBKR,
        heals=True,
        patience=SOON,
    ),
    Reason.CONTRACT_UNKNOWN: Explanation(
        "IBKR does not know the configured contract, or knows several. One that has expired is unknown too.",
        (
            "correct {settings}.checks.marketData.contract",
            "deploy it: {deploy} (no login)",
        ),
    ),
    Reason.CONTRACT_EXPIRED: Explanation(
        "The configured contract has expired: the day or the month of its expiry is over, and IBKR knows it no more.",
        (
            "name the next one in {settings}.checks.marketData.contract.expiry",
            "deploy it: {deploy} (no login)",
        ),
        # Of the calendar's doing, so that a check that only warns does not turn red overnight.
        side=Side.IBKR,
    ),
    Reason.READ_ONLY_UNEXPECTED: Explanation(
        "The API is read-only although the stack is configured for orders.",
        ("check {settings}.api.readOnly; where it is false, have the setting written again: {login}",),
    ),
    Reason.ORDER_REJECTED: Explanation(
        "IBKR rejected the what-if order.",
        (
            "read the message: trading permissions, account restrictions and funds are set at IBKR's site",
            VERIFY,
        ),
        side=Side.IBKR,
    ),
    Reason.NO_MARGIN_FIGURES: Explanation(
        "The what-if order was not answered with margin figures.",
        (
            VERIFY,
            "if it repeats, look for a dialog that stands open: {screen}",
        ),
        side=Side.IBKR,
        heals=True,
        patience=SOON,
    ),
    Reason.EXPOSED: Explanation(
        "The API can be reached from outside its own network, and it has no password.",
        (
            "undo what was changed by hand: {repair}",
            "deploy it: {deploy}",
        ),
    ),
    Reason.UNFILTERED: Explanation(
        "Packets pass between Docker's networks, though nothing in its records leads there: the filter rules that "
        "Docker keeps between them are not in force. A cause of `exposed`.",
        (
            'see on the Docker host whether "iptables": false stands in /etc/docker/daemon.json, and whether another '
            "firewall removed Docker's rules: `iptables -S` must name chains of Docker's",
            "put that right, and have Docker write its rules again: `systemctl restart docker` (without live-restore "
            "this logs in again)",
        ),
    ),
    Reason.NETWORK_MISSING: Explanation(
        "The gateway's api network does not exist, or the gateway is not attached to it.",
        (
            "put it back: {repair}",
            "deploy it: {deploy}",
        ),
    ),
    Reason.GATEWAY_SHARED: Explanation(
        "Another container has what is the gateway's own: its network, process or IPC namespace, its volumes, or its "
        "network's bridge; or it will when it is started. It gets past the api network, whatever the configuration "
        "declares.",
        (
            "remove that container, or run it without what it shares (a client joins the api network instead): "
            "{remove_sharing}",
            VERIFY,
        ),
    ),
    Reason.UNDECLARED_CLIENT: Explanation(
        "A container that the configuration does not name is attached to the api network, or was for a moment "
        "during the verification, and can trade.",
        ("{detach}; or, if it may trade, declare it in {settings}.clients, then {deploy}",),
    ),
    Reason.ISOLATION_UNPROVEN: Explanation(
        "The probes from outside the api network could not run, or the same probe from inside found nothing either, so "
        "their silence proves nothing; or a container came and went before Docker could be asked about it.",
        (
            "read the message",
            VERIFY,
        ),
    ),
    Reason.CREDENTIAL_VISIBLE: Explanation(
        "A credential stands where everyone with access to the Docker host can read it: in the environment, a label"
        " or an argument of the container.",
        (
            "take it out, and change it at IBKR",
            NEW_SECRET,
            "recreate the gateway as declared: {recreate}",
        ),
    ),
    Reason.IMAGE_DIFFERS: Explanation(
        "The container runs another image than the one that was deployed.",
        ("recreate the gateway as declared: {recreate}",),
    ),
    Reason.NOT_APPLIED: Explanation(
        "A limit or the restart policy of the running container is not what was deployed: Docker refused the change"
        " or its request got lost, or somebody made another one since. Pulumi records the new value all the same, "
        "so that a plain update finds nothing to do.",
        ("have Pulumi read what Docker has, and apply it again: {apply_again} (no login)",),
    ),
    Reason.RULE_BROKEN: Explanation(
        "The container does not have the confinement, limits or settings that every gateway must have.",
        ("recreate the gateway as declared: {recreate}",),
    ),
    Reason.HOST_LACKS: Explanation(
        "The Docker host cannot keep a limit that every gateway must have, and Docker drops it. The gateway itself is "
        "as it was declared: recreating it changes nothing and costs a login.",
        (
            "enable it on the Docker host, or accept the host as it is with ibgw:acceptHost (docs/host.md)",
            "deploy it: {deploy} (no login)",
        ),
    ),
    Reason.SETTINGS_OWNER: Explanation(
        "The settings volume is missing from the container or does not belong to the gateway's user (1000:1000), "
        "which cannot save its settings. A container that is made anew hands the volume over.",
        ("hand the volume over: {hand_over}",),
    ),
    Reason.OUT_OF_MEMORY: Explanation(
        "A process in the gateway's container was ended because the container's memory ran out.",
        (
            "raise {settings}.resources.memory (at least javaHeap and about 500 MiB more)",
            "deploy it: {deploy}",
        ),
        side=Side.HINT,
    ),
    Reason.PLAN_MISSED: Explanation(
        "The last planned restart or logoff did not take place, although the gateway was logged in when it was due."
        " A restart sets its time anew.",
        (
            "read what became of it: {logs}",
            LOG_IN,
        ),
        side=Side.HINT,
    ),
    Reason.RESTARTED: Explanation(
        "The gateway's container ended by itself and Docker restarted it, within the last day.",
        ("read why it ended: {logs}",),
        side=Side.HINT,
    ),
    Reason.SILENCE_UNNOTICED: Explanation(
        "A live stack is watched, and nobody outside notices when the watching ends, as with its Docker host.",
        (
            "put an outside monitor's address into a secret, and name it in ibgw:monitoring.heartbeat",
            "deploy it: {deploy}",
        ),
        side=Side.HINT,
    ),
    Reason.VERIFIER_IMAGE_MISSING: Explanation(
        "The verifier's image is gone from the Docker host.",
        ("rebuild it: {rebuild}",),
    ),
    Reason.VERIFIER_FAILED: Explanation(
        "The verifier's container did not do its work.",
        (
            "read the message",
            "verify again: {verify}; or, if it repeats, rebuild the verifier's image: {rebuild}",
        ),
    ),
    Reason.SWITCHED_OFF: Explanation(
        "The check is off in the configuration.",
        NONE_NEEDED,
        side=Side.NOBODY,
    ),
    Reason.READ_ONLY: Explanation(
        "The gateway's API is read-only as configured; an order would open a dialog that nobody clicks.",
        NONE_NEEDED,
        side=Side.NOBODY,
    ),
    Reason.NEEDS_DOCKER: Explanation(
        "The check looks at Docker, which this run could not: it ran beside the gateway alone.",
        (VERIFY,),
        side=Side.NOBODY,
    ),
}


def runbook(reason: Reason) -> str:
    """Where the runbook speaks of a reason."""
    return f"docs/runbook.md#{reason}"
