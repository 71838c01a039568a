"""A plug-in's process: it tells the engine its port and serves, until it is told to end or the engine is gone."""

import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import grpc

# The engine works on 4 x cores resources at once by default and reads all secrets at once; a call blocks a thread.
_WORKERS = 128
# Seconds between two looks at the parent. Too long, and a plug-in goes on changing Docker after its engine was killed.
_PARENT_POLL = 0.2
# The engine does not limit a message's size (sdk/go/common/util/rpcutil); neither do we.
_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0))


def serve(register: Callable[[grpc.Server], object], *, before_leaving: Callable[[], None] = lambda: None) -> NoReturn:
    """Serves on a free port of 127.0.0.1 and never returns.

    The process exits at once, without waiting for calls in progress, on SIGINT and SIGTERM (the engine sends the first
    and waits 10 s for it), and when its parent, the engine, is gone: a killed engine cannot tell its plug-ins.
    """

    def leave(*_: object) -> NoReturn:
        before_leaving()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    parent = os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    server = grpc.server(ThreadPoolExecutor(_WORKERS), options=_OPTIONS)
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL)
    leave()
