"""Runs one Pulumi program in this process, as the official language host's executor does.

The request (pulumirpc.RunRequest) arrives on an inherited pipe, after its length in 8 bytes; the pipe stays open as
long as the host lives. Standard output and error are the host's, and so reach the engine.
"""

import asyncio
import logging
import os
import runpy
import signal
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

# The exit codes of pulumi-language-python-exec: for an unhandled exception, which it has logged, and for a RunError,
# which it has logged too, though the host then reports the exit code as a second error.
LOGGED_FAILURE = 32
RUN_ERROR = 1
INTERRUPTED = 130


def main(pipe_number: int) -> int:
    # Interrupted while it waits, the process ends without a word; a program that runs gets Python's KeyboardInterrupt.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Imported before the request arrives: this is most of the program's start-up time.
    import pulumi  # noqa: F401
    from pulumi.runtime.proto import language_pb2

    header = _read(pipe_number, 8)
    if len(header) < 8:
        return 0
    request = language_pb2.RunRequest.FromString(_read(pipe_number, int.from_bytes(header, "big")))
    threading.Thread(target=_leave_with, args=(pipe_number,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return _run(request)


def _read(pipe: int, size: int) -> bytes:
    """`size` bytes, or fewer if the pipe was closed."""
    data = b""
    while len(data) < size and (piece := os.read(pipe, size - len(data))):
        data += piece
    return data


def _leave_with(pipe: int) -> None:
    """Ends this process when the host is gone."""
    os.read(pipe, 1)
    os._exit(1)


def _run(request: Any) -> int:
    import pulumi
    from pulumi.runtime import reset_options, run_in_stack, set_all_config

    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    folder = request.info.program_directory or request.pwd
    os.chdir(folder)
    entry = os.path.join(folder, request.info.entry_point or request.program)
    reset_options(
        project=request.project,
        stack=request.stack,
        organization=request.organization or "organization",
        monitor_address=request.monitor_address,
        engine_address=request.args[0] if request.args else "",
        parallel=request.parallel,
        preview=request.dryRun,
        root_directory=request.info.root_directory,
    )
    set_all_config(dict(request.config), list(request.configSecretKeys))
    sys.path.insert(0, entry if os.path.isdir(entry) else os.path.dirname(entry))
    loop = asyncio.new_event_loop()
    loop.set_default_executor(ThreadPoolExecutor(max_workers=max(request.parallel, 1) * 4))

    def program() -> None:
        runpy.run_path(entry, run_name="__main__")

    try:
        loop.run_until_complete(run_in_stack(program))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return RUN_ERROR
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except KeyboardInterrupt:
        return INTERRUPTED  # by the engine, which knows why
    except BaseException:  # noqa: BLE001 - whatever the program raises is shown, and the engine told
        pulumi.log.error(f"Program failed with an unhandled exception:\n{traceback.format_exc()}")
        return LOGGED_FAILURE
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        loop.close()
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
