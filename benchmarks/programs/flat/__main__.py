"""The same secrets and the same resources as the real program, declared by hand: no settings, checks or components.

It takes what to declare from the environment (`FLAT_GATEWAYS`: name, secret and subnet of each), as a script would.
"""

import json
import os

import pulumi
import pulumi_docker as docker
from pulumi_aws import secretsmanager

config = pulumi.Config()
prefix, host = config.require("namePrefix"), config.require("dockerHost")
opts = pulumi.ResourceOptions(provider=docker.Provider("docker", host=host))
base = f"{prefix}-{pulumi.get_stack()}"
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
egress = docker.Network(
    "egress",
    name=f"{base}-egress",
    driver="bridge",
    internal=False,
    ipam_configs=[docker.NetworkIpamConfigArgs(subnet=os.environ["FLAT_EGRESS"])],
    options={"com.docker.network.bridge.enable_icc": "false"},
    opts=opts,
)
ids = {}
for name, entry in json.loads(os.environ["FLAT_GATEWAYS"]).items():
    secret = secretsmanager.get_secret_version_output(secret_id=entry["secret"])
    document = pulumi.Output.secret(secret.secret_string).apply(lambda text: json.loads(str(text)))
    api = docker.Network(
        f"{name}-api",
        name=f"{base}-{name}-api",
        driver="bridge",
        internal=True,
        ipam_configs=[docker.NetworkIpamConfigArgs(subnet=entry["subnet"])],
        opts=opts,
    )
    volume = docker.Volume(f"{name}-settings", name=f"{base}-{name}-settings", driver="local", opts=opts)
    mounts = [docker.ContainerVolumeArgs(volume_name=volume.name, container_path="/home/ibgateway/tws_settings")]
    owner = docker.Container(
        f"{name}-owner",
        name=f"{base}-{name}-settings-owner",
        image=image.image_id,
        entrypoints=["chown"],
        command=["1000:1000", "/home/ibgateway/tws_settings"],
        user="0",
        network_mode="none",
        volumes=mounts,
        attach=True,
        logs=True,
        must_run=False,
        opts=opts,
    )
    gateway = docker.Container(
        name,
        name=f"{base}-{name}",
        image=image.image_id,
        envs=[
            "TRADING_MODE=paper",
            "TWS_PASSWORD_FILE=/run/secrets/tws_password",
            "TWS_SETTINGS_PATH=/home/ibgateway/tws_settings",
            "TIME_ZONE=America/New_York",
            "TZ=America/New_York",
        ],
        uploads=[
            docker.ContainerUploadArgs(file="/run/secrets/tws_userid", content=document["user_id"]),
            docker.ContainerUploadArgs(file="/run/secrets/tws_password", content=document["password"]),
        ],
        volumes=mounts,
        networks_advanced=[
            docker.ContainerNetworksAdvancedArgs(name=api.id, aliases=[f"{base}-{name}"]),
            docker.ContainerNetworksAdvancedArgs(name=egress.id),
        ],
        capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"]),
        memory=1536,
        memory_swap=1536,
        restart="unless-stopped",
        destroy_grace_seconds=5,
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[owner])),
    )
    ids[name] = gateway.id
pulumi.export("ids", ids)
