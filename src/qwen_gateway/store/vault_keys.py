"""Where the vault's keys come from: a setting, the system's keyring, or a file in the data directory.

A key that is there and cannot be used is an error and is never replaced: what it sealed would be lost.
"""

import base64
import binascii
import contextlib
import importlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from cryptography.fernet import Fernet

from qwen_gateway.store import lock

SERVICE, USER = "qwen-gateway", "secret-key"
"""The names of the keyring's entry."""

_PATIENCE = 10.0
"""Seconds to wait for another process that makes a key."""
_HOW = (
    "A key is 32 random bytes in URL-safe base64; this makes one: "
    'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
)


class KeyTrouble(Exception):
    """There is no usable key. The text is for people, and holds none."""


class NoKey(KeyTrouble):
    """There is none at all, and none was to be made."""


class KeyPlace(Protocol):
    """Where keys are kept, the current one first."""

    def read(self, *, create: bool) -> list[bytes]:
        """At least one. create: makes the first one; without it, raises NoKey. Raises KeyTrouble."""
        ...

    def write(self, keys: Sequence[bytes]) -> None:
        """Replaces them all, at once or not at all. Raises KeyTrouble."""
        ...


def parse(text: str, place: str) -> list[bytes]:
    """Keys between commas or white space, at least one. place: what the error calls it. Raises KeyTrouble."""
    keys = [part.encode() for part in text.replace(",", " ").split()]
    if not keys:
        raise KeyTrouble(f"{place} holds no key. {_HOW}")
    for number, key in enumerate(keys, 1):
        try:
            proper = len(base64.b64decode(key, altchars=b"-_", validate=True)) == 32
        except binascii.Error:
            proper = False
        if not proper:
            raise KeyTrouble(f"Key {number} of {place} is no proper key. {_HOW}")
    return keys


def new_key() -> bytes:
    return Fernet.generate_key()


class KeyFile:
    """One key in each line of a file that nobody else may read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, *, create: bool) -> list[bytes]:
        with _told(self._path):
            if not self._path.exists():
                if not create:
                    raise NoKey(f"There is no file {self._path}.")
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with _alone(self._path.with_suffix(".lock")):
                    if not self._path.exists():
                        self.write([new_key()])
            self._keep_private()
            text = self._path.read_bytes().decode(errors="replace")
        try:
            return parse(text, str(self._path))
        except KeyTrouble as problem:
            raise KeyTrouble(
                f"{problem} The file is left as it is: put the earlier one back, from a copy of the data directory. "
                "Without it the stored accounts cannot be read; then delete it, and add them again.",
            ) from None

    def write(self, keys: Sequence[bytes]) -> None:
        new = self._path.with_suffix(f".{os.getpid()}.new")
        with _told(self._path):
            try:
                descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(b"".join(key + b"\n" for key in keys))
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(self._path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    new.unlink()
            _flush_folder(self._path.parent)

    def _keep_private(self) -> None:
        if os.name == "posix" and self._path.stat().st_mode & 0o077:
            try:
                self._path.chmod(0o600)
            except OSError:
                raise KeyTrouble(
                    f"Other users may read {self._path}, and the gateway may not change that. Make it readable by the "
                    "gateway's user alone (chmod 600), or give the key in the setting secret_key.",
                ) from None


class KeyRing:
    """An entry of the system's keyring. lock: a file that keeps processes from making two keys at once."""

    def __init__(self, lock: Path) -> None:
        self._lock = lock
        try:
            self._keyring = importlib.import_module("keyring")
        except ImportError:
            raise KeyTrouble(
                "The system's keyring was asked for, and the package keyring is not installed: "
                "pip install 'qwen-gateway[keyring]'",
            ) from None

    def read(self, *, create: bool) -> list[bytes]:
        text = self._get()
        if text is None:
            if not create:
                raise NoKey(f"The system's keyring has no entry {SERVICE}/{USER}.")
            with _told(self._lock):
                self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with _alone(self._lock):
                    if self._get() is None:
                        self.write([new_key()])
            text = self._get() or ""
        return parse(text, f"the keyring's entry {SERVICE}/{USER}")

    def write(self, keys: Sequence[bytes]) -> None:
        text = b",".join(keys).decode()
        with self._asked():
            self._keyring.set_password(SERVICE, USER, text)
        if self._get() != text:
            raise KeyTrouble("The system's keyring does not keep what it is given. Use the file instead.")

    def _get(self) -> str | None:
        with self._asked():
            found: str | None = self._keyring.get_password(SERVICE, USER)
        return found

    @contextlib.contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except self._keyring.errors.KeyringError as problem:
            raise KeyTrouble(
                f"The system's keyring cannot be used here ({type(problem).__name__}). Unlock it, or use the file "
                "instead.",
            ) from None


async def rotate(place: KeyPlace, reseal: Callable[[Sequence[bytes]], Awaitable[object]], *, create: bool) -> None:
    """Puts a new key first, has everything resealed with it, and drops the earlier ones.

    reseal: seals all that is stored with the first of these keys; the others open it, also meanwhile. Whatever step
    this ends at, the keys in `place` open all that is stored, and another run finishes it. No gateway may run
    meanwhile: it would go on sealing with the key that it began with. Copies of the database from before need the
    keys from before. create: whether a first key may be made, since nothing is sealed. Raises KeyTrouble.
    """
    earlier = place.read(create=create)
    new = new_key()
    place.write([new, *earlier])
    await reseal([new, *earlier])
    place.write([new])


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise KeyTrouble(f"The secret key in {path} cannot be read or written ({problem.strerror}).") from None


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits until no other process is in here."""
    descriptor = _wait_for(path, time.monotonic() + _PATIENCE)
    try:
        yield
    finally:
        os.close(descriptor)


def _wait_for(path: Path, end: float) -> int:
    while True:
        try:
            return lock.take(path)
        except lock.Taken:
            if time.monotonic() > end:
                raise KeyTrouble(f"Another process has been making a key for a long time ({path}).") from None
            time.sleep(0.01)


def _flush_folder(folder: Path) -> None:
    """What a key has sealed must not outlive the key's own entry on the disk."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
