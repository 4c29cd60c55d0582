"""What stands in a prompt: entries of a history, results of tools, the words to answer, what is asked of the answer.

Here: reading the forms in which the gateway packs a conversation. Not here: how calls are taught (`taught`).
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

# A packed history has lines like `--- k7q2 4 user (answer this) ---` between its entries.
_ENTRY = re.compile(r"^--- (?:(?P<nonce>\S+) )?\d+ (?P<role>\w+)(?: \([^)\n]*\))? ---$", re.MULTILINE)
_END = re.compile(r"^--- (?:\S+ )?end ---$", re.MULTILINE)
# Where a conversation goes on in its chat, the results of tools or new instructions may stand before the words.
_BEFORE_WORDS = re.compile(
    r"^(?:--- (?:\S+ )?end of results ---|\[End of (?:instructions?|tools)(?: \S+)?\])$", re.MULTILINE
)
_RESULTS = re.compile(
    r"^\[TOOL RESULTS (?P<nonce>\S+)\]\n(?P<block>.*?)^--- (?P=nonce) end of results ---$", re.MULTILINE | re.DOTALL
)
# The gateway's own last words, which are not the user's.
_LAST_WORDS = re.compile(
    r"^(?:\[Reminder: tools as listed before: |This reply must (?:contain at least one tool call\.|call \")"
    r"|Make at most one tool call in this reply\.|\[Output format\] |Note from the (?:tool runner|program): )",
    re.MULTILINE,
)
_DEMAND = re.compile(r"^This reply must (?:contain at least one tool call|call \"(?P<name>[^\"]+)\")", re.MULTILINE)
_FORMAT = re.compile(
    r"^\[Output format\] [^\n]*(?:\nIt must satisfy this JSON Schema[^\n]*\n(?P<schema>[^\n]+))?", re.MULTILINE
)


@dataclass(frozen=True)
class Result:
    """What a tool returned. `call` names it: the tool and its arguments, perhaps shortened."""

    call: str
    text: str


@dataclass(frozen=True)
class Demand:
    """A call must be made. `name`: of that tool; any will do without it."""

    name: str | None


def entry_count(prompt: str) -> int:
    return max(len(_ENTRY.findall(prompt)), 1)


def entries(prompt: str) -> Iterator[tuple[str, str]]:
    """Role and text of the entries of a packed history; of a plain prompt the only one."""
    headings = list(_ENTRY.finditer(prompt))
    if not headings:
        yield "user", prompt[: len(prompt) - len(_tail(prompt))]
    ends = [*(heading.start() for heading in headings[1:]), len(prompt)]
    for heading, until in zip(headings, ends, strict=False):
        end = _END.search(prompt, heading.end(), until)
        yield heading["role"], prompt[heading.end() : end.start() if end else until]


def words(prompt: str) -> str:
    """What the user said last: the last entry of a packed history, or a plain prompt. Empty where results are last."""
    *_, (_, last) = entries(prompt)
    if heading := _ENTRY.search(prompt):
        return "" if _results(last, heading["nonce"]) else last.strip()
    *_, said = _BEFORE_WORDS.split(last)
    return said.strip()


def results(prompt: str) -> list[Result]:
    """What tools returned since the last answer."""
    heading = _ENTRY.search(prompt)
    if heading is None:
        block = _RESULTS.search(prompt)
        return _results(block["block"], block["nonce"]) if block else []
    found: list[Result] = []
    for role, text in entries(prompt):
        found = [] if role == "assistant" else found + _results(text, heading["nonce"])
    return found


def demand(prompt: str) -> Demand | None:
    found = _DEMAND.search(_tail(prompt))
    return Demand(found["name"]) if found else None


def output_schema(prompt: str) -> object:
    """The JSON Schema that the answer must satisfy; `True` where any object will do, None where words will."""
    found = _FORMAT.search(_tail(prompt))
    if found is None:
        return None
    try:
        return json.loads(found["schema"] or "true")
    except ValueError:
        return True  # too long a schema is told as types


def _results(text: str, nonce: str | None) -> list[Result]:
    """Only lines with the nonce count: results may quote the results of other conversations."""
    mark = f"{re.escape(nonce)} " if nonce else ""
    headings = list(re.finditer(rf"^--- {mark}result (?:\d+ of \d+: |of )(.*) ---$", text, re.MULTILINE))
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    repeated = re.compile(rf"^--- {mark}this call returned the same result \d+ times ---$", re.MULTILINE)
    return [
        Result(heading[1], repeated.sub("", text[heading.end() : until]).strip())
        for heading, until in zip(headings, ends, strict=False)
    ]


def _tail(prompt: str) -> str:
    """What the gateway says behind everything else: paragraphs of their own."""
    if _ENTRY.search(prompt):
        return _END.split(prompt)[-1]
    behind = max((found.end() for found in _BEFORE_WORDS.finditer(prompt)), default=0)
    for found in _LAST_WORDS.finditer(prompt, behind):
        if not found.start() or prompt[: found.start()].endswith("\n\n"):
            return prompt[found.start() :]
    return ""
