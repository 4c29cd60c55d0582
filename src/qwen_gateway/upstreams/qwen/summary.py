"""Reasoning from `thinking_summary` frames, whose arrays repeat all earlier entries each time.

Titles and thoughts come as two arrays (seen 2026-09-14); an entry may still grow, and a frame may repeat. What
was given out cannot be taken back, so only what is new *behind* it is emitted: a title just before its thought,
entries apart by a blank line.
"""

from collections.abc import Sequence


class SummaryReader:
    """Cumulative arrays → increments. `feed` for each frame, `close` when the phase ends."""

    def __init__(self) -> None:
        self._given: str | None = None  # of the thought at `_index`; None: nothing of the entry
        self._index = 0
        self._last: tuple[Sequence[str], Sequence[str]] = ((), ())
        self._any = False

    def feed(self, titles: Sequence[str], thoughts: Sequence[str]) -> str:
        """What these arrays add to those before. Empty when nothing."""
        self._last = titles, thoughts
        return self._until(titles, thoughts, len(thoughts))

    def close(self) -> str:
        """Titles that waited for a thought which did not come. Then a next round may begin from nothing."""
        titles, thoughts = self._last
        rest = self._until(titles, thoughts, max(len(titles), len(thoughts)))
        self._given, self._index, self._last = None, 0, ((), ())
        return rest

    def _until(self, titles: Sequence[str], thoughts: Sequence[str], count: int) -> str:
        new = []
        while self._index < count:
            title = titles[self._index] if self._index < len(titles) else ""
            thought = thoughts[self._index] if self._index < len(thoughts) else ""
            new.append(self._entry(title, thought))
            if self._index == count - 1:
                break
            self._index, self._given = self._index + 1, None
        return "".join(new)

    def _entry(self, title: str, thought: str) -> str:
        if self._given is None:
            if not (title or thought):
                return ""
            apart = "\n\n" if self._any else ""
            head = f"**{title}**\n\n" if title and thought else f"**{title}**" if title else ""
            self._any, self._given = True, thought
            return apart + head + thought
        if thought.startswith(self._given):
            # A thought that starts now stands apart from its title, which was given out alone.
            apart = "\n\n" if thought and not self._given else ""
            more, self._given = thought[len(self._given) :], thought
            return apart + more
        return ""  # rewritten: what a client already has stays as it is
