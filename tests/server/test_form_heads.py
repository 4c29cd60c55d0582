"""What headers of forms say, in all the ways in which clients write them."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scaling import grows_linearly

from qwen_gateway.server.form_heads import boundary, field_name, file_name, media_type, options

NAMES: dict[bytes, str | None] = {
    b'name="file"': None,
    b'name="file"; filename="a.png"': "a.png",
    b"name=file; filename=a.png": "a.png",
    b"name=file; filename=my file.png ; x=y": "my file.png",
    b'name="file"; filename=""': "",
    b'name="file";filename="a;b=c.png";': "a;b=c.png",
    b'name="file"; filename="say \\"x\\" \\\\ y.png"': "y.png",
    b'name="file"; filename="say \\"x\\".png"': 'say "x".png',
    b'name="file"; filename="say %22x%22.png"': 'say "x".png',
    b'name="file"; filename="100%20%.png"': "100%20%.png",
    b'name="file"; filename="C:\\Users\\me\\new.png"': "new.png",
    b'name="file"; filename="C:\\\\Users\\\\me\\\\new.png"': "new.png",
    b'name="file"; filename="\\\\\\\\server\\\\share\\\\new.png"': "new.png",
    b'name="file"; filename="../../etc/passwd"': "passwd",
    b'name="file"; filename="..\\\\..\\\\boot.ini"': "boot.ini",
    b'name="file"; filename=".."': "",
    b'name="file"; filename="dir/"': "",
    b'name="file"; filename="a%0D%0Ab\x00\x7f\x1b[2Jc.png"': "ab[2Jc.png",
    'name="file"; filename="猫 é.png"'.encode(): "猫 é.png",
    'name="file"; filename="Schön.png"'.encode("latin-1"): "Schön.png",
    b'name="file"; filename="caf%C3%A9.png"; filename*=utf-8\'\'caf%C3%A9.png': "café.png",
    b'name="file"; filename*=UTF-8\'en\'%E7%8C%AB.png; filename="x.png"': "猫.png",
    b"name=\"file\"; filename*=ISO-8859-1''%FC.png": "ü.png",
    b"name=\"file\"; filename*=UTF-8''..%2F..%5Ca%00.png": "a.png",
    b"name=\"file\"; filename*=UTF-8''%ff.png": "\ufffd.png",
    b"name=\"file\"; filename*=utf-7''x.png; filename=y.png": "y.png",
    b'name="file"; filename*=nothing': "",
    b'name="file"; FileName="a.png"': "a.png",
    b'name="file"; filename="' + b"a" * 300 + b'.png"': "a" * 251 + ".png",
}


@pytest.mark.parametrize("given", NAMES, ids=lambda given: ascii(given)[:60])
def test_the_name_of_a_file(given: bytes) -> None:
    kind, found = options(b"Form-Data; " + given)
    assert kind == b"form-data"
    assert field_name(found) == "file"
    assert file_name(found) == NAMES[given]


@pytest.mark.parametrize(
    "header",
    [
        *(
            b"",
            b";",
            b'form-data; name="a',
            b'form-data; name="a\\"',
            b'form-data; name="a" x',
            b'form-data; name="a"b',
        ),
        *(b"form-data; name=a; name=b", b"form-data; name=a; NAME=b", b'form-data; filename="a"; filename="b"; name=c'),
        *(b"form-data name=a", b"form-data; =a", b'form-data; name=a"b"', b"form-data; a b=c"),
    ],
)
def test_what_can_be_read_in_two_ways_is_not_read(header: bytes) -> None:
    assert options(header) == (b"", {})


@pytest.mark.parametrize("given", [{}, {b"name": b""}, {b"name": b"\xff"}, {b"filename": b"a"}])
def test_a_part_without_a_name(given: dict[bytes, bytes]) -> None:
    assert field_name(given) is None


def test_the_name_of_a_field_may_be_any_text() -> None:
    assert field_name({b"name": "猫[]".encode()}) == "猫[]"
    assert field_name({b"name": b"a%22b"}) == 'a"b'


BOUNDARIES: dict[bytes, bytes | None] = {
    b"multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW": b"----WebKitFormBoundary7MA4YWxkTrZu0gW",
    b'Multipart/Form-Data; charset=utf-8; Boundary="a b:c"': b"a b:c",
    b"multipart/form-data; boundary=" + b"a" * 70: b"a" * 70,
    b"multipart/form-data; boundary=" + b"a" * 71: b"",
    b"multipart/form-data; boundary=" + b"-" * 100_000: b"",
    b"multipart/form-data": b"",
    b"multipart/form-data; boundary=": b"",
    b'multipart/form-data; boundary="a "': b"",
    b"multipart/form-data; boundary=a\r\nb": b"",
    b"multipart/form-data; boundary=\xff": b"",
    b"multipart/form-data; boundary=a; boundary=b": None,
    b"multipart/mixed; boundary=a": None,
    b"application/json": None,
    b"application/x-www-form-urlencoded": None,
    b"": None,
}


@pytest.mark.parametrize("header", BOUNDARIES, ids=lambda header: ascii(header)[:60])
def test_the_boundary(header: bytes) -> None:
    assert boundary(header) == BOUNDARIES[header]


def test_the_media_type_has_no_parameters() -> None:
    assert media_type(b" Image/PNG ; charset=x") == "image/png"
    assert [media_type(none) for none in (b"", b"png", b"a/b/c", b"a/\xff", b"/")] == [""] * 5


@given(st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters='/\\"%'), min_size=1, max_size=50))
def test_each_way_of_writing_gives_the_same_name(name: str) -> None:
    if name in (".", ".."):
        return
    codes = "".join(f"%{byte:02X}" for byte in name.encode()).encode()
    for written in (b'filename="%s"' % name.encode(), b"filename=x; filename*=UTF-8''" + codes):
        assert file_name(options(b"form-data; name=a; " + written)[1]) == name


@given(st.binary(max_size=200))
def test_no_header_breaks_it(header: bytes) -> None:
    for start in (b"", b"form-data; name=a; filename", b"multipart/form-data; boundary="):
        _, found = options(start + header)
        field_name(found)
        name = file_name(found)
        assert name is None or not {"/", "\\", "\0", "\n"} & set(name)
        boundary(start + header)
        media_type(start + header)


@pytest.mark.parametrize(
    ("beginning", "rest"),
    [
        (b"form-data", b";"),
        (b"form-data", b"; "),
        (b"form-data;", b" "),
        (b"form-data;", b"a"),
        (b"form-data; a", b" "),
        (b"form-data; a=", b" "),
        (b'form-data; a="', b"\\"),
        (b'form-data; a="', b'\\"'),
        (b"form-data; filename=", b"%22"),
        (b"form-data; filename=", b"/\\"),
        (b"form-data; filename*=utf-8'", b"'"),
        (b"form-data; filename*=utf-8''", b"%ff"),
        (b"multipart/form-data; boundary=", b"a "),
        (b"", b"a"),
        (b"", b"a/"),
        (b"", b" "),
    ],
)
def test_headers_are_read_in_linear_time(beginning: bytes, rest: bytes) -> None:
    def work(size: int) -> Callable[[], object]:
        header = beginning + rest * (size // len(rest))

        def reads() -> None:
            boundary(header), media_type(header), file_name(options(header)[1]), field_name(options(header)[1])

        return reads

    assert grows_linearly(work, 4_000)
