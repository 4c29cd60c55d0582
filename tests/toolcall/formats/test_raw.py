import json

import pytest
from tests.toolcall.answers import NONCE, TOOLS

from qwen_gateway.toolcall.formats.raw import Raw
from qwen_gateway.toolcall.markers import Markers

SCHEMAS = {one.name: one.parameters for one in TOOLS}
END = "[END TOOL CALL k7q2]"


def run(text: str) -> Raw:
    at_once, by_one = Raw(SCHEMAS.get, Markers(NONCE)), Raw(SCHEMAS.get, Markers(NONCE))
    at_once.feed(text)
    at_once.finish()
    taken = ""
    for char in text:
        by_one.feed(char)
        taken += by_one.take()
    by_one.finish()
    taken += by_one.take()
    assert taken == at_once.arguments == by_one.arguments
    assert (at_once.state, at_once.why, at_once.name, at_once.rest) == (
        by_one.state,
        by_one.why,
        by_one.name,
        by_one.rest,
    )
    return at_once


WRITTEN = {
    "two texts": ("Write\n[ARG file_path]\n/a\n[ARG content]\nx\n", {"file_path": "/a", "content": "x"}),
    "no arguments": ("ping\n", {}),
    "blanks": ("  Write  \r\n\n [ARG".replace(" [ARG", "[ARG") + " content]  \r\nx\n", {"content": "x"}),
    "one line end at each side": ("Write\n[ARG content]\n\nx\n\n", {"content": "\nx\n"}),
    "an empty text": ("Write\n[ARG content]\n\n", {"content": ""}),
    "an empty text without a line": ("Write\n[ARG content]\n", {"content": ""}),
    "any characters": ('Write\n[ARG content]\n"\\d" {}\t<x>\u2028\n', {"content": '"\\d" {}\t<x>\u2028'}),
    "lines that look like arguments": (
        "Write\n[ARG content]\n[ARG other]\n[ARG content]\n[ARG file_path] x\n [ARG file_path]\n[x\n",
        {"content": "[ARG other]\n[ARG content]\n[ARG file_path] x\n [ARG file_path]\n[x"},
    ),
    "lines that look like the end": (
        "Write\n[ARG content]\n[END TOOL CALL]\nx [END TOOL CALL k7q2]\n[END TOOL CALL abcd]\n[TOOL CALL k7q2]\n",
        {"content": "[END TOOL CALL]\nx [END TOOL CALL k7q2]\n[END TOOL CALL abcd]\n[TOOL CALL k7q2]"},
    ),
    "types": (
        "Read\n[ARG file_path]\n3\n[ARG limit]\n 3 \n[ARG whole]\nTrue\n",
        {"file_path": "3", "limit": 3, "whole": True},
    ),
    "null": ("Read\n[ARG whole]\nnull\n", {"whole": None}),
    "what does not fit its type": ("Read\n[ARG limit]\nmany\n", {"limit": "many"}),
    "JSON": ('Edit\n[ARG edits]\n[{"old": "a",\n "new": "b"}]\n', {"edits": [{"old": "a", "new": "b"}]}),
    "a tool that is none": ("other\n[ARG a]\n1\n[ARG b]\n2\n", {"a": "1", "b": "2"}),
}


@pytest.mark.parametrize(("text", "expected"), WRITTEN.values(), ids=WRITTEN.keys())
def test_what_is_read(text: str, expected: dict[str, object]) -> None:
    read = run(text + END + " rest")
    assert read.state == "whole", read.why
    assert json.loads(read.arguments) == expected
    assert read.rest == " rest"


def test_a_closing_marker_of_which_half_is_there() -> None:
    assert run("Write\n[ARG content]\nx\n[END TOOL C").state == "whole"
    assert run("Write\n[ARG content]\nx\n[EN").state == "cut"


@pytest.mark.parametrize(
    "text", ["Write", "Write\n", "Write\n[ARG", "Write\n[ARG content]\n", "Write\n[ARG content]\nx\n"]
)
def test_an_answer_that_ends_within_a_call(text: str) -> None:
    assert run(text).state == "cut"


@pytest.mark.parametrize("text", ["Write\nx\n", "Write\n[ARG other]\nx\n", "Write\n[x]\n", "Write\n[ARG content]x\n"])
def test_what_is_refused(text: str) -> None:
    read = run(text + END)
    assert read.state == "broken"
    assert "near" in read.why


def test_text_is_ready_as_it_comes_and_little_is_kept() -> None:
    read = Raw(SCHEMAS.get, Markers(NONCE))
    read.feed("Write\n[ARG content]\n")
    for number in range(1, 500):
        read.feed("line\n[x] l\n")
        assert read.ready >= number * 10
        assert len(read._text) < 20
