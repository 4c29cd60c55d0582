import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.toolcall.visible import Visible


def after(text: str) -> Visible:
    visible = Visible()
    visible.add(text)
    return visible


@pytest.mark.parametrize(
    ("text", "certain"),
    [
        ("", ""),
        ("a b", "a b"),
        ("a b ", "a b"),
        ("a\n\n", "a"),
        ("a\n b", "a\n b"),
        ("a\n```", "a"),
        ("a\n```json\n", "a"),
        ("a\n```json\n \n", "a"),
        ("a\n```json\nx", "a\n```json\nx"),
        ("a\n``x", "a\n``x"),
        ("a\n```x`", "a\n```x`"),
        ("~~~", ""),
        ("~x", "~x"),
        ("a ```", "a ```"),
        ("```\nx\n```\n", "```\nx\n```"),
        ("```" + "x" * 90, "```" + "x" * 90),
    ],
)
def test_what_is_certain(text: str, certain: str) -> None:
    assert after(text).take() == certain
    visible = after(text)
    visible.finish()
    assert visible.take() == text


@pytest.mark.parametrize(
    ("text", "line_start"),
    [
        ("", True),
        ("   ", True),
        ("    ", False),
        ("x", False),
        ("x\n", True),
        ("x\n- ", False),
        ("> ", False),
        ("```\n", False),
        ("```\nx\n```\n", True),
        ("```\nx\n``` y\n", False),
        ("````\n```\n", False),
        ("```\n~~~\n", False),
        ("```a`b\n", True),
        ("~~~ a`b\n", False),
        ("    ```\n", True),
        ("```" + "x" * 90 + "\n", False),
    ],
)
def test_where_a_line_begins_outside_of_a_fence(text: str, line_start: bool) -> None:
    assert after(text).line_start is line_start


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a \n\n", "a"),
        ("a\n```json\n", "a"),
        ("a\n```json", "a\n```json"),
        ("a `", "a `"),
        ("`", "`"),
        ("```\nx\n", "```\nx"),
    ],
)
def test_what_is_shown_in_front_of_a_call(text: str, shown: str) -> None:
    visible = after(text)
    visible.cut()
    assert visible.take() == shown
    visible.finish()
    assert visible.take() == ""


def test_a_fence_that_was_opened_for_a_call_is_no_fence() -> None:
    visible = after("```\n")
    visible.cut()
    visible.add("\n")
    assert visible.line_start


@pytest.mark.parametrize(
    ("text", "in_code"), [("`", True), ("x", False), ("```\nx", True), ("x" * 90 + "`", True), ("", False)]
)
def test_in_code(text: str, in_code: bool) -> None:
    assert after(text).in_code is in_code


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from("ab \n`~\t\r>"), max_size=40))
def test_any_cut_gives_the_same(text: str) -> None:
    at_once, by_one = after(text), Visible()
    for char in text:
        by_one.add(char)
    assert (at_once.line_start, at_once.in_code) == (by_one.line_start, by_one.in_code)
    at_once.cut()
    by_one.cut()
    assert (at_once.take(), at_once.line_start) == (by_one.take(), by_one.line_start)
