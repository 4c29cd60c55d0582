"""How large files may be, and which go together."""

import pytest

from qwen_gateway.media.limits import Limits
from qwen_gateway.turn.faults import BodyTooLarge, InvalidRequest
from qwen_gateway.turn.files import FilePart, Kind, Remote

LIMITS = Limits(image=100, document=200, audio=300, video=400, pictures=3, documents=2)


def files(*kinds: Kind | None) -> list[FilePart]:
    return [FilePart(Remote("https://a.example/"), kind, param=f"p[{i}]") for i, kind in enumerate(kinds)]


@pytest.mark.parametrize(
    ("kind", "most"), [("image", 100), ("document", 200), ("audio", 300), ("video", 400), (None, 400)]
)
def test_sizes(kind: Kind | None, most: int) -> None:
    assert LIMITS.most(kind) == most
    LIMITS.check_size(kind, most)
    with pytest.raises(BodyTooLarge) as caught:
        LIMITS.check_size(kind, most + 1, "here")
    assert (caught.value.code, caught.value.param, caught.value.status) == ("file_too_large", "here", 413)
    assert f"{most + 1:,} bytes" in caught.value.text


def test_a_refusal_reads_well() -> None:
    with pytest.raises(BodyTooLarge, match=r"^The file has 20,971,521 bytes; a picture may have 20,971,520 at most\.$"):
        Limits().check_size("image", 20 * 1024 * 1024 + 1)
    with pytest.raises(InvalidRequest, match=r"one question can hold 1 video at most\. "):
        LIMITS.check_together(files("video", "video"))
    with pytest.raises(InvalidRequest, match=r"one question can hold 2 documents at most\. "):
        LIMITS.check_together(files("document", "document", "document"))
    with pytest.raises(BodyTooLarge, match=r"; a video may have 524,288,000 at most\.$"):
        Limits().check_size("video", 10**9)


TOGETHER: list[tuple[Kind | None, ...]] = [
    (),
    ("image", "image", "image"),
    ("document", "document"),
    ("image", "document", "image"),
    ("audio",),
    ("video",),
    ("audio", "video"),
    ("video", "document", "document"),
    ("image", None, None, None, None),
    ("audio", None),
]


@pytest.mark.parametrize("kinds", TOGETHER)
def test_what_goes_together(kinds: tuple[Kind | None, ...]) -> None:
    LIMITS.check_together(files(*kinds))


APART: list[tuple[tuple[Kind | None, ...], str, str]] = [
    (("image", "image", "image", "image"), "p[3]", "too_many_files"),
    (("document", "image", "document", "document"), "p[3]", "too_many_files"),
    (("audio", "audio"), "p[1]", "too_many_files"),
    (("video", "document", "video"), "p[2]", "too_many_files"),
    (("image", "audio"), "p[1]", "unsupported_content"),
    (("audio", "image"), "p[1]", "unsupported_content"),
    (("image", "document", "video"), "p[2]", "unsupported_content"),
    (("video", "image", "image", "image", "image"), "p[1]", "unsupported_content"),
]


@pytest.mark.parametrize(("kinds", "param", "code"), APART)
def test_what_does_not(kinds: tuple[Kind | None, ...], param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        LIMITS.check_together(files(*kinds))
    assert (caught.value.param, caught.value.code) == (param, code)
    assert f"`{param}`" in caught.value.text
