"""What must be true of a gateway's container and its networks, whoever describes it.

Pure functions over one neutral record. It can be filled from what a program is about to declare, from what an engine
was asked for, or from what `docker inspect` shows; None is a fact that the filler cannot see, and a rule that needs
such a fact neither holds nor is broken. Credentials are found by the shape of names and texts; their values are never
known here, and no text made here repeats what it found under such a name.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from deployment.abilities import Lacking
from deployment.description import DIGEST_PATTERN, Mode
from deployment.names import Label
from deployment.properties import Facts
from deployment.tables import ICC

MINIMUM_GRACE = 60
"""Seconds for a clean logout. A gateway that is killed leaves its session open at IBKR."""


@dataclass(frozen=True, kw_only=True)
class GatewayRecord:
    """A gateway's container with its networks. None: not visible from where the record was filled.

    What is visibly absent is empty: no limit is 0, no probe is (), no driver is "". The container's properties are
    called as in deployment.tables.
    """

    name: str
    """The container's name, for messages."""
    mode: Mode
    image: str | None = None
    """The reference that is pulled, `repository:tag` or `repository@sha256:...`; never an image id."""
    secret_id: str | None = None
    environment: Mapping[str, str] | None = None
    labels: Mapping[str, str] | None = None
    arguments: tuple[str, ...] | None = None
    """Entry point, command and the probe's command."""
    published: tuple[str, ...] | None = None
    """Each published port, such as `4004/tcp on 0.0.0.0:4002`."""
    network_mode: str | None = None
    """Docker's `NetworkMode`: the name or id of a network, `bridge`, `host`, `none` or `container:ID`."""
    api_driver: str | None = None
    api_internal: bool | None = None
    egress_driver: str | None = None
    egress_traffic: bool | None = None
    """Whether containers on `egress` reach each other."""
    egress_strangers: tuple[str, ...] | None = None
    """Names of containers on `egress` that are no gateways."""
    privileged: bool | None = None
    capabilities_added: tuple[str, ...] | None = None
    capabilities_dropped: tuple[str, ...] | None = None
    security_options: tuple[str, ...] | None = None
    accepted: tuple[Lacking, ...] = ()
    """What the configuration accepts that the Docker host lacks."""
    memory: int | None = None
    """MiB; 0 is no limit."""
    memory_swap: int | None = None
    """MiB of memory and swap together; equal to `memory` is no swap, 0 and below no limit."""
    stop_grace: int | None = None
    """Seconds between the request to stop and the kill; Docker's own default is 10."""
    removal_grace: int | None = None
    """The same when an engine removes the container."""
    restart: str | None = None
    log_driver: str | None = None
    log_options: Mapping[str, str] | None = None
    probe: tuple[str, ...] | None = None

    def with_container(self, facts: Facts) -> "GatewayRecord":
        known = {field.name for field in fields(self)}
        words = facts["entry_point"], facts["command"], facts["probe"]
        ports = facts["published"], facts["all_published"]
        # An image's id says nothing of what was pulled.
        image = None if facts["image"] is None or facts["image"].startswith("sha256:") else facts["image"]
        return replace(
            self,
            **{name: fact for name, fact in facts.items() if name in known}
            | {
                "name": facts["name"] or self.name,
                "image": image,
                "secret_id": None if facts["labels"] is None else facts["labels"].get(Label.SECRET_ID, ""),
                "arguments": None if None in words else tuple(word for part in words for word in part),
                "published": None if None in ports else (*ports[0], *ports[1]),
            },
        )

    def with_api(self, facts: Facts) -> "GatewayRecord":
        """The network where clients meet the gateway."""
        return replace(self, api_driver=facts["driver"], api_internal=facts["internal"])

    def with_egress(self, facts: Facts) -> "GatewayRecord":
        """The network that leads gateways out."""
        options = facts["options"]
        return replace(
            self,
            egress_driver=facts["driver"],
            egress_traffic=None if options is None else options.get(ICC) != "false",
        )


@dataclass(frozen=True)
class Rule:
    """`facts`: the fields of the record that it needs. `look` yields a text for each violation."""

    name: str
    meaning: str
    facts: tuple[str, ...]
    look: Callable[..., Iterable[str]]

    def unseen(self, record: GatewayRecord) -> list[str]:
        """The facts that are missing for it; while there are any, it can be neither kept nor broken."""
        return [fact for fact in self.facts if getattr(record, fact) is None]

    def violations(self, record: GatewayRecord) -> list[str]:
        """What is wrong: each text names the field, what was found and what was expected."""
        if self.unseen(record):
            return []
        return list(self.look(*(getattr(record, fact) for fact in self.facts)))


def violations(record: GatewayRecord, rules: "Iterable[Rule] | None" = None) -> dict[str, list[str]]:
    """The broken rules by name, each with its violations. `rules`: all of them unless given."""
    broken = {rule.name: rule.violations(record) for rule in (RULES if rules is None else rules)}
    return {name: texts for name, texts in broken.items() if texts}


def rule(meaning: str) -> Callable[[Callable[..., Iterable[str]]], Rule]:
    """Makes a rule of a function: its name is the rule's, its parameters are the facts."""

    def make(look: Callable[..., Iterable[str]]) -> Rule:
        return Rule(look.__name__, meaning, tuple(inspect.signature(look).parameters), look)

    return make


def unlike(field: str, actual: object, expected: object) -> str:
    return f"{field}: found {actual}, expected {expected}"


# --- who can reach the API ----------------------------------------------------------------------------------------


@rule("No port is published: whoever reaches it could trade, as the API asks for no password.")
def no_published_port(published: tuple[str, ...]) -> Iterator[str]:
    for port in published:
        yield unlike("published port", port, "none")


@rule("The container has a network namespace of its own.")
def own_network(network_mode: str) -> Iterator[str]:
    if network_mode == "host" or network_mode.startswith("container:"):
        yield unlike("network mode", network_mode, "the gateway's own networks")


@rule("The api network is internal: nothing leads into it or out of it.")
def api_internal(api_internal: bool) -> Iterator[str]:
    if not api_internal:
        yield unlike("api network", "not internal", "internal")


@rule("The networks are bridges of the Docker host; a macvlan or ipvlan would put the gateway on the office network.")
def bridges(api_driver: str, egress_driver: str) -> Iterator[str]:
    for name, driver in (("api", api_driver), ("egress", egress_driver)):
        if driver != "bridge":
            yield unlike(f"{name} network's driver", driver or "none", "bridge")


@rule("Containers on egress do not reach each other: it leads gateways out and is no way between them.")
def egress_separates(egress_traffic: bool) -> Iterator[str]:
    if egress_traffic:
        yield unlike("egress network", "traffic between its containers", "none (enable_icc=false)")


@rule("Only gateways are attached to egress, and only the watcher to its way out.")
def egress_for_gateways(egress_strangers: tuple[str, ...]) -> Iterator[str]:
    for name in egress_strangers:
        yield unlike("egress network", f"{name} attached", "gateways only")


# --- what the container is ----------------------------------------------------------------------------------------


@rule("On live the image is named by its digest, so that what runs is what was verified on paper.")
def image_by_digest_on_live(mode: Mode, image: str) -> Iterator[str]:
    if mode is Mode.LIVE and not re.fullmatch(DIGEST_PATTERN, image.rpartition("@")[2]):
        yield unlike("image", image, "repository@sha256:... on live")


@rule("No credential stands in the environment, in a label or in an argument; credentials are files.")
def no_credential_in_sight(
    environment: Mapping[str, str], labels: Mapping[str, str], arguments: tuple[str, ...]
) -> Iterator[str]:
    for field, values in (("environment", environment), ("labels", labels)):
        for key, value in sorted(values.items()):
            if shows_credential(key, value):
                yield visible_credential(field, key)
    for place in credential_arguments(arguments):
        yield visible_credential("arguments", place)


@rule("The container has no capability and is not privileged.")
def no_capabilities(
    privileged: bool, capabilities_added: tuple[str, ...], capabilities_dropped: tuple[str, ...]
) -> Iterator[str]:
    if privileged:
        yield unlike("privileged", "true", "false")
    if capabilities_added:
        yield unlike("capabilities added", ", ".join(capabilities_added), "none")
    if "ALL" not in {name.upper() for name in capabilities_dropped}:
        yield unlike("capabilities dropped", ", ".join(capabilities_dropped) or "none", "ALL")


@rule("No process gains privileges, not even through sudo, which the image has.")
def no_new_privileges(security_options: tuple[str, ...]) -> Iterator[str]:
    if not {"no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"} & set(security_options):
        yield unlike("security options", ", ".join(security_options) or "none", "no-new-privileges:true")


@rule("Memory is limited, without swap: one gateway must not starve the host, and a swapping one is late.")
def memory_limited(memory: int, memory_swap: int, accepted: tuple[Lacking, ...]) -> Iterator[str]:
    if memory <= 0:
        if Lacking.MEMORY_LIMIT not in accepted:
            yield unlike("memory", "no limit", "a limit in MiB")
    elif memory_swap != memory and not {Lacking.MEMORY_LIMIT, Lacking.SWAP_LIMIT} & {*accepted}:
        yield unlike("memory with swap", memory_swap if memory_swap > 0 else "no limit", f"{memory} MiB, so no swap")


@rule("The container's log is rotated: it must not fill the host's disk.")
def log_rotated(log_driver: str, log_options: Mapping[str, str]) -> Iterator[str]:
    if log_driver not in ("json-file", "local"):
        yield unlike("log driver", log_driver or "none", "json-file, which the verification can read")
    for option in ("max-size", "max-file"):
        if not log_options.get(option):
            yield unlike(f"log option {option}", "none", "a limit")


@rule("A stop leaves time for a clean logout: a killed gateway's session stays open at IBKR, sometimes for hours.")
def time_to_log_out(stop_grace: int) -> Iterator[str]:
    if stop_grace < MINIMUM_GRACE:
        yield unlike("stop grace", f"{stop_grace} s", f"{MINIMUM_GRACE} s or more")


@rule("A removal leaves the same time.")
def time_to_log_out_at_removal(removal_grace: int) -> Iterator[str]:
    if removal_grace < MINIMUM_GRACE:
        yield unlike("grace at removal", f"{removal_grace} s", f"{MINIMUM_GRACE} s or more")


@rule("Docker restarts a gateway that ends by itself, and leaves one that was stopped.")
def restarted_unless_stopped(restart: str) -> Iterator[str]:
    if restart != "unless-stopped":
        yield unlike("restart policy", restart or "none", "unless-stopped")


@rule("Docker has a probe of the gateway.")
def probed(probe: tuple[str, ...]) -> Iterator[str]:
    if not probe or probe[0] == "NONE":
        yield unlike("probe", "none", "one that does the API's handshake")


@rule("A live secret is used on live only, and a paper secret on paper only.")
def secret_of_this_mode(mode: Mode, secret_id: str) -> Iterator[str]:
    """By the words of its id, as in `ibgw/live/main`; an id that tells no mode, or both, is believed."""
    told = set(re.split(r"[^a-z0-9]+", secret_id.lower())) & set(Mode)
    if told and mode not in told:
        yield unlike("secret", secret_id, f"a secret for {mode}")


@rule("On live there is no VNC: its password would be all that stands before real money.")
def no_vnc_on_live(mode: Mode, environment: Mapping[str, str]) -> Iterator[str]:
    if mode is Mode.LIVE:
        # run_x11_vnc of the image starts the server when either is set.
        for key in ("VNC_SERVER_PASSWORD", "VNC_SERVER_PASSWORD_FILE"):
            if environment.get(key):
                yield unlike(f"environment {key}", "set", "not set on live")


EXPOSURE: tuple[Rule, ...] = (
    no_published_port,
    own_network,
    api_internal,
    bridges,
    egress_separates,
    egress_for_gateways,
)
"""Rules about who can reach the API."""

CONFINEMENT: tuple[Rule, ...] = (
    no_credential_in_sight,
    image_by_digest_on_live,
    no_capabilities,
    no_new_privileges,
    memory_limited,
    log_rotated,
    time_to_log_out,
    time_to_log_out_at_removal,
    restarted_unless_stopped,
    probed,
    secret_of_this_mode,
    no_vnc_on_live,
)
"""Rules about the container itself."""

RULES: tuple[Rule, ...] = EXPOSURE + CONFINEMENT


# --- credentials by their shape -----------------------------------------------------------------------------------

_WORDS = r"(?:pass(?:word|wd|phrase)|user_?id|login_?id|secret|token|totp|credential)"
_CREDENTIAL_NAME = re.compile(_WORDS, re.IGNORECASE)
_CREDENTIAL_IN_TEXT = re.compile(rf"(?P<name>[\w.-]*{_WORDS}[\w.-]*)[\"']?\s*[=:]\s*[\"']?[^\s\"',}}]", re.IGNORECASE)
_IBC_FLAGS = ("--user", "--pw")
"""ibcstart.sh's own (IBC's user guide, command line options)."""


def names_credential(name: str) -> bool:
    """Whether a name says that its value is a credential. A file's path and the id of a secret are none.

    `USER_ID` is a number in the environment of many images, so that one counts in texts only (`credential_in`).
    """
    plain = name.replace("-", "_").upper()
    return (
        bool(_CREDENTIAL_NAME.search(name))
        and not plain.endswith(("_FILE", "_PATH", "_DIR", "SECRET_ID"))
        and plain not in ("USER_ID", "USERID")
    )


def credential_in(text: str) -> bool:
    """Whether a text holds a credential with its name, such as `IbPassword=...` or `{"password": "..."}`."""
    return any(
        names_credential(match["name"]) or match["name"].lower() == "user_id"
        for match in _CREDENTIAL_IN_TEXT.finditer(text)
    )


def visible_credential(field: str, place: str) -> str:
    """A violation's text, worded so that no filter takes the name for one with its value behind it."""
    return unlike(field, f"what looks like a credential under {place}", "none, as credentials are files")


def shows_credential(name: str, value: str) -> bool:
    return bool(value) and (names_credential(name) or credential_in(value))


def credential_arguments(arguments: Sequence[str]) -> Iterator[str]:
    """Where arguments hold a credential: the flag's name, or the argument's place, never its text."""
    for number, argument in enumerate(arguments, start=1):
        flag, separator, _ = argument.partition("=")
        telling = flag.startswith("-") and (flag in _IBC_FLAGS or (" " not in flag and names_credential(flag)))
        if telling and (separator or number < len(arguments)):
            yield flag
        elif credential_in(argument):
            yield f"number {number}"
