"""IBC's command server: lines of text on a port that is closed unless `CommandServerPort` names one.

Sources: CommandServer, CommandChannel, CommandDispatcher, StopTask and RestartTask of IBC 3.24. A missing key means the
default: no port, all addresses, nobody but this machine, no prompt, no INFO lines.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

from . import console
from .settings import Settings

NOT_IMPLEMENTED = ("PAUSE", "RECONNECTDATA", "RECONNECTACCOUNT")


class Commanded(Protocol):
    """What the commands act on."""

    @property
    def deaf(self) -> bool:
        """Whether the program hangs so that no command is read."""
        ...

    def stop(self) -> None: ...

    def restart(self) -> None:
        """Restarts as soon as somebody is logged in."""
        ...


class CommandServer:
    def __init__(self, settings: Settings, program: Commanded) -> None:
        self._program = program
        self._port = settings.number("CommandServerPort", 0)
        self._address = settings.text("BindAddress")
        self._control_from = settings.text("ControlFrom")
        self._prompt = settings.text("CommandPrompt")
        self._suppress_info = settings.flag("SuppressInfoMessages", True)
        self._server: asyncio.Server | None = None
        self._running: set[str] = set()  # STOP, RESTART: each happens once in a process

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        if self._port == 0:
            console.log("CommandServer is not started because the port is not configured")
            yield
            return
        console.log(f"CommandServer is starting with port {self._port}")
        try:
            self._server = await asyncio.start_server(self._serve, self._address or None, self._port)
        except OSError as problem:
            console.error(f"An exception has occurred: java.net.BindException: {problem.strerror}")
            console.log("CommandServer failed to create socket")
            console.log("CommandServer cannot process commands")
            console.log("CommandServer is shutdown")
            yield
            return
        # Without a BindAddress IBC lists the addresses of all interfaces.
        where = f"address: {self._address}" if self._address else "addresses: 0.0.0.0;"
        console.log(f"CommandServer listening on {where} port: {self._port}")
        console.log("CommandServer started and is ready to accept commands")
        try:
            yield
        finally:
            self.close()

    def close(self) -> None:
        if self._server is not None:
            console.log("CommandServer closing")
            self._server.close()
            self._server = None
            console.log("CommandServer is shutdown")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")[0]
        console.log(f"CommandServer: ControlFrom setting = {self._control_from}")
        try:
            if not await self._permitted(peer):
                console.log(f"CommandServer denied access to: /{peer}")
                return
            console.log(f"CommandServer accepted connection from: /{peer}")
            if self._program.deaf:
                await asyncio.Event().wait()
            self._info(writer, "IBC Command Server")
            with contextlib.suppress(ConnectionError):
                await self._dispatch(reader, writer)
            self._close_channel(writer)
        finally:
            writer.close()

    async def _permitted(self, peer: str) -> bool:
        """Its own address, loopback, and what ControlFrom lists, by address or by name."""
        allowed = self._control_from.lower().split(",")
        if peer in (self._address, "127.0.0.1", *allowed):
            return True
        name, _ = await asyncio.get_running_loop().getnameinfo((peer, 0))
        return name.lower() in allowed

    def _close_channel(self, writer: asyncio.StreamWriter) -> None:
        if not writer.is_closing():
            console.log("Closing command channel")
            writer.close()

    def _info(self, writer: asyncio.StreamWriter, text: str) -> None:
        if not self._suppress_info:
            writer.write(f"INFO {text}\n".encode())

    async def _dispatch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            command = line.decode(errors="replace").rstrip("\r\n")
            if command.strip():
                console.log(f"CommandServer received command: {command}")
                match command.upper():
                    case "EXIT":
                        writer.write(b"OK Goodbye\n")
                        return
                    case "STOP":
                        self._stop(writer)
                        return
                    case "RESTART":
                        await self._restart(writer)
                        return
                    case "ENABLEAPI":
                        writer.write(b"ERROR ENABLEAPI is not valid for the IB Gateway\n")
                    case name if name in NOT_IMPLEMENTED:
                        console.raw(f"the simulator does not implement the command {name}")
                        writer.write(b"ERROR not implemented by the simulator\n")
                    case _:
                        writer.write(b"ERROR Command invalid\n")
                        console.error(f"CommandServer: invalid command received: {command}")
            writer.write(self._prompt.encode())

    def _begun(self, writer: asyncio.StreamWriter, verb: str) -> bool:
        """Whether a task was under way already; says so."""
        if verb in self._running:
            console.log(f"{verb} already in progress")
            writer.write(f"ERROR {verb} already in progress\n".encode())
            return True
        self._running.add(verb)
        return False

    def _stop(self, writer: asyncio.StreamWriter) -> None:
        if self._begun(writer, "STOP"):
            return
        self._info(writer, "Closing IBC")
        writer.write(b"OK Shutting down: STOP command\n")
        self._close_channel(writer)
        self._program.stop()

    async def _restart(self, writer: asyncio.StreamWriter) -> None:
        console.log("RestartTask: pauseOnly = false")
        console.log("RestartTask: verb = RESTART")
        if self._begun(writer, "RESTART"):
            return
        self._info(writer, "Restarting TWS")
        # Before it looks whether there is anything to restart.
        writer.write(b"OK RESTART in progress\n")
        self._program.restart()
        # The channel is closed once the menu item was clicked, with which the program ends.
        await asyncio.Event().wait()
