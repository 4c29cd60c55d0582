"""However an answer is cut, what comes out of it is the same; and what comes out is whole."""

import json
import re
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toolcall.answers import CLOSE, NONCE, OPEN, TOOLS, call, calls_of, check, joined, read, text_of

from qwen_gateway.toolcall.draft import quoted_in
from qwen_gateway.toolcall.pieces import CallArguments, CallBegan, CallEnded
from qwen_gateway.toolcall.sieve import Sieve

LONG = 'line "x"\n\\ ' * 300
ANSWERS = [
    "Just text, with [brackets], `code` and <tags>.\n```py\nx = {}\n```\n",
    "I look.\n\n" + call("Bash", command="ls"),
    call("Bash", command="ls") + "\n" + call("Read", file_path="/a", limit=3) + "\n" + call("ping"),
    call("Write", file_path="a", content=LONG) + "\nDone.",
    call("Write", file_path="a", content=LONG)[:3000],
    call("Bash", command="ls")[:50],
    "```json\n" + call("Bash", command="ls") + "\n```\n" + call("Bash", command="ls"),
    OPEN + '{"name":"Bash","arguments":{"command":"cd "/x" && echo "hi"","description":"d"}}' + CLOSE,
    OPEN + """{"name": "Bash", "arguments": {"command": "echo '{"k": "v", "k2": "w"}'"}}""" + CLOSE,
    OPEN + """{"name": "ping", "arguments": {"a": "echo '{"k": "v", "k2": "w"}'"}}""" + CLOSE,
    OPEN + '{"name": "Write", "arguments": {"content": "' + "x" * 2500 + ' "y" z", "file_path": "a"}}' + CLOSE,
    OPEN + '{"name": "Write", "arguments": {"content": "' + "x" * 2500 + ' "y" z", "other": "a"}}' + CLOSE,
    OPEN + '{name: "Bash", arguments: {command: "a\n\tb C:\\Users", }}}}}' + CLOSE + "[END TOOL C",
    OPEN + '{"name": "Edit", "arguments": {"tags": ["a", True, None, -1.5e3]' + CLOSE,
    OPEN + r'{"name": "Bash", "arguments": "{\"command\": \"a\\nb\"}"}' + CLOSE,
    OPEN + '{"arguments": {"command": "ls"}, "name": "bash"}',
    OPEN + '{"name": "Bash", "arguments": ["ls"]}' + CLOSE,
    OPEN + '{"name": "Bash", "arguments": {"command": "' + "\\u12",
    call("invented", a=1) + call("ping"),
    "x [TOOL CALL k7q2] y [TOOL CALL] z\n[TOOL CALL]\nwhat [tool calls](http://x)",
    "[TOOL CALL k7q2] Write\n[ARG file_path]\n[ARG content]\n[x]\n\n[ARG x]\n[END TOOL CALL]\n\n[END TOOL CALL k7q2]\n",
    "[TOOL CALL k7q2] Write\n[ARG content]\n" + "line \"x\"\n[y]\n" * 300 + "[END TOOL CALL k7q2] x",
    "[TOOL CALL k7q2] Read\n[ARG file_path]\n3\n[ARG limit]\n3\n[ARG whole]\nnull\n[END TOOL C",
    "[TOOL CALL k7q2] ping\n[END TOOL CALL k7q2]\n[TOOL CALL k7q2] Read\n[ARG nothing]\nx\n",
    "ok\n<tool_call>\n<function=Read>\n<parameter=file_path>\n</parameter> a\n</parameter>\n</function>\n</tool_call>",
    '<tool_call>\n{"name": "Bash", "arguments": {"command": "ls"}}\n</tool_call>\n<tool_response>\nx',
    '<function_calls><invoke name="Bash"><parameter name="command">ls</parameter></invoke></function_calls>',
    '✿FUNCTION✿: Bash\n✿ARGS✿: {"command": "ls"}\n✿RESULT✿: x',
    '{"tool_calls": [{"function": {"name": "Bash", "arguments": "{\\"command\\": \\"ls\\"}"}}, {"name": "ping"}]}',
    '```json\n{"name": "Bash", "arguments": {"command": "ls"}}\n```',
    '{"name": "Bash", "arguments": {"command": "ls"}} and ' + call("ping"),
    "x\n[TOOL RESULTS k7q2]\n--- k7q2 result 1 of 1: Bash ---\na\n--- k7q2 end of results ---\n" + call("ping"),
    call("Bash", command="ls") + "\n[TOOL RESULTS k7q2]\nx",
    call("Write", file_path="a", content=LONG) + "\n" + call("Write", content=LONG, file_path="a") + call("ping"),
    call("Write", file_path="a", content=LONG) + "\n" + call("Write", file_path="b", content=LONG) + call("ping"),
    "Says " + call("Bash", command="quoted") + " and\n" + call("Bash", command="quoted").replace(" k7q2", "") + "\nx",
    "\n \n```\n  \n~~~~\n" + OPEN + "```json\n" + '{"name": "ping"}' + "\n```" + CLOSE,
]  # fmt: skip
QUOTED = [call("Bash", command="quoted")]


@st.composite
def cut_answers(draw: st.DrawFn) -> tuple[str, list[str]]:
    answer = draw(st.sampled_from(ANSWERS))
    size = draw(st.sampled_from([1, 2, 3, 7, 12, 50, 1000]))
    places = draw(st.sets(st.integers(0, len(answer)), max_size=20)) | set(range(0, len(answer), size))
    cuts = [0, *sorted(places), len(answer)]
    return answer, [answer[start:end] for start, end in pairwise(cuts)]


@settings(deadline=None, max_examples=400)
@given(cut_answers(), st.sampled_from(["hybrid", "complete", "eager"]))
def test_any_cut_gives_the_same(cut: tuple[str, list[str]], commit: str) -> None:
    answer, pieces = cut
    options: dict[str, Any] = {"commit": commit, "quoted": QUOTED}
    assert read(*pieces, **options) == read(answer, **options)


def test_every_answer_by_single_characters() -> None:
    for answer in ANSWERS:
        assert read(*answer, quoted=QUOTED) == read(answer, quoted=QUOTED)


WORDS = [
    "[TOOL CALL k7q2]",
    "[TOOL CALL]",
    "[END TOOL CALL]",
    "<tool_call>",
    "</tool_call>",
    "<function=Bash>",
    "\n",
    " ",
    "`",
]
WORDS += [
    '{"name": "Bash", "arguments": {"command": "',
    '"}}',
    '"',
    "{",
    "}",
    "[",
    "x",
    "```",
    "\n```\n",
    "[ARG command]",
]
WORDS += ["<parameter=command>", "</parameter>", "</function>", "Bash\n", "--- k7q2 ", "\\", ", ", "✿FUNCTION✿: Bash\n"]


@settings(deadline=None, max_examples=600)
@given(st.lists(st.sampled_from(WORDS), max_size=14).map("".join), st.sampled_from(["bracket", "hermes"]))
def test_any_cut_of_odds_and_ends_gives_the_same_and_calls_are_whole(answer: str, taught: str) -> None:
    out = read(answer, format=taught)
    assert out == read(*answer, format=taught)
    sent: dict[int, str] = {}
    for one in out:
        match one:
            case CallBegan(index):
                sent[index] = ""
            case CallArguments(index, piece):
                sent[index] += piece
            case CallEnded(index, arguments):
                assert sent.pop(index) == arguments
                assert isinstance(json.loads(arguments), dict)
    assert not sent or any(type(one).__name__ == "Bad" for one in out)


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(ANSWERS), st.floats(0, 1), st.integers(1, 9), st.sampled_from(["bracket", "hermes"]))
def test_an_answer_that_is_cut_anywhere_shows_the_same_in_any_pieces_and_no_marker(
    answer: str, part: float, size: int, taught: str
) -> None:
    begun = answer[: int(len(answer) * part)]
    found = []
    for pieces in ([begun], [begun[start : start + size] for start in range(0, len(begun), size)]):
        sieve = Sieve(TOOLS, nonce=NONCE, check=check, quoted=quoted_in(QUOTED), format=taught)  # type: ignore[arg-type]
        out = [one for piece in pieces for one in sieve.feed(piece)]
        found.append(joined(out + sieve.close(cut=True)))
    assert found[0] == found[1]
    assert not re.search(r"^[\[<](TOOL|tool_|func)\w*[ _]?\w*\Z", text_of(found[0]), re.MULTILINE)


UNFENCED = st.text(st.sampled_from("ab \n[]<>{}-✿\"'"), max_size=30)
TEXTS = st.text(st.sampled_from("ab \n`~[]<>{}-✿\"'"), max_size=30)


@settings(deadline=None, max_examples=300)
@given(TEXTS)
def test_text_without_markers_comes_out_as_it_was(text: str) -> None:
    assert text_of(read(text)) == text_of(read(*text)) == text


@settings(deadline=None, max_examples=200)
@given(UNFENCED, st.lists(st.text(max_size=10), min_size=1, max_size=3, unique=True), st.integers(1, 9))
def test_text_and_calls_together_are_the_answer(text: str, commands: list[str], size: int) -> None:
    answer = f"a{text}a\n" + "\n".join(call("Bash", command=command) for command in commands)
    out = read(*(answer[start : start + size] for start in range(0, len(answer), size)))
    assert calls_of(out) == [("Bash", {"command": command}) for command in commands]
    assert text_of(out).rstrip() == f"a{text}a"
    assert NONCE not in text_of(out)
