"""`ibgw logs`: order, meaning, and what must not be seen."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deployment.errors import IbgwError
from deployment.tables import Kind
from healthcheck.docker_host import DockerError
from operations import logs
from operations.logs import Line
from operations.stack import parse_contract
from tests.unit.fake_docker import FakeDocker
from tests.unit.operations_contract import contract_json

CONTRACT = parse_contract(contract_json("main", "other"), "x")
PASSWORD = "correct horse"  # noqa: S105 - made up

# gateway-docker's run.sh and IBC's own lines; the last one repeats the password, as a careless program might.
MAIN = """2026-11-22T18:00:00.100000000Z .> Starting IBC/IB gateway
2026-11-22T18:00:02.300000000Z 2026-11-22 18:00:02:300 IBC: Login attempt: 1
2026-11-22T18:00:04.500000000Z 2026-11-22 18:00:04:500 IBC: Login has completed
2026-11-22T18:00:05.000000000Z something about correct horse and DU1234567
"""
OTHER = """2026-11-22T18:00:03.000000000Z 2026-11-22 18:00:03:000 IBC: Second Factor Authentication initiated
"""
LATER = "2026-11-22T18:01:00.000000000Z 2026-11-22 18:01:00:000 IBC: Login has completed"


@pytest.fixture
def host() -> FakeDocker:
    fake = FakeDocker()
    fake.logs = {"ibgw-paper-main": MAIN.splitlines(), "ibgw-paper-other": OTHER.splitlines()}
    fake.objects[Kind.CONTAINER] = {name: {} for name in fake.logs}
    fake.files["/run/secrets/tws_password"] = PASSWORD.replace(" ", "\\u0020")
    return fake


def read(host: FakeDocker, **options: Any) -> Iterator[Line]:
    settings: dict[str, Any] = {"tail": 100, "since": None, "show_accounts": False, **options}
    settings = {"follow": False, "known": False, "fold": True, **settings}
    return logs.read(host, CONTRACT, [CONTRACT.gateways["main"], CONTRACT.gateways["other"]], **settings)


def test_lines_of_all_gateways_come_in_order_with_their_meaning(host: FakeDocker) -> None:
    found = list(read(host))
    assert [(line.gateway, line.state) for line in found] == [
        ("main", "starting"),
        ("main", "submitted"),
        ("other", "second_factor_pending"),
        ("main", "logged_in"),
        ("main", None),
    ]
    assert found[0].human(5, UTC).startswith("11-22 18:00:00 UTC  main   starting  ")
    assert found[0].human(5, UTC).endswith("  .> Starting IBC/IB gateway")
    # One clock: the line's own time is the gateway's.
    assert found[1].human(5, ZoneInfo("Europe/Berlin")).startswith("11-22 19:00:02 CET  main   submitted  ")
    assert found[1].human(5, UTC).endswith("  IBC: Login attempt: 1")
    assert json.loads(found[1].json())["text"] == "2026-11-22 18:00:02:300 IBC: Login attempt: 1"
    assert json.loads(found[3].json())["at"] == "2026-11-22T18:00:04.500+00:00"


@pytest.mark.parametrize("show_accounts", [True, False])
def test_credentials_never_show_and_accounts_only_when_asked_for(host: FakeDocker, show_accounts: bool) -> None:
    *_, last = read(host, show_accounts=show_accounts)
    assert last.text == f"something about *** and {'DU1234567' if show_accounts else 'DU***567'}"


def test_follow_goes_on_without_repeating_a_line(host: FakeDocker) -> None:
    # The daemon repeats what is not older than whole seconds.
    host.followed["ibgw-paper-main"] = [MAIN.splitlines()[-1], LATER]
    found = list(read(host, follow=True))
    assert len(found) == 6
    assert (found[-1].gateway, found[-1].state) == ("main", "logged_in")


def test_tail_and_since_reach_docker(host: FakeDocker) -> None:
    list(read(host, tail=7, since=timedelta(hours=1)))
    [_, options] = host.looks("log")[0]
    assert options["tail"] == 7 + 1
    assert timedelta(0) <= datetime.now(UTC) - options["since"] - timedelta(hours=1) < timedelta(minutes=1)


def quiet(number: int) -> str:
    """A line that says nothing of the login."""
    return f"2026-11-22T18:10:00.{number:06}Z gateway line {number}"


def autosaves(count: int, at: int = 0) -> list[str]:
    return [
        f"2026-11-22T18:10:00.{at + n:06}Z 2026-11-22 18:10:00:000 IBC: Tws settings will be saved at 00:{n:02}"
        for n in range(count)
    ]


def test_known_lines_are_chosen_before_the_log_is_cut(host: FakeDocker) -> None:
    host.logs["ibgw-paper-main"] += [quiet(n) for n in range(900)]
    host.logs["ibgw-paper-other"] = []
    assert [line.state for line in read(host, known=True, tail=2)] == ["submitted", "logged_in"]
    # No more of the log than it takes.
    assert [options["tail"] for _, options in host.looks("log")][:-1] == [3, 12, 48, 192, 768, 3072]
    assert [line.state for line in read(host, known=True)] == ["starting", "submitted", "logged_in"]
    assert list(read(host, known=True, tail=0)) == []


def test_the_autosave_is_one_line_and_does_not_use_up_the_lines_that_are_shown(host: FakeDocker) -> None:
    host.logs["ibgw-paper-other"] = []
    host.logs["ibgw-paper-main"] = [quiet(1), *autosaves(49, at=2), quiet(60), *autosaves(1, at=61)]
    shown = [line.human(4, UTC).partition("main")[2].strip() for line in read(host, tail=3)]
    assert shown == [
        "IBC: Tws settings will be saved at 00:00 (and 48 more lines of the settings' autosave)",
        "gateway line 60",
        "IBC: Tws settings will be saved at 00:00",
    ]
    assert len(list(read(host, fold=False))) == 52
    host.followed["ibgw-paper-main"] = [*autosaves(3, at=70), quiet(80)]
    assert [line.text[-5:] for line in read(host, tail=1, follow=True)] == ["00:00", "00:00", "ne 80"]


def test_a_container_that_is_gone_is_named() -> None:
    with pytest.raises(IbgwError, match=r"ibgw-paper-main.*ibgw verify --stack paper") as failure:
        list(read(FakeDocker()))
    assert failure.value.exit_code == 5


def test_a_failure_while_following_ends_the_reading_with_its_message(host: FakeDocker) -> None:
    host.failing["follow"] = DockerError("daemon gone")
    with pytest.raises(IbgwError, match="daemon gone"):
        list(read(host, follow=True))


@pytest.mark.parametrize(
    "hostile", ["\x1b]52;c;eA==\x07", "x\r2026 IBC: Login has completed", "\u202e\u200b", "\ud800", "\x9b2J"]
)
def test_a_line_of_a_log_is_text_in_both_forms(host: FakeDocker, hostile: str) -> None:
    host.logs["ibgw-paper-other"] = []
    host.logs["ibgw-paper-main"] = [f"2026-11-22T18:00:05.000000000Z before {hostile} [red]after[/red]"]
    (found,) = read(host)
    for shown in (found.human(5, UTC), found.json(), found.text):
        assert shown.isprintable()
        assert "[red]after[/red]" in shown
