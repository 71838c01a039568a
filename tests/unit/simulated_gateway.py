"""A broker and one logged-in simulated gateway in a thread of this process, for the tests of both."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sandbox.broker.control import BrokerControl
from sandbox.broker.server import Broker
from sandbox.broker.users import SecondFactor, User
from sandbox.gateway.api import ApiServer
from sandbox.gateway.automation import Automation
from sandbox.gateway.clock import CLOCK
from sandbox.gateway.link import BrokerLink
from sandbox.gateway.program import GatewaySession
from sandbox.gateway.settings import Settings

T = TypeVar("T")

TRADER = User("trader", "right", ("U1111111",), ("DU1111111",))
PUSHER = User("pusher", "right", ("U2222222",), ("DU2222222",), SecondFactor.PUSH)

INI = {
    "IbLoginId": "trader",
    "IbPassword": "right",
    "TradingMode": "paper",
    "ExistingSessionDetectedAction": "primary",
    "ReadOnlyApi": "no",
}


@dataclass
class SimulatedGateway:
    """A broker, and a gateway where one is logged in at it, with the loop that both run in."""

    loop: asyncio.AbstractEventLoop
    broker: Broker
    broker_port: int
    control: BrokerControl
    api_port: int = 0
    log: list[str] = field(default_factory=list)
    server: ApiServer | None = None
    session: GatewaySession | None = None

    def run(self, work: Coroutine[Any, Any, T], timeout: float = 20) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def automation(self, **ini: str) -> Automation:
        return Automation(Settings({**INI, **ini}), lambda: BrokerLink("127.0.0.1", self.broker_port))

    async def open_gateway(self, **ini: str) -> None:
        """Logs in and opens an API port, as the program does after the login."""
        automation = self.automation(**ini)
        settings = Settings({**INI, **ini})
        logged_in = await automation.log_in()
        session = GatewaySession(logged_in, ("127.0.0.1", self.broker_port), settings)
        read_only = settings.flag("ReadOnlyApi", True)
        master = settings.text("OverrideTwsMasterClientID")
        self.server = session.api = ApiServer(
            session, read_only=read_only, master_client_id=int(master) if master else None, log=self.log.append
        )
        self.session = session
        self.api_port = await self.server.start("127.0.0.1", 0)
        self.running = asyncio.ensure_future(session.run())

    async def close(self) -> None:
        if self.server is not None and self.session is not None:
            await self.server.stop()
            self.running.cancel()
            await self.session.log_out()
        await self.broker.stop()


@contextlib.contextmanager
def simulated_gateway(*users: User, logged_in: bool = True, **ini: str) -> Iterator[SimulatedGateway]:
    """A broker and, unless told otherwise, one gateway that is logged in at it. `ini`: keys of IBC's config.ini."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    chosen = {user.user_id: user for user in users or (TRADER, PUSHER)}
    broker = Broker(chosen, login_delay=0.0, push_delay=0.05, second_factor_seconds=5.0)
    found: SimulatedGateway | None = None
    try:
        ports = asyncio.run_coroutine_threadsafe(broker.start("127.0.0.1", 0, 0), loop).result(10)
        found = SimulatedGateway(loop, broker, ports[0], BrokerControl("127.0.0.1", ports[1]))
        if logged_in:
            found.run(found.open_gateway(**ini))
        yield found
    finally:
        if found is not None:
            found.run(found.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
        CLOCK.real()
