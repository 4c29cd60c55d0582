"""`[[3]]` in an answer with search → a link that reads on its own, and a record of what it refers to.

The site cites with `[[n]]`, n counting from 1 in the latest search's list; a marker comes cut over several
events (seen 2026-09-14). Without sources nothing is touched: `[[1]]` is also how programs write a list.
"""

import re
from collections.abc import Sequence

from qwen_gateway.turn.events import Citation, Event, Finished, Source, Sources, Text

_MARKER = re.compile(r"\[\[(\d{1,3})\]\]")
# A tail that may still grow into a marker.
_GROWING = re.compile(r"\[(?:\[(?:\d{1,3}\]?)?)?\Z")


class CitationLinks:
    """Give it all events of one answer in order."""

    enough = False
    clean = True  # links instead of numbers say the same

    def __init__(self) -> None:
        self._sources: tuple[Source, ...] = ()
        self._held = ""
        self._length = 0  # characters of text given out
        self._uncited: dict[str, Source] = {}

    def feed(self, events: Sequence[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if type(event) is Text:
                self._text(event, out)
                continue
            if type(event) is Sources:
                self._release(out)
                self._sources = event.sources
                self._uncited.update((source.url, source) for source in event.sources if _is_web(source))
            elif self._held or type(event) is Finished:
                self._release(out)
            if type(event) is Finished:
                # Also found, and not cited: of no place in the text, so they stand at its end.
                out += [Citation(self._length, self._length, source) for source in self._uncited.values()]
            out.append(event)
        return out

    def _text(self, event: Text, out: list[Event]) -> None:
        if not self._sources:
            self._length += len(event.text)
            out.append(event)
            return
        text = self._held + event.text
        growing = _GROWING.search(text, max(0, len(text) - 6))
        self._held = growing[0] if growing else ""
        self._linked(text[: len(text) - len(self._held)], out)

    def _release(self, out: list[Event]) -> None:
        text, self._held = self._held, ""
        self._linked(text, out)

    def _linked(self, text: str, out: list[Event]) -> None:
        pieces, end = [], 0
        for marker in _MARKER.finditer(text):
            number = int(marker[1])
            if not 1 <= number <= len(self._sources):
                continue
            source = self._sources[number - 1]
            before, link = text[end : marker.start()], _link(number, source)
            start = self._length + len(before)
            self._length = start + len(link)
            self._uncited.pop(source.url, None)
            pieces += [before, link]
            if _is_web(source):
                out.append(Citation(start, self._length, source))
            end = marker.end()
        self._length += len(text) - end
        if linked := "".join([*pieces, text[end:]]):
            out.append(Text(linked))


def _is_web(source: Source) -> bool:
    """Whether the address may be offered to click on. What the site sends is not ours: `javascript:` too."""
    return source.url.startswith(("https://", "http://"))


def _link(number: int, source: Source) -> str:
    """A Markdown link. Brackets and blanks in the address would end it early; only web addresses become links."""
    if not _is_web(source):
        return f"[{number}]"
    address = source.url.translate({ord("("): "%28", ord(")"): "%29", ord(" "): "%20", ord("\n"): None})
    return f"[{number}]({address})"
