"""`ibgw logs`: order, meaning, and what must not be seen."""

import io
import json
import tarfile
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest.mock import MagicMock

import docker.errors
import pytest

from deployment.errors import IbgwError
from operations import logs
from operations.logs import Line
from operations.stack import parse_contract
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
LATER = "2026-11-22T18:01:00.000000000Z 2026-11-22 18:01:00:000 IBC: Login has completed\n"


class Container:
    def __init__(self, text: str, news: str = "") -> None:
        self._text, self._news = text, news
        self.asked: list[dict[str, Any]] = []

    def logs(self, **options: Any) -> Any:
        self.asked.append(options)
        if not options.get("follow"):
            return self._text.encode()
        # The daemon repeats what is not older than whole seconds, and cuts anywhere.
        text = (self._text.splitlines(keepends=True)[-1] + self._news).encode()
        return iter([text[:40], text[40:]])


def host(main: Container, other: Container) -> MagicMock:
    found = {"ibgw-paper-main": main, "ibgw-paper-other": other}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as files:
        content = PASSWORD.replace(" ", "\\u0020").encode()
        entry = tarfile.TarInfo("secrets/tws_password")
        entry.size = len(content)
        files.addfile(entry, io.BytesIO(content))
    client = MagicMock()
    client.containers.get.side_effect = found.__getitem__
    client.api.get_archive.side_effect = lambda *_: (iter([archive.getvalue()]), {})
    return client


def read(client: MagicMock, **options: Any) -> Iterator[Line]:
    settings: dict[str, Any] = {"tail": 100, "since": None, "follow": False, "show_accounts": False, **options}
    return logs.read(client, CONTRACT, [CONTRACT.gateways["main"], CONTRACT.gateways["other"]], **settings)


def test_lines_of_all_gateways_come_in_order_with_their_meaning() -> None:
    found = list(read(host(Container(MAIN), Container(OTHER))))
    assert [(line.gateway, line.state) for line in found] == [
        ("main", "starting"),
        ("main", "submitted"),
        ("other", "second_factor_pending"),
        ("main", "logged_in"),
        ("main", None),
    ]
    assert found[0].human(5).startswith("11-22 18:00:00  main   starting  ")
    assert found[0].human(5).endswith("  .> Starting IBC/IB gateway")
    assert json.loads(found[3].json())["at"] == "2026-11-22T18:00:04.500+00:00"


@pytest.mark.parametrize("show_accounts", [True, False])
def test_credentials_never_show_and_accounts_only_when_asked_for(show_accounts: bool) -> None:
    *_, last = read(host(Container(MAIN), Container(OTHER)), show_accounts=show_accounts)
    assert last.text == f"something about *** and {'DU1234567' if show_accounts else 'DU***567'}"


def test_follow_goes_on_without_repeating_a_line() -> None:
    found = list(read(host(Container(MAIN, LATER), Container(OTHER)), follow=True))
    assert len(found) == 6
    assert (found[-1].gateway, found[-1].state) == ("main", "logged_in")


def test_tail_and_since_reach_docker() -> None:
    main = Container(MAIN)
    list(read(host(main, Container(OTHER)), tail=7, since=timedelta(hours=1)))
    [asked] = main.asked
    assert asked["tail"] == 7
    assert asked["since"] is not None


def test_a_container_that_is_gone_is_named() -> None:
    client = MagicMock()
    client.containers.get.side_effect = docker.errors.NotFound("no such container")
    with pytest.raises(IbgwError, match=r"ibgw-paper-main.*ibgw verify --stack paper") as failure:
        list(read(client))
    assert failure.value.exit_code == 5


def test_a_failure_while_following_ends_the_reading_with_its_message() -> None:
    broken = Container(MAIN)
    whole = broken.logs
    broken.logs = lambda **options: (  # type: ignore[method-assign]
        whole(**options) if not options.get("follow") else (_ for _ in ()).throw(docker.errors.APIError("daemon gone"))
    )
    with pytest.raises(IbgwError, match="daemon gone"):
        list(read(host(broken, Container(OTHER)), follow=True))
