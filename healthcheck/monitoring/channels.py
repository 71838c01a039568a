"""Where the watcher sends to: the file with its addresses, and how a text gets there.

An address holds a token. None is ever logged, nor what a library says of a failure, which may repeat it.
"""

import json
import logging
import queue
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter
from tenacity.wait import wait_base

from deployment.description import CHANNELS_FILE

FILE = Path(CHANNELS_FILE)
TIMEOUT = 10.0
"""Seconds for one heartbeat."""
BACK_OFF = wait_exponential_jitter(initial=1, max=60)
"""Seconds between two tries of one message."""
GIVES_UP = 3600.0
"""Seconds after which a message is no news any more."""
HELD_BACK = 100
"""Messages for one channel that answers nothing; a reminder will tell what did not get in."""


class Message(NamedTuple):
    title: str
    body: str
    kind: Literal["failure", "warning", "success", "info"]


class Channel(BaseModel):
    """`secret`: the id of the secret that holds `address`, in apprise's form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret: str
    address: SecretStr


class Channels(BaseModel):
    """`heartbeat`: an outside monitor's, which tells when nothing comes any more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    notify: tuple[Channel, ...] = ()
    heartbeat: SecretStr | None = None


class UndeliveredError(Exception):
    """A message that its channel did not take. Its text says nothing of the address."""


def read(file: Path = FILE) -> Channels:
    """None at all where there is no file. Raises ValueError, without repeating what it holds, and OSError."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Channels()
    try:
        return Channels.model_validate(json.loads(text))
    except (ValidationError, ValueError):
        raise ValueError(f"{file}: not a document of channels") from None


def send(channel: Channel, message: Message) -> None:
    """Raises UndeliveredError."""
    # Half a second and 30 MB, which a watcher that has nobody to tell does without.
    from apprise import Apprise, NotifyType

    for library in ("apprise", "urllib3"):
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
    there = Apprise()
    if not there.add(channel.address.get_secret_value()):
        raise UndeliveredError("apprise does not know such an address")
    if not there.notify(title=message.title, body=message.body, notify_type=NotifyType(message.kind)):
        raise UndeliveredError("it did not take the message")


def beat(address: SecretStr) -> None:
    """One heartbeat. Raises UndeliveredError."""
    try:
        request = urllib.request.Request(address.get_secret_value(), headers={"User-Agent": "ibgw"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            answer.read(1024)
    except (OSError, ValueError):
        raise UndeliveredError("the outside monitor did not answer") from None


class Sender(threading.Thread):
    """Brings messages to one channel, one after the other: what one of them does not take holds up no other."""

    def __init__(
        self, channel: Channel, undelivered: Callable[[Channel], None], back_off: wait_base = BACK_OFF
    ) -> None:
        super().__init__(daemon=True)
        self._channel = channel
        self._undelivered = undelivered
        self._back_off = back_off
        self._messages: queue.Queue[Message] = queue.Queue(HELD_BACK)

    def take(self, message: Message) -> None:
        try:
            self._messages.put_nowait(message)
        except queue.Full:
            self._undelivered(self._channel)

    def run(self) -> None:
        while True:
            message = self._messages.get()
            tries = Retrying(
                retry=retry_if_exception_type(UndeliveredError),
                wait=self._back_off,
                stop=stop_after_delay(GIVES_UP),
                reraise=True,
            )
            try:
                tries(send, self._channel, message)
            except UndeliveredError:
                self._undelivered(self._channel)
