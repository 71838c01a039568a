"""For every run of tests, on one worker or several (pytest-xdist): the order of files, and a clean end."""

import signal
import sys
from types import FrameType
from typing import NoReturn

import pytest

SLOWEST = (
    "engine/test_promotion.py",
    "unit/test_supervisor.py",  # it waits more than it works, as no other unit test does
    "engine/test_rollout.py",
    "engine/test_operations.py",
    "engine/test_isolation.py",
    "engine/test_supervisor.py",
    "engine/test_repair.py",
    "engine/test_start_guard.py",
    "engine/test_main_job.py",
    "engine/test_upgrade.py",
    "engine/test_clients.py",
    "engine/test_bad_input.py",
    "engine/test_red_checks.py",
    "engine/test_ssh_host.py",
    "engine/test_replacements.py",
    "engine/plugins",
    "engine",
    "unit/test_operations_cli.py",
    "unit/test_healthcheck_main.py",
    "unit/test_credentials",
    "unit/test_gateway_sim_ends.py",
    "unit/test_verification_scenarios.py",
)
"""The order in which workers take files, longest first (`pytest --durations`); what is not named comes last and fills
the gaps."""


def pytest_configure() -> None:
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """A SIGTERM counts as Ctrl-C, so that sandboxes are taken down; a second one does not disturb that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt(f"signal {number}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    return next((place for place, name in enumerate(SLOWEST) if f"tests/{name}" in item.nodeid), len(SLOWEST))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """An interrupted run gives its workers ten seconds (xdist.workermanage.NodeManager.EXIT_TIMEOUT), too few to take
    their sandboxes down: what is left is swept here, once they have ended."""
    if hasattr(session.config, "workerinput"):
        return
    from sandbox.environment import sweep
    from tests.engine.conftest import SANDBOXES

    sweep(SANDBOXES, lambda line: print(f"    {line}", file=sys.stderr))  # noqa: T201 - a run that ends
