"""The list of models as the OpenAI API writes it."""

import json
from typing import Any

import pytest
from openai.types import Model as VendorsModel

from qwen_gateway.dialects import openai_models
from qwen_gateway.turn.catalog import Catalog, Model

PLUS = Model(
    id="q-plus",
    name="Q+",
    description="good",
    created=5,
    context_window=1000,
    max_output=100,
    max_thinking=50,
    search=True,
    capabilities=("vision",),
    modalities=("text", "image"),
)
MAX = Model(id="q-max", name="Q", thinking="always")
CATALOG = Catalog((PLUS, MAX), stale=True)


def rows(*, variants: bool) -> list[dict[str, Any]]:
    listed = json.loads(openai_models.listing(CATALOG, variants=variants))
    assert listed["object"] == "list"
    data: list[dict[str, Any]] = listed["data"]
    return data


def test_one_row() -> None:
    assert rows(variants=False)[0] == {
        "id": "q-plus",
        "object": "model",
        "created": 5,
        "owned_by": "qwen",
        "name": "Q+",
        "description": "good",
        "context_window": 1000,
        "max_output_tokens": 100,
        "max_thinking_tokens": 50,
        "thinking": "switch",
        "capabilities": ["vision"],
        "modalities": ["text", "image"],
        "variants": ["q-plus-thinking", "q-plus-nothinking", "q-plus-search", "q-plus-thinking-search"],
        "stale": True,
    }


def test_variants_are_rows_of_their_own_when_wanted() -> None:
    assert [row["id"] for row in rows(variants=False)] == ["q-plus", "q-max"]
    found = rows(variants=True)
    assert [row["id"] for row in found] == ["q-plus", *PLUS.variants, "q-max"]
    assert [row.get("root") for row in found] == [None, "q-plus", "q-plus", "q-plus", "q-plus", None]
    assert found[1]["name"] == "Q+-thinking"


@pytest.mark.parametrize(
    ("asked", "name", "root"),
    [("q-plus", "Q+", None), ("q-plus-search", "Q+-search", "q-plus"), ("gpt-4o", "Q+", "q-plus")],
)
def test_a_model_goes_by_the_name_that_was_asked_for(asked: str, name: str, root: str | None) -> None:
    row = json.loads(openai_models.one(PLUS, asked, stale=False))
    assert (row["id"], row["name"], row.get("root"), row["stale"]) == (asked, name, root, False)


def test_the_vendors_own_type_reads_every_row() -> None:
    for row in rows(variants=True):
        VendorsModel.model_validate(row)
