"""The broker's users, read once from a file that the sandbox wrote."""

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sandbox.gateway.accounts import is_master

TOTP_STEP = 30  # seconds (RFC 6238, 4.1: the default)
TOTP_DIGITS = 6


class SecondFactor(StrEnum):
    """How a user's login is confirmed. `push`: a tap in the mobile app. `totp`: a code that is typed."""

    NONE = "none"
    PUSH = "push"
    TOTP = "totp"


@dataclass(frozen=True)
class User:
    """One user of the broker with the accounts it may trade. Paper accounts begin with D, live ones with U; a financial
    adviser has a master account as well, F or on paper DF."""

    user_id: str
    password: str = field(repr=False)
    live_accounts: tuple[str, ...]
    paper_accounts: tuple[str, ...]
    second_factor: SecondFactor = SecondFactor.NONE
    totp_secret: str = field(default="", repr=False)  # base32, as authenticator apps take it

    def accounts(self, mode: str) -> tuple[str, ...]:
        """The accounts that a login in this trading mode (`paper` or `live`) sees, a master account first."""
        accounts = self.paper_accounts if mode == "paper" else self.live_accounts
        return tuple(sorted(accounts, key=lambda account: not is_master(account)))

    def confirms(self, code: str, at: float) -> bool:
        """Whether a typed code is right at a time (seconds since the epoch), one step early or late included
        (RFC 6238, 5.2). Never, without a secret."""
        if not self.totp_secret:
            return False
        steps = (at - TOTP_STEP, at, at + TOTP_STEP)
        right = [code_at(self.totp_secret, step).encode() for step in steps]
        return any(secrets.compare_digest(code.encode(), one) for one in right)


def code_at(totp_secret: str, at: float) -> str:
    """The code that an authenticator app shows at a time (RFC 6238, 4.2, over RFC 4226, 5.3)."""
    counter = int(at) // TOTP_STEP
    digest = hmac.digest(base64.b32decode(totp_secret), counter.to_bytes(8, "big"), hashlib.sha1)
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return str(number % 10**TOTP_DIGITS).zfill(TOTP_DIGITS)


def load(path: Path) -> dict[str, User]:
    """Users by user id. Raises KeyError or ValueError when the file is not what the sandbox writes."""
    users: dict[str, User] = {}
    for entry in json.loads(path.read_text(encoding="utf-8"))["users"]:
        user = User(
            user_id=entry["user_id"],
            password=entry["password"],
            live_accounts=tuple(entry["live_accounts"]),
            paper_accounts=tuple(entry["paper_accounts"]),
            second_factor=SecondFactor(entry.get("second_factor", "none")),
            totp_secret=entry.get("totp_secret", ""),
        )
        if user.user_id in users:
            raise ValueError("the users file names the same user id twice")
        if user.second_factor is SecondFactor.TOTP and not user.totp_secret:
            raise ValueError("the users file holds a user with a second factor totp and no totp_secret")
        users[user.user_id] = user
    return users
