"""Why a check did not pass: a closed list, and for each reason what it means, whose it is and what to do.

`docs/runbook.md` has one section a reason, under the reason's own name. Nothing here looks at a gateway.
"""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    # The container, as Docker knows it.
    CONTAINER_MISSING = "container_missing"
    STOPPED = "stopped"
    CRASH_LOOPING = "crash_looping"
    # The way to the API.
    UNREACHABLE = "unreachable"
    PORT_CLOSED = "port_closed"
    RELAY_ONLY = "relay_only"
    WEDGED = "wedged"
    NOT_THE_API = "not_the_api"
    CLIENT_ID_IN_USE = "client_id_in_use"
    CONNECTION_DROPPED = "connection_dropped"
    # The login.
    STARTING = "starting"
    NOT_LOGGED_IN = "not_logged_in"
    HALF_OPEN = "half_open"
    LOGIN_FAILED = "login_failed"
    LOCKED_OUT = "locked_out"
    GUARD_HELD = "guard_held"
    SECOND_FACTOR_PENDING = "second_factor_pending"
    SECOND_FACTOR_TIMEOUT = "second_factor_timeout"
    COMPETING_SESSION = "competing_session"
    SERVER_UNREACHABLE = "server_unreachable"
    CONNECTIVITY_LOST = "connectivity_lost"
    ACCOUNT_KIND_MISMATCH = "account_kind_mismatch"
    # The account.
    ACCOUNT_MISSING = "account_missing"
    NO_ACCOUNT_SUMMARY = "no_account_summary"
    IMPLAUSIBLE_SUMMARY = "implausible_summary"
    # Market data.
    MARKET_CLOSED = "market_closed"
    NO_ENTITLEMENT = "no_entitlement"
    FARM_BROKEN = "farm_broken"
    NO_QUOTE = "no_quote"
    CONTRACT_UNKNOWN = "contract_unknown"
    # Orders.
    READ_ONLY_UNEXPECTED = "read_only_unexpected"
    ORDER_REJECTED = "order_rejected"
    NO_MARGIN_FIGURES = "no_margin_figures"
    # Isolation.
    EXPOSED = "exposed"
    NETWORK_MISSING = "network_missing"
    UNDECLARED_CLIENT = "undeclared_client"
    ISOLATION_UNPROVEN = "isolation_unproven"
    # What really runs.
    CREDENTIAL_VISIBLE = "credential_visible"
    IMAGE_DIFFERS = "image_differs"
    RULE_BROKEN = "rule_broken"
    SETTINGS_OWNER = "settings_owner"
    OUT_OF_MEMORY = "out_of_memory"
    RESTARTED = "restarted"
    # The verification itself could not run.
    VERIFIER_IMAGE_MISSING = "verifier_image_missing"
    VERIFIER_FAILED = "verifier_failed"
    # Not applicable.
    SWITCHED_OFF = "switched_off"
    READ_ONLY = "read_only"


class Side(StrEnum):
    """Where the cause lies: it decides whether a check that only warns turns red."""

    OURS = "ours"
    IBKR = "ibkr"
    HINT = "hint"  # nothing that stops a trader: always a warning
    NOBODY = "nobody"  # as configured; the check does not apply


@dataclass(frozen=True)
class Explanation:
    """What a reason means, whose it is and what to do.

    `remedy` may hold {stack}, {gateway}, {container}, {network} and {secret}. `heals`: waiting alone may put it right.
    """

    meaning: str
    remedy: str
    side: Side = Side.OURS
    heals: bool = False


LOGS = "docker logs {container}"
START = "ibgw start --stack {stack} --gateway {gateway}"
STOP = "ibgw stop --stack {stack} --gateway {gateway}"
RESTART = "ibgw restart --stack {stack} --gateway {gateway} (this logs in again)"
REPAIR = "ibgw repair --stack {stack}"
REBUILD = "pulumi up --stack {stack} --replace 'urn:pulumi:{stack}::ibgw::docker:index/image:Image::verifier-image'"
RECREATE = (
    "pulumi up --stack {stack} --replace "
    "'urn:pulumi:{stack}::ibgw::ibgw:gateway:Gateway$docker:index/container:Container::{gateway}' (this logs in again)"
)
AGAIN = "ibgw login --again --stack {stack} --gateway {gateway}"
NEW_SECRET = "put a new version of the secret {secret} into Secrets Manager, then pulumi up --stack {stack}"  # noqa: S105

EXPLANATIONS: dict[Reason, Explanation] = {
    Reason.CONTAINER_MISSING: Explanation(
        "The gateway's container does not exist on the Docker host.",
        "recreate it: pulumi up --refresh --stack {stack}",
    ),
    Reason.STOPPED: Explanation(
        "The gateway's container exists and does not run; nothing starts it by itself, so that no login is wasted.",
        f"start it: {START}",
    ),
    Reason.CRASH_LOOPING: Explanation(
        "The gateway's container ends again and again, and Docker restarts it each time.",
        f"read why it ends ({LOGS}), and stop it meanwhile: {STOP}",
    ),
    Reason.UNREACHABLE: Explanation(
        "The gateway's name does not resolve on its api network, or no packet gets there.",
        "check that the container runs and is attached (docker network inspect {network}); "
        f"what was detached is attached again by {REPAIR}",
        heals=True,
    ),
    Reason.PORT_CLOSED: Explanation(
        "Nothing listens on the client port: the image's relay (socat) is not running, or not yet.",
        f"wait while it starts; if it stays so: {LOGS}",
        heals=True,
    ),
    Reason.RELAY_ONLY: Explanation(
        "The image's relay accepts and hangs up at once: behind it the gateway's own port is closed, since it has not "
        "logged in.",
        f"see how far the login got: {LOGS}",
        heals=True,
    ),
    Reason.WEDGED: Explanation(
        "The port accepts connections and the API never answers its handshake.",
        f"restart the gateway: {RESTART}",
        heals=True,
    ),
    Reason.NOT_THE_API: Explanation(
        "Something answers on the port, and it does not speak the TWS API.",
        "find out what took the gateway's place: docker network inspect {network}",
    ),
    Reason.CLIENT_ID_IN_USE: Explanation(
        "Every client id that the verifier may take is taken.",
        "disconnect clients that use ids of the testing range",
        heals=True,
    ),
    Reason.CONNECTION_DROPPED: Explanation(
        "The gateway closed the connection in the middle of the verification.",
        f"verify again; if it repeats: {LOGS}",
        heals=True,
    ),
    Reason.STARTING: Explanation("The gateway is starting and has not logged in yet.", "wait", heals=True),
    Reason.NOT_LOGGED_IN: Explanation(
        "The API answers its handshake and sends no account: the gateway has no session with IBKR.",
        f"see how far the login got: {LOGS}",
        heals=True,
    ),
    Reason.HALF_OPEN: Explanation(
        "Accounts arrived and the next order id did not, or the other way round: the API is only half open.",
        f"if it stays so, restart the gateway: {RESTART}",
        heals=True,
    ),
    Reason.LOGIN_FAILED: Explanation(
        "IBKR rejected the user name or the password. The gateway was stopped, so that it cannot lock the account.",
        NEW_SECRET,
    ),
    Reason.LOCKED_OUT: Explanation(
        "IBKR refuses further attempts for a while after too many failed logins. The gateway was stopped.",
        f"wait until the lock ends and check the credentials by logging in at IBKR's site; then {START}",
        side=Side.IBKR,
    ),
    Reason.GUARD_HELD: Explanation(
        "This version of the secret was tried twice without a successful login; the guard in the container holds it "
        "back, so that the account is not locked.",
        f"{NEW_SECRET}; if this version is right after all, grant it one more attempt: {AGAIN}",
    ),
    Reason.SECOND_FACTOR_PENDING: Explanation(
        "IBKR waits for the second factor: approve the login in the IBKR Mobile app now.",
        "approve the login in the IBKR Mobile app, and verify again",
        heals=True,
    ),
    Reason.SECOND_FACTOR_TIMEOUT: Explanation(
        "Nobody approved the second factor in time.",
        f"be ready with the IBKR Mobile app, then {RESTART}; or, once the start guard holds it, {AGAIN}",
        heals=True,
    ),
    Reason.COMPETING_SESSION: Explanation(
        "Another session of the same user or the same market data entitlement is active.",
        "end the other session, or give this gateway a user of its own",
        side=Side.IBKR,
        heals=True,
    ),
    Reason.SERVER_UNREACHABLE: Explanation(
        "The gateway cannot reach IBKR's servers, or they are not available.",
        "check the Docker host's way out (firewall, DNS, egress network) and IBKR's system status page",
        side=Side.IBKR,
        heals=True,
    ),
    Reason.CONNECTIVITY_LOST: Explanation(
        "The API answers and the gateway has lost its connection to IBKR (1100 or 2110).",
        "wait for it to come back; check the Docker host's way out and IBKR's system status page",
        side=Side.IBKR,
        heals=True,
    ),
    Reason.ACCOUNT_KIND_MISMATCH: Explanation(
        "The gateway is logged in to an account of the wrong kind. Orders sent here would not be what they seem.",
        f"stop it now: {STOP}; then {NEW_SECRET}",
    ),
    Reason.ACCOUNT_MISSING: Explanation(
        "An account that the configuration expects is not among those of the login.",
        "check ibgw:gateways.{gateway}.account.expected, and which accounts the user may reach at IBKR",
    ),
    Reason.NO_ACCOUNT_SUMMARY: Explanation(
        "The account's summary did not arrive.",
        f"verify again; if it repeats, sign pending agreements at IBKR's site and read {LOGS}",
        heals=True,
    ),
    Reason.IMPLAUSIBLE_SUMMARY: Explanation(
        "The account's summary arrived without usable numbers.",
        "look at the account at IBKR's site: it may be new, closed or not funded yet",
        heals=True,
    ),
    Reason.MARKET_CLOSED: Explanation("The market of the configured contract is closed.", "none needed", Side.IBKR),
    Reason.NO_ENTITLEMENT: Explanation(
        "The user has no live market data subscription for the configured contract.",
        "subscribe at IBKR's site or share the live user's data with the paper user; or configure another contract",
        side=Side.IBKR,
    ),
    Reason.FARM_BROKEN: Explanation(
        "IBKR's market data farm is disconnected.",
        "wait; IBKR's system status page tells more",
        side=Side.IBKR,
        heals=True,
    ),
    Reason.NO_QUOTE: Explanation(
        "The market is open, nothing is reported wrong, and no quote arrives.",
        "verify again; if it repeats, compare with another contract",
        side=Side.IBKR,
        heals=True,
    ),
    Reason.CONTRACT_UNKNOWN: Explanation(
        "IBKR does not know the configured contract, or knows several.",
        "correct ibgw:gateways.{gateway}.checks.marketData.contract",
    ),
    Reason.READ_ONLY_UNEXPECTED: Explanation(
        "The API is read-only although the stack is configured for orders.",
        f"check api.readOnly of ibgw:gateways.{{gateway}}; then restart the gateway: {RESTART}",
    ),
    Reason.ORDER_REJECTED: Explanation(
        "IBKR rejected the what-if order.",
        "read the message: trading permissions, account restrictions and funds are set at IBKR's site",
        side=Side.IBKR,
    ),
    Reason.NO_MARGIN_FIGURES: Explanation(
        "The what-if order was not answered with margin figures.",
        "verify again; if it repeats, look for a dialog on the gateway's screen",
        side=Side.IBKR,
        heals=True,
    ),
    Reason.EXPOSED: Explanation(
        "The API can be reached from outside its own network, and it has no password.",
        f"undo what was changed by hand: {REPAIR}, then pulumi up --stack {{stack}}",
    ),
    Reason.NETWORK_MISSING: Explanation(
        "The gateway's api network does not exist, or the gateway is not attached to it.",
        f"put it back: {REPAIR}, then pulumi up --stack {{stack}}",
    ),
    Reason.UNDECLARED_CLIENT: Explanation(
        "A container that the configuration does not name is attached to the api network, or was for a moment during "
        "the verification, and can trade.",
        "detach it (docker network disconnect {network} NAME) or declare it in ibgw:gateways.{gateway}.clients",
    ),
    Reason.ISOLATION_UNPROVEN: Explanation(
        "The probes from outside the api network could not run, or the same probe from inside found nothing either, so "
        "their silence proves nothing.",
        "read the message and verify again",
    ),
    Reason.CREDENTIAL_VISIBLE: Explanation(
        "A credential stands where everyone with access to the Docker host can read it: in the environment, a label or "
        "an argument of the container.",
        f"take it out, change it at IBKR, and recreate the gateway as declared: {RECREATE}",
    ),
    Reason.IMAGE_DIFFERS: Explanation(
        "The container runs another image than the one that was deployed.",
        f"recreate the gateway as declared: {RECREATE}",
    ),
    Reason.RULE_BROKEN: Explanation(
        "The container does not have the confinement, limits or settings that every gateway must have.",
        f"recreate the gateway as declared: {RECREATE}",
    ),
    Reason.SETTINGS_OWNER: Explanation(
        "The settings volume is missing from the container or does not belong to the gateway's user (1000:1000), which "
        "cannot save its settings.",
        "docker rm {container}-settings-owner, then pulumi up --refresh --stack {stack}, which makes it anew: it hands "
        "the volume over",
    ),
    Reason.OUT_OF_MEMORY: Explanation(
        "A process in the gateway's container was ended because the container's memory ran out.",
        "raise resources.memory of ibgw:gateways.{gateway} (at least javaHeap and about 500 MiB more)",
        side=Side.HINT,
    ),
    Reason.RESTARTED: Explanation(
        "The gateway's container ended by itself and Docker restarted it, within the last day.",
        f"read why it ended: {LOGS}",
        side=Side.HINT,
    ),
    Reason.VERIFIER_IMAGE_MISSING: Explanation(
        "The verifier's image is gone from the Docker host.",
        f"rebuild it: {REBUILD}",
    ),
    Reason.VERIFIER_FAILED: Explanation(
        "The verifier's container did not do its work.",
        f"read the message; to rebuild the image: {REBUILD}",
    ),
    Reason.SWITCHED_OFF: Explanation("The check is off in the configuration.", "none needed", Side.NOBODY),
    Reason.READ_ONLY: Explanation(
        "The gateway's API is read-only as configured; an order would open a dialog that nobody clicks.",
        "none needed",
        Side.NOBODY,
    ),
}


def runbook(reason: Reason) -> str:
    """Where the runbook speaks of a reason."""
    return f"docs/runbook.md#{reason}"
