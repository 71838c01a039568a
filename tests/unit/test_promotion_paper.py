"""Paper's side of a promotion: what is good enough, for how long, and what the release says of it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deployment.description import Deployment
from deployment.errors import ExitCode, IbgwError
from deployment.trading import trading
from healthcheck.report import Report, Vantage
from infra.release import read_release, write_release
from infra.settings import TradingHours
from operations.promotion.checkout import Checkout, read_checkout
from operations.promotion.paper import Watch, check_is_paper, check_report, digest_of, make_release, moments, soak
from tests.helpers import git
from tests.unit.operations_contract import contract_document
from tests.unit.promotion_reports import check, report

NOW = datetime(2026, 11, 23, 1, 2, 3, 456789, tzinfo=UTC)
QUOTE = check("market_data", data={"type": "live"})
CHECKOUT = Checkout(commit="c" * 40, who="trader@example.com")


def paper(*failing: str, **options: Any) -> Report:
    return report(*failing, stack="paper", **options)


@pytest.mark.parametrize("reason", ["market_closed", "maintenance_window"])
def test_the_hour_is_no_reason_against_it(reason: str) -> None:
    warned = paper(verdict="verified_with_warnings", checks=[check("market_data", "warn", reason)])
    check_report(warned, require_market_data=False)
    with pytest.raises(IbgwError, match="no live quote"):
        check_report(warned, require_market_data=True)


@pytest.mark.parametrize("reason", ["delayed_data", "no_entitlement", "restarted"])
def test_any_other_warning_is(reason: str) -> None:
    warned = paper(verdict="verified_with_warnings", checks=[check("market_data", "warn", reason)])
    with pytest.raises(IbgwError, match=rf"paper/main: market_data \({reason}\)") as refused:
        check_report(warned, require_market_data=False)
    assert refused.value.exit_code is ExitCode.REFUSED


def test_a_failure_is_shown_whole() -> None:
    with pytest.raises(IbgwError, match="does not pass its verification") as refused:
        check_report(paper("half_open"), require_market_data=False)
    assert "half_open" in str(refused.value)


def test_a_live_quote_is_one_on_every_gateway() -> None:
    check_report(paper(checks=[QUOTE]), require_market_data=True)
    with pytest.raises(IbgwError, match="no live quote"):
        check_report(paper(checks=[check("market_data", data={"type": "delayed"})]), require_market_data=True)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, [0, 0, 0]), (60, [0, 30, 60]), (600, [0, 300, 600]), (1800, [0, 300, 600, 900, 1200, 1500, 1800])],
)
def test_a_soak_verifies_at_least_three_times_and_every_five_minutes(seconds: float, expected: list[float]) -> None:
    assert moments(seconds) == expected


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def watch(self) -> Watch:
        return Watch(sleep=self.sleep, now=lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def test_a_soak_lasts_as_long_as_it_was_asked_to_and_tells_how_far_it_is() -> None:
    clock, said = Clock(), list[str]()

    def verify() -> Report:
        clock.sleep(4)
        return paper(checks=[QUOTE])

    soak(verify, 60, require_market_data=True, watch=clock.watch(), say=said.append)
    assert clock.now - NOW == timedelta(seconds=64)
    assert said == [
        "soak: verification 1 of 3: verified",
        "soak: verification 2 of 3 in 26 s",
        "soak: verification 2 of 3: verified",
        "soak: verification 3 of 3 in 26 s",
        "soak: verification 3 of 3: verified",
    ]


def test_a_soak_says_that_it_asks_beside_the_prober() -> None:
    verified, said = paper(checks=[QUOTE]), list[str]()
    beside = Vantage(api=True, docker=True, prober=True)
    asked = [one.model_copy(update={"vantage": beside}) for one in verified.gateways]
    report = verified.model_copy(update={"gateways": tuple(asked)})
    soak(lambda: report, 0, require_market_data=True, watch=Clock().watch(), say=said.append)
    assert said[0] == "soak: verification 1 of 3: verified, asked beside the prober"


def test_a_soak_ends_at_the_first_failure() -> None:
    reports = iter([paper(), paper("wedged")])
    with pytest.raises(IbgwError, match="does not pass"):
        soak(lambda: next(reports), 60, require_market_data=False, watch=Clock().watch(), say=lambda _: None)


def deployment(reference: str = "registry.invalid:5000/gateway:10.45.1j") -> Deployment:
    document = contract_document()
    document["gateways"]["main"]["image"]["reference"] = reference
    return Deployment.model_validate(document)


@pytest.mark.parametrize(
    ("reference", "image", "version"),
    [
        ("registry.invalid:5000/gateway:10.45.1j", "registry.invalid:5000/gateway", "10.45.1j"),
        ("registry.invalid:5000/gateway@sha256:" + "b" * 64, "registry.invalid:5000/gateway", None),
        ("gateway:10.45.1j", "gateway", "10.45.1j"),
    ],
)
def test_a_release_says_what_was_seen(reference: str, image: str, version: str | None, tmp_path: Path) -> None:
    made = make_release(deployment(reference), paper(checks=[QUOTE]), CHECKOUT, soaked=1800, now=NOW)
    assert made.id == "20261123T010203Z-bbbbbbbbbbbb"
    path = write_release(tmp_path / "releases", made)
    assert path.name == f"{made.id}.json"
    assert read_release(tmp_path / "releases", made.id) == made
    document = json.loads(path.read_text())
    assert {key: document[key] for key in ("image", "version", "digest", "commit", "who", "live_quote", "soak")} == {
        "image": image,
        "version": version,
        "digest": "sha256:" + "b" * 64,
        "commit": "c" * 40,
        "who": "trader@example.com",
        "live_quote": True,
        "soak": {"seconds": 1800, "verifications": 7},
    }
    assert document["report"]["gateways"][0]["checks"][0]["name"] == "connected"


def test_gateways_with_different_images_have_no_release() -> None:
    document = contract_document("main", "other")
    document["gateways"]["other"]["image"]["digest"] = "sha256:" + "e" * 64
    with pytest.raises(IbgwError, match="run 2 different images"):
        digest_of(Deployment.model_validate(document))


def test_only_paper_is_promoted() -> None:
    with pytest.raises(IbgwError, match="its mode is live"):
        check_is_paper(Deployment.model_validate(contract_document(mode="live")))


@pytest.mark.parametrize(
    ("moment", "open_"),
    [
        ("2026-11-23T14:29:59+00:00", False),  # Monday 09:29:59 in New York
        ("2026-11-23T14:30:00+00:00", True),
        ("2026-11-23T20:59:59+00:00", True),
        ("2026-11-23T21:00:00+00:00", False),
        ("2026-11-22T16:00:00+00:00", False),  # Sunday
        ("2026-07-06T13:30:00+00:00", True),  # summer time
    ],
)
def test_trading_hours_are_those_of_their_zone(moment: str, open_: bool) -> None:
    assert trading(TradingHours(), datetime.fromisoformat(moment)) is open_


# --- git ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Nobody's own settings.
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "user.email", "trader@example.com")
    git(tmp_path, "config", "user.name", "A Trader")
    (tmp_path / "Pulumi.live.yaml").write_text("config: {}\n")
    (tmp_path / "program.py").write_text("1\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


APART = ("releases", "Pulumi.live.yaml")


def test_a_clean_checkout_has_a_commit_and_somebody(checkout: Path) -> None:
    (checkout / "releases").mkdir()
    (checkout / "releases" / "r.json").write_text("{}")
    (checkout / "Pulumi.live.yaml").write_text("config: {a: 1}\n")
    assert read_checkout(checkout, apart_from=APART) == Checkout(
        git(checkout, "rev-parse", "HEAD"), "trader@example.com"
    )


@pytest.mark.parametrize("file", ["program.py", "new.py", "folder/new.py"])
def test_anything_else_that_differs_is_refused_by_name(checkout: Path, file: str) -> None:
    (checkout / file).parent.mkdir(exist_ok=True)
    (checkout / file).write_text("2\n")
    with pytest.raises(IbgwError, match=file.split("/", 1)[0]) as refused:
        read_checkout(checkout, apart_from=APART)
    assert refused.value.exit_code is ExitCode.REFUSED


def test_nobody_is_refused(checkout: Path) -> None:
    git(checkout, "config", "--unset", "user.email")
    with pytest.raises(IbgwError, match=r"git config user\.email"):
        read_checkout(checkout, apart_from=APART)


def test_no_repository_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(IbgwError, match="git checkout of the project"):
        read_checkout(tmp_path, apart_from=APART)
