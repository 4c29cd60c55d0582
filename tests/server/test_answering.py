"""How a request ends: by its answer, or by a refusal that says whose fault it was. The record knows which."""

import asyncio
from collections.abc import Awaitable, Callable

from structlog.testing import capture_logs

from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.server.answering import JSON, answer
from qwen_gateway.server.exchange import Exchange
from qwen_gateway.server.paths import Message
from qwen_gateway.turn.faults import BodyTooLarge, Busy, ClientLeft, Fault


class Client:
    """The other side of ASGI; it leaves when told to."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.left = asyncio.Event()
        self.exchange = Exchange(self._receive, self._send, [], heartbeat=10, write_timeout=10, hang_up=lambda: None)
        self.record = TurnRecord("req_1", "files")

    async def answered(self, serve: Callable[[], Awaitable[None]]) -> None:
        await answer(self.exchange, self.record, serve, _words)

    async def _receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    def header(self, name: bytes) -> bytes:
        found: dict[bytes, bytes] = dict(self.sent[0]["headers"])
        return found[name]


def _words(fault: Fault) -> bytes:
    return f"refused: {fault.code}".encode()


def raises(problem: BaseException) -> Callable[[], Awaitable[None]]:
    async def serve() -> None:
        raise problem

    return serve


async def test_what_is_served_is_left_as_it_is() -> None:
    client = Client()
    await client.answered(lambda: client.exchange.whole(200, JSON, b"{}"))
    assert (client.status, client.body, client.record.code) == (200, b"{}", "")


async def test_a_fault_is_a_status_in_the_apis_words() -> None:
    client = Client()
    await client.answered(raises(BodyTooLarge("Too large.", code="file_too_large")))
    assert (client.status, client.body) == (413, b"refused: file_too_large")
    assert (client.header(b"x-gateway-fault"), client.header(b"x-should-retry")) == (b"client", b"false")
    record = client.record
    assert (record.status, record.code, record.origin, record.end) == (413, "file_too_large", "client", "refused")


async def test_what_was_asked_of_the_site_has_failed_and_was_not_refused() -> None:
    client = Client()
    client.record.tries = 1
    await client.answered(raises(Busy("Busy.", retry_after=2.5)))
    assert (client.record.end, client.header(b"retry-after")) == ("failed", b"3")


async def test_a_stream_that_has_begun_ends_in_its_own_way() -> None:
    client = Client()

    async def serve() -> None:
        client.exchange.stream_as("text/plain", b"", lambda fault: b"broken: " + fault.code.encode())
        await client.exchange.write(b"some ")
        raise Busy("Busy.")

    await client.answered(serve)
    assert (client.status, client.body) == (200, b"some broken: upstream_busy")
    assert client.record.status == 503


async def test_a_mistake_of_ours_is_told_without_its_words_and_logged_with_them() -> None:
    client = Client()
    with capture_logs() as logs:
        await client.answered(raises(ZeroDivisionError("a secret of ours")))
    assert (client.status, client.body) == (500, b"refused: internal_error")
    assert [(entry["event"], entry["request_id"]) for entry in logs] == [("bug", "req_1")]


async def test_a_client_that_left_is_told_nothing() -> None:
    client = Client()

    async def serve() -> None:
        client.exchange.watch()
        client.left.set()
        await asyncio.sleep(60)

    await client.answered(serve)
    assert client.sent == []
    assert (client.record.end, client.record.code) == ("client_left", ClientLeft.code)


async def test_who_is_cut_off_by_the_end_of_the_gateway_is_told_so() -> None:
    client, begun = Client(), asyncio.Event()

    async def serve() -> None:
        begun.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(client.answered(serve))
    await begun.wait()
    task.cancel()
    await task
    assert (client.status, client.body) == (503, b"refused: draining")
