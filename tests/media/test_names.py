"""Names of files: no folders, nothing that cannot be seen, not too long, and an end that fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_gateway.media import formats
from qwen_gateway.media.names import LONGEST, extension, fitting, plain

PLAIN = {
    "cat.png": "cat.png",
    "/etc/passwd": "passwd",
    "../../a.txt": "a.txt",
    "C:\\Users\\me\\a b.txt": "a b.txt",
    "a/b\\c.txt": "c.txt",
    "folder/": "",
    "..": "",
    ".": "",
    " . ": "",
    "": "",
    "a\r\nb\0\x7f\x1b[31m.txt": "ab[31m.txt",
    "photo\u202egnp.exe": "photognp.exe",
    "a\u2028b\u2029c": "abc",
    "a\u3000b\u00a0c.txt": "a b c.txt",
    "\ud800.txt": ".txt",
    "中文 名字.pdf": "中文 名字.pdf",
    "a.txt. ": "a.txt",
    ".env": ".env",
    "emoji 🎉.md": "emoji 🎉.md",
}


@pytest.mark.parametrize(("given_", "expected"), PLAIN.items(), ids=[ascii(one) for one in PLAIN])
def test_plain_names(given_: str, expected: str) -> None:
    assert plain(given_) == expected


EXTENSIONS = {
    "a.TXT": "txt",
    "a.tar.gz": "gz",
    "a": "",
    ".env": "",
    "a.": "",
    "Dr. Who": "",
    f"a.{'x' * 21}": "",
    "a.m\u212av": "",
}


@pytest.mark.parametrize(("name", "expected"), EXTENSIONS.items())
def test_extensions(name: str, expected: str) -> None:
    assert extension(name) == expected


FITTING = [
    ("cat.png", formats.PNG, "cat.png"),
    ("cat.PNG", formats.PNG, "cat.PNG"),
    ("cat.jpeg", formats.JPG, "cat.jpeg"),
    ("cat.png", formats.JPG, "cat.png.jpg"),
    ("cat", formats.GIF, "cat.gif"),
    ("", formats.PNG, "image.png"),
    ("x/", formats.MP4, "video.mp4"),
    ("\n", formats.MP3, "audio.mp3"),
    ("..", formats.PDF, "document.pdf"),
    (".env", formats.text("", ""), ".env.txt"),
    (".png", formats.PNG, ".png.png"),
    ("a.ts", formats.M2TS, "a.ts.m2ts"),
]


@pytest.mark.parametrize(("name", "format_", "expected"), FITTING)
def test_names_that_fit_their_format(name: str, format_: formats.Format, expected: str) -> None:
    assert fitting(name, format_) == expected


@pytest.mark.parametrize(("name", "length"), [("字" * 300 + ".png", 199), ("x" * 300 + ".png", 200), ("x" * 300, 200)])
def test_long_names_keep_their_extension(name: str, length: int) -> None:
    found = fitting(name, formats.PNG)
    assert found.endswith(".png")
    assert len(found.encode()) == length


@given(st.text(max_size=300), st.sampled_from(formats.ALL))
def test_any_name_becomes_one_that_stays(name: str, format_: formats.Format) -> None:
    found = fitting(name, format_)
    assert found.isprintable()
    assert not set(found) & {"/", "\\"}
    assert len(found.encode()) <= LONGEST
    assert extension(found) in format_.extensions
    assert fitting(found, format_) == found
