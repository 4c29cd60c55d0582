"""How many pixels pictures have, of every form that says it in its beginning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_gateway.media.pixels import MOST, size, too_many

from .samples import FORMATS, bmp, gif, jpeg, large_webp, lossless_webp, old_bmp, png, tiff, webp

SIZES = {
    "png": png(300, 200),
    "gif": gif(300, 200),
    "older gif": gif(300, 200, b"87a"),
    "jpeg": jpeg(300, 200),
    "progressive jpeg": jpeg(300, 200, 0xC2),
    "jpeg with filling": jpeg(300, 200).replace(b"\xff\xdb", b"\xff\xff\xff\xdb"),
    "webp": webp(300, 200),
    "lossless webp": lossless_webp(300, 200),
    "large webp": large_webp(300, 200),
    "bmp": bmp(300, 200),
    "bmp from above": bmp(300, -200),
    "older bmp": old_bmp(300, 200),
    "tiff": tiff("<", 300, 200, "H"),
    "tiff of the other order": tiff(">", 300, 200, "H"),
    "tiff of long numbers": tiff("<", 300, 200, "I"),
    "tiff of the other order and long numbers": tiff(">", 300, 200, "I"),
}


@pytest.mark.parametrize("content", SIZES.values(), ids=SIZES.keys())
def test_sizes(content: bytes) -> None:
    assert size(content) == (300, 200)


@pytest.mark.parametrize("content", SIZES.values(), ids=SIZES.keys())
def test_a_beginning_that_is_too_short_says_nothing(content: bytes) -> None:
    assert {size(content[:length]) for length in range(len(content) + 1)} == {None, (300, 200)}


UNKNOWN = {
    "another format": FORMATS["tiff"][0],
    "text": b"hello",
    "a tiff whose tags stand at its end": b"II*\0\xff\xff\xff\x7f" + bytes(60_000),
    "a tiff whose width is no number": tiff("<", 300, 200, "H").replace(b"\x00\x01\x03\x00", b"\x00\x01\x02\x00"),
    "nothing": b"",
    "a jpeg whose size stands further behind": b"\xff\xd8\xff\xe1\xff\xff" + bytes(60_000),
    "a jpeg without a frame": b"\xff\xd8\xff\xda\x00\x08" + bytes(20),
    "a jpeg that breaks off": b"\xff\xd8\xff\xe0\x00\x04ab" + b"no mark",
    "a png that begins otherwise": b"\x89PNG\r\n\x1a\n" + bytes(30),
    "a webp of no known form": b"RIFF\x00\x00\x00\x00WEBPALPH" + bytes(30),
}


@pytest.mark.parametrize("content", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_unknown_sizes(content: bytes) -> None:
    assert size(content) is None


def test_a_picture_may_have_a_hundred_million_pixels() -> None:
    assert too_many(png(10_000, 10_000)) is None
    assert too_many(png(10_001, 10_000)) == (10_001, 10_000)
    assert too_many(png(50_000, 50_000)) == (50_000, 50_000)
    assert too_many(large_webp(1 << 24, 1 << 24)) == (1 << 24, 1 << 24)
    assert too_many(tiff("<", 100_000, 100_000, "I")) == (100_000, 100_000)
    assert too_many(b"?") is None
    assert MOST == 10**8


@given(st.sampled_from([*SIZES.values()]), st.integers(0, 60), st.binary(max_size=80))
def test_any_bytes_have_a_size_or_none(content: bytes, cut: int, rest: bytes) -> None:
    found = size(content[:cut] + rest)
    assert found is None or min(found) >= 0
