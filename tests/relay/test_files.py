"""Files that callers keep: looked at when they come, each caller's own, and no more than there is room for."""

import asyncio

import pytest

from qwen_gateway.media.limits import Limits
from qwen_gateway.relay.file_ports import StoredFile
from qwen_gateway.relay.files import Files, Keep, Offered
from qwen_gateway.turn.faults import BodyTooLarge, Fault, InvalidRequest, NotFound
from qwen_gateway.turn.files import Content

from .fakes import NOON, Clock
from .kept_fakes import PDF, PNG, Bytes, Shelf

ME, OTHER = "key-1", "key-2"
DAY = 86_400.0


class Bench:
    def __init__(self, *, quota: int = 10_000, seconds: float | None = 30 * DAY, **limits: int) -> None:
        self.clock, self.shelf = Clock(), Shelf()
        self.files = Files(self.shelf, self.clock.ambient(), Keep(Limits(**limits), seconds, quota))

    async def add(
        self, data: bytes, name: str = "a.png", *, tenant: str = ME, seconds: float | None = None, claim: str = ""
    ) -> StoredFile:
        return await self.files.add(tenant, Offered(name, claim, "vision", seconds, "file"), Bytes(data))


async def refused(bench: Bench, data: bytes, name: str = "a.png", *, claim: str = "") -> tuple[str | None, str]:
    with pytest.raises(Fault) as caught:
        await bench.add(data, name, claim=claim)
    assert caught.value.text.endswith(".")
    return caught.value.param, caught.value.code


async def test_a_file_is_kept_as_what_its_bytes_say() -> None:
    bench = Bench()
    file = await bench.add(PNG, "photo", claim="application/octet-stream")
    assert (file.kind, file.media_type, file.name, file.size) == ("image", "image/png", "photo.png", len(PNG))
    assert (file.tenant, file.purpose, file.created) == (ME, "vision", NOON)
    assert file.sha256 == Bytes(PNG).sha256
    assert bench.shelf.data[file.id] == PNG


async def test_ids_are_told_apart_and_have_their_mark() -> None:
    bench = Bench()
    files = [await bench.add(PNG) for _ in range(3)]
    assert len({file.id for file in files}) == 3
    assert all(file.id.startswith("file-") and "-" not in file.id.removeprefix("file-") for file in files)


@pytest.mark.parametrize(
    ("kept", "asked", "expires"),
    [
        (30 * DAY, None, NOON + 30 * DAY),
        (30 * DAY, 3600.0, NOON + 3600),
        (DAY, 30 * DAY, NOON + DAY),
        (None, None, None),
        (None, 60.0, NOON + 60),
    ],
)
async def test_a_file_goes_when_it_was_asked_to_or_with_all_others(
    kept: float | None, asked: float | None, expires: float | None
) -> None:
    assert (await Bench(seconds=kept).add(PNG, seconds=asked)).expires == expires


async def test_what_no_model_could_be_given_is_refused_at_once_by_its_field() -> None:
    bench = Bench()
    assert await refused(bench, b"", "a.png") == ("file", "unsupported_file")
    assert await refused(bench, b"MZ\x90\0" + bytes(100), "a.png", claim="image/png") == ("file", "unsupported_file")
    assert await refused(bench, PDF, "a.png", claim="image/png") == ("file", "unsupported_file")
    assert not bench.shelf.files


async def test_each_kind_has_its_size() -> None:
    bench = Bench(image=len(PNG) - 1, document=len(PDF))
    assert await refused(bench, PNG) == ("file", "file_too_large")
    assert (await bench.add(PDF, "a.pdf")).size == len(PDF)
    assert Bench(image=1, document=2, audio=3, video=4).files.largest == 4


async def test_nobody_sees_the_files_of_another() -> None:
    bench = Bench()
    file = await bench.add(PNG)
    assert await bench.files.get(ME, file.id) == file
    with pytest.raises(NotFound) as caught:
        await bench.files.get(OTHER, file.id)
    assert (caught.value.param, caught.value.code) == ("file_id", "file_not_found")
    with pytest.raises(NotFound):
        await bench.files.remove(OTHER, file.id)
    page = await bench.files.list(OTHER, limit=10, after="", order="desc", purpose="")
    assert (list(page.files), page.more) == ([], False)
    assert file.id in bench.shelf.files


async def test_what_has_expired_is_not_there() -> None:
    bench = Bench()
    file = await bench.add(PNG, seconds=3600)
    bench.clock.now += 3600
    with pytest.raises(NotFound):
        await bench.files.get(ME, file.id)


async def test_a_file_is_deleted_once() -> None:
    bench = Bench()
    file = await bench.add(PNG)
    await bench.files.remove(ME, file.id)
    with pytest.raises(NotFound):
        await bench.files.remove(ME, file.id)


async def test_a_list_comes_in_pages_that_say_whether_there_are_more() -> None:
    bench = Bench()
    ids = []
    for _ in range(5):
        bench.clock.now += 1
        ids.append((await bench.add(PNG)).id)
    seen: list[str] = []
    more = True
    while more:
        page = await bench.files.list(ME, limit=2, after=seen[-1] if seen else "", order="asc", purpose="")
        assert len(page.files) <= 2
        seen += [file.id for file in page.files]
        more = page.more
    assert seen == ids
    newest = await bench.files.list(ME, limit=5, after="", order="desc", purpose="vision")
    assert ([file.id for file in newest.files], newest.more) == (ids[::-1], False)
    assert not (await bench.files.list(ME, limit=5, after="", order="desc", purpose="batch")).files


async def test_nobody_keeps_more_than_there_is_room_for() -> None:
    bench = Bench(quota=2 * len(PNG))
    first = await bench.add(PNG)
    await bench.add(PNG)
    assert await refused(bench, PNG) == ("file", "file_quota_exceeded")
    assert (await bench.add(PNG, tenant=OTHER)).tenant == OTHER
    await bench.files.remove(ME, first.id)
    assert (await bench.add(PNG)).tenant == ME


async def test_many_at_once_are_not_let_in_together_where_one_would_be_the_last() -> None:
    bench = Bench(quota=2 * len(PNG))
    ways = await asyncio.gather(*(bench.add(PNG) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(way, StoredFile) for way in ways) <= 2
    assert all(isinstance(way, StoredFile | BodyTooLarge) for way in ways)
    assert sum(file.size for file in bench.shelf.files.values()) <= 2 * len(PNG)
    while len(bench.shelf.files) < 2:  # what was turned away only for the others finds room now
        await bench.add(PNG)


async def test_a_file_that_could_not_be_stored_takes_no_room() -> None:
    class Full(Shelf):
        async def add(self, file: StoredFile, content: Content) -> None:
            raise InvalidRequest("No.")

    bench = Bench(quota=len(PNG))
    good, bench.files._store = bench.shelf, Full()
    for _ in range(3):
        with pytest.raises(InvalidRequest):
            await bench.add(PNG)
    bench.files._store = good
    assert (await bench.add(PNG)).size == len(PNG)


async def test_bytes_are_read_to_their_end_and_given_back_by_whoever_asked() -> None:
    bench = Bench()
    content = await bench.files.content(await bench.add(PNG))
    with content.reader() as reader:
        assert reader.read() == PNG
    content.close()


async def test_what_was_looked_at_is_left_open_to_its_owner() -> None:
    bench, content = Bench(), Bytes(PNG)
    await bench.files.add(ME, Offered("a.png", "", "vision", None, "file"), content)
    assert (content.open, content.closed) == (0, False)
