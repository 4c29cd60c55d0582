"""Stop sequences, which the site does not know: the visible text ends before the first of them.

Reasoning and the arguments of calls are not visible text: they are not to be given here.
"""

from collections import deque
from collections.abc import Sequence


class StopCut:
    """Give it the text piece by piece. The same for any cut of the text, in linear time.

    The sequence that is complete first ends the text, as it would have ended the generation; of several that are
    complete at the same character, the longest. `stopped_by`: which one it was.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self._next, self._depth, self._ends = _automaton([one for one in sequences if one])
        self._held = ""
        self._state = 0
        self.stopped_by: str | None = None

    def feed(self, text: str) -> str:
        """What may be shown by now. Held back is what may be the beginning of a sequence."""
        if self.stopped_by is not None:
            return ""
        held = self._held + text
        start = len(self._held)
        state = self._state
        for place in range(start, len(held)):
            state = self._next[state].get(held[place], 0)
            if (found := self._ends[state]) is not None:
                self.stopped_by, self._held = found, ""
                return held[: place + 1 - len(found)]
        self._state = state
        shown = len(held) - self._depth[state]
        self._held = held[shown:]
        return held[:shown]

    def close(self) -> str:
        """The text is over: what was held back."""
        held, self._held, self._state = self._held, "", 0
        return held


def _automaton(sequences: list[str]) -> tuple[list[dict[str, int]], list[int], list[str | None]]:
    """A state is what of the text may be the beginning of a sequence: the longest end of it that is one.

    For each state: the following ones by letter (those of its own shorter ends included), its length, and the longest
    sequence that it ends with.
    """
    following: list[dict[str, int]] = [{}]
    depth = [0]
    ends: list[str | None] = [None]
    for sequence in sequences:
        state = 0
        for letter in sequence:
            if letter not in following[state]:
                following[state][letter] = len(following)
                following.append({})
                depth.append(depth[state] + 1)
                ends.append(None)
            state = following[state][letter]
        ends[state] = sequence
    _link(following, ends)
    return following, depth, ends


def _link(following: list[dict[str, int]], ends: list[str | None]) -> None:
    waiting = deque((state, 0) for state in following[0].values())
    while waiting:
        state, shorter = waiting.popleft()
        ends[state] = ends[state] or ends[shorter]
        waiting += [(after, following[shorter].get(letter, 0)) for letter, after in following[state].items()]
        following[state] = following[shorter] | following[state]
