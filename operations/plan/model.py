"""A plan: what an update would do to each gateway, and why. Its JSON is what `ibgw plan --json` prints."""

from enum import StrEnum

from pydantic import BaseModel, Field, computed_field, model_serializer

from deployment.tables import Kind
from operations.answers import Answer


class PlanVerdict(StrEnum):
    """What happens to a gateway. `create` logs in as well; so does `remove` log out."""

    NONE = "none"
    IN_PLACE = "in_place"
    RELOGIN = "relogin"
    RELOGIN_SECOND_FACTOR = "relogin_second_factor"
    CREATE = "create"
    REMOVE = "remove"


class Effect(StrEnum):
    """What one changed setting does by itself."""

    REPLACES = "replaces"
    IN_PLACE = "in_place"
    NOTHING = "nothing"
    """To the container: it is for whoever verifies or connects, or it shows only together with another."""


REPLACED = PlanVerdict.RELOGIN, PlanVerdict.RELOGIN_SECOND_FACTOR


class Cause(StrEnum):
    """What a reason is about."""

    SETTING = "setting"
    """Of the gateway."""
    SECRET = "secret"  # noqa: S105 - a reason
    """Another version of it."""
    STACK = "stack"
    """The stack's own configuration."""
    IMAGE = "image"
    PROGRAM = "program"
    """What this version of ibgw puts into the container."""
    UNTOLD = "untold"
    """What ibgw puts into the container, out of a state that does not tell whether the gateway's settings changed."""
    OTHER = "other"


class Reason(BaseModel, frozen=True):
    """`setting` is for people: a setting by its key below the gateway (`session.timeZone`) or the stack
    (`ibgw:network.subnetPool`), or what else there is. `effect`: what the change of it leads to. Never a value."""

    cause: Cause = Field(exclude=True)
    setting: str
    effect: Effect


class Change(BaseModel, frozen=True):
    """From and to; either is None where there is none or where only the update will know."""

    before: str | None
    after: str | None


class OtherChange(BaseModel, frozen=True):
    """Of an object that is no gateway's own container. The operation `leave` is of a volume that the stack lets go and
    keeps. `watches`: it is of what watches the gateways, and none for them."""

    operation: str
    kind: Kind
    name: str
    watches: bool = False

    @model_serializer
    def __str__(self) -> str:
        return f"{self.operation} {self.name}"


class GatewayPlan(BaseModel, frozen=True):
    """`downtime`: what the gateway is away for, None where it stays. `image` and `secret_version`: None where they stay
    the same. `version`: of ibgw, where another one is a reason. `asks_second_factor`: whether this update leads to a
    request on the phone."""

    gateway: str
    verdict: PlanVerdict
    reasons: tuple[Reason, ...]
    asks_second_factor: bool
    downtime: str | None
    image: Change | None
    secret_version: Change | None
    version: Change | None


class Plan(Answer):
    stack: str
    gateways: tuple[GatewayPlan, ...]
    others: tuple[OtherChange, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def changes(self) -> bool:
        return bool(self.others) or any(
            planned.verdict is not PlanVerdict.NONE or planned.reasons for planned in self.gateways
        )
