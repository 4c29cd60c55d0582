"""Whatever a text holds, what becomes of it fits its column."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_gateway.store.schema import accounts, pauses
from qwen_gateway.store.texts import LONGEST, cleaned, cleaner


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=())), st.integers(1, 50))
def test_any_text_fits(text: str, most: int) -> None:
    clean = cleaner(most)(text)
    assert len(clean) <= most
    assert "\0" not in clean
    clean.encode()
    assert bool(clean) == bool(text)
    assert cleaner(most)(clean) == clean


@pytest.mark.parametrize("value", [None, 1, b"bytes"])
def test_what_is_no_text_is_the_empty_one(value: object) -> None:
    assert cleaner(10)(value) == ""


def test_each_column_has_its_own_bound_and_other_values_stay() -> None:
    odd = "x" * 10_000
    assert cleaned(accounts, {"name": odd, "check_text": odd, "created_at": 1.5, "undo": b"\0"}) == {
        "name": "x" * 100,
        "check_text": "x" * LONGEST,
        "created_at": 1.5,
        "undo": b"\0",
    }
    assert cleaned(pauses, {"what": "qwen3-max"}) == {"what": "qwen3-max"}
