"""One request to the object storage while it is served: its ticket, its body, the headers of its answer.

Here: reading a body at the programmed pace and up to where it is to break off. Not here: what becomes of it (`oss`,
`oss_parts`).
"""

import asyncio
import uuid
from collections.abc import Callable

from aiohttp import web

from .objects import Call
from .oss_refusals import OssError
from .oss_signatures import Asked
from .site import SITE
from .tickets import Ticket

_BLOCK = 64 * 1024


class DroppedError(Exception):
    """The connection is to be reset."""


class Visit:
    """`cut`: bytes after which the connection is reset."""

    def __init__(self, request: web.Request, asked: Asked, call: Call) -> None:
        self.site = request.app[SITE]
        self.asked = asked
        self.call = call
        self.ticket: Ticket | None = None
        self.cut: int | None = None
        self._content = request.content

    def ticketed(self) -> Ticket:
        if self.ticket is None:
            raise OssError("AccessDenied")
        return self.ticket

    def content_type(self) -> str:
        return self.asked.header("content-type") or "application/octet-stream"

    async def read(self, take: Callable[[bytes], None]) -> None:
        async for data in self._content.iter_chunked(_BLOCK):
            self.call.received += len(data)
            take(data)
            if self.cut is not None and self.call.received >= self.cut:
                raise DroppedError
            await asyncio.sleep(self.site.switches.oss_delay_ms / 1000 * len(data) / _BLOCK)

    async def drain(self) -> None:
        """What a refused client still sends: it may only listen once it has said all."""
        async for data in self._content.iter_chunked(_BLOCK):
            self.call.received += len(data)


def headers(etag: str | None = None, crc64: int | None = None) -> dict[str, str]:
    found = {"Server": "AliyunOSS", "x-oss-request-id": uuid.uuid4().hex[:24].upper()}
    if etag is not None:
        found["ETag"] = etag
    if crc64 is not None:
        found["x-oss-hash-crc64ecma"] = str(crc64)
    return found
