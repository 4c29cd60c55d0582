"""Answers that must be JSON: what the model is told, what is read out of its answer, and what becomes of one that
does not fit.

How values are checked against a schema, and how JSON is mended, is handed in.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal, Protocol

from msgspec import Struct

from qwen_gateway.turn.request import OutputFormat

MOST_RETRIES = 2
_MOST_PROSE = 200
_MOST_VALUES = 10
_TOLD_PROBLEMS = 5


class Shape(Protocol):
    """A schema, ready to be used."""

    def problems(self, value: Any) -> Sequence[object]:
        """What it has against `value`. As text each begins with the place, as a JSON pointer."""
        ...

    def coerced(self, value: Any) -> Any:
        """`value` with types put right that can only have been meant in one way."""
        ...

    def pruned(self, value: Any) -> Any:
        """`value` without keys that the schema forbids."""
        ...


Mend = Callable[[str], str | None]
"""Text that is nearly JSON → JSON, or `None` where one would have to guess."""


class Fits(Struct, frozen=True):
    """`json` is what to deliver: as the model wrote it, or written anew where something was put right."""

    json: str


class Misses(Struct, frozen=True):
    """problems: why the answer cannot be used. json: the last value that could be read, if one could."""

    problems: tuple[str, ...]
    json: str = ""
    prose: bool = False
    """The answer is plainly words, and not a try at JSON."""


class Deliver(Struct, frozen=True):
    """json: the text of the answer. invalid: it does not satisfy the schema, and the response must say so."""

    json: str
    invalid: bool = False


class Refusal(Struct, frozen=True):
    """The model declines in words: they are its refusal."""

    text: str


class Retry(Struct, frozen=True):
    """Ask again, beside this answer. `hint` goes at the end of the same message."""

    hint: str


class Refuse(Struct, frozen=True):
    code: Literal["structured_output_failed"] = "structured_output_failed"


Decision = Deliver | Refusal | Retry | Refuse


def prompt(wanted: OutputFormat) -> str:
    """What is said behind the user's text."""
    kind = "value" if wanted.kind == "json_schema" else "object"
    lines = [
        f"[Output format] Reply with one JSON {kind} and nothing else: no introduction, no code fence, no comment."
    ]
    if wanted.schema is not None:
        lines += [
            "It must satisfy this JSON Schema (all required keys, no other keys where additionalProperties is false):",
            _compact(wanted.schema),
        ]
    return "\n".join(lines)


def read(text: str, shape: Shape | None = None, *, mend: Mend | None = None, prune: bool = False) -> Fits | Misses:
    """The answer's JSON. Without a shape any object will do. prune: keys that the schema forbids are taken out."""
    misses: Misses | None = None
    for candidate in _candidates(text):
        outcome = _judged(candidate, shape, mend, prune)
        if isinstance(outcome, Fits):
            return outcome
        misses = outcome if misses is None or (outcome.json and not misses.json) else misses
    return misses or Misses(("the reply is not one JSON value on its own",), prose=_is_prose(text))


def decide(text: str, outcome: Fits | Misses, *, strict: bool, tried: int, time_left: bool = True) -> Decision:
    """What becomes of an answer. tried: how often this request was asked again already."""
    if isinstance(outcome, Fits):
        return Deliver(outcome.json)
    if tried < MOST_RETRIES and time_left:
        return Retry(hint(outcome.problems))
    if outcome.json and not strict:
        return Deliver(outcome.json, invalid=True)
    return Refusal(text.strip()) if outcome.prose else Refuse()


def hint(problems: Sequence[str]) -> str:
    listed = "\n".join(f"- {problem[:300]}" for problem in problems[:_TOLD_PROBLEMS])
    return f"Note from the program: your last reply could not be used.\n{listed}\nReply again with the whole JSON only."


_FENCE = re.compile(r"(`{3,}|~{3,})[\w-]*[ \t]*\n")
# A string that does not end is one match, up to the end of the text: else each quote in it would be looked at as the
# beginning of another.
_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)


def _candidates(text: str) -> Iterator[str]:
    """Texts that may be the value: all of it, then what stands balanced in it with little around."""
    bare = _without_fence(text.strip().removeprefix("\ufeff").strip())
    if not bare:
        return
    spans = list(islice(_balanced(bare), _MOST_VALUES))
    if not spans or spans[0] == (0, len(bare)) or bare[0] in "{[":
        yield bare
    around = len(_unfenced(_without(bare, spans)))
    if spans and spans[0] != (0, len(bare)) and around <= _MOST_PROSE:
        yield from (bare[start:end] for start, end in spans)


def _without_fence(text: str) -> str:
    opening = _FENCE.match(text)
    if not opening or not text.endswith(opening[1], opening.end()):
        return text
    return text[opening.end() :].rstrip(opening[1][0]).strip()


def _balanced(text: str) -> Iterator[tuple[int, int]]:
    """Where objects and lists begin and end, those within others left out. Strings outside of them do not count."""
    place = 0
    while place < len(text):
        start = min((at for at in (text.find("{", place), text.find("[", place)) if at >= 0), default=-1)
        if start < 0:
            return
        depth = 0
        for found in _BRACKET.finditer(text, start):
            depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(found[0], 0)
            if not depth:
                yield start, found.end()
                place = found.end()
                break
        else:
            return


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), len(text)]
    return "".join(text[end:start] for end, start in zip(ends, starts, strict=True))


def _unfenced(text: str) -> str:
    return re.sub(r"(`{3,}|~{3,})[\w-]*|\s+", " ", text).strip()


def _judged(candidate: str, shape: Shape | None, mend: Mend | None, prune: bool) -> Fits | Misses:
    written = candidate
    try:
        value = _parsed(candidate)
    except ValueError as why:
        mended = mend(candidate) if mend else None
        if mended is None:
            return Misses((f"not valid JSON: {why}",), prose=_is_prose(candidate))
        try:
            value, written = _parsed(mended), mended
        except ValueError:
            return Misses((f"not valid JSON: {why}",), prose=_is_prose(candidate))
    if shape is None:
        fits = isinstance(value, dict)
        return Fits(written) if fits else Misses(("the reply must be one JSON object",), _compact(value))
    problems = shape.problems(value)
    if not problems:
        return Fits(written)
    better = shape.coerced(value)
    better = shape.pruned(better) if prune else better
    problems = shape.problems(better)
    return Misses(tuple(map(str, problems)), _compact(better)) if problems else Fits(_compact(better))


_DEEPEST = 200


def _parsed(text: str) -> Any:
    """Strict. Of keys that come twice the last counts."""
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if text.count("{") + text.count("[") > _DEEPEST and _depth(value) > _DEEPEST:
        raise ValueError("nested too deep")
    return value


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [one for outer in level for one in _within(outer)]
    return depth


def _within(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


# Letters of languages that put no blanks between words: Thai to Burmese, Khmer, Japanese, Chinese.
_UNSPACED = re.compile(
    r"[\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af]"
)


def _is_prose(text: str) -> bool:
    """Words, and no try at an object or a list."""
    if "{" in text or "[" in text:
        return False
    return len(text.split(maxsplit=1)) > 1 or _UNSPACED.search(text) is not None


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _finite(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise ValueError(f"{digits[:40]} is too large a number")
    return number


def _compact(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if text.isascii() or not re.search("[\ud800-\udfff]", text) else json.dumps(value)
