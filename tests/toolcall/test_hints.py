"""Notes to the model."""

import pytest

from qwen_gateway.toolcall.hints import Reason, hint

REASONS: tuple[Reason, ...] = ("malformed", "unknown", "schema", "intercepted", "thought", "required", "nudge")


@pytest.mark.parametrize("reason", REASONS)
def test_every_note_says_from_whom_it_is_and_has_no_hole(reason: Reason) -> None:
    told = hint(reason, what="x{y}", tool="T", names=("A", "B"), form="Use [TOOL CALL].")
    assert told.startswith("Note from the tool runner: ")
    assert "{what}" not in told
    assert "{names}" not in told


def test_an_empty_answer_is_asked_for_again_without_a_word() -> None:
    assert hint("empty") == ""


def test_what_the_model_wrote_is_quoted_and_short() -> None:
    told = hint("malformed", what='a "b"\nc' + "x" * 500)
    assert '(\\"' not in told
    assert '"a \\"b\\"\\nc' in told
    assert len(told) < 300


@pytest.mark.parametrize("reason", ["unknown", "malformed", "schema"])
def test_half_a_character_of_the_models_is_quoted_so_that_it_can_be_sent(reason: Reason) -> None:
    told = hint(reason, what="foo\ud83d 好")
    assert '"foo\\ud83d' in told
    assert told.encode()
    assert '"foo 好"' in hint(reason, what="foo 好")


def test_names_are_listed_as_far_as_there_is_room() -> None:
    assert "The names are: A, B." in hint("unknown", what="X", names=("A", "B"))
    many = hint("unknown", what="X", names=tuple(f"tool_{n}" for n in range(2000)))
    assert len(many) < 2500
    assert ", …." in many


def test_a_rejected_call_names_its_tool() -> None:
    assert "your call of Bash was rejected" in hint("schema", what="x", tool="Bash")
