"""How the site as a whole is doing, whichever account asks: when to leave it alone, and how often to try again."""

import math

from qwen_gateway.accounts.breaker import Breaker, counts
from qwen_gateway.accounts.retries import RetryBudget
from qwen_gateway.relay.ports import Ambient
from qwen_gateway.turn.faults import Down, Fault


class Health:
    def __init__(self, ambient: Ambient) -> None:
        self._ambient = ambient
        self.breaker, self.retries = Breaker(), RetryBudget()

    def wake(self) -> None:
        """Whatever the site did until now, it is asked as if it had always been well."""
        self.breaker, self.retries = Breaker(), RetryBudget()

    def check(self) -> None:
        """Raises Down while the site is left alone."""
        if (left := self.breaker.left(self._ambient.now())) is not None:
            raise _down(left)

    def ask(self) -> None:
        """As `check`; who may ask reports what came of it, since after a time of silence one goes before the others."""
        if (left := self.breaker.check(self._ambient.now())) is not None:
            raise _down(left)

    def state(self) -> str:
        """`closed` while the site is asked as usual, `open` while it is left alone, `half_open` while one tries."""
        return self.breaker.state(self._ambient.now())

    def note(self, fault: Fault | None) -> None:
        """What came of a question to the site. A refusal is a sign of life."""
        if fault is not None and counts(fault):
            self.breaker.failed(self._ambient.now())
        else:
            self.breaker.succeeded(self._ambient.now())

    def may_retry(self) -> bool:
        return self.retries.may_retry(self._ambient.now())


def _down(left: float) -> Down:
    wait = float(max(1, math.ceil(left)))
    return Down(
        f"Qwen's site has failed several times in a row. The gateway asks it again in {wait:.0f} s.", retry_after=wait
    )
