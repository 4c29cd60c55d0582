"""The tree of faults is what its drawing says."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

from qwen_gateway.turn import faults
from qwen_gateway.turn.faults import Fault


def below(kind: type[Fault]) -> Iterator[type[Fault]]:
    for child in kind.__subclasses__():
        yield child
        yield from below(child)


ALL = [kind for kind in below(Fault) if kind.__module__ == faults.__name__]
"""Without those that other modules have for themselves: whether they are loaded depends on who ran before."""
OF_ALL = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)


def test_the_drawing_has_every_fault_with_its_parent_and_status() -> None:
    drawing = inspect.getdoc(faults) or ""
    rows = re.findall(r"^    ((?:│   |    )*)[├└]── (\w+) *(\d*)", drawing, re.MULTILINE)
    drawn, path = {}, ["Fault"]
    for indent, name, status in rows:
        depth = len(indent) // 4 + 1
        path[depth:] = [name]
        drawn[name] = (path[depth - 1], status)
    abstract = {"ClientFault", "GatewayFault", "SiteFault"}
    assert drawn == {
        kind.__name__: (kind.__bases__[0].__name__, "" if kind.__name__ in abstract else str(kind.status))
        for kind in ALL
    }


@OF_ALL
def test_every_fault_has_what_a_dialect_needs(kind: type[Fault]) -> None:
    # An unfit answer is about no parameter, and no time mends it.
    more: dict[str, Any] = {} if kind is faults.Unfit else {"param": "messages", "retry_after": 3.0}
    fault = kind("It broke.", **more)
    assert (str(fault), fault.text) == ("It broke.", "It broke.")
    assert (fault.param, fault.retry_after) == (more.get("param"), more.get("retry_after"))
    assert fault.origin in ("client", "gateway", "site")
    assert 400 <= fault.status < 600
    assert re.fullmatch(r"[a-z_]+", fault.code)


def test_a_code_of_its_own_stays_with_the_one_fault() -> None:
    assert faults.InvalidRequest("x", code="invalid_json").code == "invalid_json"
    assert faults.InvalidRequest("x").code == "invalid_value"


@OF_ALL
def test_only_faults_that_are_not_the_clients_may_be_tried_again(kind: type[Fault]) -> None:
    """But for a limit of its key, which is free again in a moment, and says when. Its tokens of today are not."""
    of_the_client = issubclass(kind, faults.ClientFault)
    assert not (kind.retryable and of_the_client) or kind is faults.LimitReached


def test_a_limit_may_be_tried_again_and_a_spent_budget_not() -> None:
    assert faults.LimitReached.retryable
    assert not faults.BudgetSpent.retryable


def test_an_unfit_answer_says_to_the_model_what_it_may_do_better() -> None:
    fault = faults.Unfit("No tool has that name.", code="unknown_tool", hint="The tools are: Read.")
    assert (fault.text, fault.code, fault.hint) == ("No tool has that name.", "unknown_tool", "The tools are: Read.")
    assert (faults.Unfit("x").code, faults.Unfit("x").hint) == ("invalid_tool_call", None)
