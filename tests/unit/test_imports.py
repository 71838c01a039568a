"""Imports go one way (docs/architecture.md, The idea), and the product does not know the sandbox."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"client", "deployment", "healthcheck", "infra", "monitoring", "operations", "sandbox", "tests", "benchmarks"}
MAY_IMPORT: dict[str, set[str]] = {
    "client": set(),  # a bot takes it along
    "deployment": set(),
    "healthcheck": {"deployment"},
    "infra": {"deployment", "healthcheck"},
    "operations": {"client", "deployment", "healthcheck", "infra"},
    "monitoring": {"deployment", "healthcheck"},
}


def imported(path: Path) -> set[str]:
    """First names of everything that a module imports, wherever in the module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def imports_of(path: Path) -> set[Path]:
    """The files of ours that a module imports, wherever in it, also those for its types alone."""
    found: set[Path | None] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {module_file(ROOT, name.name) for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            folder, module = path.parents[node.level - 1] if node.level else ROOT, node.module or ""
            # A module of a package, or else what stands in the package itself.
            found |= {
                module_file(folder, f"{module}.{name.name}") or module_file(folder, module) for name in node.names
            }
    return {file for file in found if file is not None and file != path}


def module_file(folder: Path, name: str) -> Path | None:
    place = folder.joinpath(*filter(None, name.split(".")))
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.exists()), None)


def modules(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, package
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_those_below_it(package: str) -> None:
    for path in modules(package):
        beyond = imported(path) & OURS - {package} - MAY_IMPORT[package]
        assert not beyond, f"{path.relative_to(ROOT)} imports {sorted(beyond)}"


def test_only_infra_imports_pulumi() -> None:
    for package in ("deployment", "healthcheck"):
        for path in modules(package):
            found = {name for name in imported(path) if name.startswith("pulumi")}
            assert not found, f"{path.relative_to(ROOT)} imports {sorted(found)}"


def test_one_place_talks_to_docker() -> None:
    """docker-py, and the HTTP libraries under it."""
    below = {"docker", "requests", "urllib3"}
    found = {path.name for package in MAY_IMPORT for path in modules(package) if imported(path) & below}
    assert found == {"docker_host.py", "docker_connections.py", "docker_py.py"}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_the_product_does_not_mention_the_sandbox(package: str) -> None:
    for path in sorted((ROOT / package).rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            text = path.read_text(encoding="utf-8").lower()
            assert "sandbox" not in text, path.relative_to(ROOT)


def test_no_modules_import_each_other() -> None:
    """In a circle, however long and wherever in them: `prepare` raises CycleError, which names it."""
    TopologicalSorter({path: imports_of(path) for package in OURS for path in modules(package)}).prepare()
