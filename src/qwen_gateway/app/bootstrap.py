"""The bootstrap key: lets the person at this machine manage a gateway that has no admin's key yet.

It stands in a file of the data directory that only its owner can read. `server/callers` says what it is good for.
"""

import os
import secrets
from pathlib import Path

FILE = "bootstrap.key"
PREFIX = "qg-bootstrap-"


def bootstrap_key(directory: Path) -> str:
    """A fresh one at each start. Raises OSError."""
    key = PREFIX + secrets.token_urlsafe(32)
    path = directory / FILE
    path.unlink(missing_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "w") as stream:
        stream.write(key + "\n")
    return key
