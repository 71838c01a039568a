"""The control port's client: puts the broker into scenarios and reads its counters. Blocking sockets."""

import socket
from typing import Any

from sandbox.gateway import jsonlines

from . import scenarios


class ControlError(Exception):
    """The broker refused a command; the message says why."""


class BrokerControl:
    """One broker. Each call opens a connection of its own, so an instance can be kept over a broker's restart.

    Every method raises OSError when the broker does not answer and ControlError when it refuses.
    """

    def __init__(self, host: str, port: int, *, timeout: float = 10.0) -> None:
        self.host = host
        self.port = port
        self.timeout = timeout

    def scenario(self, name: str, user_id: str | None = None) -> None:
        """Puts one user, or all, into a scenario of `scenarios.SCENARIOS`, `NAME` or `NAME:VALUE`."""
        self._call({"command": "scenario", "name": name, "user_id": user_id})

    def clear(self, user_id: str | None = None) -> None:
        """Back to normal."""
        self.scenario(scenarios.NORMAL, user_id)

    def approve(self, user_id: str | None = None) -> int:
        """Taps 'approve' on every waiting push message of a user, or of all; returns how many there were."""
        return int(self._call({"command": "second-factor", "approve": True, "user_id": user_id}))

    def deny(self, user_id: str | None = None) -> int:
        return int(self._call({"command": "second-factor", "approve": False, "user_id": user_id}))

    def type_code(self, code: str, user_id: str) -> bool:
        """Types a code into the user's waiting dialog, as a person at the screen; whether it was there and took it."""
        return bool(self._call({"command": "type-code", "code": code, "user_id": user_id}))

    def clock(self, *, at: float | None = None, speed: float | None = None, real: bool = False) -> dict[str, float]:
        """Moves the broker's clock to a time (seconds since the epoch), lets it run at a multiple of real time, or
        first puts it back to real time; all gateways follow. Returns its `now` and `speed`."""
        found = self._call({"command": "clock", "at": at, "speed": speed, "real": real})
        return {"now": float(found["now"]), "speed": float(found["speed"])}

    def reload_users(self) -> int:
        """Makes the broker read its users file again, with passwords; sessions and counters stay. Returns how many are
        new."""
        return int(self._call({"command": "reload-users"}))

    def status(self) -> dict[str, Any]:
        """`{"users": {user_id: {...}}, "unknown_user_attempts": n}`.

        Each user: `scenario`, `sessions` (trading modes with a session), `stranded` (those whose gateway is gone and
        whose session is not), `attempts` (forms submitted), `logins`,
        `soft_logins` (by session token), `failed_attempts`, `logouts` (those that keep the token too),
        `stranded_sessions` (how many ever went without a logout), `orders` (really placed), `what_ifs`,
        `second_factor_prompts`, `second_factor_waiting`, `locked_for` (seconds).
        """
        result = self._call({"command": "status"})
        assert isinstance(result, dict)
        return result

    def _call(self, command: jsonlines.Message) -> Any:
        with socket.create_connection((self.host, self.port), timeout=self.timeout) as connection:
            connection.sendall(jsonlines.encode(command))
            with connection.makefile("rb") as stream:
                line = stream.readline()
        if not line:
            raise ConnectionError("the broker closed the control connection without an answer")
        reply = jsonlines.decode(line)
        if not reply["ok"]:
            raise ControlError(reply["error"])
        return reply["result"]
