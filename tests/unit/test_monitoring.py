"""The prober over a real connection, what it hands over, and what the watcher tells of it."""

import asyncio
import json
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deployment.description import Schedule
from deployment.rules import violations
from deployment.trading import ToldHours
from healthcheck import maintenance
from healthcheck.automation.status import Status, parse
from healthcheck.monitoring import handover, metrics, prober, told, watcher
from healthcheck.monitoring.handover import Disk, GatewaySeen, Seen
from healthcheck.monitoring.metrics import Configured
from healthcheck.observation import CheckName
from healthcheck.reasons import Reason
from healthcheck.schedule import weekly_login
from healthcheck.session import Timeouts
from healthcheck.verdict import GatewayVerdict
from infra import outputs, rules, settings, spec
from infra.settings import TradingHours, Weekday
from tests.unit.gateways import checks, gateway
from tests.unit.test_healthcheck_status import LINE
from tests.unit.test_settings import changed
from tests.unit.tws_server import Script, TwsServer, closed_port, serving, silent

QUICK = Timeouts(connect=1, handshake=1, ready=0.3, request=1, quote=0.3, closed_market_quote=0.1, settle=0.05)
NOT_NOW = {"time_zone": "Etc/UTC", "auto_restart": None, "cold_restart": None}
FREE = LINE.replace("hold=attempts", "hold=none")
WELL = FREE.replace("phase=held", "phase=logged_in").replace("api=unknown", "api=ok")


@pytest.fixture(autouse=True, scope="module")
def outside_resets() -> Iterator[None]:
    """The prober reads the machine's clock, and some hours of a day are a reset of IBKR's in Etc/UTC."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(maintenance, "RESETS", ())
        yield


@contextmanager
def told_by(line: str) -> Iterator[int]:
    """A port on which each connection gets one line, as a supervisor's."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(line.encode())

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def watched(server: TwsServer | None = None, port: int = 0, **changes: Any) -> prober.Watch:
    described = gateway(server.port if server else closed_port(), **{"schedule": NOT_NOW, **changes})
    return prober.Watch(described, QUICK, port or closed_port())


def looks(watch: prober.Watch, number: int = 1) -> list[GatewaySeen]:
    async def several() -> list[GatewaySeen]:
        try:
            return [await watch.look() for _ in range(number)]
        finally:
            await watch.leave()

    return asyncio.run(several())


def reasons(seen: GatewaySeen) -> dict[str, Reason]:
    return {check.name: check.reason for check in seen.checks if check.reason is not None}


def requests(server: TwsServer, number: str) -> int:
    return sum(message[0] == number for message in server.messages)


# --- the prober -------------------------------------------------------------------------------------------------------


def test_it_looks_again_over_the_connection_that_it_has_and_asks_for_quotes_rarely() -> None:
    with serving() as server:
        first, second, third = looks(watched(server), 3)
        assert third.verdict in metrics.UP
        assert (requests(server, "71"), requests(server, "9")) == (1, 1)  # startApi; contract details
        assert [check.name for check in second.checks] == [check.name for check in first.checks]
        assert third.since == first.since


def test_it_sends_no_order_not_even_a_what_if() -> None:
    with serving() as server:
        (seen,) = looks(watched(server, checks=checks(order_capability="required")))
        assert requests(server, "3") == 0
        assert seen.verdict in metrics.UP
        assert CheckName.ORDER_CAPABILITY not in {check.name for check in seen.checks}


def test_a_connection_that_was_lost_is_made_again_in_the_same_look() -> None:
    with serving() as server:
        watch = watched(server)

        async def twice() -> GatewaySeen:
            await watch.look()
            assert watch._session is not None
            await watch._session.close()
            try:
                return await watch.look()
            finally:
                await watch.leave()

        assert asyncio.run(twice()).verdict in metrics.UP
        assert requests(server, "71") == 2


def test_a_gateway_that_was_away_is_seen_when_it_is_back() -> None:
    watch = watched()
    (away,) = looks(watch)
    assert away.verdict is GatewayVerdict.FAILED

    async def back() -> GatewaySeen:
        await watch.look()
        with serving() as server:
            there = watch.gateway.api.model_copy(update={"port": server.port})
            watch.gateway = watch.gateway.model_copy(update={"api": there})
            try:
                return await watch.look()
            finally:
                await watch.leave()

    assert asyncio.run(back()).verdict in metrics.UP


def test_a_gateway_that_is_away_is_down_with_its_reason() -> None:
    (seen,) = looks(watched())
    assert seen.verdict is GatewayVerdict.FAILED
    assert reasons(seen)[CheckName.REACHABLE] is Reason.PORT_CLOSED
    assert seen.supervised is None


def test_an_unclean_stop_is_told_by_the_start_after_it_until_the_next_start() -> None:
    """Not by a soft restart, which is no start of the container's: it still has the word of the one before."""

    def after(watch: prober.Watch, stopped: str, kind: str, started: int) -> float:
        line = LINE.replace("started=0", f"started={started}").replace("kind=none", f"kind={kind}")
        return watch._supervised(parse(line.replace("stopped=no_session", f"stopped={stopped}"))).unclean

    watch = watched()
    assert after(watch, "clean", "password", 100) == 0
    assert after(watch, "killed", "password", 200) == 200
    assert after(watch, "killed", "saved", 300) == 200
    assert after(watch, "stranded", "password", 400) == 400
    assert after(watch, "clean", "password", 500) == 0
    # A prober that began after the power was back knows it too.
    assert after(watched(), "killed", "password", 600) == 600
    assert after(watched(), "killed", "saved", 600) == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (LINE.replace("rejected,competing_session", "rejected"), Reason.GUARD_HELD),
        (LINE, Reason.COMPETING_SESSION),
        (LINE.replace("hold=attempts", "hold=offline"), Reason.OFFLINE),
        (FREE.replace("phase=held", "phase=second_factor"), Reason.SECOND_FACTOR_PENDING),
        (FREE.replace("phase=held", "phase=rejected"), Reason.LOGIN_FAILED),
        (FREE.replace("phase=held", "phase=starting"), Reason.STARTING),
    ],
)  # fmt: skip
def test_the_first_process_says_why(line: str, reason: Reason) -> None:
    with told_by(line) as port:
        (seen,) = looks(watched(port=port))
    assert reasons(seen)[CheckName.REACHABLE] is reason
    assert seen.supervised is not None
    assert seen.supervised.attempts == 2


def test_all_words_of_the_supervisor_are_known() -> None:
    script = (Path(__file__).parents[2] / "infra/supervisor/supervisor.sh").read_text(encoding="utf-8")
    held = {*re.findall(r"^[^#\n]*\bhold ([a-z_]+) ", script, re.MULTILINE)}
    assert {"attempts", "logins", "volume"} <= held <= told.HOLDS.keys()
    phases = {*re.findall(r"^[^#\n]*\bphase ([a-z_]+)", script, re.MULTILINE)}
    assert {"starting", "second_factor"} <= phases <= {*told.PHASES, "unwell"}


def test_in_a_planned_restart_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    with serving() as server:
        (seen,) = looks(watched(server, schedule={**NOT_NOW, "auto_restart": f"{now:%H:%M}"}))
        assert server.messages == []
    assert reasons(seen)[CheckName.REACHABLE] is Reason.PLANNED_RESTART
    assert seen.window == "planned_restart"
    with serving() as server, told_by(WELL) as port:
        (seen,) = looks(watched(server, port, schedule={**NOT_NOW, "auto_restart": f"{now:%H:%M}"}))
    assert seen.verdict in metrics.UP


def test_a_second_factor_is_seen_before_the_next_look_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prober, "SECOND_FACTOR_EVERY", 0.01)
    waits = FREE.replace("phase=held", "phase=second_factor").replace("factor=0", "factor=1795776959")
    assert waits.count("factor=1795776959") == 1
    lines = [FREE, FREE, waits]

    async def told_in_turn(*_: object) -> Status:
        return parse(lines.pop(0) if len(lines) > 1 else lines[0])

    monkeypatch.setattr(told, "ask", told_in_turn)

    async def watching() -> GatewaySeen:
        watch = watched()
        await watch.look()
        async with asyncio.timeout(30):
            await watch.rest(3600)
            seen = await watch.look()
        # It is known now, and no reason to look again before the time.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await watch.rest(3600)
        return seen

    assert reasons(asyncio.run(watching()))[CheckName.REACHABLE] is Reason.SECOND_FACTOR_PENDING


def test_a_gateway_that_is_up_is_not_asked_for_a_second_factor_between_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prober, "SECOND_FACTOR_EVERY", 0.01)
    asked = []

    async def well(*_: object) -> Status:
        asked.append(1)
        return parse(WELL)

    monkeypatch.setattr(told, "ask", well)

    async def watching(watch: prober.Watch) -> None:
        await watch.look()
        await watch.rest(0.1)
        await watch.leave()

    with serving() as server:
        asyncio.run(watching(watched(server)))
    assert asked == [1]


def test_lost_farms_and_connectivity_are_told() -> None:
    notices = [(2103, "x:usfarm"), (2103, "x:eufarm"), (2104, "x:eufarm"), (2105, "x:ushmds"), (1100, "lost")]
    with serving(Script(notices=notices)) as server:
        (seen,) = looks(watched(server))
    assert (seen.farms.market_data, seen.farms.historical, seen.farms.definitions) == (1, 1, 0)
    assert not seen.connectivity
    assert reasons(seen)[CheckName.AUTHENTICATED] is Reason.CONNECTIVITY_LOST


def test_the_memory_s_limit_and_the_weekly_login_are_told() -> None:
    limits = {"memory": 1536, "memory_swap": 1536, "restart": "unless-stopped"}
    (seen,) = looks(watched(schedule={**NOT_NOW, "cold_restart": "07:05"}, in_place=limits))
    assert seen.memory_limit == 1536
    assert seen.weekly is not None
    assert seen.weekly.last <= seen.looked < seen.weekly.coming


def test_the_disk_is_the_one_of_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert prober.BESIDE_THE_LOG == "/etc/hostname"
    monkeypatch.setattr(prober, "BESIDE_THE_LOG", str(tmp_path))
    assert 0 < prober.disk().free < prober.disk().size
    assert abs(prober.disk().size - shutil.disk_usage(tmp_path).total) < 2**20


def test_the_week_s_login_keeps_its_time_of_day_over_a_change_of_summer_time() -> None:
    schedule = Schedule(time_zone="America/New_York", cold_restart="07:05")
    for now, longer in (
        (datetime(2026, 11, 1, 12, 4, tzinfo=UTC), 1),
        (datetime(2026, 3, 8, 11, 4, tzinfo=UTC), -1),
        (datetime(2026, 3, 8, 11, 6, tzinfo=UTC), 0),
    ):
        due = weekly_login(schedule, now)
        assert due is not None
        assert due[0] <= now < due[1]
        assert due[1].timestamp() - due[0].timestamp() == timedelta(days=7, hours=longer).total_seconds()
        assert {f"{moment:%a %H:%M}" for moment in due} == {"Sun 07:05"}
    assert weekly_login(Schedule(time_zone="Etc/UTC"), now) is None


@pytest.mark.parametrize(("line", "connections"), [("", 1), (WELL, 3)])
def test_a_wedged_gateway_is_waited_for_on_the_one_connection_until_its_first_process_is_answered(
    line: str, connections: int
) -> None:
    made: list[None] = []

    def talk(connection: socket.socket) -> None:
        made.append(None)
        silent(connection)

    with serving(talk=talk) as server, told_by(line) as port:
        seen = looks(watched(server, port), 3)
    assert {reasons(one)[CheckName.CONNECTED] for one in seen} == {Reason.WEDGED}
    assert len(made) == connections


def test_a_gateway_that_was_half_open_is_asked_anew_when_its_first_process_is_answered() -> None:
    with serving(Script(next_id=None)) as server, told_by(WELL) as port:
        watch = watched(server, port)

        async def twice() -> list[GatewaySeen]:
            half_open = await watch.look()
            server.script.next_id = 1
            try:
                return [half_open, await watch.look()]
            finally:
                await watch.leave()

        half_open, well = asyncio.run(twice())
    assert reasons(half_open)[CheckName.AUTHENTICATED] is Reason.HALF_OPEN
    assert well.verdict in metrics.UP


# --- between the two --------------------------------------------------------------------------------------------------


def seen_of(*gateways: GatewaySeen, written: float = 1000.0) -> Seen:
    return Seen(stack="paper", interval=15, written=written, disk=Disk(size=100, free=50), gateways=gateways)


@pytest.fixture(scope="module")
def one() -> GatewaySeen:
    with serving() as server, told_by(WELL) as port:
        (seen,) = looks(watched(server, port))
    return seen


def test_what_is_written_reads_back(tmp_path: Path, one: GatewaySeen) -> None:
    file = tmp_path / "seen.json"
    assert handover.read(file) is None
    handover.write(seen_of(one), file)
    assert handover.read(file) == seen_of(one)
    assert [path.name for path in tmp_path.iterdir()] == ["seen.json"]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("gateways", 0, "checks", 0, "reason"), "<script>"),
        (("gateways", 0, "gateway"), 'x"} 1\nib_gateway_up 1'),
        (("gateways", 0, "window"), "open"),
        (("gateways", 0, "supervised", "hold"), "A sentence"),
        (("gateways", 0, "supervised", "memory"), -1),
        (("gateways", 0, "clock"), 1e300),
        (("written",), "NaN"),
        (("more",), 1),
        (("stack",), "x" * 600_000),
    ],
)
def test_the_watcher_takes_closed_words_and_bounded_numbers_only(
    tmp_path: Path, one: GatewaySeen, place: tuple[Any, ...], value: object
) -> None:
    document = json.loads(seen_of(one).model_dump_json(by_alias=True))
    target = document
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    file = tmp_path / "seen.json"
    file.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"seen\.json") as refused:
        handover.read(file)
    assert re.fullmatch(r"\d+ faults|longer than \d+ bytes", str(refused.value).partition(": ")[2].split(": ")[-1])
    status, _, text = watcher.page("/readyz", file)
    assert status is HTTPStatus.SERVICE_UNAVAILABLE
    assert text == f"{refused.value}\n"


# --- the watcher ------------------------------------------------------------------------------------------------------


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (
            sample.name,
            *(value for key, value in sorted(sample.labels.items()) if key not in metrics.WHOSE),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_of_the_table_is_told(tmp_path: Path, one: GatewaySeen) -> None:
    """But for a verification's own, and what this gateway has none of: a reason, a next restart, a limit."""
    file = tmp_path / "seen.json"
    handover.write(seen_of(one), file)
    hours = ToldHours.model_validate_json(TradingHours(days=(Weekday.WED, Weekday.THU)).model_dump_json())
    status, kind, text = watcher.page("/metrics", file, lambda: 1001.0, Configured(hours, {"main": 9.0}, 8.0))
    assert (status, kind) == (HTTPStatus.OK, watcher.METRICS)
    missing = {metric.name for metric in metrics.TABLE} - {name for name, *_ in samples(text)}
    assert missing == {
        "ibgw_check_reason",
        "ibgw_verification_duration_seconds",
        "ibgw_verification_waited_seconds",
        "ibgw_verification_timestamp_seconds",
        "ibgw_gateway_next_planned_timestamp_seconds",
        "ibgw_gateway_last_weekly_login_timestamp_seconds",
        "ibgw_gateway_next_weekly_login_timestamp_seconds",
        "ibgw_gateway_memory_limit_mb",
    }
    told = samples(text)
    assert told["ib_gateway_up",] == 1
    assert told["ib_gateway_memory_mb",] == 20
    assert told["ibgw_gateway_window", "none"] == 1
    assert told["ibgw_gateway_last_stop", "no_session"] == 1
    assert (told["ibgw_host_disk_free_bytes",], told["ibgw_host_disk_size_bytes",]) == (50, 100)
    assert told["ibgw_monitoring_fresh",] == 1
    # 1970 begins on a Thursday, at 19:00 of Wednesday in New York.
    assert told["ibgw_trading_hours",] == 0
    assert told["ibgw_gateway_secret_timestamp_seconds",] == 9
    assert told["ibgw_image_timestamp_seconds",] == 8
    later = Configured(hours.model_copy(update={"close": "19:30"}))
    _, _, text = watcher.page("/metrics", file, lambda: 1001.0, later)
    assert samples(text)["ibgw_trading_hours",] == 1


def test_names_units_and_types_are_prometheus_own() -> None:
    for metric in metrics.TABLE:
        assert metric.name.endswith("_total") == (metric.type is metrics.Type.COUNTER), metric.name
        assert ("seconds" in metric.unit) == metric.name.endswith("_seconds"), metric.name
    names = [metric.name for metric in metrics.TABLE]
    assert sorted(names) == sorted(set(names))


def test_an_old_hand_over_says_nothing_of_any_gateway(tmp_path: Path, one: GatewaySeen) -> None:
    file = tmp_path / "seen.json"
    handover.write(seen_of(one), file)
    _, _, text = watcher.page("/metrics", file, lambda: 1100.0)
    assert samples(text) == {("ibgw_monitoring_fresh",): 0}
    for path in ("/readyz", "/state.json"):
        status, _, text = watcher.page(path, file, lambda: 1100.0)
        assert (status, text) == (HTTPStatus.SERVICE_UNAVAILABLE, "the prober handed nothing over for 100 s\n")
    assert watcher.page("/healthz", file)[0] is HTTPStatus.OK


def test_the_state_is_told_as_json(tmp_path: Path, one: GatewaySeen) -> None:
    file = tmp_path / "seen.json"
    handover.write(seen_of(one), file)
    status, _, text = watcher.page("/state.json", file, lambda: 1001.0)
    assert status is HTTPStatus.OK
    assert Seen.model_validate_json(text) == seen_of(one)
    assert watcher.page("/etc/passwd", file)[0] is HTTPStatus.NOT_FOUND


def test_the_prober_is_told_of_no_secret() -> None:
    stack = spec.describe(
        settings.load("paper", changed("paper", {"ibgw:monitoring": {"enabled": True}})),
        project="ibgw",
        stack="paper",
        image="image",
    )
    text = outputs.watched_entry(stack, stack.gateways["main"])
    assert "secret" not in json.loads(text)
    read = prober._gateway(text)
    assert (read.name, read.api.host) == ("main", "ibgw-paper-main")


def test_the_rules_of_gateways_hold_for_both() -> None:
    stack = spec.describe(
        settings.load("paper", changed("paper", {"ibgw:monitoring": {"enabled": True}})),
        project="ibgw",
        stack="paper",
        image="image",
    )
    records = {record.name: record for record in rules.records(stack)}
    assert {"ibgw-paper.prober", "ibgw-paper.watcher"} <= records.keys()
    assert not any(violations(record) for record in records.values())
    assert records["ibgw-paper.prober"].capabilities_dropped == ("ALL",)


@pytest.mark.parametrize("error", [OSError(), ValueError(), LookupError(), ArithmeticError(), RuntimeError()])
def test_whatever_one_gateway_makes_of_the_prober_the_others_are_looked_at(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    async def look(watch: prober.Watch) -> None:
        looks.append(watch.gateway.name)
        if watch.gateway.name == "hostile":
            raise error

    async def both() -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(prober._watch(prober.Watch(gateway(closed_port(), name=name)), 0.001))
                for name in ("hostile", "well")
            ]
            while min(map(looks.count, ("hostile", "well"))) < 3:
                await asyncio.sleep(0.001)
            for task in tasks:
                task.cancel()

    monkeypatch.setattr(prober.Watch, "look", look)
    asyncio.run(both())
