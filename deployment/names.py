"""Names and labels of everything that a stack creates on a Docker host.

People address these objects by name, the repair command finds them by label, and a clean-up removes them by prefix;
so each name and label is spelled here and nowhere else. Labels hold only what never changes during a gateway's life:
a changed label replaces the container, and a replaced gateway has to log in again.
"""

from dataclasses import dataclass
from enum import StrEnum

PROJECT = "ibgw"
"""The project's name in Pulumi.yaml, which is the namespace of its keys."""

MANAGED_BY = "pulumi"

OWN_LABELS = "ibgw."
"""How the keys of our labels begin, those of later versions too."""


class Label(StrEnum):
    """Label keys, as `docker inspect` shows them."""

    MANAGED_BY = "ibgw.managed-by"
    PREFIX = "ibgw.prefix"
    PROJECT = "ibgw.project"
    STACK = "ibgw.stack"
    GATEWAY = "ibgw.gateway"
    ROLE = "ibgw.role"
    MODE = "ibgw.mode"
    LIFETIME = "ibgw.lifetime"  # of the verifier's objects: seconds for which the run that made one may need it
    RUN = "ibgw.run"  # of the verifier's objects: the process that made one
    SECRET_ID = "ibgw.secret-id"  # noqa: S105 - a label's key, not a secret


class Role(StrEnum):
    """What a labelled object is for (the value of `Label.ROLE`)."""

    GATEWAY = "gateway"
    SETTINGS = "settings"
    LOGS = "logs"
    SETTINGS_OWNER = "settings-owner"
    API = "api"
    EGRESS = "egress"
    VERIFIER = "verifier"
    TRIAL = "trial"
    PROBER = "prober"
    WATCHER = "watcher"
    MONITORING = "monitoring"
    WAY_OUT = "way-out"
    HISTORY = "history"
    CODES = "codes"
    DISPLAY = "display"


@dataclass(frozen=True)
class Names:
    """The fixed names of one stack's objects: `<prefix>-<stack>[-<gateway>[-<role>]]`."""

    prefix: str
    stack: str

    @property
    def base(self) -> str:
        return f"{self.prefix}-{self.stack}"

    @property
    def egress_network(self) -> str:
        return f"{self.base}-egress"

    @property
    def verifier_image(self) -> str:
        return f"{self.base}-verifier"

    # No gateway's name has a dot, so that none of these can be one.

    @property
    def prober(self) -> str:
        return f"{self.base}.prober"

    @property
    def watcher(self) -> str:
        return f"{self.base}.watcher"

    @property
    def monitoring(self) -> str:
        """The watcher's network."""
        return f"{self.base}.monitoring"

    @property
    def handover(self) -> str:
        """The volume through which the prober hands over. Not called as the network: a reference is a name alone."""
        return f"{self.base}.handover"

    @property
    def way_out(self) -> str:
        """The network that leads the watcher out, where it has somebody to tell."""
        return f"{self.base}.way-out"

    @property
    def history(self) -> str:
        """The watcher's own volume."""
        return f"{self.base}.history"

    def codes(self, gateway: str) -> str:
        """The container that types its codes, and the volume of its own."""
        return f"{self.gateway(gateway)}.codes"

    def display(self, gateway: str) -> str:
        """The volume in which the display of a gateway that codes are typed into has its socket."""
        return f"{self.gateway(gateway)}.display"

    def gateway(self, gateway: str) -> str:
        """The container's name, which is also the host name that clients use on the `api` network."""
        return f"{self.base}-{gateway}"

    def api_network(self, gateway: str) -> str:
        return f"{self.gateway(gateway)}-api"

    def settings_volume(self, gateway: str) -> str:
        return f"{self.gateway(gateway)}-settings"

    def logs_volume(self, gateway: str) -> str:
        return f"{self.gateway(gateway)}-logs"

    def trial(self, gateway: str) -> str:
        """A container that is made to see whether Docker takes it, and removed. No gateway's name has a dot."""
        return f"{self.gateway(gateway)}.trial"

    def settings_owner(self, gateway: str) -> str:
        return f"{self.gateway(gateway)}-settings-owner"


def labels(
    *, prefix: str, project: str, stack: str, mode: str, role: Role, gateway: str | None = None
) -> dict[str, str]:
    """The labels of one object. `gateway` is left out for what belongs to the whole stack."""
    texts = {
        Label.MANAGED_BY: MANAGED_BY,
        Label.PREFIX: prefix,
        Label.PROJECT: project,
        Label.STACK: stack,
        Label.ROLE: role.value,
        Label.MODE: mode,
    }
    if gateway is not None:
        texts[Label.GATEWAY] = gateway
    return {str(key): value for key, value in texts.items()}
