"""The broker's process: links from gateways and the control port.

A gateway opens one TCP connection for each login and keeps it for as long as the session lasts. It sends objects with a
`type`, the broker objects with an `event`:

    login              -> rejected | failed | locked | unavailable | token-refused | (closed without a word)
                          | second-factor, second-factor-closed | existing-session, give-way | accepted
    ask                -> answer
    logout             -> (closed)
    (nothing)          -> state, notice, restart, other-session: what changes at the broker reaches gateways at once
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sandbox.gateway import jsonlines, notices
from sandbox.gateway.notices import Notice

from . import logins, scenarios
from .clock import Clock
from .logins import UserState, Verdict
from .market import Market
from .scenarios import Accounts, Api, Connectivity, Data, Push
from .service import Service
from .users import SecondFactor, User

log = logging.getLogger("broker")

SECOND_FACTOR_SECONDS = 180  # IBC's default SecondFactorAuthenticationTimeout


@dataclass(eq=False)
class Link:
    """One gateway's connection, from its login on."""

    writer: asyncio.StreamWriter
    state: UserState
    mode: str
    existing: str  # the gateway's ExistingSessionDetectedAction
    token: str = ""
    push_answer: asyncio.Future[bool] | None = field(default=None, repr=False)

    def send(self, message: jsonlines.Message) -> None:
        if not self.writer.is_closing():
            self.writer.write(jsonlines.encode(message))


class Broker:
    """All of the broker's state. Two listeners are opened by `start`."""

    def __init__(
        self,
        users: dict[str, User],
        *,
        seed: int = 1,
        login_delay: float = 0.1,
        push_delay: float = 1.0,
        second_factor_seconds: float = SECOND_FACTOR_SECONDS,
        clock: Clock | None = None,
        reload: Callable[[], dict[str, User]] | None = None,
    ) -> None:
        """`reload` reads the users anew, for the control command `reload-users`."""
        self.clock = clock or Clock()
        self._reload = reload
        self.states = {user_id: UserState(user) for user_id, user in users.items()}
        self.service = Service(Market(seed), self.clock)
        self.unknown_user_attempts = 0
        self._login_delay = login_delay
        self._push_delay = push_delay
        self._second_factor_seconds = second_factor_seconds
        self._sessions: dict[tuple[str, str], Link] = {}
        self._pending: set[Link] = set()
        self._servers: list[asyncio.Server] = []
        self._connections: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def start(self, host: str, port: int, control_port: int) -> tuple[int, int]:
        """Listens for gateways and for control clients; returns both ports (0 asks for a free one)."""
        gateways = await asyncio.start_server(self._on_gateway, host, port, limit=jsonlines.LINE_LIMIT)
        controls = await asyncio.start_server(self._on_control, host, control_port, limit=jsonlines.LINE_LIMIT)
        self._servers = [gateways, controls]
        return gateways.sockets[0].getsockname()[1], controls.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Closes both ports and every connection, and waits until all are served out."""
        for server in self._servers:
            server.close()
        for writer in self._connections.values():
            writer.close()
        if self._connections:
            await asyncio.wait(self._connections)

    @contextlib.contextmanager
    def _connection(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            yield
        finally:
            del self._connections[task]
            writer.close()

    # gateways

    async def _on_gateway(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link: Link | None = None
        with self._connection(writer):
            jsonlines.keep_alive(writer)
            try:
                form = await jsonlines.read(reader)
                if form is None or form.get("type") != "login":
                    return
                await asyncio.sleep(self._login_delay)
                link = await self._login(form, reader, writer)
                if link is not None:
                    await self._session(link, reader)
            except (ValueError, KeyError, OSError) as problem:
                log.warning("closing a gateway's link: %r", problem)
            finally:
                if link is not None:
                    self._end(link)

    async def _login(
        self, form: jsonlines.Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Link | None:
        """Takes one submitted form through to a session, or answers why not and returns None."""
        state = self.states.get(form["user_id"])
        if state is None:
            self.unknown_user_attempts += 1
            writer.write(jsonlines.encode({"event": Verdict.REJECTED}))
            await self._await_end(reader)
            return None
        link = Link(writer, state, form["mode"], form["existing"])
        token = form.get("token")
        if token:
            return self._soft_login(link, token)
        verdict = state.judge(form["password"], self.clock.now())
        log.info("login form for %s: %s", link.mode, verdict)
        if verdict is Verdict.NO_ANSWER:
            return None
        if verdict is not Verdict.PASSWORD_OK:
            text = logins.waiting_text(state.locked_until - self.clock.now()) if verdict is Verdict.LOCKED else None
            link.send({"event": verdict, "text": text})
            await self._await_end(reader)
            return None
        self._pending.add(link)
        try:
            if not await self._second_factor(link, reader) or not await self._one_session(link, reader):
                return None
        finally:
            self._pending.discard(link)
        link.token = state.new_token(link.mode)
        state.counters.logins += 1
        self._begin(link)
        return link

    def _soft_login(self, link: Link, token: str) -> Link | None:
        if link.state.tokens.get(token) != link.mode:
            link.send({"event": "token-refused"})
            return None
        link.token = token
        link.state.counters.soft_logins += 1
        self._begin(link)
        return link

    async def _await_end(self, reader: asyncio.StreamReader) -> None:
        """Leaves the link open until the gateway closes it, so that an answer is never lost in a reset."""
        while await jsonlines.read(reader) is not None:
            pass

    async def _second_factor(self, link: Link, reader: asyncio.StreamReader) -> bool:
        push = link.state.conditions.push
        if push is Push.AS_USER and link.state.user.second_factor is SecondFactor.NONE:
            return True
        link.state.counters.second_factor_prompts += 1
        link.push_answer = asyncio.get_running_loop().create_future()
        link.send({"event": "second-factor"})
        gone = asyncio.ensure_future(self._await_end(reader))
        started = self.clock.now()
        try:
            approved, elapsed = await self._push_outcome(link, push, gone, started)
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone
            link.push_answer = None
        link.send({"event": "second-factor-closed", "approved": approved, "elapsed": elapsed})
        if not approved:
            await self._await_end(reader)
        return approved

    async def _push_outcome(
        self, link: Link, push: Push, gone: asyncio.Future[None], started: float
    ) -> tuple[bool, int]:
        """Whether the push was approved, and after how many seconds as the gateway is to see it."""
        assert link.push_answer is not None
        if push is not Push.PENDING:
            await asyncio.wait({gone}, timeout=self._push_delay)
            elapsed = SECOND_FACTOR_SECONDS if push is Push.UNANSWERED else int(self._push_delay)
            return push is Push.AS_USER and not gone.done(), elapsed
        waiting: set[asyncio.Future[Any]] = {gone, link.push_answer}
        await asyncio.wait(waiting, timeout=self._second_factor_seconds, return_when=asyncio.FIRST_COMPLETED)
        if link.push_answer.done():
            return link.push_answer.result() and not gone.done(), int(self.clock.now() - started)
        return False, SECOND_FACTOR_SECONDS

    async def _one_session(self, link: Link, reader: asyncio.StreamReader) -> bool:
        """One session a user: who gives way depends on both sides' ExistingSessionDetectedAction."""
        other = self._sessions.get((link.state.user.user_id, link.mode))
        other_action = "primary" if link.state.conditions.competing_session else other.existing if other else None
        if other_action is None:
            return True
        link.send({"event": "existing-session"})
        if link.existing in ("manual", "secondary"):
            await self._await_end(reader)
            return False
        if logins.existing_prevails(other_action):
            if other is not None:
                other.send({"event": "other-session", "continue": True})
            link.send({"event": "give-way"})
            await self._await_end(reader)
            return False
        if other is not None:
            other.send({"event": "other-session", "continue": False})
            self._end(other)
        return True

    def _begin(self, link: Link) -> None:
        self._sessions[link.state.user.user_id, link.mode] = link
        link.send({"event": "accepted", "token": link.token, "state": self._api_state(link)})

    def _end(self, link: Link) -> None:
        key = (link.state.user.user_id, link.mode)
        if self._sessions.get(key) is link:
            del self._sessions[key]

    async def _session(self, link: Link, reader: asyncio.StreamReader) -> None:
        while (message := await jsonlines.read(reader)) is not None:
            if message["type"] == "logout":
                link.state.counters.logouts += 1
                if not message.get("keep_token"):
                    link.state.tokens.pop(link.token, None)
                return
            if message["type"] != "ask":
                raise ValueError(f"unknown type {message['type']!r}")
            answer = self.service.answer(link.state, self._accounts(link), message["what"], message["request"])
            link.send({"event": "answer", "id": message["id"], "answer": answer})
            await link.writer.drain()

    # what a session sees

    def _accounts(self, link: Link) -> tuple[str, ...]:
        accounts = link.state.user.accounts(link.mode)
        if link.state.conditions.accounts is Accounts.NONE:
            return ()
        if link.state.conditions.accounts is Accounts.SWAPPED:
            return tuple(name[1:] if name.startswith("D") else f"D{name}" for name in accounts)
        return accounts

    def _api_state(self, link: Link) -> jsonlines.Message:
        conditions = link.state.conditions
        return {
            "accounts": list(self._accounts(link)),
            "api": conditions.api,
            "read_only": conditions.read_only,
            "delay": conditions.delay,
            "connected": conditions.connectivity is not Connectivity.LOST,
            "greeting": [list(notice) for notice in greeting(conditions)],
        }

    def set_scenario(self, state: UserState, name: str) -> None:
        """Puts a user into a scenario and tells its gateways. Raises KeyError for an unknown scenario."""
        before = state.conditions
        state.set_scenario(name, self.clock.now())
        news = transition(before, state.conditions)
        for link in self._sessions.values():
            if link.state is not state:
                continue
            link.send({"event": "state", "state": self._api_state(link)})
            for notice in news:
                link.send({"event": "notice", "code": notice.code, "text": notice.text})
            if state.conditions.soft_restart:
                link.send({"event": "restart"})

    # control

    async def _on_control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._connection(writer):
            try:
                while (command := await jsonlines.read(reader)) is not None:
                    writer.write(jsonlines.encode(self._reply(command)))
                    await writer.drain()
            except (ValueError, ConnectionError) as problem:
                log.warning("closing a control connection: %r", problem)

    def _reply(self, command: jsonlines.Message) -> jsonlines.Message:
        try:
            return {"ok": True, "result": self._control(command)}
        except KeyError as problem:
            return {"ok": False, "error": problem.args[0]}

    def _control(self, command: jsonlines.Message) -> Any:
        commands: dict[str, Callable[[jsonlines.Message], Any]] = {
            "scenario": self._control_scenario,
            "second-factor": self._control_second_factor,
            "reload-users": lambda _: self.reload_users(),
            "status": lambda _: self.status(),
        }
        if command.get("command") not in commands:
            raise KeyError(f"unknown command {command.get('command')!r}; expected one of {', '.join(commands)}")
        return commands[command["command"]](command)

    def _chosen(self, user_id: str | None) -> list[UserState]:
        if user_id is None:
            return list(self.states.values())
        if user_id not in self.states:
            raise KeyError("unknown user id")
        return [self.states[user_id]]

    def _control_scenario(self, command: jsonlines.Message) -> None:
        name = command["name"]
        if name not in scenarios.CONDITIONS:
            raise KeyError(f"unknown scenario {name!r}; expected one of {', '.join(scenarios.CONDITIONS)}")
        for state in self._chosen(command.get("user_id")):
            self.set_scenario(state, name)

    def _control_second_factor(self, command: jsonlines.Message) -> int:
        """Answers the waiting push messages; returns how many there were."""
        states = self._chosen(command.get("user_id"))
        answered = 0
        for link in self._pending:
            if link.state in states and link.push_answer is not None and not link.push_answer.done():
                link.push_answer.set_result(bool(command["approve"]))
                answered += 1
        return answered

    def reload_users(self) -> int:
        """Takes in users that are new; known ones keep their state, passwords included. Returns how many were new."""
        users = self._reload() if self._reload is not None else {}
        new = {user_id: UserState(user) for user_id, user in users.items() if user_id not in self.states}
        self.states |= new
        return len(new)

    def status(self) -> dict[str, Any]:
        now = self.clock.now()
        users = {}
        for user_id, state in self.states.items():
            users[user_id] = {
                **state.status(now),
                "sessions": sorted(mode for (owner, mode) in self._sessions if owner == user_id),
                "second_factor_waiting": any(link.state is state and link.push_answer for link in self._pending),
            }
        return {"users": users, "unknown_user_attempts": self.unknown_user_attempts}


def greeting(conditions: scenarios.Conditions) -> list[Notice]:
    """What a gateway tells a client that has just connected."""
    if conditions.connectivity is Connectivity.LOST:
        return [notices.SERVER_BROKEN]
    if conditions.api is not Api.NORMAL:
        return []
    farm = notices.MARKET_FARM_BROKEN if conditions.data is Data.FARM_BROKEN else notices.MARKET_FARM_OK
    return [farm, notices.HISTORY_FARM_OK, notices.DEFINITION_FARM_OK]


def transition(before: scenarios.Conditions, after: scenarios.Conditions) -> list[Notice]:
    """What clients that are connected are told when one state follows another."""
    news = []
    was_lost, is_lost = (state.connectivity is Connectivity.LOST for state in (before, after))
    if is_lost and not was_lost:
        news.append(notices.LOST)
    if was_lost and not is_lost:
        data_lost = after.connectivity is Connectivity.RESTORED_DATA_LOST
        news.append(notices.RESTORED_DATA_LOST if data_lost else notices.RESTORED)
    was_broken, is_broken = (state.data is Data.FARM_BROKEN for state in (before, after))
    if is_broken and not was_broken:
        news.append(notices.MARKET_FARM_BROKEN)
    if was_broken and not is_broken:
        news.append(notices.MARKET_FARM_OK)
    return news
