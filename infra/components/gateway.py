"""One gateway: its own internal network, its storage and its container."""

from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from deployment import VERSION
from deployment.description import PASSWORD_FILE, USER_ID_FILE
from deployment.durations import format_duration
from infra.components.network import declare_network
from infra.components.storage import Storage, StorageArgs
from infra.credentials import Credentials
from infra.spec import (
    SECRET_FILE_MODE,
    VALUES_PATH,
    VERSION_FILE,
    GatewaySpec,
)

CREDENTIALS = ["uploads[0].content", "uploads[1].content"]
"""The paths of the container's inputs that hold the user id and the password."""

NOT_APPLIED_IN_PLACE = ["healthcheck"]
"""The provider accepts a change of it, records it and changes nothing; so such a change must replace."""


@dataclass(frozen=True)
class GatewayArgs:
    spec: GatewaySpec
    credentials: Credentials
    image_id: pulumi.Input[str]
    egress_network_id: pulumi.Input[str]


class Gateway(pulumi.ComponentResource):
    """Created without the provider's `wait`: a failed wait would replace the container at the next update, and every
    replacement is a login. Whether the gateway is ready is for the verification to say."""

    container_id: pulumi.Output[str]

    def __init__(self, name: str, args: GatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        spec = args.spec
        # For whoever reads a preview (`ibgw plan`): the container's files are one secret to the engine, so that it
        # cannot say which of them changed. Nothing here is secret, and nothing depends on it.
        told = {
            "settings": spec.settings.model_dump(mode="json", by_alias=True),
            "secretVersion": args.credentials.version_id,
            "version": VERSION,
        }
        super().__init__("ibgw:gateway:Gateway", name, told, opts)
        api_network = declare_network(f"{name}-api", spec.api_network, pulumi.ResourceOptions(parent=self))
        storage = Storage(name, StorageArgs(spec=spec, image_id=args.image_id), pulumi.ResourceOptions(parent=self))
        container = docker.Container(
            name,
            name=spec.container_name,
            image=args.image_id,
            command=list(spec.command),
            envs=[f"{key}={value}" for key, value in sorted(spec.environment.items())],
            # The first two are what CREDENTIALS names.
            uploads=[
                docker.ContainerUploadArgs(
                    file=USER_ID_FILE, content=args.credentials.user_id, permissions=SECRET_FILE_MODE
                ),
                docker.ContainerUploadArgs(
                    file=PASSWORD_FILE, content=args.credentials.password, permissions=SECRET_FILE_MODE
                ),
                docker.ContainerUploadArgs(
                    file=VERSION_FILE, content=args.credentials.version_id, permissions=SECRET_FILE_MODE
                ),
                docker.ContainerUploadArgs(file=VALUES_PATH, content=spec.values, permissions="0444"),
            ],
            volumes=[
                docker.ContainerVolumeArgs(volume_name=mount.volume, container_path=mount.path) for mount in spec.mounts
            ],
            networks_advanced=[
                docker.ContainerNetworksAdvancedArgs(name=api_network.id, aliases=[spec.container_name]),
                docker.ContainerNetworksAdvancedArgs(name=args.egress_network_id),
            ],
            healthcheck=docker.ContainerHealthcheckArgs(
                tests=list(spec.probe.test),
                interval=format_duration(spec.probe.interval),
                timeout=format_duration(spec.probe.timeout),
                retries=spec.probe.retries,
            ),
            capabilities=docker.ContainerCapabilitiesArgs(drops=list(spec.capabilities_dropped)),
            security_opts=list(spec.security_options),
            sysctls=spec.sysctls,
            # Equal, so that there is no swap; without the second one every preview would show a change.
            memory=spec.memory,
            memory_swap=spec.memory,
            restart=spec.restart,
            stop_timeout=round(spec.stop_grace.total_seconds()),
            # The provider kills at once without it, and a killed gateway leaves its session at the broker.
            destroy_grace_seconds=round(spec.stop_grace.total_seconds()),
            log_driver=spec.log_driver,
            log_opts=spec.log_options,
            labels=[docker.ContainerLabelArgs(label=key, value=value) for key, value in sorted(spec.labels.items())],
            must_run=True,
            wait=False,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=storage.ready,
                replace_on_changes=NOT_APPLIED_IN_PLACE,
                # The provider says so for its own replacements; a forced one (`up --replace`) needs it said here.
                delete_before_replace=True,
                # A preview without the values takes them from the state: what differs is told by VERSION_FILE alone.
                ignore_changes=None if args.credentials.were_read else CREDENTIALS,
            ),
        )
        self.container_id = container.id
        self.register_outputs({"container_id": self.container_id})
