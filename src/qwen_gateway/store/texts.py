"""Texts as every database takes them. What the site or a client wrote may be anything; one odd character must not keep
what it belongs to from being stored."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import String, Table

LONGEST = 4000
"""Characters in a column that has no bound of its own."""


def cleaner(most: int) -> Callable[[object], str]:
    """Makes a text of at most so many characters of anything; of what is no text, the empty one."""

    def clean(value: object) -> str:
        text = value if isinstance(value, str) else ""
        if len(text) <= most and text.isascii() and "\0" not in text:
            return text
        # PostgreSQL takes no NUL, and neither takes half of a surrogate pair. Never left out: a name of nothing else
        # would become the empty one, which means something different.
        return text.replace("\0", "?").encode("utf-8", "replace").decode("utf-8")[:most]

    return clean


def cleaned(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """values: by column. Texts are made to fit theirs; all else stays as it is."""
    return {name: _fitting(table, name, value) for name, value in values.items()}


def _fitting(table: Table, name: str, value: Any) -> Any:
    kind = table.c[name].type
    if not isinstance(kind, String) or not isinstance(value, str):
        return value
    return cleaner(kind.length or LONGEST)(value)
