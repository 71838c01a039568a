"""An update that is interrupted while it verifies."""

import asyncio
import os
import signal

import pytest

from infra.verification import interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_verification_and_not_the_program(number: signal.Signals) -> None:
    """So that the verifier's containers are removed before the program ends."""

    async def update() -> bool:
        with interruption() as interrupted:
            assert not interrupted.is_set()
            os.kill(os.getpid(), number)
            return await asyncio.to_thread(interrupted.wait, 10)

    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(update())
    finally:
        loop.close()
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler), "as before"
