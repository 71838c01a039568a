"""What each key of the configuration means, told once: for the reference, for a new stack's file and for editors.

`infra/settings.py` has the types, the defaults and the rules.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from ipaddress import IPv4Network
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from deployment.names import PROJECT
from infra.settings import Settings

# In quotes always: YAML 1.1 reads some times of day as numbers.
_TIME = re.compile(r"\d\d:\d\d")
_DRAFT = "http://json-schema.org/draft-07/schema#"
GATEWAY = "gateways.NAME."
"""How the keys of a gateway begin."""

MEANINGS: Mapping[str, str] = {
    "mode": "`paper` or `live`, the first word of the stack's name.",
    "dockerHost": "Where the gateways run: `unix:///var/run/docker.sock`, or `ssh://user@host[:port]`; without a port "
    "the one that ssh takes (its options belong in ~/.ssh/config).",
    "acceptUntested": "What is wanted on live although nobody of us has seen it work at IBKR: `totp` (docs/field.md).",
    "acceptHost": "What the Docker host may lack: `memoryLimit`, `swapLimit`, `nativeImages` (docs/host.md).",
    "namePrefix": "Every name of this stack begins with it; every object has it as a label.",
    "image": "Paper only, and required there: a full version or a digest. A tag that names no full version (`latest`, "
    "`stable`, `10.45`) moves, and is refused.",
    "release": "Live only: the promoted release in `releases/`. Without one, previews work and updates are refused.",
    "platform": "`linux/amd64` or `linux/arm64`.",
    "network.subnetPool": "A private range from /16 to /23. The first /24 is the way out to IBKR; each gateway takes a "
    "/28 behind it: 240 gateways in a /20.",
    "verifier.baseImage": "What the verifier's image is built on; on live a digest is required.",
    "verifier.timeout": "How long `pulumi up` waits for what may heal; without it, as long as that takes.",
    "tradingHours.timeZone": "Of `open` and `close`: when you trade. On live, what ends a session keeps away from "
    "these hours unless told `--during-market`.",
    "tradingHours.days": "From `mon` to `sun`.",
    "tradingHours.open": "When your trading day begins.",
    "tradingHours.close": "When your trading day ends. Hours across midnight belong to the day on which they begin.",
    "monitoring.enabled": "Two more containers that look at all gateways all the time and tell Prometheus "
    "(docs/monitoring.md). Switching them off or on touches no gateway.",
    "monitoring.interval": "How often each gateway is looked at.",
    "monitoring.notify": "Whom the watcher tells: secrets in AWS Secrets Manager, each of which holds one address in "
    "apprise's form, such as `tgram://...`, `slack://...`, `mailtos://...` or `json://...`.",
    "monitoring.heartbeat": "A secret that holds an https:// address of an outside monitor, which is asked each minute "
    "while all is watched: it tells when that ends.",
    "monitoring.alertmanager": "An Alertmanager of yours tells people: the watcher tells nobody of `notify`.",
    "monitoring.pushgateway": "A Pushgateway's address, such as `http://push.lan:9091`, for a Prometheus that cannot "
    "reach the watcher: what it tells is pushed there each 15 s (docs/monitoring.md).",
    "gatewayDefaults": "What holds for all gateways: any setting of one, without a name. A gateway's own value wins; "
    "mappings are merged key by key, a list or a null replaces (docs/fleet.md).",
    "gatewaysFile": "A YAML file beside Pulumi.yaml with more gateways, as `gateways` has them. What `gateways` says "
    "of one of them wins.",
    "gateways": "The gateways by name; each has one user. Required where no `gatewaysFile` has any.",
    "gateways.NAME.credentials.secretId": "The secret in AWS Secrets Manager, a name or an ARN: a JSON object of "
    "`user_id`, `password` and `trading_mode`.",
    "gateways.NAME.credentials.versionId": "A version of the secret; without it, the current one.",
    "gateways.NAME.account.expected": "Accounts that must be there. Empty on paper: any of the right kind. Required on "
    "live, so that a login that shows others is noticed.",
    "gateways.NAME.api.readOnly": "The API refuses orders.",
    "gateways.NAME.api.acceptIncoming": "API connections from elsewhere than the relay: `accept`, `reject`, `manual`.",
    "gateways.NAME.api.allowBlindTrading": "IBC's AllowBlindTrading: orders without market data.",
    "gateways.NAME.api.bypassWarnings": "The nine warnings of the API's precautions are bypassed.",
    "gateways.NAME.api.masterClientId": "The id that sees the orders of all; none of the verifier's, 900 to 999.",
    "gateways.NAME.apiSubnet": "A /28 of this gateway's own. Without it: the one it has; for a new one, the first free "
    "one from the name's hashed place on. Changing it moves the network.",
    "gateways.NAME.session.existingSession": "Who wins when the user is logged in elsewhere: `primary`, "
    "`primaryoverride`, `secondary`, `manual`.",
    "gateways.NAME.session.timeZone": "Of the session's times, and of the gateway itself: the name of a place, or UTC.",
    "gateways.NAME.session.autoRestart": "The daily restart; it keeps the session. Exactly one of `autoRestart` and "
    "`autoLogoff` is required.",
    "gateways.NAME.session.autoLogoff": "The daily logout, in place of a restart.",
    "gateways.NAME.session.coldRestart": "On Sundays, with a full login, after IBKR's weekly end of all sessions.",
    "gateways.NAME.session.offline.from": "Hours of every day in which the gateway is logged out, such as "
    '{from: "22:00", until: "06:00"}.',
    "gateways.NAME.session.offline.until": "When it logs in again.",
    "gateways.NAME.session.heal": "An API that is wedged or half open for 3 minutes gets a restart that keeps the "
    "session, once an outage; a refused saved session one full login; three a day in all.",
    "gateways.NAME.session.saveSettings": "How often the gateway's settings are saved, or at which times of day: "
    '`["08:00", "17:30"]`.',
    "gateways.NAME.secondFactor.method": "`none`; `push`: approve in IBKR Mobile; or `totp`: an authenticator's codes, "
    "typed by a container beside the gateway.",
    "gateways.NAME.secondFactor.device": "The device's name in IBKR's list.",
    "gateways.NAME.secondFactor.secretId": "With `totp`: the secret whose whole value is the authenticator's seed, in "
    "base32.",
    "gateways.NAME.secondFactor.anyClock": "With `totp`: type codes also on a host whose kernel knows of nothing that "
    "keeps its clock right.",
    "gateways.NAME.secondFactor.onTimeout": "What IBC's script does when IBC has ended after `exitInterval`: `exit` or "
    "`restart`. Only with `relogin`; with both the container ends, and the next start waits its turn.",
    "gateways.NAME.secondFactor.relogin": "When nobody answered, IBC asks again, and after a lock-out has ended it "
    "tries again by itself; only for a secret version whose last login succeeded. Without it the gateway stays at the "
    "dialog.",
    "gateways.NAME.secondFactor.exitInterval": "How long the login may take after the approval before IBC ends; only "
    "with `relogin`.",
    "gateways.NAME.resources.javaHeap": "MiB.",
    "gateways.NAME.resources.memory": "MiB; 512 more than `javaHeap` at least.",
    "gateways.NAME.container.probeInterval": "Docker's health check: the API's handshake.",
    "gateways.NAME.container.stopGrace": "Time to log out; a killed gateway leaves its session open at IBKR.",
    "gateways.NAME.container.logMaxSize": "The size at which Docker begins a new log file.",
    "gateways.NAME.container.logMaxFiles": "How many log files Docker keeps.",
    "gateways.NAME.container.labels": "Labels of your own, as KEY=VALUE, such as a log collector's.",
    "gateways.NAME.debug.enabled": (
        "More of IBC's logging, and a volume for the gateway's logs (`ibgw logs --files`): of 14 days, at most 256 MiB."
    ),
    "gateways.NAME.checks.accountAccess.level": "Whether the accounts have figures: `required`, or `warn` or `off` for "
    "a user without any, such as one for market data alone. The accounts of `account.expected` are always required.",
    "gateways.NAME.checks.marketData.level": "`required`, `warn` or `off`. At `warn`, causes on IBKR's side warn, and "
    "those on ours (an unknown contract, an API that is unexpectedly read-only) still fail the update.",
    "gateways.NAME.checks.marketData.contract.symbol": "What is quoted, and priced by the what-if order.",
    "gateways.NAME.checks.marketData.contract.secType": "As the API calls it; a future needs its `expiry` and "
    "`exchange` too, an option `expiry`, `strike` and `right`.",
    "gateways.NAME.checks.marketData.contract.exchange": "As the API calls it.",
    "gateways.NAME.checks.marketData.contract.currency": "Its code of three letters.",
    "gateways.NAME.checks.marketData.contract.conId": "In place of a symbol, with an exchange: "
    "`{conId: 495512552, exchange: CME}`.",
    "gateways.NAME.checks.marketData.contract.localSymbol": "In place of a symbol: "
    "`{secType: FUT, localSymbol: ESZ6, exchange: CME}`.",
    "gateways.NAME.checks.marketData.contract.primaryExchange": "Tells symbols on SMART apart.",
    "gateways.NAME.checks.marketData.contract.tradingClass": "Tells options and futures of one symbol apart.",
    "gateways.NAME.checks.marketData.contract.expiry": "`YYYYMM` or `YYYYMMDD`, as lastTradeDateOrContractMonth; a "
    "preview warns of one that is over.",
    "gateways.NAME.checks.marketData.contract.strike": "Of an option.",
    "gateways.NAME.checks.marketData.contract.right": "Of an option: `C` or `P`.",
    "gateways.NAME.checks.marketData.contract.multiplier": "Tells contracts of one symbol apart.",
    "gateways.NAME.checks.orderCapability.level": "A what-if order, never a real one. Without a level: `warn` on "
    "paper, `off` on live and for what takes no orders (IND, CONTFUT, NEWS).",
    "gateways.NAME.clients.container": "Who may join this gateway's network: a container by its name,",
    "gateways.NAME.clients.label": "or all that carry this KEY=VALUE.",
}


def model_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model that a key holds: alone, or None in its place, or as the items of a list or a mapping."""
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def plain(value: Any) -> Any:
    """A setting's value as YAML writes it: `10m` for ten minutes."""
    match value:
        case timedelta():
            return _duration(value)
        case Enum():
            return value.value
        case IPv4Network():
            return str(value)
        case tuple() | list():
            return [plain(item) for item in value]
        case BaseModel():
            fields = type(value).model_fields
            return {field.alias: plain(getattr(value, name)) for name, field in fields.items()}
        case _:
            return value


def _duration(value: timedelta) -> str:
    seconds = round(value.total_seconds())
    for unit, size in (("h", 3600), ("m", 60)):
        # A minute is written as 60s, the way the image's own variables count.
        if seconds % size == 0 and seconds > size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def inline(value: Any) -> str:
    """A value on one line of YAML."""
    if isinstance(value, str) and _TIME.fullmatch(value):
        return f'"{value}"'
    text: str = yaml.safe_dump(plain(value), default_flow_style=True, sort_keys=False, width=1000)
    return text.removesuffix("\n").removesuffix("\n...")


@dataclass(frozen=True)
class Key:
    """One key of the configuration. `path`: with NAME for a gateway's name; `default`: as YAML, None if it is required
    or has none."""

    path: str
    required: bool
    default: str | None
    meaning: str


def keys() -> Iterator[Key]:
    """All of them, in the order of the models."""
    yield from _keys(Settings, "")


def _keys(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    for field in model.model_fields.values():
        path = f"{prefix}{field.alias}"
        inner = model_of(field)
        if inner is None or path == "gateways":
            default = None if field.is_required() or field.default is None else inline(field.default)
            yield Key(path, field.is_required(), default, MEANINGS[path])
        if inner is not None:
            yield from _keys(inner, GATEWAY if path == "gateways" else f"{path}.")


def schema() -> dict[str, Any]:
    """A JSON schema of a stack's file, for editors. What depends on more than one key is the program's to refuse."""
    ours = Settings.model_json_schema()
    definitions = ours.pop("$defs")
    for model, path in _places(Settings, ""):
        target = ours if model is Settings else definitions[model.__name__]
        for field in model.model_fields.values():
            entry = target["properties"][field.alias]
            entry.pop("title", None)
            if meaning := MEANINGS.get(f"{path}{field.alias}"):
                entry["description"] = meaning
            if "default" in entry:
                entry["default"] = plain(field.default)
    for definition in definitions.values():
        # Of a gateway: it may stand in ibgw:gatewayDefaults.
        definition.pop("required", None)
    gateways = ours["properties"]["gateways"]
    # Else a name that does not fit the pattern would be taken with anything below it.
    gateways["additionalProperties"] = False
    # A name alone is one too, where the defaults tell the rest.
    gateways["patternProperties"] = {
        name: {"anyOf": [one, {"type": "null"}]} for name, one in gateways["patternProperties"].items()
    }
    meaning = MEANINGS["gatewayDefaults"]
    ours["properties"]["gatewayDefaults"] = {"$ref": "#/$defs/Gateway", "description": meaning}
    properties = {f"{PROJECT}:{key}": entry for key, entry in ours["properties"].items()}
    required = [f"{PROJECT}:{key}" for key in ours["required"] if key != "gateways"]
    config = {
        "type": "object",
        "properties": properties,
        "required": required,
        "anyOf": [{"required": [f"{PROJECT}:{key}"]} for key in ("gateways", "gatewaysFile")],
        # Providers have keys here too, such as aws:region: only an unknown one of ours is wrong.
        "patternProperties": {f"^(?!{PROJECT}:)": True},
        "additionalProperties": False,
    }
    return {
        "$schema": _DRAFT,
        "title": f"A stack of {PROJECT}",
        "type": "object",
        "properties": {"config": config},
        "required": ["config"],
        "$defs": definitions,
    }


def gateways_schema() -> dict[str, Any]:
    """The same of the file that `ibgw:gatewaysFile` names."""
    of_stack = schema()
    gateways = of_stack["properties"]["config"]["properties"][f"{PROJECT}:gateways"]
    title = f"Gateways of a stack of {PROJECT}"
    return {"$schema": _DRAFT, **gateways, "title": title, "$defs": of_stack["$defs"]}


def _places(model: type[BaseModel], prefix: str) -> Iterator[tuple[type[BaseModel], str]]:
    yield model, prefix
    for field in model.model_fields.values():
        if (inner := model_of(field)) is not None:
            path = f"{prefix}{field.alias}"
            yield from _places(inner, GATEWAY if path == "gateways" else f"{path}.")
