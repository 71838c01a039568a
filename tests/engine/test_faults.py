"""The benchmark of faults, with one of them: all three ways run, lose their gateway's process, and are counted."""

import pytest

from benchmarks import faults
from sandbox.environment import Sandbox


@pytest.mark.exhaustive
def test_one_fault_is_put_to_all_three(sandbox: Sandbox) -> None:
    found = faults.run(sandbox, ["memory"], window=90)
    assert [one.way for one in found] == list(faults.WAYS)
    for one in found:
        assert one.away, one
        assert one.counted["stranded_sessions"] == 1, one
    assert found[-1].noticed is not None
    assert found[-1].by.startswith("watcher: ")
