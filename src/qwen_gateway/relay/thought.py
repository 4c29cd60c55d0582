"""The reasoning of one answer, as far as a call may stand in it that was never written in the answer."""

from collections.abc import Sequence

from qwen_gateway.toolcall.pieces import CallArguments, CallBegan, CallEnded, Out, Stop
from qwen_gateway.toolcall.sieve import Sieve

LONGEST = 64 * 1024
"""Characters of its end in which a call is looked for."""


class Thought:
    """Give it the reasoning piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0

    def feed(self, text: str) -> None:
        self._pieces.append(text)
        self._length += len(text)
        if self._length > 2 * LONGEST:
            self._pieces = ["".join(self._pieces)[-LONGEST:]]
            self._length = LONGEST

    def calls(self, sieve: Sieve, nonce: str) -> tuple[Sequence[Out], bool]:
        """The calls in it, and whether the model meant them: they carry the nonce, and nothing stands behind them.

        sieve: a fresh one, that shows whole calls only.
        """
        text = "".join(self._pieces)[-LONGEST:]
        if "call" not in text.lower():
            return [], False
        marked = text.find(f"[TOOL CALL {nonce}]") if nonce else -1
        found = [*sieve.feed(text[max(0, marked) :]), *sieve.close()]
        after = any(isinstance(one, Stop) and one.reason == "prose_after_call" for one in found)
        calls = [one for one in found if isinstance(one, CallBegan | CallArguments | CallEnded)]
        return calls, marked >= 0 and not after
