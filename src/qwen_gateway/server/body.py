"""Request bodies, counted while they come."""

import asyncio

from qwen_gateway.server.callers import Headers
from qwen_gateway.server.paths import Receive
from qwen_gateway.turn.faults import BodyTooLarge, ClientLeft, InvalidRequest

STALL = 30.0
"""Seconds that a client may pause in the middle of its body."""


async def read_body(receive: Receive, headers: Headers, limit: int) -> bytes:
    """The whole body. Raises BodyTooLarge, InvalidRequest for an encoded one, ClientLeft."""
    for name, value in headers:
        if name == b"content-length" and _more(value, limit):
            raise _too_large(limit)
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise InvalidRequest("Send the body without Content-Encoding.", code="unsupported_encoding")
    try:
        async with asyncio.timeout(STALL) as patience:
            return await _read(receive, limit, patience)
    except TimeoutError as problem:
        raise ClientLeft("The client stopped in the middle of its request.") from problem


def _more(length: bytes, limit: int) -> bool:
    """Whether a Content-Length is beyond the limit. Python refuses to read a number of thousands of digits."""
    return length.isdigit() and (len(length.lstrip(b"0")) > 18 or int(length) > limit)


async def _read(receive: Receive, limit: int, patience: asyncio.Timeout) -> bytes:
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft("The client left before its request was complete.")
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        patience.reschedule(asyncio.get_running_loop().time() + STALL)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request is larger than this gateway takes ({limit:,} bytes).")
