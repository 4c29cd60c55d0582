"""Lets new requests through when there is more to do than one processor can: bounds what one round of the event
loop does for streams that already run.

Without it, a round of a saturated loop serves every stream that has data, and a new request, which needs a dozen
rounds until its first word, waits for a dozen times that (seven seconds with 2000 streams, measured 2026-11-21).
"""

import asyncio
from collections import deque

PER_ROUND = 200
"""Streams served in one round: about 8 ms of work."""


class Turnstile:
    """`full` and, when it is, `wait`, before each piece of work. Of one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._round = 0.0
        self._served = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def full(self) -> bool:
        """Whether this round has served enough. Counts the caller when it has not."""
        # The loop's clock stands still within a round (uvloop, libuv), which makes it the round's name.
        now = self._loop.time()
        if now != self._round:
            self._round, self._served = now, 0
        self._served += 1
        return self._served > PER_ROUND

    async def wait(self) -> None:
        """Until a later round has room. First come, first served."""
        if not self._waiting:
            self._loop.call_soon(self._release)
        turn = self._loop.create_future()
        self._waiting.append(turn)
        await turn

    def _release(self) -> None:
        for _ in range(min(PER_ROUND, len(self._waiting))):
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
        if self._waiting:
            self._loop.call_soon(self._release)
