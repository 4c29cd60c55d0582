"""Calls over HTTP as values, so that pure code can say what to send without sending it.

A *flow* is a generator that yields calls, is sent their replies, and returns its result. It may raise a
`Fault`. `relay/drive` runs flows; tests run them with a `for` loop.
"""

from collections.abc import Generator, Mapping
from typing import Literal, TypeVar

from msgspec import Struct

Method = Literal["GET", "POST", "DELETE"]
Result = TypeVar("Result")


class HttpCall(Struct, frozen=True):
    method: Method
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


class HttpReply(Struct, frozen=True):
    """A whole reply. `headers` finds names in lower case; `set_cookies` has each `Set-Cookie` line."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    set_cookies: tuple[str, ...] = ()


Flow = Generator[HttpCall, HttpReply, Result]
