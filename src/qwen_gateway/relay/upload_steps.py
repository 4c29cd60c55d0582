"""One file on its way to the site: leave to put it there, its bytes, and for a document that the site reads it.

ticket ──► put ──► parse ──► parsed? … parsed? ──► SiteFile
  ▲         │      (kinds that the site parses)
  └─────────┘ the leave has run out: once
"""

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from qwen_gateway.relay.account import Account
from qwen_gateway.relay.drive import drive
from qwen_gateway.relay.file_ports import ObjectStorage
from qwen_gateway.relay.ports import Ambient, Transport
from qwen_gateway.relay.renewal import Renewal
from qwen_gateway.turn.contracts import Upstream
from qwen_gateway.turn.faults import Fault, SiteError, TimedOut, Unreachable, UploadFailed
from qwen_gateway.turn.files import Content, Facts, SiteFile, Ticket
from qwen_gateway.turn.flow import Flow, Result

FIRST_LOOK, LONGEST_LOOK = 0.5, 3.0
"""Seconds between looks whether a document is parsed: 2 to 3 s for a small one (2026-09)."""
LOST_LOOKS = 3
"""Calls of one parsing that may get lost on the way."""


class Bringing(Struct, frozen=True):
    """What one upload is about. parted: told what it takes to end an upload in parts, before its first part is sent.
    left: the same of one that could not be ended. progress: as `ObjectStorage.put` means it. arrived: told once all
    bytes are there, before the site reads them."""

    account: Account
    content: Content
    facts: Facts
    parted: Callable[[Ticket, str], Awaitable[None]]
    left: Callable[[Ticket, str], None]
    progress: Callable[[int], None]
    arrived: Callable[[], None]


class Steps:
    """seconds: bounds each call to the site. parse_seconds: all of one parsing."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts are joined here, once
        self,
        site: Upstream,
        storage: ObjectStorage,
        transport: Transport,
        ambient: Ambient,
        renewal: Renewal | None,
        seconds: float,
        parse_seconds: float,
    ) -> None:
        self._site, self._storage, self._transport, self._ambient = site, storage, transport, ambient
        self._renewal, self._seconds, self._parse_seconds = renewal, seconds, parse_seconds

    async def bring(self, what: Bringing) -> SiteFile:
        """Raises what the site says, UploadFailed, TimedOut and InvalidRequest."""
        try:
            ticket = await self._put(what)
        except SiteError as fault:
            if fault.code != "upload_expired":
                raise
            ticket = await self._put_again(what)
        what.arrived()
        if what.facts.kind in self._site.parses:
            await self._parse(what.account, ticket.file_id)
        return self._site.site_file(ticket, what.facts, self._ambient.moment())

    # -- the bytes

    async def _put_again(self, what: Bringing) -> Ticket:
        try:
            return await self._put(what)
        except SiteError as fault:
            if fault.code != "upload_expired":
                raise
            raise UploadFailed(
                "Qwen's storage refused its own site's leave to upload, twice. Is this computer's clock right?"
            ) from None

    async def _put(self, what: Bringing) -> Ticket:
        account, at = what.account, self._ambient.moment()
        ticket = await self._call(account, self._site.ticket(account.session, at, what.facts))
        try:
            await self._storage.put(
                ticket,
                what.content,
                what.facts.media_type,
                parted=lambda upload: what.parted(ticket, upload),
                left=lambda upload: what.left(ticket, upload),
                progress=what.progress,
            )
        except (SiteError, Unreachable) as fault:
            if fault.code == "upload_expired":
                raise
            raise _failed(fault) from None
        return ticket

    # -- reading

    async def _parse(self, account: Account, file_id: str) -> None:
        try:
            async with asyncio.timeout(self._parse_seconds):
                await self._parsed(account, file_id)
        except TimeoutError:
            raise TimedOut(
                f"Qwen's site did not get done with reading this document within {self._parse_seconds:g} s. Try again, "
                "or put its text into the message.",
                code="file_parse_timeout",
            ) from None
        except SiteError as fault:
            raise _failed(fault) from None

    async def _parsed(self, account: Account, file_id: str) -> None:
        wait, lost, begun = FIRST_LOOK, 0, False
        while True:
            at = self._ambient.moment()
            try:
                if not begun:
                    await self._call(account, self._site.parse(account.session, at, file_id))
                    begun = True
                elif await self._call(account, self._site.is_parsed(account.session, at, file_id)):
                    return
            except (Unreachable, TimedOut):
                lost += 1  # the file is there: better to ask again than to bring it again
                if lost > LOST_LOOKS:
                    raise
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, LONGEST_LOOK)

    async def _call(self, account: Account, flow: Flow[Result]) -> Result:
        """An upload can take longer than the access token that it was begun with lives."""
        if self._renewal is not None:
            await self._renewal.ensure_fresh(account)
        return await drive(flow, self._transport, account, self._seconds)


def _failed(fault: Fault) -> UploadFailed:
    """Not worth another try of the whole turn: each part of it has had some of its own."""
    code = fault.code if fault.code.startswith("upload_") else ""
    return UploadFailed(fault.text, code=code, retry_after=fault.retry_after)
