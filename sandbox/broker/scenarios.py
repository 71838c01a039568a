"""The states into which the sandbox can put what a user meets at the broker, by name.

A user is in exactly one scenario at a time; setting another replaces it, `normal` is the way back. Some take a value
after a colon: `slow:5`. `SCENARIOS` is for people (one line each), `conditions` for the broker.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache


class Login(StrEnum):
    """What the login server answers to a submitted login form."""

    CHECK = "check"  # looks at the password
    REJECT = "reject"  # rejects every password; the gateway hangs at a dialog
    FAIL = "fail"  # 'Login failed'; the login automation restarts and tries again at once
    LOCKED = "locked"
    DOWN = "down"  # no answer from the login server
    UNAVAILABLE = "unavailable"  # 'The system is not currently available'
    OUTDATED = "outdated"  # this version of the program is no longer supported
    ERROR = "error"  # the 'Login Error' dialog, whose text alone tells why; the login automation tries again at once
    BLOCKED = "blocked"  # a dialog that the login automation does not know, after the password was accepted


class LoginError(StrEnum):
    """What the 'Login Error' dialog is about."""

    PASSWORD = "password"  # noqa: S105 - not a password
    VERSION = "version"  # this version of the program is no longer supported
    UNAVAILABLE = "unavailable"


class Push(StrEnum):
    """What the user does with the second factor's push message."""

    AS_USER = "as-user"  # no push unless the user has one; then it is approved after a moment
    PENDING = "pending"  # waits for `approve` or `deny`, or times out
    DENIED = "denied"
    UNANSWERED = "unanswered"  # the 180 seconds pass at once


class Elsewhere(StrEnum):
    """Another session of the same user, beyond this sandbox: in TWS, in the mobile app."""

    NONE = "none"
    PRIMARY = "primary"  # open, and never gives way
    TAKES_OVER = "takes-over"  # opens now; gives way to whoever insists


class Api(StrEnum):
    """How the gateway's API port behaves."""

    NORMAL = "normal"
    WEDGED = "wedged"  # accepts connections and never reads from them
    SILENT = "silent"  # answers the handshake and nothing after it, not even with the accounts
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
    EXTRA_SUBSCRIPTION = "extra-subscription"  # 10089 for live, 10167 and delayed ticks for delayed
    DELAYED_ONLY = "delayed-only"  # 354 for live, 10167 and delayed ticks for delayed
    COMPETING = "competing"  # 10197
    CLOSED = "closed"  # no live ticks; frozen ones on request
    HOURS = "hours"  # as live while the exchange is open by the broker's clock, else as closed


class Farm(StrEnum):
    """The data farms that the gateway is connected to. One that is broken sends nothing."""

    MARKET = "market"  # 2103, 2104
    HISTORY = "history"  # 2105, 2106
    DEFINITION = "definition"  # 2157, 2158


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


class Event(StrEnum):
    """What happens once, to the sessions that are open when the scenario is set."""

    SOFT_RESTART = "soft-restart"  # the gateway restarts itself and keeps its session
    WEEK_ENDS = "week-ends"  # the session ends, and its token with it


@dataclass(frozen=True)
class Conditions:
    """One scenario, as the broker applies it. Each field is independent of the others."""

    crash: int = 0  # exit code with which the next start ends, of ibcstart.sh (1 to 8) or IBC (76 to 88)
    form: float = 0.0  # seconds by which the next start's login form is late
    deaf: bool = False  # the program reacts neither to IBC's command server nor to SIGTERM
    ends: float = 0.0  # seconds after each login at which the program ends, exit code 0
    login: Login = Login.CHECK
    login_error: LoginError = LoginError.PASSWORD
    push: Push = Push.AS_USER
    totp: bool = False  # a code has to be typed
    devices: bool = False  # into the dialog of one of several
    meets: str = ""  # what comes in the way of who types it: slow, front, steal or gone
    elsewhere: Elsewhere = Elsewhere.NONE
    api: Api = Api.NORMAL
    accounts: Accounts = Accounts.NORMAL
    data: Data = Data.LIVE
    broken_farms: frozenset[Farm] = frozenset()
    orders: Orders = Orders.ACCEPTED
    read_only: bool = False
    connectivity: Connectivity = Connectivity.UP
    delay: float = 0.0  # seconds before each answer of the API
    memory_growth: float = 0.0  # MiB a second by which a logged-in gateway grows
    stranded: float = 0.0  # seconds for which a session stays open whose link broke without a logout
    event: Event | None = None


@dataclass(frozen=True)
class _Scenario:
    """`make` gets what follows the colon, `default` where nothing does, and raises ValueError for what it refuses."""

    line: str
    make: Callable[[str], Conditions] = field(repr=False)
    default: str = ""
    value: str = ""  # what the value is, for people; empty: takes none


def _fixed(line: str, conditions: Conditions) -> _Scenario:
    return _Scenario(line, lambda _: conditions)


def _number(text: str, lowest: float, highest: float) -> float:
    number = float(text)
    if not lowest <= number <= highest:
        raise ValueError(text)
    return number


NORMAL = "normal"

SCRIPT_ERRORS = tuple(range(1, 9))  # of ibcstart.sh
IBC_ERRORS = tuple(range(76, 89))  # IBC's 1100 to 1112, modulo 256


def _one_of(text: str, words: tuple[str, ...]) -> str:
    if text not in words:
        raise ValueError(text)
    return text


def _crash(text: str) -> Conditions:
    code = int(text)
    if code not in (*SCRIPT_ERRORS, *IBC_ERRORS):
        raise ValueError(text)
    return Conditions(crash=code)


_TABLE: dict[str, _Scenario] = {
    NORMAL: _fixed("everything works", Conditions()),
    "crash-at-start": _Scenario(
        "the next start ends at once with an exit code of ibcstart.sh (1 to 8) or of IBC (1100 to 1112, modulo 256)",
        _crash,
        "76",
        "an exit code from 1 to 8 or from 76 to 88",
    ),
    "wrong-password": _fixed(
        "every password is rejected; the gateway hangs at a dialog", Conditions(login=Login.REJECT)
    ),
    "login-failed-restart": _fixed(
        "every login fails and the login automation restarts and retries at once", Conditions(login=Login.FAIL)
    ),
    "login-error": _Scenario(
        "every login fails with the dialog 'Login Error' and the login automation restarts and retries at once",
        lambda text: Conditions(login=Login.ERROR, login_error=LoginError(text)),
        "password",
        "password, version or unavailable, which its text is about",
    ),
    "slow-form": _Scenario(
        "the login form of the next start is late; beyond LoginDialogDisplayTimeout the start ends with 1112, for ever",
        lambda text: Conditions(form=_number(text, 1, 3600)),
        "90",
        "seconds from 1 to 3600",
    ),
    "session-ends": _Scenario(
        "the program logs out and ends with exit code 0 a while after each login",
        lambda text: Conditions(ends=_number(text, 0.1, 86_400)),
        "5",
        "seconds from 0.1 to 86400",
    ),
    "deaf": _fixed("the program reacts neither to IBC's command server nor to SIGTERM", Conditions(deaf=True)),
    "locked-out": _fixed("too many failed login attempts: logins wait for minutes", Conditions(login=Login.LOCKED)),
    "login-server-down": _fixed("the login server does not answer", Conditions(login=Login.DOWN)),
    "system-unavailable": _fixed(
        "the system is not currently available (maintenance)", Conditions(login=Login.UNAVAILABLE)
    ),
    "version-refused": _fixed(
        "this version of the gateway is no longer supported; it hangs at a dialog", Conditions(login=Login.OUTDATED)
    ),
    "dialog-blocking": _fixed(
        "a dialog that the login automation does not know stands in the way of every login",
        Conditions(login=Login.BLOCKED),
    ),
    "push-pending": _fixed("the second factor waits for a tap on the phone", Conditions(push=Push.PENDING)),
    "push-denied": _fixed("the second factor is denied on the phone", Conditions(push=Push.DENIED)),
    "push-unanswered": _fixed(
        "nobody answers the second factor; its time is up at once", Conditions(push=Push.UNANSWERED)
    ),
    "totp-required": _fixed("every login needs a typed code, which the image cannot type", Conditions(totp=True)),
    "totp-devices": _fixed(
        "every login needs a typed code, and asks first of which device", Conditions(totp=True, devices=True)
    ),
    "totp-hindered": _Scenario(
        "every login needs a typed code, and something is in the way of who types it",
        lambda text: Conditions(totp=True, meets=_one_of(text, ("slow", "front", "steal", "gone"))),
        "front",
        "slow, front, steal or gone",
    ),
    "competing-session": _fixed(
        "a primary session of the same user is open elsewhere: a new login gives way",
        Conditions(elsewhere=Elsewhere.PRIMARY),
    ),
    "session-taken-over": _fixed(
        "the same user logs in elsewhere while the gateway runs", Conditions(elsewhere=Elsewhere.TAKES_OVER)
    ),
    "session-stranded": _Scenario(
        "a session that ends without a logout stays open for a while: new logins meet it",
        lambda text: Conditions(stranded=_number(text, 1, 86_400)),
        "3600",  # a guess: users report hours (ibg-controller's documentation)
        "seconds from 1 to 86400",
    ),
    "api-wedged": _fixed("the API port accepts and never answers", Conditions(api=Api.WEDGED)),
    "api-silent": _fixed("the API answers the handshake and nothing after it", Conditions(api=Api.SILENT)),
    "api-half-open": _fixed("the API sends the accounts and never a next order id", Conditions(api=Api.HALF_OPEN)),
    "account-list-empty": _fixed("the API sends an empty list of accounts", Conditions(accounts=Accounts.NONE)),
    "account-kind-swapped": _fixed(
        "a paper login sees live accounts, a live login paper accounts", Conditions(accounts=Accounts.SWAPPED)
    ),
    "summary-empty": _fixed(
        "account summary and account values are empty", Conditions(accounts=Accounts.SUMMARY_EMPTY)
    ),
    "summary-insane": _fixed(
        "account summary and account values are no sane numbers", Conditions(accounts=Accounts.SUMMARY_INSANE)
    ),
    "no-entitlement": _fixed("no market data subscription (354)", Conditions(data=Data.NO_ENTITLEMENT)),
    "extra-subscription": _fixed(
        "live data needs another subscription for the API (10089); delayed data comes (10167)",
        Conditions(data=Data.EXTRA_SUBSCRIPTION),
    ),
    "delayed-only": _fixed(
        "only delayed market data (354 for live, 10167 for delayed)", Conditions(data=Data.DELAYED_ONLY)
    ),
    "competing-live-session": _fixed(
        "no market data during a competing live session (10197)", Conditions(data=Data.COMPETING)
    ),
    "market-closed": _fixed("no live ticks; frozen quotes on request", Conditions(data=Data.CLOSED)),
    "market-hours": _fixed("live ticks only while the exchange is open, by the clock", Conditions(data=Data.HOURS)),
    "farm-broken": _Scenario(
        "a data farm is down (market: 2103 and no ticks; history: 2105; definition: 2157)",
        lambda text: Conditions(broken_farms=frozenset({Farm(text)})),
        "market",
        "market, history or definition",
    ),
    "order-rejected": _fixed("orders and what-if orders are rejected (201)", Conditions(orders=Orders.REJECTED)),
    "order-no-margin": _fixed("what-if orders return no margin figures", Conditions(orders=Orders.NO_MARGIN)),
    "read-only": _fixed("the API is read-only whatever was configured (321)", Conditions(read_only=True)),
    "connectivity-lost": _fixed(
        "the gateway has lost the broker's servers (1100; 2110 for new clients)",
        Conditions(connectivity=Connectivity.LOST),
    ),
    "connectivity-restored": _fixed("after connectivity-lost: restored, data kept (1102)", Conditions()),
    "connectivity-restored-data-lost": _fixed(
        "after connectivity-lost: restored, subscriptions lost (1101)",
        Conditions(connectivity=Connectivity.RESTORED_DATA_LOST),
    ),
    "slow": _Scenario(
        "each answer of the API is late",
        lambda text: Conditions(delay=_number(text, 0, 3600)),
        "2",
        "seconds from 0 to 3600",
    ),
    "memory-growth": _Scenario(
        "a logged-in gateway grows until it is killed",
        lambda text: Conditions(memory_growth=_number(text, 1, 1024)),
        "64",
        "MiB a second from 1 to 1024",
    ),
    "nightly-restart": _fixed(
        "the gateway restarts itself once and keeps its session", Conditions(event=Event.SOFT_RESTART)
    ),
    "weekly-login": _fixed(
        "the session ends once, as each week, and needs a full login", Conditions(event=Event.WEEK_ENDS)
    ),
}

SCENARIOS: dict[str, str] = {
    name: scenario.line + (f" (:{scenario.default}, or {scenario.value})" if scenario.value else "")
    for name, scenario in _TABLE.items()
}


@lru_cache(maxsize=128)
def conditions(text: str) -> Conditions:
    """The conditions of `NAME` or `NAME:VALUE`. Raises ValueError saying what was expected."""
    name, colon, value = text.partition(":")
    if name not in _TABLE:
        raise ValueError(f"unknown scenario {name!r}; expected one of {', '.join(_TABLE)}")
    scenario = _TABLE[name]
    if colon and not scenario.value:
        raise ValueError(f"the scenario {name} takes no value, found {value!r}")
    try:
        return scenario.make(value if colon else scenario.default)
    except ValueError as problem:
        raise ValueError(f"the scenario {name} takes {scenario.value} after its colon, found {value!r}") from problem
