import pytest

from qwen_gateway.toolcall.ahead import More
from qwen_gateway.toolcall.arguments import Arguments
from qwen_gateway.toolcall.formats.choice import reader_at
from qwen_gateway.toolcall.formats.coder_xml import Elements
from qwen_gateway.toolcall.formats.others import Flower
from qwen_gateway.toolcall.formats.raw import Raw
from qwen_gateway.toolcall.markers import Markers

MARKERS = Markers("k7q2")
CASES: dict[str, type | None] = {
    "[TOOL CALL k7q2]\n{": Arguments,
    "[TOOL CALL k7q2] {": Arguments,
    "[TOOL CALL k7q2]\n```json\n{": Arguments,
    "[TOOL CALL]\n\n{": Arguments,
    "<tool_call>{": Arguments,
    "<tool_call>\n<function=x>": Elements,
    '<function_calls>\n<invoke name="x">': Elements,
    "[TOOL CALL k7q2]\n<function=x>": Elements,
    "<function=x>": Elements,
    '<invoke name="x">': Elements,
    "✿FUNCTION✿: x": Flower,
    "[TOOL CALL k7q2] x\n[ARG a]\n": Raw,
    "[TOOL CALL k7q2] x.y:z-1 \r\n[ARG a]\n": Raw,
    "[TOOL CALL k7q2] x\n[END TOOL CALL k7q2]\n": Raw,
    "[TOOL CALL k7q2] x\n[END TOOL CALL]\n": None,
    "[TOOL CALL] x\n[ARG a]\n": None,
    "[TOOL CALL k7q2] is a marker": None,
    "[TOOL CALL k7q2] x\ny": None,
    "[TOOL CALL k7q2]\n[1]": None,
    "[TOOL CALL k7q2]\n`x`": None,
    "[TOOL CALL k7q2]" + " " * 65 + "{": None,
    "<tool_call>\n<b>": None,
    "<tool_call>\n<b": None,
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_follows_a_marker_says_how_it_is_read(text: str, expected: type | None) -> None:
    marker = MARKERS.at(text, 0, final=True, line_start=True)
    assert marker is not None
    for end in range(marker.end, len(text) + 1):
        try:
            found = reader_at(text[:end], marker.end, marker, MARKERS, lambda _: None, final=False)
        except More:
            continue
        assert (type(found[0]) if found else None) is expected
        return
    pytest.fail("never decided")


def test_at_the_end_of_the_answer_nothing_follows() -> None:
    for text in (
        "[TOOL CALL k7q2]",
        "[TOOL CALL k7q2]\n```",
        "[TOOL CALL k7q2] x",
        "[TOOL CALL k7q2] x\n[AR",
        "<tool_call>\n<fun",
    ):
        marker = MARKERS.at(text, 0, final=True, line_start=True)
        assert marker is not None
        with pytest.raises(More):
            reader_at(text, marker.end, marker, MARKERS, lambda _: None, final=False)
        assert reader_at(text, marker.end, marker, MARKERS, lambda _: None, final=True) is None
