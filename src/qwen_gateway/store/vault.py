"""Secrets at rest: sealed with a key that is kept elsewhere (`vault_keys`), each for the one who owns it."""

import hashlib
import hmac
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from qwen_gateway.turn.faults import BadVault

_WRONG = (
    "A stored secret cannot be opened: the gateway's secret key is not the one that it was sealed with, or the "
    "database was changed. The key comes from the setting secret_key, from the system's keyring, or from the file "
    "secret.key in the data directory; every machine that uses the same database needs the same key. Put the earlier "
    "key there. If it is lost, `qwen-gateway secrets forget` removes the accounts and files that it sealed; then log "
    "in again."
)


class Vault:
    """keys: Fernet keys. The first seals; all of them open.

    A sealed value can be opened for its owner only: in another's row it is as good as a broken one.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._key = keys[0]
        self._first = Fernet(keys[0])
        self._all = MultiFernet([self._first, *map(Fernet, keys[1:])])

    def __repr__(self) -> str:
        return "Vault(…)"

    def derived(self, purpose: str) -> bytes:
        """32 bytes for something else than sealing, which say nothing of the key. A new first key changes them."""
        return hmac.digest(self._key, b"derived:" + purpose.encode(), "sha256")

    def seal(self, plain: bytes, owner: str) -> bytes:
        return self._first.encrypt(_mark(owner) + plain)

    def open(self, sealed: bytes, owner: str) -> bytes:
        """Raises BadVault."""
        try:
            found = self._all.decrypt(sealed)
        except InvalidToken:
            raise BadVault(_WRONG) from None
        mark = _mark(owner)
        if not hmac.compare_digest(found[: len(mark)], mark):
            raise BadVault(_WRONG)
        return found[len(mark) :]

    def fits(self, sealed: bytes) -> bool:
        """Whether one of the keys opens it, whoever it belongs to."""
        try:
            self._all.decrypt(sealed)
        except InvalidToken:
            return False
        return True

    def is_current(self, sealed: bytes) -> bool:
        """Whether the first key opens it, so that the others could go."""
        try:
            self._first.decrypt(sealed)
        except InvalidToken:
            return False
        return True

    def reseal(self, sealed: bytes, owner: str) -> bytes:
        """The same secret, sealed with the first key. Raises BadVault."""
        return self.seal(self.open(sealed, owner), owner)


def _mark(owner: str) -> bytes:
    """As long for every owner, so that none of them can be the beginning of another with some of the secret."""
    return hashlib.sha256(owner.encode()).digest()
