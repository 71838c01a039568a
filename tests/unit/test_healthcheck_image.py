"""What the verifier's image is built from: its pinned requirements, its context, its Dockerfile."""

import re
import tomllib
from pathlib import Path
from typing import Any

from docker.utils.build import exclude_paths
from packaging.markers import Marker

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "healthcheck" / "requirements.txt"
IMAGE = {"python_full_version": "3.11.14", "python_version": "3.11", "sys_platform": "linux"}

# Third-party modules that the code in the image imports, by distribution.
DIRECT = {"apprise", "ib-async", "prometheus-client", "pydantic", "pyotp", "python-xlib", "tenacity"}


def lock() -> dict[str, list[dict[str, Any]]]:
    packages: dict[str, list[dict[str, Any]]] = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]:
        packages.setdefault(package["name"], []).append(package)
    return packages


def closure(packages: dict[str, list[dict[str, Any]]]) -> set[tuple[str, str]]:
    """Name and version of everything that the direct dependencies need, whatever the Python version."""
    found: set[tuple[str, str]] = set()
    waiting = [(name, None) for name in DIRECT]
    while waiting:
        name, version = waiting.pop()
        for package in packages[name]:
            if version not in (None, package["version"]) or (name, package["version"]) in found:
                continue
            found.add((name, package["version"]))
            waiting.extend((needed["name"], needed.get("version")) for needed in package.get("dependencies", []))
    return found


def pinned() -> list[tuple[str, str, str]]:
    """Name, version and marker of each line of requirements.txt."""
    text = REQUIREMENTS.read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(r"^([\w.-]+)==(\S+)(?: ; (.*?))?(?= +--hash)", text, re.MULTILINE)


def test_requirements_are_exactly_what_the_lock_says() -> None:
    assert {(name, version) for name, version, _ in pinned()} == closure(lock())


def test_every_requirement_has_the_locks_hashes() -> None:
    packages = lock()
    text = REQUIREMENTS.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.strip().splitlines():
        name, version = re.match(r"([\w.-]+)==(\S+)", line).groups()  # type: ignore[union-attr]
        (package,) = [found for found in packages[name] if found["version"] == version]
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert set(re.findall(r"--hash=(\S+)", line)) == {file["hash"] for file in files}, name


def test_one_version_of_each_applies_in_the_image() -> None:
    applying = [name for name, _, marker in pinned() if not marker or Marker(marker).evaluate(IMAGE)]
    assert sorted(applying) == sorted(set(applying))
    assert set(applying) == {name for name, _ in closure(lock())}


def test_the_code_in_the_image_imports_nothing_that_it_does_not_hold() -> None:
    """Walks imports from `healthcheck.__main__`; docker and requests are the runner's, outside the image."""
    seen: set[str] = set()
    waiting, third_party = ["healthcheck.__main__"], set()
    while waiting:
        module = waiting.pop()
        path = ROOT / (module.replace(".", "/") + ".py")
        path = path if path.exists() else ROOT / module.replace(".", "/") / "__init__.py"
        if module in seen or not path.exists():
            continue
        seen.add(module)
        for name in re.findall(r"^(?:from|import) ([\w.]+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            top = name.split(".")[0]
            if top in ("healthcheck", "deployment"):
                waiting.append(name)
                listed = re.findall(
                    rf"^from {re.escape(name)} import ([\w, ]+)$", path.read_text("utf-8"), re.MULTILINE
                )
                waiting.extend(f"{name}.{one.strip()}" for line in listed for one in line.split(","))
            else:
                third_party.add(top)
    assert "healthcheck.checks.market_data" in seen
    assert "healthcheck.runner" not in seen
    assert third_party & {"docker", "requests", "rich", "typer", "pulumi"} == set()
    assert {"ib_async", "pydantic"} <= third_party


def test_the_context_holds_the_two_packages_and_nothing_else() -> None:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    found = {path for path in exclude_paths(str(ROOT), patterns) if (ROOT / path).is_file()}
    code = {
        str(path.relative_to(ROOT))
        for package in ("deployment", "healthcheck")
        for path in (ROOT / package).rglob("*.py")
    }
    # Docker's clients send the ignore file itself along, whatever it says.
    assert found - {".dockerignore"} == code | {"healthcheck/requirements.txt", "healthcheck/Dockerfile"}


def test_the_ignore_file_suits_the_classic_builder() -> None:
    """Docker 20.10 skips a folder unless a pattern begins with its path, so `**` would lose healthcheck/checks."""
    allowed = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert allowed
    assert not any("**" in line for line in allowed)


def test_the_dockerfile_needs_no_buildkit_and_ends_without_root() -> None:
    text = (ROOT / "healthcheck" / "Dockerfile").read_text(encoding="utf-8")
    assert "--mount" not in text
    assert "--chmod" not in text
    assert "# syntax" not in text
    instructions = [line.split()[0] for line in text.splitlines() if re.match(r"[A-Z]+ ", line)]
    assert instructions[:2] == ["ARG", "FROM"]
    assert instructions[-3:] == ["USER", "ENTRYPOINT", "CMD"]
    assert re.search(r"^USER 65534:65534$", text, re.MULTILINE)


def test_the_image_installs_nothing_but_what_the_hashes_allow() -> None:
    """Not without `--require-hashes`: pip checks hashes by itself only while every line has one."""
    text = (ROOT / "healthcheck" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    steps = [" ".join(line.split()) for line in text.splitlines() if line.startswith(("RUN", "ADD", "COPY"))]
    assert [step for step in steps if step.startswith("COPY")] == [
        "COPY healthcheck/requirements.txt /tmp/requirements.txt",
        "COPY deployment/ deployment/",
        "COPY healthcheck/ healthcheck/",
    ]
    install, compile_all, nothing_to_write_to = [step for step in steps if not step.startswith("COPY")]
    assert install == (
        "RUN python3 -m pip install --no-cache-dir --disable-pip-version-check --require-hashes "
        "-r /tmp/requirements.txt && rm /tmp/requirements.txt"
    )
    assert compile_all == "RUN python3 -m compileall -q deployment healthcheck"
    assert nothing_to_write_to == (
        "RUN find / -xdev -type d -perm -0002 -exec chmod o-w {} + "
        "&& mkdir -p /var/lib/ibgw /var/lib/ibgw-codes "
        "&& chown 65534:65534 /var/lib/ibgw && chown 65533:65533 /var/lib/ibgw-codes"
    )
