"""Generated credentials through the whole path, byte for byte: typed, kept in Secrets Manager, read and declared by the
program, read by the gateway's first process and by the image's script, by IBC's reader, and compared by the broker.

Docker itself carries a file of ASCII letters, which tests/engine/test_credentials_rotation.py has it do.
"""

import json
import random
import shlex
import string
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployment.description import PASSWORD_FILE, USER_ID_FILE, Mode, SecondFactor
from operations.credentials import putting, typed
from operations.credentials.place import Place
from operations.credentials.secrets_manager import SecretsManager
from sandbox.broker.users import User
from sandbox.gateway.automation import Automation
from sandbox.gateway.link import BrokerLink
from sandbox.gateway.settings import Settings
from tests.leaks import Scanner
from tests.stack.conftest import Program
from tests.stack.test_program import container
from tests.unit.secrets_manager import Server, served
from tests.unit.simulated_gateway import SimulatedGateway, simulated_gateway
from tests.unit.supervised import Supervised
from tests.unit.test_gateway_sim_login import login_ending
from tests.unit.test_secret_document import NASTY
from tests.unit.test_settings import tracked

IMAGE = Path(__file__).resolve().parents[2] / "sandbox" / "gateway" / "files" / "home" / "ibgateway"
LETTERS = string.ascii_letters + string.digits
EVERYTHING = LETTERS + string.punctuation + " äöüßñéΩ密码パスワード😀"
AT_ONCE = 20
"""Gateways of one stack."""

AS_THE_IMAGE_DOES = f"""
load_attempts
before_login
set +u
envsubst() {{ PYTHONPATH={shlex.quote(str(IMAGE.parents[3]))} {shlex.quote(sys.executable)} -S -c \
    'from gateway.envsubst import main; main()'; }}
source {shlex.quote(str(IMAGE / "scripts" / "common.sh"))}
export TRADING_MODE=paper TWS_INI=jts.ini
apply_settings >/dev/null
"""

Credentials = tuple[str, str]
"""User id and password."""


def value(dice: random.Random) -> str:
    inner = "".join(dice.choices(EVERYTHING, k=dice.randrange(4, 120)))
    return f"{dice.choice(LETTERS)}{dice.randrange(10)}{inner}{dice.choice(LETTERS)}"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served() as found:
        yield found


def kept(server: Server, folder: Path, given: dict[str, Credentials]) -> dict[str, str]:
    """By gateway: what Secrets Manager holds once `ibgw credentials put` has read it from a descriptor."""
    secrets, client, found = SecretsManager("us-east-1"), server.client(), {}
    for name, (user_id, password) in given.items():
        file = folder / "given"
        file.write_text(json.dumps({"user_id": user_id, "password": password, "trading_mode": "paper"}))
        place = Place("paper", name, Mode.PAPER, f"ibgw/paper/{name}", None, SecondFactor.NONE)
        with file.open("rb") as opened:
            document = typed.document(place.secret_id, place.mode, opened.fileno())
        done = putting.put(secrets, place, document, dry_run=False)
        Scanner(user_id, password).check({"what put says": done.human() + done.as_json() + repr(done)})
        found[place.secret_id] = client.get_secret_value(SecretId=place.secret_id)["SecretString"]
    return found


def declared(program: Program, secrets: dict[str, str]) -> dict[str, dict[str, str]]:
    """By gateway: its files' contents, by their paths, as the program declares them."""
    config = tracked("paper")
    main = config["ibgw:gateways"]["main"]
    config["ibgw:gateways"] = {name.rpartition("/")[2]: {**main, "credentials": {"secretId": name}} for name in secrets}
    engine = program.run(config=config, secrets=secrets).engine
    return {
        gateway: {upload["file"]: upload["content"] for upload in container(engine, gateway)["uploads"]}
        for gateway in config["ibgw:gateways"]
    }


def filled_in(box: Supervised, files: dict[str, str]) -> Settings:
    """What IBC reads, after the first process and the image's own script have done their part."""
    for path in (USER_ID_FILE, PASSWORD_FILE):
        assert files[path].isascii()
        (box.home / "secrets" / Path(path).name).write_text(files[path])
    box.bash(AS_THE_IMAGE_DOES)
    return Settings.load(box.home / "ibc" / "config.ini")


def log_in(place: SimulatedGateway, settings: Settings) -> str:
    return place.run(login_ending(Automation(settings, lambda: BrokerLink("127.0.0.1", place.broker_port))))


@pytest.fixture
def box(tmp_path: Path) -> Supervised:
    """With the image's own template."""
    made = Supervised(tmp_path)
    made.template.write_bytes((IMAGE / "ibc" / "config.ini.tmpl").read_bytes())
    (made.settings / "jts.ini").touch()
    return made


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.exhaustive)])
def test_generated_credentials_come_through_byte_for_byte(
    server: Server,
    program: Program,
    box: Supervised,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    count: int,
) -> None:
    for name, setting in (
        ("AWS_ENDPOINT_URL", server.url),
        ("AWS_ACCESS_KEY_ID", "any"),
        ("AWS_SECRET_ACCESS_KEY", "any"),
    ):
        monkeypatch.setenv(name, setting)
    dice = random.Random(count)
    given = {f"g{number}": (value(dice)[:60] + str(number), value(dice)) for number in range(count - len(NASTY))}
    given |= {f"n{number}": (f"nasty{number}", f"{password[:126]}a7") for number, password in enumerate(NASTY)}
    names = list(given)
    users = [
        User(user_id, password, (), (f"DU{number:07}",)) for number, (user_id, password) in enumerate(given.values())
    ]
    with simulated_gateway(*users, logged_in=False) as place:
        for first in range(0, count, AT_ONCE):
            batch = {name: given[name] for name in names[first : first + AT_ONCE]}
            for name, files in declared(program, kept(server, tmp_path, batch)).items():
                settings = filled_in(box, files)
                assert (settings.user_id.encode(), settings.password.encode()) == tuple(
                    text.encode() for text in given[name]
                )
                assert log_in(place, settings) == "logged in"
        counted = place.control.status()["users"]
    assert {name: (found["logins"], found["failed_attempts"]) for name, found in counted.items()} == {
        user.user_id: (1, 0) for user in users
    }
    said = capsys.readouterr()
    every = Scanner(*{text for pair in given.values() for text in pair})
    every.check({"standard output": said.out, "standard error": said.err, "requests": json.dumps(server.trail.events)})
