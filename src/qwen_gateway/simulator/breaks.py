"""Faults of the connection and of HTTP: what happens to an answer's bytes, not to its words.

Here: resets, silence, lies about length and encoding. Bounded all: waiting ends with the client or after
`seconds`. Not here: strange events (`oddities`), strange content (`tangles`), the names (`faults`).
"""

import gzip
import zlib

from .play import Play
from .wire import SSE

_FOREVER = 3600.0
_BOMB_BYTES = 64 * 1024 * 1024


async def disconnect(play: Play) -> None:
    """RST: before any byte, or after some frames."""
    if play.turn.after_chunks is not None:
        await play.lead(0)
    play.wire.reset()


async def reset_inside(play: Play) -> None:
    await play.lead(2)
    await play.wire.write(b'data: {"choices": [{"delta": {"role": "assis')
    play.wire.reset()


async def eof(play: Play) -> None:
    await play.lead(2)
    play.wire.hang_up()


async def half_close(play: Play) -> None:
    await play.lead(2)
    play.wire.close_half()
    await play.wire.pause(play.seconds(60))
    play.wire.hang_up()


async def stale(play: Play) -> None:
    """A proper answer; the next request on the same connection meets a reset."""
    await play.rest()
    play.wire.spoil()


async def slow_head(play: Play) -> None:
    await play.wire.pause(play.seconds(30))
    await play.rest()


async def slow_first(play: Play) -> None:
    await play.wire.open()
    await play.wire.pause(play.seconds(90))
    await play.rest()


async def stall(play: Play) -> None:
    await play.lead(2)
    await play.wire.pause(play.seconds(_FOREVER))
    play.wire.hang_up()


async def stall_noisy(play: Play) -> None:
    """Silence of the model under a chattering connection: comments say nothing about progress."""
    await play.lead(2)
    total = play.seconds(_FOREVER)
    beat = min(1.0, total / 4)
    for _ in range(int(total / beat)):
        await play.wire.write(b": still here\n\n")
        await play.wire.pause(beat)
    play.wire.hang_up()


async def drip(play: Play) -> None:
    """One byte, a pause, one byte."""
    for byte in play.spelled():
        await play.wire.write(bytes([byte]))
        await play.wire.pause(play.seconds(1))
    await play.done()


async def lump(play: Play) -> None:
    """The whole answer in one write, or with `tcp_bytes` in pieces as small as wanted."""
    await play.wire.write(play.spelled())
    await play.done()


async def empty(play: Play) -> None:
    await play.wire.open()
    await play.wire.end()


async def odd_type(play: Play) -> None:
    await play.wire.open({"Content-Type": "application/octet-stream; charset=gbk"})
    await play.rest()


async def gzipped(play: Play) -> None:
    await _encoded(play, gzip.compress(play.spelled()))
    play.finished = True


async def gzip_cut(play: Play) -> None:
    whole = gzip.compress(play.spelled())
    await _encoded(play, whole[: len(whole) // 2])


async def gzip_garbage(play: Play) -> None:
    await _encoded(play, b"this is no gzip at all")


async def gzip_bomb(play: Play) -> None:
    """64 MiB of one letter in 64 KiB."""
    packer = zlib.compressobj(wbits=31)
    packed = [packer.compress(b"data: "), *(packer.compress(b"a" * 65536) for _ in range(_BOMB_BYTES // 65536))]
    await _encoded(play, b"".join([*packed, packer.flush()]))


async def _encoded(play: Play, data: bytes) -> None:
    await play.wire.open({"Content-Type": SSE, "Content-Encoding": "gzip"})
    await play.wire.write(data)
    await play.wire.end()


async def chunk_lie(play: Play) -> None:
    """A chunk that names a size and is shorter, then the end of the connection."""
    await play.lead(2)
    play.wire.raw(b"ffff\r\ndata: too short\r\n")
    play.wire.hang_up()


async def chunk_garbage(play: Play) -> None:
    await play.lead(2)
    play.wire.raw(b"not a size\r\n\r\n")
    play.wire.hang_up()


async def length_short(play: Play) -> None:
    """Content-Length promises more than comes."""
    data = play.spelled()
    await play.wire.open(length=len(data) + 1000)
    await play.wire.write(data)
    play.wire.hang_up()


async def length_long(play: Play) -> None:
    """More comes than Content-Length promised."""
    data = play.spelled()
    await play.wire.open(length=len(data))
    await play.wire.write(data)
    play.wire.raw(b"data: surplus\n\n")
    play.wire.hang_up()
    play.finished = True
