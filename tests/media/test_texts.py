"""What is text, and which text is a picture."""

import pytest

from qwen_gateway.media.texts import decoded, is_svg, may_be_text


@pytest.mark.parametrize("content", [b"", b"a", "ü".encode(), b"\xef\xbb\xbf", b"\xff\xfea\x00", b"\x1b[1m"])
def test_text_decodes(content: bytes) -> None:
    assert decoded(content, whole=True) is not None


@pytest.mark.parametrize(
    "content", [b"\0", b"a\0", b"\xff", "ü".encode()[:1], b"\xff\xfe\0", b"\xff\xfe\0\0", b"\xfe\xff\xd8\0"]
)
def test_other_bytes_do_not(content: bytes) -> None:
    assert decoded(content, whole=True) is None


def test_the_last_character_of_a_beginning_may_be_cut() -> None:
    for text, encoding in (("aü中🎉", "utf-8"), ("\ufeffaü中🎉", "utf-16-le"), ("\ufeffaü中🎉", "utf-16-be")):
        raw = text.encode(encoding)
        for end in range(len(raw) + 1):
            found = decoded(raw[:end], whole=False)
            if encoding == "utf-8" or end > 1:
                assert found is not None
                assert "aü中🎉".startswith(found)
    assert decoded(b"a\xe4", whole=False) == "a"  # it could still become something
    assert decoded(b"a\xe4b", whole=False) is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [("中文\r\n\t".encode("gb18030"), True), (b"\xe4", True), (b"a\x01", False), (b"\0", False)],
)
def test_what_may_be_text_in_an_older_encoding(content: bytes, expected: bool) -> None:
    assert may_be_text(content) is expected


SVG = {
    "<svg>": True,
    "<svg/>": True,
    "  \n<SVG xmlns='x'>": True,
    "<?xml version='1.0'?><svg >": True,
    "<!-- a --><!-- <b> --><svg\n>": True,
    "<?xml version='1.0'?>\n<!DOCTYPE svg PUBLIC '-//W3C' 'http://x' [<!ENTITY a 'b'>]>\n<svg>": True,
    "<!DOCTYPE svg><svg>": True,
    "<!DOCTYPE svg a [b] c><svg>": True,
    "<?xml a='?'?><svg>": True,
    "<svg:svg>": True,
    "<ns0:svg xmlns:ns0='x'>": True,
    "<svgs>": False,
    "<svg": False,
    "<html><svg></html>": False,
    "<!DOCTYPE html><svg>": False,
    "text <svg>": False,
    "<!-- <svg> ": False,
    "": False,
}


@pytest.mark.parametrize(("text", "expected"), SVG.items())
def test_which_text_is_a_picture(text: str, expected: bool) -> None:
    assert is_svg(text) is expected


@pytest.mark.parametrize(
    "text", ["<!--" * 16_000, "<!-- -->" * 8_000, "<?xml" + " " * 60_000, "<!DOCTYPE svg[" * 4_000, " " * 65_536]
)
def test_no_text_takes_long_to_be_told_from_a_picture(text: str) -> None:
    assert not is_svg(text)
