"""Imports go one way (docs/architecture.md, The idea), and the product does not know the sandbox."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"client", "deployment", "healthcheck", "infra", "operations", "sandbox", "tests", "benchmarks"}
MAY_IMPORT: dict[str, set[str]] = {
    "client": set(),  # a bot takes it along
    "deployment": set(),
    "healthcheck": {"deployment"},
    "infra": {"deployment", "healthcheck"},
    "operations": {"client", "deployment", "healthcheck", "infra"},
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


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_the_product_does_not_mention_the_sandbox(package: str) -> None:
    for path in sorted((ROOT / package).rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            text = path.read_text(encoding="utf-8").lower()
            assert "sandbox" not in text, path.relative_to(ROOT)
