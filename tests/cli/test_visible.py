"""Text from elsewhere cannot write to a terminal."""

import shlex

from hypothesis import given
from hypothesis import strategies as st

from qwen_gateway.cli.visible import quoted, visible

FORBIDDEN = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), 0x202E, 0x2066, 0x200F, 0x061C, 0x2028)}


@given(st.text())
def test_no_control_character_comes_through(text: str) -> None:
    shown = visible(text)
    assert not FORBIDDEN & set(shown)
    assert FORBIDDEN & set(visible(text, lines=True)) <= {"\n"}
    shown.encode()


def test_ordinary_text_of_any_script_stays() -> None:
    text = "Zoë 千问 Кириллица عربي 👩‍🚀 [red]"
    assert visible(text) == text


def test_a_lone_surrogate_can_be_printed() -> None:
    assert visible("a\udc80b") == "ab"


@given(st.text())
def test_a_quoted_name_is_one_word_of_a_shell(name: str) -> None:
    assert shlex.split(quoted(name)) == [visible(name)]
