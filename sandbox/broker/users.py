"""The broker's users, read once from a file that the sandbox wrote."""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class SecondFactor(StrEnum):
    """How a user's login is confirmed. `push`: a tap in the mobile app."""

    NONE = "none"
    PUSH = "push"


@dataclass(frozen=True)
class User:
    """One user of the broker with the accounts it may trade. Paper accounts begin with D, live ones with U."""

    user_id: str
    password: str
    live_accounts: tuple[str, ...]
    paper_accounts: tuple[str, ...]
    second_factor: SecondFactor = SecondFactor.NONE

    def accounts(self, mode: str) -> tuple[str, ...]:
        """The accounts that a login in this trading mode (`paper` or `live`) sees."""
        return self.paper_accounts if mode == "paper" else self.live_accounts


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
        )
        if user.user_id in users:
            raise ValueError("the users file names the same user id twice")
        users[user.user_id] = user
    return users
