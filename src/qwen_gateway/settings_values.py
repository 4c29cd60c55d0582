"""The kinds of values that settings have: what may be written for them, and what becomes of it.

Each is lenient about form (a comma list or JSON, `24` or `24h`) and strict about meaning. Messages say what to write
and never repeat the value, which may be a secret. Not here: the settings themselves (`settings`).
"""

import ipaddress
import json
import re
import warnings
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo

DAY = 86_400
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LIST = re.compile(r"\s*\[\s*[\"\]]")
"""How a JSON list of texts begins; a pattern such as `[a-z]` begins otherwise."""
_HOURS = re.compile(r"(\d+(?:\.\d+)?)\s*h?")


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _not_bool(value: object) -> object:
    # Pydantic would take a TOML `true` for the number 1.
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _host(value: str) -> str:
    host = value.strip().removeprefix("[").removesuffix("]")
    if not host or "/" in host or " " in host:
        raise ValueError("should be an address such as 127.0.0.1, ::1 or 0.0.0.0, without http:// and port")
    return host


def _decoded(text: str, form: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(f"should be {form}; the JSON cannot be read") from None


def _texts(value: object) -> object:
    """`a, b` or `["a", "b"]` → list. A comma at the end is no entry."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return _decoded(value, 'a list such as a,b or ["a", "b"]')
    parts = [part.strip() for part in value.split(",")]
    return parts if parts[-1] else parts[:-1]


def _patterns(value: object) -> object:
    """One pattern, or a JSON list. Never split at commas, which patterns have inside them."""
    if not isinstance(value, str):
        return value
    return _decoded(value, 'one pattern, or a list such as ["^a", "^b"]') if _LIST.match(value) else (value,)


def _regular(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # Python warns of what will mean something else one day
                re.compile(pattern, re.MULTILINE)
        except (re.error, OverflowError, RecursionError, Warning) as problem:
            raise ValueError(f"{pattern[:100]!r} is no regular expression ({problem})") from None
        if not pattern:
            raise ValueError("one of the patterns is empty. Remove it, or write one there")
    return patterns


def _keys(keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    bare = tuple(SecretStr(key.get_secret_value().strip()) for key in keys)
    for key in bare:
        text = key.get_secret_value()
        if not text:
            raise ValueError("one of the keys is empty. Remove it, or write a key there")
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise ValueError("a key may have only letters, digits and signs, no spaces")
    return bare


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    bare = tuple(origin.strip().rstrip("/").lower() for origin in origins)
    # Local pages and some desktop programs have the origins `file://` and `null`; any page can make itself `null`.
    named = ("*", "null", "file:")
    if not all(origin in named or re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s]+", origin) for origin in bare):
        raise ValueError("each should be like https://example.com, file://, null or *")
    return tuple("file://" if origin == "file:" else origin for origin in bare)


def _host_names(names: tuple[str, ...]) -> tuple[str, ...]:
    bare = tuple(name.strip().lower() for name in names)
    if not all(name and "/" not in name and " " not in name for name in bare):
        raise ValueError("each should be a name such as gateway.example.com, without http:// and path")
    return bare


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.ip_network(text.strip())) for text in value)
    except ValueError:
        raise ValueError("each should be a network such as 192.168.1.0/24, or an address such as 127.0.0.1") from None


def _prefix(value: str) -> str:
    segments = [segment for segment in value.strip().split("/") if segment]
    if not all(_SEGMENT.fullmatch(segment) and segment.strip(".") for segment in segments):
        raise ValueError("should be a path such as /qwen, of letters, digits and . _ ~ -")
    if segments[:2] == ["api", "admin"]:
        raise ValueError("should not be /api/admin: the management API is there")
    return "".join("/" + segment for segment in segments)


def _url(value: str) -> str:
    bare = value.strip().rstrip("/")
    try:
        parts = urlsplit(bare)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, or half an IPv6 address
        good = False
    else:
        good = good and not (parts.username or parts.password or parts.query or parts.fragment)
    if not good or any(char.isspace() for char in bare):
        raise ValueError("should be an address such as https://chat.qwen.ai, without user name and query")
    return bare


# In the order in which SQLAlchemy 2.0 cuts an address, so that what passes here means the same there.
_STORE_URL = re.compile(
    r"(?P<scheme>[a-z+]+)://(?:[^:/]*(?::(?P<password>[^@]*))?@)?(?P<host>\[[^/?]+\]|[^/:?]+)?(?::(?P<port>[^/?]*))?"
    r"(?:/(?P<name>[^?]*))?(?:\?(?P<query>.*))?"
)
_TLS = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
_SPECIAL = "Signs of a password such as @ / ? # are written as %40 %2F %3F %23"


def _database_url(value: SecretStr) -> SecretStr:
    """A PostgreSQL address, whichever driver it names: ours is the one that is put in."""
    bare = value.get_secret_value().strip()
    schemes = ("postgres", "postgresql", "postgresql+asyncpg")
    query = _store_url(bare, schemes, "postgresql://user:password@host/name")["query"] or ""
    for name, mode in parse_qsl(query, keep_blank_values=True):
        if name in ("sslrootcert", "sslcert", "sslkey"):
            raise ValueError("name the file of a certificate in the variable PG" + name.upper() + " instead")
        if name == "host" and mode.startswith("/"):
            continue  # the folder of a socket
        if name not in ("sslmode", "ssl"):
            raise ValueError("after the question mark, only sslmode is understood")
        if mode not in _TLS:
            raise ValueError(f"sslmode should be one of: {', '.join(sorted(_TLS))}")
    return SecretStr(f"postgresql+asyncpg://{bare.partition('://')[2]}")


def _redis_url(value: SecretStr) -> SecretStr:
    bare = value.get_secret_value().strip()
    parts = _store_url(bare, ("redis", "rediss"), "redis://host:6379/0")
    if any(sign in (parts["password"] or "") for sign in "/?#"):
        raise ValueError(f"should be like redis://:password@host:6379/0. {_SPECIAL}")
    if parts["query"]:
        raise ValueError("should be without a question mark: further options are not understood")
    if not re.fullmatch(r"\d{0,5}/?", parts["name"] or "", re.ASCII):
        raise ValueError("after the last slash should be the number of a database, such as 0")
    return SecretStr(bare)


def _store_url(text: str, schemes: tuple[str, ...], form: str) -> re.Match[str]:
    """The address, cut in parts. No message quotes it: it holds a password."""
    parts = _STORE_URL.fullmatch(text)
    if parts is None or parts["scheme"] not in schemes or any(char.isspace() for char in text):
        raise ValueError(f"should be like {form}. {_SPECIAL}")
    if not (parts["host"] or parts["name"]) or "@" in (parts["host"] or ""):
        raise ValueError(f"should be like {form}. {_SPECIAL}")
    port = parts["port"]
    if port is not None and not (re.fullmatch(r"\d{1,5}", port, re.ASCII) and 0 < int(port) < 65_536):
        raise ValueError("the port (after the host's colon) should be a number from 1 to 65535")
    return parts


def _headers(value: object) -> object:
    return _decoded(value, 'a table, in JSON: {"name": "value"}') if isinstance(value, str) else value


def _safe_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, text in headers.items():
        if name.lower().startswith("bx-"):
            raise ValueError("names that start with bx- are refused: fingerprint headers are never sent")
        if not _HEADER_NAME.fullmatch(name) or not (text.isascii() and text.isprintable()):
            raise ValueError("names and values should be plain ASCII on one line, as HTTP headers are")
    return headers


def _aliases(value: object) -> object:
    form = 'a table, in JSON: {"gpt-4o": ["qwen3-max"]}'
    decoded = _decoded(value, form) if isinstance(value, str) else value
    if not isinstance(decoded, dict):
        raise ValueError(f"should be {form}")
    return {name: (ids,) if isinstance(ids, str) else ids for name, ids in decoded.items()}


def _delete_chats(value: object) -> object:
    text = value.strip().lower() if isinstance(value, str) else value
    if text in ("now", "keep"):
        return text
    hours = _HOURS.fullmatch(text) if isinstance(text, str) else None
    number = float(hours[1]) if hours else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number <= 24 * 7:
        raise ValueError("should be now, keep, or a number of hours up to a week (168), such as 24")
    return float(number)


def _path(value: Path, info: ValidationInfo) -> Path:
    """`~` is the home directory; a relative path starts where `load` was told it is."""
    home = value.expanduser()
    return info.context["cwd"] / home if info.context else home


Number = BeforeValidator(_not_bool)
Seconds = Annotated[float, Number, Field(gt=0, le=DAY, allow_inf_nan=False)]
Word = BeforeValidator(_lower)
"""For a choice of words: upper and lower case are the same."""
Host = Annotated[str, AfterValidator(_host)]
Keys = Annotated[tuple[SecretStr, ...], BeforeValidator(_texts), AfterValidator(_keys)]
Origins = Annotated[tuple[str, ...], BeforeValidator(_texts), AfterValidator(_origins)]
HostNames = Annotated[tuple[str, ...], BeforeValidator(_texts), AfterValidator(_host_names)]
Patterns = Annotated[tuple[str, ...], BeforeValidator(_patterns), AfterValidator(_regular)]
Networks = Annotated[tuple[str, ...], BeforeValidator(_texts), AfterValidator(_networks)]
"""As `ipaddress.ip_network` takes them."""
Prefix = Annotated[str, AfterValidator(_prefix)]
Url = Annotated[str, AfterValidator(_url)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
Headers = Annotated[dict[str, str], BeforeValidator(_headers), AfterValidator(_safe_headers)]
Aliases = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_aliases)]
DeleteChats = Annotated[Literal["now", "keep"] | float, BeforeValidator(_delete_chats)]
FilePath = Annotated[Path, AfterValidator(_path)]
Optional = BeforeValidator(_blank_is_none)
"""For what may be left out: a blank text is nothing."""
