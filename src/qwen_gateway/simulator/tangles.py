"""Faults of content: a well-formed stream that does not say what it should.

Here: repeats, contradictions, wrong ids and numbers, reasoning without end, calls gone wrong. Not here: broken
events (`oddities`), broken connections (`breaks`), the names (`faults`).
"""

from dataclasses import replace

import msgspec

from .calls import spoken
from .frames import Created, Delta, Frame, Ids, Json, now, piece, spell
from .play import Play
from .scenes import summary
from .turns import ToolCall

_OTHERS = "00000000-0000-4000-8000-00000000dead"
_MAX_REPEATS = 200_000
_SOME_CALL = ToolCall(name="get_weather", arguments={"city": "Paris"})


async def unfinished(play: Play) -> None:
    """All but the closing frame."""
    play.frames.pop()
    await play.rest()


async def replayed(play: Play) -> None:
    """The first two pieces of the answer come again, byte for byte."""
    again = [spell(frame) for frame in play.frames if isinstance(frame, Delta) and not frame.tail][:2]
    for _ in range(1 + len(again)):
        await play.send_next()
    for data in again:
        await play.wire.write(data)
    await play.rest()


async def shrinking(play: Play) -> None:
    """A cumulative array that loses an entry, then comes back whole."""
    await play.send_next()
    thoughts = ["First thought.", "Second thought.", "Third thought."]
    for held in (thoughts[:2], thoughts[:1], thoughts):
        await play.send(summary([], held, play.ids, {}))
    await play.send(Delta(piece("thinking_summary", "", "finished"), play.ids.response, stamp=now()))
    await play.rest()


async def cumulative_later(play: Play) -> None:
    """Increments first; after some frames every frame holds the whole text."""
    said = ""
    wanted = 2 if play.turn.after_chunks is None else play.turn.after_chunks
    frames: list[Frame] = []
    for frame in play.frames:
        if isinstance(frame, Delta) and frame.text:
            said += frame.text
            wanted -= 1
            frames.append(_content(frame, said) if wanted < 0 else frame)
        else:
            frames.append(frame)
    play.frames.clear()
    play.frames.extend(frames)
    await play.rest()


async def crosstalk(play: Play) -> None:
    """Another chat's answer on this chat's connection."""
    others = Ids(_OTHERS, _OTHERS, _OTHERS)
    for frame in list(play.frames):
        play.store(frame)
        strange = replace(frame, response_id=_OTHERS) if isinstance(frame, Delta) else frame
        await play.wire.write(spell(Created(others) if isinstance(frame, Created) else strange))
    play.frames.clear()
    await play.done()


async def usage_absent(play: Play) -> None:
    play.deltas(lambda frame: replace(frame, usage=None))
    await play.rest()


async def usage_negative(play: Play) -> None:
    await _with_usage(play, {"input_tokens": -5, "output_tokens": -1, "total_tokens": -6})


async def usage_absurd(play: Play) -> None:
    await _with_usage(play, {"input_tokens": 10**15, "output_tokens": "many", "total_tokens": None})


async def usage_last(play: Play) -> None:
    """Only the last frame counts."""
    play.deltas(lambda frame: frame if frame.tail else replace(frame, usage=None))
    await play.rest()


async def _with_usage(play: Play, usage: Json) -> None:
    play.deltas(lambda frame: replace(frame, usage=usage) if frame.usage is not None else frame)
    await play.rest()


async def thought_only(play: Play) -> None:
    """Reasoning, then an empty answer."""
    play.load(msgspec.structs.replace(play.turn, text="", thinking=play.turn.thinking or "I wonder."), [])
    await play.rest()


async def thought_endless(play: Play) -> None:
    """Reasoning that never ends: one more entry every beat."""
    await play.send_next()
    total = play.seconds(60)
    beat = min(0.5, total / 4)
    thoughts = []
    for number in range(int(total / beat)):
        thoughts.append(f"Thought {number}.")
        await play.send(summary([], thoughts, play.ids, {}))
        await play.wire.pause(beat)
    play.wire.hang_up()


async def thought_mixed(play: Play) -> None:
    """A thought between any two pieces of the answer."""
    await play.send_next()
    thoughts: list[str] = []
    for frame in list(play.frames):
        if isinstance(frame, Delta) and frame.text:
            thoughts.append(f"Thought {len(thoughts)}.")
            await play.send(summary([], list(thoughts), play.ids, {}))
        await play.send_next()
    await play.done()


async def call_unclosed(play: Play) -> None:
    block = _block(play)
    await _tell(play, block[: block.rindex("\n")])


async def call_split(play: Play) -> None:
    """One character per event."""
    await _tell(play, f"I will look.\n\n{_block(play)}", chunks=1)


async def call_bad_json(play: Play) -> None:
    await _tell(play, _block(play).replace('"arguments": {', '"arguments": {"note": "say "hi" now", '))


async def call_nested(play: Play) -> None:
    """A call that is an argument of a call."""
    inner = _block(play)
    call = ToolCall(name=_call(play).name, arguments={"command": inner})
    await _tell(play, spoken([call], "taught", play.ask.prompt))


async def call_twice(play: Play) -> None:
    """Two calls with words before, between and after them."""
    block = _block(play)
    await _tell(play, f"First this.\n\n{block}\nAnd then:\n{block}\nThat is all.")


async def call_in_thought(play: Play) -> None:
    turn = msgspec.structs.replace(play.turn, thinking=f"I could write:\n{_block(play)}", tool_calls=[])
    play.load(turn, [])
    await play.rest()


async def repeating(play: Play) -> None:
    """The same sentence again and again, until the client leaves or the time is up."""
    await play.lead(1)
    beat = 0.001
    limit = min(_MAX_REPEATS, int(play.seconds(60) / beat))
    line = "I already said that. "
    for _ in range(limit):
        await play.send(Delta(piece("answer", line), play.ids.response, stamp=now(), text=line))
        await play.wire.pause(beat)
    await play.rest()


async def _tell(play: Play, text: str, chunks: int | None = None) -> None:
    turn = msgspec.structs.replace(play.turn, text=text, tool_calls=[], chunks=chunks or play.turn.chunks)
    play.load(turn, [])
    await play.rest()


def _call(play: Play) -> ToolCall:
    return play.turn.tool_calls[0] if play.turn.tool_calls else _SOME_CALL


def _block(play: Play) -> str:
    return spoken([_call(play)], play.turn.style, play.ask.prompt)


def _content(frame: Delta, text: str) -> Delta:
    return replace(frame, delta={**frame.delta, "content": text})
