"""`ibgw releases`: records, and from Pulumi's own history when live was brought to each."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deployment.tables import Token
from healthcheck.text import clean
from infra.release import PaperReport, Release, Soak, write_release
from operations.plan.model import Plan
from operations.plan.reading import read
from operations.promotion.expected import unexpected
from operations.releases import before, deployments, listed, table

FIRST, SECOND, THIRD = "20261101T000000Z-aaaaaaaaaaaa", "20261102T000000Z-bbbbbbbbbbbb", "20261103T000000Z-cccccccccccc"


def record(folder: Path, day: int, digit: str, who: str = "trader@example.com") -> None:
    write_release(
        folder,
        Release(
            image="registry.invalid/gateway",
            digest=f"sha256:{digit * 64}",
            version=f"10.45.1{digit}",
            commit="0123456789ab" + "0" * 28,
            created=datetime(2026, 11, day, tzinfo=UTC),
            who=who,
            soak=Soak(seconds=1800, verifications=7),
            live_quote=digit != "b",
            report=PaperReport(stack="paper", verdict="verified_with_warnings"),
        ),
    )


def update(release: str | None, *, result: str = "succeeded", kind: str = "update", at: str = "t") -> dict[str, Any]:
    config = {} if release is None else {"ibgw:release": {"value": release, "secret": False}}
    return {"kind": kind, "result": result, "config": config, "endTime": at}


HISTORY = [
    update(THIRD, result="failed", at="t6"),
    update(SECOND, at="t5"),
    update(SECOND, kind="refresh", at="t4"),
    update(SECOND, at="t3"),
    update(FIRST, at="t2"),
    update(None, at="t1"),
]


def test_only_updates_that_succeeded_count() -> None:
    assert deployments(HISTORY) == {SECOND: "t5", FIRST: "t2"}


def test_the_one_before_is_what_live_ran_verified() -> None:
    assert before(HISTORY, SECOND) == FIRST
    assert before(HISTORY, THIRD) == SECOND
    assert before(HISTORY[3:4], SECOND) is None
    assert before([update(SECOND), update(THIRD), update(SECOND), update(FIRST)], SECOND) == FIRST


def test_the_table_marks_what_runs_and_shows_what_is_refused(tmp_path: Path) -> None:
    record(tmp_path, 1, "a")
    record(tmp_path, 2, "b")
    (tmp_path / f"{THIRD}.json").write_text("{}")
    rows = listed(tmp_path, HISTORY, SECOND)
    assert [(row.name, row.current, row.deployed) for row in rows] == [
        (THIRD, False, None),
        (SECOND, True, "t5"),
        (FIRST, False, "t2"),
    ]
    lines = table(rows).splitlines()
    assert lines[1].split() == [THIRD, "refused"]
    assert lines[-1].startswith(f"refused: ibgw:release: releases/{THIRD}.json is not a release record: ")
    [second] = [line for line in lines if SECOND in line]
    assert second.split() == [
        *("*", SECOND, "10.45.1b", "0123456789ab", "trader@example.com", "verified", "with", "warnings", "no", "t5")
    ]
    assert json.loads(rows[2].answer.as_json())["live_quote"] is True


@pytest.mark.parametrize("who", ["[red]x[/red]", "[link=http://evil.example]x[/link]", "[/]", "x\x1b[2J", "\u202ex"])
def test_who_made_a_release_is_neither_markup_nor_a_command(tmp_path: Path, who: str) -> None:
    record(tmp_path, 1, "a", who)
    lines = table(listed(tmp_path, HISTORY, None), width=400).splitlines()
    assert len(lines) == 2
    assert clean(who) in lines[1]


def test_without_a_record_it_says_how_to_make_one(tmp_path: Path) -> None:
    assert "ibgw promote" in table(listed(tmp_path, [], None))


PREVIEWS = Path(__file__).parent / "previews"
# Which of the recorded previews a promotion would show, and what in the others is none of its doing.
EXPECTED: dict[str, list[str]] = {
    "check_level": ["main: checks.marketData.level"],
    "create": [],  # a first deployment
    "debug": ["main: debug.enabled", "create main-logs"],
    "image": [],
    "memory": ["main: resources.memory"],
    "no_change": [],
    "probe_interval": ["main: container.probeInterval"],
    "push": ["main: secondFactor.device", "main: secondFactor.method"],
    "removed": ["second: remove", "delete second-api", "leave second-settings"],
    "second_gateway": ["main: api.readOnly", "second: create", "create second-api", "create second-settings"],
    "secret_rotated": ["main: credentials: a new version of the secret"],
    "subnet_pool": [
        *("main: ibgw:network.subnetPool", "second: ibgw:network.subnetPool"),
        *("replace egress", "replace main-api", "replace second-api"),
    ],
    "time_zone": ["main: session.timeZone"],
}


def recorded() -> dict[str, Plan]:
    return {path.stem: read("live", path.read_text()) for path in sorted(PREVIEWS.glob("*.json"))}


def test_of_a_plan_only_what_a_release_brings_is_expected() -> None:
    found = {name: unexpected(plan) for name, plan in recorded().items()}
    assert found == EXPECTED


def test_what_watches_may_come_and_change_with_a_release() -> None:
    preview = json.loads((PREVIEWS / "image.json").read_text())
    before = unexpected(read("live", json.dumps(preview)))
    for token, name in ((Token.NETWORK, "monitoring"), (Token.VOLUME, "monitoring"), (Token.CONTAINER, "prober")):
        urn = f"urn:pulumi:live::ibgw::{Token.MONITORING}${token}::{name}"
        preview["steps"].append({"op": "create", "urn": urn, "newState": {"urn": urn}})
    plan = read("live", json.dumps(preview))
    assert unexpected(plan) == before == []
    assert "create monitoring" in map(str, plan.others)
