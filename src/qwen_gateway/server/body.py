"""Request bodies, counted while they come."""

from qwen_gateway.server.callers import Headers
from qwen_gateway.server.paths import Receive
from qwen_gateway.turn.faults import BodyTooLarge, ClientLeft, InvalidRequest


async def read_body(receive: Receive, headers: Headers, limit: int) -> bytes:
    """The whole body. Raises BodyTooLarge, InvalidRequest for an encoded one, ClientLeft."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise _too_large(limit)
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise InvalidRequest("Send the body without Content-Encoding.", code="unsupported_encoding")
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


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request is larger than this gateway takes ({limit:,} bytes).")
