"""Faults of the event stream: lines, encodings and JSON that are not as they should be.

Here: what a reader of server-sent events has to bear. Not here: the connection (`breaks`), the meaning of
what is said (`tangles`), the names (`faults`).
"""

from dataclasses import replace

import msgspec

from .frames import Delta, Event, Frame, dumps, now, piece, spell
from .play import Play
from .refusals import REFUSALS

_UNICODE_TEXT = "naïve 你好 👩\u200d👩\u200d👧 done "
_NINE_MB = 9 * 1024 * 1024
_ENDLESS_LINE = 100 * 1024 * 1024
_BURST = 50_000


async def cut_characters(play: Play) -> None:
    """Every character beyond ASCII is cut at each of its bytes; 😀 comes as two halves in two events."""
    if play.turn.text is None:
        play.load(msgspec.structs.replace(play.turn, text=_UNICODE_TEXT), [])
    before, after = _around(play)
    for half in ("\\ud83d", "\\ude00"):
        before.append(spell(_said(play, "@")).replace(b'"@"', f'"{half}"'.encode()))
    for byte_run in _cut_beyond_ascii(b"".join(before + after)):
        await play.wire.write(byte_run)
    await play.done()


def _cut_beyond_ascii(data: bytes) -> list[bytes]:
    runs, start = [], 0
    for at, byte in enumerate(data):
        if byte >= 0x80:
            runs += [data[start:at], data[at : at + 1]]
            start = at + 1
    return [run for run in [*runs, data[start:]] if run]


async def bad_utf8(play: Play) -> None:
    await play.lead(2)
    await play.wire.write(spell(_said(play, "@")).replace(b"@", b"caf\xe9 \xff\xfe"))
    await play.rest()


async def line_salad(play: Play) -> None:
    """BOM, CRLF, LF and CR in turn, no blank after the colon, data over several lines, cut before line ends."""
    before, after = _around(play)
    await play.wire.write(b"\xef\xbb\xbf")
    for number, event in enumerate(before + after):
        line = event[:-2]
        match number % 4:
            case 0:
                parts = [line, b"\r\n\r\n"]
            case 1:
                parts = [line.replace(b"data: ", b"data:", 1), b"\n", b"\n"]
            case 2:
                parts = [line[:5], line[5:], b"\r\r"]
            case _:
                parts = [line.replace(b'"choices": [', b'"choices":\ndata: [', 1), b"\r\n", b"\r\n"]
        for part in parts:
            await play.wire.write(part)
    await play.done()


async def done_twice(play: Play) -> None:
    """The end mark of other services, twice, and a word after it. The site itself sends none."""
    before, after = _around(play)
    late = spell(_said(play, "said after the end"))
    for data in [*before, *after, b"data: [DONE]\n\n", b"data: [DONE]\n\n", late]:
        await play.wire.write(data)
    await play.done()


async def trailing_json(play: Play) -> None:
    """After some frames the bare error, without `data:` and without a line end."""
    await play.lead(2)
    await play.wire.write(dumps(REFUSALS["server"].body).encode())
    await play.wire.end()


async def broken_event(play: Play) -> None:
    await play.lead(2)
    await play.wire.write(b'data: {"choices": [{"delta": {"role": "assistant", "content": "hal\n\n')
    await play.rest()


async def unknown_things(play: Play) -> None:
    """New event types, a new phase and new fields around an intact answer."""
    await play.lead(1)
    await play.send(Event({"response.weather": {"sky": "clear"}}))
    unknown = piece("telepathy", "you did not hear this")
    await play.send(Delta(unknown, play.ids.response, stamp=now()))
    play.deltas(lambda frame: _with(frame, mood="calm"))
    await play.wire.write(b"event: surprise\nid: 7\nretry: 10\n\n")
    await play.rest()


async def other_types(play: Play) -> None:
    """The same keys with other types: content as an object, status as a number."""
    await play.lead(2)
    play.deltas(lambda frame: _with(frame, content={"text": frame.text}, status=1))
    await play.rest()


async def large_event(play: Play) -> None:
    await play.lead(1)
    await play.send(_said(play, "x" * _NINE_MB))
    await play.rest()


async def endless_line(play: Play) -> None:
    """A line of 100 MB without an end."""
    await play.lead(1)
    await play.wire.write(b"data: ")
    for _ in range(_ENDLESS_LINE // 65536):
        await play.wire.write(b"a" * 65536)
    await play.wire.end()


async def burst(play: Play) -> None:
    """Fifty thousand one-letter events as fast as they go."""
    await play.lead(1)
    letter = spell(_said(play, "."))
    for _ in range(_BURST // 50):
        await play.wire.write(letter * 50)
    await play.rest()


def _around(play: Play) -> tuple[list[bytes], list[bytes]]:
    """The answer as spelled events: what comes before its last, empty frames, and those."""
    frames: list[Frame] = list(play.frames)
    ends = [isinstance(frame, Delta) and frame.tail for frame in frames]
    cut = ends.index(True) if True in ends else len(frames)
    play.spelled()
    return [spell(frame) for frame in frames[:cut]], [spell(frame) for frame in frames[cut:]]


def _said(play: Play, text: str) -> Delta:
    return Delta(piece("answer", text), play.ids.response, stamp=now(), text=text)


def _with(frame: Delta, **more: object) -> Delta:
    return replace(frame, delta={**frame.delta, **more})
