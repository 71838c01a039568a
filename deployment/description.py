"""A gateway as the stack's only output, `contract`, describes it, with the closed vocabularies that all parts share.

Plain data without secrets: enough to verify a gateway and to connect to it, nothing more.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from deployment.abilities import Lacking

DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"


class Mode(StrEnum):
    """The trading mode of a stack and of every gateway in it."""

    PAPER = "paper"
    LIVE = "live"


class CheckLevel(StrEnum):
    """What an unmet check leads to: a failed verification, a warning, or nothing because it is not run."""

    REQUIRED = "required"
    WARN = "warn"
    OFF = "off"


class SecondFactor(StrEnum):
    """How the account confirms a login: `push` by a tap in IBKR's mobile app, `totp` by a code of an authenticator,
    which a container of its own types (healthcheck.second_factor)."""

    NONE = "none"
    PUSH = "push"
    TOTP = "totp"


class Ports(NamedTuple):
    """`client`: the relay on the `api` network. `inner`: the gateway's own port, on 127.0.0.1 in the container."""

    client: int
    inner: int


# common.sh of the image (set_ports): socat listens on 4003/4004 and forwards to 4001/4002.
PORTS: dict[Mode, Ports] = {Mode.LIVE: Ports(4003, 4001), Mode.PAPER: Ports(4004, 4002)}

# run_x11_vnc of the image; off unless configured.
VNC_PORT = 5900

COMMAND_PORT = 7462
"""IBC's command server, on 127.0.0.1 in the container (IBC's config.ini, CommandServerPort; the number is the one that
its documentation uses)."""

STATUS_PORT = 4010
"""Where a gateway's supervisor answers its status line, on the `api` network."""

MONITORING_PORT = 9464
"""Where a stack's watcher answers, on the monitoring network."""
MONITORING_FOLDER = "/run/ibgw"
"""Where the prober and the watcher have the volume that they share."""
MONITORING_HISTORY = "/var/lib/ibgw"
"""Where the watcher has its own volume."""
CHANNELS_FILE = "/run/secrets/channels"
"""Where the watcher has the addresses that it sends to, tokens and all: a JSON object."""
PROBER = ("python3", "-m", "healthcheck.monitoring.prober")
WATCHER = ("python3", "-m", "healthcheck.monitoring.watcher")
"""What they run, of the verifier's image."""

USER_ID_FILE = "/run/secrets/tws_userid"
PASSWORD_FILE = "/run/secrets/tws_password"  # noqa: S105 - a path
"""Where a gateway's container has its credentials, each a file of one escaped line (infra.properties.escape)."""


class ClientIds(BaseModel):
    """Ranges of API client ids, both ends included, so that people, bots and the verifier never take each other's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    manual: tuple[int, int] = (1, 99)
    production: tuple[int, int] = (100, 199)
    development: tuple[int, int] = (200, 299)
    testing: tuple[int, int] = (900, 999)


class Model(BaseModel):
    """Closed and immutable: an unknown key is an error that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Container(Model):
    name: str
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Api(Model):
    """Where clients meet the gateway: join `network`, connect to `host`:`port`."""

    network: str
    host: str
    port: int
    inner_port: int


class Client(Model):
    """Who may be attached to the `api` network: a container by its name, or all that carry a `key=value` label."""

    container: str | None = None
    label: str | None = None


class Volumes(Model):
    settings: str
    logs: str | None = None


class Image(Model):
    reference: str
    digest: Annotated[str, Field(pattern=DIGEST_PATTERN)]


class Secret(Model):
    """Which secret and which version of it the gateway was deployed with; never its value."""

    id: str
    version_id: str


class Offline(Model):
    """Hours of every day in which the gateway is logged out."""

    from_: Annotated[str, Field(alias="from")]
    until: str


class Schedule(Model):
    """Times of day, `HH:MM`, 24 h, in `time_zone`; `cold_restart` is on Sundays."""

    time_zone: str
    auto_restart: str | None = None
    auto_logoff: str | None = None
    cold_restart: str | None = None
    offline: Offline | None = None


class _Growing(Model):
    """One that got fields after its first release: they are told only where they say something, since an earlier
    version, such as a verifier's image that is deployed already, refuses keys that it does not know."""

    @model_serializer(mode="wrap")
    def _told(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            name: value
            for name, value in plain(self).items()
            if fields[name].is_required() or getattr(self, name) != fields[name].default
        }


class QuoteContract(_Growing):
    """An instrument in the API's own terms (Contract in the TWS API reference); what is empty says nothing."""

    symbol: str
    sec_type: str
    exchange: str
    currency: str
    con_id: int = 0
    local_symbol: str = ""
    primary_exchange: str = ""
    trading_class: str = ""
    expiry: str = ""
    strike: float = 0.0
    right: str = ""
    multiplier: str = ""

    def __str__(self) -> str:
        """What people call it."""
        name = self.local_symbol or self.symbol or f"contract {self.con_id}"
        strike = f"{self.strike:g}" if self.strike else ""
        return " ".join(part for part in (name, self.expiry, strike, self.right) if part)

    def is_over(self, now: datetime) -> bool:
        """Whether the day or the month that its expiry names is over everywhere on Earth (UTC-12). One that is named
        by its month may be over before: that is IBKR's to say."""
        last = f"{now.astimezone(UTC) - timedelta(hours=12):%Y%m%d}"
        return bool(self.expiry) and self.expiry < last[: len(self.expiry)]


class AccountAccessCheck(Model):
    level: CheckLevel = CheckLevel.REQUIRED


class MarketDataCheck(Model):
    level: CheckLevel
    contract: QuoteContract


class OrderCapabilityCheck(Model):
    level: CheckLevel


class Checks(_Growing):
    market_data: MarketDataCheck
    order_capability: OrderCapabilityCheck
    account_access: AccountAccessCheck = AccountAccessCheck()


class InPlace(Model):
    """What an update changes on the running container, without another login: MiB, and Docker's restart policy."""

    memory: int
    memory_swap: int
    restart: str


class Gateway(Model):
    """One gateway. `account_kind` is what its accounts must be: paper accounts begin with D. `in_place` is None in a
    contract that was exported before the field was there."""

    name: str
    mode: Mode
    account_kind: Mode
    expected_accounts: tuple[str, ...] = ()
    read_only: bool
    container: Container
    api: Api
    client_ids: ClientIds = ClientIds()
    clients: tuple[Client, ...] = ()
    volumes: Volumes
    image: Image
    in_place: InPlace | None = None
    secret: Secret
    schedule: Schedule
    second_factor: SecondFactor
    codes: Annotated[Container | None, Field(exclude_if=lambda codes: codes is None)] = None
    """What types its codes. Left out where nothing does, so that a version that does not know of it reads the rest."""
    checks: Checks


class Verifier(Model):
    image_id: str


class Monitoring(Model):
    """What watches a stack: who looks at its gateways, and who tells of it, on `network`."""

    prober: Container
    watcher: Container
    network: str
    heartbeat: Annotated[bool, Field(exclude_if=lambda told: not told)] = False
    """Whether an outside monitor hears of it while all is watched."""


class Deployment(Model):
    """The value of the stack's output `contract`, and what `ibgw verify --contract FILE` reads."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    project: str
    stack: str
    mode: Mode
    name_prefix: str
    docker_host: str
    release: str | None = None
    verifier: Verifier
    egress_network: str
    accepted: Annotated[tuple[Lacking, ...], Field(exclude_if=lambda accepted: not accepted)] = ()
    """What was accepted that the Docker host lacks. Left out where there is nothing, so that a version that does not
    know of it reads the rest."""
    monitoring: Annotated[Monitoring | None, Field(exclude_if=lambda monitoring: monitoring is None)] = None
    """Left out where it is off, for the same reason."""
    gateways: Annotated[dict[str, Gateway], Field(min_length=1)]

    @property
    def unheard(self) -> bool:
        """Real money is watched, and nobody outside notices when that ends."""
        return self.mode is Mode.LIVE and self.monitoring is not None and not self.monitoring.heartbeat
