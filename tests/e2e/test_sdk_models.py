"""Models through OpenAI's own client."""

import pytest
from openai import NotFoundError, OpenAI

from qwen_gateway.upstreams.qwen.catalog import ALIASES

from .process import Demo
from .wire import Json


def _rows(openai: OpenAI) -> dict[str, Json]:
    return {model.id: model.to_dict() for model in openai.models.list()}


def test_the_list_says_what_each_model_can_do(openai: OpenAI) -> None:
    rows = _rows(openai)
    plus = rows["qwen3.7-plus"]
    assert (plus["object"], plus["owned_by"], plus["stale"]) == ("model", "qwen", False)
    assert plus["context_window"] >= 100_000
    assert {"search", "thinking"} <= set(plus["capabilities"])
    assert plus["created"] > 1_700_000_000
    assert "qwen3.7-plus-thinking" in plus["variants"]
    for row in rows.values():
        assert {"name", "description", "max_output_tokens", "modalities", "thinking", "variants"} <= set(row)


def test_every_listed_name_can_be_asked_for_and_is_the_same_there(openai: OpenAI) -> None:
    rows = _rows(openai)
    ids = {name for name, row in rows.items() if "root" not in row}
    for name, row in rows.items():
        assert openai.models.retrieve(name).to_dict() == row
        assert row.get("root", name) in ids
        assert all(variant in rows for variant in row["variants"])


@pytest.mark.parametrize("alias", [alias.replace("*", "x") for alias in ALIASES])
def test_every_built_in_alias_leads_to_a_model_of_today(openai: OpenAI, alias: str) -> None:
    found = openai.models.retrieve(alias).to_dict()
    assert found["id"] == alias
    assert found["root"] in {name for name, row in _rows(openai).items() if "root" not in row}


def test_suffixes_go_with_aliases_too(openai: OpenAI, demo: Demo) -> None:
    assert openai.models.retrieve("gpt-4o-search-thinking").to_dict()["root"] == "qwen3.7-plus"


def test_an_unknown_model_is_not_found_and_near_names_are_told(openai: OpenAI) -> None:
    with pytest.raises(NotFoundError) as caught:
        openai.models.retrieve("qwen3.7-plos")
    assert (caught.value.code, caught.value.param, caught.value.type) == (
        "model_not_found",
        "model",
        "invalid_request_error",
    )
    assert "qwen3.7-plus" in caught.value.message


def test_asking_an_unknown_model_makes_no_chat(openai: OpenAI, demo: Demo) -> None:
    with pytest.raises(NotFoundError, match=r"qwen3\.8-max"):
        openai.chat.completions.create(model="qwen3.8-macs", messages=[{"role": "user", "content": "x"}])
    assert demo.state()["chats"] == []
