"""Every property of the pulumi_docker 5.1.0 classes in use: implemented, or refused by name. A test walks the classes.

Sources: the classes themselves (names, which outputs are always set, hence computed), terraform-provider-docker's
resource definitions (ForceNew, defaults, patterns), and measurements with the real plug-in.
"""

from typing import Any

from sandbox.plugins.docker.schema import OnChange, Property, Schema, Shape

_UNUSED = "nothing in this project uses it"
_NO_PORTS = "no port is published on any stack: clients join the gateway's network"
# What Go's time.ParseDuration reads.
_DURATION = r"^(\d+(\.\d*)?(h|ms|m|s|us|µs|ns))+$"

_APPLY, _RECORD = OnChange.APPLY, OnChange.RECORD


def _refused(reason: str = _UNUSED, default: Any = None) -> Property:
    """`default`: what is recorded for it all the same."""
    return Property(refused=reason, default=default)


_LABEL: Schema = {"label": Property(required=True), "value": Property(required=True)}

PROVIDER: Schema = {
    "host": Property(),
    # Accepted and without effect: the daemon is asked when it is first needed.
    "disableDockerDaemonCheck": Property(),
    "context": _refused("name the daemon with `host`"),
    "sshOpts": _refused("ssh options live in ~/.ssh/config"),
    "caMaterial": _refused("use ssh:// for a daemon on another machine"),
    "certMaterial": _refused("use ssh:// for a daemon on another machine"),
    "keyMaterial": _refused("use ssh:// for a daemon on another machine"),
    "certPath": _refused("use ssh:// for a daemon on another machine"),
    "registryAuth": _refused("the sandbox's registry needs no login"),
    # Set by the SDK when a resource option asks for it.
    "version": Property(),
    "pluginDownloadURL": Property(),
}

NETWORK: Schema = {
    "name": Property(required=True),
    "driver": Property(computed=True),
    "internal": Property(computed=True),
    "attachable": Property(),
    "ingress": Property(),
    "ipv6": Property(),
    "ipamDriver": Property(default="default"),
    "ipamOptions": Property(Shape.MAP),
    "ipamConfigs": Property(
        Shape.SET,
        computed=True,
        items={
            "subnet": Property(),
            "ipRange": Property(),
            "gateway": Property(),
            "auxAddress": Property(Shape.MAP),
        },
    ),
    "options": Property(Shape.MAP, computed=True),
    "labels": Property(Shape.SET, items=_LABEL),
    "scope": Property(output=True),
}

VOLUME: Schema = {
    "name": Property(required=True),
    "driver": Property(computed=True),
    "driverOpts": Property(Shape.MAP),
    "labels": Property(Shape.SET, items=_LABEL),
    "cluster": _refused("cluster volumes belong to Swarm"),
    "mountpoint": Property(output=True),
}

REMOTE_IMAGE: Schema = {
    "name": Property(required=True),
    "keepLocally": Property(on_change=_APPLY),
    "forceRemove": Property(on_change=_APPLY),
    "platform": Property(),
    "pullTriggers": Property(Shape.SET),
    "triggers": Property(Shape.MAP),
    "build": _refused("use docker.Image: RemoteImage's build sees a changed context only through triggers"),
    "imageId": Property(output=True),
    "repoDigest": Property(output=True),
}

IMAGE: Schema = {
    "imageName": Property(required=True, on_change=_APPLY),
    "skipPush": Property(on_change=_APPLY),
    "buildOnPreview": Property(on_change=_APPLY),
    "registry": _refused("the stand-in builds images and does not push them"),
    "build": Property(
        Shape.OBJECT,
        on_change=_APPLY,
        items={
            "context": Property(),
            "dockerfile": Property(),
            "args": Property(Shape.MAP),
            "target": Property(),
            "platform": Property(),
            "network": Property(),
            # Accepted and without effect: the docker SDK only speaks to the classic builder.
            "builderVersion": Property(pattern="^(BuilderV1|BuilderBuildKit)$"),
            "addHosts": _refused(),
            "cacheFrom": _refused(),
            "contextDigest": Property(),  # added by the check, as the official plug-in does
        },
    ),
    "baseImageName": Property(output=True),
    "context": Property(output=True),
    "dockerfile": Property(output=True),
    "platform": Property(output=True),
    "registryServer": Property(output=True),
    "repoDigest": Property(output=True),
}

CONTAINER: Schema = {
    "name": Property(required=True),
    "image": Property(required=True),
    # The process
    "command": Property(Shape.LIST, computed=True),
    "entrypoints": Property(Shape.LIST, computed=True),
    "envs": Property(Shape.SET, computed=True),
    "user": Property(computed=True),  # "" and absent both mean the image's
    "workingDir": Property(computed=True),
    "groupAdds": Property(Shape.SET),
    "tty": Property(default=False),
    "stdinOpen": Property(default=False),
    "init": Property(on_change=_RECORD, computed=True),
    "stopSignal": Property(computed=True),
    "stopTimeout": Property(computed=True),
    "hostname": Property(computed=True),
    "domainname": Property(),
    "labels": Property(Shape.SET, computed=True, items=_LABEL),
    "healthcheck": Property(
        Shape.OBJECT,
        on_change=_RECORD,
        computed=True,
        items={
            "tests": Property(Shape.LIST, required=True),
            "interval": Property(default="0s", pattern=_DURATION),
            "timeout": Property(default="0s", pattern=_DURATION),
            "startPeriod": Property(default="0s", pattern=_DURATION),
            "startInterval": _refused("Docker Engine knows it from version 25 on", "0s"),
            "retries": Property(default=0),
        },
    ),
    # Life cycle
    "restart": Property(on_change=_APPLY, default="no", pattern="^(no|on-failure|always|unless-stopped)$"),
    "maxRetryCount": Property(on_change=_APPLY),
    "mustRun": Property(on_change=_APPLY, default=True),
    "start": Property(on_change=_RECORD, default=True),
    "attach": Property(on_change=_RECORD, default=False),
    "logs": Property(on_change=_RECORD, default=False),
    "wait": Property(on_change=_RECORD, default=False),
    "waitTimeout": Property(on_change=_RECORD, default=60),
    "destroyGraceSeconds": Property(on_change=_RECORD),
    "removeVolumes": Property(on_change=_RECORD, default=True),
    "containerReadRefreshTimeoutMilliseconds": Property(on_change=_RECORD, default=15000),
    # Limits
    "memory": Property(on_change=_APPLY),
    "memoryReservation": Property(on_change=_APPLY, default=0),
    "memorySwap": Property(on_change=_APPLY),
    "cpuShares": Property(on_change=_APPLY),
    "cpuSet": Property(on_change=_APPLY, pattern=r"^\d+([,-]\d+)*$"),
    "cpuPeriod": Property(on_change=_RECORD),
    "cpuQuota": Property(on_change=_RECORD),
    "cpus": Property(),
    "shmSize": Property(computed=True),
    "ulimits": Property(
        Shape.SET,
        items={"name": Property(required=True), "soft": Property(required=True), "hard": Property(required=True)},
    ),
    # Rights
    "capabilities": Property(Shape.OBJECT, items={"adds": Property(Shape.SET), "drops": Property(Shape.SET)}),
    "securityOpts": Property(Shape.SET, computed=True),
    "privileged": Property(),
    "readOnly": Property(default=False),
    "sysctls": Property(Shape.MAP),
    "ipcMode": Property(computed=True),
    "pidMode": Property(),
    "usernsMode": Property(),
    "cgroupnsMode": Property(computed=True),
    "cgroupParent": Property(),
    "runtime": Property(computed=True),
    "platform": Property(computed=True),
    # Files
    "mounts": Property(
        Shape.SET,
        on_change=OnChange.REPLACE_IF_COUNTED,
        items={
            "target": Property(required=True),
            "type": Property(required=True, pattern="^(bind|volume|tmpfs)$"),
            "source": Property(),
            "readOnly": Property(),
            "bindOptions": Property(Shape.OBJECT, items={"propagation": Property()}),
            "tmpfsOptions": Property(Shape.OBJECT, items={"mode": Property(), "sizeBytes": Property()}),
            "volumeOptions": Property(
                Shape.OBJECT,
                items={
                    "noCopy": Property(),
                    "labels": Property(Shape.SET, items=_LABEL),
                    "driverName": Property(),
                    "driverOptions": Property(Shape.MAP),
                    "subpath": _refused("Docker Engine knows it from version 26 on"),
                },
            ),
        },
    ),
    "volumes": Property(
        Shape.SET,
        items={
            "volumeName": Property(),
            "hostPath": Property(pattern="^/"),
            "containerPath": Property(),
            "readOnly": Property(),
            "fromContainer": _refused(),
            "selinuxRelabel": _refused(),
        },
    ),
    "tmpfs": Property(Shape.MAP, on_change=_RECORD),
    "uploads": Property(
        Shape.SET,
        items={
            "file": Property(required=True),
            "content": Property(),
            "contentBase64": Property(),
            "executable": Property(default=False),
            "permissions": Property(pattern="^0[0-7]{3}$"),
            "source": _refused("give the content itself"),
            "sourceHash": _refused("give the content itself"),
        },
    ),
    # Networks
    "networkMode": Property(default="bridge"),
    "networksAdvanced": Property(
        Shape.SET,
        items={
            "name": Property(required=True),
            "aliases": Property(Shape.SET),
            "ipv4Address": Property(),
            "ipv6Address": Property(),
            "linkLocalIps": _refused(),
            "macAddress": _refused(),
            "driverOpts": _refused(),
            "gwPriority": _refused("Docker Engine knows it from version 28 on"),
        },
    ),
    "hosts": Property(Shape.SET, items={"host": Property(required=True), "ip": Property(required=True)}),
    "dns": Property(Shape.SET),
    "dnsOpts": Property(Shape.SET),
    "dnsSearches": Property(Shape.SET),
    "ports": _refused(_NO_PORTS),
    "publishAllPorts": _refused(_NO_PORTS),
    # Logs
    "logDriver": Property(computed=True),
    "logOpts": Property(Shape.MAP),
    # Not used
    "devices": _refused(),
    "deviceReadBps": _refused(),
    "deviceReadIops": _refused(),
    "deviceWriteBps": _refused(),
    "deviceWriteIops": _refused(),
    "deviceRequests": _refused(),
    "gpus": _refused(),
    "rm": _refused("a container that removes itself is gone before its outcome can be read", False),
    "storageOpts": _refused(),
    # Set by Docker
    "bridge": Property(output=True),
    "containerLogs": Property(output=True),
    "exitCode": Property(output=True),
    "networkDatas": Property(Shape.LIST, output=True),
}
