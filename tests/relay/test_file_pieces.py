"""Files that come in pieces: joined in the order asked for, once, and only if they are what was announced."""

import asyncio
import hashlib
from collections.abc import Collection, Sequence

import pytest

from qwen_gateway.media.limits import Limits
from qwen_gateway.relay import file_pieces
from qwen_gateway.relay.file_pieces import Pieces
from qwen_gateway.relay.file_ports import FilePiece, PartedFile
from qwen_gateway.relay.files import Files, Keep, Offered
from qwen_gateway.turn.faults import Fault, NotFound, StorageUnavailable
from qwen_gateway.turn.files import Content

from .fakes import NOON, Clock
from .kept_fakes import PDF, Bytes, Pile, Shelf

ME, OTHER = "key-1", "key-2"
HEAD, TAIL = PDF[:10], PDF[10:]


class Bench:
    def __init__(self, quota: int = 10_000) -> None:
        self.clock, self.shelf = Clock(), Shelf()
        self.pile = Pile(self.shelf)
        ambient = self.clock.ambient()
        self.files = Files(self.shelf, ambient, Keep(Limits(video=5_000), 1_000.0, quota))
        self.pieces = Pieces(self.pile, self.files, ambient)

    async def begin(self, size: int = len(PDF), *, media_type: str = "", seconds: float | None = None) -> PartedFile:
        return await self.pieces.begin(ME, Offered("a.pdf", media_type, "assistants", seconds, "bytes"), size)

    async def both(self, upload: PartedFile) -> list[str]:
        return [(await self.pieces.add(ME, upload.id, Bytes(data))).id for data in (HEAD, TAIL)]


async def why(work: object) -> tuple[str | None, str]:
    with pytest.raises(Fault) as caught:
        await work  # type: ignore[misc] # whatever coroutine is given
    assert caught.value.text.endswith(".")
    return caught.value.param, caught.value.code


async def test_pieces_become_a_file_in_the_order_asked_for() -> None:
    bench = Bench()
    upload = await bench.begin()
    assert (upload.state, upload.size, upload.expires) == ("pending", len(PDF), NOON + 3600)
    last = await bench.pieces.add(ME, upload.id, Bytes(TAIL))
    first = await bench.pieces.add(ME, upload.id, Bytes(HEAD))
    whole, file = await bench.pieces.complete(ME, upload.id, [first.id, last.id], None)
    assert (whole.state, whole.made_into) == ("completed", file.id)
    assert bench.shelf.data[file.id] == PDF
    assert (file.name, file.media_type, file.purpose) == ("a.pdf", "application/pdf", "assistants")
    assert (file.sha256, file.expires) == (Bytes(PDF).sha256, NOON + 1_000)


async def test_who_adds_a_piece_does_not_read_what_is_known_of_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand times ten thousand rows."""
    bench = Bench()
    upload = await bench.begin()
    read: list[str] = []
    rows = bench.pile.pieces

    async def pieces(upload_id: str) -> Sequence[FilePiece]:
        read.append(upload_id)
        return await rows(upload_id)

    monkeypatch.setattr(bench.pile, "pieces", pieces)
    ids = await bench.both(upload)
    assert read == []
    await bench.pieces.complete(ME, upload.id, ids, None)
    assert read == [upload.id]


async def test_the_file_is_kept_as_long_as_was_said_at_the_beginning() -> None:
    bench = Bench()
    upload = await bench.begin(seconds=600)
    bench.clock.now += 60
    _, file = await bench.pieces.complete(ME, upload.id, await bench.both(upload), None)
    assert file.expires == NOON + 60 + 600


async def test_a_checksum_is_that_of_the_whole() -> None:
    bench = Bench()
    upload = await bench.begin()
    ids = await bench.both(upload)
    digest = hashlib.md5(PDF, usedforsecurity=False).hexdigest()
    assert await why(bench.pieces.complete(ME, upload.id, ids, "0" * 32)) == ("md5", "wrong_checksum")
    assert not bench.shelf.files
    whole, _ = await bench.pieces.complete(ME, upload.id, ids, digest.upper())
    assert whole.state == "completed"


async def test_who_did_not_get_the_answer_asks_again() -> None:
    bench = Bench()
    upload = await bench.begin()
    ids = await bench.both(upload)
    once = await bench.pieces.complete(ME, upload.id, ids, None)
    assert await bench.pieces.complete(ME, upload.id, ids, None) == once
    assert len(bench.shelf.files) == 1


async def test_of_two_who_join_the_same_pieces_one_makes_the_file() -> None:
    bench = Bench()
    upload = await bench.begin()
    ids = await bench.both(upload)
    twice = await bench.begin()
    _, made = await bench.pieces.complete(ME, twice.id, await bench.both(twice), None)
    bench.pile.before_end = lambda: bench.pile.ended(upload.id, "completed", made.id)
    whole, file = await bench.pieces.complete(ME, upload.id, ids, None)
    assert (whole.state, file) == ("completed", made)
    assert list(bench.shelf.files) == [made.id]


async def test_pieces_that_another_request_has_joined_meanwhile_are_no_failure() -> None:
    bench = Bench()
    upload = await bench.begin()
    ids = await bench.both(upload)
    twice = await bench.begin()
    _, made = await bench.pieces.complete(ME, twice.id, await bench.both(twice), None)
    joined = bench.pile.joined

    async def too_late(upload_id: str, piece_ids: object) -> Bytes:
        bench.pile.ended(upload.id, "completed", made.id)
        raise NotFound("Gone.", code="part_not_found")

    bench.pile.joined = too_late  # type: ignore[method-assign] # what the store says of such a moment
    assert (await bench.pieces.complete(ME, upload.id, ids, None))[1] == made
    bench.pile.joined = joined  # type: ignore[method-assign]


async def test_pieces_have_to_be_as_many_bytes_as_announced() -> None:
    bench = Bench()
    upload = await bench.begin()
    first, last = await bench.both(upload)
    assert await why(bench.pieces.add(ME, upload.id, Bytes(b"x"))) == ("data", "wrong_upload_size")
    assert await why(bench.pieces.complete(ME, upload.id, [first], None)) == ("part_ids", "wrong_upload_size")
    unknown = bench.pieces.complete(ME, upload.id, [first, "part_x"], None)
    assert await why(unknown) == ("part_ids[1]", "part_not_found")
    other = await bench.begin()
    strange = (await bench.pieces.add(ME, other.id, Bytes(HEAD))).id
    assert await why(bench.pieces.complete(ME, upload.id, [strange, last], None)) == ("part_ids[0]", "part_not_found")


class Slow(Pile):
    """Where storing a piece takes until it is told to go on, and looking takes a moment."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__(shelf)
        self.go_on = asyncio.Event()
        self.storing = 0

    async def arrived(self, upload_id: str, but: Collection[str] = ()) -> int:
        found = await super().arrived(upload_id, but)
        await asyncio.sleep(0)
        return found

    async def add_piece(self, piece: FilePiece, content: Content) -> None:
        self.storing += 1
        await self.go_on.wait()
        await super().add_piece(piece, content)
        await asyncio.sleep(0)


async def test_pieces_that_come_at_once_are_counted_together() -> None:
    bench = Bench()
    slow = Slow(bench.shelf)
    pieces = Pieces(slow, bench.files, bench.clock.ambient())
    upload = await pieces.begin(ME, Offered("a.pdf", "", "assistants", None, "bytes"), 10)
    coming = [asyncio.create_task(pieces.add(ME, upload.id, Bytes(b"12345"))) for _ in range(6)]
    other = await pieces.begin(ME, Offered("b.pdf", "", "assistants", None, "bytes"), 5)
    coming.append(asyncio.create_task(pieces.add(ME, other.id, Bytes(b"12345"))))
    while slow.storing < 3:
        await asyncio.sleep(0)
    slow.go_on.set()
    came = await asyncio.gather(*coming, return_exceptions=True)
    assert [isinstance(one, FilePiece) for one in came] == [True, True, False, False, False, False, True]
    assert {one.code for one in came if isinstance(one, Fault)} == {"wrong_upload_size"}
    assert sum(piece.size for piece in await slow.pieces(upload.id)) == 10


async def test_pieces_that_come_at_once_and_fit_are_all_taken() -> None:
    """Also where one is there already while the next is still being counted."""
    bench = Bench()
    slow = Slow(bench.shelf)
    slow.go_on.set()
    pieces = Pieces(slow, bench.files, bench.clock.ambient())
    upload = await pieces.begin(ME, Offered("a.pdf", "", "assistants", None, "bytes"), 50)

    async def add(delay: int) -> None:
        for _ in range(delay):
            await asyncio.sleep(0)
        await pieces.add(ME, upload.id, Bytes(b"12345"))

    await asyncio.gather(*map(add, range(10)))
    assert sum(piece.size for piece in await slow.pieces(upload.id)) == 50


async def test_a_piece_that_could_not_be_stored_counts_no_longer() -> None:
    bench = Bench()
    upload = await bench.begin()
    store, bench.pile.add_piece = bench.pile.add_piece, _fails  # type: ignore[method-assign,assignment]
    with pytest.raises(StorageUnavailable):
        await bench.pieces.add(ME, upload.id, Bytes(HEAD))
    bench.pile.add_piece = store  # type: ignore[method-assign]
    assert len(await bench.both(upload)) == 2


async def _fails(*_: object) -> None:
    raise StorageUnavailable("The disk is gone.")


async def test_a_piece_is_neither_empty_nor_huge(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    upload = await bench.begin()
    assert await why(bench.pieces.add(ME, upload.id, Bytes(b""))) == ("data", "invalid_value")
    monkeypatch.setattr(file_pieces, "LARGEST", 5)
    assert await why(bench.pieces.add(ME, upload.id, Bytes(b"123456"))) == ("data", "file_too_large")


async def test_what_the_pieces_make_is_looked_at_too() -> None:
    bench = Bench()
    upload = await bench.begin(media_type="image/png")
    ids = await bench.both(upload)
    assert await why(bench.pieces.complete(ME, upload.id, ids, None)) == ("part_ids", "unsupported_file")
    assert (await bench.pieces.cancel(ME, upload.id)).state == "cancelled"


async def test_room_is_kept_for_what_was_announced() -> None:
    bench = Bench(quota=len(PDF) + 10)
    upload = await bench.begin()
    assert await why(bench.begin(11)) == ("bytes", "file_quota_exceeded")
    await bench.pieces.cancel(ME, upload.id)
    upload = await bench.begin()
    await bench.pieces.complete(ME, upload.id, await bench.both(upload), None)
    assert await why(bench.begin(11)) == ("bytes", "file_quota_exceeded")
    assert (await bench.begin(10)).size == 10


async def test_no_file_is_announced_that_is_larger_than_any_may_be() -> None:
    limits = Limits(video=5_000)
    assert await why(Bench(quota=10**12).begin(limits.most(None) + 1)) == ("bytes", "file_too_large")


async def test_an_upload_that_has_ended_takes_no_more() -> None:
    bench = Bench()
    upload = await bench.begin()
    ids = await bench.both(upload)
    assert (await bench.pieces.cancel(ME, upload.id)).state == "cancelled"
    assert (await bench.pieces.cancel(ME, upload.id)).state == "cancelled"
    assert await why(bench.pieces.add(ME, upload.id, Bytes(b"x"))) == ("upload_id", "upload_cancelled")
    assert await why(bench.pieces.complete(ME, upload.id, ids, None)) == ("upload_id", "upload_cancelled")


async def test_a_file_that_is_there_is_not_cancelled() -> None:
    bench = Bench()
    upload = await bench.begin()
    await bench.pieces.complete(ME, upload.id, await bench.both(upload), None)
    assert await why(bench.pieces.cancel(ME, upload.id)) == ("upload_id", "upload_completed")
    assert await why(bench.pieces.add(ME, upload.id, Bytes(b"x"))) == ("upload_id", "upload_completed")


async def test_after_an_hour_it_is_given_up() -> None:
    bench = Bench()
    upload = await bench.begin()
    ids = await bench.both(upload)
    bench.clock.now += 3600
    assert await why(bench.pieces.add(ME, upload.id, Bytes(b"x"))) == ("upload_id", "upload_expired")
    assert await why(bench.pieces.complete(ME, upload.id, ids, None)) == ("upload_id", "upload_expired")
    assert (await bench.pieces.cancel(ME, upload.id)).state == "expired"


async def test_nobody_touches_the_upload_of_another() -> None:
    bench = Bench()
    upload = await bench.begin()
    nothing = ("upload_id", "upload_not_found")
    assert await why(bench.pieces.add(OTHER, upload.id, Bytes(b"x"))) == nothing
    assert await why(bench.pieces.complete(OTHER, upload.id, ["part_x"], None)) == nothing
    assert await why(bench.pieces.cancel(OTHER, upload.id)) == nothing
    assert bench.pile.uploads[upload.id].state == "pending"
