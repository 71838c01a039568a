"""A Java that shows the gateway's windows, with a real X server: one archive of a machine, of what that has installed.

The image without it is smaller and quicker, so it is a layer of an image of its own. Java is cut down to what Swing
needs (jlink), and Xvfb comes with its libraries: Debian's own packages would be ten times as large.
"""

import hashlib
import os
import re
import shutil
import tarfile
import tempfile
from pathlib import Path

from deployment.errors import IbgwError
from sandbox import packages
from sandbox.images import Context, ContextFile
from sandbox.locks import locked
from sandbox.processes import run
from sandbox.steps import Say

SOURCE = Path(__file__).parent / "gateway" / "windows" / "Windows.java"
COMMANDS = {**packages.DISPLAY, "javac": "default-jdk-headless"}
LIBRARIES = ("libXi.so.6", "libXtst.so.6", "libXrender.so.1", "libXext.so.6")
"""What Swing's part of Java needs besides; of Debian's package default-jre."""
DATA = ("/usr/share/X11/xkb", "/usr/share/fonts/truetype/dejavu", "/etc/fonts", "/usr/share/fontconfig/conf.avail")
HOME = "/opt/windows"

RUN_JAVA = f"""#!/bin/sh
export LD_LIBRARY_PATH={HOME}/lib
exec {HOME}/jre/bin/java -Xmx64m -Xshare:auto -XX:TieredStopAtLevel=1 -cp {HOME}/classes Windows
"""
RUN_XVFB = f"""#!/bin/sh
export LD_LIBRARY_PATH={HOME}/lib
exec {HOME}/bin/Xvfb "$@"
"""
DOCKERFILE = f"""\
ARG GATEWAY
FROM ${{GATEWAY}}
USER 0
RUN rm /usr/local/bin/Xvfb
ADD windows.tar /
RUN chmod 755 {HOME}/java /usr/local/bin/Xvfb
USER 1000:1000
"""


def context(cache: Path, say: Say) -> Context:
    """What the image is built from; the archive is made once a machine, and kept in the cache."""
    recipe = hashlib.sha256(SOURCE.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:12]
    kept = cache / f"windows-{recipe}.tar"
    with locked(kept.with_suffix(".lock")):
        if not kept.exists():
            packages.provide(COMMANDS, cache, say)
            if any(_library(name) is None for name in LIBRARIES):
                packages.install(["default-jre"], say)
            say("making a Java for the gateway's windows (10 to 30 s)")
            _make(kept)
    return {"Dockerfile": ContextFile(DOCKERFILE.encode()), "windows.tar": ContextFile(kept.read_bytes())}


def _make(kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ibgw-windows-", dir=kept.parent) as folder:
        root = Path(folder) / "root"
        home = root / HOME[1:]
        for path in (home / "bin", home / "lib", home / "classes", root / "usr/local/bin", root / "usr/bin"):
            path.mkdir(parents=True)
        slim = ["--add-modules", "java.desktop", "--strip-debug", "--no-header-files", "--no-man-pages"]
        run(["jlink", *slim, "--output", str(home / "jre")], doing="making a Java with Swing alone")
        run(["javac", "-d", str(home / "classes"), str(SOURCE)], doing="compiling the gateway's windows")
        programs = [_program("Xvfb"), _program("xkbcomp")]
        shutil.copy2(programs[0], home / "bin/Xvfb")
        shutil.copy2(programs[1], root / "usr/bin/xkbcomp")
        for data in filter(os.path.isdir, DATA):
            shutil.copytree(data, root / data[1:], ignore_dangling_symlinks=True)
        found = [str(path) for path in (home / "jre/lib").rglob("*.so")]
        # The last one is loaded by its name alone.
        wanted = (*LIBRARIES, "libfontconfig.so.1")
        named = [str(found) for found in map(_library, wanted) if found is not None]
        for library in _needed([*map(str, programs), *found, *named]) | {*named}:
            shutil.copy2(library, home / "lib" / Path(library).name)
        (home / "java").write_text(RUN_JAVA)
        (root / "usr/local/bin/Xvfb").write_text(RUN_XVFB)
        draft = Path(folder) / "windows.tar"
        with tarfile.open(draft, "w") as tar:
            tar.add(root, arcname=".", filter=_roots)
        os.replace(draft, kept)


def _roots(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    return entry


def _program(name: str) -> str:
    found = packages.find(name)
    if found is None:
        raise IbgwError(f"the command {name} is missing; install Debian's package xvfb")
    return found


def _library(name: str) -> Path | None:
    listed = run([packages.find("ldconfig") or "ldconfig", "-p"], doing="listing libraries")
    found = re.search(rf"^\s*{re.escape(name)} .*=> (\S+)$", listed, re.MULTILINE)
    return Path(found[1]) if found else None


def _needed(files: list[str]) -> set[str]:
    """Their libraries, but for the C library's own, which the image has."""
    listed = run(["ldd", *files], doing="listing the libraries of Java and Xvfb")
    found = set(re.findall(r"=> (/\S+) \(", listed))
    own = re.compile(r"/(ld-linux|libc\.|libm\.|libdl\.|libpthread\.|librt\.|libresolv\.)")
    return {path for path in found if not own.search(path) and "/jre/lib/" not in path}
