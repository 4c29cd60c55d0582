"""Documents that are text, as text: what is short enough is said in the message itself."""

from qwen_gateway.media import formats, texts


def as_text(content: bytes, media_type: str) -> str | None:
    """content: the whole file. media_type: as `kinds.look` found it. Without the mark of its encoding. `None`: it is no
    text, or in an encoding that its bytes do not show."""
    return texts.decoded(content, whole=True) if formats.text_type(media_type) else None
