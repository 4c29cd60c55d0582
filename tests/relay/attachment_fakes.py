"""Files of turns over fakes: kept ones, addresses, and a site to which they are brought; and parts to ask with."""

import asyncio
from collections import deque

from msgspec import Struct

from qwen_gateway.media.limits import Limits
from qwen_gateway.relay.attachments import Attachments
from qwen_gateway.relay.file_ports import Fetched, Fetcher, StoredFile
from qwen_gateway.relay.turn_files import FileManner
from qwen_gateway.relay.uploads import Uploads
from qwen_gateway.turn.faults import Fault, InvalidRequest
from qwen_gateway.turn.files import Content, FilePart, Given, Kind, Remote, Stored

from .fakes import NOON, Clock, Net, Site, renewal
from .file_fakes import FakeSiteFiles, FakeStorage
from .kept_fakes import PDF, PNG, Bytes, Shelf

LIMITS = Limits(image=50_000, document=50_000, audio=50_000, video=80_000, pictures=3, documents=2)
MP4 = b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2" + bytes(40)
WAV = b"RIFF\x24\0\0\0WAVEfmt " + bytes(40)


class There(Struct, frozen=True):
    """What an address gives."""

    data: bytes
    media_type: str = ""
    name: str = ""


class FakeFetcher:
    """Satisfies `Fetcher`. web: by address. says: faults of the next fetches. holds: fetches of an address wait for
    the event. log: addresses as they were asked for. limits: the bytes that each might have. given: contents handed
    out. left: fetches that were cancelled. says_then: what those say."""

    def __init__(self) -> None:
        self.web: dict[str, There] = {}
        self.says: deque[Fault] = deque()
        self.holds: dict[str, asyncio.Event] = {}
        self.log: list[str] = []
        self.limits: list[int] = []
        self.given: list[Bytes] = []
        self.left = 0
        self.says_then: Fault | None = None

    async def fetch(self, url: str, param: str, limit: int) -> Fetched:
        self.log.append(url)
        self.limits.append(limit)
        await asyncio.sleep(0)
        if url in self.holds:
            try:
                await self.holds[url].wait()
            except asyncio.CancelledError:
                self.left += 1
                if self.says_then is not None:
                    raise self.says_then from None
                raise
        if self.says:
            raise self.says.popleft()
        if url not in self.web:
            raise InvalidRequest("The file could not be fetched.", code="url_unreachable", param=param)
        found = self.web[url]
        self.given.append(Bytes(found.data))
        return Fetched(self.given[-1], found.media_type, found.name)


class Files:
    """What the files of turns need, over a site and a network that the turns have too."""

    def __init__(
        self,
        site: Site,
        net: Net,
        clock: Clock,
        *,
        limits: Limits = LIMITS,
        inline: int = 0,
        seconds: float = 5,
        cache_seconds: float = 3600,
    ) -> None:
        ambient = clock.ambient()
        self.shelf, self.fetcher, self.storage = Shelf(), FakeFetcher(), FakeStorage(net.log)
        self.site_files = FakeSiteFiles()
        self.uploads = Uploads(
            site,
            self.storage,
            self.site_files,
            net,
            ambient,
            owner="me",
            secret=b"secret",
            seconds=9,
            renewal=renewal(site, net, clock),
            cache_seconds=cache_seconds,
        )
        manner = FileManner(limits, inline, seconds)
        self.attachments = Attachments(self.shelf, self.fetcher, self.uploads, ambient, manner)

    def keep(
        self,
        file_id: str,
        data: bytes = PNG,
        *,
        kind: Kind = "image",
        media_type: str = "image/png",
        name: str = "kept.png",
        tenant: str = "tenant",
    ) -> StoredFile:
        """A file that the caller has given before."""
        content = Bytes(data)
        file = StoredFile(file_id, tenant, name, "user_data", media_type, kind, content.size, content.sha256, NOON)
        self.shelf.files[file_id], self.shelf.data[file_id] = file, data
        return file

    @property
    def open(self) -> int:
        """Contents that were handed out and not given back."""
        return sum(not content.closed for content in (*self.shelf.given, *self.fetcher.given))


def given(
    data: bytes | Content = PNG,
    *,
    kind: Kind | None = None,
    media_type: str = "",
    name: str = "",
    param: str = "messages[0].content[1].image_url",
) -> FilePart:
    content = Bytes(data) if isinstance(data, bytes) else data
    return FilePart(Given(content), kind, media_type, name, param)


def kept(file_id: str, *, kind: Kind | None = None, param: str = "messages[0].content[1].file.file_id") -> FilePart:
    return FilePart(Stored(file_id), kind, param=param)


def remote(
    url: str = "https://a.test/cat.png",
    *,
    kind: Kind | None = None,
    media_type: str = "",
    name: str = "",
    param: str = "messages[0].content[1].image_url",
) -> FilePart:
    return FilePart(Remote(url), kind, media_type, name, param)


def picture(number: int = 0) -> bytes:
    """One unlike the others."""
    return PNG + b"%d" % number


def document(number: int = 0) -> bytes:
    return PDF + b"%d" % number


def _satisfied(fetcher: FakeFetcher) -> Fetcher:
    """Only for mypy: the fake is what the port asks for."""
    return fetcher
