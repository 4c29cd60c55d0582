"""Words of a command, as the shell for which it was written would cut them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.accounts.browsers import chrome_posix, firefox_posix, windows

from qwen_gateway.accounts.forms.shell import is_for_windows, posix_words, windows_words

POSIX: dict[str, tuple[str, list[str]]] = {
    "bare": ("curl  a\tb ", ["curl", "a", "b"]),
    "nothing": ("", []),
    "single": ("'a b' '' 'it'\\''s' x'y'z", ["a b", "", "it's", "xyz"]),
    "double": ('"a \\"b\\" \\$c \\` \\\\ \\n" "x\\\ny"', ['a "b" $c ` \\ \\n', "xy"]),
    "never run": ('"$(id) `id`" $HOME', ["$(id) `id`", "$HOME"]),
    "lines": ("a \\\n  b \\\r\n c", ["a", "b", "c"]),
    "a line within a word": ("a\\\nb", ["ab"]),
    "a backslash before a sign": ("a\\ b \\'", ["a b", "'"]),
    "a last backslash": ("a\\", ["a"]),
    "ANSI-C": (
        "$'\\u0021\\041\\x21\\x2g \\n\\t\\r\\'\\\"\\\\ \\q \\U0001f600 \\Uffffffff \\xg'",
        ["!!!\x02g \n\t\r'\"\\ \\q \U0001f600 \ufffd \\xg"],
    ),
    "a dollar": ("$ a$ $", ["$", "a$", "$"]),
    "an end": ("curl a; curl b", ["curl", "a"]),
    "other ends": ("a | b", ["a"]),
    "a line end": ("a b\nc", ["a", "b"]),
    "signs in quotes": ("'a;b' \"c|d\n\"", ["a;b", "c|d\n"]),
}


@pytest.mark.parametrize(("text", "words"), POSIX.values(), ids=POSIX.keys())
def test_words_of_bash(text: str, words: list[str]) -> None:
    assert posix_words(text) == words


WINDOWS: dict[str, tuple[str, list[str]]] = {
    "nothing": ("", []),
    "bare": ("curl.exe  a\tb ", ["curl.exe", "a", "b"]),
    "as browsers write it": ('curl ^"a^%^20b^&c^" ^\n  -H ^"d: ^\\^"e^\\^"^"', ["curl", "a%20b&c", "-H", 'd: "e"']),
    "as Chrome wrote it before 2024": (
        'curl "https://x/^%^20" ^\n  -H "a: b"',
        ["curl", "https://x/%20", "-H", "a: b"],
    ),
    "line ends of Windows": ('a ^\r\n  ^"b^\r\n\r\nc^"', ["a", "b\nc"]),
    "a new line in a value": ('^"a^\n\nb^"', ["a\nb"]),
    "empty": ('^"^" a', ["", "a"]),
    "a word in parts": ('a^"b c^"d', ["ab cd"]),
    "backslashes": ('^"C:^\\^\\x^\\^\\^" a\\b', ["C:\\x\\", "a\\b"]),
    "an end": ('curl ^"a&b^" & curl c', ["curl", "a&b"]),
    "a last caret": ("a^", ["a"]),
    "a last line end": ("a ^\n", ["a"]),
}


@pytest.mark.parametrize(("text", "words"), WINDOWS.values(), ids=WINDOWS.keys())
def test_words_of_cmd(text: str, words: list[str]) -> None:
    assert windows_words(text) == words


@pytest.mark.parametrize("text", ["'a", '"a', "$'a", "$'a\\", "$'a\\'", '"a\\"'])
def test_an_open_quote_of_bash_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"quote|substring"):
        posix_words(text)


@pytest.mark.parametrize("text", ['"a', '^"a', '^"a^\\^"'])
def test_an_open_quote_of_cmd_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="quote"):
        windows_words(text)


@pytest.mark.parametrize(
    ("text", "for_windows"),
    [
        ('curl ^"https://x^"', True),
        ('curl "https://x" ^\n  -H "a: b"', True),
        ('curl "https://x" ^\r\n  -H "a: b"', True),
        ("curl https://x ^\n -k", True),
        ("curl 'https://x' \\\n  -b 'a=^\"b'", False),
        ("curl $'it\\'s ^\"' -b 'a=^\"b'", False),
        ('curl "https://x" \\\n  -H "a: b"', False),
        ("curl https://x", False),
        ('"', False),
    ],
)
def test_which_shell_a_command_was_written_for(text: str, for_windows: bool) -> None:
    assert is_for_windows(text) is for_windows


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(min_codepoint=1, max_codepoint=255)))
def test_what_browsers_quote_is_one_word(text: str) -> None:
    assert posix_words(f"a {chrome_posix(text)} b") == ["a", text, "b"]
    assert posix_words(f"a {firefox_posix(text)} b") == ["a", text, "b"]


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_what_browsers_quote_for_cmd_is_one_word(text: str) -> None:
    assert windows_words(f"a {windows(text)} b") == ["a", text, "b"]


@settings(deadline=None, max_examples=300)
@given(st.text("'\"\\^$xu0\n \r;ab"))
def test_any_text_has_words_or_an_open_quote(text: str) -> None:
    for words in (posix_words, windows_words):
        try:
            assert all(isinstance(word, str) for word in words(text))
        except ValueError:
            assert "'" in text or '"' in text
