"""Working orders and positions: what is read over the API, what the container's line becomes, and what is said where
nothing can be read. Message layouts: the TWS API reference (reqAllOpenOrders, reqPositions)."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ib_async import Client

from deployment.tables import Kind
from healthcheck import __main__ as program
from healthcheck import exposure_run, exposure_session
from healthcheck.docker_host import DockerError
from healthcheck.exposure import TOLD_AT_MOST, Exposure, Order, Position
from healthcheck.exposure_run import exposures
from healthcheck.session import Timeouts
from healthcheck.write_filter import TradingRefused, WriteFilter
from tests.unit.fake_docker import FakeDocker
from tests.unit.gateways import entry, gateway, stack
from tests.unit.test_healthcheck_write_filter import Wire
from tests.unit.tws_server import UNSET, Script, closed_port, hang_up, serving, silent

HASTY = Timeouts(handshake=0.3, ready=0.3, request=0.3)


def look(script: Script | None = None, **changes: Any) -> tuple[Exposure, list[str]]:
    """What was seen, and which messages were sent."""
    with serving(script) as server:
        found = asyncio.run(exposure_session.look(gateway(server.port, **changes), HASTY))
    return found, [message[0] for message in server.messages]


def test_orders_and_positions_are_read_and_nothing_else_is_asked() -> None:
    script = Script(
        open_orders=[("7", "Submitted"), ("8", "PreSubmitted"), ("9", "Filled"), ("10", "Cancelled")],
        positions=[("DU1234567", "SPY", "100"), ("DU1234567", "QQQ", "-5"), ("DU1234567", "IWM", "0")],
    )
    found, sent = look(script)
    assert [order.status for order in found.orders or ()] == ["Submitted", "PreSubmitted"]
    assert [(held.symbol, held.quantity) for held in found.positions or ()] == [("SPY", 100), ("QQQ", -5)]
    assert found.unread is None
    # startApi, reqPositions, cancelPositions, reqAllOpenOrders
    assert sent == ["71", "61", "64", "16"]


def test_none_is_told_as_none_and_not_as_unknown() -> None:
    found, _ = look()
    assert (found.orders, found.positions, found.unread) == ((), (), None)
    assert list(found.lines()) == ["main: 0 working orders, 0 positions"]


def test_on_a_read_only_api_orders_are_not_asked_for() -> None:
    """There the question opens a dialog on the gateway that nobody clicks (gnzsnz/ib-gateway-docker#267)."""
    found, sent = look(read_only=True)
    assert "16" not in sent
    assert (found.orders, found.positions) == (None, ())
    assert "read-only" in (found.unread or "")


@pytest.mark.parametrize(
    ("script", "unknown", "said"),
    [
        (Script(open_orders=None), "orders", "the open orders: no end within 0.3 s"),
        (Script(positions=None), "positions", "the positions: no end within 0.3 s"),
        (Script(drop_on="16"), "orders", "closed the connection"),
        (Script(open_orders=[("7", "Submitted"), ("seven", "Submitted")]), "orders", "one of them could not be read"),
        (Script(positions=[("DU1234567", "SPY", "a hundred")]), "positions", "one of them could not be read"),
        (Script(positions=[("DU1234567", "SPY", "nan")]), "positions", "one of them could not be read"),
        (Script(positions=[("DU1234567", "SPY", UNSET)]), "positions", "one of them could not be read"),
    ],
)
def test_what_is_not_answered_is_unknown_and_never_none(script: Script, unknown: str, said: str) -> None:
    found, _ = look(script)
    assert getattr(found, unknown) is None
    assert said in (found.unread or "")
    assert "unknown" in next(found.lines())


@pytest.mark.parametrize("talk", [silent, hang_up])
def test_a_gateway_that_does_not_answer_is_unread(talk: Any) -> None:
    with serving(talk=talk) as server:
        found = asyncio.run(exposure_session.look(gateway(server.port), HASTY))
    assert (found.orders, found.positions) == (None, None)
    assert found.unread
    assert asyncio.run(exposure_session.look(gateway(closed_port()), HASTY)).unread


def test_one_that_is_not_logged_in_is_unread() -> None:
    found, sent = look(Script(send_accounts=False, next_id=None))
    assert found.unread == "the gateway is not logged in"
    assert sent == ["71"]


EXTRA = {
    "reqAllOpenOrders": lambda wire: wire.reqAllOpenOrders(),
    "reqPositions": lambda wire: wire.reqPositions(),
    "cancelPositions": lambda wire: wire.cancelPositions(),
}


@pytest.mark.parametrize("request_name", EXTRA)
def test_a_verification_may_not_send_what_this_may(request_name: str) -> None:
    wire: Any = Wire(178)
    EXTRA[request_name](wire)
    WriteFilter(what_if=False, exposure=True, server_version=178).check(wire.sent)
    with pytest.raises(TradingRefused):
        WriteFilter(what_if=True, server_version=178).check(wire.sent)


@pytest.mark.parametrize("request_name", ["reqOpenOrders", "reqAutoOpenOrders", "cancelOrder", "reqGlobalCancel"])
def test_whoever_may_read_orders_may_touch_none(request_name: str) -> None:
    wire: Any = Wire(178)
    assert issubclass(Wire, Client)
    arguments = {"reqAutoOpenOrders": (True,), "cancelOrder": (1,)}.get(request_name, ())
    getattr(wire, request_name)(*arguments)
    with pytest.raises(TradingRefused):
        WriteFilter(what_if=False, exposure=True, server_version=178).check(wire.sent)


def test_the_container_prints_one_line_with_masked_accounts(capsys: pytest.CaptureFixture[str]) -> None:
    script = Script(open_orders=[("7", "Submitted")], positions=[("DU1234567", "SPY", "100")])
    with serving(script) as server:
        assert program.main(["exposure", "--gateway-json", json.dumps(entry(server.port))]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert "DU1234567" not in line
    assert "DU***567" in line
    assert Exposure.model_validate_json(line).positions


# --- on the operator's machine ------------------------------------------------------------------------------------


class Host(FakeDocker):
    """`said`: what the verifier's container prints."""

    def __init__(self, *said: str, status: str = "running") -> None:
        super().__init__()
        self.said = [*said]
        self.objects[Kind.CONTAINER]["ibgw-paper-main"] = {"Id": "a" * 64, "State": {"Status": status}}

    def log(self, container: str, **options: Any) -> list[str]:
        assert options == {"only": "stdout"}
        return self.said


TOLD = Exposure(gateway="main", orders=(), positions=(Position(account="DU***567", quantity=3, symbol="SPY"),))


def test_the_verifiers_image_is_asked_on_the_api_network_and_its_container_removed() -> None:
    host = Host(TOLD.model_dump_json())
    deployment = stack()
    assert exposures(host, deployment, list(deployment.gateways.values())) == [TOLD]
    [(image, options)] = host.did("create")
    assert image == deployment.verifier.image_id
    assert options["network"] == "ibgw-paper-main-api"
    assert options["command"][:2] == ["exposure", "--gateway-json"]
    assert host.did("remove") == [[options["name"]]]
    assert not host.did("stop")


def test_a_janitor_is_there_while_the_container_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """It removes what a kill leaves (healthcheck.janitor)."""
    host, deployment, seen = Host(TOLD.model_dump_json()), stack(), list[object]()

    @contextmanager
    def janitor(address: str) -> Iterator[None]:
        seen.append((address, len(host.did("create"))))
        yield
        seen.append(len(host.did("remove")))

    monkeypatch.setattr(exposure_run, "janitor", janitor)
    exposures(host, deployment, list(deployment.gateways.values()))
    assert seen == [(deployment.docker_host, 0), 1]


@pytest.mark.parametrize("said", [[], ["usage: python -m healthcheck"], ['{"gateway": "main"', "[]"]])
def test_a_verifier_of_an_earlier_version_is_said_to_have_told_nothing(said: list[str]) -> None:
    deployment = stack()
    [found] = exposures(Host(*said), deployment, list(deployment.gateways.values()))
    assert "earlier version" in (found.unread or "")
    assert (found.orders, found.positions) == (None, None)


@pytest.mark.parametrize("failing", ["create", "start", "wait", "there"])
def test_what_docker_refuses_is_said(failing: str) -> None:
    host = Host(TOLD.model_dump_json())
    host.failing[failing] = DockerError("no space left")
    deployment = stack()
    [found] = exposures(host, deployment, list(deployment.gateways.values()))
    assert "no space left" in (found.unread or "")
    assert len(host.did("remove")) == len(host.did("create"))


@pytest.mark.parametrize("status", ["exited", "paused", "created"])
def test_a_gateway_that_does_not_run_is_not_asked(status: str) -> None:
    deployment = stack()
    host = Host(status=status)
    [found] = exposures(host, deployment, list(deployment.gateways.values()))
    assert found.unread == "its container does not run"
    assert not host.did("create")


def test_what_is_foreign_commands_no_terminal_and_a_long_list_is_cut() -> None:
    evil = Order(
        account="\x1b]52;c;x\x07", action="BUY", quantity=1, symbol="S\u202eYP", kind="LMT\r", status="Submitted"
    )
    lines = list(Exposure(gateway="main", orders=(evil,) * (TOLD_AT_MOST + 5), positions=()).lines())
    assert all(line.isprintable() for line in lines)
    assert lines[-1] == "  and 5 more"
