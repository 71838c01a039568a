"""The states into which the sandbox can put a user's world, by name.

A user is in exactly one scenario at a time; setting another replaces it, `normal` is the way back. `SCENARIOS` is for
people (one line each), `CONDITIONS` for the broker.
"""

from dataclasses import dataclass
from enum import StrEnum


class Login(StrEnum):
    """What the login server answers to a submitted login form."""

    CHECK = "check"  # looks at the password
    REJECT = "reject"  # rejects every password; the gateway hangs at a dialog
    FAIL = "fail"  # 'Login failed'; the login automation restarts and tries again at once
    LOCKED = "locked"
    DOWN = "down"  # no answer from the login server
    UNAVAILABLE = "unavailable"  # 'The system is not currently available'


class Push(StrEnum):
    """What the user does with the second factor's push message."""

    AS_USER = "as-user"  # no push unless the user has one; then it is approved after a moment
    PENDING = "pending"  # waits for `approve` or `deny`, or times out
    DENIED = "denied"
    UNANSWERED = "unanswered"  # the 180 seconds pass at once


class Api(StrEnum):
    """How the gateway's API port behaves."""

    NORMAL = "normal"
    WEDGED = "wedged"  # accepts connections and never answers
    HALF_OPEN = "half-open"  # answers the handshake and sends the accounts, never a next order id


class Accounts(StrEnum):
    """What the account requests return."""

    NORMAL = "normal"
    NONE = "none"  # an empty list of managed accounts
    SWAPPED = "swapped"  # accounts of the other kind: live on paper, paper on live
    SUMMARY_EMPTY = "summary-empty"
    SUMMARY_INSANE = "summary-insane"


class Data(StrEnum):
    """What a market data request returns."""

    LIVE = "live"
    NO_ENTITLEMENT = "no-entitlement"  # 354
    DELAYED_ONLY = "delayed-only"  # 354 for live, 10167 and delayed ticks for delayed
    COMPETING = "competing"  # 10197
    CLOSED = "closed"  # no live ticks; frozen ones on request
    FARM_BROKEN = "farm-broken"  # 2103, no ticks


class Orders(StrEnum):
    """What an order or a what-if order returns."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"  # 201
    NO_MARGIN = "no-margin"  # a what-if without figures


class Connectivity(StrEnum):
    """The gateway's connection to the broker's servers."""

    UP = "up"
    LOST = "lost"  # 1100 once, 2110 to who connects meanwhile
    RESTORED_DATA_LOST = "restored-data-lost"  # 1101 once, then as up


@dataclass(frozen=True)
class Conditions:
    """One scenario, as the broker applies it. Each field is independent of the others."""

    login: Login = Login.CHECK
    push: Push = Push.AS_USER
    competing_session: bool = False
    api: Api = Api.NORMAL
    accounts: Accounts = Accounts.NORMAL
    data: Data = Data.LIVE
    orders: Orders = Orders.ACCEPTED
    read_only: bool = False
    connectivity: Connectivity = Connectivity.UP
    delay: float = 0.0  # seconds before each answer of the API
    soft_restart: bool = False  # the gateway restarts itself once, keeping its session


NORMAL = "normal"

_TABLE: dict[str, tuple[str, Conditions]] = {
    NORMAL: ("everything works", Conditions()),
    "wrong-password": ("every password is rejected; the gateway hangs at a dialog", Conditions(login=Login.REJECT)),
    "login-failed-restart": (
        "every login fails and the login automation restarts and retries at once",
        Conditions(login=Login.FAIL),
    ),
    "locked-out": ("too many failed login attempts: logins wait for minutes", Conditions(login=Login.LOCKED)),
    "login-server-down": ("the login server does not answer", Conditions(login=Login.DOWN)),
    "system-unavailable": ("the system is not currently available (maintenance)", Conditions(login=Login.UNAVAILABLE)),
    "push-pending": ("the second factor waits for a tap on the phone", Conditions(push=Push.PENDING)),
    "push-denied": ("the second factor is denied on the phone", Conditions(push=Push.DENIED)),
    "push-unanswered": ("nobody answers the second factor; its time is up at once", Conditions(push=Push.UNANSWERED)),
    "competing-session": (
        "a primary session of the same user is open elsewhere: a new login gives way",
        Conditions(competing_session=True),
    ),
    "api-wedged": ("the API port accepts and never answers", Conditions(api=Api.WEDGED)),
    "api-half-open": ("the API sends the accounts and never a next order id", Conditions(api=Api.HALF_OPEN)),
    "account-list-empty": ("the API sends an empty list of accounts", Conditions(accounts=Accounts.NONE)),
    "account-kind-swapped": (
        "a paper login sees live accounts, a live login paper accounts",
        Conditions(accounts=Accounts.SWAPPED),
    ),
    "summary-empty": ("account summary and account values are empty", Conditions(accounts=Accounts.SUMMARY_EMPTY)),
    "summary-insane": (
        "account summary and account values are no sane numbers",
        Conditions(accounts=Accounts.SUMMARY_INSANE),
    ),
    "no-entitlement": ("no market data subscription (354)", Conditions(data=Data.NO_ENTITLEMENT)),
    "delayed-only": ("only delayed market data (354 for live, 10167 for delayed)", Conditions(data=Data.DELAYED_ONLY)),
    "competing-live-session": (
        "no market data during a competing live session (10197)",
        Conditions(data=Data.COMPETING),
    ),
    "market-closed": ("no live ticks; frozen quotes on request", Conditions(data=Data.CLOSED)),
    "farm-broken": ("the market data farm is down (2103), no ticks", Conditions(data=Data.FARM_BROKEN)),
    "order-rejected": ("orders and what-if orders are rejected (201)", Conditions(orders=Orders.REJECTED)),
    "order-no-margin": ("what-if orders return no margin figures", Conditions(orders=Orders.NO_MARGIN)),
    "read-only": ("the API is read-only whatever was configured (321)", Conditions(read_only=True)),
    "connectivity-lost": (
        "the gateway has lost the broker's servers (1100; 2110 for new clients)",
        Conditions(connectivity=Connectivity.LOST),
    ),
    "connectivity-restored": ("after connectivity-lost: restored, data kept (1102)", Conditions()),
    "connectivity-restored-data-lost": (
        "after connectivity-lost: restored, subscriptions lost (1101)",
        Conditions(connectivity=Connectivity.RESTORED_DATA_LOST),
    ),
    "slow": ("each answer of the API takes two seconds", Conditions(delay=2.0)),
    "nightly-restart": ("the gateway restarts itself once and keeps its session", Conditions(soft_restart=True)),
}

SCENARIOS: dict[str, str] = {name: line for name, (line, _) in _TABLE.items()}
CONDITIONS: dict[str, Conditions] = {name: conditions for name, (_, conditions) in _TABLE.items()}
