"""What a prober would hand over, and a server that takes what a watcher sends."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from deployment.description import Mode
from healthcheck.monitoring import watcher
from healthcheck.monitoring.handover import CheckSeen, Disk, Farms, GatewaySeen, Seen, Supervised, Window
from healthcheck.observation import CheckName
from healthcheck.reasons import Reason
from healthcheck.verdict import CheckVerdict, GatewayVerdict

SUPERVISED = Supervised.model_validate(
    {"hold": "none", "event": "none", "stopped": "none"}
    | dict.fromkeys(("until", "started", "login", "factor", "due", "done"), 0.0)
    | dict.fromkeys(("attempts", "limit", "logins", "heals", "memory", "clients", "restarts"), 0)
)


def gateway_seen(
    name: str = "main", reason: Reason | None = None, *, warns: bool = False, window: Window = "none", **more: Any
) -> GatewaySeen:
    """One that a trader could use, or that fails for a reason. `warns`: the reason is a warning's alone."""
    name_of_check = CheckName.MARKET_DATA if warns else CheckName.AUTHENTICATED
    verdict = CheckVerdict.PASS if reason is None else CheckVerdict.WARN if warns else CheckVerdict.FAIL
    well = GatewayVerdict.VERIFIED if reason is None else GatewayVerdict.VERIFIED_WITH_WARNINGS
    seen = GatewaySeen(
        gateway=name,
        mode=Mode.PAPER,
        verdict=well if reason is None or warns else GatewayVerdict.FAILED,
        since=0,
        looked=0,
        verified=0,
        checks=(CheckSeen(name=name_of_check, verdict=verdict, reason=reason, duration_ms=12),),
        session=True,
        connectivity=True,
        farms=Farms(),
        clock=0.0,
        window=window,
        planned=None,
        weekly=None,
        memory_limit=0,
        supervised=SUPERVISED,
    )
    return seen.model_copy(update=more)


def seen(*gateways: GatewaySeen, written: float = 0.0) -> Seen:
    return Seen(stack="paper", interval=15, written=written, disk=Disk(size=100, free=50), gateways=gateways)


@dataclass
class Webhook:
    """`refuses`: how many requests it answers with an error first."""

    url: str = ""
    refuses: int = 0
    took: list[tuple[str, str, Any]] = field(default_factory=list)
    """Method, path and body of each."""

    @property
    def titles(self) -> list[str]:
        return [body["title"] for method, _, body in self.took if method == "POST"]


@contextmanager
def webhook(refuses: int = 0, host: str = "127.0.0.1") -> Iterator[Webhook]:
    hook = Webhook(refuses=refuses)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            if hook.refuses:
                hook.refuses -= 1
                self.send_response(503)
            else:
                document = json.loads(body) if body.startswith("{") else body
                hook.took.append((self.command, self.path, document))
                self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer((host, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        hook.url = f"{host}:{server.server_address[1]}"
        yield hook
        server.shutdown()


@contextmanager
def told_of(file: Path) -> Iterator[str]:
    """Host and port of what tells Prometheus of that file, as a watcher does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, text = watcher.page(self.path, file)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
