"""How a question is to be answered: the request's words before the name's suffix, and that before the setting."""

import pytest

from qwen_gateway.relay.terms import terms
from qwen_gateway.turn.catalog import Choice, Model
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.prompt import Prompt
from qwen_gateway.turn.request import Thinking, ThinkingMode, TurnRequest

from .fakes import ALWAYS, NEVER, SWITCH


def asked(choice: Choice, default: ThinkingMode = "off", **request: object) -> Prompt:
    return terms(TurnRequest(model="q", messages=(), **request), choice, default)  # type: ignore[arg-type]


def test_the_prompt_has_the_model_that_serves_and_no_text_yet() -> None:
    assert asked(Choice(SWITCH)) == Prompt("", SWITCH.id, Thinking("off"), search=False)


CHOICES: list[tuple[Model, ThinkingMode | None, bool | None, ThinkingMode, ThinkingMode | None]] = [
    # model, the request's word, the suffix, the setting → what is asked; None: refused
    (SWITCH, None, None, "auto", "auto"),
    (SWITCH, None, True, "off", "on"),
    (SWITCH, None, False, "on", "off"),
    (SWITCH, "off", True, "on", "off"),
    (SWITCH, "auto", False, "on", "auto"),
    (ALWAYS, None, None, "off", "on"),
    (ALWAYS, "off", None, "off", "on"),
    (ALWAYS, None, False, "on", None),
    (ALWAYS, "off", False, "on", "on"),
    (NEVER, None, None, "on", "off"),
    (NEVER, "on", None, "on", "off"),
    (NEVER, None, True, "off", None),
]


@pytest.mark.parametrize(("model", "word", "suffix", "setting", "expected"), CHOICES)
def test_whether_the_model_is_to_think(
    model: Model,
    word: ThinkingMode | None,
    suffix: bool | None,
    setting: ThinkingMode,
    expected: ThinkingMode | None,
) -> None:
    choice = Choice(model, thinking=suffix)
    if expected is None:
        with pytest.raises(InvalidRequest) as refused:
            asked(choice, setting, thinking=Thinking(word))
        assert (refused.value.param, refused.value.code) == ("model", "unsupported_value")
    else:
        assert asked(choice, setting, thinking=Thinking(word)).thinking.mode == expected


def test_the_budget_and_the_parameters_name_stay() -> None:
    assert asked(Choice(SWITCH), thinking=Thinking("on", 500, "p")).thinking == Thinking("on", 500, "p")


@pytest.mark.parametrize(
    ("word", "suffix", "expected"), [(None, None, False), (None, True, True), (False, True, False)]
)
def test_whether_the_site_is_to_search(word: bool | None, suffix: bool | None, expected: bool) -> None:
    assert asked(Choice(SWITCH, search=suffix), search=word).search is expected


def test_a_model_that_cannot_search_is_refused_where_it_should() -> None:
    assert not asked(Choice(NEVER), search=False).search
    with pytest.raises(InvalidRequest) as refused:
        asked(Choice(NEVER), search=True)
    assert refused.value.param == "model"
