"""The pure parts of the supervisor's benchmark."""

import io
import tarfile

import pytest

from benchmarks.deploy import archive
from benchmarks.processes import Process
from benchmarks.supervisor import IMAGE, SUPERVISOR, compared, own_processes, used_memory, with_credentials


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_other_users_credentials_are_put_into_a_template(end: str) -> None:
    template = end.join(["# IBC", "IbLoginId=one", "IbPassword=\\u0031", "FIXPassword=", "TradingMode=paper", ""])
    expected = end.join(["# IBC", "IbLoginId=two", "IbPassword=\\u0032", "FIXPassword=", "TradingMode=paper", ""])
    assert with_credentials(template, "two", "\\u0032") == expected


def test_a_template_that_lacks_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="IbPassword= stands 0 times in the template"):
        with_credentials("IbLoginId=one\n", "two", "2")


@pytest.mark.parametrize(
    "detail",
    [
        {"total_inactive_file": 30, "inactive_file": 10},  # version 1: the group's own, and with all below it
        {"inactive_file": 30},  # version 2
    ],
)
def test_used_memory(detail: dict[str, int]) -> None:
    assert used_memory({"usage": 100, "stats": detail}) == 70


def test_what_the_image_runs_is_not_the_supervisors() -> None:
    named = {
        1: (0, "systemd"),
        10: (1, "bash"),  # the first process
        11: (10, "bash"),  # which waits for this one
        12: (11, "run.sh"),
        13: (12, "run_socat.sh"),
        14: (13, "socat"),  # the relay
        15: (11, "socat"),  # the status server
        20: (1, "socat"),
    }
    found = {pid: Process(parent, name, 0.0, 0.0) for pid, (parent, name) in named.items()}
    assert own_processes(10, found) == {10, 11, 15}


def test_medians_are_compared_where_both_have_one() -> None:
    figures = {
        "start, s": {IMAGE: [2.0, 1.0, 9.0], SUPERVISOR: [3.0, 2.2, 2.0]},
        "own memory, MiB": {SUPERVISOR: [4.0]},
    }
    assert compared(figures) == [
        "start, s: ratio 1.10, difference +0.200",
        "  image      median 2.000  (min 1.000, max 9.000)",
        "  supervisor median 2.200  (min 2.000, max 3.000)",
        "own memory, MiB",
        "  supervisor median 4.000  (min 4.000, max 4.000)",
    ]


def test_an_archives_folders_are_the_gateways_users_and_its_files_roots() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive({"/volume/guard/text": ("1", 0o444)}, ["/volume/guard"]))) as tar:
        found = [(entry.name, entry.isdir(), entry.uid, entry.gid, entry.mode) for entry in tar.getmembers()]
    assert found == [("volume/guard", True, 1000, 1000, 0o755), ("volume/guard/text", False, 0, 0, 0o444)]
