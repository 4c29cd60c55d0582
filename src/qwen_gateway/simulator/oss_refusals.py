"""What the object storage refuses, in its own XML.

Here: codes and statuses of Alibaba's error pages (2024-2025), with texts near to theirs. Not here: when they are given
(`oss`, `oss_signatures`).
"""

import uuid
from xml.sax.saxutils import escape

from aiohttp import web

CODES: dict[str, tuple[int, str]] = {
    "AccessDenied": (403, "You have no right to access this object because of bucket acl."),
    "BadDigest": (400, "The Content-MD5 you specified did not match what we received."),
    "EntityTooSmall": (400, "Your proposed upload smaller than the minimum allowed size."),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": (403, "The OSS Access Key Id you provided does not exist in our records."),
    "InvalidArgument": (400, "Invalid argument."),
    "InvalidPart": (
        400,
        "One or more of the specified parts could not be found or the entity tag might not have matched.",
    ),
    "InvalidPartOrder": (400, "The list of parts was not in ascending order."),
    "InvalidSecurityToken": (403, "The security token you provided is invalid."),
    "MalformedXML": (400, "The XML you provided was not well-formed or did not validate."),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchUpload": (404, "The specified upload does not exist. It may have been aborted or completed."),
    "NotImplemented": (501, "A header you provided implies functionality that is not implemented."),
    "RequestTimeTooSkewed": (403, "The difference between the request time and the current time is too large."),
    "SecurityTokenExpired": (403, "The security token you provided has expired."),
    "ServiceUnavailable": (503, "Please reduce your request rate."),
    "SignatureDoesNotMatch": (403, "The request signature we calculated does not match the signature you provided."),
}


class OssError(Exception):
    """The object storage says no. more: further elements of the XML."""

    def __init__(self, code: str, message: str | None = None, **more: str) -> None:
        status, usual = CODES[code]
        super().__init__(code)
        self.code = code
        self.status = status
        self._elements = {"Code": code, "Message": message or usual, **more}

    def answer(self, host: str) -> web.Response:
        request_id = uuid.uuid4().hex[:24].upper()
        elements = {**self._elements, "RequestId": request_id, "HostId": host}
        inner = "".join(f"\n  <{name}>{escape(text)}</{name}>" for name, text in elements.items())
        return xml(f"<Error>{inner}\n</Error>", self.status, request_id)


def xml(text: str, status: int = 200, request_id: str | None = None) -> web.Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'
    headers = {"Server": "AliyunOSS", "x-oss-request-id": request_id or uuid.uuid4().hex[:24].upper()}
    return web.Response(status=status, body=body.encode(), content_type="application/xml", headers=headers)
