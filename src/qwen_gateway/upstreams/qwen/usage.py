"""Tokens of an answer, added up over its rounds.

Counts restart with each round (seen in the search recording, 2026-09-14: 1417/36, then 4519/255), so the last of each
is added. Only the result of a tool ends a round, and only if the counts begin anew behind it: two results in a row, or
counts that go on, are no further round.
"""

import msgspec
from msgspec import Raw, Struct, structs

from qwen_gateway.turn.events import Usage

TOKENS_MAX = 100_000_000
"""More than any model's context: figures above it, or below zero, are not believed."""


class _Details(Struct, frozen=True):
    reasoning_tokens: int = 0


class _CacheDetails(Struct, frozen=True):
    cached_tokens: int = 0


class _Figures(Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    output_tokens_details: _Details = _Details()
    prompt_tokens_details: _CacheDetails = _CacheDetails()


_figures = msgspec.json.Decoder(_Figures).decode
_NONE = Usage(0, 0)


class Rounds:
    """`newest`: the site's latest figures of the running round, as JSON; empty while there are none."""

    def __init__(self) -> None:
        self.newest = Raw()
        self._ended = _NONE  # the round that ended last
        self._before = _NONE  # all before that one

    def end(self) -> None:
        """The result of a tool has come."""
        running = self._running()
        if not _goes_on(self._ended, running):
            self._before = _added(self._before, self._ended)
        self._ended, self.newest = running, Raw()

    def total(self) -> Usage | None:
        """Of all rounds so far. None: the site has told nothing, or nothing that can be believed."""
        running = self._running()
        before = self._before if _goes_on(self._ended, running) else _added(self._before, self._ended)
        total = _added(before, running)
        if not _is_believable(total) or total.input + total.output == 0:
            return None
        several = before.input + before.output > 0
        return structs.replace(total, context=running.input + running.output) if several else total

    def _running(self) -> Usage:
        if not len(self.newest):
            return self._ended
        try:
            one = _figures(self.newest)
        except msgspec.DecodeError:
            return _NONE  # figures that cannot be read must not cost the answer
        reasoning, cached = one.output_tokens_details.reasoning_tokens, one.prompt_tokens_details.cached_tokens
        return Usage(one.input_tokens, one.output_tokens, reasoning, cached)


def _goes_on(before: Usage, after: Usage) -> bool:
    """Whether these are counts of one round. Its input stays, while a new round's holds all that was said before."""
    return after.input == before.input and after.output >= before.output


def _added(one: Usage, other: Usage) -> Usage:
    return Usage(
        one.input + other.input,
        one.output + other.output,
        one.reasoning + other.reasoning,
        one.cached + other.cached,
    )


def _is_believable(usage: Usage) -> bool:
    return all(0 <= n <= TOKENS_MAX for n in (usage.input, usage.output, usage.reasoning, usage.cached))
