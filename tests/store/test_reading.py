"""A reader is like that of a plain file, whatever gives its bytes, and a descriptor ends when nobody has it."""

import contextlib
import gc
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_gateway.store.reading import Descriptor, reader

DATA = bytes(range(256)) * 1000


@pytest.fixture
def number(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "file").write_bytes(DATA)
    number = os.open(tmp_path / "file", os.O_RDONLY)
    yield number
    with contextlib.suppress(OSError):  # the test has had it closed
        os.close(number)


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


steps = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 700)),
        st.tuples(st.just("readinto"), st.integers(0, 700)),
        st.tuples(st.just("seek"), st.integers(0, 1200)),
        st.tuples(st.just("forward"), st.integers(0, 300)),
        st.tuples(st.just("from the end"), st.integers(-500, 20)),
    ),
    max_size=20,
)


@given(data=st.binary(max_size=500).map(lambda some: some * 2), steps=steps, most=st.integers(1, 90))
def test_it_reads_and_seeks_as_bytes_in_memory_do(data: bytes, steps: list[tuple[str, int]], most: int) -> None:
    plain = io.BytesIO(data)
    ours = reader(len(data), lambda at, count: data[at : at + min(count, most)], lambda: None)
    for what, value in steps:
        for one in (plain, ours):
            if what == "seek":
                one.seek(value)
            elif what == "forward":
                one.seek(value, os.SEEK_CUR)
            elif what == "from the end":
                one.seek(max(value, -len(data)), os.SEEK_END)
        if what == "read":
            assert ours.read(value) == plain.read(value)
        if what == "readinto":
            room, expected = bytearray(value), bytearray(value)
            assert ours.readinto(room) == plain.readinto(expected)  # type: ignore[attr-defined] # both have it
            assert room == expected
        assert ours.tell() == plain.tell()


def test_there_is_nothing_before_the_first_byte() -> None:
    with reader(3, lambda _, count: b"abc"[:count], lambda: None) as ours, pytest.raises(ValueError, match="before"):
        ours.seek(-4, os.SEEK_END)


def test_what_ends_a_reader_is_called_once_whether_it_is_closed_or_lost() -> None:
    ends: list[str] = []
    closed = reader(1, lambda *_: b"x", lambda: ends.append("closed"))
    closed.close()
    closed.close()
    lost = reader(1, lambda *_: b"x", lambda: ends.append("lost"))
    del lost
    gc.collect()
    assert ends == ["closed", "lost"]


def test_an_open_file_is_read_at_any_place(number: int) -> None:
    descriptor = Descriptor(number)
    assert descriptor.size == len(DATA)
    assert [descriptor.read_at(at, 3) for at in (1000, 0, len(DATA) - 1)] == [DATA[1000:1003], DATA[:3], DATA[-1:]]
    descriptor.close()


def test_the_same_file_again_outlives_the_first(number: int) -> None:
    descriptor = Descriptor(number)
    again = descriptor.again()
    descriptor.close()
    assert not is_open(number)
    assert again.read_at(5, 2) == DATA[5:7]
    again.close()


def test_a_file_that_nobody_has_is_closed(number: int) -> None:
    descriptor = Descriptor(number)
    assert is_open(number)
    del descriptor
    gc.collect()
    assert not is_open(number)


def test_a_closed_file_is_not_another_one_that_got_its_number(number: int, tmp_path: Path) -> None:
    descriptor = Descriptor(number)
    descriptor.close()
    (tmp_path / "another").write_bytes(b"another")
    other = os.open(tmp_path / "another", os.O_RDONLY)
    try:
        assert other == number
        with pytest.raises(ValueError, match="closed"):
            descriptor.read_at(0, 1)
        descriptor.close()
        assert os.read(other, 7) == b"another"
    finally:
        os.close(other)
