"""The site's recorded list of models, odd lists, and the names that earlier bridges taught."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.turn.catalog import Model, resolve
from qwen_gateway.turn.faults import Drift
from qwen_gateway.upstreams.qwen.catalog import ALIASES, FALLBACK, LONGEST_ID, read

BODY = (Path(__file__).parents[2] / "corpus/models_v2_2026-09-13.json").read_bytes()


def test_the_recorded_list() -> None:
    catalog = read(BODY)
    assert not catalog.stale
    assert [(model.id, model.thinking, model.search, model.max_output) for model in catalog.models] == [
        ("qwen3.7-plus", "switch", True, 65_536),
        ("qwen3.8-max", "switch", True, 131_072),
        ("qwen3.7-max", "always", True, 65_536),
        ("qwen3.6-plus", "switch", True, 65_536),
        ("qwen3.5-plus", "switch", True, 65_536),
        ("qwen3.5-omni-plus", "never", True, 65_536),
    ]
    assert catalog.models[2] == Model(
        id="qwen3.7-max",
        name="Qwen3.7-Max",
        description="The flagship Qwen3.7 model delivering state-of-the-art performance. "
        "Currently text-only (no vision capabilities).",
        created=1_732_711_466,
        context_window=1_000_000,
        max_output=65_536,
        max_thinking=81_920,
        thinking="always",
        search=True,
        capabilities=("document", "thinking"),
        modalities=("text",),
    )


def test_the_older_address_gives_the_same_without_the_envelope() -> None:
    assert read(json.dumps(json.loads(BODY)["data"]).encode()) == read(BODY)


def test_the_fallback_is_the_recorded_list_in_the_fields_it_has() -> None:
    assert FALLBACK.stale
    plain = [msgspec.structs.replace(model, description="", created=0) for model in read(BODY).models]
    assert list(FALLBACK.models) == plain


@pytest.mark.parametrize("alias", [alias.replace("*", "x-1") for alias in ALIASES])
def test_every_default_alias_means_a_model_of_the_recorded_list(alias: str) -> None:
    catalog = read(BODY)
    assert resolve(alias, catalog, ALIASES).model in catalog.models


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("qwen", "qwen3.7-plus"),
        ("qwen3-coder", "qwen3.7-plus"),
        ("qwen3-vl-plus", "qwen3.7-plus"),
        ("qwq", "qwen3.8-max"),
        ("qwen-max", "qwen3.8-max"),
        ("gpt-4", "qwen3.8-max"),
        ("gpt-4o-mini", "qwen3.7-plus"),
        ("claude-sonnet-4-5", "qwen3.8-max"),
        ("gemini-2.5-pro", "qwen3.7-plus"),
    ],
)
def test_what_some_aliases_mean_in_the_recorded_list(name: str, model: str) -> None:
    assert resolve(name, read(BODY), ALIASES).model.id == model


def listed(**meta: object) -> bytes:
    return json.dumps({"data": [{"id": "m", "info": {"meta": meta}}]}).encode()


@pytest.mark.parametrize(
    ("meta", "thinking"),
    [
        ({}, "never"),
        ({"capabilities": {"thinking": False}, "abilities": {"thinking": 2}}, "never"),
        ({"capabilities": {"thinking": True}}, "always"),
        ({"capabilities": {"thinking": True}, "abilities": {"thinking": 1}}, "always"),
        ({"capabilities": {"thinking": True}, "abilities": {"thinking": 3}}, "switch"),
        ({"capabilities": {"thinking": True}, "think_skip": {"enable": True}}, "switch"),
    ],
)
def test_who_thinks(meta: dict[str, Any], thinking: str) -> None:
    assert read(listed(**meta)).models[0].thinking == thinking


def test_a_model_that_says_little() -> None:
    assert read(b'{"data": [{"id": "m"}]}').models == (Model(id="m", name="m", thinking="never"),)


def test_inactive_models_are_left_out() -> None:
    rows = [{"id": "a", "info": {"is_active": False}}, {"id": "b", "info": {"is_active": True}}]
    assert [model.id for model in read(json.dumps({"data": rows}).encode()).models] == ["b"]


@pytest.mark.parametrize("name", ["", " ", "a\0", "a\nb", "\u202eb", "a ", "x" * (LONGEST_ID + 1)])
def test_models_whose_ids_are_no_names_are_left_out(name: str) -> None:
    rows = [{"id": name}, {"id": "x" * LONGEST_ID}, {"id": "b"}]
    assert [model.id for model in read(json.dumps({"data": rows}).encode()).models] == ["x" * LONGEST_ID, "b"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data": null}',
        b'{"data": []}',
        b'{"data": {"data": []}}',
        b'{"data": [{"name": "no id"}]}',
        b'{"data": [{"id": 1}]}',
        b'{"data": [{"id": "m", "info": 1}]}',
        b'{"data": [{"id": "m", "info": {"is_active": false}}]}',
        b'{"data": [{"id": "\xff"}]}',
        b'{"data": [{"id": "a\\u0000"}]}',
        b"<html>",
        b'{"x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
    ids=lambda body: body[:40].decode("latin-1"),
)
def test_what_is_no_list_is_drift(body: bytes) -> None:
    with pytest.raises(Drift):
        read(body)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=30))
def test_any_bytes_are_a_list_or_drift(noise: bytes) -> None:
    try:
        read(b'{"data": [{"id": "m"' + noise + b"}]}")
    except Drift:
        return
