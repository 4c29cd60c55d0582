import pytest

from qwen_gateway.toolcall.ahead import More
from qwen_gateway.toolcall.markers import CANDIDATES, Marker, Markers

MARKERS = Markers("k7q2")


def at(text: str, *, final: bool = True, line_start: bool = True, markers: Markers = MARKERS) -> Marker | None:
    return markers.at(text, 0, final=final, line_start=line_start)


OURS = {
    "[TOOL CALL k7q2]": "open",
    "[tool call K7Q2]": "open",
    "[TOOL_CALL: k7q2]": "open",
    "[ TOOL CALLS  k7q2 ]": "open",
    "［TOOL CALL k7q2］": "open",
    "【TOOL CALL k7q2】": "open",
    "[END TOOL CALL k7q2]": "close",
    "[END_TOOL_CALL k7q2]": "close",
    "[/TOOL CALL k7q2]": "close",
    "[TOOL RESULTS k7q2]": "result",
    "[TOOL RESULT k7q2]": "result",
    "--- k7q2 ": "result",
}


@pytest.mark.parametrize(("text", "kind"), OURS.items())
def test_markers_with_our_nonce(text: str, kind: str) -> None:
    assert at(text + "\n") == Marker(kind, "bracket", 3, len(text))  # type: ignore[arg-type]


OTHERS = {
    "[TOOL CALL]": ("open", "bracket"),
    "[tool_call]": ("open", "bracket"),
    "[TOOL-CALL abcd]": ("open", "bracket"),
    "[END TOOL CALL]": ("close", "bracket"),
    "[/TOOL_CALL]": ("close", "bracket"),
    "[TOOL RESULTS]": ("result", "bracket"),
    "<tool_call>": ("open", "native"),
    "<TOOL_CALLS>": ("open", "native"),
    "<|tool_call|>": ("open", "native"),
    "<function_calls>": ("open", "native"),
    "</tool_call>": ("close", "native"),
    "<|/tool_call|>": ("close", "native"),
    "</function>": ("close", "native"),
    "</invoke>": ("close", "native"),
    "<tool_response>": ("result", "native"),
    "✿RESULT✿": ("result", "flower"),
}


@pytest.mark.parametrize(("text", "expected"), OTHERS.items())
def test_markers_without_it_count_at_the_start_of_a_line(text: str, expected: tuple[str, str]) -> None:
    assert at(text + "\n") == Marker(*expected, 2, len(text))  # type: ignore[arg-type]
    assert at(text + "\n", line_start=False) is None


@pytest.mark.parametrize("text", ["<function=Read>", '<invoke name="Read">', "✿FUNCTION✿: Read"])
def test_a_marker_that_is_the_beginning_of_the_call_ends_where_it_begins(text: str) -> None:
    marker = at(text)
    assert marker is not None
    assert (marker.kind, marker.level, marker.end) == ("open", 2, 0)


@pytest.mark.parametrize("line_start", [True, False])
def test_ours_counts_within_a_line(line_start: bool) -> None:
    assert at("[TOOL CALL k7q2]", line_start=line_start) is not None
    assert (at("[TOOL RESULTS k7q2]", line_start=line_start) is not None) == line_start
    assert (at("--- k7q2 x", line_start=line_start) is not None) == line_start


def test_only_ours_may_lack_its_bracket() -> None:
    assert at("[TOOL CALL k7q2\n{") == Marker("open", "bracket", 3, 15)
    assert at("[TOOL CALL k7q2\r\n{") == Marker("open", "bracket", 3, 15)
    assert at("[TOOL CALL\n{") is None
    with pytest.raises(More):
        at("[TOOL CALL k7q2\r", final=False)
    assert at("[TOOL CALL k7q2 x") is None


NONE = [
    "[tool calls](http://x)",
    "[TOOL CALL k7q2](x)",
    "[tools]",
    "[x]",
    "<tool>",
    "<b>",
    "--- abcd ",
    "-- k7q2 ",
    "- x",
    "✿",
    "<tool_call x>",
]


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_marker(text: str) -> None:
    assert at(text) is None


@pytest.mark.parametrize("text", [*OURS, *OTHERS, "<function=", '<invoke name="', "✿FUNCTION✿"])
def test_any_beginning_waits_for_more_until_the_end(text: str) -> None:
    for end in range(1, len(text)):
        if not any(text[:end].startswith(whole) for whole in ("<function=", "<invoke name=", "[TOOL CALL")):
            with pytest.raises(More):
                at(text[:end], final=False)
            assert at(text[:end]) is None


def test_without_its_next_character_a_bracket_may_be_a_link() -> None:
    with pytest.raises(More):
        at("[TOOL CALL k7q2]", final=False)


@pytest.mark.parametrize("text", ["<tool", "✿FUN", "--- k", "<"])
def test_what_counts_only_at_the_start_of_a_line_does_not_wait_within_one(text: str) -> None:
    assert at(text, final=False, line_start=False) is None


def test_what_waits_is_short() -> None:
    with pytest.raises(More):
        at("[ TOOL_-CALLS :-abcdefghijkl ", final=False)
    assert at("[TOOL CALL abcdefghijklm", final=False) is None


def test_without_a_nonce_nothing_is_surely_ours() -> None:
    plain = Markers("")
    assert at("[TOOL CALL]\n", markers=plain) == Marker("open", "bracket", 2, 11)
    assert at("[TOOL CALL]\n", markers=plain, line_start=False) is None
    assert at("--- ", markers=plain) is None


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("[END TOOL CALL k7q2]", 3),
        ("[END TOOL CALL]", 2),
        ("</tool_call>", 2),
        ("[TOOL CALL k7q2]", 3),
        ("[TOOL CALL]", 0),
        ("<tool_call>", 0),
        ("✿RESULT✿", 2),
        ("✿FUNCTION✿", 2),
        ("x", 0),
        ("[1]", 0),
    ],
)
def test_where_a_call_ends(text: str, level: int) -> None:
    assert MARKERS.boundary(f"  {text}", 2, True) == level


@pytest.mark.parametrize(
    ("text", "half"),
    [
        ("[END TOOL C", True),
        ("[E", True),
        ("</to", True),
        ("[/", True),
        ("[", False),
        ("[TOOL", False),
        ("<", False),
        ("x", False),
        ("", False),
    ],
)
def test_half_closing_markers(text: str, half: bool) -> None:
    assert MARKERS.is_half_closing(text) is half


def test_every_marker_begins_with_a_candidate() -> None:
    assert {text[0] for text in [*OURS, *OTHERS, "<function=", "✿FUNCTION✿"]} == set(CANDIDATES)
