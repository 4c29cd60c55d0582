"""One object out of a text that comes in pieces."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.shaping.json_stream import ObjectStream


def run(*pieces: str) -> tuple[str, str, bool]:
    stream = ObjectStream()
    shown = "".join(map(stream.feed, pieces))
    stream.close()
    return shown, stream.broken, stream.done


@pytest.mark.parametrize(
    ("text", "shown", "broken"),
    [
        ('{"a": 1}', '{"a": 1}', ""),
        ('```json\n{"a": 1}\n```', '{"a": 1}', ""),
        ('Here it is: {"a": [1, {"b": "}"}]} Hope it helps {', '{"a": [1, {"b": "}"}]}', ""),
        ('{"a": "x\ny\tz\x01"}', '{"a": "x\\ny\\tz\\u0001"}', ""),
        ('{"a": "C:\\Users\\"}"}', '{"a": "C:\\\\Users\\"}"}', ""),
        ('{"a": 1', '{"a": 1', "cut_off"),
        ("No JSON.", "", "no_object"),
        ("", "", "no_object"),
        ("x" * 201 + "{}", "", "no_object"),
        ("x" * 200 + "{}", "{}", ""),
        ("[{}]", "{}", ""),
        ('{"a": 1]', '{"a": 1]', "not_json"),
        ("{a: 1}", "{a: 1}", "not_json"),
        ('{"a": NaN}', '{"a": NaN}', "not_json"),
        ('{"a": "\\ud83d"}', '{"a": "\\ud83d"}', ""),
    ],
)
def test_texts(text: str, shown: str, broken: str) -> None:
    for pieces in ([text], list(text)):
        assert run(*pieces)[:2] == (shown, broken)


def test_nothing_has_begun_while_another_try_is_possible() -> None:
    stream = ObjectStream()
    stream.feed("Here: ")
    assert not stream.began
    stream.feed("{")
    assert stream.began


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4), st.integers(1, 7), st.booleans())
def test_valid_json_passes_unchanged_for_any_cut(value: dict[str, object], size: int, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=1)
    around = f"Sure:\n{text}\nDone."
    pieces = [around[at : at + size] for at in range(0, len(around), size)]
    assert run(*pieces) == (text, "", True)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(["{", "}", "[", "]", '"', "\\", "\n", "a", ":", "é", "u", " "]), max_size=30))
def test_any_cut_gives_the_same(letters: list[str]) -> None:
    assert run(*letters) == run("".join(letters))
