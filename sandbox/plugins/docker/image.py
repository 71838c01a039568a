"""`docker:index/image:Image`, the official plug-in's own resource: an image built from a folder.

Built with the daemon's classic builder, which is all the docker SDK speaks to. Deleting it leaves the image in place,
and reading it never looks, as with the official one. Nothing is built in a preview unless `buildOnPreview` says so.
"""

import os
import re
from pathlib import Path
from typing import Any

from sandbox.plugins.docker import context
from sandbox.plugins.docker.daemon import Daemon, failing_as
from sandbox.plugins.docker.properties import IMAGE
from sandbox.plugins.docker.schema import canonical, refusals
from sandbox.plugins.provider import Change, Checked, Difference, PluginError, Refusal, State
from sandbox.plugins.values import UNKNOWN, Properties, has_unknown

_DOCKERFILE = "Dockerfile"
# Where the official plug-in keeps the inputs among the outputs.
_INPUTS = "__inputs"


def check(inputs: Properties) -> Checked:
    """Adds `build.contextDigest` to the inputs: a changed context is a changed input."""
    found = list(refusals(IMAGE, inputs))
    if not inputs.get("skipPush"):
        found.append(Refusal("skipPush", "the docker stand-in builds images and does not push them: set skipPush"))
    build = dict(inputs.get("build") or {})
    folder, dockerfile = _places(build)
    if found or has_unknown([build.get("context"), build.get("dockerfile")]):
        return Checked(inputs, tuple(found))
    if not dockerfile.is_file():
        hint = folder / dockerfile
        advice = f'. Try setting `dockerfile` to "{hint}"' if hint.is_file() else ""
        return Checked(inputs, (Refusal("build.dockerfile", f"could not open dockerfile at {dockerfile}{advice}"),))
    build["contextDigest"] = context.digest(folder, dockerfile)
    return Checked({**inputs, "build": build})


def diff(state: State, new: Properties) -> Difference:
    """Every change builds again and keeps the resource. Compared with the inputs that the state holds for that."""
    old_inputs = state.properties.get(_INPUTS) or {}
    changes = {
        name: Change.UPDATE
        for name, known in IMAGE.items()
        if not known.output
        and (canonical(known, old_inputs.get(name)) != canonical(known, new.get(name)) or has_unknown(new.get(name)))
    }
    return Difference(changes, frozenset(changes))


def build(daemon: Daemon, inputs: Properties, *, preview: bool) -> State:
    """Builds the image and answers with its id as `repoDigest`; a preview only says what is known before."""
    name = inputs["imageName"]
    options = inputs.get("build") or {}
    if preview and (not inputs.get("buildOnPreview") or has_unknown(inputs)):
        return State("", {**_outputs(inputs), "repoDigest": UNKNOWN})
    folder, dockerfile = _places(options)
    archive, dockerfile_inside = context.archive(folder, dockerfile)
    client = daemon.client
    with failing_as(f"building image {name}"):
        events = client.build(
            fileobj=archive,
            custom_context=True,
            dockerfile=dockerfile_inside,
            tag=name,
            rm=True,
            forcerm=True,
            buildargs=options.get("args") or {},
            target=options.get("target"),
            network_mode=options.get("network"),
            platform=options.get("platform"),
            decode=True,
        )
        image_id = _follow(events, name)
        image = daemon.inspect_image(image_id)
    return State(name, {**_outputs(inputs), "repoDigest": image["Id"]})


def _follow(events: Any, name: str) -> str:
    """Reads the build's output to its end; returns the built image's id.

    A failed step is told with the last lines that it printed. They can hold whatever the build prints, as with docker
    build itself: build arguments are no place for secrets.
    """
    printed: list[str] = []
    image_id = None
    for event in events:
        if "error" in event:
            last = "".join(printed[-20:]).strip()
            raise PluginError(f"building image {name}: {event['error']}\n{last}")
        printed.append(event.get("stream", ""))
        if found := re.search(r"Successfully built ([0-9a-f]+)", event.get("stream", "")):
            image_id = found.group(1)
    if image_id is None:
        raise PluginError(f"building image {name}: the daemon's answer ended without an image id")
    return image_id


def _places(build: Properties) -> tuple[Path, Path]:
    """The context's folder and the Dockerfile, relative to the working folder, which is the program's."""
    folder = build.get("context") or "."
    dockerfile = build.get("dockerfile") or (UNKNOWN if folder is UNKNOWN else os.path.join(folder, _DOCKERFILE))
    if folder is UNKNOWN or dockerfile is UNKNOWN:
        return Path("."), Path(_DOCKERFILE)
    return Path(folder), Path(dockerfile)


def _outputs(inputs: Properties) -> Properties:
    build = inputs.get("build") or {}
    folder, dockerfile = _places(build)
    return {
        "imageName": inputs["imageName"],
        "baseImageName": inputs["imageName"],
        "context": str(build.get("context") or "."),
        "dockerfile": os.path.relpath(dockerfile, folder),
        "platform": build.get("platform"),
        "registryServer": "",
        _INPUTS: inputs,
    }
