"""Bars of text, one line each."""

from collections.abc import Sequence

from qwen_gateway.cli.visible import visible

_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
_FULL, _PLAIN = "█", "#"


def bars(rows: Sequence[tuple[str, int, str]], width: int, encoding: str) -> list[str]:
    """rows: label, number, the number as it is written. Lines of `width` columns at most, unless labels and numbers
    alone are wider; the longest bar stands for the largest number. An encoding without blocks gets `#`."""
    from rich.cells import cell_len  # some characters take two columns

    blocks = _has_blocks(encoding)
    labels = [visible(label) for label, _, _ in rows]
    label_width = max(map(cell_len, labels), default=0)
    number_width = max((len(text) for _, _, text in rows), default=0)
    room = max(8, width - label_width - number_width - 4)
    largest = max((number for _, number, _ in rows), default=0)
    lines = []
    for label, (_, number, text) in zip(labels, rows, strict=True):
        padded = label + " " * (label_width - cell_len(label))
        lines.append(f"{padded}  {text:>{number_width}}  {_bar(number, largest, room, blocks)}".rstrip())
    return lines


def _bar(number: int, largest: int, room: int, blocks: bool) -> str:
    """Anything above nothing shows."""
    if number <= 0:
        return ""
    eighths = max(1, number * room * 8 // largest)
    if not blocks:
        return _PLAIN * max(1, round(eighths / 8))
    return _FULL * (eighths // 8) + _EIGHTHS[eighths % 8]


def _has_blocks(encoding: str) -> bool:
    try:
        (_FULL + "".join(_EIGHTHS)).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
