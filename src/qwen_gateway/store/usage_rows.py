"""A row of the usage as the database takes it. What a site counts may be anything; one odd value must cost neither the
row nor those that are written with it."""

import hashlib
import math
import uuid
from collections.abc import Callable
from operator import attrgetter

from sqlalchemy import Boolean, Column, Integer, String

from qwen_gateway.relay.ports import UsageRow
from qwen_gateway.store.schema import usage
from qwen_gateway.store.texts import LONGEST, cleaner

MOST = 1_000_000_000
"""Of anything that is counted: more than any request has, and sums of it stay within a BIGINT."""

_Value = str | int | float | bool | None
FAR = 1e11
"""Seconds: in the year 5138, so that every time is a date."""

Encoded = tuple[_Value, ...]
"""Values in the order of the table's columns."""
_Clean = Callable[[object], _Value]


def encode(row: UsageRow) -> Encoded:
    """Not the same twice for a row without an id: each needs one, or the second would be lost."""
    return tuple([clean(value) for clean, value in zip(_CLEANERS, _values(row), strict=True)])


def _id(most: int) -> _Clean:
    shorten = cleaner(most)

    def clean(value: object) -> _Value:
        short = shorten(value)
        if not value or not isinstance(value, str):
            return uuid.uuid4().hex
        return short if short == value else hashlib.sha256(repr(value).encode()).hexdigest()[:most]

    return clean


def _count(value: object) -> int:
    if isinstance(value, float):
        return 0 if math.isnan(value) else int(max(0.0, min(value, float(MOST))))
    return int(max(0, min(value, MOST))) if isinstance(value, int) else 0


def _seconds_if_any(value: object) -> float | None:
    return float(value) if isinstance(value, (float, int)) and 0 <= value < FAR else None


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, (float, int)) and 0 <= value < FAR else 0.0


def _cleaner(column: Column[object]) -> _Clean:
    kind = column.type
    if isinstance(kind, String):
        return (_id if column.primary_key else cleaner)(kind.length or LONGEST)
    if isinstance(kind, Boolean):
        return bool
    if isinstance(kind, Integer):
        return _count
    return _seconds_if_any if column.nullable else _seconds  # the rest are floats


_CLEANERS = [_cleaner(column) for column in usage.columns]
_values = attrgetter(*(column.name for column in usage.columns))
