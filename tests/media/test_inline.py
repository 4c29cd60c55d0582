"""Documents that are text, as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_gateway.media.inline import as_text

TEXTS: dict[str, tuple[bytes, str, str | None]] = {
    "plain": (b"a\r\nb\n", "text/plain", "a\r\nb\n"),
    "UTF-8": ("ü中🎉".encode(), "text/markdown", "ü中🎉"),
    "UTF-8 with a mark": (b"\xef\xbb\xbfa", "text/csv", "a"),
    "UTF-16": (b"\xff\xfea\x00", "text/plain", "a"),
    "UTF-16, the other way round": (b"\xfe\xff\x00a", "text/plain", "a"),
    "JSON": (b"{}", "application/json", "{}"),
    "XML": (b"<a/>", "application/xml", "<a/>"),
    "nothing": (b"", "text/plain", ""),
    "a cut character": ("中".encode()[:2], "text/plain", None),
    "half of UTF-16": (b"\xff\xfea", "text/plain", None),
    "an older encoding": ("中文".encode("gb18030"), "text/plain", None),
    "bytes": (b"a\x00b", "text/plain", None),
    "another kind of document": (b"%PDF-1.4 text", "application/pdf", None),
    "a picture that is text": (b"<svg/>", "image/svg+xml", None),
    "of no type": (b"a", "", None),
}


@pytest.mark.parametrize(("content", "media_type", "expected"), TEXTS.values(), ids=TEXTS.keys())
def test_texts(content: bytes, media_type: str, expected: str | None) -> None:
    assert as_text(content, media_type) == expected


@given(st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"])))
def test_any_text_comes_back_as_it_was(text: str) -> None:
    assert as_text(text.encode(), "text/plain") == text
    assert as_text(b"\xef\xbb\xbf" + text.encode(), "text/plain") == text
    assert as_text(b"\xfe\xff" + text.encode("utf-16-be"), "text/plain") == text
