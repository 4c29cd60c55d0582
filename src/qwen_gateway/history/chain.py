"""Names for conversations that say nothing about them: each prefix of one has a key, made from the key before it.

Whoever has the keys but not the secret can neither read nor guess what was said, and no other tenant, end user, model
or earlier message gives the same key. All names are HMAC-SHA-256, cut to 16 bytes.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from msgspec import Struct

from qwen_gateway.history.canon import Group

LIKENESS_CHARACTERS = 64
"""Shorter answers ("Done.") say nothing about which conversation they come from."""


class Chain(Struct, frozen=True):
    """keys[i] names all up to and with `groups[i]`. bones: the same without what the answers say beside their calls."""

    root: bytes
    keys: tuple[bytes, ...]
    bones: tuple[bytes, ...]

    @property
    def tip(self) -> bytes:
        """The key of all of it, from which an answer's is made."""
        return self.keys[-1] if self.keys else self.root

    @property
    def bare_tip(self) -> bytes:
        """The same of the bones."""
        return self.bones[-1] if self.bones else self.root


def root(secret: bytes, *, tenant: str, end_user: str, model: str) -> bytes:
    """What all conversations begin from that may share a chat."""
    return _mac(secret, b"root", tenant.encode(), end_user.encode(), model.encode())


def extend(secret: bytes, before: bytes, group: Group) -> bytes:
    """The key after `group`."""
    return _next(secret, before, group.role, group.canon)


def extend_bare(secret: bytes, before: bytes, group: Group) -> bytes:
    """The key after `group` without its text: the very key that a client's list gets which has dropped the text."""
    return _next(secret, before, group.role, group.bare)


def chain(secret: bytes, root: bytes, groups: Sequence[Group]) -> Chain:
    keys, bones = [], []
    key = bone = root
    for group in groups:
        same = key == bone and group.canon == group.bare
        key = extend(secret, key, group)
        bone = key if same else extend_bare(secret, bone, group)
        keys.append(key)
        bones.append(bone)
    return Chain(root, tuple(keys), tuple(bones))


def likeness(secret: bytes, root: bytes, question: Group, answer: Group) -> bytes | None:
    """Of one question and its answer alone. `None` for an answer that is too short to be told from others."""
    if len(answer.text) < LIKENESS_CHARACTERS:
        return None
    return _mac(secret, b"likeness", root, question.canon, answer.canon)


def handle(secret: bytes, root: bytes, token: str) -> bytes:
    """Of an id that a client was given with an answer, and sends back."""
    return _mac(secret, b"handle", root, token.encode())


def digest(secret: bytes, what: bytes) -> bytes:
    """Of instructions or a list of tools; empty for none."""
    return _mac(secret, b"digest", what) if what else b""


def _next(secret: bytes, before: bytes, role: str, canon: bytes) -> bytes:
    """As `_mac` of these three, a little faster: it runs twice for each group of each request."""
    return _hmac(secret, b"%d:%b%d:%b%d:%b" % (len(role), role.encode(), len(before), before, len(canon), canon))


def _mac(secret: bytes, *fields: bytes) -> bytes:
    return _hmac(secret, b"".join([b"%d:%b" % (len(field), field) for field in fields]))


def _hmac(secret: bytes, message: bytes) -> bytes:
    begun = _begun(secret)
    inner, outer = begun[0].copy(), begun[1].copy()
    inner.update(message)
    outer.update(inner.digest())
    return outer.digest()[:16]


@lru_cache(maxsize=4)
def _begun(secret: bytes) -> tuple["hashlib._Hash", "hashlib._Hash"]:
    """HMAC's two hashes (RFC 2104) after the secret. `hmac.digest` makes them anew each time, which takes 1.7 µs of
    2.2 for a message of 1 KB; a long conversation has hundreds of them."""
    block = (secret if len(secret) <= 64 else hashlib.sha256(secret).digest()).ljust(64, b"\0")
    return hashlib.sha256(bytes(byte ^ 0x36 for byte in block)), hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
