"""Settings -> what runs: the containers, files, networks and volumes of each gateway. Pure, and without pulumi.

It describes a gateway (deployment.parts) without knowing what will run it, so that tests, policies and other engines
read the same description. Facts about the image are from its Dockerfile, run.sh, common.sh and config.ini.tmpl (tag
10.45.1j).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath

from deployment import abilities
from deployment.abilities import Lack, Lacking
from deployment.description import PASSWORD_FILE, PORTS, USER_ID_FILE, CheckLevel, Mode, SecondFactor
from deployment.names import Label, Names, Role, labels
from deployment.parts import (
    PASSWORD,
    SECRET_VERSION,
    SEED,
    SEED_VERSION,
    USER_ID,
    VERIFIER_IMAGE,
    Attachment,
    ContainerSpec,
    FileSpec,
    LogSpec,
    Mount,
    NetworkSpec,
    Probe,
    Restart,
    VolumeSpec,
)
from healthcheck.second_factor.handover import DISPLAY_FOLDER, SEED_FILE, TOLD, TOLD_FOLDER, WANTED
from infra import monitoring, supervisor
from infra import settings as config
from infra.addresses import Held, choose
from infra.monitoring import MonitoringSpec
from infra.properties import escape
from infra.release import NO_RELEASE
from infra.times import twelve_hour

HOME = "/home/ibgateway"
UID = 1000
SETTINGS_PATH = f"{HOME}/tws_settings"
LOGS_PATH = f"{HOME}/debug_logs"
SUPERVISOR_PATH = f"{SETTINGS_PATH}/guard/supervisor.sh"
"""The container's first process; the image's own, run.sh, is its child. On the volume, so that a new version of it
replaces no gateway: it is used from the next start on."""
VALUES_PATH = f"{HOME}/ibgw/values"
"""What the supervisor reads of its gateway."""

SECRETS_PATH = "/run/secrets"
VERSION_FILE = f"{SECRETS_PATH}/secret_version"

PROBE_TIMEOUT = timedelta(seconds=10)
PROBE_RETRIES = 3
RUN_PATH = "/tmp/ibgw"
"""What the supervisor keeps only as long as the container lives."""

CODES = ("python3", "-m", "healthcheck.second_factor")
"""What types codes, of the verifier's image; USER is its alone."""
CODES_USER = "65533:65533"
CODES_MEMORY = 128
"""MiB."""
DISPLAY_VOLUME = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=1777"}
"""Of the local driver: in memory, and as X servers want the folder of their sockets."""


@dataclass(frozen=True)
class SecretSpec:
    """A secret by its id, and the version that was asked for; None is its current one."""

    id: str
    version: str | None


@dataclass(frozen=True)
class GatewaySpec:
    """One gateway: what it is made of, by the role of each part, and what it is for.

    A container that runs once prepares the volumes; the others begin after it.
    """

    name: str
    secret: SecretSpec
    networks: Mapping[Role, NetworkSpec]
    volumes: Mapping[Role, VolumeSpec]
    containers: Mapping[Role, ContainerSpec]
    settings: config.Gateway
    order_level: CheckLevel

    @property
    def container(self) -> ContainerSpec:
        """The one that the gateway itself runs in."""
        return self.containers[Role.GATEWAY]

    @property
    def api_network(self) -> NetworkSpec:
        return self.networks[Role.API]


@dataclass(frozen=True)
class HostSpec:
    """What a stack declares on one Docker host. `egress` leads all gateways there out; `monitoring` watches them."""

    docker_host: str
    egress: NetworkSpec
    gateways: Mapping[str, GatewaySpec]
    monitoring: MonitoringSpec | None = None


@dataclass(frozen=True)
class StackSpec:
    """Everything that one stack declares. `image` is the reference to pull; None: live without a promoted release."""

    project: str
    stack: str
    mode: Mode
    names: Names
    image: str | None
    release: str | None
    base_image: str
    platform: str
    accept_host: tuple[Lacking, ...]
    """What the configuration accepts, whether the Docker host has it or not."""
    accepted: tuple[Lacking, ...]
    """Of that, what the host lacks."""
    verification_timeout: timedelta | None
    hosts: tuple[HostSpec, ...]

    @property
    def gateways(self) -> dict[str, GatewaySpec]:
        return {name: gateway for host in self.hosts for name, gateway in host.gateways.items()}


def probe_script(port: int) -> str:
    """A client's handshake in bash, as the image has neither nc nor curl (API reference: "API", then the versions).

    It offers versions up to 178 only, which every gateway answers as text, and reads the whole answer, so that its
    connection closes without a reset.
    """
    return (
        f"exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'API\\0\\0\\0\\0\\x09v100..178' >&3 "
        "&& read -r a b c d < <(timeout 5 head -c 4 <&3 | od -An -tu1) "
        "&& ((n = a << 24 | b << 16 | c << 8 | d, n > 0 && n < 1000)) "
        '&& test "$(timeout 5 head -c $n <&3 | wc -c)" -eq $n'
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def environment(mode: Mode, gateway: config.Gateway) -> dict[str, str]:
    """Every variable of the image that we use, each set explicitly: the image itself has no defaults for them.

    No credential is among them; they are files.
    """
    session = gateway.session
    variables = {
        "TRADING_MODE": mode.value,
        "TWS_SETTINGS_PATH": SETTINGS_PATH,
        "TWS_ACCEPT_INCOMING": gateway.api.accept_incoming.value,
        "READ_ONLY_API": _yes(gateway.api.read_only),
        "ALLOW_BLIND_TRADING": _yes(gateway.api.allow_blind_trading),
        "BYPASS_WARNING": _yes(gateway.api.bypass_warnings),
        "EXISTING_SESSION_DETECTED_ACTION": session.existing_session.value,
        # Java's and IBC's local time on one side, jts.ini on the other: they must agree.
        "TIME_ZONE": session.time_zone,
        "TZ": session.time_zone,
        "TWOFA_TIMEOUT_ACTION": gateway.second_factor.on_timeout.value,
        "TWOFA_EXIT_INTERVAL": str(round(gateway.second_factor.exit_interval.total_seconds())),
        # The supervisor renders `yes` only for a secret version that has logged in before.
        "RELOGIN_AFTER_TWOFA_TIMEOUT": "no",
        "JAVA_HEAP_SIZE": str(gateway.resources.java_heap),
    }
    if gateway.api.master_client_id is not None:
        variables["TWS_MASTER_CLIENT_ID"] = str(gateway.api.master_client_id)
    if gateway.second_factor.method is not SecondFactor.NONE and gateway.second_factor.device is not None:
        # It goes where the credentials go: through the image's envsubst and Java's properties.
        variables["TWOFA_DEVICE"] = escape(gateway.second_factor.device)
    if session.auto_restart is not None:
        variables["AUTO_RESTART_TIME"] = twelve_hour(session.auto_restart)
    if session.auto_logoff is not None:
        variables["AUTO_LOGOFF_TIME"] = twelve_hour(session.auto_logoff)
    if session.cold_restart is not None:
        variables["TWS_COLD_RESTART"] = session.cold_restart
    # SaveTwsSettingsAt, in IBC's config.ini.
    if isinstance(session.save_settings, timedelta):
        variables["SAVE_TWS_SETTINGS"] = f"Every {round(session.save_settings.total_seconds() / 60)} mins"
    elif session.save_settings is not None:
        variables["SAVE_TWS_SETTINGS"] = " ".join(session.save_settings)
    return dict(sorted(variables.items()))


def describe(
    settings: config.Settings,
    *,
    project: str,
    stack: str,
    image: str | None,
    held: Collection[Held] = (),
    lacks: Collection[Lack] = (),
) -> StackSpec:
    """The whole stack as data. `held`: the subnets of its Docker host's networks; none on an empty host. `lacks`: what
    the host cannot do; nothing unless known. Raises IbgwError (REFUSED) when a subnet cannot be had."""
    accepted = abilities.accepted(lacks, settings.accept_host)
    names = Names(settings.name_prefix, stack)
    configured = {name: gateway.api_subnet for name, gateway in settings.gateways.items()}
    watching = settings.monitoring if settings.monitoring.enabled else None
    others = monitoring.networks(names, watching) if watching else {}
    subnets = choose(settings.network.subnet_pool, configured, names, held, [*others.values()])

    def labelled(role: Role, gateway: str | None = None) -> dict[str, str]:
        return labels(
            prefix=settings.name_prefix,
            project=project,
            stack=stack,
            mode=settings.mode.value,
            role=role,
            gateway=gateway,
        )

    def storage(name: str, gateway: config.Gateway) -> tuple[dict[Role, VolumeSpec], tuple[Mount, ...]]:
        """What it keeps, and where that is mounted."""
        volumes = {Role.SETTINGS: VolumeSpec(names.settings_volume(name), labelled(Role.SETTINGS, name))}
        mounts = [Mount(volumes[Role.SETTINGS].name, SETTINGS_PATH)]
        if gateway.debug.enabled:
            volumes[Role.LOGS] = VolumeSpec(names.logs_volume(name), labelled(Role.LOGS, name))
            mounts.append(Mount(volumes[Role.LOGS].name, LOGS_PATH))
        return volumes, tuple(mounts)

    def owner_step(name: str, mounts: tuple[Mount, ...]) -> ContainerSpec:
        """Gives the volumes to the image's user, since a new one belongs to root, and brings the supervisor along."""
        guard = str(PurePosixPath(SUPERVISOR_PATH).parent)
        script = supervisor.script(
            paths={
                "VALUES": VALUES_PATH,
                "SECRETS": SECRETS_PATH,
                "LOGS": LOGS_PATH,
                "RUN": RUN_PATH,
                "WANTED": f"{DISPLAY_FOLDER}/{WANTED}",
                "TOLD": f"{TOLD_FOLDER}/{TOLD}",
            }
        )
        return ContainerSpec(
            name=names.settings_owner(name),
            # The gateway's own: it is on the host anyway, and it knows the user.
            image=image or NO_RELEASE,
            entry_point=("chown",),
            command=(f"{UID}:{UID}", *(mount.path for mount in mounts), guard),
            user="0",
            capabilities=("CHOWN",),
            files=(FileSpec(SUPERVISOR_PATH, script),),
            mounts=mounts,
            restart=Restart.NEVER,
            labels=labelled(Role.SETTINGS_OWNER, name),
        )

    def gateway_container(name: str, gateway: config.Gateway, mounts: tuple[Mount, ...]) -> ContainerSpec:
        return ContainerSpec(
            name=names.gateway(name),
            image=image or NO_RELEASE,
            command=("bash", SUPERVISOR_PATH),
            environment=environment(settings.mode, gateway),
            files=(
                FileSpec(USER_ID_FILE, USER_ID),
                FileSpec(PASSWORD_FILE, PASSWORD),
                FileSpec(VERSION_FILE, SECRET_VERSION),
                FileSpec(VALUES_PATH, supervisor.values(settings.mode, gateway)),
            ),
            mounts=mounts,
            networks=(
                Attachment(names.api_network(name), aliases=(names.gateway(name),)),
                Attachment(names.egress_network),
            ),
            probe=Probe(
                test=("CMD", "bash", "-c", probe_script(PORTS[settings.mode].inner)),
                interval=gateway.container.probe_interval,
                timeout=PROBE_TIMEOUT,
                retries=PROBE_RETRIES,
            ),
            memory=0 if Lacking.MEMORY_LIMIT in accepted else gateway.resources.memory,
            swap_limited=Lacking.SWAP_LIMIT not in accepted,
            stop_grace=gateway.container.stop_grace,
            log=LogSpec(gateway.container.log_max_size, gateway.container.log_max_files),
            restart=Restart.UNLESS_STOPPED,
            labels=dict(label.split("=", 1) for label in gateway.container.labels)
            | labelled(Role.GATEWAY, name)
            | {str(Label.SECRET_ID): gateway.credentials.secret_id},
        )

    def codes(name: str, gateway: config.Gateway) -> tuple[dict[Role, VolumeSpec], tuple[Mount, ...], ContainerSpec]:
        """What types a gateway's codes: the volumes between the two, where the gateway has them, the container."""
        volumes = {
            Role.DISPLAY: VolumeSpec(names.display(name), labelled(Role.DISPLAY, name), DISPLAY_VOLUME),
            Role.CODES: VolumeSpec(names.codes(name), labelled(Role.CODES, name)),
        }
        display, told = volumes[Role.DISPLAY].name, volumes[Role.CODES].name
        limited = Lacking.MEMORY_LIMIT not in accepted
        container = ContainerSpec(
            name=names.codes(name),
            image=VERIFIER_IMAGE,
            entry_point=CODES,
            command=("--version-id", SEED_VERSION, *(("--any-clock",) if gateway.second_factor.any_clock else ())),
            user=CODES_USER,
            # Docker puts no file into a container whose root is read-only. The image has no folder that its user could
            # write to but the volume's (healthcheck/Dockerfile).
            files=(FileSpec(SEED_FILE, SEED),),
            mounts=(Mount(display, DISPLAY_FOLDER, read_only=True), Mount(told, TOLD_FOLDER)),
            memory=CODES_MEMORY if limited else 0,
            swap_limited=Lacking.SWAP_LIMIT not in accepted,
            log=LogSpec("1m", 3),
            restart=Restart.UNLESS_STOPPED,
            labels=labelled(Role.CODES, name),
        )
        return volumes, (Mount(display, DISPLAY_FOLDER), Mount(told, TOLD_FOLDER, read_only=True)), container

    def gateway_spec(name: str, gateway: config.Gateway) -> GatewaySpec:
        volumes, mounts = storage(name, gateway)
        containers = {Role.SETTINGS_OWNER: owner_step(name, mounts)}
        if gateway.second_factor.method is SecondFactor.TOTP:
            between, shared, containers[Role.CODES] = codes(name, gateway)
            volumes, mounts = {**volumes, **between}, (*mounts, *shared)
        api = NetworkSpec(names.api_network(name), subnets.api[name], labelled(Role.API, name), internal=True)
        return GatewaySpec(
            name=name,
            secret=SecretSpec(gateway.credentials.secret_id, gateway.credentials.version_id),
            networks={Role.API: api},
            volumes=volumes,
            containers={**containers, Role.GATEWAY: gateway_container(name, gateway, mounts)},
            settings=gateway,
            order_level=settings.order_level(name),
        )

    # Two gateways must not reach each other's relay over the network that leads them out.
    egress = NetworkSpec(names.egress_network, subnets.egress, labelled(Role.EGRESS), separates=True)
    gateways = {name: gateway_spec(name, gateway) for name, gateway in sorted(settings.gateways.items())}
    watched = (
        None
        if watching is None
        else monitoring.describe(
            names,
            stack,
            gateways,
            settings=watching,
            hours=settings.trading_hours,
            subnets={role: subnets.others[name] for role, name in others.items()},
            labelled=labelled,
            limited=Lacking.MEMORY_LIMIT not in accepted,
            swap_limited=Lacking.SWAP_LIMIT not in accepted,
        )
    )
    return StackSpec(
        project=project,
        stack=stack,
        mode=settings.mode,
        names=names,
        image=image,
        release=settings.release,
        base_image=settings.verifier.base_image,
        platform=settings.platform.value,
        accept_host=settings.accept_host,
        accepted=accepted,
        verification_timeout=settings.verifier.timeout,
        hosts=(HostSpec(settings.docker_host, egress, gateways, watched),),
    )
