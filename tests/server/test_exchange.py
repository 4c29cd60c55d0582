"""One response on the wire: signs of life, clients that leave, and clients that do not read."""

import asyncio
from dataclasses import dataclass, field

import pytest

from qwen_gateway.server.exchange import Exchange
from qwen_gateway.server.paths import Message
from qwen_gateway.turn.faults import ClientLeft, Incomplete


@dataclass
class Client:
    """The other side of ASGI: reads what is sent, unless it is deaf, and may leave."""

    deaf_after: int = 1000
    sent: list[Message] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: int = 0

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if len(self.sent) >= self.deaf_after:
            await asyncio.Event().wait()
        self.sent.append(message)

    def hang_up(self) -> None:
        self.hung_up += 1

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


def _exchange(client: Client, *, heartbeat: float = 10, write_timeout: float = 10) -> Exchange:
    return Exchange(
        client.receive,
        client.send,
        [(b"x-request-id", b"req_1")],
        heartbeat=heartbeat,
        write_timeout=write_timeout,
        hang_up=client.hang_up,
    )


def _watch(exchange: Exchange, *, stream: bool = True) -> None:
    exchange.watch()
    if stream:
        exchange.stream_as("text/event-stream", b": ping\n\n", lambda fault: fault.code.encode())


async def test_a_whole_response_is_a_head_and_a_body() -> None:
    client = Client()
    exchange = _exchange(client)
    await exchange.whole(404, b"application/json", b"{}")
    assert client.sent == [
        {
            "type": "http.response.start",
            "status": 404,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", b"2"),
                (b"x-request-id", b"req_1"),
            ],
        },
        {"type": "http.response.body", "body": b"{}"},
    ]
    assert exchange.begun


async def test_the_head_of_a_stream_goes_with_its_first_piece() -> None:
    client = Client()
    exchange = _exchange(client)
    _watch(exchange)
    assert not exchange.begun
    await exchange.write(b"one")
    await exchange.write(b"two")
    exchange.unwatch()
    await exchange.end(b"three")
    start, *pieces = client.sent
    assert (start["status"], start["headers"][0]) == (200, (b"content-type", b"text/event-stream"))
    assert [(piece["body"], piece.get("more_body", False)) for piece in pieces] == [
        (b"one", True),
        (b"two", True),
        (b"three", False),
    ]


async def test_a_stream_needs_to_be_watched() -> None:
    with pytest.raises(RuntimeError):
        await _exchange(Client()).write(b"one")


async def test_silence_is_bridged_and_ends_with_the_next_piece() -> None:
    client = Client()
    exchange = _exchange(client, heartbeat=0.06)
    _watch(exchange)
    await asyncio.sleep(0.2)
    assert exchange.begun, "the first sign of life fixes the status"
    assert 1 <= client.body.count(b": ping") <= 4
    before = client.body.count(b": ping")
    for _ in range(20):
        await exchange.write(b"x")
        await asyncio.sleep(0.01)
    assert client.body.count(b": ping") == before
    exchange.unwatch()
    await asyncio.sleep(0.15)
    assert client.body.count(b": ping") == before, "nobody is watched any more"


async def test_a_response_that_is_no_stream_gets_no_sign_of_life() -> None:
    client = Client()
    exchange = _exchange(client, heartbeat=0.05)
    _watch(exchange, stream=False)
    await asyncio.sleep(0.2)
    exchange.unwatch()
    assert client.sent == []


async def _serve(exchange: Exchange, *pieces: bytes, stream: bool = True) -> None:
    _watch(exchange, stream=stream)
    for piece in pieces:
        await exchange.write(piece)
    await asyncio.sleep(60)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_cancels_the_work(stream: bool) -> None:
    client = Client()
    exchange = _exchange(client)
    work = asyncio.create_task(_serve(exchange, stream=stream))
    await asyncio.sleep(0.01)
    client.left.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(work), 1)
    assert exchange.left
    assert client.hung_up == 0, "it is gone already"


async def test_a_client_that_does_not_read_is_hung_up_on() -> None:
    client = Client(deaf_after=2)
    exchange = _exchange(client, write_timeout=0.1)
    work = asyncio.create_task(_serve(exchange, b"one", b"two"))
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(work), 2)
    assert exchange.left
    assert client.hung_up == 1


async def test_a_client_that_does_not_read_signs_of_life_is_hung_up_on_too() -> None:
    """Its buffers are full, the site is silent: only the sign of life finds out."""
    client = Client(deaf_after=2)
    exchange = _exchange(client, heartbeat=0.05, write_timeout=0.1)
    work = asyncio.create_task(_serve(exchange, b"one"))
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(work), 2)
    assert exchange.left
    assert client.hung_up == 1


@pytest.mark.parametrize("whole", [True, False])
async def test_nobody_waits_for_ever_for_a_client_to_read_the_end(whole: bool) -> None:
    client = Client(deaf_after=0 if whole else 2)
    exchange = _exchange(client, write_timeout=0.05)
    if not whole:
        _watch(exchange)
        await exchange.write(b"one")
        exchange.unwatch()
    with pytest.raises(ClientLeft):
        await asyncio.wait_for(exchange.whole(200, b"text/plain", b"x") if whole else exchange.end(b"bye"), 2)
    assert exchange.left
    assert client.hung_up == 1


async def test_a_stream_that_breaks_ends_in_its_own_words() -> None:
    client = Client()
    exchange = _exchange(client)
    _watch(exchange)
    await exchange.write(b"one ")
    exchange.unwatch()
    await exchange.break_off(Incomplete("broke"))
    assert client.body == b"one upstream_incomplete"
    assert not client.sent[-1].get("more_body", False)


async def test_an_answer_that_cannot_be_whole_is_cut_and_not_ended() -> None:
    client = Client()
    exchange = _exchange(client)
    _watch(exchange)
    await exchange.write(b"half")
    exchange.cut()
    assert (client.hung_up, client.sent[-1]["more_body"]) == (1, True)
    client.left.set()
    await asyncio.sleep(0.01)  # nobody is watched any more, so nothing is cancelled
    assert not exchange.left
