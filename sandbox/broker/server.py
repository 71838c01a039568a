"""The broker's process: links from gateways and the control port.

A gateway opens one TCP connection for each login and keeps it for as long as the session lasts. It sends objects with a
`type`, the broker objects with an `event`:

    code               -> code-refused, or what follows on an approval
    login              -> clock, then rejected | failed | login-error | locked | unavailable | outdated | blocked
                          | token-refused
                          | (closed without a word) | existing-session | second-factor, second-factor-closed | handoff
                          | contested, give-way | accepted
    ask                -> answer
    logout             -> (closed)
    (nothing)          -> clock, state, notice, restart, taken-over: what changes at the broker reaches gateways at once

Before that, when it starts, it asks over UDP at the same port for the time and for what is to go wrong: a program that
ends before its login, or finds the login server down, must not be seen to have reached anybody by TCP, which is how a
real login is told from none.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from sandbox.gateway import jsonlines, notices, properties
from sandbox.gateway.notices import Notice

from . import logins, scenarios
from .clock import Clock
from .logins import UserState, Verdict
from .market import Market
from .scenarios import Accounts, Api, Conditions, Connectivity, Elsewhere, Event, Farm, Login, Push
from .service import Service
from .users import SecondFactor, User

log = logging.getLogger("broker")

DEVICES = ("IB Key", "Mobile Authenticator App")
SECOND_FACTOR_SECONDS = 180  # IBC's default SecondFactorAuthenticationTimeout


@dataclass(eq=False)
class Link:
    """One gateway's connection, from its login on. It outlives its connection where a session is stranded."""

    writer: asyncio.StreamWriter
    state: UserState
    mode: str
    existing: str  # the gateway's ExistingSessionDetectedAction
    token: str = field(default="", repr=False)
    push_answer: asyncio.Future[bool] | None = field(default=None, repr=False)
    wants_code: bool = False
    logged_out: bool = False
    open_until: float | None = None  # the broker's time; only of a stranded session

    def send(self, message: jsonlines.Message) -> None:
        if not self.writer.is_closing():
            self.writer.write(jsonlines.encode(message))


class Starts(asyncio.DatagramProtocol):
    """Answers gateways that start. `answer` is called with what they sent."""

    def __init__(self, answer: Callable[[bytes], jsonlines.Message]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: Any) -> None:
        assert self._transport is not None
        try:
            self._transport.sendto(json.dumps(self._answer(data)).encode(), address)
        except properties.MalformedEscape as problem:
            log.warning("a gateway starts with a malformed user id: %s", problem)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


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
        self._starts = Starts(self._starting)
        self._connections: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}
        self._gateways: set[asyncio.StreamWriter] = set()

    async def start(self, host: str, port: int, control_port: int) -> tuple[int, int]:
        """Listens for gateways and for control clients; returns both ports (0 asks for a free one)."""
        gateways = await asyncio.start_server(self._on_gateway, host, port, limit=jsonlines.LINE_LIMIT)
        controls = await asyncio.start_server(self._on_control, host, control_port, limit=jsonlines.LINE_LIMIT)
        self._servers = [gateways, controls]
        bound = gateways.sockets[0].getsockname()[1]
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self._starts, local_addr=(host, bound))
        return bound, controls.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Closes both ports and every connection, and waits until all are served out."""
        self._starts.close()
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

    def _starting(self, data: bytes) -> jsonlines.Message:
        """The answer to a gateway that starts and says `IbLoginId=...`, as it stands in IBC's config.ini."""
        state = self.states.get(properties.parse(data).get("IbLoginId", "").strip())
        found = Conditions() if state is None else state.conditions
        return {
            "crash": found.crash,
            "down": found.login is Login.DOWN,
            "form": found.form,
            "deaf": found.deaf,
            "now": int(self.clock.now()),
            "clock": self.clock.setting(),
        }

    async def _on_gateway(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link: Link | None = None
        with self._connection(writer):
            self._gateways.add(writer)
            jsonlines.keep_alive(writer)
            try:
                form = await jsonlines.read(reader)
                if form is None or form.get("type") != "login":
                    return
                writer.write(self._clock_event())
                await asyncio.sleep(self._login_delay)
                link = await self._login(form, reader, writer)
                if link is not None:
                    await self._session(link, reader)
            except (ValueError, KeyError, OSError) as problem:
                log.warning("closing a gateway's link: %r", problem)
            finally:
                self._gateways.discard(writer)
                if link is not None:
                    self._link_ended(link)

    def _clock_event(self) -> bytes:
        return jsonlines.encode({"event": "clock", "clock": self.clock.setting()})

    async def _login(
        self, form: jsonlines.Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Link | None:
        """Takes one submitted form through to a session, or answers why not and returns None."""
        token = form.get("token")
        if token:
            return await self._soft_login(form, token, reader, writer)
        state = self.states.get(form["user_id"])
        if state is None:
            self.unknown_user_attempts += 1
            writer.write(jsonlines.encode({"event": Verdict.REJECTED}))
            await self._await_end(reader)
            return None
        link = Link(writer, state, form["mode"], form["existing"])
        verdict = state.judge(form["password"], self.clock.now())
        log.info("login form for %s: %s", link.mode, verdict)
        if verdict is Verdict.NO_ANSWER:
            return None
        if verdict is not Verdict.PASSWORD_OK:
            link.send({"event": verdict, "text": state.text(verdict, self.clock.now())})
            await self._await_end(reader)
            return None
        self._pending.add(link)
        try:
            if not await self._confirmed(link, reader):
                return None
        finally:
            self._pending.discard(link)
        link.token = state.new_token(link.mode, self.clock.now())
        state.counters.logins += 1
        self._begin(link)
        return link

    async def _confirmed(self, link: Link, reader: asyncio.StreamReader) -> bool:
        """Whether the login survives another session of the user, and the second factor.

        In the order of IBC's TradingLoginHandoffDialogHandler: a user with a second factor is asked a second time
        whether the other session is to end.
        """
        exists = self._open_session(link) is not None or link.state.conditions.elsewhere is not Elsewhere.NONE
        if exists:
            link.send({"event": "existing-session"})
            if link.existing in ("manual", "secondary"):
                await self._await_end(reader)
                return False
        if not await self._second_factor(link, reader):
            return False
        if exists and self._needs_second_factor(link.state):
            link.send({"event": "handoff"})
            if link.existing != "primary":
                await self._await_end(reader)
                return False
        return await self._one_session(link, reader)

    async def _soft_login(
        self, form: jsonlines.Message, token: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Link | None:
        """The token alone says whose session it is: the gateway has no credentials in its hands then."""
        for state in self.states.values():
            if state.accepts(token, form["mode"], self.clock.now()):
                link = Link(writer, state, form["mode"], form["existing"], token)
                state.counters.soft_logins += 1
                self._begin(link)
                return link
        writer.write(jsonlines.encode({"event": "token-refused"}))
        await self._await_end(reader)
        return None

    async def _await_end(self, reader: asyncio.StreamReader) -> None:
        """Leaves the link open until the gateway closes it, so that an answer is never lost in a reset."""
        while await jsonlines.read(reader) is not None:
            pass

    def _needs_second_factor(self, state: UserState) -> bool:
        conditions = state.conditions
        return (
            state.user.second_factor is not SecondFactor.NONE or conditions.totp or conditions.push is not Push.AS_USER
        )

    async def _second_factor(self, link: Link, reader: asyncio.StreamReader) -> bool:
        state = link.state
        if not self._needs_second_factor(state):
            return True
        link.wants_code = state.conditions.totp or (
            state.user.second_factor is SecondFactor.TOTP and state.conditions.push is Push.AS_USER
        )
        state.counters.second_factor_prompts += 1
        link.push_answer = asyncio.get_running_loop().create_future()
        conditions = state.conditions
        devices = DEVICES if conditions.devices else ()
        link.send({"event": "second-factor", "code": link.wants_code, "devices": devices, "meets": conditions.meets})
        gone = asyncio.ensure_future(self._take_codes(link, reader))
        started = self.clock.now()
        try:
            approved, elapsed = await self._outcome(link, gone, started)
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone
            link.push_answer = None
        link.send({"event": "second-factor-closed", "approved": approved, "elapsed": elapsed})
        if not approved:
            await self._await_end(reader)
        return approved

    async def _take_codes(self, link: Link, reader: asyncio.StreamReader) -> None:
        """What is typed into the gateway's dialog, until its connection ends. A wrong one leaves the dialog open."""
        while (message := await jsonlines.read(reader)) is not None:
            if message.get("type") != "code" or not link.wants_code or link.push_answer is None:
                continue
            if not link.state.takes_code(str(message["code"]), self.clock.now()):
                link.send({"event": "code-refused"})
            elif not link.push_answer.done():
                link.push_answer.set_result(True)

    async def _outcome(self, link: Link, gone: asyncio.Future[None], started: float) -> tuple[bool, int]:
        """Whether the login was confirmed, and after how many seconds as the gateway is to see it. A dialog that wants
        a code waits for ever."""
        assert link.push_answer is not None
        push = link.state.conditions.push
        answered: set[asyncio.Future[Any]] = {gone, link.push_answer}
        if link.wants_code:
            await asyncio.wait(answered, return_when=asyncio.FIRST_COMPLETED)
        elif push is Push.PENDING:
            await self._first_of(answered, self._second_factor_seconds)
            if not link.push_answer.done():
                return False, SECOND_FACTOR_SECONDS
        else:
            await self._first_of({gone}, self._push_delay)
            if push is not Push.AS_USER or gone.done():
                return False, SECOND_FACTOR_SECONDS if push is Push.UNANSWERED else int(self.clock.now() - started)
            return True, int(self._push_delay)
        confirmed = link.push_answer.done() and link.push_answer.result() and not gone.done()
        return confirmed, int(self.clock.now() - started)

    async def _first_of(self, waiting: set[asyncio.Future[Any]], seconds: float) -> None:
        """Until one of `waiting` is done, or for so many seconds by the clock."""
        passed = asyncio.ensure_future(self.clock.sleep(seconds))
        try:
            await asyncio.wait({*waiting, passed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            passed.cancel()

    async def _one_session(self, link: Link, reader: asyncio.StreamReader) -> bool:
        """One session a user: who gives way depends on both sides' ExistingSessionDetectedAction. A session whose
        gateway is gone cannot insist."""
        other = self._open_session(link)
        if other is not None and other.open_until is None:
            stays, contested = logins.existing_prevails(other.existing), True
            other.send({"event": "taken-over"})
        else:
            stays = contested = link.state.conditions.elsewhere is Elsewhere.PRIMARY
        if contested:
            link.send({"event": "contested"})
        if stays:
            link.send({"event": "give-way"})
            await self._await_end(reader)
            return False
        if other is not None:
            self._end(other)
        return True

    def _open_session(self, link: Link) -> Link | None:
        """The session that stands where a link's would. One that is stranded ends when its time is up."""
        other = self._sessions.get((link.state.user.user_id, link.mode))
        if other is not None and other.open_until is not None and other.open_until <= self.clock.now():
            self._end(other)
            return None
        return other

    def _begin(self, link: Link) -> None:
        self._sessions[link.state.user.user_id, link.mode] = link
        link.send({"event": "accepted", "token": link.token, "state": self._api_state(link)})

    def _end(self, link: Link) -> None:
        key = (link.state.user.user_id, link.mode)
        if self._sessions.get(key) is link:
            del self._sessions[key]

    def _link_ended(self, link: Link) -> None:
        stranded = link.state.conditions.stranded
        lost = not link.logged_out and self._open_session(link) is link
        if lost:
            link.state.counters.stranded_sessions += 1
        if stranded and lost:
            link.open_until = self.clock.now() + stranded
        else:
            self._end(link)

    async def _session(self, link: Link, reader: asyncio.StreamReader) -> None:
        while (message := await jsonlines.read(reader)) is not None:
            if message["type"] == "logout":
                link.logged_out = True
                link.state.counters.logouts += 1
                if not message.get("keep_token"):
                    link.state.tokens.pop(link.token, None)
                return
            if message["type"] != "ask":
                raise ValueError(f"unknown type {message['type']!r}")
            what, request = message["what"], message["request"]
            if what == "quote" and self._data_is_elsewhere(link):
                answer: jsonlines.Message = {"error": list(notices.COMPETING)}
            else:
                answer = self.service.answer(link.state, self._accounts(link), what, request)
            link.send({"event": "answer", "id": message["id"], "answer": answer})
            await link.writer.drain()

    # what a session sees

    def _data_is_elsewhere(self, link: Link) -> bool:
        """A paper account has the live account's market data, and gets none while the user's live session is open on
        another machine (QuantConnect/Lean.Brokerages.InteractiveBrokers#140, extrange/ibkr-docker#102)."""
        return link.mode == "paper" and (link.state.user.user_id, "live") in self._sessions

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
            "memory_growth": conditions.memory_growth,
            "deaf": conditions.deaf,
            "ends": conditions.ends,
        }

    def set_scenario(self, state: UserState, name: str) -> None:
        """Puts a user into a scenario and tells its gateways. Raises ValueError for an unknown scenario or value."""
        before = state.conditions
        state.set_scenario(name, self.clock.now())
        after = state.conditions
        news = transition(before, after)
        for link in [link for link in self._sessions.values() if link.state is state]:
            link.send({"event": "state", "state": self._api_state(link)})
            for notice in news:
                link.send({"event": "notice", "code": notice.code, "text": notice.text})
            self._happens(link, after)

    def _happens(self, link: Link, conditions: Conditions) -> None:
        """What a scenario does to an open session when it is set."""
        if conditions.event is Event.SOFT_RESTART:
            link.send({"event": "restart"})
        if conditions.event is Event.WEEK_ENDS:
            link.state.revoke(link.mode)
            self._end(link)
            link.writer.close()
        if conditions.elsewhere is Elsewhere.TAKES_OVER:
            link.send({"event": "taken-over"})
            if not logins.existing_prevails(link.existing):
                self._end(link)

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
        except (KeyError, ValueError) as problem:
            return {"ok": False, "error": problem.args[0]}

    def _control(self, command: jsonlines.Message) -> Any:
        commands: dict[str, Callable[[jsonlines.Message], Any]] = {
            "scenario": self._control_scenario,
            "second-factor": self._control_second_factor,
            "type-code": self._control_type_code,
            "clock": self._control_clock,
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
        scenarios.conditions(command["name"])  # refused before any user is in it
        for state in self._chosen(command.get("user_id")):
            self.set_scenario(state, command["name"])

    def _control_second_factor(self, command: jsonlines.Message) -> int:
        """Answers the waiting push messages; returns how many there were."""
        states = self._chosen(command.get("user_id"))
        answered = 0
        for link in self._pending:
            if link.state in states and not link.wants_code and link.push_answer and not link.push_answer.done():
                link.push_answer.set_result(bool(command["approve"]))
                answered += 1
        return answered

    def _control_type_code(self, command: jsonlines.Message) -> bool:
        """Types a code into the waiting dialogs of a user; whether one took it. A wrong one leaves them open."""
        (state,) = self._chosen(command["user_id"])
        right = state.user.confirms(command["code"], self.clock.now())
        waiting = [link for link in self._pending if link.state is state and link.wants_code and link.push_answer]
        for link in waiting:
            if not right:
                state.counters.failed_attempts += 1
            elif link.push_answer is not None and not link.push_answer.done():
                link.push_answer.set_result(True)
        return right and bool(waiting)

    def _control_clock(self, command: jsonlines.Message) -> dict[str, float]:
        """Moves the clock or changes its speed, where asked to, and tells every gateway; returns what it shows."""
        at, speed = command.get("at"), command.get("speed")
        if command.get("real"):
            self.clock.real()
        if at is not None or speed is not None:
            self.clock.set(at, speed)
        if command.get("real") or at is not None or speed is not None:
            for writer in self._gateways:
                if not writer.is_closing():
                    writer.write(self._clock_event())
        return {"now": self.clock.now(), "speed": self.clock.speed}

    def reload_users(self) -> int:
        """Takes in users that are new, and known ones' new passwords; their state stays. Returns how many were new."""
        users = self._reload() if self._reload is not None else {}
        for user_id in users.keys() & self.states.keys():
            self.states[user_id].user = users[user_id]
        new = {user_id: UserState(user) for user_id, user in users.items() if user_id not in self.states}
        self.states |= new
        return len(new)

    def status(self) -> dict[str, Any]:
        now = self.clock.now()
        users = {}
        for user_id, state in self.states.items():
            links = [link for link in list(self._sessions.values()) if link.state is state and self._open_session(link)]
            users[user_id] = {
                **state.status(now),
                "sessions": sorted(link.mode for link in links if link.open_until is None),
                "stranded": sorted(link.mode for link in links if link.open_until is not None),
                "second_factor_waiting": any(link.state is state and link.push_answer for link in self._pending),
            }
        return {"users": users, "unknown_user_attempts": self.unknown_user_attempts}


FARMS = {
    Farm.MARKET: (notices.MARKET_FARM_BROKEN, notices.MARKET_FARM_OK),
    Farm.HISTORY: (notices.HISTORY_FARM_BROKEN, notices.HISTORY_FARM_OK),
    Farm.DEFINITION: (notices.DEFINITION_FARM_BROKEN, notices.DEFINITION_FARM_OK),
}


def greeting(conditions: Conditions) -> list[Notice]:
    """What a gateway tells a client that has just connected."""
    if conditions.connectivity is Connectivity.LOST:
        return [notices.SERVER_BROKEN]
    if conditions.api is not Api.NORMAL:
        return []
    return [broken if farm in conditions.broken_farms else ok for farm, (broken, ok) in FARMS.items()]


def transition(before: Conditions, after: Conditions) -> list[Notice]:
    """What clients that are connected are told when one state follows another."""
    news = []
    was_lost, is_lost = (state.connectivity is Connectivity.LOST for state in (before, after))
    if is_lost and not was_lost:
        news.append(notices.LOST)
    if was_lost and not is_lost:
        data_lost = after.connectivity is Connectivity.RESTORED_DATA_LOST
        news.append(notices.RESTORED_DATA_LOST if data_lost else notices.RESTORED)
    for farm, (broken, ok) in FARMS.items():
        if farm in after.broken_farms and farm not in before.broken_farms:
            news.append(broken)
        if farm in before.broken_farms and farm not in after.broken_farms:
            news.append(ok)
    return news
