"""What is known of a file's bytes once they have passed by.

Here: hashes, size, the first bytes, and small files whole. Not here: where parts wait (`objects`).
"""

import hashlib

import crcmod

KEPT_BYTES = 32 * 1024 * 1024
HEAD_BYTES = 64 * 1024

# CRC-64 of ECMA-182, as OSS uses it: reflected, inverted at both ends.
_crc64 = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, rev=True, xorOut=0xFFFFFFFFFFFFFFFF)


class Digest:
    """Takes a file piece by piece. keep: the most that is kept of it; of a larger one its first `HEAD_BYTES`."""

    def __init__(self, keep: int = KEPT_BYTES) -> None:
        self.size = 0
        self._keep = keep
        self.crc64 = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._kept = bytearray()

    def take(self, data: bytes) -> None:
        self.size += len(data)
        self.crc64 = _crc64(data, self.crc64)
        self._sha256.update(data)
        self._md5.update(data)
        if self.size <= self._keep:
            self._kept += data
        else:
            self._kept += data[: max(0, HEAD_BYTES - len(self._kept))]
            del self._kept[HEAD_BYTES:]

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def md5(self) -> bytes:
        return self._md5.digest()

    @property
    def head(self) -> bytes:
        return bytes(self._kept[:HEAD_BYTES])

    @property
    def whole(self) -> bytes | None:
        """All bytes, unless there were too many."""
        return bytes(self._kept) if self.size <= self._keep else None


def etag(md5: bytes) -> str:
    return f'"{md5.hex().upper()}"'
