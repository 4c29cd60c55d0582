"""Signatures of the object storage, computed anew from what arrived.

Here: V4 in the header and in the address, V1 in the header, after Alibaba's pages "Include a V4 signature in the
Authorization header", "Include a V4 signature in a URL" and the one on V1 in the header (2024-2025). Written from
those, not from a client library: it is there to find the client's mistakes. Not here: HTTP (`oss`).
"""

import base64
import calendar
import hashlib
import hmac
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from .oss_refusals import OssError
from .tickets import BUCKET, REGION, Ticket, Tickets
from .times import iso

_V4 = "OSS4-HMAC-SHA256"
_END = "aliyun_v4_request"
_MAX_SKEW = 15 * 60
_MAX_EXPIRES = 7 * 24 * 3600
_STAMP = "%Y%m%dT%H%M%SZ"

# Parameters that a V1 signature covers, of those that may come with an object.
_SUBRESOURCES = {
    *(
        "acl",
        "append",
        "callback",
        "callback-var",
        "delete",
        "encryption",
        "img",
        "objectMeta",
        "partNumber",
        "position",
    ),
    *("response-cache-control", "response-content-disposition", "response-content-encoding"),
    *("response-content-language", "response-content-type", "response-expires", "restore", "security-token"),
    *("sequential", "symlink", "tagging", "uploadId", "uploads", "versionId", "x-oss-process", "x-oss-request-payer"),
    "x-oss-traffic-limit",
}


@dataclass(frozen=True)
class Asked:
    """A request as it arrived. key: decoded. query: decoded pairs. headers: names in lower case."""

    method: str
    key: str
    query: list[tuple[str, str]]
    headers: dict[str, str]

    def header(self, name: str) -> str:
        return self.headers.get(name, "")

    def parameter(self, name: str) -> str:
        return dict(self.query).get(name, "")

    def has(self, name: str) -> bool:
        return any(name == given for given, _ in self.query)


@dataclass(frozen=True)
class _Claim:
    """Whose request it claims to be. at: when it was signed. lasts: seconds, of a signed address."""

    version: str
    access_key_id: str
    token: str
    at: float
    given: str
    lasts: int | None = None
    day: str = ""
    stamp: str = ""
    additional: str = ""


def checked(asked: Asked, tickets: Tickets, now: float) -> tuple[Ticket, str]:
    """The ticket that a request was rightly signed with, and how. Raises OssError."""
    claim = _claim(asked)
    ticket = tickets.of_access_key(claim.access_key_id)
    if ticket is None:
        raise OssError("InvalidAccessKeyId", OSSAccessKeyId=claim.access_key_id)
    _check_time(claim, now)
    if claim.token != ticket.security_token:
        raise OssError("InvalidSecurityToken")
    if now > ticket.expires:
        raise OssError("SecurityTokenExpired")
    _check_signature(asked, claim, ticket.access_key_secret)
    if asked.key != ticket.key:
        # The policy of a ticket covers its one object.
        raise OssError("AccessDenied", "Access denied by bucket policy.")
    return ticket, claim.version


def presigned(origin: str, ticket: Ticket, seconds: int, now: float) -> str:
    """An address to read the ticket's object from, in the order of the capture of 14 Sep 2026."""
    stamp = time.strftime(_STAMP, time.gmtime(now))
    query = [
        ("x-oss-security-token", ticket.security_token),
        ("x-oss-date", stamp),
        ("x-oss-expires", str(seconds)),
        ("x-oss-signature-version", _V4),
        ("x-oss-credential", f"{ticket.access_key_id}/{_scope(stamp[:8])}"),
    ]
    canonical = canonical_v4(Asked("GET", ticket.key, query, {}), "", "UNSIGNED-PAYLOAD")
    query.append(("x-oss-signature", _signed_v4(ticket.access_key_secret, stamp, stamp[:8], canonical)[0]))
    return f"{origin}{quote(_path(ticket.key))}?" + "&".join(f"{name}={quote(text, safe='')}" for name, text in query)


def _claim(asked: Asked) -> _Claim:
    scheme, _, rest = asked.header("authorization").partition(" ")
    if scheme == _V4:
        return _v4_header(asked, rest)
    if scheme == "OSS":
        return _v1_header(asked, rest)
    if asked.parameter("x-oss-signature-version") == _V4:
        return _v4_query(asked)
    raise OssError("AccessDenied")


def _v4_header(asked: Asked, authorization: str) -> _Claim:
    fields = dict(field.strip().partition("=")[::2] for field in authorization.split(","))
    access_key_id, day = _credential(fields.get("Credential", ""))
    if asked.header("x-oss-content-sha256") != "UNSIGNED-PAYLOAD":
        raise OssError("InvalidArgument", "Invalid x-oss-content-sha256 value.")
    stamp = asked.header("x-oss-date")
    return _Claim(
        version="v4",
        access_key_id=access_key_id,
        token=asked.header("x-oss-security-token"),
        at=_seconds_of_stamp(stamp, day),
        given=fields.get("Signature", ""),
        day=day,
        stamp=stamp,
        additional=fields.get("AdditionalHeaders", ""),
    )


def _v4_query(asked: Asked) -> _Claim:
    access_key_id, day = _credential(asked.parameter("x-oss-credential"))
    stamp = asked.parameter("x-oss-date")
    lasts = asked.parameter("x-oss-expires")
    if not lasts.isdecimal() or not 1 <= int(lasts) <= _MAX_EXPIRES:
        raise OssError("InvalidArgument", "Invalid x-oss-expires value.")
    return _Claim(
        version="v4 address",
        access_key_id=access_key_id,
        token=asked.parameter("x-oss-security-token"),
        at=_seconds_of_stamp(stamp, day),
        given=asked.parameter("x-oss-signature"),
        lasts=int(lasts),
        day=day,
        stamp=stamp,
        additional=asked.parameter("x-oss-additional-headers"),
    )


def _v1_header(asked: Asked, authorization: str) -> _Claim:
    access_key_id, _, given = authorization.partition(":")
    try:
        at = parsedate_to_datetime(_v1_date(asked)).timestamp()
    except ValueError as error:
        raise OssError("AccessDenied", "OSS authentication requires a valid Date.") from error
    # Alibaba's own library for Python (1.4.1) leaves out the `x-oss-`, which the page wants.
    token = asked.header("x-oss-security-token") or asked.header("security-token")
    return _Claim("v1", access_key_id.strip(), token, at, given.strip())


def _v1_date(asked: Asked) -> str:
    """`x-oss-date` takes precedence over `Date`."""
    return asked.header("x-oss-date") or asked.header("date")


def _credential(text: str) -> tuple[str, str]:
    """Access key id and day of `id/day/region/oss/aliyun_v4_request`."""
    access_key_id, _, rest = text.partition("/")
    day, _, _ = rest.partition("/")
    if rest != _scope(day):
        raise OssError("InvalidArgument", "Invalid signing region or scope in Authorization header.")
    return access_key_id, day


def _scope(day: str) -> str:
    return f"{day}/{REGION}/oss/{_END}"


def _seconds_of_stamp(stamp: str, day: str) -> float:
    try:
        found = calendar.timegm(time.strptime(stamp, _STAMP))
    except ValueError as error:
        raise OssError("InvalidArgument", "Invalid x-oss-date value.") from error
    if stamp[:8] != day:
        raise OssError("InvalidArgument", "The date of the credential is not that of the request.")
    return found


def _check_time(claim: _Claim, now: float) -> None:
    if claim.lasts is not None and now > claim.at + claim.lasts:
        raise OssError("AccessDenied", "Request has expired.", ServerTime=iso(now))
    ahead = claim.at - now
    if ahead > _MAX_SKEW or (claim.lasts is None and -ahead > _MAX_SKEW):
        times = {"RequestTime": iso(claim.at), "ServerTime": iso(now)}
        raise OssError("RequestTimeTooSkewed", MaxAllowedSkewMilliseconds=str(_MAX_SKEW * 1000), **times)


def _check_signature(asked: Asked, claim: _Claim, secret: str) -> None:
    if claim.version == "v1":
        text = string_to_sign_v1(asked)
        wanted, canonical = base64.b64encode(hmac.digest(secret.encode(), _bytes(text), hashlib.sha1)).decode(), ""
    else:
        canonical = canonical_v4(asked, claim.additional, "UNSIGNED-PAYLOAD")
        wanted, text = _signed_v4(secret, claim.stamp, claim.day, canonical)
    if not hmac.compare_digest(wanted.encode(), claim.given.encode()):
        told = {"StringToSign": text, **({"CanonicalRequest": canonical} if canonical else {})}
        raise OssError("SignatureDoesNotMatch", SignatureProvided=claim.given, **told)


def canonical_v4(asked: Asked, additional: str, payload: str) -> str:
    """additional: names of further signed headers, separated by semicolons."""
    names = sorted(filter(None, additional.lower().split(";")))
    signed = {
        name: text.strip()
        for name, text in asked.headers.items()
        if name in {"content-type", "content-md5"} or name.startswith("x-oss-") or name in names
    }
    pairs = sorted(
        (quote(name, safe=""), quote(text, safe="")) for name, text in asked.query if name != "x-oss-signature"
    )
    lines = [
        asked.method,
        quote(_path(asked.key)),
        "&".join(f"{name}={text}" if text else name for name, text in pairs),
        "".join(f"{name}:{signed[name]}\n" for name in sorted(signed)),
        ";".join(names),
        payload,
    ]
    return "\n".join(lines)


def _signed_v4(secret: str, stamp: str, day: str, canonical: str) -> tuple[str, str]:
    """The signature, and the text that it signs."""
    text = "\n".join([_V4, stamp, _scope(day), hashlib.sha256(_bytes(canonical)).hexdigest()])
    key = f"aliyun_v4{secret}".encode()
    for step in (day, REGION, "oss", _END):
        key = hmac.digest(key, step.encode(), hashlib.sha256)
    return hmac.digest(key, text.encode(), hashlib.sha256).hex(), text


def string_to_sign_v1(asked: Asked) -> str:
    headers = sorted((name, text.strip()) for name, text in asked.headers.items() if name.startswith("x-oss-"))
    covered = sorted((name, text) for name, text in asked.query if name in _SUBRESOURCES)
    resource = _path(asked.key)
    if covered:
        resource += "?" + "&".join(f"{name}={text}" if text else name for name, text in covered)
    lines = [asked.method, asked.header("content-md5"), asked.header("content-type"), _v1_date(asked)]
    return "\n".join(lines) + "\n" + "".join(f"{name}:{text}\n" for name, text in headers) + resource


def _path(key: str) -> str:
    return f"/{BUCKET}/{key}"


def _bytes(text: str) -> bytes:
    """Headers that are no UTF-8 come as they were sent."""
    return text.encode("utf-8", "surrogateescape")
