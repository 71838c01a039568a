"""`python -m sandbox.broker --listen ADDRESS --users FILE`: runs the broker until it is told to stop."""

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from . import users
from .server import Broker


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox.broker", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS", help="address of both ports")
    parser.add_argument("--port", type=int, default=4000, help="port for gateways")
    parser.add_argument("--control-port", type=int, default=4100, help="port for control clients")
    parser.add_argument("--users", type=Path, required=True, metavar="FILE", help="the users file (JSON)")
    parser.add_argument("--seed", type=int, default=1, help="of the market's prices")
    parser.add_argument("--login-delay", type=float, default=0.1, metavar="SECONDS", help="before a login is answered")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    broker = Broker(
        users.load(options.users),
        seed=options.seed,
        login_delay=options.login_delay,
        reload=lambda: users.load(options.users),
    )
    asyncio.run(_run(broker, options))


async def _run(broker: Broker, options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    port, control_port = await broker.start(options.listen, options.port, options.control_port)
    logging.getLogger("broker").info("listening on %s: gateways %d, control %d", options.listen, port, control_port)
    await stopped.wait()
    await broker.stop()


if __name__ == "__main__":
    main()
