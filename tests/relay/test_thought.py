"""A call in the reasoning: whether the model meant it."""

import pytest
from tests.toolcall.answers import NONCE, TOOLS, call

from qwen_gateway.relay import thought as module
from qwen_gateway.relay.thought import Thought
from qwen_gateway.toolcall.pieces import CallEnded
from qwen_gateway.toolcall.schema import Checks
from qwen_gateway.toolcall.sieve import Sieve

LS = call("Bash", command="ls")


def read(*pieces: str, nonce: str = NONCE) -> tuple[int, bool]:
    """How many calls there are, and whether they were meant."""
    thought = Thought()
    for piece in pieces:
        thought.feed(piece)
    calls, meant = thought.calls(Sieve(TOOLS, nonce=nonce, check=Checks(TOOLS), commit="complete"), nonce)
    return sum(isinstance(one, CallEnded) for one in calls), meant


THOUGHTS: dict[str, tuple[str, tuple[int, bool]]] = {
    "nothing": ("", (0, False)),
    "no call": ("I recall that.", (0, False)),
    "a call": ("I look.\n" + LS, (1, True)),
    "two calls": (LS + "\n" + call("ping"), (2, True)),
    "words behind it": (LS + "\nThat should do.", (1, False)),
    "no nonce": (LS.replace(f" {NONCE}", ""), (1, False)),
    "an example without the nonce before it": (LS.replace(f" {NONCE}", "") + "\nSo:\n" + call("ping"), (1, True)),
    "another tool": ("[TOOL CALL k7q2]\n{\"name\": \"Nash\"}", (0, True)),
    "the models' own form": ('<tool_call>\n{"name": "ping"}\n</tool_call>', (1, False)),
}  # fmt: skip


@pytest.mark.parametrize("name", THOUGHTS)
def test_which_calls_in_the_reasoning_were_meant(name: str) -> None:
    """A35: at its end, and with our nonce."""
    text, expected = THOUGHTS[name]
    assert read(text) == expected
    assert read(*text) == expected, "letter by letter"


def test_without_a_nonce_no_call_is_surely_meant() -> None:
    assert read(LS, nonce="") == (1, False)


@pytest.mark.parametrize("size", [1, 50, 1000])
def test_only_the_end_of_it_is_looked_at(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(module, "LONGEST", 200)
    late, early = "x" * 1000 + LS, LS + "\n" + "x" * 250
    for text, calls in ((late, 1), (early, 0)):
        assert read(*(text[start : start + size] for start in range(0, len(text), size)))[0] == calls
