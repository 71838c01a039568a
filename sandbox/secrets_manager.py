"""The sandbox's Secrets Manager, a moto server on a loopback port, and the users whose credentials it holds.

Users and passwords are generated for each sandbox and kept in files of mode 0600: one for Secrets Manager, one for the
broker. moto forgets everything when it ends, so it is filled again at each start, with the same version ids: a restart
must not look like a rotated credential.
"""

import base64
import hashlib
import json
import os
import secrets
import sys
import uuid
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, Field, TypeAdapter

from deployment.description import Mode, SecondFactor
from sandbox.processes import Processes, answers
from sandbox.steps import Say

PROCESS = "secrets-manager"
SERVER = Path(__file__).resolve().parent / "secrets_server.py"
START_SECONDS = 60
SEED = "/seed"
"""How the id of the secret with a user's seed ends; before it, that of the user's credentials."""
ACCESS_KEY = "sandbox"
"""moto takes any but that of `sandbox.secrets_server`; botocore insists on one."""


class Content(StrEnum):
    """What a new version of a secret holds."""

    NEW_PASSWORD = "new-password"  # noqa: S105 - a word for one
    WRONG_PASSWORD = "wrong-password"  # noqa: S105 - likewise
    WRONG_MODE = "wrong-mode"
    NO_JSON = "no-json"


class Login(BaseModel):
    """What a stack file says about one gateway's user."""

    secret_id: str
    region: str
    mode: Mode
    second_factor: SecondFactor


class Credential(Login):
    """One user at the broker, and the secret that holds the user's credentials."""

    version_id: str
    user_id: str
    password: str
    account: str
    totp_secret: str = Field(default="", repr=False)
    """What the user's authenticator app would hold, in base32; the gateway's image has no use for it."""
    content: Content = Content.NEW_PASSWORD

    def secret(self) -> str:
        other = Mode.LIVE if self.mode is Mode.PAPER else Mode.PAPER
        mode = other if self.content is Content.WRONG_MODE else self.mode
        password = self.password[::-1] if self.content is Content.WRONG_PASSWORD else self.password
        text = json.dumps({"user_id": self.user_id, "password": password, "trading_mode": mode.value})
        return text[:-1] if self.content is Content.NO_JSON else text

    def user(self) -> dict[str, object]:
        """In the form of the broker's file of users."""
        paper = self.mode is Mode.PAPER
        return {
            "user_id": self.user_id,
            "password": self.password,
            "live_accounts": [] if paper else [self.account],
            "paper_accounts": [self.account] if paper else [],
            "second_factor": self.second_factor.value,
            "totp_secret": self.totp_secret,
        }


Credentials = TypeAdapter(list[Credential])


def new_password() -> str:
    return secrets.token_urlsafe(18)


def generate(login: Login) -> Credential:
    number = "".join(secrets.choice("0123456789") for _ in range(7))
    return Credential(
        **login.model_dump(),
        version_id=str(uuid.uuid4()),
        user_id=f"{login.mode.value}{secrets.token_hex(4)}",
        password=new_password(),
        account=f"{'DU' if login.mode is Mode.PAPER else 'U'}{number}",
        totp_secret=base64.b32encode(secrets.token_bytes(20)).decode(),
    )


class Vault:
    """The generated credentials on disk: `secrets.json` for Secrets Manager, `users.json` for the broker."""

    def __init__(self, folder: Path) -> None:
        self._secrets = folder / "secrets.json"
        self.users = folder / "users.json"

    def credentials(self) -> list[Credential]:
        return Credentials.validate_json(self._secrets.read_text()) if self._secrets.exists() else []

    def add(self, logins: Iterable[Login]) -> list[Credential]:
        """Generates what is new and keeps what is there; returns the new ones."""
        known = {(credential.region, credential.secret_id): credential for credential in self.credentials()}
        before, new = dict(known), []
        for login in logins:
            name = (login.region, login.secret_id)
            if name not in known:
                known[name] = generate(login)
                new.append(known[name])
            known[name] = known[name].model_copy(update={"second_factor": login.second_factor})
        if known != before or not self.users.exists():
            self._write(known.values())
        return new

    def put(self, credential: Credential, content: Content) -> Credential:
        """A new version of what is there for this user, with a new password or with what is wrong about the known one.

        Returns it.
        """
        made = credential.model_copy(update={"version_id": str(uuid.uuid4()), "content": content})
        if content is Content.NEW_PASSWORD:
            made = made.model_copy(update={"password": new_password()})
        self._write([made if one == credential else one for one in self.credentials()])
        return made

    def _write(self, credentials: Iterable[Credential]) -> None:
        every = list(credentials)
        write_private(self._secrets, Credentials.dump_json(every, indent=2).decode())
        write_private(self.users, json.dumps({"users": [credential.user() for credential in every]}, indent=2))


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    os.replace(draft, path)


def endpoint(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def ensure(processes: Processes, vault: Vault, *, port: int, say: Say) -> bool:
    """Starts moto on `port` of 127.0.0.1, if it does not run from the sources of now, and fills it. Returns whether."""
    version = hashlib.sha256(SERVER.read_bytes()).hexdigest()
    if processes.ready(PROCESS, version):
        return False
    say(f"starting Secrets Manager on 127.0.0.1:{port} (about 5 s)")
    processes.start(
        PROCESS,
        [sys.executable, "-m", "sandbox.secrets_server", "--port", str(port)],
        answers=lambda: answers("127.0.0.1", port),
        seconds=START_SECONDS,
        then=lambda: fill(vault.credentials(), port=port),
        version=version,
        cwd=SERVER.parent.parent,
    )
    return True


def fill(credentials: Sequence[Credential], *, port: int) -> None:
    """Puts each secret in, or a new version of it."""
    if not credentials:
        return
    import boto3  # takes most of a second to load, and a sandbox that is up already does not need it

    for credential in credentials:
        client = boto3.client(
            "secretsmanager",
            endpoint_url=endpoint(port),
            region_name=credential.region,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=ACCESS_KEY,
        )
        puts = [(credential.secret_id, credential.secret(), credential.version_id)]
        if credential.second_factor is SecondFactor.TOTP:
            seed = f"{credential.secret_id}{SEED}"
            puts.append((seed, credential.totp_secret, str(uuid.uuid5(uuid.NAMESPACE_URL, seed))))
        for name, text, version in puts:
            try:
                client.create_secret(Name=name, SecretString=text, ClientRequestToken=version)
            except client.exceptions.ResourceExistsException:
                client.put_secret_value(SecretId=name, SecretString=text, ClientRequestToken=version)
