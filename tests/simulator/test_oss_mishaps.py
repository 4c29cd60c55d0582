"""What goes wrong with the object storage when it is told to."""

import asyncio
from collections.abc import Callable

import alibabacloud_oss_v2 as oss  # type: ignore[import-untyped]
import pytest

from .shapes import Json
from .uploads import (
    KB,
    begin,
    calls,
    fail,
    finish,
    put,
    put_request,
    refused,
    refused_put,
    sdk,
    send_part,
    storage,
    ticket,
    uploads,
)
from .visitor import Visitor, until

pytestmark = pytest.mark.anyio


async def _broken(work: Callable[[], object]) -> None:
    """The connection ends under the SDK's hands."""
    with pytest.raises(oss.exceptions.OperationError) as caught:
        await asyncio.to_thread(work)
    assert not isinstance(caught.value.unwrap(), oss.exceptions.ServiceError)


def _putting(given: Json, data: bytes) -> Callable[[], None]:
    def work() -> None:
        with storage(given) as client:
            client.put_object(put_request(given, data))

    return work


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("SignatureDoesNotMatch", 403),
        ("SecurityTokenExpired", 403),
        ("InternalError", 500),
        ("ServiceUnavailable", 503),
    ],
)
async def test_a_refusal_comes_once_and_leaves_nothing(code: str, status: int, visitor: Visitor) -> None:
    given = await ticket(visitor)
    await fail(visitor, {"at": "put", "what": code})
    found = await refused_put(given, b"x" * 200_000)
    assert (found.code, found.status_code) == (code, status)
    assert visitor.sim.site.bucket.objects == {}
    assert [(call.outcome, call.status, call.code) for call in calls(visitor)] == [("refused", status, code)]
    await put(given, b"x")


async def test_the_storage_can_be_down_for_good(visitor: Visitor) -> None:
    given = await ticket(visitor)
    await fail(visitor, {"at": "oss", "what": "ServiceUnavailable", "times": None})
    for _ in range(3):
        assert (await refused_put(given)).code == "ServiceUnavailable"

    def parts() -> None:
        with storage(given) as client:
            begin(client, given)

    assert (await refused(parts)).code == "ServiceUnavailable"


async def test_uploads_in_parts_can_be_refused_while_a_put_is_fine(visitor: Visitor) -> None:
    given = await ticket(visitor)
    await fail(visitor, {"at": "init", "what": "AccessDenied", "times": None})

    def parts() -> None:
        with storage(given) as client:
            begin(client, given)

    assert (await refused(parts)).code == "AccessDenied"
    await put(given, b"x")


@pytest.mark.parametrize("place", [{"after": 1}, {"number": 2}])
async def test_the_second_part_can_be_lost_once(place: Json, visitor: Visitor) -> None:
    given = await ticket(visitor, "a.png", 101 * KB)
    await fail(visitor, {"at": "part", "what": "drop", **place})

    def work(client: oss.Client) -> None:
        upload = begin(client, given)
        sent = [send_part(client, given, upload, 1, b"x" * 100 * KB)]
        with pytest.raises(oss.exceptions.OperationError):
            send_part(client, given, upload, 2, b"y" * KB)
        sent.append(send_part(client, given, upload, 2, b"y" * KB))
        finish(client, given, upload, sent)

    await sdk(given, work)
    assert [call.outcome for call in calls(visitor) if call.operation == "part"] == ["done", "dropped", "done"]
    assert len(visitor.sim.site.bucket.objects) == 1


async def test_a_connection_can_be_cut_in_the_middle_of_a_body(visitor: Visitor) -> None:
    data = b"x" * 4_000_000
    given = await ticket(visitor)
    await fail(visitor, {"at": "put", "what": "cut", "received": 200_000})
    await _broken(_putting(given, data))
    [call] = calls(visitor)
    assert (call.outcome, 200_000 <= call.received < len(data)) == ("dropped", True)
    assert visitor.sim.site.bucket.objects == {}


async def test_an_answer_can_be_lost_after_the_work_was_done(visitor: Visitor) -> None:
    given = await ticket(visitor)
    await fail(visitor, {"at": "put", "what": "lost"})
    await _broken(_putting(given, b"abc"))
    assert [one.data for one in visitor.sim.site.bucket.objects.values()] == [b"abc"]


async def test_every_connection_can_be_reset(visitor: Visitor) -> None:
    given = await ticket(visitor)
    await visitor.program(site={"oss_drop": True})
    await _broken(_putting(given, b"abc"))
    assert (await visitor.get("/api/v2/models/")).status == 200
    await visitor.program(site={"oss_drop": False})
    await put(given, b"abc")


async def test_receiving_can_be_slow(visitor: Visitor) -> None:
    given = await ticket(visitor)
    await visitor.program(site={"oss_delay_ms": 500})
    sending = asyncio.create_task(put(given, b"x" * 1024 * KB))
    await until(lambda: any(call.received for call in calls(visitor)))
    [call] = calls(visitor)
    assert (call.received <= 64 * KB, call.outcome) == (True, None)
    await visitor.program(site={"oss_delay_ms": 0})
    await sending
    assert call.received == 1024 * KB


async def test_a_reset_ends_an_upload_that_is_running(visitor: Visitor) -> None:
    given = await ticket(visitor)

    def work() -> None:
        with storage(given) as client:
            upload = begin(client, given)
            asyncio.run_coroutine_threadsafe(visitor.post("/__sim/reset", {}), loop).result()
            send_part(client, given, upload, 1, b"x")

    loop = asyncio.get_running_loop()
    assert (await refused(work)).code == "InvalidAccessKeyId"
    assert uploads(visitor) == []
