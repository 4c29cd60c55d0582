"""How large pictures are."""

import struct

import pytest

from qwen_gateway.simulator.pixels import size

from .uploads import png

JPEG = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0"
    b"\xff\xff\xdb\x00\x04\0\0"  # a fill byte in front of a table
    b"\xff\xc2\x00\x11\x08" + struct.pack(">HH", 480, 640) + b"\3"
)
VP8 = b"RIFF\0\0\0\0WEBPVP8 " + b"\0" * 4 + b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 640 | 0x4000, 480)
VP8L = b"RIFF\0\0\0\0WEBPVP8L" + b"\0" * 4 + b"\x2f" + struct.pack("<I", 639 | 479 << 14 | 1 << 28)
VP8X = b"RIFF\0\0\0\0WEBPVP8X" + b"\0" * 4 + b"\0" * 4 + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")
BMP = b"BM" + b"\0" * 12 + struct.pack("<Iii", 40, 640, -480)
OLD_BMP = b"BM" + b"\0" * 12 + struct.pack("<IHH", 12, 640, 480)
GIF = b"GIF89a" + struct.pack("<HH", 640, 480)


@pytest.mark.parametrize(
    "data",
    [png(640, 480), JPEG, VP8, VP8L, VP8X, BMP, OLD_BMP, GIF, GIF.replace(b"89", b"87")],
    ids=["png", "jpeg", "webp", "webp lossless", "webp extended", "bmp", "old bmp", "gif", "old gif"],
)
def test_the_size_of_a_picture_is_read(data: bytes) -> None:
    assert size(data) == (640, 480)


@pytest.mark.parametrize("data", [b"", b"text", b"\xff\xd8rubbish", b"RIFF\0\0\0\0WAVEfmt ", b"\xff\xd8\xff\xd9"])
def test_what_is_no_picture_has_none(data: bytes) -> None:
    assert size(data) is None


@pytest.mark.parametrize("data", [png(9, 9), JPEG, VP8, VP8L, BMP, GIF])
def test_a_picture_that_ends_too_early_has_none(data: bytes) -> None:
    mark = 12 if data.startswith(b"RIFF") else 4
    assert all(size(data[:end]) is None for end in range(mark, 8))
    assert size(data[: 16 if data.startswith(b"RIFF") else 9]) is None
