"""Sends HTTP calls with aiohttp: HTTP/1.1, one pool, no cookies and no redirects of its own.

HTTP/1.1 on purpose: closing the connection is what makes the other side notice that nobody listens any more.
aiohttp because it takes a fifth of httpx's processor time per network chunk (measured 2026-11-20).
"""

import asyncio
import ssl
from collections.abc import Mapping

import aiohttp
from yarl import URL

from qwen_gateway.turn.faults import Drift, Fault, Incomplete, TimedOut, Unreachable
from qwen_gateway.turn.flow import HttpCall, HttpReply

MAX_REPLY = 16 * 1024 * 1024
"""Bytes of a whole reply; the longest we ask for is a list of models of 10 KB."""

# RuntimeError: aiohttp's word for a read after a body whose chunks made no sense, of which it tells nobody else.
_BROKEN = (aiohttp.ClientError, OSError, RuntimeError)


class HttpTransport:
    """Satisfies `relay.ports.Transport`. Open it inside the running loop, and close it there."""

    def __init__(self, *, connect_timeout: float, own_user_agent: str) -> None:
        self._connect_timeout = connect_timeout
        self._session = aiohttp.ClientSession(
            # One pool without limits: admission bounds how much goes on at once.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=20, ttl_dns_cache=60),
            cookie_jar=aiohttp.DummyCookieJar(),  # sessions keep their own cookies
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout),
            headers={"User-Agent": own_user_agent},
            raise_for_status=False,
        )
        # aiohttp sends a GET or DELETE again by itself when the connection breaks. Here a GET can use up the cookie
        # that it was made with (a refresh), so it is for those who know the call to try again. No public switch (3.14).
        self._session._retry_connection = False  # noqa: SLF001

    async def close(self) -> None:
        await self._session.close()

    async def send(self, call: HttpCall, seconds: float) -> HttpReply:
        try:
            async with asyncio.timeout(seconds), self._request(call) as reply:
                body = bytearray()
                while data := await reply.content.readany():
                    body += data
                    if len(body) > MAX_REPLY:
                        raise Drift("Qwen's site sent a reply of more than 16 MB.")
                return HttpReply(reply.status, reply.headers, bytes(body), _cookies(reply))
        except aiohttp.ServerTimeoutError as problem:  # a TimeoutError too, so it comes first
            raise _fault(problem) from problem
        except TimeoutError as problem:
            raise TimedOut(f"Qwen's site did not answer within {seconds:g} s.") from problem
        except _BROKEN as problem:
            raise _fault(problem) from problem

    async def open(self, call: HttpCall, seconds: float) -> "HttpStreamedReply":
        try:
            async with asyncio.timeout(seconds):
                return HttpStreamedReply(await self._request(call))
        except aiohttp.ServerTimeoutError as problem:
            raise _fault(problem) from problem
        except TimeoutError as problem:
            raise TimedOut(f"Qwen's site did not begin to answer within {seconds:g} s.") from problem
        except (aiohttp.ClientError, OSError) as problem:
            raise _fault(problem) from problem

    def _request(self, call: HttpCall) -> "aiohttp.client._RequestContextManager":
        return self._session.request(
            call.method,
            URL(call.url, encoded=True),
            data=call.body or None,
            headers=call.headers,
            allow_redirects=False,
        )


class HttpStreamedReply:
    """Satisfies `relay.ports.StreamedReply`."""

    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        self._reply = reply
        self.status = reply.status
        self.headers: Mapping[str, str] = reply.headers
        self.set_cookies = _cookies(reply)

    async def read(self) -> bytes:
        try:
            return await self._reply.content.readany()
        except _BROKEN as problem:
            raise Incomplete("The connection to Qwen's site broke in the middle of the answer.") from problem

    def abort(self, fault: Fault) -> None:
        self._reply.content.set_exception(fault)

    def close(self) -> None:
        # Back to the pool if the body was read to its end, else closed: the site shall stop sending.
        content = self._reply.content
        if content.at_eof() and content.exception() is None:
            self._reply.release()
        else:
            self._reply.close()


def _cookies(reply: aiohttp.ClientResponse) -> tuple[str, ...]:
    return tuple(reply.headers.getall("Set-Cookie", ()))


def _fault(problem: Exception) -> Fault:
    """Why no reply came. The problem's own text may hold addresses, but nothing that a client sent."""
    if isinstance(problem, aiohttp.ServerTimeoutError | asyncio.TimeoutError):
        return TimedOut("Qwen's site could not be reached in time.", code="upstream_connect_timeout")
    if isinstance(problem, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError | ssl.SSLError):
        return Unreachable(
            "Qwen's site showed a certificate that cannot be trusted. Is a proxy or a log-in page of your network "
            "between?",
            code="upstream_tls",
        )
    if isinstance(problem, aiohttp.ClientConnectorDNSError):
        return Unreachable("The name of Qwen's site could not be looked up. Is there a network?")
    if isinstance(problem, aiohttp.ClientConnectorError):
        return Unreachable("Qwen's site cannot be reached: the connection was refused or is not there.")
    return Unreachable("Qwen's site closed the connection without an answer.")
