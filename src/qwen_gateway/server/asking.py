"""Who goes on with which conversation: what the caller is, and what the request's headers say of it."""

import re

from qwen_gateway.relay.conversations import Asker
from qwen_gateway.relay.pool import Pool
from qwen_gateway.relay.ports import Continuation
from qwen_gateway.server.callers import Caller, Headers
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.request import TurnRequest

_HANDLE = re.compile(r"(?:[a-z]{1,16}[-_])?([0-9A-Za-z]{8,64})")
"""An answer's id with or without the mark that its dialect puts before it."""


def asker(caller: Caller, accounts: Pool, headers: Headers, request: TurnRequest, default: Continuation) -> Asker:
    """default: for keys that do not say how conversations go on. Raises InvalidRequest."""
    wish, handle = _header(headers, b"x-continuation").lower(), _header(headers, b"x-continue-from")
    if wish not in ("", "auto", "replay", "off"):
        raise InvalidRequest(
            "The header `X-Continuation` can be auto, replay (tell the whole conversation in a new chat) or off (the "
            "same, and delete that chat after the answer).",
            param="X-Continuation",
        )
    found = _HANDLE.fullmatch(handle)
    if handle and found is None:
        raise InvalidRequest(
            "The header `X-Continue-From` takes the id of an earlier answer, such as chatcmpl-0123456789abcdef.",
            param="X-Continue-From",
        )
    mode = (caller.key.continuation if caller.key is not None else None) or default
    return Asker(
        tenant_of(caller, accounts),
        mode="replay" if wish in ("replay", "off") else mode,
        keep=request.store and wish != "off",
        handle=found[1] if found is not None else "",
    )


def tenant_of(caller: Caller, accounts: Pool) -> str:
    """Whose conversations and files these are: nobody ever gets at those of another."""
    if caller.key is not None:
        return caller.key.id
    if caller.token is not None:
        return "@" + "".join(accounts.keys())  # the one account that the token is for
    return ""


def _header(headers: Headers, name: bytes) -> str:
    return next((value.decode("latin-1").strip() for key, value in headers if key == name), "")
