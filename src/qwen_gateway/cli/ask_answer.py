"""An answer as `ask` shows it: its text on standard output and nothing else there, all else on standard error."""

import asyncio
import errno
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qwen_gateway.cli.visible import visible
from qwen_gateway.turn.events import Event, Reasoning, Source, Text
from qwen_gateway.turn.reply import Fold, Reply

if TYPE_CHECKING:
    from rich.console import Console

_CUT = {
    "length": "The answer is cut off: it is as long as the model can write.",
    "content_filter": "The answer is cut off by the site's content filter.",
}


class Unwritable(Exception):
    """Standard output takes no more. nobody_reads: whoever read it has left, which is no mistake."""

    def __init__(self, problem: OSError) -> None:
        super().__init__(f"the answer cannot be written: {problem.strerror}.")
        self.nobody_reads = problem.errno == errno.EPIPE


class Answer:
    """Shown as it comes, or as JSON once it is complete. raw: exactly what the model writes. All methods but `show`
    write at once, and all but `break_off` raise Unwritable."""

    def __init__(self, *, raw: bool, as_json: bool) -> None:
        self._raw, self._as_json = raw, as_json
        self._fold = Fold()
        self._thoughts = _Thoughts() if sys.stderr.isatty() and not as_json else None
        self._harmless = sys.stdout.isatty() and not raw
        self._last = "\n"  # character that was written

    async def show(self, events: Sequence[Event]) -> None:
        self._fold.feed(events)
        if self._as_json:
            return
        if self._thoughts and (thought := "".join(event.text for event in events if isinstance(event, Reasoning))):
            self._thoughts.show(thought, below=self._last != "\n")
        if text := "".join(event.text for event in events if isinstance(event, Text)):
            if self._thoughts:
                self._thoughts.end()
            # In a thread: a reader that takes its time must not keep us from hearing the site.
            await asyncio.to_thread(_write, harmless(text) if self._harmless else text)
            self._last = text[-1]

    def complete(self, model: str, ignored: Sequence[str]) -> None:
        """model: that answered. ignored: options that it could not follow. Raises the fault of one that failed."""
        reply = self._fold.reply()
        if self._as_json:
            _write(_json(reply, model))
            return
        self._end_line()
        for note in _notes(reply, model, ignored):
            print(visible(note, lines=True), file=sys.stderr)

    def break_off(self) -> None:
        """Nothing follows what has been shown."""
        try:
            self._end_line()
        except Unwritable:
            self._last = "\n"

    def _end_line(self) -> None:
        if self._thoughts:
            self._thoughts.end()
        if self._last != "\n" and not self._raw:
            _write("\n")
        self._last = "\n"


class _Thoughts:
    """The reasoning, dimmed, on a terminal."""

    def __init__(self) -> None:
        self._console: Console | None = None
        self._open = False

    def show(self, text: str, *, below: bool) -> None:
        """below: something stands in the line already."""
        from rich.console import Console
        from rich.text import Text as Words

        if self._console is None:
            self._console = Console(stderr=True)
        if below and not self._open:
            self._console.print()
        self._open = True
        self._console.print(Words(harmless(text), "dim"), end="", soft_wrap=True)

    def end(self) -> None:
        if self._open and self._console is not None:
            self._console.print("\n")
        self._open = False


def harmless(text: str) -> str:
    """For a terminal. Tabs stay, other than in names: in code they mean something."""
    return "\t".join(visible(piece, lines=True) for piece in text.split("\t"))


def _notes(reply: Reply, model: str, ignored: Sequence[str]) -> list[str]:
    """What is to be said beside the answer."""
    said = [f"{name} was ignored: {model} leaves no choice there." for name in ignored]
    if reply.finish in _CUT:
        said.append(_CUT[reply.finish])
    if found := _distinct(reply.sources):
        said.append("\n".join(["Sources:", *(f"  {source.title or source.url}\n    {source.url}" for source in found)]))
    return said


def _json(reply: Reply, model: str) -> str:
    import json

    import msgspec

    told = {
        "model": model,
        "text": reply.text,
        "reasoning": reply.reasoning,
        "finish": reply.finish,
        "sources": [{"url": source.url, "title": source.title} for source in _distinct(reply.sources)],
        "usage": msgspec.to_builtins(reply.usage),
    }
    return json.dumps(told, indent=2) + "\n"


def _distinct(sources: Sequence[Source]) -> list[Source]:
    return list({source.url: source for source in sources}.values())


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as problem:
        raise Unwritable(problem) from problem
