"""Parameters that the site has no place for: checked and ignored, or refused."""

import pytest

from qwen_gateway.dialects.openai_chat_request import read

from .bodies import body, refused

IN_RANGE: dict[str, list[object]] = {
    "temperature": [0, 0.7, 2],
    "top_p": [0, 0.5, 1],
    "min_p": [0, 1],
    "top_k": [-1, 0, 50],
    "frequency_penalty": [-2, 0, 2],
    "presence_penalty": [-2, 0.1, 2],
    "repetition_penalty": [0.1, 1, 1.2],
    "seed": [0, -1, 2**63 - 1],
}
OUT_OF_RANGE: dict[str, list[object]] = {
    "temperature": [-0.1, 2.1, "1", True, [1]],
    "top_p": [-0.1, 1.1, "x"],
    "min_p": [1.5],
    "top_k": [-2, 1.5, "40"],
    "frequency_penalty": [-2.1, 2.1],
    "presence_penalty": [-2.1, 2.1, {}],
    "repetition_penalty": [0, -1],
    "seed": [0.5, "1", True],
}
WITHOUT_EFFECT: dict[str, list[object]] = {
    "logprobs": [False, 0],
    "top_logprobs": [0],
    "logit_bias": [{}],
    "echo": [False],
    "best_of": [0, 1],
    "suffix": [""],
    "audio": [{}],
    "modalities": [[], ["text"]],
}
MISSED_IN_THE_ANSWER: dict[str, list[object]] = {
    "logprobs": [True, 3],
    "top_logprobs": [2],
    "logit_bias": [{"50256": -100}],
    "echo": [True],
    "best_of": [2],
    "suffix": ["end"],
    "audio": [{"voice": "alloy", "format": "wav"}],
    "modalities": [["audio"], ["text", "audio"], ["image"], "text"],
}


def cases(table: dict[str, list[object]]) -> list[tuple[str, object]]:
    return [(name, value) for name, values in table.items() for value in values]


@pytest.mark.parametrize(("name", "value"), cases(IN_RANGE))
def test_what_only_steers_the_choice_of_words_is_ignored_and_named(name: str, value: object) -> None:
    assert read(body(**{name: value})).ignored == (name,)


@pytest.mark.parametrize(("name", "value"), cases(OUT_OF_RANGE))
def test_values_out_of_range_are_refused(name: str, value: object) -> None:
    assert refused(body(**{name: value})) == (name, "invalid_value")


@pytest.mark.parametrize(("name", "value"), cases(WITHOUT_EFFECT))
def test_asking_for_nothing_is_fine_and_not_worth_a_word(name: str, value: object) -> None:
    assert read(body(**{name: value})) == read(body())


@pytest.mark.parametrize(("name", "value"), cases(MISSED_IN_THE_ANSWER))
def test_what_would_be_missed_in_the_answer_is_refused(name: str, value: object) -> None:
    assert refused(body(**{name: value})) == (name, "unsupported_parameter")
