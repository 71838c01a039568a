"""What answers at addresses, told apart by the first bytes. Sends nothing but the API's greeting.

`python -m healthcheck probe`, and `python -m healthcheck.probe` for those who cannot wait for the API client to load:
only the standard library here.
"""

import asyncio
import json
import sys
from collections.abc import Iterable
from enum import StrEnum

GREETING = b"API\0\0\0\0\x09v100..178"


SECONDS = 1.0
"""For the connection, and again for the answer."""


class Answer(StrEnum):
    API = "api"
    OTHER = "other"
    HUNG_UP = "hung_up"
    SILENT = "silent"
    CLOSED = "closed"
    UNREACHABLE = "unreachable"


async def probe(host: str, port: int) -> Answer:
    """Connect and greet."""
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return Answer.CLOSED
    except OSError:  # a timeout is one
        return Answer.UNREACHABLE
    try:
        writer.write(GREETING)
        async with asyncio.timeout(SECONDS):
            head = await reader.read(4)
    except TimeoutError:
        return Answer.SILENT
    except OSError:
        return Answer.HUNG_UP
    finally:
        writer.close()
    if not head:
        return Answer.HUNG_UP
    return Answer.API if head[:2] == b"\0\0" else Answer.OTHER


async def probe_all(addresses: Iterable[str]) -> dict[str, Answer]:
    """The answer of each `HOST:PORT`, all asked at once. Raises ValueError for anything else than an address."""
    split = {address: split_address(address) for address in addresses}
    answers = await asyncio.gather(*(probe(host, port) for host, port in split.values()))
    return dict(zip(split, answers, strict=True))


def split_address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{address}: expected ADDRESS:PORT")
    return host, int(port)


def main(addresses: Iterable[str]) -> None:
    """Prints one JSON object a line. Raises ValueError as `probe_all` does."""
    for address, answer in asyncio.run(probe_all(addresses)).items():
        sys.stdout.write(json.dumps({"address": address, "answer": answer}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
