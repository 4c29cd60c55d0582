"""A small object storage on a socket, and files to put there. It does what a test says, and writes down what came."""

import asyncio
import hashlib
import io
import ssl
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import BinaryIO
from urllib.parse import quote

from aiohttp import web
from alibabacloud_oss_v2.crc import Crc64  # type: ignore[import-untyped]

from qwen_gateway.net.oss import OssStorage
from qwen_gateway.turn.files import Ticket

Act = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
"""What is done in place of the usual; `None`: the usual after all."""
SECRETS = ("STS.canaryid", "canarysecret", "canarytoken")


class Memory:
    """Satisfies `Content`. open: readers that nobody has closed."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.open = 0

    @property
    def size(self) -> int:
        return len(self._data)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self._data).hexdigest()

    def reader(self) -> BinaryIO:
        self.open += 1
        return _Counted(self._data, self)

    def close(self) -> None:
        pass


class _Counted(io.BytesIO):
    def __init__(self, data: bytes, content: Memory) -> None:
        super().__init__(data)
        self._content = content

    def close(self) -> None:
        if not self.closed:
            self._content.open -= 1
        super().close()


class Zeros:
    """Satisfies `Content`: many bytes that nobody has to keep."""

    sha256 = ""

    def __init__(self, size: int) -> None:
        self.size = size

    def reader(self) -> BinaryIO:
        return _Zeros(self.size)

    def close(self) -> None:
        pass


class _Zeros(io.BytesIO):
    def __init__(self, size: int) -> None:
        super().__init__()
        self._size, self._at = size, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        assert whence == 0
        self._at = offset
        return offset

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert 0 <= size <= 1_000_000, "a file is read in pieces"
        data = bytes(min(size, self._size - self._at))
        self._at += len(data)
        return data


class Store:
    """log: what was asked, such as `put`, `begin`, `part 1`, `complete`, `abort`, `list`, `head`. acts: what is done
    instead, by these names without numbers, in turn. objects: bytes and type by key. uploads: parts that are not
    completed."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.acts: defaultdict[str, deque[Act]] = defaultdict(deque)
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.keys: dict[str, str] = {}  # of these uploads
        self.begun = 0
        self.headers: list[dict[str, str]] = []
        self.endpoint = ""
        self.keeps = True
        self.running = self.most = 0  # parts at the same time

    async def serve(self, request: web.Request) -> web.StreamResponse:
        name, number = _named(request)
        self.log.append(f"{name} {number}" if number else name)
        self.headers.append(dict(request.headers))
        if self.acts[name] and (done := await self.acts[name].popleft()(request)) is not None:
            return done
        return await self.usual(request)

    async def usual(self, request: web.Request) -> web.Response:
        name, number = _named(request)
        key, upload = request.path.removeprefix("/bucket/"), request.query.get("uploadId", "")
        if name in {"part", "put"}:
            return await self._take(request, key, upload, number)
        answers: dict[str, Callable[[], web.Response]] = {
            "begin": lambda: self._begin(key),
            "complete": lambda: self._complete(key, upload),
            "abort": lambda: self._abort(upload),
            "list": lambda: self._listing(request.query["prefix"]),
            "head": lambda: self._head(key),
        }
        return answers[name]()

    def _begin(self, key: str) -> web.Response:
        self.begun += 1
        self.uploads[f"up-{self.begun}"] = {}
        self.keys[f"up-{self.begun}"] = key
        return _xml("InitiateMultipartUploadResult", UploadId=f"up-{self.begun}", Key=key, Bucket="bucket")

    def _complete(self, key: str, upload: str) -> web.Response:
        parts = self.uploads.pop(upload, None)
        if parts is None:
            return refusal("NoSuchUpload", 404)
        data = b"".join(parts[number] for number in sorted(parts))
        self.objects[key] = data, ""
        return _xml("CompleteMultipartUploadResult", {"x-oss-hash-crc64ecma": crc(data)}, Key=key)

    def _abort(self, upload: str) -> web.Response:
        known = self.uploads.pop(upload, None) is not None
        return web.Response(status=204) if known else refusal("NoSuchUpload", 404)

    def _listing(self, prefix: str) -> web.Response:
        """Of this prefix, as the real one does: also of other keys that begin alike."""
        found = [(upload, self.keys.get(upload, "")) for upload in self.uploads]
        told = "".join(
            f"<Upload><Key>{quote(key, safe='')}</Key><UploadId>{upload}</UploadId></Upload>"
            for upload, key in found
            if key.startswith(prefix)
        )
        text = f"<ListMultipartUploadsResult><EncodingType>url</EncodingType>{told}</ListMultipartUploadsResult>"
        return web.Response(text=text, content_type="application/xml")

    def _head(self, key: str) -> web.Response:
        if key not in self.objects:
            return web.Response(status=404)
        data = self.objects[key][0]
        return web.Response(headers={"Content-Length": str(len(data)), "x-oss-hash-crc64ecma": crc(data)})

    async def _take(self, request: web.Request, key: str, upload: str, number: int) -> web.Response:
        self.running += 1
        self.most = max(self.most, self.running)
        data, total = bytearray(), 0
        try:
            async for piece in request.content.iter_any():
                total += len(piece)
                if self.keeps:
                    data += piece
        finally:
            self.running -= 1
        assert total == int(request.headers["Content-Length"])
        kept = bytes(data)
        if number:
            self.uploads[upload][number] = kept
        else:
            self.objects[key] = kept, request.headers["Content-Type"]
        headers = {"ETag": f'"{total}"'} | ({"x-oss-hash-crc64ecma": crc(kept)} if self.keeps else {})
        return web.Response(headers=headers)


def _named(request: web.Request) -> tuple[str, int]:
    query = request.query
    if request.method == "POST":
        return ("begin" if "uploads" in query else "complete"), 0
    if request.method in {"GET", "HEAD"}:
        return ("list" if "uploads" in query else "head"), 0
    if request.method == "DELETE":
        return "abort", 0
    return ("part", int(query["partNumber"])) if "partNumber" in query else ("put", 0)


def crc(data: bytes) -> str:
    counted = Crc64(0)
    counted.update(data)
    return str(counted.sum64())


def _xml(root: str, headers: dict[str, str] | None = None, **fields: str) -> web.Response:
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    return web.Response(text=f"<{root}>{inner}</{root}>", content_type="application/xml", headers=headers)


def refusal(code: str, status: int, message: str = "") -> web.Response:
    """The storage repeats what it was sent, as the genuine one does of signatures."""
    said = message or " ".join(SECRETS)
    text = f"<Error><Code>{code}</Code><Message>{said}</Message><StringToSign>{said}</StringToSign></Error>"
    return web.Response(status=status, text=text, content_type="application/xml")


def refusing(code: str, status: int, message: str = "") -> Act:
    async def act(request: web.Request) -> web.StreamResponse:
        await request.read()
        return refusal(code, status, message)

    return act


async def breaking(request: web.Request) -> web.StreamResponse | None:
    """In the middle of the bytes."""
    await request.content.readany()
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def losing(store: Store) -> Act:
    """Does the usual, and the answer gets lost."""

    async def act(request: web.Request) -> web.StreamResponse | None:
        await store.usual(request)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return act


def delaying(store: Store, reached: asyncio.Event, answering: asyncio.Event) -> Act:
    """Does the usual at once, and answers later."""

    async def act(request: web.Request) -> web.StreamResponse | None:
        answer = await store.usual(request)
        reached.set()
        await answering.wait()
        return answer

    return act


async def damaging(request: web.Request) -> web.StreamResponse | None:
    await request.read()
    return web.Response(headers={"ETag": '"x"', "x-oss-hash-crc64ecma": "1"})


def holding(reached: asyncio.Event, *, reads: bool) -> Act:
    """Does not answer. reads: takes the bytes all the same."""

    async def act(request: web.Request) -> web.StreamResponse | None:
        if reads:
            await request.read()
        reached.set()
        await asyncio.sleep(3600)
        return None

    return act


@asynccontextmanager
async def storing(tls: ssl.SSLContext | None = None) -> AsyncIterator[Store]:
    store = Store()
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{path:.*}", store.serve)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    store.endpoint = f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield store
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client(
    *, above: int = 1000, part: int = 1000, single: int = 100_000, seconds: float = 20
) -> AsyncIterator[OssStorage]:
    made = OssStorage(
        multipart_above=above, part_size=part, single_put_max=single, connect_seconds=seconds, seconds=seconds
    )
    try:
        yield made
    finally:
        await made.close()


def ticket(endpoint: str) -> Ticket:
    key_id, secret, token = SECRETS
    return Ticket(
        "file-1",
        "https://x.test",
        "bucket",
        "user/file-1_a b.txt",
        "oss-ap-southeast-1",
        endpoint,
        key_id,
        secret,
        token,
    )
