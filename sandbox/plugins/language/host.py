"""The language host: answers the engine and starts the program in a process of its own (`program.py`)."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, NoReturn

import grpc
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from sandbox.plugins.language.program import LOGGED_FAILURE
from sandbox.plugins.process import serve
from sandbox.plugins.values import from_struct


class Runner:
    """One process that waits for a program to run. It ends by itself when this process is gone: its pipe closes."""

    def __init__(self) -> None:
        reader, writer = os.pipe()
        command = [sys.executable, "-P", "-u", "-m", "sandbox.plugins.language.program", str(reader)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(reader,))
        os.close(reader)
        self._pipe = os.fdopen(writer, "wb")

    def run(self, request: bytes) -> int:
        """Runs the program that a serialised RunRequest describes; returns the process's exit code."""
        self._pipe.write(len(request).to_bytes(8, "big") + request)
        self._pipe.flush()
        code = self._process.wait()
        self._pipe.close()
        return code


def run() -> NoReturn:
    """Serves the engine until it ends this process."""
    host = _Host()
    serve(lambda server: language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server), before_leaving=host.end)


class _Host(language_pb2_grpc.LanguageRuntimeServicer):
    def __init__(self) -> None:
        self._waiting: SimpleQueue[Runner] = SimpleQueue()
        self._packs: set[subprocess.Popen[bytes]] = set()

    def Handshake(self, request: Any, context: Any) -> Any:
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo()

    def About(self, request: Any, context: Any) -> Any:
        version = ".".join(map(str, sys.version_info[:3]))
        return language_pb2.AboutResponse(executable=sys.executable, version=version)

    def GetRequiredPackages(self, request: Any, context: Any) -> Any:
        """None: nothing is to be downloaded.

        The engine asks this shortly before `Run`, so the program's process starts here: it imports the SDK meanwhile.
        """
        self._waiting.put(Runner())
        return language_pb2.GetRequiredPackagesResponse()

    def GetRequiredPlugins(self, request: Any, context: Any) -> Any:
        return language_pb2.GetRequiredPluginsResponse()

    def GetProgramDependencies(self, request: Any, context: Any) -> Any:
        return language_pb2.GetProgramDependenciesResponse()

    def InstallDependencies(self, request: Any, context: Any) -> Iterator[Any]:
        """Nothing to do: the environment that this host runs in is the program's."""
        yield language_pb2.InstallDependenciesResponse()

    def RuntimeOptionsPrompts(self, request: Any, context: Any) -> Any:
        return language_pb2.RuntimeOptionsResponse()

    def Run(self, request: Any, context: Any) -> Any:
        self._check(request, context)
        runner = Runner() if self._waiting.empty() else self._waiting.get()
        code = runner.run(request.SerializeToString())
        if code == 0:
            return language_pb2.RunResponse()
        if code == LOGGED_FAILURE:
            return language_pb2.RunResponse(bail=True)
        return language_pb2.RunResponse(error=f"program exited with non-zero exit code: {code}")

    def RunPlugin(self, request: Any, context: Any) -> Iterator[Any]:
        self._check(request, context)
        if request.kind == "analyzer":
            yield from self._run_policy_pack(request, context)
            return
        refusal = f"this language host runs policy packs only, not a plug-in of kind {request.kind!r}\n"
        yield language_pb2.RunPluginResponse(stderr=refusal.encode())
        yield language_pb2.RunPluginResponse(exitcode=1)

    def _check(self, request: Any, context: Any) -> None:
        """Ends the call unless the project's runtime options lead the official host into this environment too."""
        refusal = refused_options(from_struct(request.info.options), Path(request.info.root_directory or request.pwd))
        if refusal is not None:
            context.abort(grpc.StatusCode.UNKNOWN, refusal)

    def _run_policy_pack(self, request: Any, context: Any) -> Iterator[Any]:
        """Runs a policy pack and streams what it prints, then its exit code. It ends with the call."""
        folder = Path(request.info.program_directory or request.pwd)
        environment = os.environ | dict(pair.split("=", 1) for pair in request.env)
        command = [sys.executable, "-P", "-u", "-m", "pulumi.policy", *request.args, str(folder)]
        with subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            self._packs.add(process)
            context.add_callback(process.kill)
            pieces: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
            streams = {"stdout": process.stdout, "stderr": process.stderr}
            for name, stream in streams.items():
                threading.Thread(target=_forward, args=(name, stream, pieces), daemon=True).start()
            open_streams = len(streams)
            while open_streams:
                name, piece = pieces.get()
                if piece:
                    yield _PIECE[name](piece)
                else:
                    open_streams -= 1
            yield language_pb2.RunPluginResponse(exitcode=process.wait())

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def end(self) -> None:
        """Ends the policy packs; the programs end by themselves."""
        for process in self._packs:
            process.kill()


def refused_options(options: dict[str, Any], root: Path) -> str | None:
    """Why a project in the folder `root` with these runtime options is not run; None if it is."""
    if options.get("toolchain") == "uv" and shutil.which("uv") is None:
        # The official host's words (sdk/python/toolchain/uv.go).
        return "Could not find `uv` executable.\nInstall uv and make sure is is in your PATH."
    virtualenv = options.get("virtualenv")
    # One that is not there yet the official host has uv make, from the project's lock: this one is the nearest to it.
    to_be_made = virtualenv is not None and options.get("toolchain") == "uv" and not (root / virtualenv).exists()
    if not to_be_made and (virtualenv is None or (root / virtualenv).resolve() != Path(sys.prefix).resolve()):
        return (
            f"the language stand-in runs programs in its own environment only, {sys.prefix}: the runtime options of "
            f"the project in {root} name the virtualenv {virtualenv!r}, and the official host would run another Python"
        )
    return None


_PIECE: dict[str, Callable[[bytes], Any]] = {
    "stdout": lambda piece: language_pb2.RunPluginResponse(stdout=piece),
    "stderr": lambda piece: language_pb2.RunPluginResponse(stderr=piece),
}


def _forward(name: str, stream: IO[bytes], pieces: "SimpleQueue[tuple[str, bytes]]") -> None:
    """Queues each line under the stream's name, and an empty piece at its end."""
    for line in stream:
        pieces.put((name, line))
    pieces.put((name, b""))
