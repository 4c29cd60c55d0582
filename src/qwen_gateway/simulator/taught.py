"""What a prompt teaches of calls: the form, the nonce, and the tools that may be called.

Here: reading the gateway's lesson, which comes with the list of tools, and its reminder at the end of later prompts.
Not here: writing calls (`calls`), what else is in a prompt (`packed`), signatures as values (`samples`).
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Form = Literal["bracket", "raw", "hermes"]

NAME = r"[A-Za-z0-9_.:-]{1,128}"
_LESSON = re.compile(r"^## Tools you can use in this conversation$", re.MULTILINE)
_LISTING = re.compile(r"^### Tool list$", re.MULTILINE)
_AFTER_LISTING = re.compile(r"^(?:## |\[End of tools\b|\[TOOL RESULTS\b|--- )", re.MULTILINE)
_REMINDER = re.compile(r"^\[Reminder: .*(?:\[TOOL CALL|<tool_call>).*", re.MULTILINE)
_REMINDED = re.compile(r"\[Reminder: tools as listed before: (.*)\. Call them with ")
_OPENING = re.compile(r"\[TOOL CALL(?: ([^\]\s]+))?\]([^\n]*)|<tool_call>")
_CLOSING = re.compile(r"\[END TOOL CALL(?: ([^\]\s]+))?\]")
# The first line of an entry of the list; behind it, descriptions may hold anything.
_SIGNATURE = re.compile(rf"({NAME})\((.*)\)")
_NAMES = re.compile(rf"{NAME}(?:, {NAME})*")
_BETWEEN_SEMICOLONS = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^";])+')


@dataclass(frozen=True)
class Taught:
    """How calls are to be written. `nonce` is empty where the form or the prompt has none."""

    form: Form
    nonce: str


@dataclass(frozen=True)
class Declared:
    """A tool that may be called. `members`: its arguments as the signature has them; None where only names came."""

    name: str
    members: str | None


def taught(prompt: str) -> Taught:
    """By the lesson or the reminder of this prompt; without both by the first marker in it."""
    if place := _place(prompt):
        return _form(place)
    opening = _OPENING.search(prompt)
    return Taught("bracket", (opening[1] if opening else None) or "")


def declared(prompt: str, above: list[str]) -> list[Declared]:
    """The tools of this prompt. `above`: earlier prompts, oldest first, where bare names find their signatures."""
    found = _declared(prompt)
    if all(tool.members is not None for tool in found):
        return found
    known = {tool.name: tool for earlier in above for tool in _declared(earlier) if tool.members is not None}
    return [known.get(tool.name, tool) for tool in found]


def _place(prompt: str) -> str:
    """The lesson, or the reminder. Either may be quoted in what stands between; a true lesson comes before all that
    is quoted, a true reminder behind it."""
    lesson = _LESSON.search(prompt)
    reminders = _REMINDER.findall(prompt)
    if lesson and (not reminders or _is_front(prompt[: lesson.start()])):
        return prompt[lesson.start() :]
    return str(reminders[-1]) if reminders else ""


def _is_front(before: str) -> bool:
    """Whether nothing but instructions, or the heading of a changed list, stands before."""
    return not before or before.startswith(("## Instructions\n", "[Updated "))


def _form(place: str) -> Taught:
    opening, closing = _OPENING.search(place), _CLOSING.search(place)
    if opening is None or opening[0] == "<tool_call>":
        return Taught("hermes", "")
    # In the form with raw values, the end bears the nonce as well.
    return Taught("raw" if closing and closing[1] else "bracket", opening[1] or "")


def _declared(prompt: str) -> list[Declared]:
    place = _place(prompt)
    if reminded := _REMINDED.match(place):
        return _reminded(reminded[1])
    listing = _LISTING.search(place) if place else None
    if listing is None:
        return []
    end = _AFTER_LISTING.search(place, listing.end())
    lines = ["", *place[listing.end() : end.start() if end else None].split("\n")]
    # A signature is the first line of an entry, or follows another one where descriptions were left out.
    found: list[Declared] = []
    for before, line in pairwise(lines):
        if (match := _SIGNATURE.fullmatch(line)) and (not before or _SIGNATURE.fullmatch(before)):
            found.append(Declared(match[1], match[2]))
    return found


def _reminded(text: str) -> list[Declared]:
    if _NAMES.fullmatch(text):
        return [Declared(name, None) for name in text.split(", ")]
    matches = [_SIGNATURE.fullmatch(one.strip()) for one in _BETWEEN_SEMICOLONS.findall(text)]
    return [Declared(match[1], match[2]) for match in matches if match]
