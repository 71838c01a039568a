"""IBC's command server: lines of text on a port that is closed unless `CommandServerPort` names one.

Sources: CommandServer, CommandChannel, CommandDispatcher and RestartTask of IBC 3.24.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from . import console
from .settings import Settings


@contextlib.asynccontextmanager
async def command_server(settings: Settings, on_restart: Callable[[], bool]) -> AsyncIterator[None]:
    """Serves while the context lasts. `on_restart` restarts the session; False when there is none yet."""
    port = settings.number("CommandServerPort", 0)
    if port == 0:
        console.log("CommandServer is not started because the port is not configured")
        yield
        return
    console.log(f"CommandServer is starting with port {port}")
    address = settings.text("BindAddress", "")
    allowed = settings.text("ControlFrom", "")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")[0]
        console.log(f"CommandServer: ControlFrom setting = {allowed}")
        if peer not in ("127.0.0.1", *allowed.split(",")):
            console.log(f"CommandServer denied access to: /{peer}")
        else:
            console.log(f"CommandServer accepted connection from: /{peer}")
            with contextlib.suppress(ConnectionError):
                await _dispatch(reader, writer, on_restart)
        writer.close()

    server = await asyncio.start_server(serve, address or None, port)
    console.log(f"CommandServer listening on address: {address or '0.0.0.0'} port: {port}")
    console.log("CommandServer started and is ready to accept commands")
    try:
        yield
    finally:
        server.close()
        console.log("CommandServer is shutdown")


async def _dispatch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_restart: Callable[[], bool]) -> None:
    while line := await reader.readline():
        command = line.decode(errors="replace").strip()
        if not command:
            continue
        console.log(f"CommandServer received command: {command}")
        match command.upper():
            case "EXIT":
                writer.write(b"OK Goodbye\n")
                return
            case "RESTART" if on_restart():
                console.log("RestartTask: verb = RESTART")
                writer.write(b"OK RESTART in progress\n")
                return
            case "RESTART":
                # IBC waits for the main window, which there is not before the login.
                await asyncio.Event().wait()
            case "ENABLEAPI":
                writer.write(b"ERROR ENABLEAPI is not valid for the IB Gateway\n")
            case "STOP" | "PAUSE" | "RECONNECTDATA" | "RECONNECTACCOUNT":
                console.raw(f"the simulator does not implement the command {command.upper()}")
                writer.write(b"ERROR not implemented by the simulator\n")
            case _:
                writer.write(b"ERROR Command invalid\n")
                console.error(f"CommandServer: invalid command received: {command}")
