"""What the headers of a form and of its parts say.

Names of files are written in several ways, and whoever reads the request need not care which: browsers write `%22` for
a quote (the HTML standard), curl before 7.81 a backslash before it, others add `filename*` (RFC 5987), and old browsers
send the whole path.
"""

import re
import unicodedata
from urllib.parse import unquote

from qwen_gateway.turn.files import last_part

_VALUE = re.compile(rb"[ \t]*([^\s;]+)[ \t]*")
_OPTION = re.compile(rb';[ \t]*(?:([^\s;="]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;"]*))?[ \t]*', re.DOTALL)
_ESCAPED = re.compile(rb'\\([\\"])')
_CODED = re.compile(rb"%(22|0[AaDd])")
_EXTENDED = re.compile(rb"(utf-8|iso-8859-1)'[^']*'(.*)", re.IGNORECASE | re.DOTALL)
_MEDIA_TYPE = re.compile(rb"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
"""RFC 2046: 70 characters at most."""
MAX_NAME = 255
"""Characters; of a longer name the end stays, which tells the type."""


def options(header: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """`form-data; name="a"` → `form-data` and what follows by name, both in lower case. Empty for what cannot be read
    in one way only."""
    if (value := _VALUE.match(header)) is None:
        return b"", {}
    found: dict[bytes, bytes] = {}
    place = value.end()
    while place < len(header):
        option = _OPTION.match(header, place)
        name = option[1].lower() if option is not None and option[1] is not None else b""
        if option is None or name in found:
            return b"", {}
        if name:
            text = option[2].strip()
            found[name] = _ESCAPED.sub(rb"\1", text[1:-1]) if text[:1] == b'"' else text
        place = option.end()
    return value[1].lower(), found


def boundary(content_type: bytes) -> bytes | None:
    """That of a form; empty where there is none that may be. `None` for what is no form."""
    kind, given = options(content_type)
    if kind != b"multipart/form-data":
        return None
    text = given.get(b"boundary", b"")
    return text if _BOUNDARY.fullmatch(text) else b""


def media_type(content_type: bytes) -> str:
    """In lower case, without parameters; empty for none."""
    text = content_type.partition(b";")[0].strip().lower()
    return text.decode() if _MEDIA_TYPE.fullmatch(text) else ""


def field_name(given: dict[bytes, bytes]) -> str | None:
    """Of a part's Content-Disposition; `None` without one that can be read."""
    try:
        return _decoded(given[b"name"]).decode() or None
    except (KeyError, UnicodeDecodeError):
        return None


def file_name(given: dict[bytes, bytes]) -> str | None:
    """Its last part, without folders; may be empty. `None` for a part that is no file."""
    if (extended := _EXTENDED.fullmatch(given.get(b"filename*", b""))) is not None:
        name = unquote(extended[2].decode("latin-1"), encoding=extended[1].decode(), errors="replace")
    elif (plain := given.get(b"filename")) is not None:
        name = _text(_decoded(plain))
    else:
        return "" if b"filename*" in given else None
    name = last_part(name)
    name = "".join(character for character in name if unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp"))
    name = name.strip()[-MAX_NAME:]
    return "" if name in (".", "..") else name


def _decoded(text: bytes) -> bytes:
    return _CODED.sub(lambda code: bytes.fromhex(code[1].decode()), text)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")
