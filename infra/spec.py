"""Settings -> what runs: environment, mounts, probe, labels and limits of each gateway. Pure, and without pulumi.

It describes a gateway without knowing what will run it, so that tests, policies and other engines read the same
description. Facts about the image are from its Dockerfile, run.sh, common.sh and config.ini.tmpl (tag 10.45.1j).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network

from deployment.description import PORTS, CheckLevel, Mode, SecondFactor
from deployment.names import Label, Names, Role, labels
from infra import settings as config
from infra import supervisor
from infra.addresses import Held, choose
from infra.properties import escape
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
VNC_PASSWORD_PATH = f"{HOME}/vnc_password"

SECRETS_PATH = "/run/secrets"
VERSION_FILE = f"{SECRETS_PATH}/secret_version"
SECRET_FILE_MODE = "0444"  # noqa: S105 - uploads belong to root, and the gateway runs as uid 1000

ICC = "com.docker.network.bridge.enable_icc"
"""A bridge's option: whether its containers reach each other. Docker's default is true."""

PROBE_TIMEOUT = timedelta(seconds=10)
PROBE_RETRIES = 3
RUN_PATH = "/tmp/ibgw"
"""What the supervisor keeps only as long as the container lives."""
NO_FORWARDING = {"net.ipv4.ip_forward": "0"}
"""Docker switches it on in every container; no packet goes through a gateway."""


@dataclass(frozen=True)
class Probe:
    """Docker's health check. Healthy means that the API answers its handshake; an open port proves nothing."""

    test: tuple[str, ...]
    interval: timedelta
    timeout: timedelta
    retries: int


@dataclass(frozen=True)
class Mount:
    volume: str
    path: str


@dataclass(frozen=True)
class NetworkSpec:
    name: str
    driver: str
    subnet: IPv4Network
    internal: bool
    labels: dict[str, str]
    options: dict[str, str]


@dataclass(frozen=True)
class VolumeSpec:
    name: str
    labels: dict[str, str]


@dataclass(frozen=True)
class GatewaySpec:
    """One gateway's container and what belongs to it alone. Memory in MiB."""

    name: str
    container_name: str
    owner_name: str
    environment: dict[str, str]
    command: tuple[str, ...]
    supervisor: str
    values: str
    secret_id: str
    secret_version: str | None
    api_network: NetworkSpec
    settings_volume: VolumeSpec
    logs_volume: VolumeSpec | None
    mounts: tuple[Mount, ...]
    probe: Probe
    labels: dict[str, str]
    owner_labels: dict[str, str]
    memory: int
    stop_grace: timedelta
    capabilities_dropped: tuple[str, ...]
    security_options: tuple[str, ...]
    sysctls: dict[str, str]
    log_driver: str
    log_options: dict[str, str]
    restart: str
    settings: config.Gateway
    order_level: CheckLevel


@dataclass(frozen=True)
class StackSpec:
    """Everything that one stack declares. `image` is the reference to pull; None: live without a promoted release."""

    project: str
    stack: str
    mode: Mode
    names: Names
    docker_host: str
    image: str | None
    release: str | None
    base_image: str
    platform: str
    verification_timeout: timedelta
    egress: NetworkSpec
    gateways: dict[str, GatewaySpec]


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
    found = {
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
        found["TWS_MASTER_CLIENT_ID"] = str(gateway.api.master_client_id)
    if gateway.second_factor.method is SecondFactor.PUSH and gateway.second_factor.device is not None:
        # It goes where the credentials go: through the image's envsubst and Java's properties.
        found["TWOFA_DEVICE"] = escape(gateway.second_factor.device)
    if session.auto_restart is not None:
        found["AUTO_RESTART_TIME"] = twelve_hour(session.auto_restart)
    if session.auto_logoff is not None:
        found["AUTO_LOGOFF_TIME"] = twelve_hour(session.auto_logoff)
    if session.cold_restart is not None:
        found["TWS_COLD_RESTART"] = session.cold_restart
    if session.save_settings is not None:
        found["SAVE_TWS_SETTINGS"] = f"Every {round(session.save_settings.total_seconds() / 60)} mins"
    if gateway.vnc.enabled:
        found["VNC_SERVER_PASSWORD_FILE"] = VNC_PASSWORD_PATH
    return dict(sorted(found.items()))


def describe(
    settings: config.Settings, *, project: str, stack: str, image: str | None, held: Collection[Held] = ()
) -> StackSpec:
    """The whole stack as data. `held`: the subnets of its Docker host's networks; none on an empty host. Raises
    IbgwError (REFUSED) when a subnet cannot be had."""
    names = Names(settings.name_prefix, stack)
    configured = {name: gateway.api_subnet for name, gateway in settings.gateways.items()}
    subnets = choose(settings.network.subnet_pool, configured, names, held)

    def labelled(role: Role, gateway: str | None = None) -> dict[str, str]:
        return labels(
            prefix=settings.name_prefix,
            project=project,
            stack=stack,
            mode=settings.mode.value,
            role=role,
            gateway=gateway,
        )

    def gateway_spec(name: str, gateway: config.Gateway) -> GatewaySpec:
        settings_volume = VolumeSpec(names.settings_volume(name), labelled(Role.SETTINGS, name))
        logs_volume = VolumeSpec(names.logs_volume(name), labelled(Role.LOGS, name)) if gateway.debug.enabled else None
        mounts = [Mount(settings_volume.name, SETTINGS_PATH)]
        if logs_volume is not None:
            mounts.append(Mount(logs_volume.name, LOGS_PATH))
        return GatewaySpec(
            name=name,
            container_name=names.gateway(name),
            owner_name=names.settings_owner(name),
            environment=environment(settings.mode, gateway),
            command=("bash", SUPERVISOR_PATH),
            supervisor=supervisor.script(
                paths={"VALUES": VALUES_PATH, "SECRETS": SECRETS_PATH, "LOGS": LOGS_PATH, "RUN": RUN_PATH}
            ),
            values=supervisor.values(settings.mode, gateway),
            secret_id=gateway.credentials.secret_id,
            secret_version=gateway.credentials.version_id,
            api_network=NetworkSpec(
                name=names.api_network(name),
                driver="bridge",
                subnet=subnets.api[name],
                internal=True,
                labels=labelled(Role.API, name),
                options={},
            ),
            settings_volume=settings_volume,
            logs_volume=logs_volume,
            mounts=tuple(mounts),
            probe=Probe(
                test=("CMD", "bash", "-c", probe_script(PORTS[settings.mode].inner)),
                interval=gateway.container.probe_interval,
                timeout=PROBE_TIMEOUT,
                retries=PROBE_RETRIES,
            ),
            labels=labelled(Role.GATEWAY, name) | {str(Label.SECRET_ID): gateway.credentials.secret_id},
            owner_labels=labelled(Role.SETTINGS_OWNER, name),
            memory=gateway.resources.memory,
            stop_grace=gateway.container.stop_grace,
            capabilities_dropped=("ALL",),
            security_options=("no-new-privileges:true",),
            sysctls=NO_FORWARDING,
            log_driver="json-file",
            log_options={
                "max-size": gateway.container.log_max_size,
                "max-file": str(gateway.container.log_max_files),
            },
            restart="unless-stopped",
            settings=gateway,
            order_level=settings.order_level(name),
        )

    return StackSpec(
        project=project,
        stack=stack,
        mode=settings.mode,
        names=names,
        docker_host=settings.docker_host,
        image=image,
        release=settings.release,
        base_image=settings.verifier.base_image,
        platform=settings.platform.value,
        verification_timeout=settings.verifier.timeout,
        egress=NetworkSpec(
            name=names.egress_network,
            driver="bridge",
            subnet=subnets.egress,
            internal=False,
            labels=labelled(Role.EGRESS),
            # Two gateways must not reach each other's relay over the network that leads them out.
            options={ICC: "false"},
        ),
        gateways={name: gateway_spec(name, gateway) for name, gateway in sorted(settings.gateways.items())},
    )
