"""What the demo responder says of files: what came, as far as it can be measured.

Not here: which files the site sees (`attached`), when it is said (`demo`).
"""

from collections.abc import Callable
from urllib.parse import urlsplit

from .attached import Attached

Look = Callable[[list[object]], list[Attached]]

NOUNS = "picture|image|photo|file|document|video|audio|recording|attachment"
_WORDS = 12


def seen(files: list[Attached]) -> list[Attached]:
    """Those that the model sees: of the others it knows nothing."""
    return [file for file in files if file.status in {"seen", "outside"}]


def received(files: list[Attached], place: str = "With this message there came") -> str:
    if not files:
        return ""
    count = "1 file" if len(files) == 1 else f"{len(files)} files"
    return "\n".join([f"{place} {count}:", *(f"- {_line(file)}" for file in files)])


def _line(file: Attached) -> str:
    if file.status == "outside":
        return f"{file.name}: {file.file_type}, at {urlsplit(file.url).hostname}, which I do not fetch"
    parts = [f"{file.name}: {file.file_type}", f"{file.size:,} bytes"]
    if file.width is not None:
        parts.append(f"{file.width} × {file.height} pixels")
    if file.type == "file" and (words := _first_words(file.head)):
        parts.append(f"it begins “{words}”")
    return ", ".join(parts)


def _first_words(head: bytes) -> str:
    """Of a document that is plain text; the end of what was kept may cut a character."""
    text = head[:4000].decode("utf-8-sig", errors="ignore")
    if "\0" in text or len(text.encode()) < min(len(head), 4000) - 8:
        return ""
    words = text.split()
    return " ".join(words[:_WORDS])[:200] + (" …" if len(words) > _WORDS else "")
