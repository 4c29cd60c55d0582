"""How large files may be, and which of them one message can hold, as the site's page has it (2026-09)."""

from collections.abc import Sequence

from msgspec import Struct

from qwen_gateway.turn.faults import BodyTooLarge, InvalidRequest
from qwen_gateway.turn.files import FilePart, Kind

_MB = 1024 * 1024
_WORDS: dict[Kind, str] = {"image": "picture", "document": "document", "audio": "sound", "video": "video"}

_ALL_OF_THEM = (
    "Where a conversation is told anew in a new chat, all its files are in one question: then leave out older ones, or "
    "begin a new conversation."
)


class Limits(Struct, frozen=True, kw_only=True):
    """Bytes of one file of each kind, and how many of each kind the question of one turn can hold.

    The page offers five pictures; its API has taken seven, and more for editing.
    """

    image: int = 20 * _MB
    document: int = 20 * _MB
    audio: int = 100 * _MB
    video: int = 500 * _MB
    pictures: int = 10
    documents: int = 5
    sounds: int = 1
    videos: int = 1

    def most(self, kind: Kind | None) -> int:
        """Bytes of a file of this kind. `None`: of a file of which nothing is known yet."""
        if kind is None:
            return max(self.image, self.document, self.audio, self.video)
        return {"image": self.image, "document": self.document, "audio": self.audio, "video": self.video}[kind]

    def check_size(self, kind: Kind | None, size: int, param: str | None = None) -> None:
        """Raises BodyTooLarge (`file_too_large`)."""
        most = self.most(kind)
        if size > most:
            said = "file" if kind is None else _WORDS[kind]
            raise BodyTooLarge(
                f"The file has {size:,} bytes; a {said} may have {most:,} at most.", code="file_too_large", param=param
            )

    def check_together(self, files: Sequence[FilePart]) -> None:
        """files: those of one question, in their order, with kinds that are known; one without is not counted.

        Raises InvalidRequest: `too_many_files`, or `unsupported_content` for kinds that do not go together. Its
        parameter is the first file that is not possible beside those before it."""
        counts = dict.fromkeys(_WORDS, 0)
        most = {"image": self.pictures, "document": self.documents, "audio": self.sounds, "video": self.videos}
        for file in files:
            if (kind := file.kind) is None:
                continue
            counts[kind] += 1
            if counts[kind] > most[kind]:
                said = f"{most[kind]} {_WORDS[kind]}{'' if most[kind] == 1 else 's'}"
                text = f"`{file.param}`: one question can hold {said} at most. {_ALL_OF_THEM}"
                raise InvalidRequest(text, code="too_many_files", param=file.param)
            other = _beside(kind, counts)
            if other is not None:
                text = f"`{file.param}`: {_WORDS[kind]}s and {_WORDS[other]}s cannot be in one question. {_ALL_OF_THEM}"
                raise InvalidRequest(text, code="unsupported_content", param=file.param)


def _beside(kind: Kind, counts: dict[Kind, int]) -> Kind | None:
    """A kind among those counted with which this one cannot stand: pictures go with neither sounds nor videos."""
    others: tuple[Kind, ...] = ("audio", "video") if kind == "image" else ("image",) if kind != "document" else ()
    return next((other for other in others if counts[other]), None)
