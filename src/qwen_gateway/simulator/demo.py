"""The demo responder: what the simulator says while nobody has programmed anything.

Here: a few phrases it understands, so that a newcomer sees each part of the pipeline work. Deterministic, and
honest about what it is. Not here: how an answer is sent (`scenes`, `play`).
"""

import re
from collections.abc import Callable

from .ask import Ask
from .turns import Document, Search, Turn

SELF = "This is the simulator of Qwen Gateway, not a Qwen model."
_ABILITIES = (
    "I can “count to 10”, “repeat: …”, “think about …” (with thinking on), “search …”, and “list what I was sent”."
)
# A packed history has lines like `--- k7q2 4 user (answer this) ---` between its entries.
_ENTRY = re.compile(r"^--- (?:\S+ )?\d+ (?P<role>\w+)(?: \([^)\n]*\))? ---$", re.MULTILINE)
_END = re.compile(r"^--- (?:\S+ )?end ---$", re.MULTILINE)
_TOOL = re.compile(r"^([A-Za-z_][\w.-]*)\([^\n]*\)[^\n]*$", re.MULTILINE)


def turn(ask: Ask, delay_ms: float) -> Turn:
    """The answer to a prompt nobody has programmed one for."""
    said = last_entry(ask.prompt)
    found = Turn(text=_text(ask, said), delay_ms=delay_ms)
    if ask.thinking:
        _add_reasoning(found, said)
    if ask.chat_type == "search" or (ask.searching and said.lower().startswith("search")):
        _add_search(found, said)
    return found


def last_entry(prompt: str) -> str:
    """The entry to answer: the last of a packed history, or all of a plain prompt."""
    entries = list(_ENTRY.finditer(prompt))
    if not entries:
        return prompt.strip()
    end = _END.search(prompt, entries[-1].end())
    return prompt[entries[-1].end() : end.start() if end else None].strip()


def _text(ask: Ask, said: str) -> str:
    for phrase, answer in _PHRASES:
        if match := phrase.match(said):
            return answer(ask, match)
    return f"{SELF} {_ABILITIES}\n\nYou wrote: {said[:200]}"


def _counted(_: Ask, match: re.Match[str]) -> str:
    return f"{SELF}\n" + " ".join(str(number) for number in range(1, min(int(match[1]), 100) + 1))


def _repeated(_: Ask, match: re.Match[str]) -> str:
    return match[1].strip()


def _listed(ask: Ask, _: re.Match[str]) -> str:
    files = [str(file.get("name", "?")) for file in ask.files if isinstance(file, dict)]
    tools = _TOOL.findall(ask.prompt.partition("### Tool list")[2].partition("## Conversation")[0])
    entries = len(_ENTRY.findall(ask.prompt))
    lines = [
        f"Files: {', '.join(files) or 'none'}",
        f"Tools: {', '.join(tools) or 'none'}",
        f"History entries: {max(entries, 1)}",
        f"Model: {ask.model}, thinking {'on' if ask.thinking else 'off'}",
    ]
    return f"{SELF} I was sent:\n" + "\n".join(f"- {line}" for line in lines)


_PHRASES: tuple[tuple[re.Pattern[str], Callable[[Ask, re.Match[str]], str]], ...] = (
    (re.compile(r"count to (\d{1,9})\b", re.IGNORECASE), _counted),
    (re.compile(r"(?:repeat|say)\b:?\s+(.+)", re.IGNORECASE | re.DOTALL), _repeated),
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
