"""The files of one request: what they are, and where they are once its turns have brought them to the site."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from msgspec import Struct, structs

from qwen_gateway.history.pack import Document
from qwen_gateway.media import abilities, inline, kinds
from qwen_gateway.media.limits import Limits
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.file_ports import Fetched, Fetcher, FileStore, StoredFile
from qwen_gateway.relay.ports import Ambient
from qwen_gateway.relay.together import all_of, ended
from qwen_gateway.relay.uploads import FRESH, Uploads
from qwen_gateway.turn.catalog import Catalog, Model
from qwen_gateway.turn.content import Bytes
from qwen_gateway.turn.faults import Busy, Fault, InvalidRequest, NotFound, TimedOut, UploadFailed
from qwen_gateway.turn.files import Content, Facts, FilePart, Given, Kind, Remote, SiteFile

HISTORY = "messages"
"""What stands for the document of a conversation's oldest part where parts of the request are named."""

Progress = Callable[[FilePart, int, int], None]
"""Told which file is on its way, how many of its bytes have arrived, and how many it has."""
_KINDS: dict[Kind, str] = {"image": "a picture", "audio": "a sound", "video": "a video", "document": "a document"}

_log = structlog.get_logger()


class FileManner(Struct, frozen=True):
    """inline: bytes up to which a text file is said in the message. seconds: for all uploads of one question."""

    limits: Limits
    inline: int
    seconds: float


class _Whole(Struct, frozen=True):
    """A file of which all is known that the site is told."""

    part: FilePart
    facts: Facts
    content: Callable[[], Awaitable[Content]]


class _There(Struct, frozen=True):
    """A file that has been brought to an account. since: seconds since 1970."""

    file: SiteFile
    part: FilePart
    facts: Facts
    since: float

    def at(self, now: float) -> SiteFile:
        """As a question names it then: other files may have taken long meanwhile."""
        return self.file if now - self.since < FRESH else self.file.kept()


_Known = tuple[str, str, Kind | None, str, str]
"""An account's key, and what the request says of a file."""


class FileWays(Struct, frozen=True):
    """Where files are looked up, fetched from and brought to, and in which manner."""

    store: FileStore
    fetcher: Fetcher
    uploads: Uploads
    ambient: Ambient
    manner: FileManner


def nothing_seen(part: FilePart, arrived: int, total: int) -> None:
    """For a turn whose uploads nobody watches."""


class TurnFiles:
    """The files of one request. Each of its turns opens them when it begins, and closes them when it is over: what was
    fetched for one of them serves the others, and goes with the last."""

    def __init__(self, ways: FileWays, model: Model, catalog: Callable[[], Awaitable[Catalog]]) -> None:
        self._ways, self._model, self._catalog = ways, model, catalog
        self._stored: dict[str, StoredFile] = {}
        self._fetched: dict[str, asyncio.Task[Fetched]] = {}
        self._opened: list[Content] = []
        self._there: dict[_Known, _There] = {}
        self._refused: list[tuple[Account, list[_There]]] = []
        self._turns = 0

    def open(self) -> None:
        self._turns += 1

    # -- looked at

    async def told(self, part: FilePart, content: Content) -> FilePart:
        """The part, with what its bytes say. Raises InvalidRequest and BodyTooLarge."""
        with content.reader() as reader:
            head = reader.read(kinds.HEAD)
        looked = kinds.look(head, content.size, claimed_kind=part.kind, claimed_type=part.media_type, name=part.name)
        await self.check(looked.kind, content.size)
        return structs.replace(
            part,
            kind=looked.kind,
            media_type=looked.media_type,
            name=looked.name,
            identity=f"sha256:{content.sha256}",
            size=content.size,
            text=self._text(looked.kind, looked.media_type, content),
        )

    async def kept(self, part: FilePart, file: StoredFile) -> FilePart:
        """The part, with what is known of a file that was looked at when it was kept."""
        if part.kind not in (None, file.kind):
            raise InvalidRequest(
                f"The file {file.id!r} is kept as {file.media_type}, and stands where {_KINDS[part.kind]} belongs.",
                code="unsupported_file",
            )
        await self.check(file.kind, file.size)
        self._stored[file.id] = file
        text = None
        if file.kind == "document" and file.size <= self._ways.manner.inline:
            content = await self._kept_content(file)
            try:
                text = self._text(file.kind, file.media_type, content)
            finally:
                content.close()
        return structs.replace(
            part,
            kind=file.kind,
            media_type=file.media_type,
            name=file.name,
            identity=f"sha256:{file.sha256}",
            size=file.size,
            text=text,
        )

    async def check(self, kind: Kind, size: int | None) -> None:
        """Raises BodyTooLarge, and InvalidRequest when this model does not take such files."""
        if size is not None:
            self._ways.manner.limits.check_size(kind, size)
        if not abilities.takes(self._model, kind):
            raise abilities.refusal(self._model, kind, await self._catalog())

    def _text(self, kind: Kind, media_type: str, content: Content) -> str | None:
        if kind != "document" or content.size > self._ways.manner.inline:
            return None
        with content.reader() as reader:
            return inline.as_text(reader.read(), media_type)

    # -- brought to the site

    async def uploaded(self, account: Account, parts: Sequence[FilePart], progress: Progress) -> tuple[SiteFile, ...]:
        """How questions on this account name these files. Raises faults that name the part. That the document of a
        conversation could not be brought is nothing that the client could mend, but by asking once more: Busy."""
        manner = self._ways.manner
        try:
            async with asyncio.timeout(manner.seconds):
                whole = await all_of([self._whole(part) for part in parts])
                self.check_together([one.part for one in whole])
                pairs = zip(parts, whole, strict=True)
                await all_of([self._put(account, part, one, progress) for part, one in pairs])
        except TimeoutError:
            fault = TimedOut(
                f"The files could not be uploaded to Qwen's site within {manner.seconds:g} s (`upload_timeout`).",
                code="upload_timeout",
                param=self._late(account, parts).param,
            )
            raise (_not_told(fault) if fault.param == HISTORY else fault) from None
        now = self._ways.ambient.now()
        return tuple(self._there[_known(account, part)].at(now) for part in parts)

    def there(self, account: Account, parts: Sequence[FilePart]) -> tuple[SiteFile, ...] | None:
        """As `uploaded`, where that has been done: a turn that asks again needs nothing anew, whatever is remembered of
        uploads elsewhere."""
        found = [self._there.get(_known(account, part)) for part in parts]
        now = self._ways.ambient.now()
        files = tuple(one.at(now) for one in found if one is not None)
        return files if len(files) == len(parts) else None

    def _late(self, account: Account, parts: Sequence[FilePart]) -> FilePart:
        """The first that is being fetched; then the first that is not at the site."""
        fetched = {url for url, task in self._fetched.items() if task.done()}
        coming = [part for part in parts if isinstance(part.source, Remote) and part.source.url not in fetched]
        missing = [part for part in parts if _known(account, part) not in self._there]
        return [*coming, *missing, *parts][0]

    def check_together(self, parts: Sequence[FilePart]) -> None:
        """Raises InvalidRequest. Also for more files of unknown kinds than there could be of all."""
        limits, attached = self._ways.manner.limits, [part for part in parts if part.param != HISTORY]
        limits.check_together(attached)
        most = limits.pictures + limits.documents + limits.sounds + limits.videos
        if len(attached) > most:
            raise InvalidRequest(
                f"`{attached[most].param}`: one question can hold {most} files at most.",
                code="too_many_files",
                param=attached[most].param,
            )

    async def _put(self, account: Account, asked: FilePart, whole: _Whole, progress: Progress) -> None:
        part, total, key = whole.part, whole.facts.size, _known(account, asked)
        if key not in self._there:
            try:
                file = await self._ways.uploads.ensure(
                    account, part, whole.content, whole.facts, progress=lambda arrived: progress(part, arrived, total)
                )
            except (UploadFailed, InvalidRequest, TimedOut) as fault:
                if part.param == HISTORY:
                    raise _not_told(fault) from fault
                raise
            self._there[key] = _There(file, part, whole.facts, self._ways.ambient.now())

    async def _whole(self, part: FilePart) -> _Whole:
        if isinstance(part.source, Remote):
            return await self._fetched_whole(part, part.source.url)
        return _Whole(part, _facts(part), lambda: self._content(part))

    async def _content(self, part: FilePart) -> Content:
        if isinstance(part.source, Given):
            return part.source.content
        if isinstance(part.source, Remote):
            raise TypeError("a file that was fetched comes with its bytes")
        with Naming(part):
            content = await self._kept_content(self._stored[part.source.id])
        self._opened.append(content)
        return content

    async def _kept_content(self, file: StoredFile) -> Content:
        """Raises InvalidRequest where the bytes are gone: with 404, clients would take the model for what is not
        there."""
        try:
            return await self._ways.store.content(file)
        except NotFound as fault:
            raise InvalidRequest(fault.text, code=fault.code) from fault

    async def _fetched_whole(self, part: FilePart, url: str) -> _Whole:
        with Naming(part):
            if url not in self._fetched:
                self._fetched[url] = asyncio.create_task(self._fetch(part, url))
            # Shielded: another part may wait for the same file, and `close` ends it.
            got = await asyncio.shield(self._fetched[url])
            named = structs.replace(part, media_type=part.media_type or got.media_type, name=part.name or got.name)
            told = await self.told(named, got.content)

        async def there() -> Content:
            return got.content

        return _Whole(told, _facts(told), there)

    async def _fetch(self, part: FilePart, url: str) -> Fetched:
        got = await self._ways.fetcher.fetch(url, part.param, self._ways.manner.limits.most(part.kind))
        self._opened.append(got.content)
        return got

    def refused(self, account: Account, parts: Sequence[FilePart]) -> None:
        """The site could not use one of the files in a question: as this account has them there, they are not used
        again."""
        self._refused.append((account, [self._there[_known(account, part)] for part in parts]))

    async def close(self) -> None:
        """Gives back what was fetched or opened, unless another turn needs it. No upload of this one runs any more."""
        self._turns -= 1
        if self._turns > 0:
            return
        try:
            fetched, self._fetched = self._fetched, {}
            await ended(fetched.values())
            while self._refused:
                account, files = self._refused.pop()
                await self._ways.uploads.forget(account, [(one.part, one.facts) for one in files])
        finally:
            while self._opened:
                self._opened.pop().close()


def _not_told(fault: Fault) -> Busy:
    _log.info("history_not_uploaded", code=fault.code, why=fault.text)
    return Busy(
        "The conversation is too long for one message of Qwen's site, and its oldest part could not be brought there "
        "as a document. Try again, or shorten the conversation.",
        code="upload_failed",
        param=HISTORY,
        retry_after=fault.retry_after,
    )


def _known(account: Account, part: FilePart) -> _Known:
    return account.key, part.identity, part.kind, part.media_type, part.name


def _facts(part: FilePart) -> Facts:
    if part.kind is None or part.size is None:
        raise ValueError("the file has not been looked at")
    return Facts(part.name, part.kind, part.media_type, part.size)


class Naming:
    """Faults from within say which part of the request they are about."""

    def __init__(self, part: FilePart) -> None:
        self._param = part.param

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if isinstance(problem, Fault) and problem.param is None:
            problem.param = self._param


def document_part(document: Document) -> FilePart:
    """A text of ours as a file to attach. It is none of those that a client may attach so many of."""
    content = Bytes(document.text.encode())
    return FilePart(
        Given(content),
        "document",
        "text/plain",
        document.name,
        HISTORY,
        identity=f"sha256:{content.sha256}",
        size=content.size,
    )


def about_tokens(part: FilePart) -> int:
    """About how many the model reads of a file: a guess, since the site counts them in its own way."""
    if part.kind == "document":
        return (part.size or 0) // 4
    return 1280  # what Qwen's models take of a picture of usual size
