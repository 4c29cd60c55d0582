"""An answer that the client has begun: the site is asked to go on behind it, and models like to say it once more."""

_LEAST = 8
"""Characters. Where less than the whole beginning is repeated, a shorter overlap is chance."""
_LONGEST = 8_000


class PrefillCut:
    """Give it the text piece by piece: what repeats `prefill`, or the end of it, is left out at the beginning.

    White space before a repetition goes with it. The same for any cut of the text.
    """

    def __init__(self, prefill: str) -> None:
        text = prefill.rstrip()
        self._spaces = prefill[len(text) :]
        self._prefill = text[-_LONGEST:]
        self._blanks: list[str] = []
        self._held = ""  # what has come behind them
        self._from = 0
        self._deciding = bool(text)
        self._skipping = ""
        self._skipped = 0

    def feed(self, text: str) -> str:
        if not self._deciding:
            return self._without_spaces(text)
        if not self._held:
            start = len(text) - len(text.lstrip())
            self._blanks.append(text[:start])
            text = text[start:]
        self._held += text
        self._from = self._prefill.find(self._held, self._from)
        # Longer repetitions than what has come stay possible while it is found before the prefill's end.
        if not self._held or (self._from >= 0 and self._from + len(self._held) < len(self._prefill)):
            return ""
        return self._decided()

    def close(self) -> str:
        """The text is over: what was held back."""
        return self._decided() if self._deciding else ""

    def _decided(self) -> str:
        self._deciding = False
        held, self._held = self._held, ""
        overlap = _overlap(self._prefill, held)
        if not overlap:
            return "".join([*self._blanks, held])
        self._skipping = self._spaces
        return self._without_spaces(held[overlap:])

    def _without_spaces(self, text: str) -> str:
        """Without the white space that the prefill ends with, of which models keep a part or nothing."""
        most = min(len(text), len(self._skipping) - self._skipped)
        same = next((at for at in range(most) if text[at] != self._skipping[self._skipped + at]), most)
        self._skipped += same
        if same < len(text):
            self._skipping, self._skipped = "", 0
        return text[same:]


def _overlap(prefill: str, answer: str) -> int:
    """Characters of the longest end of `prefill` that `answer` begins with."""
    for length in range(min(len(prefill), len(answer)), 0, -1):
        if length < _LEAST and length < len(prefill):
            return 0
        if answer.startswith(prefill[-length:]):
            return length
    return 0
