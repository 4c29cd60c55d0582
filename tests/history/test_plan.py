"""Where a conversation goes on. The numbers B… are those of the situations that every gateway of this kind meets."""

from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import structs

from qwen_gateway.history import canon, chain
from qwen_gateway.history.plan import (
    MOST_KEYS,
    Hint,
    Limits,
    Plan,
    View,
    by_likeness,
    from_hint,
    hint,
    holds,
    last_answer,
    plan,
    wanted,
)
from qwen_gateway.turn.places import Node, StoredMessage
from qwen_gateway.turn.request import Message, Part, ToolCallPart

from .talks import (
    ASSISTANTS,
    CALLS,
    MESSAGES,
    SECRET,
    TEXTS,
    USERS,
    assistant,
    call,
    file,
    memory,
    remembered,
    result,
    system,
    user,
    view,
)

LIMITS = Limits(window=None)
READ = call("c1", "Read", '{"path": "/a"}')
LONG = "A sentence that is long enough to be told from others, by far. It is."
PADDING = user("x" * 3000)
"""Beside it, a short answer is a small part of the conversation."""
TALK = [PADDING, assistant("one"), user("b"), assistant("two"), user("c")]


def planned(asked: View, nodes: Sequence[Node], limits: Limits = LIMITS) -> Plan:
    """As the relay does it: what is not wanted is not found."""
    keys = wanted(asked)
    return plan(asked, [node for node in nodes if node.key in keys], limits)


def brief(found: Plan) -> tuple[str, str, int, list[str]]:
    return found.way, found.reason, found.told, [node.answer_id for node in found.nodes]


# --- the exact chain ---


def test_b1_the_next_turn_goes_on_at_the_last_answer() -> None:
    assert planned(view(TALK), memory(TALK)) == Plan("continue", "next", 4, (memory(TALK)[0],))


def test_b2_the_last_answer_again_is_a_sibling_of_it() -> None:
    assert brief(planned(view(TALK[:3]), memory(TALK))) == ("continue", "next", 2, ["chat-1"])


def test_b3_an_edited_question_goes_on_from_the_answer_before_it() -> None:
    assert brief(planned(view([*TALK[:2], user("B")]), memory(TALK))) == ("continue", "next", 2, ["chat-1"])


@pytest.mark.parametrize("messages", [TALK[:1], [user("edited")], [system("s")], [system("s"), user("a")]])
def test_b4_b5_without_an_earlier_answer_all_is_told(messages: list[Message]) -> None:
    assert wanted(view(messages)) == []
    assert planned(view(messages), memory(TALK)) == Plan("replay", "first")


def test_b5_an_edited_first_question_is_another_conversation() -> None:
    assert planned(view([user("edited"), *TALK[1:]]), memory(TALK)) == Plan("replay", "unknown")


@pytest.mark.parametrize("meta", [{"tenant": "other"}, {"end_user": "other"}, {"model": "other"}])
def test_b6_b7_another_key_user_or_model_finds_nothing(meta: dict[str, str]) -> None:
    assert planned(view(TALK, **meta), memory(TALK)) == Plan("replay", "unknown")


@pytest.mark.parametrize(
    "answer",
    [
        "<think>let me see</think>\n\ntwo",  # B8
        "two \r\n",  # B9
        '<details type="reasoning" done="true">\n> x\n</details>\ntwo',  # B43
    ],
)
def test_b8_b9_b43_reasoning_line_ends_and_blanks_do_not_matter(answer: str) -> None:
    sent_back = [*TALK[:3], assistant(answer), *TALK[4:]]
    assert brief(planned(view(sent_back), memory(TALK))) == ("continue", "next", 4, ["chat-3"])


def test_b10_b46_other_shapes_of_the_same_messages_do_not_matter() -> None:
    talk = [user("a"), user("b"), assistant("x", calls=[READ]), result("c1", "r"), user("c"), assistant("y"), user("d")]
    shapes = [
        user("a", "b"),
        assistant("x"),
        assistant(calls=[READ]),
        Message("user", (*result("c1", "r").parts, *user("c").parts)),
        assistant("y"),
        user("d"),
    ]
    assert brief(planned(view(shapes), memory(talk))) == ("continue", "next", 4, ["chat-3"])


def test_b11_an_answer_that_the_user_edited_is_caught_up_with_and_never_the_old_one() -> None:
    edited = [*TALK[:3], assistant("2"), user("c")]
    assert brief(planned(view(edited), memory(TALK))) == ("catchup", "changed", 2, ["chat-1"])


def test_b11_a_large_edited_answer_is_told_with_all_else() -> None:
    edited = [*TALK[:3], assistant("2" * 2000), user("c")]
    assert planned(view(edited), memory(TALK)) == Plan("replay", "changed")


def test_b12_b41_a_window_that_has_slid_is_another_conversation() -> None:
    for trimmed in (TALK[1:], TALK[2:]):
        assert planned(view(trimmed), memory(TALK)) == Plan("replay", "unknown")


def test_b13_changed_instructions_are_sent_again() -> None:
    asked = view([system("It is Tuesday."), *TALK])
    nodes = memory([system("It is Monday."), *TALK])
    assert planned(asked, nodes) == Plan("continue", "next", 4, (nodes[0],), resend=True)
    assert planned(view(TALK), nodes).resend
    assert not planned(view([system("It is Monday. "), *TALK]), nodes).resend


def test_b13_or_everything_is_told_anew_where_the_setting_says_so() -> None:
    limits = Limits(window=None, changed_instructions="replay")
    nodes = memory([system("It is Monday."), *TALK])
    assert planned(view([system("It is Tuesday."), *TALK]), nodes, limits) == Plan("replay", "instructions")
    assert planned(view([system("It is Monday."), *TALK]), nodes, limits).way == "continue"


def test_b15_a_changed_list_of_tools_is_sent_again() -> None:
    nodes = memory(TALK)
    assert planned(view(TALK, b"[]"), nodes) == Plan("continue", "next", 4, (nodes[0],), resend_tools=True)


def test_b19_b20_the_same_reply_in_two_conversations() -> None:
    one, other = [user("1+1?"), assistant("Two."), user("c")], [user("3-1?"), assistant("Two."), user("c")]
    nodes = memory(one, chat="one") + memory(other, chat="other")
    assert brief(planned(view(one), nodes)) == ("continue", "next", 2, ["one-1"])
    assert brief(planned(view(other), nodes)) == ("continue", "next", 2, ["other-1"])


def test_b21_of_two_chats_with_the_same_beginning_the_first_given_goes_first() -> None:
    nodes = memory(TALK, chat="new") + memory(TALK, chat="old")
    assert brief(planned(view(TALK), nodes)) == ("continue", "next", 4, ["new-3", "old-3"])


def test_of_two_chats_the_one_that_knows_the_instructions_goes_alone() -> None:
    """The other needs another message."""
    monday, tuesday = (memory([system(day), *TALK], chat=day) for day in ("monday", "tuesday"))
    found = planned(view([system("tuesday"), *TALK]), [*monday, *tuesday])
    assert (found.resend, [node.chat_id for node in found.nodes]) == (False, ["tuesday"])


def test_instructions_weigh_more_than_tools() -> None:
    nodes = [structs.replace(memory(TALK)[0], chat_id="tools", tools=b"x")]
    nodes.insert(0, structs.replace(memory(TALK)[0], chat_id="instructions", instructions=b"x"))
    found = planned(view(TALK), nodes)
    assert (found.resend, found.resend_tools, [node.chat_id for node in found.nodes]) == (False, True, ["tools"])


PICTURE = Message("user", (*PADDING.parts, file("sha256:ca7")))


def test_b27_a_file_of_an_older_turn_is_in_the_chat() -> None:
    talk = [PICTURE, *TALK[1:]]
    assert brief(planned(view(talk), memory(talk))) == ("continue", "next", 4, ["chat-3"])


@pytest.mark.parametrize("parts", [(*PADDING.parts, file("sha256:d06")), PADDING.parts])
def test_b28_a_file_replaced_or_left_out_makes_another_conversation(parts: tuple[Part, ...]) -> None:
    assert planned(view([Message("user", parts), *TALK[1:]]), memory([PICTURE, *TALK[1:]])) == Plan("replay", "unknown")


CALLING = [user("a"), assistant("Let me see.", calls=[READ]), result("c1", "out")]


def test_b22_after_a_call_only_its_result_is_told() -> None:
    found = planned(view(CALLING), memory(CALLING))
    assert (found.way, found.told, [node.answer_id for node in found.nodes]) == ("continue", 2, ["chat-1"])


def test_b23_a_client_may_drop_the_text_beside_a_call() -> None:
    dropped = [user("a"), assistant(calls=[READ]), result("c1", "out")]
    assert brief(planned(view(dropped), memory(CALLING))) == ("continue", "next", 2, ["chat-1"])


def test_b23_a_client_that_always_drops_it_stays_consistent_with_itself() -> None:
    """What it sends is what the next answer is remembered by."""
    dropped = [user("a"), assistant(calls=[READ]), result("c1", "out")]
    nodes = remembered(view(dropped), "And more.", [READ])
    asked = view([*dropped, assistant(calls=[READ]), result("c1", "more")])
    assert brief(planned(asked, nodes)) == ("continue", "next", 4, ["chat-3"])


def test_b24_ids_and_arguments_may_be_written_anew() -> None:
    bridged = [user("a"), assistant("Let me see.", calls=[call("x", "Read", '{"path":"/a"}')]), result("x", "out")]
    assert brief(planned(view(bridged), memory(CALLING))) == ("continue", "next", 2, ["chat-1"])


def test_b25_edited_arguments_are_another_conversation() -> None:
    edited = [user("a"), assistant("Let me see.", calls=[call("c1", "Read", '{"path": "/b"}')]), result("c1", "out")]
    assert planned(view(edited), memory(CALLING)) == Plan("replay", "unknown")


@pytest.mark.parametrize(("size", "way"), [(10, "catchup"), (40_000, "replay")])
def test_b26_a_result_cleared_in_place_is_caught_up_with_if_what_follows_is_small(size: int, way: str) -> None:
    begin = [user("x" * 50_000), assistant("b"), user("c"), assistant(calls=[READ])]
    rest = [assistant("d" * size), user("e")]
    nodes = memory([*begin, result("c1", "y"), *rest])
    found = planned(view([*begin, result("c1", "[cleared]"), *rest]), nodes)
    assert (found.way, found.reason, found.told) == (way, "changed", 4 if way == "catchup" else 0)


def test_b29_b31_what_was_given_of_an_answer_that_broke_off_is_caught_up_with() -> None:
    """It has no node."""
    asked = view([*TALK, assistant("thr"), user("Go on.")])
    assert brief(planned(asked, memory(TALK))) == ("catchup", "changed", 4, ["chat-3"])


def test_b42_a_tools_result_that_comes_as_a_users_text_is_a_text() -> None:
    talk = [user("a"), assistant("<tool_use>x</tool_use>"), user("<tool_use_result>y</tool_use_result>")]
    assert planned(view(talk), memory(talk)).way == "continue"


def test_b48_an_instruction_in_the_middle_is_pending_like_a_text() -> None:
    asked = view([*TALK[:4], system("Now in French."), user("c")])
    assert brief(planned(asked, memory(TALK))) == ("continue", "next", 4, ["chat-3"])
    again = view([*TALK[:4], system("Now in French."), user("c"), assistant("trois"), user("d")])
    nodes = remembered(asked, "trois")
    assert planned(again, nodes).nodes == tuple(nodes)


def test_b49_an_answer_that_is_begun_is_told_however_large_it_is() -> None:
    asked = view([*TALK, assistant("Sure, " * 9000)])
    assert brief(planned(asked, memory(TALK))) == ("catchup", "prefill", 4, ["chat-3"])
    assert wanted(asked) == [asked.chain.keys[3], asked.chain.keys[1]]


def test_b49_beside_other_answers_that_the_chat_does_not_have() -> None:
    for between, way in (("b", "catchup"), ("b" * 9000, "replay")):
        for begun in ("Sure,", "Sure," * 9000):
            found = planned(view([*TALK, assistant(between), user("c"), assistant(begun)]), memory(TALK))
            assert (found.way, found.reason) == (way, "changed")


def test_b49_after_the_first_question_there_is_nothing_to_go_on_from() -> None:
    assert planned(view([user("a"), assistant("Sure,")]), memory(TALK)) == Plan("replay", "first")


def test_b50_an_empty_message_is_a_turn() -> None:
    asked = view([*TALK[:4], user("")])
    assert brief(planned(asked, memory(TALK))) == ("continue", "next", 4, ["chat-3"])


def test_b52_a_new_tenant_starts_anew_and_the_old_one_is_not_disturbed() -> None:
    nodes = memory(TALK, tenant="old")
    assert planned(view(TALK, tenant="new"), nodes).way == "replay"
    assert planned(view(TALK, tenant="old"), nodes).way == "continue"


# --- sizes ---


def test_b30_a_chat_that_is_nearly_full_is_left() -> None:
    pending = len(view(TALK).groups[-1].canon) / 3
    full = 800 - pending
    assert planned(view(TALK), memory(TALK, tokens=int(full)), Limits(window=1000)).way == "continue"
    assert planned(view(TALK), memory(TALK, tokens=int(full) + 1), Limits(window=1000)) == Plan("replay", "context")


def test_b30_for_one_that_has_room() -> None:
    nodes = memory(TALK, chat="full", tokens=900) + memory(TALK, chat="small", tokens=90)
    assert brief(planned(view(TALK), nodes, Limits(window=1000))) == ("continue", "next", 4, ["small-3"])


def test_a_new_question_may_be_of_any_size_where_the_window_is_unknown() -> None:
    assert planned(view([*TALK[:4], user("c" * 10**6)]), memory(TALK)).way == "continue"


def test_no_more_keys_are_looked_for_than_a_store_takes() -> None:
    asked = view([user("a"), assistant("b")] * (MOST_KEYS + 5) + [user("c")])
    keys = [key for key, group in zip(asked.chain.keys, asked.groups, strict=True) if group.role == "assistant"]
    assert wanted(asked) == keys[::-1][:MOST_KEYS]


@pytest.mark.parametrize("limits", [Limits(window=None, catchup_bytes=20), Limits(window=None, catchup_share=0.005)])
def test_what_is_caught_up_with_is_small_in_bytes_and_small_against_the_whole(limits: Limits) -> None:
    asked = view([*TALK[:3], assistant("2"), user("c")])
    assert planned(asked, memory(TALK), limits) == Plan("replay", "changed")


# --- likeness ---

LIKE = [user("a"), assistant("b"), user("c"), assistant(LONG), user("d")]


def like(asked: View, nodes: Sequence[Node]) -> list[Node]:
    pair = last_answer(asked)
    name = pair and chain.likeness(SECRET, asked.chain.root, *pair)
    return [node for node in nodes if name and node.likeness == name]


def test_b41_a_window_that_has_slid_goes_on_where_the_owner_insists() -> None:
    asked, nodes = view(LIKE[1:]), memory(LIKE)
    assert planned(asked, nodes) == Plan("replay", "unknown")
    assert by_likeness(asked, like(asked, nodes), LIMITS) == Plan("continue", "suffix", 3, (nodes[0],))


def test_a_likeness_that_stands_in_two_places_is_none() -> None:
    asked = view(LIKE[2:])
    assert by_likeness(asked, [], LIMITS) is None
    nodes = like(asked, memory(LIKE, chat="one") + memory(LIKE, chat="other"))
    assert len(nodes) == 2
    assert by_likeness(asked, nodes, LIMITS) is None
    twice = [nodes[0], structs.replace(nodes[0], answer_id="another")]
    assert by_likeness(asked, twice, LIMITS) is None


def test_two_names_of_one_answer_are_one_place() -> None:
    asked = view([user("c"), assistant(LONG, calls=[READ]), result("c1", "x")])
    nodes = like(asked, remembered(view([user("a"), assistant("b"), user("c")]), LONG, [READ]))
    assert len(nodes) == 2
    found = by_likeness(asked, nodes, LIMITS)
    assert found is not None
    assert (found.way, found.told, found.nodes) == ("continue", 2, tuple(nodes))


@pytest.mark.parametrize("messages", [[user("a")], [assistant(LONG), user("a")], [user("a"), assistant(LONG)]])
def test_an_answer_without_a_question_or_without_something_after_it_has_no_likeness(messages: list[Message]) -> None:
    assert last_answer(view(messages)) is None
    assert by_likeness(view(messages), memory(LIKE)[:1], LIMITS) is None


def test_an_answer_that_is_begun_follows_the_last_one() -> None:
    asked = view([*LIKE, assistant("Sure,")])
    found = by_likeness(asked, like(asked, memory(LIKE)), LIMITS)
    assert found is not None
    assert (found.way, found.reason, found.told) == ("catchup", "suffix", 4)


def test_a_likeness_keeps_to_the_rules_of_size() -> None:
    nodes = memory(LIKE, tokens=900)[:1]
    assert by_likeness(view(LIKE), nodes, Limits(window=1000)) == Plan("replay", "context")


# --- handles ---

STORED = {
    "chat-3": StoredMessage("chat-3", "q3", "assistant", "Let me see. I will read it.", True),
    "q3": StoredMessage("q3", "chat-1", "user", "…", True),
    "chat-1": StoredMessage("chat-1", "q1", "assistant", "one\n and more ", True),
    "q1": StoredMessage("q1", None, "user", "…", True),
}
SHORT = [user("a"), assistant("one"), user("b"), assistant("I will", calls=[READ]), result("c1", "x")]
LONGER = [user("a"), assistant("one\n and more"), user("b"), assistant("Let me see. I will read it.", calls=[READ])]


def test_b45_a_handle_finds_an_answer_whose_text_the_client_has_shortened() -> None:
    asked, nodes = view(SHORT), memory(LONGER)
    assert planned(asked, nodes) == Plan("replay", "unknown")
    found = hint(asked, nodes[:1])
    assert found == Hint(nodes[0], 4, ("one", "I will"))
    assert found is not None
    assert holds(found, STORED)
    assert from_hint(asked, found, LIMITS) == Plan("continue", "handle", 4, (nodes[0],))


def test_a_handle_of_another_conversation_is_none() -> None:
    nodes = memory(LONGER)
    for changed in (
        [user("A"), *SHORT[1:]],
        [*SHORT[:3], assistant("I will", calls=[call("c1", "Read", "{}")]), SHORT[4]],
        SHORT[:4],
    ):
        assert hint(view(changed), nodes[:1]) is None
    assert hint(view(SHORT), []) is None
    assert hint(view(SHORT, tenant="other"), nodes) is None


def test_the_longest_prefix_of_all_handles_wins() -> None:
    nodes = memory(LONGER)
    found = hint(view(SHORT), nodes[::-1])
    assert found is not None
    assert found.node.answer_id == "chat-3"


def changed(at: str, **fields: object) -> dict[str, StoredMessage]:
    return {**STORED, at: structs.replace(STORED[at], **fields)}


@pytest.mark.parametrize(
    ("stored", "texts", "held"),
    [
        (STORED, ("one", "I will"), True),
        (STORED, ("", ""), True),
        (STORED, ("one\n and more", "Let me see. I will read it."), True),
        (changed("chat-3", text="<think>x</think>I will"), ("one", "I will"), True),
        (STORED, ("one", "I shall"), False),
        (STORED, ("I will", "one"), False),
        (STORED, ("I will",), False),
        (STORED, ("", "one", "I will"), False),
        (changed("chat-1", done=False), ("one", "I will"), False),
        (changed("chat-3", done=False), ("one", "I will"), False),
        ({key: message for key, message in STORED.items() if key != "q1"}, ("one", "I will"), False),
        ({}, ("one", "I will"), False),
        (changed("q1", parent="chat-3"), ("one", "I will"), False),
        (changed("q1", parent="lost"), ("one", "I will"), False),
        ({**STORED, "branch": StoredMessage("branch", "q3", "assistant", "", False)}, ("one", "I will"), True),
    ],
)
def test_answers_may_differ_from_those_in_the_chat_by_deletion_only(
    stored: dict[str, StoredMessage], texts: tuple[str, ...], held: bool
) -> None:
    assert holds(Hint(memory(LONGER)[0], 4, texts), stored) is held


def test_after_a_hint_the_same_rules_hold() -> None:
    asked = view([*SHORT, assistant("new" * 99), user("c")])
    found = hint(asked, memory(LONGER))
    assert found is not None
    assert found.told == 4
    assert from_hint(asked, found, LIMITS) == Plan("replay", "changed")
    small = Limits(window=None, catchup_share=1)
    assert brief(from_hint(asked, found, small)) == ("catchup", "handle", 4, ["chat-3"])


# --- properties ---


@settings(deadline=None, max_examples=300)
@given(MESSAGES, TEXTS, st.lists(CALLS, max_size=2), USERS)
def test_a_plan_after_an_answer_was_remembered_goes_on_at_it(
    messages: list[Message], text: str, calls: list[ToolCallPart], after: Message
) -> None:
    asked = view(messages)
    assume(not asked.groups or asked.groups[-1].role == "user")
    nodes = remembered(asked, text, calls)
    for sent_back in (assistant(text, calls=calls), assistant(*([] if calls else [text]), calls=calls)):
        request = view([*messages, sent_back, after])
        told = len(asked.groups) + 1
        found = planned(request, nodes)
        assert (found.way, found.reason, found.told) == ("continue", "next", told)
        assert {node.place for node in found.nodes} == {nodes[0].place}
        assert not found.resend


@settings(deadline=None, max_examples=200)
@given(MESSAGES, st.lists(st.sampled_from(["t", "u"]), min_size=2, max_size=2, unique=True), st.data())
def test_a_plan_never_crosses_tenants_nor_conversations(
    messages: list[Message], tenants: list[str], data: st.DataObject
) -> None:
    one, other = tenants
    nodes = memory([message for message in messages if message.role != "system"], tenant=one)
    assert planned(view(messages, tenant=other), nodes).nodes == ()
    asked = view(data.draw(MESSAGES), tenant=one)
    for node in planned(asked, nodes).nodes:
        assert node.key in asked.chain.keys


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(USERS, ASSISTANTS), min_size=1, max_size=9), st.data())
def test_a_plan_tells_all_that_the_chat_does_not_have(messages: list[Message], data: st.DataObject) -> None:
    asked = view(messages)
    known = [node for node in memory(messages) if data.draw(st.booleans())]
    found = planned(asked, known, Limits(window=None, catchup_share=1.0))
    if found.way == "replay":
        assert (found.told, found.nodes) == (0, ())
        return
    assert all(node.key == asked.chain.keys[found.told - 1] for node in found.nodes)
    assert asked.groups[found.told - 1].role == "assistant"
    assert found.told < len(asked.groups)
    answers = [group for group in asked.groups[found.told :] if group.role == "assistant"]
    assert bool(answers) == (found.way == "catchup")


def test_an_answer_at_the_site_that_says_the_same_needs_no_catching_up() -> None:
    """How a turn that broke off is remembered after all: the site has exactly what was delivered."""
    assert canon.is_same(STORED["chat-1"], "one\n and more")
