"""Strangers' bytes and names are looked at in the event loop, so nothing takes more than linear time."""

import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest
from tests.scaling import TIMES, grows_linearly

from qwen_gateway.media import names, pixels
from qwen_gateway.media.kinds import HEAD, look
from qwen_gateway.turn.faults import InvalidRequest

_ENTRY = b"PK\x03\x04" + bytes(22) + b"\xff\xff\x00\x00"
HEADS: dict[str, tuple[bytes, bytes]] = {
    # name: a beginning, and what follows it again and again
    "a doctype": (b"<!DOCTYPE svg ", b"a"),
    "a doctype of blanks": (b"<!DOCTYPE svg", b" "),
    "doctypes with brackets": (b"", b"<!DOCTYPE svg[a]b>"),
    "doctypes with open brackets": (b"", b"<!DOCTYPE svg["),
    "a doctype with one bracket": (b"<!DOCTYPE svg[", b"a"),
    "a doctype behind a bracket": (b"<!DOCTYPE svg[]", b"a"),
    "open comments": (b"", b"<!--"),
    "comments": (b"", b"<!-- -->"),
    "comments and blanks": (b"", b"<!---->    "),
    "a comment of hyphens": (b"<!", b"-"),
    "an xml declaration": (b"<?xml", b" "),
    "an xml declaration of question marks": (b"<?xml", b"?"),
    "blanks": (b"", b" "),
    "a long name of a tag": (b"<", b"a."),
    "a prefix": (b"<svg:", b"svg:"),
    "entries of a zip file": (b"", _ENTRY),
    "a zip file of its marks": (b"PK\x03\x04", b"PK"),
    "office's older form": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"W\0o\0r\0d\0"),
    "boxes": (b"\0\0\xff\xffftypabcd", b"isom"),
    "packets": (b"", b"G" + bytes(187)),
    "marks of a jpeg": (b"\xff\xd8\xff", b"\xff"),
    "segments of a jpeg": (b"\xff\xd8", b"\xff\xe0\x00\x02"),
    "tags of a tiff": (b"II*\0\x08\0\0\0\xff\xff", b"\x00\x01\x03\x00\x02\0\0\0\0\0\0\0"),
    "frames of zstd": (b"", b"\x50\x2a\x4d\x18\x00\x00\x00\x00"),
    "a pdf that does not begin": (b" ", b"%PDF-"),
    "an older encoding": (b"\xe4", b"a"),
    "control characters": (b"\xff", b"\x1b"),
}


def _looked(head: bytes) -> Callable[[], object]:
    def work() -> None:
        for said, name in (("", "a"), ("application/pdf", "a.pdf"), ("text/plain", "a.txt")):
            with suppress(InvalidRequest):
                look(head, len(head) + 1, claimed_kind=None, claimed_type=said, name=name)
        pixels.size(head)

    return work


@pytest.mark.parametrize(("beginning", "rest"), HEADS.values(), ids=HEADS.keys())
def test_a_file_is_looked_at_in_linear_time(beginning: bytes, rest: bytes) -> None:
    def work(size: int) -> Callable[[], object]:
        return _looked((beginning + rest * (size // len(rest) + 1))[:size])

    assert grows_linearly(work, HEAD // TIMES)


@pytest.mark.parametrize("piece", ["a", "/", "\\", ".", " ", "a.", "\u3000", "\u202e", "\0", "中"])
def test_a_name_is_read_in_linear_time(piece: str) -> None:
    assert grows_linearly(lambda size: lambda: names.plain(piece * size), 4_000)
    assert grows_linearly(lambda size: lambda: names.extension(piece * size), 4_000)


def test_names_of_entries_are_not_copied_over_and_over() -> None:
    """Thousands of them, each of which says that it has the rest of the file."""
    head = (_ENTRY * (HEAD // len(_ENTRY) + 1))[:HEAD]
    tracemalloc.start()
    try:
        _looked(head)()
        assert tracemalloc.get_traced_memory()[1] < 50 * HEAD
    finally:
        tracemalloc.stop()


def test_of_a_name_of_megabytes_both_ends_stay() -> None:
    name = names.plain("a" * 1_000_000 + "/b" + "c" * 1_000_000 + ".png")
    assert name.startswith("bc")
    assert name.endswith("c.png")
    assert len(name) < 10_000
