"""What a model's name means."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.turn.catalog import Catalog, Model, resolve
from qwen_gateway.turn.faults import InvalidRequest, ModelNotFound

PLUS = Model(id="q-plus", name="Q", search=True)
MAX = Model(id="q-max", name="Q Max", thinking="always", search=True)
ODD = Model(id="qwq-thinking", name="Odd", thinking="never")
CATALOG = Catalog((PLUS, MAX, ODD))
ALIASES = {"best": ("nothing*", "*-max", "*"), "gpt-4o*": ("*-plus",), "claude-*": ("*-max",), "none": ("x*",)}


@pytest.mark.parametrize(
    ("name", "model", "thinking", "search"),
    [
        ("q-plus", "q-plus", None, None),
        (" q-plus ", "q-plus", None, None),
        ("q-plus-thinking", "q-plus", True, None),
        ("q-plus-nothinking", "q-plus", False, None),
        ("q-plus-search", "q-plus", None, True),
        ("q-plus-thinking-search", "q-plus", True, True),
        ("q-plus-search-thinking", "q-plus", True, True),
        ("q-plus-search-search", "q-plus", None, True),
        ("q-plus-thinking-thinking", "q-plus", True, None),
        ("qwq-thinking", "qwq-thinking", None, None),
        ("qwq-thinking-nothinking", "qwq-thinking", False, None),
        ("best", "q-max", None, None),
        ("best-search", "q-max", None, True),
        ("gpt-4o", "q-plus", None, None),
        ("gpt-4o-mini", "q-plus", None, None),
        ("gpt-4o-search-preview", "q-plus", None, None),
        ("gpt-4o-search", "q-plus", None, True),
        ("claude-x-1", "q-max", None, None),
        ("claude-x-1-nothinking", "q-max", False, None),
        ("claude-x-1-search-thinking", "q-max", True, True),
    ],
)
def test_names(name: str, model: str, thinking: bool | None, search: bool | None) -> None:
    choice = resolve(name, CATALOG, ALIASES)
    assert (choice.model.id, choice.thinking, choice.search) == (model, thinking, search)


@pytest.mark.parametrize("name", ["", " ", "-", "-thinking", "thinking", "q", "Q-PLUS", "none", "q-plus-", "x-search"])
def test_unknown_names_are_faults_that_name_others(name: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        resolve(name, CATALOG, ALIASES)
    assert caught.value.param == "model"
    assert "q-plus" in caught.value.text


def test_a_near_name_is_named_first() -> None:
    with pytest.raises(ModelNotFound, match="Near names: q-max"):
        resolve("q-maxx", CATALOG, ALIASES)


@pytest.mark.parametrize("name", ["q-plus-thinking-nothinking", "q-plus-nothinking-search-thinking"])
def test_suffixes_that_contradict_each_other(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        resolve(name, CATALOG, ALIASES)
    assert caught.value.param == "model"


@pytest.mark.parametrize("name", ["x" * 1_000_000, "q-plus" + "-search" * 200_000, "claude-" + "-thinking" * 100_000])
def test_a_name_of_a_megabyte_is_refused_at_once_and_shortly(name: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        resolve(name, CATALOG, ALIASES)
    assert len(caught.value.text) < 400


@settings(deadline=None, max_examples=150)
@given(
    st.text(max_size=20) | st.lists(st.sampled_from(["q", "plus", "thinking", "search", "-", "*", "["])).map("".join)
)
def test_any_name_is_a_model_or_a_fault(name: str) -> None:
    try:
        assert resolve(name, CATALOG, ALIASES).model in CATALOG.models
    except InvalidRequest:
        assert "thinking" in name
    except ModelNotFound:
        assert name != "q-plus"


@pytest.mark.parametrize(
    ("model", "variants"),
    [
        (PLUS, ("q-plus-thinking", "q-plus-nothinking", "q-plus-search", "q-plus-thinking-search")),
        (MAX, ("q-max-search",)),
        (ODD, ()),
    ],
)
def test_variants_are_names_that_make_sense(model: Model, variants: tuple[str, ...]) -> None:
    assert model.variants == variants
    for name in variants:
        assert resolve(name, CATALOG, ALIASES).model == model


def test_a_model_is_got_by_its_id() -> None:
    assert CATALOG.get("q-max") == MAX
    assert CATALOG.get("q") is None
