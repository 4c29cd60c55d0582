"""Tickets: leave to put one file into the object storage, as `getstsToken` gives it.

Here: what a ticket is, and how many an account may take. Not here: HTTP (`files`), what a ticket is good for (`oss`).
"""

import base64
import secrets
import uuid
from collections import defaultdict
from dataclasses import dataclass

from .frames import Json

BUCKET = "qwen-webui-prod"  # 14 Sep 2026
REGION = "ap-southeast-1"


@dataclass(frozen=True)
class Ticket:
    """size: as announced. type: `image`, `video`, `audio`, `file`, or a MIME type. Times in Unix seconds."""

    user: str
    file_id: str
    name: str
    size: int
    type: str
    access_key_id: str
    access_key_secret: str
    security_token: str
    issued: float
    expires: float

    @property
    def key(self) -> str:
        return f"{self.user}/{self.file_id}_{self.name}"

    def as_json(self) -> Json:
        return {
            "file_id": self.file_id,
            "user": self.user,
            "name": self.name,
            "size": self.size,
            "type": self.type,
            "key": self.key,
            "issued": self.issued,
            "expires": self.expires,
        }


@dataclass(frozen=True)
class Wish:
    """A file that somebody wants to upload."""

    name: str
    size: int
    type: str


class Tickets:
    """All that were given."""

    def __init__(self) -> None:
        self.by_file: dict[str, Ticket] = {}
        self._by_access_key: dict[str, Ticket] = {}
        self._taken: defaultdict[str, list[float]] = defaultdict(list)

    def used_up(self, user: str, limit: int, since: float) -> bool:
        self._taken[user] = [at for at in self._taken[user] if at > since]
        return len(self._taken[user]) >= limit

    def issue(self, user: str, wish: Wish, now: float, seconds: float) -> Ticket:
        """seconds: how long its credential lives."""
        ticket = Ticket(
            user=user,
            file_id=str(uuid.uuid4()),
            name=wish.name,
            size=wish.size,
            type=wish.type,
            access_key_id=f"STS.{secrets.token_hex(13)}",
            access_key_secret=secrets.token_hex(22),
            # Long, and with all that base64 has: clients must encode it in addresses.
            security_token=base64.b64encode(b"\xfb\xff" + secrets.token_bytes(597)).decode(),
            issued=now,
            expires=now + seconds,
        )
        self.by_file[ticket.file_id] = self._by_access_key[ticket.access_key_id] = ticket
        self._taken[user].append(now)
        return ticket

    def of_access_key(self, access_key_id: str) -> Ticket | None:
        return self._by_access_key.get(access_key_id)
