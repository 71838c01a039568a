"""reachable: the gateway's name resolves on its api network, and its relay accepts.

The image's relay accepts before the login: an open port says nothing of the API behind it.
"""

import time

from healthcheck.checks.context import Context
from healthcheck.observation import Observation


async def look(context: Context) -> Observation:
    started = time.monotonic()
    await context.session.reach()
    latency_ms = round((time.monotonic() - started) * 1000)
    api = context.gateway.api
    return Observation(f"{api.host}:{api.port} accepts", data={"latency_ms": latency_ms})
