"""Encrypted files: all of it comes out again, from any place, and nothing of one that was changed."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.store import sealed_files
from qwen_gateway.store.reading import reader
from qwen_gateway.store.sealed_files import PIECE, DamagedFile, SealedFile, Stopped, new_key, opened, write

KEY = new_key()
SIZES = [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 5, 3 * PIECE - 1]
HEAD, SEALED = 8, PIECE + 16


def data_of(size: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]


def sealed(data: bytes, key: bytes = KEY, name: str = "name") -> bytes:
    target = io.BytesIO()
    write(target, io.BytesIO(data), key, name, lambda: False)
    return target.getvalue()


@pytest.fixture
def on_disk(tmp_path: Path) -> Callable[[bytes], Path]:
    def put(written: bytes) -> Path:
        (tmp_path / "file").write_bytes(written)
        return tmp_path / "file"

    return put


def read(file: SealedFile) -> bytes:
    with reader(file.size, file.read_at, file.close) as source:
        return source.read()


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_read(size: int, on_disk: Callable[[bytes], Path]) -> None:
    file = opened(on_disk(sealed(data_of(size))), KEY, "name")
    assert file.size == size
    assert read(file) == data_of(size)


@settings(max_examples=60)
@given(size=st.sampled_from(SIZES), place=st.integers(0, 3 * PIECE), count=st.integers(0, 2 * PIECE))
def test_any_part_is_read_alone(tmp_path_factory: pytest.TempPathFactory, size: int, place: int, count: int) -> None:
    path = tmp_path_factory.getbasetemp() / f"sealed-{size}"
    if not path.exists():
        path.write_bytes(sealed(data_of(size)))
    file = opened(path, KEY, "name")
    with reader(file.size, file.read_at, file.close) as source:
        source.seek(place)
        assert source.read(count) == data_of(size)[place : place + count]


def test_nothing_of_it_shows_and_the_same_twice_is_not_the_same() -> None:
    data = b"a sentence that would be known again" * 3000
    one, other = sealed(data), sealed(data, new_key())
    assert b"sentence" not in one
    assert one[HEAD:] != other[HEAD:]
    assert one[HEAD : HEAD + 100] != one[HEAD + SEALED : HEAD + SEALED + 100]


@settings(max_examples=60)
@given(drawn=st.data())
def test_one_changed_byte_anywhere_is_found(tmp_path_factory: pytest.TempPathFactory, drawn: st.DataObject) -> None:
    written = bytearray(sealed(data_of(2 * PIECE + 5)))
    at = drawn.draw(st.integers(0, len(written) - 1))
    written[at] ^= drawn.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "changed"
    path.write_bytes(written)
    with pytest.raises(DamagedFile):
        read(opened(path, KEY, "name"))


@pytest.mark.parametrize("size", [1, PIECE, PIECE + 1, 2 * PIECE + 5])
@pytest.mark.parametrize("cut", [1, 15, 16, 17, PIECE, SEALED, SEALED + 21])
def test_a_file_that_was_cut_off_is_found(size: int, cut: int, on_disk: Callable[[bytes], Path]) -> None:
    """At the end of a piece too, where its length looks right."""
    left = sealed(data_of(size))[:-cut]
    with pytest.raises(DamagedFile):
        opened(on_disk(left), KEY, "name")


def parts(written: bytes) -> list[bytes]:
    return [written[at : at + SEALED] for at in range(HEAD, len(written), SEALED)]


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 0, 2), (0, 2), (1, 2), (0, 1, 1, 2)])
def test_pieces_that_were_put_elsewhere_or_left_out_are_found(
    order: tuple[int, ...], on_disk: Callable[[bytes], Path]
) -> None:
    written = sealed(data_of(3 * PIECE))
    moved = written[:HEAD] + b"".join(parts(written)[number] for number in order)
    with pytest.raises(DamagedFile):
        read(opened(on_disk(moved), KEY, "name"))


def test_something_added_is_found(on_disk: Callable[[bytes], Path]) -> None:
    written = sealed(data_of(PIECE))
    with pytest.raises(DamagedFile):
        read(opened(on_disk(written + parts(written)[0]), KEY, "name"))


@pytest.mark.parametrize(("key", "name"), [(new_key(), "name"), (KEY, "another")], ids=["key", "name"])
def test_a_file_in_anothers_place_is_found(key: bytes, name: str, on_disk: Callable[[bytes], Path]) -> None:
    with pytest.raises(DamagedFile, match="changed, or cut off") as caught:
        read(opened(on_disk(sealed(b"abc")), key, name))
    assert not caught.value.retryable
    assert caught.value.code == "storage_unavailable"


@pytest.mark.parametrize("written", [b"", b"QGW", b"QGWFILE2" + bytes(50), b"plain text, never sealed"])
def test_what_was_never_such_a_file_is_found(written: bytes, on_disk: Callable[[bytes], Path]) -> None:
    with pytest.raises(DamagedFile):
        opened(on_disk(written), KEY, "name")


def test_a_cut_while_it_is_read_is_found(on_disk: Callable[[bytes], Path]) -> None:
    written = sealed(data_of(2 * PIECE))
    path = on_disk(written)
    file = opened(path, KEY, "name")
    assert file.read_at(0, 4) == data_of(4)
    path.write_bytes(written[: HEAD + SEALED])
    with pytest.raises(DamagedFile):
        file.read_at(PIECE, 4)


def test_writing_ends_when_nobody_wants_it() -> None:
    class Asked(io.BytesIO):
        times = 0

        def read(self, size: int | None = -1) -> bytes:
            self.times += 1
            return super().read(size)

    source = Asked(data_of(10 * PIECE))
    with pytest.raises(Stopped):
        write(io.BytesIO(), source, KEY, "name", lambda: source.times >= 3)
    assert source.times == 3


def test_a_file_too_long_for_the_numbers_of_its_pieces_cannot_be() -> None:
    """4 billion pieces are 256 TiB; a number that came again would give away both of its pieces."""
    with pytest.raises(struct.error):
        sealed_files._nonce(2**32, False)
