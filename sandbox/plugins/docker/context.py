"""What of a folder is sent to a build, and the digest by which a changed context is noticed.

`.dockerignore` means what Docker says it means: the last matching pattern decides, `!` lets back in, `**` is any number
of folders. The Dockerfile and the `.dockerignore` always go along: the daemon needs them, and takes them out again
where they are ignored.
"""

import hashlib
import io
import os
import re
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

IGNORE_FILE = ".dockerignore"


@dataclass(frozen=True)
class Rule:
    """One line of a `.dockerignore`."""

    pattern: str
    lets_in: bool

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile(_to_expression(self.pattern))

    def matches(self, path: str) -> bool:
        """Whether the rule names `path` or a folder above it."""
        parts = path.split("/")
        return any(self._expression.fullmatch("/".join(parts[: n + 1])) for n in range(len(parts)))

    def may_match_below(self, folder: str) -> bool:
        """Whether something inside `folder` could match: false only if the pattern's fixed start is elsewhere."""
        fixed = re.split(r"[*?\[]", self.pattern, maxsplit=1)[0]
        return fixed.startswith(f"{folder}/") or f"{folder}/".startswith(fixed)


def read_rules(folder: Path) -> tuple[Rule, ...]:
    path = folder / IGNORE_FILE
    if not path.exists():
        return ()
    rules = []
    for line in path.read_text().splitlines():
        text = line.strip()
        if not text or line.startswith("#"):
            continue
        lets_in = text.startswith("!")
        pattern = os.path.normpath(text.removeprefix("!").strip()).strip("/")
        if pattern != ".":
            rules.append(Rule(pattern, lets_in))
    return tuple(rules)


def files(folder: Path, dockerfile: Path) -> Iterator[tuple[str, Path]]:
    """Name in the context and path of each file, link and empty folder that goes to the build, in the names' order."""
    rules = read_rules(folder)
    always = {os.path.relpath(dockerfile, folder), IGNORE_FILE}
    yield from _walk(folder, "", rules, always)


def _walk(folder: Path, prefix: str, rules: tuple[Rule, ...], always: set[str]) -> Iterator[tuple[str, Path]]:
    for entry in sorted(os.scandir(folder), key=lambda found: found.name):
        name = f"{prefix}{entry.name}"
        ignored = _ignored(name, rules) and name not in always
        if entry.is_dir(follow_symlinks=False):
            look_inside = not ignored or any(rule.lets_in and rule.may_match_below(name) for rule in rules)
            look_inside = look_inside or any(path.startswith(f"{name}/") for path in always)
            if look_inside:
                yield from _walk(Path(entry.path), f"{name}/", rules, always)
        elif not ignored:
            yield name, Path(entry.path)


def _ignored(name: str, rules: tuple[Rule, ...]) -> bool:
    ignored = False
    for rule in rules:
        if rule.lets_in is ignored and rule.matches(name):
            ignored = not rule.lets_in
    return ignored


def digest(folder: Path, dockerfile: Path) -> str:
    """SHA-256 over the Dockerfile and over name, mode and content of all that is not ignored; not over times.

    The same as the official plug-in's, so that a state made by one rebuilds nothing under the other (pulumi-docker
    5.1.0, provider.go): the Dockerfile goes first, under a fixed name and without a mode, and a link counts by the
    place that it leads to.
    """
    total = hashlib.sha256(_part("Dockerfile", "----------", dockerfile.read_bytes()))
    for name, path in _walk(folder, "", read_rules(folder), set()):
        mode = stat.filemode(path.lstat().st_mode)
        # Go writes a link's mode with a capital letter.
        is_link = mode.startswith("l")
        content = os.path.relpath(os.path.realpath(path)).encode() if is_link else path.read_bytes()
        total.update(_part(name, mode.replace("l", "L", 1) if is_link else mode, content))
    return total.hexdigest()


def _part(name: str, mode: str, content: bytes) -> bytes:
    return name.encode() + mode.encode() + hashlib.sha256(content).digest() + b"\0"


def archive(folder: Path, dockerfile: Path) -> tuple[io.BytesIO, str]:
    """The context as a tar file, and the Dockerfile's name in it. Everything belongs to root, as officially."""
    buffer = io.BytesIO()
    inside = not os.path.relpath(dockerfile, folder).startswith("..")
    name_inside = os.path.relpath(dockerfile, folder) if inside else f".dockerfile.{digest(folder, dockerfile)[:20]}"
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, path in files(folder, dockerfile):
            tar.add(path, arcname=name, recursive=False, filter=_owned_by_root)
        if not inside:
            tar.add(dockerfile, arcname=name_inside, filter=_owned_by_root)
    buffer.seek(0)
    return buffer, name_inside


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _to_expression(pattern: str) -> str:
    """A pattern of Go's filepath.Match with `**`, as a regular expression over whole paths."""
    out, index = "", 0
    while index < len(pattern):
        if pattern.startswith("**/", index):
            out, index = out + "(?:[^/]+/)*", index + 3
        elif pattern.startswith("**", index):
            out, index = out + ".*", index + 2
        elif pattern[index] == "*":
            out, index = out + "[^/]*", index + 1
        elif pattern[index] == "?":
            out, index = out + "[^/]", index + 1
        elif pattern[index] == "[" and (end := pattern.find("]", index + 1)) > 0:
            out, index = out + pattern[index : end + 1], end + 1
        elif pattern[index] == "\\" and index + 1 < len(pattern):
            out, index = out + re.escape(pattern[index + 1]), index + 2
        else:
            out, index = out + re.escape(pattern[index]), index + 1
    return out
