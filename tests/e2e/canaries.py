"""Secrets that are planted, and the search for them wherever something was written or told."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote, quote_plus

SHORTEST = 12
"""Characters; shorter ones turn up by chance, or as the last few that a mask may show."""


class Canary(NamedTuple):
    """allowed: beginnings of the names of the places where it may stand."""

    name: str
    text: str
    allowed: tuple[str, ...] = ()


class Hit(NamedTuple):
    canary: str
    place: str
    around: bytes


def of_token(name: str, token: str, *allowed: str) -> list[Canary]:
    """A JWT by its parts: also half of one is too much. Its head is the same for all."""
    _, payload, signature = token.split(".")
    return [Canary(f"{name}: {part}", text, allowed) for part, text in (("payload", payload), ("signature", signature))]


def search(places: Mapping[str, bytes], canaries: Iterable[Canary]) -> list[Hit]:
    """Every place where a canary stands that may not stand there, whole or in part, in any form."""
    hits = []
    for canary in canaries:
        needles = set(_forms(canary.text))
        for place, content in places.items():
            if place.startswith(canary.allowed):
                continue
            found = [at for one in needles if (at := content.find(one)) >= 0]
            if found:
                hits.append(Hit(canary.name, place, content[max(0, found[0] - 80) : found[0] + 40]))
    return hits


def _forms(text: str) -> Iterator[bytes]:
    assert len(text) >= SHORTEST, text
    for part in _parts(text):
        data = part.encode()
        yield data
        yield json.dumps(part)[1:-1].encode()
        yield json.dumps(part, ensure_ascii=False)[1:-1].encode()
        yield json.dumps(json.dumps(part)[1:-1])[1:-1].encode()
        yield part.replace("/", "\\/").encode()
        yield quote(part, safe="").encode()
        yield quote_plus(part).encode()
        yield quote(part, safe="").lower().encode()
        yield data.hex().encode()
        yield repr(part)[1:-1].encode()
        yield repr(data)[2:-1].encode()
        yield "".join(f"\\u{ord(one):04x}" for one in part).encode()
        yield data.decode().encode("utf-16-le")
        yield from _base64(data)


def _parts(text: str) -> Iterator[str]:
    yield text
    if len(text) >= 2 * SHORTEST:
        yield text[:16]
        yield text[-16:]


def _base64(data: bytes) -> Iterator[bytes]:
    """As it looks in the middle of something that was encoded, wherever it begins there."""
    for before in range(3):
        for encoded in (base64.b64encode, base64.urlsafe_b64encode):
            found = encoded(bytes(before) + data).rstrip(b"=")
            # The first and the last characters depend on the neighbours.
            yield found[(0, 2, 3)[before] : len(found) - (1 if (before + len(data)) % 3 else 0)]
