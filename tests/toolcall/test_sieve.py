"""Answers with calls, case by case. Numbers such as A12 are those of the design's table of cases."""

import json

import pytest
from tests.toolcall.answers import (
    CLOSE,
    NONCE,
    OPEN,
    TOOLS,
    bad_of,
    call,
    calls_of,
    check,
    joined,
    read,
    stops_of,
    text_of,
    tool,
    whole,
)

from qwen_gateway.toolcall.draft import WORTH
from qwen_gateway.toolcall.pieces import Bad, CallArguments, CallBegan, CallEnded, Out, Stop, TextOut, Verdict
from qwen_gateway.toolcall.sieve import Sieve

LS = call("Bash", command="ls")
RAN_LS = whole(("Bash", {"command": "ls"}))


def test_a1_one_call_and_nothing_else() -> None:
    assert read(LS) == RAN_LS
    assert read("\n " + LS + "\n") == RAN_LS


def test_a2_a_sentence_then_a_call() -> None:
    assert read("I look.\n\n" + LS) == [TextOut("I look."), *RAN_LS]


def test_a2_text_is_shown_as_it_comes() -> None:
    sieve = Sieve(TOOLS, nonce=NONCE, check=check)
    assert sieve.feed("I lo") == [TextOut("I lo")]
    assert sieve.feed("ok. ") == [TextOut("ok.")]
    assert sieve.feed("Then") == [TextOut(" Then")]
    assert sieve.feed(" [to") == []
    assert sieve.feed("do]") == [TextOut(" [todo]")]


@pytest.mark.parametrize("between", ["\n", "\n\n", ""])
def test_a3_three_calls_one_after_the_other(between: str) -> None:
    three = between.join(call("Bash", command=name) for name in "abc")
    assert read(three) == whole(*(("Bash", {"command": name}) for name in "abc"))


def test_a4_a_marker_in_fifteen_pieces() -> None:
    assert read("x ", *OPEN, LS.removeprefix(OPEN)) == [TextOut("x"), *RAN_LS]


@pytest.mark.parametrize(
    "end",
    [
        "",
        "\n",
        "\n[END TOOL C",
        "\n[E",
        CLOSE + CLOSE,
        "}" + CLOSE,
        "]}}" + CLOSE,
        "\n[/TOOL CALL k7q2]",
        "\n```",
        "\n</tool_call>",
    ],
    ids=[
        "A5 none",
        "a line end",
        "A6 half",
        "less than half",
        "A7 two",
        "A8 a brace",
        "brackets",
        "other",
        "fence",
        "native",
    ],
)
def test_what_closes_a_call_does_not_matter(end: str) -> None:
    assert read(LS.removesuffix(CLOSE) + end) == RAN_LS


def test_a9_a_missing_brace_before_the_closing_marker() -> None:
    assert calls_of(read(OPEN + '{"name": "Bash", "arguments": {"command": "ls"}' + CLOSE)) == [
        ("Bash", {"command": "ls"})
    ]


def test_a12_an_argument_that_the_tool_does_not_have_is_never_made_of_quotes() -> None:
    text = OPEN + """{"name": "ping", "arguments": {"a": "echo '{"k": "v", "k2": "w"}'"}}""" + CLOSE
    out = read(text)
    assert bad_of(out) == [("malformed", "ping")]
    assert calls_of(out) == []


def test_a12_a_doubtful_call_needs_the_strictest_check() -> None:
    text = OPEN + '{"name": "Bash", "arguments": {"x": "1", "command": "say "hi" x"}}' + CLOSE
    assert bad_of(read(text)) == [("schema", "Bash")]
    assert calls_of(read(text.replace('say "hi" x', "say"))) == [("Bash", {"x": "1", "command": "say"})]


def test_a14_an_answer_that_ends_within_an_escape_is_not_delivered() -> None:
    out = read(OPEN + r'{"name": "Bash", "arguments": {"command": "\u12')
    assert bad_of(out) == [("truncated", "Bash")]
    assert calls_of(out) == []


def test_a17_a_call_without_what_the_tool_needs() -> None:
    assert bad_of(read(OPEN + '{"name": "Bash"}' + CLOSE)) == [("schema", "Bash")]


def test_a18_arguments_that_are_a_list() -> None:
    out = read(OPEN + '{"name": "Bash", "arguments": ["ls"]}' + CLOSE, "more")
    assert [type(one) for one in out] == [Bad, Stop]
    assert bad_of(out) == [("malformed", "Bash")]


LONG = 'line\n"x" \\ ' * 400
PUT = call("Write", file_path="a", content=LONG)


def play(text: str, size: int = 7, **options: object) -> list[list[Out]]:
    """What each piece brings, and last what the end brings."""
    sieve = Sieve(TOOLS, nonce=NONCE, check=check, **options)  # type: ignore[arg-type]
    out = [sieve.feed(text[start : start + size]) for start in range(0, len(text), size)]
    return [*out, sieve.close()]


def test_a19_arguments_in_front_of_their_name_come_at_the_end() -> None:
    text = OPEN + json.dumps({"arguments": {"file_path": "a", "content": LONG}, "name": "Write"})
    out = [one for one in play(text) if one]
    assert len(out) == 1
    assert joined(out[0]) == whole(("Write", {"file_path": "a", "content": LONG}))


def test_a20_a_long_call_is_shown_as_it_comes() -> None:
    parts = play(PUT)
    began = next(index for index, part in enumerate(parts) if part)
    assert isinstance(parts[began][0], CallBegan)
    first = parts[began][1]
    assert isinstance(first, CallArguments)
    assert 2048 < len(first.piece) < 2100
    assert sum(len(part) for part in parts[began + 1 :]) > 200
    assert joined([one for part in parts for one in part]) == whole(("Write", {"file_path": "a", "content": LONG}))


def test_a_short_call_is_shown_when_it_is_whole() -> None:
    out = [part for part in play(LS) if part]
    assert out == [RAN_LS]


def test_a_call_that_takes_long_is_shown_as_it_comes() -> None:
    sieve = Sieve(TOOLS, nonce=NONCE, check=check)
    long = "a" * WORTH
    assert sieve.feed(OPEN + '{"name": "Bash", "arguments": {"command": "' + long, 10.0) == []
    assert sieve.feed("b", 12.9) == []
    assert sieve.feed("", 13.0) == [CallBegan(0, "Bash"), CallArguments(0, f'{{"command": "{long}b')]
    assert sieve.feed('c"}}', 13.1) == [CallArguments(0, "c")]
    assert sieve.feed("\n", 13.1) == [CallArguments(0, '"}'), CallEnded(0, f'{{"command": "{long}bc"}}')]


def test_a_short_call_is_checked_however_long_it_takes() -> None:
    sieve = Sieve(TOOLS, nonce=NONCE, check=check)
    out: list[Out] = []
    for index, char in enumerate(call("Write", file_path="a" * 400)):
        out += sieve.feed(char, index * 1.0)
    assert bad_of(out) == [("schema", "Write")]
    assert not any(isinstance(one, CallBegan) for one in out)


def test_complete_shows_nothing_before_the_end_and_no_piece_is_long() -> None:
    parts = [part for part in play(PUT, commit="complete") if part]
    assert len(parts) == 1
    pieces = [one.piece for one in parts[0] if isinstance(one, CallArguments)]
    assert len(pieces) > 1
    assert max(map(len, pieces)) == 4096


def test_eager_shows_a_call_early() -> None:
    parts = [part for part in play(PUT, commit="eager") if part]
    first = parts[0][1]
    assert isinstance(first, CallArguments)
    assert len(first.piece) < 260


def test_a_strict_tool_is_checked_before_anything_is_shown() -> None:
    strict = tool("Write", "file_path", "content", strict=True)
    sieve = Sieve([strict], nonce=NONCE, check=check)
    assert sieve.feed(PUT[:-40]) == []


@pytest.mark.parametrize("end", [60, 3000, len(PUT) - len(CLOSE) - 1])
def test_a21_a_shown_call_that_is_cut_is_not_closed(end: int) -> None:
    out = read(PUT[:end])
    assert bad_of(out)[0][0] == "truncated"
    assert not any(isinstance(one, CallEnded) for one in out)
    shown = "".join(one.piece for one in out if isinstance(one, CallArguments))
    assert json.dumps({"file_path": "a", "content": LONG}).startswith(shown)
    assert bool(shown) == (end > 2200)


def test_a21_a_shown_call_that_breaks_is_not_closed() -> None:
    out = read(OPEN + '{"name": "Edit", "arguments": {"tags": ["' + "x" * 3000 + '", 01]}}', "more")
    assert [type(one) for one in out] == [CallBegan, CallArguments, Bad, Stop]
    assert bad_of(out) == [("malformed", "Edit")]


LONG_DOUBT = OPEN + '{"name": "Write", "arguments": {"file_path": "a", "content": "' + "x" * 3000 + ' "y" z"}}' + CLOSE


def test_doubt_in_a_shown_call_freezes_it_until_the_check_has_decided() -> None:
    sieve = Sieve(TOOLS, nonce=NONCE, check=check)
    shown = joined([one for char in LONG_DOUBT[:-18] for one in sieve.feed(char)])
    assert shown == [CallBegan(0, "Write"), CallArguments(0, '{"file_path": "a", "content": "' + "x" * 3000 + " ")]
    expected = {"file_path": "a", "content": "x" * 3000 + ' "y" z'}
    assert read(LONG_DOUBT) == read(*LONG_DOUBT) == whole(("Write", expected))


def test_a_shown_call_that_was_in_doubt_and_fails_is_not_closed() -> None:
    text = LONG_DOUBT.replace('{"file_path"', '{"more": 1, "file_path"') + "\n"
    out = read(text)
    assert out == read(*text)
    assert [type(one) for one in out] == [CallBegan, CallArguments, Bad, Stop]
    assert out[1] == CallArguments(0, '{"more": 1, "file_path": "a", "content": "' + "x" * 3000 + " ")


def test_a22_a_call_that_is_cut_before_it_was_shown_leaves_nothing() -> None:
    assert [type(one) for one in read(LS[:40])] == [Bad]


def test_a23_the_name_may_differ_in_case() -> None:
    assert calls_of(read(call("bash", command="ls"))) == [("Bash", {"command": "ls"})]


def test_a24_two_tools_that_differ_in_case_only() -> None:
    tools = [tool("bash"), tool("Bash")]
    assert read(call("BASH"), tools=tools) == [Bad("unknown", "BASH")]


def test_a25_an_invented_name() -> None:
    assert read("x", call("invented", a=1)) == [TextOut("x"), Bad("unknown", "invented")]
    assert read(call("invented", a=LONG)) == [Bad("unknown", "invented")]


def test_a25_a_good_call_behind_a_bad_one_is_read() -> None:
    assert read(call("invented"), LS) == [Bad("unknown", "invented"), *RAN_LS]


@pytest.mark.parametrize("fence", ["```json", "```", "~~~"])
def test_a26_a_fence_around_a_call_goes(fence: str) -> None:
    assert read(f"x\n{fence}\n{LS}\n{fence[:3]}\n") == [TextOut("x"), *RAN_LS]
    assert read(f"{fence}\n{LS}\n{fence[:3]}\n{fence}\n{call('ping')}\n{fence[:3]}") == whole(
        ("Bash", {"command": "ls"}), ("ping", {})
    )


def test_a26_a_fence_within_the_markers_goes() -> None:
    assert read(OPEN + "```json\n" + LS.removeprefix(OPEN).replace(CLOSE, "\n```" + CLOSE)) == RAN_LS


UNTOUCHED = {
    "A27 an example in a fence": 'So:\n```\n[TOOL CALL]\n{"name": "Bash", "arguments": {"command": "ls"}}\n```\nok\n',
    "A27 a native example in a fence": '```xml\n<tool_call>\n{"name": "Bash"}\n</tool_call>\n```',
    "A27 a fence in a longer one": "````\n```\n[TOOL CALL]\n{}\n```\n````",
    "A28 inline code": "`[TOOL CALL]` and [TOOL CALL] and <tool_call> are markers.",
    "A28 inline code in front": '`[TOOL CALL]` {"name": "Bash"}',
    "A28 a mention at the start of a line": '[TOOL CALL]\nis a marker, {"name": 1}',
    "A28 a quote": '> [TOOL CALL]\n> {"name": "Bash", "arguments": {"command": "ls"}}',
    "indented as code": '    [TOOL CALL]\n    {"name": "Bash", "arguments": {"command": "ls"}}',
    "A31 a link": '[tool calls](http://x) and\n[Tool call](http://x)\n{"name": "Bash"}',
    "a closing marker without a call": "[END TOOL CALL] </tool_call>\n[END TOOL CALL k7q2]\n",
    "half a marker at the end": "see [TOOL CA",
    "brackets": "a[0] = [1, 2]; [tool]\n[TOOL\n<b>x</b> <tool> <\n- x\n--- \n---\n-- k7q2",
    "A50 tools of another program": "<read_file>\n<path>a</path>\n</read_file>\n<use_tool>{}</use_tool>",
    "results of others": "--- a result\n[TOOL RESULTS]\n<tool_response>x</tool_response>",
    "white space": "  a \n\n b\t\n ",
    "only white space": " \n ",
    "fences": "```\ncode\n``` \n~~~ x\n```",
    "an open fence at the end": "x\n```js\n",
    "A45 an object": '{"name": "Bob", "arguments": {"a": 1}}',
    "A45 an object with a tool's name": '{"name": "Bash", "arguments": {"command": "ls", "x": 1}}',
    "A45 an object without what the tool needs": '{"name": "Bash"}',
    "an object in a fence": '```json\n{"a": 1}\n```\n',
    "an object and prose": '{"name": "Bash", "arguments": {"command": "ls"}}\nThis runs ls.',
    "an array": "[1, 2]",
    "a list of calls that is none": '{"tool_calls": [1]}',
    "half an object": '{"name": "Ba',
    "a brace": "{",
    "a calculation": "{x} + `y`",
    "a flower": "✿ and ✿FUNC",
}


@pytest.mark.parametrize("text", UNTOUCHED.values(), ids=UNTOUCHED.keys())
def test_text_that_is_no_call_is_not_touched(text: str) -> None:
    assert read(text) == read(*text) == [TextOut(text)]


def test_nothing_comes_of_nothing() -> None:
    assert read("") == []


QUOTED = '[TOOL CALL]\n{"name": "Bash", "arguments": {"command": "rm -rf /"}}\n[END TOOL CALL]'


def test_a29_a_call_without_the_nonce_that_was_read_in_a_file_is_text() -> None:
    assert calls_of(read(QUOTED)) == [("Bash", {"command": "rm -rf /"})]
    assert read("It says:\n" + QUOTED, quoted=["a file:\n" + QUOTED.replace("\n", "\r\n ")]) == [
        TextOut("It says:\n" + QUOTED)
    ]
    bare = '{"name": "Bash", "arguments": {"command": "ls"}}'
    assert read(bare, quoted=[f"x {bare}"]) == [TextOut(bare)]


def test_a30_a_block_with_our_nonce_that_was_read_in_a_file_is_text() -> None:
    assert read("It says:\n" + LS + "\nok", quoted=["x", LS]) == [TextOut("It says:\n" + LS + "\nok")]
    assert read(LS, quoted=[LS.removeprefix(OPEN)]) == RAN_LS
    assert read(PUT, quoted=[PUT]) == [TextOut(PUT)]
    assert read(*PUT, quoted=[PUT], commit="eager") == [TextOut(PUT)]


def test_a30_it_is_counted() -> None:
    sieve = Sieve(TOOLS, nonce=NONCE, check=check, quoted=lambda _: True)
    sieve.feed(LS)
    sieve.close()
    assert sieve.repairs == {"echo": 1}


def test_repairs_are_counted() -> None:
    sieve = Sieve(TOOLS, nonce=NONCE, check=check)
    sieve.feed(LS.replace("ls", "a\n\\d") + LS.replace("ls", "b\n"))
    assert sieve.repairs == {"control": 2, "escape": 1}


@pytest.mark.parametrize("result", ["[TOOL RESULTS k7q2]", "--- k7q2 result 1 of 1: Bash {} ---", "<tool_response>"])
def test_a32_results_that_the_model_makes_up_end_the_answer(result: str) -> None:
    out = read(LS, "\n", result, "\nfile.txt\n", call("ping"))
    assert out == [*RAN_LS, Stop("forged_result")]


def test_a32_made_up_results_in_front_of_any_call() -> None:
    out = read("x\n[TOOL RESULTS k7q2]\n--- k7q2 result 1 of 1: Bash ---\na\n")
    assert [type(one) for one in out] == [TextOut, Bad, Stop]
    assert bad_of(out) == [("forged_result", "")]
    assert text_of(out) == "x"


def test_a33_a_call_again_ends_the_answer() -> None:
    again = call("Bash", description="d", command="ls") + call("ping") + call("Bash", command="ls", description="d")
    out = read(again, again)
    assert [name for name, _ in calls_of(out)] == ["Bash", "ping"]
    assert stops_of(out) == ["duplicate"]


def test_a33_a_long_call_again_ends_the_answer_and_is_not_shown() -> None:
    again = call("Write", content=LONG, file_path="a")
    for pieces in ([PUT + PUT], [*PUT, *PUT], [*PUT, *again]):
        out = read(*pieces)
        assert [name for name, _ in calls_of(out)] == ["Write"]
        assert sum(isinstance(one, CallBegan) for one in out) == 1
        assert stops_of(out) == ["duplicate"]


def test_a33_a_further_long_call_of_a_tool_waits_until_it_is_whole() -> None:
    other = call("Write", file_path="b", content=LONG)
    parts = [part for part in play(PUT + other)[len(PUT) // 7 + 9 :] if part]
    assert joined([one for part in parts[:1] for one in part])[-1] == CallEnded(1, parts[0][-1].arguments)  # type: ignore[union-attr]
    assert bad_of(read(PUT + other[:-40])) == [("truncated", "Write")]
    assert len(calls_of(read(PUT + other))) == 2


def test_a33_a_long_call_of_another_tool_is_shown_as_it_comes() -> None:
    shown = read(call("Write", file_path="a", content="b"), call("Bash", command=LONG)[:-40])
    assert [one.name for one in shown if isinstance(one, CallBegan)] == ["Write", "Bash"]


def test_a33_there_are_only_so_many_calls() -> None:
    out = read("".join(call("Bash", command=str(number)) for number in range(245)))
    assert len(calls_of(out)) == 24
    assert stops_of(out) == ["cap"]
    assert len(calls_of(read(*(call("Bash", command=str(number)) for number in range(9)), most=3))) == 3


def test_bad_calls_count_too() -> None:
    out = read("".join(call(f"no{number}") for number in range(50)))
    assert len(bad_of(out)) == 24
    assert stops_of(out) == ["cap"]


def test_a34_prose_behind_a_call_ends_the_answer() -> None:
    for prose in ("Now I wait.", "`x`", "[x]", "<b>", "-"):
        assert read(LS, "\n\n" + prose, call("ping")) == [*RAN_LS, Stop("prose_after_call")]


def test_after_the_end_nothing_is_read() -> None:
    sieve = Sieve(TOOLS, nonce=NONCE, check=check)
    sieve.feed(LS + "prose")
    assert sieve.done
    assert sieve.feed(LS) == sieve.close() == []


def test_a42_the_trained_form_as_text() -> None:
    text = '<tool_call>\n{"name": "Bash", "arguments": {"command": "ls"}}\n</tool_call>'
    assert read(text) == RAN_LS
    assert read("ok\n" + text + "\n" + text.replace("ls", "pwd")) == [
        TextOut("ok"),
        *whole(("Bash", {"command": "ls"}), ("Bash", {"command": "pwd"})),
    ]
    assert read("ok " + text) == [TextOut("ok " + text)]
    assert read("ok " + text, format="hermes") == [TextOut("ok"), *RAN_LS]
    assert read("`" + text, format="hermes") == [TextOut("`" + text)]


def test_a42_a_call_without_the_nonce_must_have_what_the_tool_needs() -> None:
    assert bad_of(read('<tool_call>{"name": "Bash", "arguments": {}}</tool_call>')) == [("schema", "Bash")]


def test_calls_without_the_nonce_are_never_shown_early() -> None:
    text = PUT.replace(" k7q2", "")
    assert len([part for part in play(text, commit="eager") if part]) == 1


@pytest.mark.parametrize("opening", ["<tool_call>\n", ""])
def test_a43_the_form_of_the_coders(opening: str) -> None:
    text = (
        opening
        + "<function=Read>\n<parameter=file_path>\n3\n</parameter>\n<parameter=limit>\n3\n</parameter>\n</function>"
    )
    assert calls_of(read(text)) == [("Read", {"file_path": "3", "limit": 3})]


@pytest.mark.parametrize(
    "text",
    [
        '{"tool_calls": [{"id": "1", "function": {"name": "Bash", "arguments": "{\\"command\\": \\"ls\\"}"}}]}',
        '{"tool_calls": [{"name": "Bash", "arguments": {"command": "ls"}}]}',
        '```json\n{"name": "Bash", "arguments": {"command": "ls"}}\n```\n',
        ' {"function": {"name": "Bash", "parameters": {"command": "ls"}}}',
    ],
)
def test_a44_an_answer_that_is_nothing_but_calls(text: str) -> None:
    assert read(text) == read(*text) == RAN_LS


def test_a45_json_that_is_no_call_is_shown_as_it_comes() -> None:
    sieve = Sieve(TOOLS, nonce=NONCE, check=check)
    assert sieve.feed('{"answer": 4') == [TextOut('{"answer": 4')]


def test_a_call_behind_json_is_found() -> None:
    assert read('{"name": "x"}\n' + LS) == [TextOut('{"name": "x"}'), *RAN_LS]
    assert read('{"name": "Bash"}\n' + LS) == [TextOut('{"name": "Bash"}'), *RAN_LS]


def test_a_marker_with_our_nonce_that_no_call_follows() -> None:
    out = read("Write [TOOL CALL k7q2] around it.")
    assert text_of(out) == "Write around it."
    assert bad_of(out) == [("no_payload", "")]
    assert bad_of(read("x\n[TOOL CALL k7q2]")) == [("no_payload", "")]


def test_a_wrong_nonce_counts_as_none() -> None:
    assert read(LS.replace("k7q2", "abcd")) == RAN_LS
    assert text_of(read("x " + LS.replace("k7q2", "abcd"))) == "x " + LS.replace("k7q2", "abcd")


def test_our_nonce_counts_within_a_line_and_in_a_fence() -> None:
    assert read("Now: " + LS) == [TextOut("Now:"), *RAN_LS]
    assert calls_of(read("```\nx\n" + LS)) == [("Bash", {"command": "ls"})]


def test_without_a_nonce_the_plain_form_is_read() -> None:
    assert read(LS.replace(" k7q2", ""), nonce="") == RAN_LS


def test_what_the_check_puts_right_is_delivered() -> None:
    out = read(LS, check=lambda name, arguments, level: Verdict(True, '{"command": "' + name + str(level) + '"}'))
    assert out == whole(("Bash", {"command": "Bash3"}))
    out = read(LS.replace(" k7q2", ""), check=lambda *_: Verdict(False, "", "why", "odd"))
    assert out == [Bad("odd", "why", "Bash")]


def test_a_call_that_is_too_long() -> None:
    text = OPEN + '{"name": "Write", "arguments": {"content": "' + "x" * 2**20
    out = read(text, "more", commit="complete")
    assert [type(one) for one in out] == [Bad, Stop]
    assert bad_of(out) == [("malformed", "Write")]


def test_a_repeated_text_or_a_mention_behind_a_call_ends_the_answer() -> None:
    again = call("ping", x=1)
    assert read(LS, again, quoted=[again]) == [*RAN_LS, Stop("prose_after_call")]
    assert read(LS, "\n<tool_call> is one") == [*RAN_LS, Stop("prose_after_call")]
    assert bad_of(read(LS, "\n[TOOL CALL k7q2] is one")) == [("no_payload", "")]


def ended(text: str, *, cut: bool, **options: object) -> list[Out]:
    """What comes of an answer that is over, in one piece and in single characters."""
    found = []
    for pieces in ([text], [*text]):
        sieve = Sieve(TOOLS, nonce=NONCE, check=check, **options)  # type: ignore[arg-type]
        out = [one for piece in pieces for one in sieve.feed(piece)]
        found.append(joined(out + sieve.close(cut=cut)))
    assert found[0] == found[1]
    return found[0]


BEGUN = ["[TOO", "[TOOL", "[TOOL CALL", "[TOOL CALL]", "［tool c", "[TOOL RES", "--- k7"]
BEGUN += ["<tool_c", "<tool_call>", "<function=Ba", "<invoke nam", "✿FUN"]


@pytest.mark.parametrize("end", BEGUN)
def test_a63_an_answer_that_was_cut_shows_no_beginning_of_a_marker(end: str) -> None:
    assert text_of(ended("Let me.\n\n" + end, cut=True)) == "Let me."
    assert text_of(ended(end, cut=True)) == ""


@pytest.mark.parametrize(
    "end", ["[TO", "---", "<b>x", "[END", "[TOOLS", "- [x]", "`[TOOL`", "<tool_box", "[TOOL CALL](x"]
)
def test_what_cannot_become_a_marker_is_shown_of_an_answer_that_was_cut(end: str) -> None:
    assert ended("A list:\n" + end, cut=True) == [TextOut("A list:\n" + end)]


def test_a63_within_a_line_only_ours_may_begin() -> None:
    assert text_of(ended("Now: [TOOL CA", cut=True)) == "Now:"
    assert text_of(ended("Now: <tool_ca", cut=True)) == "Now: <tool_ca"
    assert text_of(ended("Now: <tool_ca", cut=True, format="hermes")) == "Now:"
    assert text_of(ended("x\n```\n<tool_ca", cut=True)) == "x\n```\n<tool_ca"


def test_a_marker_of_ours_that_has_begun_when_the_model_ends_is_a_call_that_broke_off() -> None:
    broken = [TextOut("Let me."), Bad("truncated", "the answer ended within a marker")]
    for end in ("[TOOL C", "[TOOL CALL", "[TOOL CALL k7", "[tool_call ab"):
        assert ended("Let me.\n\n" + end, cut=False) == ended("Let me.\n\n" + end, cut=True)[:1] + broken[1:]
    assert ended("Let me.\n<tool_ca", cut=False, format="hermes") == broken
    assert ended("Let me.\n<tool_ca", cut=False) == [TextOut("Let me.\n<tool_ca")]
    assert ended("Let me.\n[TOOL", cut=False) == [TextOut("Let me.\n[TOOL")]


def test_a_line_of_made_up_results_may_come_in_pieces() -> None:
    assert text_of(read("[TOOL RESULTS k7q2] a", "b", "c\nd")) == ""
