"""A login asked from inside the gateway's container: the script against a server of the API, and what is made of it."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deployment.description import Gateway
from healthcheck import inside
from healthcheck.checks import checks_over, session_for
from healthcheck.docker_host import DockerError
from healthcheck.inside import SCRIPT, Answered, ask, ask_beside, read
from healthcheck.observation import CheckName, CheckObservation
from tests.helpers import until
from tests.unit.fake_docker import FakeDocker
from tests.unit.gateways import gateway
from tests.unit.test_healthcheck_status import LINE
from tests.unit.test_monitoring import told_by
from tests.unit.tws_server import Script, TwsServer, closed_port, serving, silent

GATEWAY = gateway()
ID = 950


def printed(server: TwsServer, status: Path = Path("/nowhere"), *, script: str = SCRIPT) -> str:
    command = ["bash", "-c", script, "ask", "127.0.0.1", str(server.port), str(ID), str(status)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def asked(script: Script) -> Answered | None:
    with serving(script) as server:
        return read(printed(server), GATEWAY, ID)


async def verified(server: TwsServer) -> list[CheckObservation]:
    api = GATEWAY.api.model_copy(update={"host": "127.0.0.1", "port": server.port})
    one = GATEWAY.model_copy(update={"api": api})
    async with session_for(one) as session:
        checks = await checks_over(session, one)
    return [check for check in checks if check.name in (CheckName.CONNECTED, CheckName.AUTHENTICATED)]


def test_it_says_what_a_verifier_says() -> None:
    with serving(Script(accounts=["DU1234567", "DU7654321"])) as server:
        answer, [connected, authenticated] = read(printed(server), GATEWAY, ID), asyncio.run(verified(server))
    assert answer is not None
    assert answer.status is None
    assert answer.checks[0].seen == connected.seen.replace("998", str(ID))
    assert answer.checks[0].data.keys() == connected.data.keys()
    assert (answer.checks[1].seen, answer.checks[1].data) == (authenticated.seen, authenticated.data)
    assert [check.reason for check in answer.checks] == [None, None]


def test_nothing_but_the_greeting_and_two_questions_is_sent() -> None:
    with serving() as server:
        printed(server)
        assert server.messages == [["71", "2", str(ID), ""], ["49", "1"]]
        # By a thread of its own, which the end of the script does not wait for.
        until(lambda: server.ended_cleanly == [True], "the server sees the end of the stream")


def test_the_status_line_comes_with_it(tmp_path: Path) -> None:
    (tmp_path / "status").write_text(f"{LINE}\n")
    with serving() as server:
        answer = read(printed(server, tmp_path / "status"), GATEWAY, ID)
    assert answer is not None
    assert answer.status is not None
    assert answer.status.hold == "attempts"


@pytest.mark.parametrize(
    "script",
    [
        Script(notices=[(1100, "Connectivity between IB and Trader Workstation has been lost.")]),
        Script(notices=[(2110, "Connectivity between Trader Workstation and server is broken.")]),
        Script(accounts=["U1234567"]),
        Script(accounts=["DU1234567", "U1234567"]),
        Script(accounts=[]),
        Script(taken={ID}),
        Script(close_after_handshake=True),
        Script(drop_on="49"),
    ],
)
def test_what_is_no_login_in_order_is_no_answer(script: Script) -> None:
    assert asked(script) is None


def test_what_does_not_answer_is_no_answer() -> None:
    with serving(talk=silent) as server:
        # Of those that answer, none is given up so soon: a busy machine may need longer.
        answer = printed(server, script=SCRIPT.replace("-rt 3", "-rt 0.5"))
    assert read(answer, GATEWAY, ID) is None


@pytest.mark.parametrize(
    "text", ["", "\n", "bash: not found", "\nversion\tx\t1\n15\t1\tDU1\n9\t1\t1\n49\t1\t1\n", "v=1\n"]
)
def test_what_something_else_printed_is_no_answer(text: str) -> None:
    assert read(text, GATEWAY, ID) is None


def test_where_docker_cannot_run_it_there_is_no_answer() -> None:
    docker = FakeDocker()
    docker.failing["run"] = DockerError("no bash")
    assert ask(docker, "a" * 64, GATEWAY) is None
    assert ask_beside(docker, "a" * 64, [GATEWAY]) == {}


class Prober(FakeDocker):
    """Runs what it is to run, on this machine."""

    def run(self, container: str, command: Any, *, stderr: bool = False) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_beside_the_prober_all_are_asked_at_once_and_tell_how_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def one(name: str, port: int) -> Gateway:
        return gateway(name=name, api={"network": "a", "host": "127.0.0.1", "port": port, "inner_port": 4002})

    with serving() as well, serving(Script(accounts=["U1234567"])) as wrong, told_by(f"{LINE}\n") as port:
        monkeypatch.setattr(inside, "STATUS_PORT", port)
        gateways = [one("well", well.port), one("wrong", wrong.port), one("away", closed_port())]
        answers = ask_beside(Prober(), "a" * 64, gateways)
        first, last = GATEWAY.client_ids.testing
        assert well.messages == [["71", "2", str((first + last) // 2), ""], ["49", "1"]]
    assert answers.keys() == {"well"}
    assert [check.name for check in answers["well"].checks] == [CheckName.CONNECTED, CheckName.AUTHENTICATED]
    status = answers["well"].status
    assert status is not None
    assert status.hold == "attempts"


class HesitantProber(Prober):
    """Whose shell is interrupted between any two lines that it writes of a gateway, as it may be at any time."""

    HESITATES = r"""
printf() {
	[[ $1 == *"%s\n"* ]] || { builtin printf "$@"; return; }
	local text line
	builtin printf -v text "$@"
	while IFS= read -r line; do builtin printf '%s\n' "$line" && sleep 0.02; done <<<"${text%$'\n'}"
}
"""

    def run(self, container: str, command: Any, *, stderr: bool = False) -> str:
        return super().run(container, [self.HESITATES + word if "\n" in word else word for word in command])


def test_the_answers_of_several_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"follower-{number}" for number in range(4)]
    with serving() as well, told_by(f"{LINE}\n") as port:
        monkeypatch.setattr(inside, "STATUS_PORT", port)
        api = {"network": "a", "host": "127.0.0.1", "port": well.port, "inner_port": 4002}
        answers = ask_beside(HesitantProber(), "a" * 64, [gateway(name=name, api=api) for name in names])
    assert {name: one.status is not None for name, one in answers.items()} == dict.fromkeys(names, True)
