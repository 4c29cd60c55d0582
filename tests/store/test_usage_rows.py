"""Whatever a row holds, what becomes of it fits the table."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Boolean, Float, Integer, String
from tests.store.rows import row

from qwen_gateway.store.schema import usage
from qwen_gateway.store.usage_rows import MOST, encode

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(min_value=2**60), st.floats(), st.text(),
    st.text(alphabet="\0\ud800ж" + string.ascii_letters, min_size=90),
)  # fmt: skip
NAMES = [column.name for column in usage.columns]


def by_column(**values: object) -> dict[str, object]:
    return dict(zip(NAMES, encode(row(1, **values)), strict=True))


@given(st.fixed_dictionaries(dict.fromkeys(NAMES, ANYTHING)))
def test_every_value_fits_its_column(values: dict[str, object]) -> None:
    encoded = by_column(**values)
    for column in usage.columns:
        value, kind = encoded[column.name], column.type
        if value is None:
            assert column.nullable
        elif isinstance(kind, String):
            assert isinstance(value, str)
            assert "\0" not in value
            assert len(value) <= (kind.length or 0)
            assert value.encode().decode() == value
        elif isinstance(kind, Boolean):
            assert isinstance(value, bool)
        elif isinstance(kind, BigInteger | Integer):
            assert isinstance(value, int)
            assert 0 <= value <= MOST
        else:
            assert isinstance(kind, Float)
            assert isinstance(value, float)
            assert 0 <= value < 1e11


def test_a_usual_row_stays_as_it_is() -> None:
    usual = row(1)
    assert encode(usual) == tuple(getattr(usual, name) for name in NAMES)


@pytest.mark.parametrize(
    ("given", "kept"), [(-1, 0), (-0.5, 0), (3.9, 3), (float("nan"), 0), (float("inf"), MOST), (2**70, MOST), ("7", 0)]
)
def test_tokens_are_whole_and_never_negative(given: object, kept: int) -> None:
    assert by_column(input=given)["input"] == kept


def test_long_ids_that_begin_alike_stay_two() -> None:
    one, two = (by_column(id="x" * 100 + end)["id"] for end in "ab")
    assert one != two
    assert one == by_column(id="x" * 100 + "a")["id"]


def test_rows_without_an_id_get_one_each() -> None:
    assert by_column(id="")["id"] != by_column(id="")["id"]
