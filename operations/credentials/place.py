"""Where a stack's credentials are: its gateways' secrets, as the engine has the configuration."""

from dataclasses import dataclass

from deployment.description import Mode, SecondFactor
from deployment.errors import ExitCode, IbgwError
from deployment.paths import project_folder
from infra.settings import load
from operations.stack import Stack, matching


@dataclass(frozen=True)
class Place:
    """One gateway's secret. `pinned`: the version that `credentials.versionId` names, if it does."""

    stack: str
    gateway: str
    mode: Mode
    secret_id: str
    pinned: str | None
    second_factor: SecondFactor


@dataclass(frozen=True)
class Places:
    """Of a whole stack. `region` and `profile`: the stack's own, where it names them."""

    region: str | None
    profile: str | None
    by_gateway: dict[str, Place]

    def one(self, gateway: str | None) -> Place:
        """The named gateway's, or the only one's. Raises IbgwError (bad usage) where the choice is open."""
        if gateway is None and len(self.by_gateway) > 1:
            raise IbgwError(
                f"There are several gateways: choose one with --gateway ({', '.join(sorted(self.by_gateway))}).",
                exit_code=ExitCode.BAD_USAGE,
            )
        return self.some([gateway] if gateway else [])[0]

    def some(self, gateways: list[str]) -> list[Place]:
        """The named gateways', or all. Raises IbgwError (bad usage) for one that the stack does not have."""
        names = matching(gateways, self.by_gateway, "no such gateway is configured")
        return [self.by_gateway[name] for name in names]


def places(stack: str) -> Places:
    """By the stack's configuration; nothing needs to be deployed. Raises IbgwError that lists what is wrong with it."""
    configuration = Stack(stack).configuration()
    settings = load(stack, configuration, project_folder())
    return Places(
        region=configuration.get("aws:region"),
        profile=configuration.get("aws:profile"),
        by_gateway={
            name: Place(
                stack=stack,
                gateway=name,
                mode=settings.mode,
                secret_id=gateway.credentials.secret_id,
                pinned=gateway.credentials.version_id,
                second_factor=gateway.second_factor.method,
            )
            for name, gateway in settings.gateways.items()
        },
    )


@dataclass(frozen=True)
class Running:
    """The version of its secret that each gateway was deployed with. `unknown`: why that is not known."""

    versions: dict[str, str]
    unknown: str = ""


def running(stack: str) -> Running:
    from operations.described import described

    try:
        deployment = described(stack).deployment
    except IbgwError as error:
        return Running({}, str(error))
    return Running({name: gateway.secret.version_id for name, gateway in deployment.gateways.items()})
