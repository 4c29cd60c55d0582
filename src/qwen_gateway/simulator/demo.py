"""The demo responder: what the simulator says while nobody has programmed anything.

Here: a few phrases it understands, so that a newcomer sees each part of the pipeline work. Deterministic, and
honest about what it is. It remembers nothing: what was said before it reads in the message, and in the branch of the
chat above it. Not here: tools and answers of a given form (`errands`), how an answer is sent (`scenes`, `play`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from . import sights
from .ask import Ask
from .errands import SELF, errand, tools
from .packed import entries, entry_count, words
from .sights import Look
from .tree import Node
from .turns import Document, Search, Turn

_ABILITIES = (
    "I can “count to 10”, “repeat: …”, “think about …” (with thinking on), “search …”, “use the tool …” (with tools), "
    "“remember the word tulip” and then “which word?”, “what is in the picture?” (of any file), and “list what I was "
    "sent”."
)
_WORD = re.compile(r"remember (?:that )?the word(?: is)?:?\s+[“\"']?([\w-]+)", re.IGNORECASE)


@dataclass(frozen=True)
class _Heard:
    """A question, the messages above it in its chat, oldest first, and how the site looks at files."""

    ask: Ask
    above: list[Node]
    look: Look


def turn(ask: Ask, above: list[Node], look: Look, delay_ms: float) -> Turn:
    """The answer to a prompt nobody has programmed one for."""
    said = words(ask.prompt)
    found = errand(ask, above, said)
    if found is None:
        found = Turn(text=_text(_Heard(ask, above, look), said))
        if ask.chat_type == "search" or (ask.searching and said.lower().startswith("search")):
            _add_search(found, said)
    if ask.thinking:
        _add_reasoning(found, said)
    found.delay_ms = delay_ms
    return found


def _text(heard: _Heard, said: str) -> str:
    for phrase, answer in _PHRASES:
        if match := phrase.match(said):
            return answer(heard, match)
    if files := sights.seen(heard.look(heard.ask.files)):
        return f"{SELF} I look at nothing and listen to nothing, I only measure.\n\n{sights.received(files)}"
    return f"{SELF} {_ABILITIES}\n\nYou wrote: {said[:200]}"


def _shown(heard: _Heard, _: re.Match[str]) -> str:
    """Files of this message, then those above in the branch of the chat."""
    found = [sights.received(sights.seen(heard.look(heard.ask.files)))]
    for up, node in enumerate(reversed(heard.above), 1):
        place = f"{up} messages above in this chat, there came"
        found.append(sights.received(sights.seen(heard.look(node.files)), place))
    told = "\n\n".join(filter(None, found))
    if not told:
        return f"{SELF} I see no file, neither with this message nor above it in this chat."
    return f"{SELF} I look at nothing and listen to nothing, I only measure.\n\n{told}"


def _counted(_: _Heard, match: re.Match[str]) -> str:
    return f"{SELF}\n" + " ".join(str(number) for number in range(1, min(int(match[1]), 100) + 1))


def _repeated(_: _Heard, match: re.Match[str]) -> str:
    return match[1].strip()


def _remembered(_: _Heard, match: re.Match[str]) -> str:
    return f"{SELF} I remember nothing myself. Ask me “which word?”, and I will look for “{match[1]}” above."


def _recalled(heard: _Heard, _: re.Match[str]) -> str:
    """From the message's own history, else from the branch of the chat: so it shows which of them came."""
    *before, _last = entries(heard.ask.prompt)
    if word := _word(before):
        return f"{SELF} The word is “{word}”: it stands in the history that came with this message."
    for up, node in enumerate(reversed(heard.above), 1):
        if node.role == "user" and (word := _word(list(entries(node.content)))):
            return f"{SELF} The word is “{word}”: it stands in this chat, {up} messages above."
    return f"{SELF} I see no word to remember, neither in this message nor above it in this chat."


def _word(entries: list[tuple[str, str]]) -> str | None:
    """The word that the user asked to be remembered last."""
    words = [word for role, text in entries if role == "user" for word in _WORD.findall(text)]
    return str(words[-1]) if words else None


def _listed(heard: _Heard, _: re.Match[str]) -> str:
    ask = heard.ask
    files = [file.name for file in sights.seen(heard.look(ask.files))]
    names = [tool.name for tool in tools(ask, heard.above)]
    lines = [
        f"Files: {', '.join(files) or 'none'}",
        f"Tools: {', '.join(names) or 'none'}",
        f"History entries: {entry_count(ask.prompt)}",
        f"Messages above in this chat: {len(heard.above)}",
        f"Model: {ask.model}, thinking {'on' if ask.thinking else 'off'}",
    ]
    return f"{SELF} I was sent:\n" + "\n".join(f"- {line}" for line in lines)


_PHRASES: tuple[tuple[re.Pattern[str], Callable[[_Heard, re.Match[str]], str]], ...] = (
    (re.compile(r"count to (\d{1,9})\b", re.IGNORECASE), _counted),
    (re.compile(r"(?:repeat|say)\b:?\s+(.+)", re.IGNORECASE | re.DOTALL), _repeated),
    (re.compile(rf"[^\n]*?{_WORD.pattern}", re.IGNORECASE), _remembered),
    (re.compile(r"[^\n]*\b(?:which|what)\b[^\n]*\bword\b", re.IGNORECASE), _recalled),
    (re.compile(rf"[^\n]*\b(?:which|what|describe)\b[^\n]*\b(?:{sights.NOUNS})s?\b", re.IGNORECASE), _shown),
    (re.compile(r"list\b|what was i sent|what were you sent", re.IGNORECASE), _listed),
)


def _add_reasoning(found: Turn, said: str) -> None:
    found.thinking_titles = ["Reading the request", "Choosing an answer"]
    found.thinking = (
        f"I was asked: {said[:80]}\n\nI am a simulator, so I do not reason. I look for a phrase that I know."
    )


def _add_search(found: Turn, said: str) -> None:
    query = said.partition(" ")[2].strip() or said
    found.search = Search(
        queries=[query],
        lead="I will search for that.",
        docs=[
            Document(
                url="https://example.com/simulator",
                title="A made-up page",
                snippet=f"What a page about {query[:60]} might say.",
            ),
            Document(url="https://example.org/second", title="Another one", snippet="More of the same."),
        ],
    )
    found.text = f"{SELF} Both pages are made up: one says this [[1]], the other that [[2]]."
