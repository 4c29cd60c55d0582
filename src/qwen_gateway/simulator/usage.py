"""Token counts as the site reports them: growing with every frame of a round.

Here: the counter and its wire form. Not here: when a round ends (`scenes`); a new round takes a new counter,
because the site starts again at every tool round (1417/36, then 4519/255 in the search capture of 14 Sep 2026).
"""

from .frames import Json
from .turns import Usage

HIDDEN_PROMPT = 1000  # the site adds 1.0-2.8 K tokens of its own to every request


class Meter:
    """Counts one token a frame, never beyond the programmed end value, which `settle` reaches."""

    def __init__(self, prompt: str, wanted: Usage, reasons: bool = False) -> None:
        self._wanted = wanted
        self._input = HIDDEN_PROMPT + len(prompt) // 4 if wanted.input is None else wanted.input
        self._output = 0
        self._reasoning = 0
        self._reasons = reasons

    def next_round(self, added: str, wanted: Usage) -> "Meter":
        """The counter of the round after this one. `added`: what the model reads besides what it has said."""
        following = Meter("", wanted)
        if wanted.input is None:
            following._input = self._input + self._output + len(added) // 4
        return following

    def tick(self) -> Json:
        self._output = _capped(self._output + 1, self._wanted.output)
        return self.reading()

    def think(self) -> Json:
        """A step of reasoning: the site counts it into the output as well."""
        self._reasoning = _capped(self._reasoning + 1, self._wanted.reasoning)
        return self.tick()

    def settle_reasoning(self) -> Json:
        if self._wanted.reasoning is not None:
            self._reasoning = self._wanted.reasoning
            self._output = max(self._output, _capped(self._reasoning, self._wanted.output))
        return self.reading()

    def settle(self) -> Json:
        if self._wanted.output is not None:
            self._output = self._wanted.output
        return self.reading()

    def reading(self) -> Json:
        details: Json = {"reasoning_tokens": self._reasoning} if self._reasons else {}
        return {
            "input_tokens": self._input,
            "output_tokens": self._output,
            "characters": 0,
            "total_tokens": self._input + self._output,
            "input_tokens_details": {"text_tokens": self._input},
            "output_tokens_details": {**details, "text_tokens": self._output},
            "prompt_tokens_details": {"cached_tokens": 0},
        }


def _capped(count: int, limit: int | None) -> int:
    return count if limit is None else min(count, limit)
