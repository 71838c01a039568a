"""What of a folder goes to a build: `.dockerignore` as Docker's documentation has it."""

import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from sandbox.plugins.docker import context

FILES = (
    "Dockerfile",
    "README.md",
    "a/one.py",
    "a/one.pyc",
    "a/deep/two.py",
    "a/deep/secret.key",
    "b/three.py",
    "z.key",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def sent(folder: Path, ignore: str) -> list[str]:
    (folder / ".dockerignore").write_text(ignore)
    return [name for name, _ in context.files(folder, folder / "Dockerfile") if name != ".dockerignore"]


@pytest.mark.parametrize(
    ("ignore", "expected"),
    [
        ("", sorted(FILES)),
        ("# *\n\n", sorted(FILES)),
        ("*.key\n", sorted(set(FILES) - {"z.key"})),
        ("**/*.key\n", sorted(set(FILES) - {"z.key", "a/deep/secret.key"})),
        ("a\n", sorted({"Dockerfile", "README.md", "b/three.py", "z.key"})),
        ("/a/\n", sorted({"Dockerfile", "README.md", "b/three.py", "z.key"})),
        ("a/*/\n", sorted(set(FILES) - {"a/one.py", "a/one.pyc", "a/deep/two.py", "a/deep/secret.key"})),
        ("a/?ne.py\n", sorted(set(FILES) - {"a/one.py"})),
        ("[ab]/*.py\n", sorted(set(FILES) - {"a/one.py", "b/three.py"})),
        ("*\n!a/**/*.py\n", ["Dockerfile", "a/deep/two.py", "a/one.py"]),
        ("*\n!a/**/*.py\na/deep\n", ["Dockerfile", "a/one.py"]),
        ("*.md\n!README.md\n", sorted(FILES)),
        ("!README.md\n*.md\n", sorted(set(FILES) - {"README.md"})),
        ("**\n", ["Dockerfile"]),
    ],
)
def test_dockerignore(folder: Path, ignore: str, expected: list[str]) -> None:
    assert sent(folder, ignore) == expected


def test_an_ignored_folder_is_not_even_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project's environment has ten thousand files: a preview must not walk them."""
    visited: list[str] = []
    scan = os.scandir

    def watch(path: Path) -> object:
        visited.append(os.path.relpath(path, folder))
        return scan(path)

    monkeypatch.setattr(os, "scandir", watch)
    assert sent(folder, "*\n!a/*.py\n") == ["Dockerfile", "a/one.py"]
    assert visited == [".", "a", "a/deep"]  # not b


def test_the_digest_follows_content_mode_and_name_only(folder: Path) -> None:
    (folder / ".dockerignore").write_text("*\n!a/**\n")
    dockerfile = folder / "Dockerfile"
    first = context.digest(folder, dockerfile)
    (folder / "b" / "three.py").write_text("ignored")
    os.utime(folder / "a" / "one.py", (0, 0))
    assert context.digest(folder, dockerfile) == first
    (folder / "a" / "one.py").chmod(0o755)
    executable = context.digest(folder, dockerfile)
    (folder / "a" / "one.py").rename(folder / "a" / "uno.py")
    renamed = context.digest(folder, dockerfile)
    (folder / "a" / "uno.py").write_text("changed")
    changed = context.digest(folder, dockerfile)
    dockerfile.write_text("FROM scratch")
    assert len({first, executable, renamed, changed, context.digest(folder, dockerfile)}) == 5


def test_the_digest_is_the_official_one(tmp_path: Path) -> None:
    """pulumi-docker 5.1.0, hashContext: each part is a name, a mode as Go prints it, the content's SHA-256 and a NUL;
    the Dockerfile comes first by a fixed name without a mode; what is ignored does not count, the ignore file included.
    """
    (tmp_path / "a").mkdir()
    contents = {"Dockerfile": b"FROM scratch\n", "a/one.py": b"1", ".dockerignore": b"*\n!a\n"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o644)

    def part(name: str, mode: str, content: bytes) -> bytes:
        return name.encode() + mode.encode() + hashlib.sha256(content).digest() + b"\0"

    parts = part("Dockerfile", "----------", contents["Dockerfile"]) + part("a/one.py", "-rw-r--r--", b"1")
    assert context.digest(tmp_path, tmp_path / "Dockerfile") == hashlib.sha256(parts).hexdigest()


def test_the_archive_belongs_to_root_and_takes_a_dockerfile_from_elsewhere(folder: Path) -> None:
    (folder / "a" / "link").symlink_to("one.py")
    buffer, name = context.archive(folder / "a", folder / "Dockerfile")
    with tarfile.open(fileobj=buffer) as tar:
        members = {member.name: member for member in tar.getmembers()}
    assert set(members) == {"one.py", "one.pyc", "link", "deep/two.py", "deep/secret.key", name}
    assert members["link"].linkname == "one.py"
    assert {(member.uid, member.gid, member.uname) for member in members.values()} == {(0, 0, "root")}
