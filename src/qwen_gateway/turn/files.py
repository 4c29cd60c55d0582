"""Files of a conversation: what a client sent, and how an upstream knows it.

A file goes three ways to the model: attached (uploaded, and named in the question), said in the message itself (a short
text), or not at all, because the chat that the turn goes on in has it already.
"""

from typing import BinaryIO, Literal, Protocol

from msgspec import Struct

Kind = Literal["image", "audio", "video", "document"]


def last_part(path: str) -> str:
    """A file's name without its folders, whichever system wrote the path."""
    return path.replace("\\", "/").rpartition("/")[2]


class Content(Protocol):
    """The bytes of a file, wherever they are kept. sha256: of all of them, in hexadecimal digits."""

    @property
    def size(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    def reader(self) -> BinaryIO:
        """All bytes, from the first; seekable. Each reader stands for itself, and may be used in a thread. Whoever took
        it closes it."""
        ...

    def close(self) -> None:
        """Gives back what keeps the bytes. Not while a reader is open."""
        ...


class Given(Struct, frozen=True):
    """The bytes came with the request."""

    content: Content


class Stored(Struct, frozen=True):
    """A file that was given to the gateway before, by the same caller."""

    id: str


class Remote(Struct, frozen=True):
    """To be fetched from there, where that is allowed."""

    url: str


class FilePart(Struct, frozen=True):
    """A file in a message.

    kind: what the client says that it is; `None` where it does not. media_type: as it says, in lower case and without
    parameters, or empty. name: its last part, without folders. param: where it stands in the request, such as
    `messages[0].content[1].image_url`.

    The rest is known once the file was looked at (`relay.attachments`), and empty before. identity: the same for the
    same file, however it came: `sha256:…`, or `url:…` of one that was not fetched. size: bytes; `None` for that one.
    text: the whole file as text, where it is said in the message instead of being attached.
    """

    source: Given | Stored | Remote
    kind: Kind | None = None
    media_type: str = ""
    name: str = ""
    param: str = ""
    identity: str = ""
    size: int | None = None
    text: str | None = None


class Facts(Struct, frozen=True):
    """What an upstream is told of a file. name: for people. size: bytes."""

    name: str
    kind: Kind
    media_type: str
    size: int


class Ticket(Struct, frozen=True):
    """Leave to put one file into an upstream's object storage. url: where the upstream itself finds it then.

    bucket, key: name the object. region, endpoint: where the bucket is, as the upstream said.
    """

    file_id: str
    url: str
    bucket: str
    key: str
    region: str
    endpoint: str
    access_key_id: str
    access_key_secret: str
    security_token: str

    def __repr__(self) -> str:
        return f"Ticket(file_id={self.file_id!r}, …)"


class SiteFile(Struct, frozen=True):
    """A file that an upstream holds, for the account that uploaded it. entry: how a question names it, as JSON. Its
    address in there may hold a credential, and soon run out. later: as `entry`, for questions after that."""

    id: str
    entry: bytes
    later: bytes = b""

    def kept(self) -> "SiteFile":
        """As it is remembered."""
        return SiteFile(self.id, self.later or self.entry)

    def __repr__(self) -> str:
        return f"SiteFile(id={self.id!r}, …)"
