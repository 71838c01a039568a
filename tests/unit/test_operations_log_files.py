"""`ibgw logs --files`: the gateway's own files, by the same clock, with nothing in them that is secret."""

import copy
import json
from datetime import UTC, timedelta
from typing import Any

import pytest

from deployment.errors import ExitCode, IbgwError
from operations import cli, log_files
from operations.logs import Line
from operations.stack import parse_contract
from tests.unit.fake_docker import FakeDocker
from tests.unit.operations_contract import contract_document

PASSWORD = "correct horse"  # noqa: S105 - made up
KEPT = "/home/ibgateway/debug_logs/home/ibgateway/tws_settings"
# The container's wall clock, in New York.
LAUNCHER = """2026-11-22 13:00:01.112 INFO  [JTS-Main] - Received CHALLENGE of DU1234567
\tat something.of.a.trace correct horse
2026-11-22 13:00:09.000 INFO  [JTS-Main] - Switching to a new encrypted log...
"""


def contract(logs: str | None = "ibgw-paper-main-logs") -> Any:
    document = copy.deepcopy(contract_document())
    document["gateways"]["main"]["volumes"]["logs"] = logs
    return parse_contract(json.dumps(document), "x")


@pytest.fixture
def host() -> FakeDocker:
    fake = FakeDocker()
    fake.files["/run/secrets/tws_password"] = PASSWORD.replace(" ", "\\u0020")
    fake.files |= {
        f"{KEPT}/launcher.log": LAUNCHER,
        f"{KEPT}/dabcdefgh/ibgateway.20261122.ibgzenc": "\x00" * 2**20,
    }
    return fake


def read(host: FakeDocker, **options: Any) -> tuple[list[Line], list[str]]:
    deployment = contract()
    settings = {"tail": 100, "since": None, "known": False, "show_accounts": False, **options}
    return log_files.read(host, deployment, [deployment.gateways["main"]], **settings)


def test_lines_of_the_files_come_by_one_clock_with_what_they_mean(host: FakeDocker) -> None:
    lines, notes = read(host)
    assert [line.human(4, UTC) for line in lines] == [
        "11-22 18:00:01 UTC  main  second_factor_pending   launcher.log: "
        "INFO  [JTS-Main] - Received CHALLENGE of DU***567",
        "11-22 18:00:01 UTC  main                          launcher.log:  at something.of.a.trace ***",
        "11-22 18:00:09 UTC  main  logged_in               launcher.log: "
        "INFO  [JTS-Main] - Switching to a new encrypted log...",
    ]
    # The folder's name is made of the user's.
    assert "dabcdefgh" not in str(notes)
    assert "1 of them (1.0 MiB, the newest ibgateway.20261122.ibgzenc) are encrypted" in notes[0]


def test_the_options_are_those_of_the_log(host: FakeDocker) -> None:
    assert [line.state for line in read(host, known=True)[0]] == ["second_factor_pending", "logged_in"]
    assert [line.state for line in read(host, tail=1)[0]] == ["logged_in"]
    assert read(host, tail=0)[0] == []
    assert len(read(host, since=timedelta(minutes=29, seconds=55))[0]) == 1
    assert "DU1234567" in read(host, show_accounts=True)[0][0].text


def test_a_gateway_without_debugging_is_told_how_to_have_files() -> None:
    deployment = contract(logs=None)
    with pytest.raises(IbgwError, match=r"ibgw:gateways\.main\.debug\.enabled") as refused:
        log_files.read(
            FakeDocker(),
            deployment,
            [deployment.gateways["main"]],
            tail=1,
            since=None,
            known=False,
            show_accounts=False,
        )
    assert refused.value.exit_code is ExitCode.REFUSED


def test_files_are_not_followed() -> None:
    assert cli.run(["logs", "--stack", "paper", "--files", "--follow"]) == ExitCode.BAD_USAGE
