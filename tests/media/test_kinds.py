"""What files are: every format that the site takes, what it does not take, and what contradicts its bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_gateway.media import formats, pixels
from qwen_gateway.media.kinds import HEAD, Looked, look
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.files import Kind

from .samples import FORMATS, REFUSED, VARIANTS, boxes, gif, jpeg, ole, packed, png

PDF_TYPE = FORMATS["pdf"][2]
PDF, PNG, JPEG = FORMATS["pdf"][0], FORMATS["png"][0], FORMATS["jpg"][0]


def looked(content: bytes, name: str = "", *, kind: Kind | None = None, said: str = "") -> Looked:
    return look(content[:HEAD], len(content), claimed_kind=kind, claimed_type=said, name=name)


def refusal(content: bytes, name: str = "", *, kind: Kind | None = None, said: str = "") -> str:
    with pytest.raises(InvalidRequest) as caught:
        looked(content, name, kind=kind, said=said)
    assert caught.value.code == "unsupported_file"
    assert caught.value.param is None
    assert caught.value.text.endswith(".")
    return caught.value.text


# --- what the site takes ---


@pytest.mark.parametrize("extension", FORMATS)
def test_every_format_is_known_by_its_bytes(extension: str) -> None:
    content, kind, media_type = FORMATS[extension]
    assert looked(content, f"a.{extension}") == Looked(kind, media_type, f"a.{extension}")  # type: ignore[arg-type]
    assert looked(content, f"A.{extension.upper()}", said=f"{media_type.upper()}; x=1").media_type == media_type


@pytest.mark.parametrize("extension", [one.extensions[0] for one in formats.ALL])
def test_formats_are_known_without_a_name_and_get_one(extension: str) -> None:
    content, kind, media_type = FORMATS[extension]
    assert looked(content) == Looked(kind, media_type, f"{kind}.{extension}")  # type: ignore[arg-type]


def test_the_table_of_samples_is_whole() -> None:
    assert {one.media_type for one in formats.ALL} <= {media_type for _, _, media_type in FORMATS.values()}


@pytest.mark.parametrize(("content", "name", "media_type"), VARIANTS.values(), ids=VARIANTS.keys())
def test_variants_of_formats_are_known_too(content: bytes, name: str, media_type: str) -> None:
    found = looked(content, name)
    assert (found.media_type, found.name) == (media_type, name)


def test_a_file_is_known_by_its_beginning_alone() -> None:
    long = "字" * 40_000
    assert len(long.encode()[:HEAD]) % 3  # the last character is cut
    assert looked(long.encode(), "a.txt").media_type == "text/plain"
    assert looked(b"\xff\xfe" + long.encode("utf-16-le"), "a.txt").media_type == "text/plain"
    assert looked(JPEG + bytes(100_000), "a.jpg").media_type == "image/jpeg"
    refusal("字".encode()[:2], "a")  # a whole file that ends so is none


# --- what it does not take ---


@pytest.mark.parametrize(("content", "what"), REFUSED.values(), ids=REFUSED.keys())
def test_other_files_are_refused_by_what_they_are(content: bytes, what: str) -> None:
    assert what in refusal(content, "a.bin")
    assert what in refusal(content, "a.bin", said="application/octet-stream")


def test_a_refusal_names_what_the_site_takes_of_that_kind() -> None:
    assert "jpg, png, gif, webp, bmp, tiff, ico, apng, svg." in refusal(REFUSED["heic"][0])
    assert "mp3, wav, aac, m4a, amr." in refusal(REFUSED["flac"][0], said="audio/flac")
    assert "mp3, wav, aac, m4a, amr." in refusal(b"\x93\x00", kind="audio", said="audio/pcm16")
    assert "it was sent as audio/pcm16" in refusal(b"\x93\x00", kind="audio", said="audio/pcm16")
    assert "pdf, doc, docx, xls, xlsx, pptx, epub, ofd, and text." in refusal(REFUSED["zip"][0], kind="document")


@pytest.mark.parametrize(
    ("content", "name", "kind", "said", "text"),
    [
        (b"\x93\x00", "a.bin", None, "", "The file is of no known format."),
        (
            b"\x93\x00",
            "",
            "audio",
            "audio/pcm16",
            "The file is of no known format (it was sent as audio/pcm16). Sounds may be mp3, wav, aac, m4a, amr.",
        ),
        (
            REFUSED["exe"][0],
            "a.exe",
            None,
            "",
            "The file is application/x-msdownload, which the site does not take.",
        ),
        (
            ole(),
            "a.ppt",
            None,
            "",
            "The file's first bytes do not show which of doc, xls it is: its name has to end in one of them.",
        ),
    ],
)
def test_refusals_are_whole_sentences(content: bytes, name: str, kind: Kind | None, said: str, text: str) -> None:
    assert refusal(content, name, kind=kind, said=said) == text


def test_an_empty_file_is_refused() -> None:
    assert refusal(b"", "a.txt") == "The file is empty."


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (packed("[Content_Types].xml", "_rels/.rels"), "a.zip"),
        (ole(), "a.ppt"),
        (ole(), ""),
    ],
)
def test_a_document_of_which_nothing_shows_the_format_is_refused(content: bytes, name: str) -> None:
    assert "do not show which" in refusal(content, name)


def test_a_picture_of_too_many_pixels_is_refused() -> None:
    assert "50,000 × 50,000" in refusal(png(50_000, 50_000))
    assert looked(png(10_000, 10_000)).kind == "image"
    for most in (jpeg(65_535, 65_535), gif(65_535, 65_535)):
        refusal(most)
    assert pixels.too_many(b"BM is text, not a picture, however long it gets")
    assert looked(b"BM is text, not a picture, however long it gets").kind == "document"


# --- a pdf that begins late ---

LATE = {
    "a line": b"\n%PDF-1.4\n",
    "blanks": b"  \r\n\r\n%PDF-1.7\n",
    "a mark of UTF-8 and a line": b"\xef\xbb\xbf\n%PDF-1.4\n",
    "a mark of UTF-16": b"\xff\xfe%PDF-1.4\n",
    "a printer's commands": b"\x1b%-12345X@PJL JOB\r\n@PJL ENTER LANGUAGE=PDF\r\n%PDF-1.4\r\n",
    "lines of a mail": b"Content-Type: application/pdf\r\n\r\n%PDF-1.4\n",
    "as late as may be": b" " * 1016 + b"%PDF-1.4",
}


@pytest.mark.parametrize("content", LATE.values(), ids=LATE.keys())
def test_a_pdf_may_begin_behind_something(content: bytes) -> None:
    for whole in (content, content + b"%\xe2\xe3\xcf\xd3\n1 0 obj\n"):
        assert (
            looked(whole, "a.pdf")
            == looked(whole, "a", said="application/pdf")
            == Looked("document", PDF_TYPE, "a.pdf")
        )


def test_what_nobody_calls_a_pdf_is_none_because_of_words_in_it() -> None:
    assert looked(LATE["a line"], "a.txt").media_type == "text/plain"
    assert looked(LATE["a line"], "a", said="text/markdown").media_type == "text/markdown"
    assert looked(b"x" * 1024 + b"\n%PDF-1.4", "a.pdf").media_type == "text/plain"
    assert looked(b"About %PDF-files", "a.pdf").media_type == "text/plain"
    assert looked(PNG + b"\n%PDF-1.4", "a.pdf").media_type == "image/png"


# --- what is said of files ---

CONTRADICTIONS: dict[str, tuple[bytes, Kind | None, str, str, str]] = {
    # name: bytes, kind, type and name that are said, the refusal
    "a pdf as a png": (PDF, None, "image/png", "a.png", "sent as image/png, but its content is application/pdf"),
    "a pdf where a picture belongs": (
        PDF,
        "image",
        "image/png",
        "",
        "sent as image/png, but its content is application",
    ),
    "a pdf of no type where a picture belongs": (
        PDF,
        "image",
        "",
        "",
        "sent as a picture, but its content is application/pdf",
    ),
    "html where a picture belongs": (
        b"<html>",
        "image",
        "image/jpeg",
        "",
        "sent as image/jpeg, but its content is text",
    ),
    "html as html where a picture belongs": (
        b"<html>",
        "image",
        "text/html",
        "",
        "sent as a picture, but its content is text",
    ),
    "a picture where a video belongs": (
        PNG,
        "video",
        "video/mp4",
        "",
        "sent as video/mp4, but its content is image/png",
    ),
    "a picture where audio belongs": (PNG, "audio", "", "", "sent as audio, but"),
    "a picture where a document belongs": (PNG, "document", "", "a.png", "sent as a document, but"),
    "a picture as text": (PNG, None, "text/plain", "a.txt", "sent as text/plain, but its content is image/png"),
    "a picture as a pdf": (PNG, None, "application/pdf", "a.pdf", "sent as application/pdf, but"),
    "a sound as a video": (
        FORMATS["wav"][0],
        None,
        "video/mp4",
        "a.mp4",
        "sent as video/mp4, but its content is audio/wav",
    ),
    "a video as a sound": (
        FORMATS["webm"][0],
        "audio",
        "audio/webm",
        "a.webm",
        "sent as audio/webm, but its content is video/webm",
    ),
    "text as a picture": (b"hello", None, "image/png", "a.png", "sent as image/png, but its content is text"),
    "text as a video": (b"hello", None, "video/mp4", "a.mp4", "sent as video/mp4, but its content is text"),
    "a page of errors as a pdf": (
        b"<html>404",
        None,
        "application/pdf",
        "a.pdf",
        "sent as application/pdf, but its content is text",
    ),
    "text as a docx": (b"hello", None, FORMATS["docx"][2], "a.docx", "but its content is text"),
    "a program as a picture": (
        REFUSED["exe"][0],
        "image",
        "image/png",
        "a.png",
        "is application/x-msdownload (it was sent as image/png)",
    ),
}


@pytest.mark.parametrize(("content", "kind", "said", "name", "why"), CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_what_contradicts_the_bytes_is_refused(
    content: bytes, kind: Kind | None, said: str, name: str, why: str
) -> None:
    assert why in refusal(content, name, kind=kind, said=said)


HARMLESS: dict[str, tuple[bytes, Kind | None, str, str, str, str]] = {
    # name: bytes, kind, type and name that are said, type and name that are found
    "a jpeg as a png": (JPEG, "image", "image/png", "a.png", "image/jpeg", "a.png.jpg"),
    "a docx as a doc": (FORMATS["docx"][0], None, "application/msword", "a.doc", FORMATS["docx"][2], "a.doc.docx"),
    "a pdf as text": (PDF, None, "text/plain", "a.pdf", "application/pdf", "a.pdf"),
    "nothing said": (PNG, None, "application/octet-stream", "a", "image/png", "a.png"),
    "nothing said in another way": (PNG, "image", "binary/octet-stream; x", "", "image/png", "image.png"),
    "a type that says no kind": (PNG, None, "application/x-zip-compressed", "a.png", "image/png", "a.png"),
    "a picture that a server calls a page": (PNG, "image", "text/html", "a", "image/png", "a.png"),
    "svg as text": (FORMATS["svg"][0], None, "text/plain", "a.svg", "image/svg+xml", "a.svg"),
    "svg as a document": (FORMATS["svg"][0], "document", "", "a.svg", "text/plain", "a.svg.txt"),
    "svg as xml": (FORMATS["svg"][0], None, "text/xml", "", "image/svg+xml", "image.svg"),
    "a sound in mp4": (boxes(b"mp42", b"isom"), "audio", "audio/mp4", "", "audio/mp4", "audio.m4a"),
    "a sound in mp4, by type alone": (boxes(b"mp42", b"isom"), None, "audio/x-m4a", "a", "audio/mp4", "a.m4a"),
    "a sound in mp4, by its place alone": (boxes(b"isom", b"isom"), "audio", "", "a.mp4", "audio/mp4", "a.mp4.m4a"),
    "a table that Windows calls Excel's": (b"a,b\n", None, "application/vnd.ms-excel", "a.csv", "text/csv", "a.csv"),
    "TypeScript that programs call a video": (b"let a\n", None, "video/mp2t", "a.ts", "text/plain", "a.ts"),
    "go.mod that programs call a sound": (b"module a\n", None, "audio/x-mod", "go.mod", "text/plain", "go.mod"),
    "a text by its type": (b"a,b\n", None, "text/csv", "", "text/csv", "document.csv"),
    "a text by another name of its type": (b"{}", None, "text/json", "", "application/json", "document.json"),
    "a text by its name before its type": (b"# a\n", None, "text/plain", "a.md", "text/markdown", "a.md"),
    "a text of any source": (b"a", None, "text/x-rustsrc", "a.rs", "text/plain", "a.rs"),
    "a text without an extension": (b"all:\n", None, "", "Makefile", "text/plain", "Makefile.txt"),
    "a text of an unknown extension": (b"a", None, "", "notes.2024", "text/plain", "notes.2024.txt"),
    "a text called a pdf by its name alone": (b"<p>", None, "text/html", "a.pdf", "text/html", "a.pdf.html"),
    "a document by its type": (
        packed("[Content_Types].xml"),
        None,
        FORMATS["pptx"][2],
        "",
        FORMATS["pptx"][2],
        "document.pptx",
    ),
    "an older encoding by its type": ("中文".encode("gb18030"), None, "text/plain", "", "text/plain", "document.txt"),
}


@pytest.mark.parametrize(
    ("content", "kind", "said", "name", "media_type", "called"), HARMLESS.values(), ids=HARMLESS.keys()
)
def test_the_bytes_are_believed(
    content: bytes, kind: Kind | None, said: str, name: str, media_type: str, called: str
) -> None:
    found = looked(content, name, kind=kind, said=said)
    assert (found.media_type, found.name) == (media_type, called)


BEGINNINGS = [content for content, *_ in (*FORMATS.values(), *VARIANTS.values())] + [one for one, _ in REFUSED.values()]


def _cut(content: bytes, length: int, rest: bytes) -> bytes:
    return content[:length] + rest


@given(
    st.binary(max_size=600) | st.builds(_cut, st.sampled_from(BEGINNINGS), st.integers(0, 80), st.binary(max_size=80)),
    st.sampled_from([None, "image", "audio", "video", "document"]),
    st.sampled_from(["", "image/png", "text/plain", "audio/x-m4a", "application/pdf", "nonsense", ";"]),
    st.text(max_size=20) | st.sampled_from(["a.png", "a.ts", "a.docx", "a.csv"]),
)
def test_any_bytes_are_looked_at_or_refused(content: bytes, kind: Kind | None, said: str, name: str) -> None:
    try:
        found = looked(content, name, kind=kind, said=said)
    except InvalidRequest:
        return
    assert kind in (None, found.kind)
    assert found.kind == formats.kind_of(found.media_type)
    assert looked(content, found.name, kind=found.kind, said=found.media_type) == found


def test_bytes_that_send_a_reader_into_its_depths_are_refused() -> None:
    refusal(b"\x50\x2a\x4d\x18\x00\x00\x00\x00" * 8192, "a.zst")
