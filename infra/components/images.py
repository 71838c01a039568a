"""The gateway's image, pulled by its reference, and the verifier's, built here."""

import os
from pathlib import Path

import pulumi
import pulumi_docker as docker

ROOT = Path(__file__).resolve().parents[2]


def declare_gateway_image(reference: str, *, platform: str, opts: pulumi.ResourceOptions) -> docker.RemoteImage:
    """Pulls the image. It is kept on the host afterwards, so that a rollback needs no registry."""
    return docker.RemoteImage("gateway-image", name=reference, platform=platform, keep_locally=True, opts=opts)


def declare_verifier_image(name: str, *, base_image: str, platform: str, opts: pulumi.ResourceOptions) -> docker.Image:
    """Builds the image that the verification runs from. It goes to no registry and is known by its id.

    The context is the repository's root, of which `.dockerignore` lets in only what the verifier runs; as a path from
    the program's folder, where the provider works, so that no machine's own path gets into the state.
    """
    context = os.path.relpath(ROOT)
    return docker.Image(
        "verifier-image",
        image_name=name,
        build=docker.DockerBuildArgs(
            context=context,
            dockerfile=f"{context}/healthcheck/Dockerfile",
            platform=platform,
            args={"BASE_IMAGE": base_image},
        ),
        skip_push=True,
        build_on_preview=False,
        opts=opts,
    )
