"""A gateway's volumes, and the step that hands them to the gateway's user."""

from dataclasses import dataclass
from pathlib import PurePosixPath

import pulumi
import pulumi_docker as docker

from infra.spec import SUPERVISOR_PATH, UID, GatewaySpec, VolumeSpec


@dataclass(frozen=True)
class StorageArgs:
    spec: GatewaySpec
    image_id: pulumi.Input[str]
    """The gateway's own image: it is on the host anyway, and it knows the user."""


class Storage(pulumi.ComponentResource):
    """Volumes that outlive every deployment, `pulumi destroy` included: they hold the session's token.

    A new named volume belongs to root, and the image runs as uid 1000, so a container that runs once changes the
    owner. It brings the supervisor along, which the gateway's container starts from there. It stays behind, stopped:
    while it exists, Docker refuses to remove the volumes.
    """

    ready: list[pulumi.Resource]

    def __init__(self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ibgw:storage:Storage", name, None, opts)
        spec = args.spec
        volumes = {
            role: self._volume(f"{name}-{role}", volume)
            for role, volume in (("settings", spec.settings_volume), ("logs", spec.logs_volume))
            if volume is not None
        }
        paths = [mount.path for mount in spec.mounts]
        guard = str(PurePosixPath(SUPERVISOR_PATH).parent)
        owner = docker.Container(
            f"{name}-settings-owner",
            name=spec.owner_name,
            image=args.image_id,
            entrypoints=["chown"],
            command=[f"{UID}:{UID}", *paths, guard],
            user="0",
            network_mode="none",
            # CAP_ is part of the name: a refresh reads it back so, and any other spelling replaces the container.
            capabilities=docker.ContainerCapabilitiesArgs(adds=["CAP_CHOWN"], drops=["ALL"]),
            security_opts=["no-new-privileges:true"],
            volumes=[
                docker.ContainerVolumeArgs(volume_name=volume.name, container_path=path)
                for volume, path in zip(volumes.values(), paths, strict=True)
            ],
            uploads=[
                docker.ContainerUploadArgs(file=SUPERVISOR_PATH, content=spec.supervisor, permissions="0444"),
            ],
            restart="no",
            attach=True,
            logs=True,
            must_run=False,
            labels=[
                docker.ContainerLabelArgs(label=key, value=value) for key, value in sorted(spec.owner_labels.items())
            ],
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.ready = [owner]
        self.register_outputs({})

    def _volume(self, name: str, spec: VolumeSpec) -> docker.Volume:
        return docker.Volume(
            name,
            name=spec.name,
            driver="local",
            labels=[docker.VolumeLabelArgs(label=key, value=value) for key, value in sorted(spec.labels.items())],
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True),
        )
