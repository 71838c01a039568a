"""connected: the API answers its handshake and lets us in with a client id of the testing range."""

import time

from healthcheck.checks.context import Context
from healthcheck.observation import Observation


async def look(context: Context) -> Observation:
    started = time.monotonic()
    await context.session.open()
    latency_ms = round((time.monotonic() - started) * 1000)
    version = context.session.server_version
    return Observation(
        f"server version {version}, client id {context.session.client_id}",
        data={"server_version": version, "client_id": context.session.client_id, "latency_ms": latency_ms},
    )
