"""Which models take which files; tried on the list that the gateway falls back on."""

import pytest

from qwen_gateway.media.abilities import refusal, takes
from qwen_gateway.turn.catalog import Catalog, Model
from qwen_gateway.turn.files import Kind
from qwen_gateway.upstreams.qwen.catalog import FALLBACK

KINDS: list[Kind] = ["image", "video", "audio", "document"]


@pytest.mark.parametrize(
    ("model", "kinds"),
    [
        ("qwen3.7-plus", KINDS),
        ("qwen3.5-omni-plus", KINDS),
        ("qwen3.7-max", ["document"]),
    ],
)
def test_models_of_the_list(model: str, kinds: list[Kind]) -> None:
    found = FALLBACK.get(model)
    assert found is not None
    assert [kind for kind in KINDS if takes(found, kind)] == kinds


def test_either_list_of_a_model_is_believed() -> None:
    assert takes(Model(id="m", name="m", modalities=("text", "video")), "video")
    assert takes(Model(id="m", name="m", capabilities=("vision",)), "image")
    assert not takes(Model(id="m", name="m", capabilities=("vision",)), "video")


def test_a_refusal_names_models_that_can() -> None:
    max_ = FALLBACK.get("qwen3.7-max")
    assert max_ is not None
    fault = refusal(max_, "image", FALLBACK, "messages[0].content[1].image_url")
    assert fault.text == (
        "The model 'qwen3.7-max' cannot see pictures. These can: qwen3.7-plus, qwen3.8-max, qwen3.6-plus, "
        "qwen3.5-plus, qwen3.5-omni-plus."
    )
    assert (fault.code, fault.param) == ("unsupported_content", "messages[0].content[1].image_url")


def test_a_refusal_where_no_model_can() -> None:
    model = Model(id="m", name="m")
    fault = refusal(model, "audio", Catalog((model,)))
    assert fault.text == "The model 'm' cannot listen to sounds. No model of today's list can."
    assert fault.param is None


def test_a_refusal_names_a_few_models_only() -> None:
    able = [Model(id=f"m{i}", name="m", capabilities=("video",)) for i in range(30)]
    assert "m5." in refusal(Model(id="m", name="m"), "video", Catalog(tuple(able))).text
