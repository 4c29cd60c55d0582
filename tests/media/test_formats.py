"""The table of formats is consistent."""

import itertools

import pytest

from qwen_gateway.media.formats import ALL, TEXT_TYPES, kind_of, text, text_type


def test_each_format_says_its_own_kind() -> None:
    for one in ALL:
        assert kind_of(one.media_type) == one.kind
        for alias in one.aliases:
            assert kind_of(alias) is not None


def test_no_extension_and_no_type_belongs_to_two_formats() -> None:
    first = [one.extensions[0] for one in ALL]
    assert len(set(first)) == len(first)
    types = [one.media_type for one in ALL]
    assert len(set(types)) == len(types)
    shared = {
        extension for a, b in itertools.combinations(ALL, 2) for extension in set(a.extensions) & set(b.extensions)
    }
    assert shared == {"png"}  # a moving one is often called so
    # `mts` is a video and TypeScript; the bytes tell them apart.
    assert {extension for one in ALL for extension in one.extensions} & TEXT_TYPES.keys() == {"mts"}


def test_types_of_texts_are_texts() -> None:
    for media_type in TEXT_TYPES.values():
        assert text_type(media_type) == media_type
        assert kind_of(media_type) == "document"


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [
        ("image/whatever", "image"),
        ("audio/whatever", "audio"),
        ("video/whatever", "video"),
        ("text/whatever", "document"),
        ("application/pdf", "document"),
        ("application/json", "document"),
        ("application/mp4", "video"),
        ("application/x-thing", None),
        ("font/woff", None),
        ("images/png", None),
        ("", None),
    ],
)
def test_kinds_of_types(media_type: str, kind: str | None) -> None:
    assert kind_of(media_type) == kind


@pytest.mark.parametrize(
    ("extension", "claimed", "media_type", "end"),
    [
        ("md", "", "text/markdown", "md"),
        ("md", "text/plain", "text/markdown", "md"),
        ("rs", "text/rust", "text/plain", "rs"),
        ("", "text/csv", "text/csv", "csv"),
        ("", "application/javascript", "text/javascript", "js"),
        ("", "text/x-unknown", "text/plain", "txt"),
        ("", "image/png", "text/plain", "txt"),
        ("pdf", "", "text/plain", "txt"),
        ("", "", "text/plain", "txt"),
    ],
)
def test_formats_of_texts(extension: str, claimed: str, media_type: str, end: str) -> None:
    found = text(extension, claimed)
    assert (found.kind, found.media_type, found.extensions) == ("document", media_type, (end,))
