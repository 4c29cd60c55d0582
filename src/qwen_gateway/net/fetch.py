"""Fetches files from addresses that clients give, without being made to fetch from where only this machine can.

A name is looked up once for each request; all answers must be allowed, and the connection goes to one of them and
nowhere else. Redirects are followed here, each one judged as the first address was.
"""

import asyncio
import re
import socket
import ssl
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from urllib.parse import unquote

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from qwen_gateway.net.addresses import Address, Refused, read
from qwen_gateway.net.lookups import Lookups
from qwen_gateway.net.public_addresses import IP, Network, Reach
from qwen_gateway.relay.file_ports import Fetched, Spool, SpoolWriter
from qwen_gateway.turn.faults import BodyTooLarge, InvalidRequest
from qwen_gateway.turn.files import last_part

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host name and port → IP addresses. Raises OSError."""

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_INSTEAD = "Send the file itself: as a data URL, or uploaded to `/v1/files`."
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")
_EXTENDED_NAME = re.compile(r"""(?:^|;)\s*filename\*\s*=\s*(utf-8|iso-8859-1)'[^';]*'([^;\s]*)""", re.IGNORECASE)
_PLAIN_NAME = re.compile(r"""(?:^|;)\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]*))""", re.IGNORECASE)
MAX_NAME = 255
"""Characters; of a longer name the end stays, which tells the type."""


class _Failed(Exception):
    """No file came from the address. Its text follows "The file could not be fetched: "."""


class _TooLong(Exception):
    pass


class GuardedFetch:
    """Satisfies `relay.file_ports.Fetcher`.

    on: whether anything is fetched at all. networks: may be fetched from besides public addresses. seconds: for one
    file, redirects and all. connect: seconds for a lookup, and for a connection. resolve: in place of `Lookups`. tls:
    in place of the certificates that this machine trusts.
    """

    def __init__(  # noqa: PLR0913 - the settings of one thing
        self,
        spool: Spool,
        *,
        on: bool,
        own_user_agent: str,
        networks: Sequence[Network] = (),
        seconds: float = 30.0,
        connect: float = 5.0,
        redirects: int = 3,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._spool, self._on, self._reach, self._resolve = spool, on, Reach(networks), resolve or Lookups()
        self._seconds, self._connect, self._redirects, self._tls = seconds, connect, redirects, tls
        # Packed bodies are refused, so none is asked for: a few bytes of one can become gigabytes.
        self._headers = {"User-Agent": own_user_agent, "Accept": "*/*", "Accept-Encoding": "identity"}

    async def fetch(self, url: str, param: str, limit: int) -> Fetched:
        if not self._on:
            text = "Fetching files from addresses is switched off here (`fetch_urls`). " + _INSTEAD
            raise InvalidRequest(text, code="url_not_allowed", param=param)
        writer = self._spool.begin()
        try:
            async with asyncio.timeout(self._seconds):
                media_type, name = await self._fill(writer, url, limit)
            return Fetched(await writer.finish(), media_type, name)
        except Refused as reason:
            text = f"This address is not fetched, because {reason}. {_INSTEAD}"
            raise InvalidRequest(text, code="url_not_allowed", param=param) from reason
        except _Failed as reason:
            text = f"The file could not be fetched: {reason}. Check the address, or send the file itself."
            raise InvalidRequest(text, code="url_unreachable", param=param) from reason
        except TimeoutError as reason:
            text = f"The file could not be fetched whole within {self._seconds:g} s. {_INSTEAD}"
            raise InvalidRequest(text, code="url_unreachable", param=param) from reason
        except _TooLong as reason:
            text = f"The file at this address is larger than the {limit:,} bytes that are taken. Send a smaller one."
            raise BodyTooLarge(text, code="file_too_large", param=param) from reason
        finally:
            writer.discard()

    async def _fill(self, writer: SpoolWriter, url: str, limit: int) -> tuple[str, str]:
        """Media type and name of what was written."""
        address = read(url)
        answers = await self._judged(address)
        for _ in range(self._redirects + 1):
            async with self._asked(address, answers) as reply:
                if reply.status not in _REDIRECTS:
                    await _copy(reply, writer, limit)
                    return _media_type(reply), _name(reply, address)
                location = _location(reply)
            try:
                address = address.redirected(location)
                answers = await self._judged(address)
            except Refused as reason:
                raise Refused(f"it redirects to another one, which is not fetched because {reason}") from reason
        raise _Failed(f"it was redirected more than {self._redirects} times")

    @asynccontextmanager
    async def _asked(self, address: Address, answers: Sequence[IP]) -> AsyncIterator[aiohttp.ClientResponse]:
        """A session for one request, so that nothing of one reaches another."""
        connector = aiohttp.TCPConnector(
            resolver=_Answers(answers), use_dns_cache=False, force_close=True, ssl=self._tls or True
        )
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect),
            headers=self._headers,
            auto_decompress=False,
            trust_env=False,
        ) as session:
            with _named():
                reply = await session.get(address.url, allow_redirects=False)
            try:
                yield reply
            finally:
                reply.close()

    async def _judged(self, address: Address) -> Sequence[IP]:
        """The IP addresses at which it may be asked. Raises Refused."""
        answers = [address.ip] if address.ip is not None else await self._looked_up(address)
        if not all(map(self._reach.allows, answers)):
            raise Refused("its host is not a public address")
        return answers

    async def _looked_up(self, address: Address) -> Sequence[IP]:
        try:
            async with asyncio.timeout(self._connect):
                answers = [ip_address(text) for text in await self._resolve(address.host, address.port)]
        except (OSError, ValueError) as problem:  # TimeoutError is one; a name that IDNA cannot hold is a ValueError
            raise _Failed("its host name could not be looked up") from problem
        if not answers:
            raise _Failed("its host name could not be looked up")
        return answers


class _Answers(AbstractResolver):
    """Knows but the addresses that were judged. aiohttp asks it for names only; IP addresses it takes as they are."""

    def __init__(self, answers: Sequence[IP]) -> None:
        self._answers = answers

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family
        return [
            ResolveResult(
                hostname=host,
                host=str(ip),
                port=port,
                family=socket.AF_INET if ip.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for ip in self._answers
        ]

    async def close(self) -> None:
        pass


@contextmanager
def _named() -> Iterator[None]:
    """The network's exceptions in our words. They say no more of what was reached than that it was not a web server."""
    try:
        yield
    except TimeoutError as problem:
        raise _Failed("its server could not be reached in time") from problem
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError, ssl.SSLError) as problem:
        raise _Failed("its server showed a certificate that cannot be trusted") from problem
    except aiohttp.ClientConnectorError as problem:
        raise _Failed("its server cannot be reached") from problem
    # RuntimeError: aiohttp's word for a read after a body whose chunks made no sense (as in `transport`).
    except (aiohttp.ClientError, OSError, RuntimeError) as problem:
        raise _Failed("its server broke the connection off, or did not speak HTTP") from problem


async def _copy(reply: aiohttp.ClientResponse, writer: SpoolWriter, limit: int) -> None:
    if reply.status != 200:
        raise _Failed(f"its server answered with the status {reply.status}")
    if reply.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise _Failed("its server sends it compressed, though that was not asked for")
    if (reply.content_length or 0) > limit:
        raise _TooLong
    while True:
        with _named():
            data = await reply.content.readany()
        if not data:
            return
        if writer.size + len(data) > limit:
            raise _TooLong
        await writer.write(data)


def _location(reply: aiohttp.ClientResponse) -> str:
    if location := reply.headers.get("Location", ""):
        return location
    raise _Failed(f"its server answered with the status {reply.status}, without saying where to look instead")


def _media_type(reply: aiohttp.ClientResponse) -> str:
    said = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return said if _MEDIA_TYPE.fullmatch(said) else ""


def _name(reply: aiohttp.ClientResponse, address: Address) -> str:
    said = reply.headers.get("Content-Disposition", "")
    if found := _EXTENDED_NAME.search(said):
        name = unquote(found[2], encoding=found[1].lower(), errors="replace")
    elif found := _PLAIN_NAME.search(said):
        name = re.sub(r"\\(.)", r"\1", found[1]) if found[1] is not None else found[2]
    else:
        name = address.name
    return _last_part(name) or _last_part(address.name)


def _last_part(name: str) -> str:
    name = last_part(name)
    name = "".join(character for character in name if unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp"))
    name = name.strip()[-MAX_NAME:]
    return "" if name in (".", "..") else name
