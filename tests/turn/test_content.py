"""Bytes in memory as the content of a file."""

import hashlib
import shutil
from io import SEEK_CUR, SEEK_END, BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_gateway.turn.content import Bytes
from qwen_gateway.turn.files import Content


def test_size_and_digest() -> None:
    data = b"x" * 1000
    found: Content = Bytes(data)
    assert (found.size, found.sha256) == (1000, hashlib.sha256(data).hexdigest())


def test_readers_stand_for_themselves() -> None:
    found = Bytes(b"abcdef")
    with found.reader() as one, found.reader() as other:
        assert one.read(2) == b"ab"
        assert other.read() == b"abcdef"
        assert one.read(100) == b"cdef"
        assert one.read(1) == b""
        assert (one.tell(), one.readable(), one.seekable(), one.writable()) == (6, True, True, False)
    assert one.closed
    with pytest.raises(ValueError, match="closed"):
        one.read()
    found.close()


@given(
    st.binary(max_size=50),
    st.lists(st.tuples(st.sampled_from(["read", "seek", "cur", "end", "into"]), st.integers(-5, 60))),
)
def test_a_reader_does_as_others_do(data: bytes, steps: list[tuple[str, int]]) -> None:
    ours, theirs = Bytes(data).reader(), BytesIO(data)
    for step, number in steps:
        if step == "read":
            assert ours.read(number) == theirs.read(number)
        elif step == "into":
            mine, yours = bytearray(max(0, number)), bytearray(max(0, number))
            assert ours.readinto(mine) == theirs.readinto(yours)  # type: ignore[attr-defined]
            assert mine == yours
        elif step == "seek":
            if number >= 0:
                assert ours.seek(number) == theirs.seek(number)
        elif ours.tell() + number >= 0 and len(data) + number >= 0:
            whence = SEEK_CUR if step == "cur" else SEEK_END
            assert ours.seek(number, whence) == theirs.seek(number, whence)
        assert ours.tell() == theirs.tell()


def test_a_place_before_the_beginning_is_refused() -> None:
    with pytest.raises(ValueError, match="before"):
        Bytes(b"a").reader().seek(-2, SEEK_END)


def test_programs_that_copy_files_can_read_it() -> None:
    into = BytesIO()
    with Bytes(b"abc" * 1000).reader() as reader:
        shutil.copyfileobj(reader, into, 100)
    assert into.getvalue() == b"abc" * 1000
    with Bytes(b"abc").reader() as reader:
        digest = hashlib.file_digest(reader, "sha256")  # type: ignore[arg-type] # it has `readinto`
    assert digest.hexdigest() == Bytes(b"abc").sha256


def test_the_same_bytes_are_equal_and_none_are_shown() -> None:
    one, same, other = Bytes(b"secret"), Bytes(b"secret"), Bytes(b"public")
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != b"secret"
    assert "secret" not in repr(one)
    assert "size=6" in repr(one)
