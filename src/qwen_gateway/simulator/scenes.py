"""What makes a whole answer: the frames of a turn, in the order the recordings have.

Here: created, reasoning, text, the end. Pure: a turn and a request in, frames out. Not here: the shapes of
tool rounds and pictures (`rounds`), spelling (`frames`), pacing (`play`), breaking (`faults`).
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from . import rounds
from .ask import Ask
from .calls import fitted, spoken
from .frames import Created, Delta, Frame, Ids, Json, closing, keep_alive, now, piece
from .turns import Search, Turn, Usage, pieces
from .usage import Meter

_MARK = re.compile(r"(\[\[\d*)(\d\]\])")


def scene(ask: Ask, turn: Turn, ids: Ids, pictures: list[rounds.Picture]) -> Iterator[Frame]:
    """All frames of an answer, from `response.created` to the closing frame."""
    turn = fitted(turn, ask.prompt)
    yield Created(ids)
    for _ in range(turn.keep_alives):
        yield keep_alive(ids)
    deltas = _content(ask, turn, ids, pictures)
    if not ask.incremental:
        deltas = _cumulative(deltas)
    yield from deltas if ask.phases else map(_without_phase, deltas)


def _content(ask: Ask, turn: Turn, ids: Ids, pictures: list[rounds.Picture]) -> Iterator[Delta]:
    # Programmed counts are those of the last round.
    usage = Usage() if turn.search or _is_intercepted(turn) else turn.usage
    meter = Meter(ask.prompt, usage, reasons=bool(turn.thinking))
    if turn.thinking:
        yield from _reasoning(ask, turn, ids, meter)
    if pictures:
        yield from rounds.gallery(pictures, ids)
    elif turn.search:
        yield from _searched(ask, turn, turn.search, ids, meter)
    else:
        yield from _said(ask, turn, ids, meter)
    if turn.finish != "none":
        yield closing(ids, "image_gen" if pictures else "answer")


def _reasoning(ask: Ask, turn: Turn, ids: Ids, meter: Meter) -> Iterator[Delta]:
    style = turn.thinking_style or ("think" if ask.thinking_format == "detail" else "summary")
    if style == "think":
        yield from _raw_thoughts(turn, ids, meter)
    else:
        yield from _summaries(turn, ids, meter)


def _raw_thoughts(turn: Turn, ids: Ids, meter: Meter) -> Iterator[Delta]:
    """The phase of 2025 and early 2026, still asked for with `thinking_format: detail`: increments."""
    for thought in pieces(turn.thinking or "", turn.chunks if isinstance(turn.chunks, int) else None):
        yield Delta(piece("think", thought), ids.response, usage=meter.think(), stamp=now())
    meter.settle_reasoning()
    yield Delta(piece("think", "", "finished"), ids.response, stamp=now())


def _summaries(turn: Turn, ids: Ids, meter: Meter) -> Iterator[Delta]:
    """The phase since early 2026: arrays that repeat everything before; the last frame came twice."""
    thoughts = (turn.thinking or "").split("\n\n")
    for count in range(1, len(thoughts) + 1):
        titles = turn.thinking_titles[:count]
        yield summary(titles, thoughts[:count], ids, meter.think())
    yield summary(turn.thinking_titles, thoughts, ids, meter.settle_reasoning())
    yield Delta(piece("thinking_summary", "", "finished"), ids.response, stamp=now())


def summary(titles: list[str], thoughts: list[str], ids: Ids, usage: Json) -> Delta:
    """One cumulative frame of reasoning (14 Sep 2026)."""
    delta: Json = {
        "role": "assistant",
        "content": "",
        "phase": "thinking_summary",
        "extra": {"summary_title": {"content": titles}, "summary_thought": {"content": thoughts}},
        "status": "typing",
    }
    return Delta(delta, ids.response, usage=usage, stamp=now())


def _searched(ask: Ask, turn: Turn, found: Search, ids: Ids, first: Meter) -> Iterator[Delta]:
    """Two rounds of text around one call; the first ends with a stamped `finished` that is not the end."""
    yield from _text(pieces(found.lead, None), ids, first)
    yield Delta(piece("answer", "", "finished"), ids.response, stamp=now())
    yield from rounds.search(found, ids, first)
    usage = Usage() if _is_intercepted(turn) else turn.usage
    yield from _said(ask, turn, ids, Meter(ask.prompt + rounds.observation(found.docs), usage))


def _is_intercepted(turn: Turn) -> bool:
    """The site takes the calls for its own, and the model goes on in another round."""
    return bool(turn.tool_calls) and turn.style == "native"


def _said(ask: Ask, turn: Turn, ids: Ids, meter: Meter) -> Iterator[Delta]:
    text = turn.answer()
    if _is_intercepted(turn):
        yield from _text(pieces(text, turn.chunks), ids, meter)
        yield from rounds.native_calls(turn.tool_calls, ids, meter)
        meter = meter.next_round("\n".join(rounds.misses(turn.tool_calls)), turn.usage)
        yield from _text(pieces(rounds.narration(turn.tool_calls), None), ids, meter)
    elif turn.tool_calls:
        block = spoken(turn.tool_calls, turn.style, ask.prompt)
        listed = [*turn.chunks, "\n\n", block] if isinstance(turn.chunks, list) else turn.chunks
        yield from _text(pieces(f"{text}\n\n{block}" if text else block, listed), ids, meter)
    else:
        yield from _text(
            _marks_apart(text) if turn.search and not turn.chunks else pieces(text, turn.chunks), ids, meter
        )
    yield from _settled(ids, meter)


def _marks_apart(text: str) -> list[str]:
    """Cuts every `[[n]]` in two, as in the recording: `" [[1"`, `"1]]. Trước năm"` (14 Sep 2026)."""
    return [part for part in _MARK.sub("\\1\0\\2", text).split("\0") for part in pieces(part, None)]


def _text(deltas: list[str], ids: Ids, meter: Meter) -> Iterator[Delta]:
    for text in deltas:
        yield Delta(piece("answer", text), ids.response, usage=meter.tick(), stamp=now(), text=text)


def _settled(ids: Ids, meter: Meter) -> Iterator[Delta]:
    """Two empty frames with the final count stand before every end (all captures of Sep 2026)."""
    usage = meter.settle()
    for _ in range(2):
        yield Delta(piece("answer", ""), ids.response, usage=usage, stamp=now(), tail=True)


def _cumulative(deltas: Iterator[Delta]) -> Iterator[Delta]:
    """`incremental_output: false`: every answer frame holds the text so far (code of 2025)."""
    said = ""
    for frame in deltas:
        said += frame.text
        yield replace(frame, delta={**frame.delta, "content": said}) if frame.text else frame


def _without_phase(frame: Delta) -> Delta:
    """What comes when a request lacks `output_schema: phase` (A/B test of 5 Jul 2026)."""
    kept: Json = {key: frame.delta[key] for key in ("role", "content")}
    return replace(frame, delta=kept)
