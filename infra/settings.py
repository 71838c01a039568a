"""The stack's configuration: every key, its type, its default and the rules between keys. Imports no pulumi.

Keys are camelCase in YAML and snake_case here. The models are closed: an unknown key is refused by name, since a
misspelt safety setting that is silently ignored is worse than none. There is no default for the mode and none for the
Docker host: falling back to either could send a deployment to the wrong place.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

from deployment import docker_address
from deployment.abilities import Lacking
from deployment.description import CheckLevel, Client, Mode, SecondFactor
from deployment.description import QuoteContract as QuoteContractDescription
from deployment.durations import DURATION_PATTERN, format_duration, parse_duration
from deployment.errors import ExitCode, IbgwError
from deployment.names import OWN_LABELS, PROJECT
from infra import elsewhere, gateways, values
from infra.settings_errors import explain
from infra.times import apart, in_new_york, parse_time_of_day

MINIMUM_HEADROOM_MIB = 512
"""Memory that Java needs beyond its heap, with Xvfb and the relay (users' reports: heap + 512 MiB)."""
SATURDAY, SUNDAY = 5, 6
COMPOSE_LABELS = "com.docker."
_DNS_LABEL_MAX = 63
_DEEPEST = 16
_LONGEST = 2048
_SHOWN = 40


class AcceptIncoming(StrEnum):
    """TWS_ACCEPT_INCOMING: what happens to API connections from elsewhere than 127.0.0.1; the relay's always count as
    127.0.0.1."""

    ACCEPT = "accept"
    REJECT = "reject"
    MANUAL = "manual"


class ExistingSession(StrEnum):
    """EXISTING_SESSION_DETECTED_ACTION (IBC's config.ini): who wins when the user is logged in elsewhere."""

    PRIMARY = "primary"
    PRIMARY_OVERRIDE = "primaryoverride"
    SECONDARY = "secondary"
    MANUAL = "manual"


class OnTimeout(StrEnum):
    """TWOFA_TIMEOUT_ACTION: what ibcstart.sh does after IBC gave up on a second factor (exit code 1111), which it does
    only when its relogin is on: end, and Docker starts the container again, or start Java again at once."""

    EXIT = "exit"
    RESTART = "restart"


class Platform(StrEnum):
    AMD64 = "linux/amd64"
    ARM64 = "linux/arm64"


class SecurityType(StrEnum):
    """What the API calls a kind of instrument (Types.SecType of the TWS API), but for BAG: it is made of legs, which
    cannot be configured."""

    STOCK = "STK"
    OPTION = "OPT"
    FUTURE = "FUT"
    CONTINUOUS_FUTURE = "CONTFUT"
    FUTURE_OPTION = "FOP"
    INDEX = "IND"
    FOREX = "CASH"
    CFD = "CFD"
    CRYPTO = "CRYPTO"
    BOND = "BOND"
    BILL = "BILL"
    FUND = "FUND"
    COMMODITY = "CMDTY"
    WARRANT = "WAR"
    STRUCTURED = "IOPT"
    FORWARD = "FWD"
    FIXED_INCOME = "FIXED"
    STOCK_LOAN = "SLB"
    BASKET = "BSK"
    INTER_COMMODITY = "ICU"
    INTER_COMMODITY_SPREAD = "ICS"
    NEWS = "NEWS"


class Weekday(StrEnum):
    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError("expected a duration in quotes, such as 60s, 1m30s or 10m")
    return parse_duration(value)


def _digits(value: object) -> object:
    """YAML reads 202612 as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _time_of_day(value: str) -> str:
    parse_time_of_day(value)
    return value


def _docker_host(value: str) -> str:
    docker_address.parse(value)
    return value


def _not_ours(value: str) -> str:
    if value.startswith(OWN_LABELS):
        raise ValueError(
            f"{value!r} is one of the labels that ibgw gives to its own objects; expected a label of your own"
        )
    return value


def _not_composes(value: str) -> str:
    """By these labels compose knows what is its own, and removes what its file does not have."""
    if value.startswith(COMPOSE_LABELS):
        raise ValueError(
            f"{value!r} is one of compose's own labels, by which it would remove the gateway; leave it out"
        )
    return value


def _save_settings(value: object) -> object:
    if not isinstance(value, list):
        return _between(_duration(value), "5m", "12h")
    if not value:
        raise ValueError('no time; expected times such as ["08:00", "17:30"], or how often, such as 30m')
    return tuple(_time_of_day(str(at)) for at in value)


def _of_all(value: object) -> object:
    if not isinstance(value, Mapping):
        raise ValueError("expected a gateway's settings and their values below it")
    return value


def _mode(value: object) -> object:
    if value == "both":
        raise ValueError(f"found 'both'; {elsewhere.OTHER_STACK}")
    return value


_DURATION = WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})
Duration = Annotated[timedelta, BeforeValidator(_duration), _DURATION]
TimeOfDay = Annotated[str, AfterValidator(_time_of_day)]
TimeZone = Annotated[str, AfterValidator(values.time_zone)]
Name = Annotated[str, Field(pattern=values.NAME, max_length=30)]


def _between(value: timedelta, low: str, high: str) -> timedelta:
    if not parse_duration(low) <= value <= parse_duration(high):
        raise ValueError(f"found {format_duration(value)!r}; expected {low} to {high}")
    return value


class _Settings(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, populate_by_name=False
    )


class Network(_Settings):
    """Where the stack's networks get their subnets."""

    subnet_pool: Annotated[IPv4Network, AfterValidator(values.subnet_pool)] = IPv4Network("10.213.0.0/20")


class Verifier(_Settings):
    """The image that the verifier is built on, and how long `pulumi up` waits for what may heal."""

    # By digest, also here: a live stack may leave the key out.
    base_image: Annotated[str, AfterValidator(values.base_image)] = (
        "docker.io/library/python:3.11.16-slim-bookworm"
        "@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84"
    )
    timeout: Annotated[Duration, AfterValidator(lambda value: _between(value, "10s", "1h"))] | None = None


class TradingHours(_Settings):
    """When the stack's owner trades: what ends a session on live keeps away from it.

    Hours across midnight belong to the day on which they begin.
    """

    time_zone: TimeZone = "America/New_York"
    days: Annotated[tuple[Weekday, ...], Field(min_length=1)] = (
        Weekday.MON,
        Weekday.TUE,
        Weekday.WED,
        Weekday.THU,
        Weekday.FRI,
    )
    open: TimeOfDay = "09:30"
    close: TimeOfDay = "16:00"

    @model_validator(mode="after")
    def _are_some(self) -> Self:
        if parse_time_of_day(self.open) == parse_time_of_day(self.close):
            raise ValueError(f"open and close are both {self.open}; around the clock is 00:00 to 23:59")
        return self


SecretId = Annotated[str, AfterValidator(values.secret_id)]


class Credentials(_Settings):
    """The secret in AWS Secrets Manager. Without `versionId`, its current version (AWSCURRENT)."""

    secret_id: SecretId
    version_id: Annotated[str, Field(pattern=values.VERSION_ID)] | None = None


class Account(_Settings):
    """Accounts that must be there; empty accepts any account of the stack's kind."""

    expected: tuple[Annotated[str, Field(pattern=values.ACCOUNT)], ...] = ()


class Api(_Settings):
    """What API clients may do (READ_ONLY_API, TWS_ACCEPT_INCOMING, ALLOW_BLIND_TRADING, BYPASS_WARNING,
    TWS_MASTER_CLIENT_ID)."""

    read_only: bool = False
    accept_incoming: AcceptIncoming = AcceptIncoming.REJECT
    allow_blind_trading: bool = False
    bypass_warnings: bool = False
    master_client_id: Annotated[int, Field(ge=0, lt=2**31), AfterValidator(values.master_client_id)] | None = None


class Offline(_Settings):
    """Hours of every day in which the gateway is logged out, in the session's time zone."""

    from_: Annotated[TimeOfDay, Field(alias="from")]
    until: TimeOfDay

    @model_validator(mode="after")
    def _leaves_time(self) -> Self:
        if apart(self.from_, self.until) < timedelta(minutes=15):
            raise ValueError(f"from {self.from_} and until {self.until} are less than 15 minutes apart")
        return self


_SAVING = WithJsonSchema(
    {"anyOf": [{"type": "string", "pattern": DURATION_PATTERN}, {"type": "array", "items": {"type": "string"}}]}
)


class Session(_Settings):
    """When the gateway restarts, logs off or is logged out, what heals by itself, and who wins when the user is logged
    in elsewhere."""

    existing_session: ExistingSession = ExistingSession.PRIMARY
    time_zone: TimeZone = "America/New_York"
    auto_restart: TimeOfDay | None = None
    auto_logoff: TimeOfDay | None = None
    cold_restart: TimeOfDay | None = None
    offline: Offline | None = None
    heal: bool = True
    save_settings: Annotated[timedelta | tuple[str, ...], BeforeValidator(_save_settings), _SAVING] | None = timedelta(
        minutes=30
    )

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        daily = self.auto_restart or self.auto_logoff
        if daily is None or (self.auto_restart and self.auto_logoff):
            raise ValueError(
                "set exactly one of autoRestart and autoLogoff; the gateway ignores autoLogoff when both are set"
            )
        if self.cold_restart is None:
            return self
        if apart(daily, self.cold_restart) < timedelta(hours=1):
            raise ValueError(
                f"coldRestart {self.cold_restart} and the daily {daily} are less than an hour apart; "
                "the gateway would restart again before it has logged in"
            )
        for new_york in in_new_york(self.cold_restart, self.time_zone, weekday=SUNDAY):
            if new_york.weekday() != SUNDAY or new_york.hour < 1:
                raise ValueError(
                    f"coldRestart {self.cold_restart} {self.time_zone} on a Sunday is {new_york:%a %H:%M} in New York "
                    f"(on {new_york:%d %b}); IBKR ends all sessions until 01:00 on Sunday there, so choose a later time"
                )
        self._restart_finds_a_session(self.auto_restart, self.cold_restart)
        return self

    def _restart_finds_a_session(self, restart: str | None, planned: str) -> None:
        """A restart after the week's end finds a session that is over: the login would come then, and not at the hour
        that was planned for it (Lean.Brokerages.InteractiveBrokers #246)."""
        for day in (SATURDAY, SUNDAY) if restart else ():
            at = in_new_york(restart or "", self.time_zone, weekday=day)
            for nightly, weekly in zip(at, in_new_york(planned, self.time_zone, weekday=SUNDAY), strict=True):
                if nightly.weekday() == SUNDAY and nightly.hour >= 1 and nightly < weekly:
                    raise ValueError(
                        f"autoRestart {restart} {self.time_zone} is {nightly:%a %H:%M} in New York (on "
                        f"{nightly:%d %b}), after IBKR has ended all sessions and before coldRestart {planned}: the "
                        "weekly login would come then; choose a time before 01:00 there, or one after coldRestart"
                    )


class Untested(StrEnum):
    """What nobody of us has seen work at IBKR, and an operator may want on live all the same."""

    TOTP = "totp"


class SecondFactorSettings(_Settings):
    """How a login is confirmed, and what happens when nobody confirms it."""

    method: SecondFactor = SecondFactor.NONE
    device: Annotated[str, Field(min_length=1, pattern=values.NOT_BLANK)] | None = None
    secret_id: SecretId | None = None
    any_clock: bool = False
    on_timeout: OnTimeout = OnTimeout.EXIT
    relogin: bool = False
    exit_interval: Annotated[Duration, AfterValidator(lambda value: _between(value, "10s", "10m"))] = timedelta(
        seconds=60
    )

    @model_validator(mode="before")
    @classmethod
    def _no_one_time_codes(cls, data: Any) -> Any:
        """Those of an authenticator can be made here; those of others come to a person."""
        if isinstance(data, dict) and str(data.get("method", "")).lower() in ("sms", "code", "passkey"):
            raise ValueError(
                f"method {data['method']!r} is not possible: nothing here receives it; use push (approve in IBKR "
                "Mobile), totp (an authenticator's codes, docs/accounts.md), or a user without second factor"
            )
        return data

    @model_validator(mode="after")
    def _nothing_without_a_method(self) -> Self:
        if self.method is SecondFactor.NONE and (self.device is not None or self.relogin):
            raise ValueError("device and relogin mean nothing with method none; set method push or remove them")
        if (self.method is SecondFactor.TOTP) != (self.secret_id is not None):
            raise ValueError(
                "method totp needs secretId, the secret with the authenticator's seed, and no other method has one"
            )
        if self.any_clock and self.method is not SecondFactor.TOTP:
            raise ValueError("anyClock means nothing without method totp; remove it")
        return self


class Resources(_Settings):
    """MiB. The container's limit must leave room beside Java's heap, or the kernel kills the gateway."""

    java_heap: Annotated[int, Field(ge=256, le=32768)] = 768
    memory: Annotated[int, Field(ge=512, le=65536)] = 1536

    @model_validator(mode="after")
    def _heap_fits(self) -> Self:
        if self.memory < self.java_heap + MINIMUM_HEADROOM_MIB:
            raise ValueError(
                f"memory {self.memory} MiB is too little for a javaHeap of {self.java_heap} MiB; "
                f"set memory to {self.java_heap + MINIMUM_HEADROOM_MIB} or more, or a smaller javaHeap"
            )
        return self


class ContainerSettings(_Settings):
    """How Docker watches, stops and logs the gateway."""

    probe_interval: Annotated[Duration, AfterValidator(lambda value: _between(value, "5s", "10m"))] = timedelta(
        seconds=60
    )
    stop_grace: Annotated[Duration, AfterValidator(lambda value: _between(value, "60s", "10m"))] = timedelta(seconds=90)
    log_max_size: Annotated[str, AfterValidator(values.log_size)] = "10m"
    log_max_files: Annotated[int, Field(ge=1, le=100)] = 5
    labels: tuple[
        Annotated[str, Field(pattern=values.LABEL), AfterValidator(_not_ours), AfterValidator(_not_composes)], ...
    ] = ()

    @model_validator(mode="after")
    def _each_label_once(self) -> Self:
        keys = [label.partition("=")[0] for label in self.labels]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"labels: {', '.join(twice)} is there twice; expected each key once")
        return self


class Debug(_Settings):
    """More of IBC's own logging, kept in a volume of its own."""

    enabled: bool = False


class Right(StrEnum):
    """Of an option."""

    CALL = "C"
    PUT = "P"


ContractText = Annotated[str, Field(pattern=values.API_TEXT, max_length=40)]
"""Such as `ESZ6`, `P ESTX 50  DEC 26`, `FESX DEC 26`."""

_OPTION = ("expiry", "strike", "right")
_NOT_ON_SMART = {
    **dict.fromkeys(("FUT", "FOP", "CONTFUT"), "CME or EUREX"),
    **{"IND": "CBOE or EUREX", "CASH": "IDEALPRO"},
}
"""By secType, where IBKR has it instead (`validExchanges` of its contract details)."""
_NEEDED: dict[str, tuple[str, ...]] = {"FUT": ("expiry",), "OPT": _OPTION, "FOP": _OPTION, "WAR": _OPTION}
"""By secType, what a symbol does not tell of a contract (Contract in the TWS API reference)."""


class QuoteContract(_Settings):
    """What is quoted, in the API's words (`expiry`: lastTradeDateOrContractMonth). `conId` and an exchange name any
    contract, a localSymbol with its secType and exchange as well, and a symbol with what belongs to its secType."""

    symbol: Annotated[str, Field(pattern=values.API_TEXT, max_length=64)] = "SPY"
    sec_type: SecurityType = SecurityType.STOCK
    exchange: Annotated[str, Field(pattern=values.EXCHANGE, max_length=32)] = "SMART"
    currency: Annotated[str, Field(pattern=values.CURRENCY)] = "USD"
    con_id: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    local_symbol: ContractText | None = None
    primary_exchange: Annotated[str, Field(pattern=values.EXCHANGE, max_length=32)] | None = None
    trading_class: ContractText | None = None
    expiry: Annotated[str, BeforeValidator(_digits), AfterValidator(values.expiry)] | None = None
    strike: Annotated[float, Field(gt=0, lt=1e9)] | None = None
    right: Right | None = None
    multiplier: Annotated[str, Field(pattern=values.MULTIPLIER), BeforeValidator(_digits)] | None = None

    @model_validator(mode="after")
    def _names_one_contract(self) -> Self:
        """IBKR answers what is named by halves with error 200."""
        parts = {"expiry": self.expiry, "strike": self.strike, "right": self.right, "multiplier": self.multiplier}
        needed = _NEEDED.get(self.sec_type, ())
        if self.con_id is not None:
            return self
        if self.exchange == "SMART" and (exchanges := _NOT_ON_SMART.get(self.sec_type)):
            raise ValueError(f"secType {self.sec_type} is not traded on SMART; name its exchange, such as {exchanges}")
        pair = re.fullmatch(values.CURRENCY, self.symbol) and self.symbol != self.currency
        if self.sec_type is SecurityType.FOREX and self.local_symbol is None and not pair:
            raise ValueError(
                f"symbol {self.symbol!r} and currency {self.currency} are no pair for secType CASH; expected two "
                "currencies, such as symbol EUR and currency USD"
            )
        if missing := [key for key in needed if parts[key] is None and self.local_symbol is None]:
            raise ValueError(
                f"secType {self.sec_type} needs {', '.join(needed)}, missing: {', '.join(missing)}; "
                "or name it by localSymbol or conId"
            )
        if (needless := [key for key, value in parts.items() if value is not None]) and not needed:
            raise ValueError(
                f"{', '.join(needless)} with secType {self.sec_type}; expected only with one of {', '.join(_NEEDED)}"
            )
        return self

    def named(self) -> QuoteContractDescription:
        """As the API is asked for it. What is named by conId or localSymbol has no symbol, type or currency from our
        defaults, which are another contract's."""
        defaults = {"symbol", "sec_type", "currency"} if self.con_id is not None else {"symbol", "currency"}
        named_by_symbol = self.con_id is None and self.local_symbol is None
        left_out = set() if named_by_symbol else defaults - self.model_fields_set
        return QuoteContractDescription.model_validate(
            {name: value for name, value in self.model_dump().items() if value is not None}
            | dict.fromkeys(left_out, "")
        )


class AccountAccessCheck(_Settings):
    """Whether the accounts have figures. That the expected accounts are there is required at every level."""

    level: CheckLevel = CheckLevel.REQUIRED


class MarketDataCheck(_Settings):
    level: CheckLevel = CheckLevel.WARN
    contract: QuoteContract = QuoteContract()


_NOT_ORDERED = frozenset({SecurityType.INDEX, SecurityType.CONTINUOUS_FUTURE, SecurityType.NEWS})
"""What has quotes, and takes no orders (TWS API reference, Contracts): a what-if would be rejected for ever."""


class OrderCapabilityCheck(_Settings):
    """Without a level: `warn` on paper, `off` on live and for what takes no orders."""

    level: CheckLevel | None = None


class Checks(_Settings):
    account_access: AccountAccessCheck = AccountAccessCheck()
    market_data: MarketDataCheck = MarketDataCheck()
    order_capability: OrderCapabilityCheck = OrderCapabilityCheck()

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        level, kind = self.order_capability.level, self.market_data.contract.sec_type
        if level is CheckLevel.REQUIRED and kind in _NOT_ORDERED:
            raise ValueError(
                f"orderCapability.level {level} with a marketData.contract of secType {kind}, which takes no orders: "
                "no update would ever be verified; set the level to off, or name a contract that can be ordered"
            )
        return self


class ClientSettings(_Settings):
    """Who may be attached to the gateway's `api` network: one container by name, or all that carry a label."""

    container: Annotated[str, Field(pattern=values.CONTAINER_NAME)] | None = None
    label: Annotated[str, Field(pattern=values.LABEL), AfterValidator(_not_ours)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.container is None) == (self.label is None):
            raise ValueError("set exactly one of container and label")
        return self

    def target(self) -> Client:
        return Client(container=self.container, label=self.label)


class Gateway(_Settings):
    """One gateway: one user, one session."""

    credentials: Credentials
    account: Account = Account()
    api: Api = Api()
    api_subnet: Annotated[IPv4Network, AfterValidator(values.api_subnet)] | None = None
    session: Session
    second_factor: SecondFactorSettings = SecondFactorSettings()
    resources: Resources = Resources()
    container: ContainerSettings = ContainerSettings()
    debug: Debug = Debug()
    checks: Checks = Checks()
    clients: tuple[ClientSettings, ...] = ()


class Monitoring(_Settings):
    """What watches the gateways of a stack all the time."""

    enabled: bool = True
    interval: Annotated[Duration, AfterValidator(lambda value: _between(value, "5s", "5m"))] = timedelta(seconds=15)
    notify: Annotated[tuple[SecretId, ...], Field(max_length=8)] = ()
    heartbeat: SecretId | None = None
    alertmanager: bool = False
    pushgateway: Annotated[str, AfterValidator(values.http_address)] | None = None

    @property
    def way_out(self) -> bool:
        """Whether there is anybody to send to."""
        return bool(self.channels or self.pushgateway)

    @property
    def channels(self) -> tuple[str, ...]:
        """The secrets that hold an address each: those to notify, then the outside monitor's."""
        return (*self.notify, *([self.heartbeat] if self.heartbeat else []))

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({*self.channels}) != len(self.channels):
            raise ValueError("notify and heartbeat: a secret is named twice; each holds one address")
        return self


class Settings(_Settings):
    """All of a stack's configuration in the `ibgw` namespace."""

    mode: Annotated[Mode, BeforeValidator(_mode)]
    docker_host: Annotated[str, AfterValidator(_docker_host)]
    name_prefix: Name = "ibgw"
    image: Annotated[str, AfterValidator(values.pinned_image)] | None = None
    release: Annotated[str, Field(pattern=values.RELEASE)] | None = None
    platform: Platform = Platform.AMD64
    accept_host: tuple[Lacking, ...] = ()
    accept_untested: tuple[Untested, ...] = ()
    network: Network = Network()
    verifier: Verifier = Verifier()
    trading_hours: TradingHours = TradingHours()
    monitoring: Monitoring = Monitoring()
    # What these two tell is in `gateways` too (infra.gateways).
    gateway_defaults: Annotated[dict[str, Any], BeforeValidator(_of_all)] = {}
    gateways_file: Annotated[str, AfterValidator(values.gateways_file)] | None = None
    gateways: Annotated[dict[Name, Gateway], Field(min_length=1)]

    @model_validator(mode="after")
    def _image_fits_the_mode(self) -> Self:
        if self.mode is Mode.PAPER and (self.image is None or self.release is not None):
            raise ValueError("a paper stack names its image in ibgw:image, and has no ibgw:release")
        if self.mode is Mode.LIVE and self.image is not None:
            raise ValueError("a live stack runs only a promoted ibgw:release; remove ibgw:image")
        return self

    @model_validator(mode="after")
    def _live_builds_on_what_stays(self) -> Self:
        base = self.verifier.base_image
        if self.mode is Mode.LIVE and "@" not in base:
            raise ValueError(
                f"ibgw:verifier.baseImage: {base!r} may be another image tomorrow, and the verifier joins the network "
                f"on which live is traded; on live name its digest too, as {base}@sha256:... (`docker pull {base}` "
                "prints it), or remove the key"
            )
        return self

    @model_validator(mode="after")
    def _gateways_fit(self) -> Self:
        secrets: dict[str, str] = {}
        for name, gateway in self.gateways.items():
            where = f"ibgw:gateways.{name}"
            if name.endswith("-settings-owner"):
                raise ValueError(f"{where}: a name that ends with -settings-owner collides with our own container")
            other = secrets.setdefault(gateway.credentials.secret_id, name)
            if other != name:
                raise ValueError(
                    f"{where}.credentials.secretId: gateway {other!r} has the same secret "
                    f"{gateway.credentials.secret_id!r}; a user has one session, so each gateway needs its own"
                )
            seed = gateway.second_factor.secret_id
            other = secrets.setdefault(seed, name) if seed is not None else name
            if other != name or seed == gateway.credentials.secret_id:
                raise ValueError(
                    f"{where}.secondFactor.secretId: {seed!r} is the secret of gateway {other!r} already; a seed has a "
                    "secret of its own, which holds nothing else"
                )
            if self.mode is Mode.LIVE and seed is not None and Untested.TOTP not in self.accept_untested:
                raise ValueError(
                    f"{where}.secondFactor.method: totp on live: nobody of us has seen it work at IBKR "
                    "(docs/field.md); use push, or say that you know: ibgw:acceptUntested: [totp]"
                )
            if self.mode is Mode.LIVE and not gateway.account.expected:
                raise ValueError(
                    f"{where}.account.expected: missing; on live name the accounts that the user logs in to, such as "
                    '["U1234567"], so that a login that shows others is noticed'
                )
            for account in gateway.account.expected:
                try:
                    check_account(account, self.mode)
                except ValueError as error:
                    raise ValueError(f"{where}.account.expected: {error}") from None
        return self

    def order_level(self, gateway: str) -> CheckLevel:
        """The level of the order check: as configured, else `warn` on paper, and `off` on live and for what takes no
        orders."""
        checks = self.gateways[gateway].checks
        asked = self.mode is Mode.PAPER and checks.market_data.contract.sec_type not in _NOT_ORDERED
        return checks.order_capability.level or (CheckLevel.WARN if asked else CheckLevel.OFF)

    def contracts_over(self, now: datetime) -> list[str]:
        """The quote contracts whose last day is over, in words. No error: a setting that nobody touched must not stand
        in the way of an update; the verification says what follows from it."""
        return [
            f"ibgw:gateways.{name}.checks.marketData.contract.expiry: {contract.expiry} is over, and IBKR quotes no "
            "contract that has expired; name the next one (no gateway is touched for it)"
            for name, gateway in self.gateways.items()
            if (contract := gateway.checks.market_data.contract.named()).is_over(now)
        ]


def check_account(account: str, mode: Mode) -> None:
    """Raises ValueError for one of the other mode, and for what is no account."""
    if not re.fullmatch(values.ACCOUNT, account):
        raise ValueError(f"{account!r} is not {values.PATTERNS[values.ACCOUNT]}")
    if account.startswith("D") != (mode is Mode.PAPER):
        raise ValueError(f"{account!r} is not a {mode} account (paper accounts begin with D, live accounts do not)")


def _refused(text: str) -> IbgwError:
    return IbgwError(text, exit_code=ExitCode.REFUSED)


def _decode(key: str, text: str) -> Any:
    """Objects and numbers arrive as JSON text, plain strings as they are."""
    if not text.startswith(("{", "[")) and text not in ("true", "false"):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise _refused(f"{key}: not readable as an object: {error}") from error
    except RecursionError:
        raise _refused(f"{key}: nested too deeply; no setting is deeper than {_DEEPEST} levels") from None
    except ValueError:
        # Python refuses to read a number of more than 4,300 digits.
        raise _refused(f"{key}: holds a number with thousands of digits; no setting takes one") from None


def _unfit(where: str, value: Any, depth: int = 0) -> Iterator[str]:
    """What no setting may be, wherever it stands: too deep, too long, or with characters that nobody sees."""
    if depth > _DEEPEST:
        yield f"{where}: nested too deeply; no setting is deeper than {_DEEPEST} levels"
    elif isinstance(value, str):
        if len(value) > _LONGEST:
            yield f"{where}: has {len(value)} characters; no setting is longer than {_LONGEST}"
        elif character := values.unseen(value):
            yield f"{where}: holds the character {character}, which nobody sees; type the value anew without it"
    elif isinstance(value, int) and abs(value) >= 2**63:
        yield f"{where}: a number of more than 64 bits; no setting takes one"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if len(key) > _LONGEST or values.unseen(key):
                # Not shown as it is: it might rewrite the terminal.
                yield f"{where}: its key {key[:_SHOWN]!a} is too long, or holds a character that nobody sees"
            else:
                yield from _unfit(f"{where}.{key}" if depth else f"{where}:{key}", inner, depth + 1)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _unfit(f"{where}.{place}", inner, depth + 1)


def mode_of(stack: str) -> Mode:
    """The first word of a stack's name. Raises IbgwError (REFUSED)."""
    first = stack.split("-", 1)[0]
    if first not in tuple(Mode) or not re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", stack):
        raise _refused(
            f"stack {stack!r}: expected paper, live, paper-NAME or live-NAME (lower case, digits, single hyphens); the "
            "first word is the trading mode"
        )
    return Mode(first)


def _check_mode(stack: str, mode: object) -> None:
    """Another mode than the stack's is told before what the other kind of stack must have."""
    first = mode_of(stack)
    if mode in tuple(Mode) and mode != first:
        raise _refused(
            f"ibgw:mode is {mode!r}, but the stack is {stack!r}; a stack's name begins with its mode: set it to "
            f"{first}, or make a stack of its own for the other (`ibgw init --stack {mode}`)"
        )


def _check_host_names(stack: str, settings: Settings) -> None:
    for name in settings.gateways:
        host = f"{settings.name_prefix}-{stack}-{name}"
        if len(host) > _DNS_LABEL_MAX:
            raise _refused(
                f"ibgw:gateways.{name}: {host!r} has {len(host)} characters, a host name has at most {_DNS_LABEL_MAX}; "
                "choose a shorter name"
            )


def load(stack: str, config: Mapping[str, str], folder: Path = Path()) -> Settings:
    """Reads a stack's configuration as the engine hands it over: full keys (`ibgw:mode`) to text. `folder`:
    Pulumi.yaml's, where the file that `ibgw:gatewaysFile` names lies.

    Raises IbgwError (REFUSED) that lists every fault, each with its key, where that stands in another file than the
    stack's, what was found and what was expected.
    """
    document = {
        # A key with a character that nobody sees is refused below, and not shown as it is.
        key.partition(":")[2]: _decode(key, text) if values.unseen(key) is None else text
        for key, text in config.items()
        if key.startswith(f"{PROJECT}:")
    }
    if not document:
        raise _refused(
            f"the configuration of stack {stack!r} has no key of {PROJECT}'s: Pulumi.{stack}.yaml is not there or "
            f"empty, or its keys do not stand below `config:`, or do not begin with `{PROJECT}:`; "
            f"`ibgw init --stack {stack}` writes one"
        )
    faults = [*_unfit(PROJECT, document)]
    if not faults:
        _check_mode(stack, document.get("mode"))
        gathered = gateways.gather(document, folder)
        # What came of the file.
        faults = [*_unfit(PROJECT, gathered.document)]
        if not faults:
            try:
                settings = Settings.model_validate_json(json.dumps(gathered.document))
            except ValidationError as error:
                faults = [explain(fault, Settings, PROJECT) for fault in error.errors(include_url=False)]
        faults = [*dict.fromkeys(map(gathered.placed, faults))]
    if faults:
        listed = "".join(f"\n  - {fault}" for fault in faults)
        raise _refused(f"the configuration of stack {stack!r} was refused:{listed}")
    _check_host_names(stack, settings)
    return settings
