"""Request bodies of `multipart/form-data`, read while they come: no file of one is ever in memory as a whole."""

import asyncio

from qwen_gateway.relay.file_ports import Spool
from qwen_gateway.server import body
from qwen_gateway.server.callers import Headers
from qwen_gateway.server.form_heads import boundary
from qwen_gateway.server.form_parts import FormLimits, FormParts, unreadable
from qwen_gateway.server.paths import Receive
from qwen_gateway.turn.contracts import Form
from qwen_gateway.turn.faults import BodyTooLarge, ClientLeft, InvalidRequest


async def read_form(receive: Receive, headers: Headers, spool: Spool, limits: FormLimits) -> Form:
    """The whole form; `close_form` gives back what it holds. Raises InvalidRequest, BodyTooLarge, ClientLeft and
    Overloaded, and leaves nothing in the spool then."""
    parts = FormParts(_checked(headers, limits), spool, limits)
    try:
        size, more = 0, True
        while more:
            data, more = await _receive(receive)
            size += len(data)
            if size > limits.total:
                raise _too_large(limits.total, parts.under_way or limits.file)
            await parts.feed(data)
        return parts.form()
    except BaseException:
        parts.discard()
        raise


def close_form(form: Form) -> None:
    for file in form.files:
        file.content.close()


def _checked(headers: Headers, limits: FormLimits) -> bytes:
    """The form's boundary. Raises InvalidRequest and BodyTooLarge."""
    kinds: list[bytes] = []
    for name, value in headers:
        # No length has so many digits, and `int` refuses thousands of them with a ValueError.
        if name == b"content-length" and value.isdigit() and (len(value) > 20 or int(value) > limits.total):
            raise _too_large(limits.total, limits.file)
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise InvalidRequest("Send the body without Content-Encoding.", code="unsupported_encoding")
        if name == b"content-type":
            kinds.append(value)
    found = boundary(kinds[0]) if len(kinds) == 1 else None
    if found is None:
        raise unreadable("This route takes a form: send the body as `multipart/form-data`.")
    if not found:
        raise unreadable("The header `Content-Type` names no boundary of 1 to 70 characters that forms may have.")
    return found


async def _receive(receive: Receive) -> tuple[bytes, bool]:
    """A piece of the body, and whether there is more."""
    try:
        async with asyncio.timeout(body.STALL):
            message = await receive()
    except TimeoutError as problem:
        raise ClientLeft("The client stopped in the middle of its request.") from problem
    if message["type"] == "http.disconnect":
        raise ClientLeft("The client left before its request was complete.")
    return message.get("body", b""), message.get("more_body", False)


def _too_large(limit: int, param: str | None) -> BodyTooLarge:
    text = f"The form is larger than this route takes ({limit:,} bytes). Send a smaller file."
    return BodyTooLarge(text, code="file_too_large", param=param)
