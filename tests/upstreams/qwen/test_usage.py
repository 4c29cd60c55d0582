"""Figures of rounds, as the decoder hands them in."""

import json

import pytest
from msgspec import Raw

from qwen_gateway.turn.events import Usage
from qwen_gateway.upstreams.qwen.usage import TOKENS_MAX, Rounds

END = "end"


def total(*told: object) -> Usage | None:
    rounds = Rounds()
    for one in told:
        if one == END:
            rounds.end()
        else:
            rounds.newest = Raw(json.dumps(one).encode())
    before = rounds.total()
    rounds.end()
    assert rounds.total() == before
    return before


def figures(input_: int, output: int) -> dict[str, int]:
    return {"input_tokens": input_, "output_tokens": output}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([], None),
        ([END, END], None),
        ([figures(7, 1), figures(7, 2)], Usage(7, 2)),
        ([figures(1417, 36), END, figures(4519, 255)], Usage(5936, 291, context=4774)),
        ([figures(1, 1), END, figures(2, 1), END, figures(3, 1), END, figures(4, 1)], Usage(10, 4, context=5)),
        ([figures(7, 2), END, figures(7, 2), END, figures(9, 1)], Usage(16, 3, context=10)),
        ([figures(7, 2), END, figures(7, 5)], Usage(7, 5)),
        ([figures(7, 2), END, figures(7, 1)], Usage(14, 3, context=8)),
        ([figures(7, 2), END, "odd", END, figures(9, 1)], Usage(16, 3, context=10)),
        ([figures(7, -1)], None),
        ([figures(TOKENS_MAX, 1), END, figures(1, 1)], None),
    ],
)
def test_the_last_figures_of_each_round_are_added(told: list[object], expected: Usage | None) -> None:
    assert total(*told) == expected
