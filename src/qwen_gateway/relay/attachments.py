"""Looks at the files of a request before anything is asked.

    FilePart of a client ──read──► the same, looked at ──uploaded──► SiteFile, of one account
                          limits, kind, model; nothing leaves us      fetched if need be, uploaded if not there yet
                                                                      (`relay.turn_files`)

A file that stands in a message of long ago is looked at with each request, and goes nowhere when the chat that the turn
goes on in has it already.
"""

from collections.abc import Awaitable, Callable

from msgspec import structs

from qwen_gateway.relay.file_ports import Fetcher, FileStore
from qwen_gateway.relay.ports import Ambient
from qwen_gateway.relay.turn_files import FileManner, FileWays, Naming, TurnFiles
from qwen_gateway.relay.uploads import Uploads
from qwen_gateway.turn.catalog import Catalog, Model
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.files import FilePart, Given, Remote
from qwen_gateway.turn.request import Message, Part, ToolResultPart, TurnRequest


class Attachments:
    def __init__(
        self, store: FileStore, fetcher: Fetcher, uploads: Uploads, ambient: Ambient, manner: FileManner
    ) -> None:
        self.ways = FileWays(store, fetcher, uploads, ambient, manner)

    async def read(
        self, request: TurnRequest, tenant: str, model: Model, catalog: Callable[[], Awaitable[Catalog]]
    ) -> tuple[TurnRequest, TurnFiles]:
        """The request with each file looked at. tenant: whose kept files it may name. catalog: for the names of models
        that take what this one does not. Raises InvalidRequest and BodyTooLarge that name the part."""
        files = TurnFiles(self.ways, model, catalog)
        if not any(_files(part) for message in request.messages for part in message.parts):
            return request, files
        messages = tuple([await self._message(message, tenant, files) for message in request.messages])
        return structs.replace(request, messages=messages), files

    async def _message(self, message: Message, tenant: str, files: TurnFiles) -> Message:
        if not any(map(_files, message.parts)):
            return message
        parts: list[Part] = []
        for part in message.parts:
            if type(part) is FilePart:
                parts.append(await self._looked_at(part, tenant, files))
            elif type(part) is ToolResultPart and part.files:
                seen = [await self._looked_at(one, tenant, files) for one in part.files]
                parts.append(structs.replace(part, files=tuple(seen)))
            else:
                parts.append(part)
        return structs.replace(message, parts=tuple(parts))

    async def _looked_at(self, part: FilePart, tenant: str, files: TurnFiles) -> FilePart:
        with Naming(part):
            if isinstance(part.source, Remote):
                if part.kind is not None:
                    await files.check(part.kind, None)
                return structs.replace(part, identity=f"url:{part.source.url}")
            if isinstance(part.source, Given):
                return await files.told(part, part.source.content)
            kept = await self.ways.store.get(tenant, part.source.id, self.ways.ambient.now())
            if kept is None:
                raise InvalidRequest(
                    f"There is no file {part.source.id[:60]!r}. It may have been deleted, or have expired.",
                    code="file_not_found",
                )
            return await files.kept(part, kept)


def _files(part: Part) -> bool:
    return type(part) is FilePart or (type(part) is ToolResultPart and bool(part.files))
