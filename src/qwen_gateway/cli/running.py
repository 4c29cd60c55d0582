"""How a command runs until it is stopped: Ctrl-C and SIGTERM are ordinary ends, with exit code 0."""

import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Cancels the work at a signal, unless the gateway has taken over to end by itself.

    The gateway's server catches signals while it runs. When its last answer has ended it gives the handlers back and
    raises the signal once more. That echo must not cut off the cleaning up which follows; a further signal may.
    """

    def __init__(self) -> None:
        self._echo = False
        self._cancel: Callable[[], object] = lambda: None

    def hand_over(self) -> None:
        """The gateway listens, and takes care of signals from now on."""
        self._echo = True

    def at_signals(self, cancel: Callable[[], object]) -> None:
        self._cancel = cancel

    def __call__(self, _number: int, _frame: object) -> None:
        if self._echo:
            self._echo = False
        else:
            self._cancel()


def run(work: Coroutine[object, object, None], stop: Stop | None = None) -> None:
    """Runs `work` to its end, or until a signal cancels it. Raises what `work` raises."""
    import asyncio

    handler = stop or Stop()

    async def until_stopped() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is not None:
            handler.at_signals(lambda: loop.call_soon_threadsafe(task.cancel))
        await work

    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        with suppress(asyncio.CancelledError), asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(until_stopped())
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _loop_factory() -> "Callable[[], asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return None
    return uvloop.new_event_loop
