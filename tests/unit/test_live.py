"""Acting on live: the stack's name, the trading hours, and what is open, for every command that ends a session."""

import io
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import operations.rollout
from deployment.errors import IbgwError
from deployment.tables import Kind, Token
from deployment.trading import trading
from healthcheck import docker_host
from healthcheck.exposure import Exposure, Order
from infra.settings import TradingHours, load
from infra.trading import away_while_trading
from operations import batches, cli, lifecycle, live, settings_reset
from operations.commands import shared
from operations.live import Leave, check_hours
from operations.stack import Stack
from tests.unit.fake_docker import FakeDocker
from tests.unit.operations_contract import contract_document
from tests.unit.operations_pulumi import FakePulumi, install
from tests.unit.test_settings import MAIN, changed

ENDING = {
    "stop": ["stop"],
    "stop --for": ["stop", "--for", "1h"],
    "stop --until": ["stop", "--until", "14:00"],
    "stop --all --now": ["stop", "--all", "--now"],
    "stop of one": ["stop", "--gateway", "main"],
    "restart": ["restart"],
    "restart --soft": ["restart", "--soft"],
    "rollout": ["rollout"],
    "reset-settings": ["reset-settings", "--gateway", "main", "--yes"],
    "reset-settings --restore": ["reset-settings", "--gateway", "main", "--yes", "--restore", "backup.tar"],
    "login --again": ["login", "--again", "--gateway", "main"],
}
ORDER = Order(account="U***567", action="BUY", quantity=100, symbol="SPY", kind="LMT", status="Submitted")


class Host(FakeDocker):
    """`acted`: what was done to gateways; here nothing is."""

    def __init__(self) -> None:
        super().__init__()
        self.acted: list[str] = []


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePulumi:
    made = install(tmp_path / "pulumi", monkeypatch, sys.executable)
    for name in ("live", "paper"):
        (tmp_path / f"Pulumi.{name}.yaml").write_text("config: {}\n")
    (tmp_path / "Pulumi.yaml").write_text("name: ibgw\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PULUMI_OPTION_CWD", raising=False)
    return made


@pytest.fixture
def host(pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Two gateways of a live and of a paper stack, outside the trading hours; whatever acts on one is noted."""
    made = Host()

    def act(*_: Any, **__: Any) -> None:
        made.acted.append("gateway")

    def rollout(*_: Any, **__: Any) -> operations.rollout.Rollout:
        act()
        return operations.rollout.Rollout(stack="live", gateways=())

    def reset(*_: Any, ask: Callable[[str], None], **__: Any) -> None:
        ask("What the gateway has saved is lost.")
        act()

    def exposures(_: Any, __: Any, gateways: Sequence[Any]) -> list[Exposure]:
        return [Exposure(gateway=one.name, orders=(ORDER,), positions=()) for one in gateways]

    for name in ("stop", "pause", "restart", "soft_restart", "login_again"):
        monkeypatch.setattr(lifecycle, name, act)
    monkeypatch.setattr(settings_reset, "reset", reset)
    monkeypatch.setattr(settings_reset, "restore", act)
    monkeypatch.setattr(operations.rollout, "rollout", rollout)
    monkeypatch.setattr(docker_host, "DockerHost", lambda _: made)
    monkeypatch.setattr(live, "exposures", exposures)
    monkeypatch.setattr(live, "trading", lambda *_: False)
    monkeypatch.setattr(batches, "_logins", lambda *_: ())
    of(pulumi, "live")
    return made


def of(pulumi: FakePulumi, mode: str) -> None:
    document = contract_document("main", "other", mode=mode)
    pulumi.answers({"stack output": (0, json.dumps({"contract": document}), "")})


def ibgw(words: list[str], stack: str, *more: str, typed: str = "") -> int:
    sys.stdin = io.StringIO(typed)
    return cli.run([*words, "--stack", stack, *more])


@pytest.fixture(autouse=True)
def own_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", sys.stdin)


@pytest.mark.parametrize("words", ENDING.values(), ids=ENDING)
@pytest.mark.parametrize("typed", ["", "y\n", "yes\n", "paper\n", "LIVE\n"])
def test_without_the_stacks_name_nothing_is_done(host: Host, words: list[str], typed: str) -> None:
    assert ibgw(words, "live", typed=typed) == 8
    assert (host.acted, host.done) == ([], [])


@pytest.mark.parametrize("words", ENDING.values(), ids=ENDING)
def test_a_live_stack_whose_description_says_paper_is_live(pulumi: FakePulumi, host: Host, words: list[str]) -> None:
    """Where the state cannot be read, the description is a file's."""
    document = contract_document("main", "other") | {"stack": "live"}
    pulumi.answers({"stack output": (0, json.dumps({"contract": document}), "")})
    assert ibgw(words, "live", typed="y\n") == 8
    assert (host.acted, host.done) == ([], [])


@pytest.mark.parametrize("words", ENDING.values(), ids=ENDING)
@pytest.mark.parametrize("given", ["y", "paper", "live-2", ""])
def test_another_name_in_the_option_is_none(host: Host, words: list[str], given: str) -> None:
    assert ibgw(words, "live", "--yes-live", given, typed="live\n") == 8
    assert host.acted == []


@pytest.mark.parametrize("words", ENDING.values(), ids=ENDING)
@pytest.mark.parametrize("how", ["typed", "option"])
def test_with_the_name_it_is_done_after_what_is_open_was_told(
    host: Host, capsys: pytest.CaptureFixture[str], words: list[str], how: str
) -> None:
    more, typed = ([], "live\n") if how == "typed" else (["--yes-live", "live"], "")
    assert ibgw(words, "live", *more, typed=typed) == 0
    assert host.acted
    told = capsys.readouterr().err
    assert "BUY 100 SPY LMT Submitted" in told
    assert "cancels an order" in told
    if how == "typed":
        assert told.index("BUY 100 SPY") < told.index("Type live to go on")


@pytest.mark.parametrize("words", ENDING.values(), ids=ENDING)
def test_within_the_trading_hours_it_is_refused_whoever_types(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.setattr(live, "trading", lambda *_: True)
    assert ibgw(words, "live", "--yes-live", "live") == 7
    assert host.acted == []
    assert "--during-market" in capsys.readouterr().err
    assert ibgw(words, "live", "--yes-live", "live", "--during-market") == 0
    assert host.acted
    # That alone is no name.
    host.acted.clear()
    assert ibgw(words, "live", "--during-market") == 8
    assert host.acted == []


@pytest.mark.parametrize("words", ENDING.values(), ids=ENDING)
def test_a_default_stack_never_serves(host: Host, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setenv("PULUMI_STACK", "live")
    monkeypatch.setenv("IBGW_STACK", "live")
    assert cli.run([*words, "--yes-live", "live", "--during-market"]) == 2
    assert host.acted == []


@pytest.mark.parametrize("words", ENDING.values(), ids=ENDING)
def test_on_paper_nobody_is_asked(
    host: Host, pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    of(pulumi, "paper")
    monkeypatch.setattr(live, "trading", lambda *_: True)
    # `reset-settings --restore` asks on paper as well, and takes --yes.
    assert ibgw(words, "paper") == 0
    assert host.acted


@pytest.mark.parametrize("text", [None, "config:\n  ibgw:tradingHours: {open: nine}\n", "config: [\n", "nothing\n"])
def test_where_the_hours_cannot_be_read_it_wants_to_be_told(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    file = tmp_path / "Pulumi.live.yaml"
    file.unlink() if text is None else file.write_text(text)
    assert ibgw(["stop"], "live", "--yes-live", "live") == 7
    assert "Pulumi.live.yaml" in capsys.readouterr().err
    assert ibgw(["stop"], "live", "--yes-live", "live", "--during-market") == 0


def test_a_live_stack_that_was_never_deployed_can_be_rolled_out(host: Host, pulumi: FakePulumi) -> None:
    pulumi.answers({"stack output": (0, "{}", "")})
    assert ibgw(["rollout"], "live") == 0


@pytest.mark.parametrize("typed", [None, "live"])
def test_promote_and_rollback_show_what_is_open_and_take_the_same_name(
    host: Host, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, typed: str | None
) -> None:
    monkeypatch.setattr(live, "DockerHost", lambda _: host)
    sys.stdin = io.StringIO("live\n")
    shared.confirmation(typed)("Bring live to release R?", "live")
    told = capsys.readouterr().err
    assert "BUY 100 SPY LMT Submitted" in told
    with pytest.raises(IbgwError, match="expected live"):
        shared.confirmation("paper")("Bring live to release R?", "live")


def test_a_rollback_keeps_away_from_the_trading_hours_unless_a_promotion_hangs(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from operations.promotion import command

    gone: list[str] = []

    def rollback(*_: Any, **__: Any) -> int:
        gone.append("back")
        return 0

    monkeypatch.setattr(command, "rollback", rollback)
    monkeypatch.setattr(live, "trading", lambda *_: True)
    assert cli.run(["rollback", "--stack", "live"]) == 7
    assert gone == []
    assert cli.run(["rollback", "--stack", "live", "--during-market"]) == 0
    assert gone == ["back"]


# Each: the hours, a moment (UTC), whether it lies in them. New York is UTC-5 in November, Zurich UTC+1, Chicago UTC-6.
@pytest.mark.parametrize(
    ("hours", "moment", "within"),
    [
        ({}, "2026-11-23T14:30", True),
        ({}, "2026-11-23T14:29", False),
        ({"timeZone": "Europe/Zurich"}, "2026-11-23T08:30", True),
        ({"timeZone": "Europe/Zurich"}, "2026-11-23T15:00", False),
        # Futures: from 17:00 to 16:00 the next day in Chicago, from Sunday to Thursday.
        (GLOBEX := {"timeZone": "America/Chicago", "days": ["sun", "mon", "tue", "wed", "thu"], "open": "17:00",
                    "close": "16:00"}, "2026-11-22T22:59", False),
        (GLOBEX, "2026-11-22T23:00", True),
        (GLOBEX, "2026-11-23T12:00", True),
        (GLOBEX, "2026-11-23T22:30", False),
        (GLOBEX, "2026-11-27T21:59", True),
        (GLOBEX, "2026-11-27T23:30", False),
        (GLOBEX, "2026-11-28T12:00", False),
    ],
)  # fmt: skip
def test_hours_may_lie_across_midnight(hours: dict[str, Any], moment: str, within: bool) -> None:
    known = TradingHours.model_validate_json(json.dumps(hours))
    assert trading(known, datetime.fromisoformat(moment).replace(tzinfo=UTC)) is within


def test_hours_come_from_the_stacks_file_without_a_backend(pulumi: FakePulumi, tmp_path: Path) -> None:
    (tmp_path / "Pulumi.live.yaml").write_text(
        "config:\n  ibgw:tradingHours: {timeZone: Asia/Tokyo, days: [sat], open: 01:00, close: 02:00}\n"
    )
    assert Stack("live").trading_hours().time_zone == "Asia/Tokyo"
    assert Stack("paper").trading_hours() == TradingHours()
    assert pulumi.calls == []
    # Saturday 01:30 in Tokyo.
    with pytest.raises(IbgwError, match=r"01:00 to 02:00 Asia/Tokyo.*--during-market"):
        check_hours("live", Leave(), "this ends sessions", now=datetime(2026, 11, 27, 16, 30, tzinfo=UTC))
    check_hours("live", Leave(), "this ends sessions", now=datetime(2026, 11, 27, 15, 30, tzinfo=UTC))


def test_hours_of_futures_without_quotes_keep_live_alone_from_evening_to_evening(
    pulumi: FakePulumi, tmp_path: Path
) -> None:
    (tmp_path / "Pulumi.live.yaml").write_text(
        "config:\n  ibgw:tradingHours:\n    days: [sun, mon, tue, wed, thu]\n    open: 18:00\n    close: 17:00\n"
    )
    # In New York, UTC-5: Sunday 17:59 and 18:00, Friday 16:59 and 17:00.
    for moment, within in (("22T22:59", False), ("22T23:00", True), ("27T21:59", True), ("27T22:00", False)):
        now = datetime.fromisoformat(f"2026-11-{moment}").replace(tzinfo=UTC)
        if within:
            with pytest.raises(IbgwError, match=r"18:00 to 17:00 of the next day America/New_York"):
                check_hours("live", Leave(), "this ends sessions", now=now)
        else:
            check_hours("live", Leave(), "this ends sessions", now=now)


FUTURES = {"days": ["sun", "mon", "tue", "wed", "thu"], "open": "18:00", "close": "17:00"}


# Each: the hours, the gateway's session, the keys of what takes it away within them.
@pytest.mark.parametrize(
    ("hours", "session", "within"),
    [
        ({}, {}, []),
        ({}, {"autoRestart": "12:00"}, ["autoRestart"]),
        (FUTURES, {}, ["autoRestart"]),
        (FUTURES, {"autoRestart": "17:30"}, []),
        (FUTURES, {"autoRestart": "20:30", "coldRestart": "19:00"}, ["autoRestart", "coldRestart"]),
        (FUTURES, {"autoRestart": None, "autoLogoff": "17:00"}, []),
        (FUTURES, {"autoRestart": "17:30", "offline": {"from": "17:05", "until": "17:55"}}, []),
        ({}, {"offline": {"from": "08:00", "until": "20:00"}}, ["offline"]),
        # 17:30 in New York is 23:30 in Berlin, but for some weeks in which only one of both is on summer time.
        (FUTURES, {"timeZone": "Europe/Berlin", "autoRestart": "23:30", "coldRestart": "09:00"}, []),
        (FUTURES, {"timeZone": "Europe/Berlin", "autoRestart": "17:30", "coldRestart": "09:00"}, ["autoRestart"]),
    ],
)
def test_what_takes_a_gateway_away_within_the_hours_is_named(
    hours: dict[str, Any], session: dict[str, Any], within: list[str]
) -> None:
    changes = {f"ibgw:tradingHours.{key}": value for key, value in hours.items()}
    changes |= {f"{MAIN}.session.{key}": value for key, value in session.items()}
    said = away_while_trading(load("paper", changed("paper", changes)))
    assert [text.partition(" ")[0] for text in said] == [f"{MAIN}.session.{key}" for key in within]
    if hours and said:
        assert "(18:00 to 17:00 of the next day America/New_York)" in said[0]
        assert "choose a time from 17:00 to 18:00 America/New_York" in said[0]


def test_what_cannot_be_read_is_told_before_the_name_is_asked_for(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        live, "exposures", lambda _, __, gateways: [Exposure(gateway=one.name, unread="no answer") for one in gateways]
    )
    assert ibgw(["stop"], "live", typed="") == 8
    assert "working orders unknown, positions unknown" in capsys.readouterr().err
    assert ibgw(["stop"], "live", typed="live\n") == 0


# --- a repair -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stack", "code"), [("live", 8), ("paper", 0)])
def test_a_repair_that_ends_a_session_wants_the_name_on_live(
    host: Host, pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch, stack: str, code: int
) -> None:
    from operations.repair import command, processes
    from operations.repair.inventory import Scope

    monkeypatch.setattr(command, "DockerHost", lambda _: host)
    monkeypatch.setattr(processes, "own_processes", lambda: ())
    labels = {**Scope("ibgw", "ibgw", stack).labels, "ibgw.role": "gateway", "ibgw.gateway": "main"}
    network = f"ibgw-{stack}-main-api"
    host.objects[Kind.CONTAINER][f"ibgw-{stack}-main"] = {
        "Id": "c" * 64,
        "Name": f"/ibgw-{stack}-main",
        "Names": [f"/ibgw-{stack}-main"],
        "State": {"Running": True, "Status": "running"},
        "Config": {"Labels": labels, "StopTimeout": 75},
        "Labels": labels,
        "NetworkSettings": {"Networks": {network: {"NetworkID": "n" * 64}}},
    }
    # What an interrupted update records before it makes a gateway.
    host.objects[Kind.NETWORK][network] = {"Id": "n" * 64, "Name": network, "Labels": {**labels, "ibgw.role": "api"}}
    recorded = {"urn": f"urn:pulumi:{stack}::ibgw::n::api", "type": Token.NETWORK, "id": "n" * 64}
    pulumi.answers(
        {
            "config": (0, '{"ibgw:dockerHost": {"value": "unix:///var/run/docker.sock"}}', ""),
            "whoami": (0, '{"url": "file:///nowhere"}', ""),
            "stack export": (0, json.dumps({"version": 3, "deployment": {"resources": [recorded]}}), ""),
            "stack output": (0, "{}", ""),
        }
    )
    assert ibgw(["repair", "--yes"], stack) == code
    assert bool(host.did("remove")) == (code == 0)
    if stack == "live":
        assert ibgw(["repair", "--yes", "--yes-live", "live"], stack) == 0
        assert host.did("remove")
