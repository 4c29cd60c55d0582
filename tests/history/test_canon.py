"""Lists of messages: which say the same, and which do not."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.history import canon
from qwen_gateway.turn.files import FilePart, Remote
from qwen_gateway.turn.places import StoredMessage
from qwen_gateway.turn.request import Message, ReasoningPart, Role, TextPart, ToolCallPart, ToolResultPart

from .talks import CALLS, FILES, MESSAGES, TEXTS, assistant, call, canons, file, result, system, user

READ = call("c1", "Read", '{"path": "/a"}')
BASH = call("c2", "Bash", '{"command": "ls"}')
CAT, DOG = file("sha256:ca7", "cat.png"), file("sha256:d06", "dog.png")


def shown(*parts: TextPart | FilePart) -> Message:
    return Message("user", parts)


def returned(text: str, *files: FilePart) -> Message:
    return Message("user", (ToolResultPart("c1", text, files=files),))


# --- texts ---


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("", ""),
        ("a", "a"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a \t\nb\t\n \nc", "a\nb\n\nc"),
        ("\n\n \ta\n\n", "a"),
        ("a\u0301", "á"),
        ("a  b\n\n\n  c\td", "a  b\n\n\n  c\td"),
        ("\u00a0a\u00a0", "\u00a0a\u00a0"),
        ("**A** `b` &amp; \x00", "**A** `b` &amp; \x00"),
        ("a\t\nb", "a\nb"),
        ("a \r\nb", "a\nb"),
    ],
)
def test_a_text_keeps_all_but_line_ends_and_blanks_at_ends(text: str, same: str) -> None:
    assert canon.canonical(text) == same


@given(st.text(alphabet=st.sampled_from(" \t\r\nae\u0301\u0323é搜")))
def test_a_canonical_text_is_its_own_canonical_text(text: str) -> None:
    said = canon.canonical(text)
    assert canon.canonical(said) == said
    assert unicodedata.is_normalized("NFC", said)
    assert not re.search(r"\r|[ \t]$|\A[ \t\n]|\n\Z", said, re.MULTILINE)


def test_more_marks_on_a_letter_than_any_language_has_stay_as_they_are() -> None:
    """Sorting them takes quadratic time: a text of 200 KB would take 7 s."""
    marks = "\u0301\u0323"
    assert canon.canonical(f" a{marks * 50}\r\n") == unicodedata.normalize("NFC", f"a{marks * 50}")
    assert canon.canonical(f" a{marks * 51}\r\n") == f"a{marks * 51}"
    assert canon.canonical("\u2126") == "\u03a9"


@given(st.text())
def test_nothing_that_is_not_blank_is_lost_from_a_text(text: str) -> None:
    said = canon.canonical(text)
    assert re.sub(r"[ \t\r\n]", "", said) == re.sub(r"[ \t\r\n]", "", unicodedata.normalize("NFC", text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<think>a\nb</think>\n\nyes", "yes"),
        ("\n<think></think> <think>b</think>\tyes ", "yes"),
        ('<details type="reasoning" done="true">\n<summary>x</summary>\n> a\n</details>\nyes', "yes"),
        ('<details type="reasoning">a</details><think>b</think>yes', "yes"),
        ("<think>only</think>", ""),
        ("yes <think>a</think>", "yes <think>a</think>"),
        ("<think>never ends", "<think>never ends"),
        ("<details>a</details>yes", "<details>a</details>yes"),
        ('<details type="tool_calls">a</details>yes', '<details type="tool_calls">a</details>yes'),
        ("<think>a</think>yes</think>", "yes</think>"),
    ],
)
def test_reasoning_in_front_of_an_answer_is_no_part_of_it(text: str, said: str) -> None:
    assert canon.spoken(text) == said
    assert canon.answer(text).text == said
    assert canons(assistant(text)) == canons(assistant(said))


def test_text_in_marks_of_reasoning_counts_where_a_user_writes_it() -> None:
    assert canons(user("<think>a</think>yes")) != canons(user("yes"))


# --- shapes that say the same ---

SAME: dict[str, tuple[list[Message], list[Message]]] = {
    "B8 reasoning in the content": ([assistant("<think>hm</think>\nyes")], [assistant("yes")]),
    "B9 line ends and blanks": ([user("a \r\nb\n")], [user("a\nb")]),
    "B10 parts instead of a text": ([user("a", "b")], [user("a\nb")]),
    "B43 a details block": ([assistant('<details type="reasoning" a="b">x</details>\nyes')], [assistant("yes")]),
    "two user messages": ([user("a"), user("b")], [user("a", "b")]),
    "two answers": ([assistant("a"), assistant("b")], [assistant("a\nb")]),
    "an empty answer beside another": ([assistant(""), assistant("b"), assistant()], [assistant("b")]),
    "reasoning in each of two answers": (
        [assistant("<think>x</think>a"), assistant("<think>y</think>\n\n b")],
        [assistant("a", "b")],
    ),
    "reasoning parts": ([Message("assistant", (ReasoningPart("hm"), TextPart("a")))], [assistant("a")]),
    "an answer and its calls in two messages": (
        [assistant("a"), assistant(calls=[READ])],
        [assistant("a", calls=[READ])],
    ),
    "B24 ids rewritten, arguments written anew": (
        [assistant(calls=[call("c1", "f", '{"b": 1.0, "a":\n"\\u00e9"}')]), result("c1", "x")],
        [assistant(calls=[call("toolu_7", "f", '{"a":"é","b":1}')]), result("toolu_7", "x")],
    ),
    "no arguments": ([assistant(calls=[call("c", "f", " ")])], [assistant(calls=[call("c", "f", "{ }")])]),
    "B46 results as messages of their own, or before the user's text": (
        [assistant(calls=[READ, BASH]), result("c1", "x"), result("c2", "y"), user("go on")],
        [
            assistant(calls=[READ, BASH]),
            Message("user", (ToolResultPart("c1", "x"), ToolResultPart("c2", "y"), TextPart("go on"))),
        ],
    ),
    "B50 nothing said in three ways": ([user("")], [user()]),
    "B50 blanks": ([user(" \n")], [user()]),
    "an empty text beside a result": ([user(""), result("c", "x"), user(" ")], [result("c", "x")]),
    "parts that only an answer can have": (
        [Message("user", (READ, ReasoningPart("hm"), TextPart("a")))],
        [user("a")],
    ),
    "an instruction in parts": ([user("a"), system("b", "c")], [user("a"), system("b\nc")]),
    "an empty instruction": ([user("a"), system("")], [user("a")]),
    "a file by another name, and of another kind": (
        [shown(TextPart("a"), CAT)],
        [shown(TextPart("a"), file(CAT.identity, "c.txt", "document", text="miaow"))],
    ),
    "a file in a message of its own": ([shown(TextPart("a"), CAT)], [user("a"), shown(CAT)]),
    "a file beside an empty text": ([shown(TextPart(" "), CAT)], [shown(CAT)]),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME.keys())
def test_these_say_the_same(one: list[Message], other: list[Message]) -> None:
    assert canons(*one) == canons(*other)
    assert [group.bare for group in canon.read(one).groups] == [group.bare for group in canon.read(other).groups]


DIFFERENT: dict[str, tuple[list[Message], list[Message]]] = {
    "case": ([user("a")], [user("A")]),
    "markdown": ([assistant("**a**")], [assistant("a")]),
    "white space within a line": ([user("a  b")], [user("a b")]),
    "indentation": ([user("a\n b")], [user("a\nb")]),
    "blank lines within": ([user("a\n\nb")], [user("a\nb")]),
    "an empty group between two answers": (
        [assistant("a"), user(""), assistant("b")],
        [assistant("a"), assistant("b")],
    ),
    "B25 arguments edited": ([assistant(calls=[READ])], [assistant(calls=[call("c1", "Read", '{"path": "/b"}')])]),
    "the tool's name": ([assistant(calls=[READ])], [assistant(calls=[call("c1", "read", '{"path": "/a"}')])]),
    "the order of calls": ([assistant(calls=[READ, BASH])], [assistant(calls=[BASH, READ])]),
    "the calls' number": ([assistant(calls=[READ, READ])], [assistant(calls=[READ])]),
    "text that looks like a call": ([assistant("call 4:Readjson 2:{}")], [assistant(calls=[call("c", "Read")])]),
    "arguments that are no JSON, and JSON": (
        [assistant(calls=[call("c", "f", "NaN")])],
        [assistant(calls=[call("c", "f", '"NaN"')])],
    ),
    "true and one": ([assistant(calls=[call("c", "f", "[true]")])], [assistant(calls=[call("c", "f", "[1]")])]),
    "the results' order of calls": (
        [assistant(calls=[READ, BASH]), result("c1", "x")],
        [assistant(calls=[READ, BASH]), result("c2", "x")],
    ),
    "B26 a result cleared in place": (
        [assistant(calls=[READ]), result("c1", "x")],
        [assistant(calls=[READ]), result("c1", "[cleared]")],
    ),
    "a result and the same text": ([assistant(calls=[READ]), result("c1", "x")], [assistant(calls=[READ]), user("x")]),
    "a result of no known call": (
        [assistant(calls=[READ]), result("c1", "x")],
        [assistant(calls=[READ]), result("?", "x")],
    ),
    "an empty result and none": ([assistant(calls=[READ]), result("c1", "")], [assistant(calls=[READ]), user()]),
    "B48 an instruction and the same text": ([user("a"), system("b")], [user("a"), user("b")]),
    "one instruction and two": ([user("a"), system("b"), system("c")], [user("a"), system("b\nc")]),
    "a text before a result and after": ([user("a"), result("c", "x")], [result("c", "x"), user("a")]),
    "B28 a file replaced": ([shown(TextPart("a"), CAT)], [shown(TextPart("a"), DOG)]),
    "a file and none": ([shown(TextPart("a"), CAT)], [user("a")]),
    "a file once and twice": ([shown(CAT)], [shown(CAT, CAT)]),
    "the order of files": ([shown(CAT, DOG)], [shown(DOG, CAT)]),
    "a text before a file and after": ([shown(TextPart("a"), CAT)], [shown(CAT, TextPart("a"))]),
    "one text, and two around a file": (
        [shown(TextPart("a\nb"), CAT)],
        [shown(TextPart("a"), CAT, TextPart("b"))],
    ),
    "a file and a text that looks like one": ([shown(CAT)], [user("sha256:ca7")]),
    "a file and its address": ([shown(file("sha256:ca7"))], [shown(file("url:sha256:ca7"))]),
    "a result's file and one beside it": (
        [assistant(calls=[READ]), returned("x", CAT)],
        [assistant(calls=[READ]), returned("x"), shown(CAT)],
    ),
    "a result's file replaced": (
        [assistant(calls=[READ]), returned("x", CAT)],
        [assistant(calls=[READ]), returned("x", DOG)],
    ),
    "whose result a file is": (
        [assistant(calls=[READ, BASH]), returned("x", CAT), result("c2", "y")],
        [assistant(calls=[READ, BASH]), returned("x"), Message("user", (ToolResultPart("c2", "y", files=(CAT,)),))],
    ),
    "a file of an instruction": ([user("a"), system("b")], [user("a"), Message("system", (TextPart("b"), CAT))]),
    "a file of an answer": ([assistant("b")], [Message("assistant", (TextPart("b"), CAT))]),
    "a file of one answer and another": ([Message("assistant", (DOG,))], [Message("assistant", (CAT,))]),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_these_do_not_say_the_same(one: list[Message], other: list[Message]) -> None:
    assert canons(*one) != canons(*other)


# --- calls and results ---


@pytest.mark.parametrize(
    ("arguments", "canonical"),
    [
        ('{"b":[{"d":1,"c":null}],"a":true}', b'json 33:{"a":true,"b":[{"c":null,"d":1}]}'),
        ("1.50", b"json 3:1.5"),
        ("-0.0", b"json 1:0"),
        ("1e22", b"json 23:10000000000000000000000"),
        ("10000000000000000000000", b"json 23:10000000000000000000000"),
        ("1e999", b"raw 5:1e999"),
        ("{'a': 1}", b"raw 8:{'a': 1}"),
        ('{"a": 1', b'raw 7:{"a": 1'),
        ("[" * 3000 + "]" * 3000, b"raw 6000:" + b"[" * 3000 + b"]" * 3000),
        ('"\\ud800"', b'raw 8:"\\ud800"'),
        ("9" * 5000, b"raw 5000:" + b"9" * 5000),
        ("", b"json 2:{}"),
    ],
)
def test_arguments_are_sorted_json_or_what_they_are(arguments: str, canonical: bytes) -> None:
    assert canon.answer("", [call("c", "f", arguments)]).bare == b"call 1:f" + canonical


def test_a_result_belongs_to_a_call_of_the_answer_right_before() -> None:
    said = canons(assistant(calls=[READ]), result("c1", "x"), assistant(calls=[BASH]), result("c1", "x"))
    assert said[1] == b"result 0 1:x"
    assert said[3] == b"result -1 1:x"


def test_results_of_calls_that_share_an_id_are_theirs_in_order() -> None:
    calls = [call("", "f"), call("", "g"), call("c", "h")]
    said = canons(assistant(calls=calls), result("", "x"), result("c", "y"), result("", "z"), result("", "over"))
    assert said[1] == b"result 0 1:xresult 2 1:yresult 1 1:zresult 1 4:over"


# --- files ---


def test_the_bytes_of_lists_without_files_stay_as_they_were() -> None:
    """Names of conversations that were remembered before there were files are made of these."""
    calls = [call("c1", "Read", '{"path": "/a", "n": 1.0}'), call("c2", "Bash", "ls")]
    answer = assistant("<think>x</think>c", calls=calls)
    asked = [user("a", "b"), answer, result("c1", "out \r\n"), result("c2", ""), user("then"), system("now"), user("é")]
    assert canons(*asked, assistant("d"), user("")) == [
        b"text 3:a\nb",
        b'text 1:ccall 4:Readjson 19:{"n":1,"path":"/a"}call 4:Bashraw 2:ls',
        b"result 0 3:outresult 1 0:text 4:theninstruction 3:nowtext 2:\xc3\xa9",
        b"text 1:d",
        b"",
    ]


def test_files_are_items_in_their_places() -> None:
    said = canons(user("a"), shown(CAT, TextPart("b")), assistant(calls=[READ]), returned("", DOG, CAT), shown(DOG))
    assert said[0] == b"text 1:afile 10:sha256:ca7text 1:b"
    assert said[2] == b"result 0 0:returned file 10:sha256:d06returned file 10:sha256:ca7file 10:sha256:d06"


def test_files_of_the_instructions_count_as_instructions() -> None:
    [one, other, none] = [
        canon.read([Message("system", (TextPart("a"), *files)), user("b")]) for files in ([CAT], [DOG], [])
    ]
    assert len({one.instructions, other.instructions, none.instructions}) == 3
    assert none.instructions == "a"
    assert one.groups == other.groups == none.groups


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_a_file_that_was_not_looked_at_is_a_mistake_of_ours(role: Role) -> None:
    unknown = FilePart(Remote("https://example.com/"), param="messages[0].content[1]")
    with pytest.raises(ValueError, match=r"messages\[0\]\.content\[1\]"):
        canon.read([Message(role, (TextPart("a"), unknown))])


def test_a_results_file_that_was_not_looked_at_is_one_too() -> None:
    with pytest.raises(ValueError, match="looked at"):
        canon.read([returned("x", FilePart(Remote("https://example.com/")))])


# --- a whole list ---


def test_a_conversation_is_instructions_and_groups_that_know_where_they_stand() -> None:
    messages = [system("a"), system("b"), user("c"), user("d"), assistant("e"), result("x", "f"), system("g")]
    said = canon.read(messages)
    assert said.instructions == "a\n\nb"
    assert [(group.role, group.start, group.end, group.text, group.calls) for group in said.groups] == [
        ("user", 2, 4, "", 0),
        ("assistant", 4, 5, "e", 0),
        ("user", 5, 7, "", 0),
    ]


def test_an_answer_of_ours_is_the_group_that_comes_back() -> None:
    ours = canon.answer("<think>hm</think>a \n", [READ, BASH])
    [theirs] = canon.read([assistant("a", calls=[READ, BASH])]).groups
    assert (ours.canon, ours.bare, ours.text, ours.calls) == (theirs.canon, theirs.bare, "a", 2)


def test_without_its_text_an_answer_is_its_calls() -> None:
    assert canon.answer("a", [READ]).bare == canon.answer("", [READ]).canon
    assert canon.answer("a").bare == canon.answer("").canon == b""


def test_instructions_do_not_count_as_groups_however_many_there_are() -> None:
    assert canon.read([system("a")]) == canon.Conversation("a", ())
    assert canon.read([user("a")]).instructions == ""
    assert canon.read([system(""), system("a", "b"), system(" ")]).instructions == "a\nb"


BILLING = re.compile(r"^x-anthropic-billing-header:.*$")


@pytest.mark.parametrize(
    "messages",
    [
        [system("x-anthropic-billing-header: v=1; cch=abc", "Be kind.")],
        [system("x-anthropic-billing-header: v=1; cch=def\r\n  Be kind.")],
        [system("x-anthropic-billing-header: v=1; cch=def"), system("Be kind.")],
        [system("Be kind.\nx-anthropic-billing-header: cch=0")],
        [system("Be kind.")],
    ],
)
def test_b14_a_line_that_changes_with_every_request_does_not_count(messages: list[Message]) -> None:
    assert canon.read(messages, [re.compile("nothing like it"), BILLING]).instructions == "Be kind."


def test_volatile_lines_count_where_the_setting_names_none() -> None:
    assert canon.read([system("x-anthropic-billing-header: 1")]).instructions == "x-anthropic-billing-header: 1"


@pytest.mark.parametrize(
    ("stored", "same"), [("<think>x</think>a \r\nb", True), ("a\nb\n", True), ("a\nb c", False), ("a", False)]
)
def test_an_answer_at_the_site_is_what_was_delivered_or_not(stored: str, same: bool) -> None:
    assert canon.is_same(StoredMessage("r", None, "assistant", stored, True), "a\nb") is same


# --- properties ---


@given(MESSAGES)
def test_groups_take_turns_and_cover_all_messages(messages: list[Message]) -> None:
    groups = canon.read(messages).groups
    leading = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    at = leading
    for before, group in zip((None, *groups), groups, strict=False):
        assert group.start == at < group.end
        assert before is None or before.role != group.role
        assert {message.role == "assistant" for message in messages[group.start : group.end]} == {
            group.role == "assistant"
        }
        at = group.end
    assert at == len(messages)


Item = tuple[str, ...]


def items(raw: bytes) -> list[Item]:
    """Reads a group's `canon` as its description says, with nothing known of what stands in it."""
    out: list[Item] = []
    while raw:
        kind = re.match(rb"text |instruction |(?:returned )?file |result -?\d+ |call ", raw)
        assert kind is not None
        fields = [kind[0].decode()]
        raw = raw[kind.end() :]
        for _ in range(2 if fields[0] == "call " else 1):
            head = re.match(rb"(json |raw )?(\d+):", raw)
            assert head is not None
            length = int(head[2])
            fields += [(head[1] or b"").decode(), raw[head.end() : head.end() + length].decode()]
            raw = raw[head.end() + length :]
        out.append(tuple(fields))
    return out


def expected(messages: list[Message], ids: list[str]) -> list[Item]:
    """The items of a user's group, slowly."""
    flat: list[tuple[str, str]] = []
    for message in messages:
        if message.role == "system":
            flat.append(("instruction ", "\n".join(part.text for part in message.parts if isinstance(part, TextPart))))
            flat += [("file ", part.identity) for part in message.parts if isinstance(part, FilePart)]
        for part in message.parts if message.role == "user" else ():
            if isinstance(part, ToolResultPart):
                same = [i for i, one in enumerate(ids) if one == part.call_id]
                earlier = sum(item[0].startswith("result ") and item[0].endswith(f"\0{part.call_id}") for item in flat)
                ordinal = same[min(earlier, len(same) - 1)] if same else -1
                flat.append((f"result {ordinal} \0{part.call_id}", part.text))
                flat += [("returned file ", one.identity) for one in part.files]
            elif isinstance(part, FilePart):
                flat.append(("file ", part.identity))
            elif isinstance(part, TextPart):
                joined = flat and flat[-1][0] == "text "
                flat[-1:] = [("text ", f"{flat[-1][1]}\n{part.text}")] if joined else [*flat[-1:], ("text ", part.text)]
    named = [(kind.split("\0")[0], canon.canonical(text)) for kind, text in flat]
    return [(kind, "", text) for kind, text in named if text or kind.startswith("result ")]


@settings(deadline=None, max_examples=300)
@given(MESSAGES)
def test_what_a_users_group_says_can_be_read_back_from_its_bytes(messages: list[Message]) -> None:
    """So two lists of items never share them."""
    ids: list[str] = []
    for group in canon.read(messages).groups:
        said = messages[group.start : group.end]
        if group.role == "user":
            assert items(group.canon) == expected(said, ids)
            assert group.bare == group.canon
        ids = [part.id for message in said for part in message.parts if isinstance(part, ToolCallPart)]


@settings(deadline=None, max_examples=300)
@given(TEXTS, st.lists(CALLS, max_size=3), st.lists(FILES, max_size=2))
def test_what_an_answer_says_can_be_read_back_from_its_bytes(
    text: str, calls: list[ToolCallPart], files: list[FilePart]
) -> None:
    [group] = canon.read([Message("assistant", (TextPart(text), *calls, *files))]).groups
    assert files or group.canon == canon.answer(text, calls).canon
    read = items(group.canon)
    said = [("text ", "", canon.spoken(text))] if canon.spoken(text) else []
    assert read[: len(said)] == said
    said += [("file ", "", one.identity) for one in files]
    assert items(group.bare)[: len(files)] == read[len(said) - len(files) : len(said)]
    assert items(group.bare)[len(files) :] == read[len(said) :]
    assert [(item[0], item[2]) for item in read[len(said) :]] == [("call ", one.name) for one in calls]


@settings(deadline=None)
@given(MESSAGES)
def test_reading_is_the_same_each_time(messages: list[Message]) -> None:
    assert canon.read(messages) == canon.read(tuple(messages))
