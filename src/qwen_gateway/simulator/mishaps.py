"""Mishaps of files: what goes wrong at which step of an upload, how often, and from when on.

Here: what is programmed, and whose turn it is. Not here: what each does (`file_faults` says it; `files`, `parsing` and
`oss` do it).
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

Place = Literal[
    "ticket", "ticket_v1", "parse", "status", "oss", "put", "init", "part", "complete", "abort", "list", "get"
]
OSS_PLACES = {"put", "init", "part", "complete", "abort", "list", "get"}


class Mishap(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One entry of `files` in a program. after: so many calls there go well first. times: null for always.

    number: only the part of an upload with this number. received: bytes of the body that a `cut` lets in.
    """

    at: Place
    what: str
    after: int = 0
    times: int | None = 1
    number: int | None = None
    received: int = 0

    def meets(self, place: str, number: int | None) -> bool:
        here = self.at == place or (self.at == "oss" and place in OSS_PLACES)
        return here and self.number in {None, number}

    def complaint(self) -> str | None:
        if self.number is not None and self.at != "part":
            return "`number` belongs to mishaps at `part`"
        if self.received and self.what != "cut":
            return "`received` belongs to a `cut`"
        if self.after < 0 or self.received < 0 or (self.times is not None and self.times < 1):
            return "`after` and `received` must be at least 0, `times` at least 1"
        return None


class Mishaps:
    """Those still to come."""

    def __init__(self) -> None:
        self._coming: list[Mishap] = []

    def add(self, wanted: Iterable[Mishap]) -> None:
        self._coming += wanted

    def take(self, place: str, number: int | None = None) -> Mishap | None:
        """What goes wrong with this call, if anything. number: of the part."""
        met = [mishap for mishap in self._coming if mishap.meets(place, number)]
        due = next((mishap for mishap in met if mishap.after == 0), None)
        for mishap in met:
            mishap.after = max(mishap.after - 1, 0)
        if due is not None and due.times is not None:
            due.times -= 1
            if due.times == 0:
                self._coming.remove(due)
        return due

    def as_json(self) -> object:
        return msgspec.to_builtins(self._coming)
