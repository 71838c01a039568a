"""`python -m healthcheck.monitoring.watcher`: tells over HTTP what the prober handed over, and brings what is news to
whom it concerns (healthcheck.monitoring.watching)."""

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType

from deployment.description import MONITORING_PORT
from deployment.trading import ToldHours
from healthcheck.monitoring import channels, handover, metrics
from healthcheck.monitoring.metrics import Configured
from healthcheck.monitoring.pushing import Pushing
from healthcheck.monitoring.watching import Watching, fresh, log

Page = tuple[HTTPStatus, str, str]
"""Status, type and text."""
PLAIN = "text/plain; charset=utf-8"
JSON = "application/json"
HTML = "text/html; charset=utf-8"
NOTHING = Configured()
METRICS = "text/plain; version=0.0.4; charset=utf-8"
ENDS = 5.0
"""Seconds for what was seen last to be written."""


def page(
    path: str,
    file: Path = handover.FILE,
    clock: Callable[[], float] = time.time,
    configured: Configured = NOTHING,
) -> Page:
    """What a path answers, but for the page."""
    if path == "/healthz":
        return HTTPStatus.OK, PLAIN, "ok\n"
    if path not in ("/metrics", "/readyz", "/state.json"):
        return HTTPStatus.NOT_FOUND, PLAIN, "expected /, /metrics, /healthz, /readyz or /state.json\n"
    seen, why = fresh(file, clock())
    if path == "/metrics":
        return HTTPStatus.OK, METRICS, metrics.exposition(metrics.of_seen(seen, clock(), configured))
    if seen is None:
        return HTTPStatus.SERVICE_UNAVAILABLE, PLAIN, f"{why}\n"
    if path == "/readyz":
        return HTTPStatus.OK, PLAIN, "ok\n"
    return HTTPStatus.OK, JSON, json.dumps(seen.model_dump(mode="json", by_alias=True), indent=1) + "\n"


class Handler(BaseHTTPRequestHandler):
    """`watching`, `configured`: of whoever serves."""

    watching: Watching
    configured: Configured
    server_version = "ibgw"
    sys_version = ""
    timeout = 5.0
    """Seconds that a client may take for a request."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/":
            status, kind, text = HTTPStatus.OK, HTML, self.watching.page(time.time())
        else:
            status, kind, text = page(path, configured=self.configured)
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        # Nothing but what is in the page itself, and no script at all.
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: a scrape each 15 s is no news."""


def _leave(_: int, __: FrameType | None) -> None:
    sys.exit(0)


def main(arguments: Sequence[str] | None = None) -> None:
    top = argparse.ArgumentParser(prog="python -m healthcheck.monitoring.watcher", description="Tell of gateways.")
    top.add_argument("--stack", required=True)
    top.add_argument("--alertmanager", action="store_true", help="it tells people; nothing here does")
    top.add_argument("--pushgateway", metavar="URL", help="where to push what /metrics tells, too")
    top.add_argument("--instance", help="what it is called there")
    top.add_argument("--trading-hours", type=ToldHours.model_validate_json, metavar="JSON")
    top.add_argument("--versions-made", type=json.loads, default={}, metavar="JSON", help="seconds by gateway")
    top.add_argument("--image-made", type=float, default=0.0, metavar="SECONDS")
    options = top.parse_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    to = channels.read()
    if options.alertmanager:
        to = to.model_copy(update={"notify": ()})
    watching = Watching(options.stack, to)
    configured = Configured(options.trading_hours, options.versions_made, options.image_made)
    Handler.watching, Handler.configured = watching, configured

    def samples() -> Iterator[metrics.Sample]:
        return metrics.of_seen(fresh(handover.FILE, time.time())[0], time.time(), configured)

    pushing = Pushing(options.pushgateway, options.instance, samples, log) if options.pushgateway else None
    if pushing is not None:
        pushing.start()
    ended = threading.Event()
    watches = threading.Thread(target=watching.run, args=(ended,), daemon=True)
    watches.start()
    server = ThreadingHTTPServer(("", MONITORING_PORT), Handler)
    server.daemon_threads = True
    try:
        server.serve_forever()
    finally:
        ended.set()
        if pushing is not None:
            pushing.end()
        watches.join(ENDS)


if __name__ == "__main__":
    main()
