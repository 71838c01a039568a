"""The same secrets and the same resources as the real program, declared by hand: no settings, checks or components.

Every property that the real program sets is set here too, the labels and the supervisor included.

It takes what to declare from the environment (`FLAT_GATEWAYS`: name, secret and subnet of each), as a script would.
"""

import json
import os
from ipaddress import IPv4Network
from pathlib import Path

import pulumi
import pulumi_docker as docker
from pulumi_aws import secretsmanager

config = pulumi.Config()
prefix, host = config.require("namePrefix"), config.require("dockerHost")
opts = pulumi.ResourceOptions(provider=docker.Provider("docker", host=host))
base = f"{prefix}-{pulumi.get_stack()}"
script = Path(__file__).parents[3].joinpath("infra", "supervisor", "supervisor.sh").read_text(encoding="utf-8")


def labels(role: str, gateway: str | None = None) -> list[tuple[str, str]]:
    found = {
        "ibgw.managed-by": "pulumi",
        "ibgw.prefix": prefix,
        "ibgw.project": "flat",
        "ibgw.stack": pulumi.get_stack(),
        "ibgw.role": role,
        "ibgw.mode": "paper",
    }
    return sorted((found | ({"ibgw.gateway": gateway} if gateway else {})).items())


def network(
    name: str, subnet: str, role: str, *, internal: bool, options: dict[str, str], gateway: str | None = None
) -> docker.Network:
    return docker.Network(
        name,
        name=f"{base}-{name}",
        driver="bridge",
        internal=internal,
        ipam_configs=[docker.NetworkIpamConfigArgs(subnet=subnet, gateway=str(next(IPv4Network(subnet).hosts())))],
        options=options,
        labels=[docker.NetworkLabelArgs(label=key, value=value) for key, value in labels(role, gateway)],
        opts=opts,
    )


image = docker.RemoteImage("image", name=config.require("image"), platform="linux/amd64", keep_locally=True, opts=opts)
verifier = docker.Image(
    "verifier",
    image_name=f"{base}-verifier",
    build=docker.DockerBuildArgs(
        context="../../..",
        dockerfile="../../../healthcheck/Dockerfile",
        platform="linux/amd64",
        args={"BASE_IMAGE": config.require_object("verifier")["baseImage"]},
    ),
    skip_push=True,
    build_on_preview=False,
    opts=opts,
)
egress = network(
    "egress",
    os.environ["FLAT_EGRESS"],
    "egress",
    internal=False,
    options={"com.docker.network.bridge.enable_icc": "false"},
)
ids = {}
for name, entry in json.loads(os.environ["FLAT_GATEWAYS"]).items():
    secret = secretsmanager.get_secret_version_output(secret_id=entry["secret"])
    document = pulumi.Output.secret(secret.secret_string).apply(lambda text: json.loads(str(text)))
    api = network(f"{name}-api", entry["subnet"], "api", internal=True, options={}, gateway=name)
    volume = docker.Volume(
        f"{name}-settings",
        name=f"{base}-{name}-settings",
        driver="local",
        labels=[docker.VolumeLabelArgs(label=key, value=value) for key, value in labels("settings", name)],
        opts=opts,
    )
    mounts = [docker.ContainerVolumeArgs(volume_name=volume.name, container_path="/home/ibgateway/tws_settings")]
    owner = docker.Container(
        f"{name}-owner",
        name=f"{base}-{name}-settings-owner",
        image=image.image_id,
        entrypoints=["chown"],
        command=["1000:1000", "/home/ibgateway/tws_settings"],
        user="0",
        network_mode="none",
        capabilities=docker.ContainerCapabilitiesArgs(adds=["CAP_CHOWN"], drops=["ALL"]),
        security_opts=["no-new-privileges:true"],
        volumes=mounts,
        restart="no",
        attach=True,
        logs=True,
        must_run=False,
        labels=[docker.ContainerLabelArgs(label=key, value=value) for key, value in labels("settings-owner", name)],
        opts=opts,
    )
    gateway = docker.Container(
        name,
        name=f"{base}-{name}",
        image=image.image_id,
        envs=[
            "ALLOW_BLIND_TRADING=no",
            "AUTO_RESTART_TIME=11:59 PM",
            "BYPASS_WARNING=no",
            "EXISTING_SESSION_DETECTED_ACTION=primary",
            "JAVA_HEAP_SIZE=768",
            "READ_ONLY_API=no",
            "RELOGIN_AFTER_TWOFA_TIMEOUT=no",
            "SAVE_TWS_SETTINGS=Every 30 mins",
            "TIME_ZONE=America/New_York",
            "TRADING_MODE=paper",
            "TWOFA_EXIT_INTERVAL=60",
            "TWOFA_TIMEOUT_ACTION=exit",
            "TWS_ACCEPT_INCOMING=reject",
            "TWS_SETTINGS_PATH=/home/ibgateway/tws_settings",
            "TZ=America/New_York",
        ],
        uploads=[
            docker.ContainerUploadArgs(file=file, content=content, permissions=permissions)
            for file, content, permissions in (
                ("/run/secrets/tws_userid", document["user_id"], "0444"),
                ("/run/secrets/tws_password", document["password"], "0444"),
                ("/run/secrets/secret_version", secret.version_id, "0444"),
                ("/home/ibgateway/flat/supervisor.sh", script, "0555"),
            )
        ],
        volumes=mounts,
        networks_advanced=[
            docker.ContainerNetworksAdvancedArgs(name=api.id, aliases=[f"{base}-{name}"]),
            docker.ContainerNetworksAdvancedArgs(name=egress.id),
        ],
        healthcheck=docker.ContainerHealthcheckArgs(
            tests=["CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/4002"], interval="1m0s", timeout="10s", retries=3
        ),
        capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"]),
        security_opts=["no-new-privileges:true"],
        memory=1536,
        memory_swap=1536,
        restart="unless-stopped",
        stop_timeout=60,
        destroy_grace_seconds=60,
        log_driver="json-file",
        log_opts={"max-size": "10m", "max-file": "5"},
        labels=[docker.ContainerLabelArgs(label=key, value=value) for key, value in labels("gateway", name)],
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[owner])),
    )
    ids[name] = gateway.id
pulumi.export("ids", ids)
