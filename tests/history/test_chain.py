"""Names for conversations: the same for what says the same, and for nothing else."""

import hmac
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from qwen_gateway.history import canon, chain
from qwen_gateway.turn.request import Message, ReasoningPart, TextPart, ToolCallPart

from .talks import MESSAGES, SECRET, TEXTS, assistant, call, result, system, user, view

READ = call("c1", "Read", '{"path": "/a"}')
LONG = "A sentence that is long enough to be told from others, by far. It is."


@pytest.mark.parametrize("secret", [b"", b"s", SECRET, b"s" * 64, b"s" * 65, b"s" * 200])
@pytest.mark.parametrize("what", [b"x", b"x" * 10_000])
def test_names_are_hmac_sha_256_cut_to_16_bytes(secret: bytes, what: bytes) -> None:
    message = b"6:digest%d:%b" % (len(what), what)
    assert chain.digest(secret, what) == hmac.digest(secret, message, "sha256")[:16]
    group = canon.answer(what.decode())
    message = b"9:assistant3:key%d:%b" % (len(group.canon), group.canon)
    assert chain.extend(secret, b"key", group) == hmac.digest(secret, message, "sha256")[:16]


def test_a_chain_has_a_key_for_each_prefix() -> None:
    groups = canon.read([user("a"), assistant("b", calls=[READ]), result("c1", "c")]).groups
    root = chain.root(SECRET, tenant="t", end_user="", model="m")
    whole = chain.chain(SECRET, root, groups)
    assert whole.root == root
    key = bone = root
    for at, group in enumerate(groups):
        key, bone = chain.extend(SECRET, key, group), chain.extend_bare(SECRET, bone, group)
        assert (whole.keys[at], whole.bones[at]) == (key, bone)
        assert chain.chain(SECRET, root, groups[: at + 1]).keys == whole.keys[: at + 1]
    assert (whole.tip, whole.bare_tip) == (key, bone)


def test_names_of_conversations_without_files_stay_as_they_were() -> None:
    """Else nothing would be found that was remembered before there were files."""
    answer = assistant(
        "<think>x</think>c", calls=[call("c1", "Read", '{"path": "/a", "n": 1.0}'), call("c2", "Bash", "ls")]
    )
    said = [
        system("s"),
        user("a", "b"),
        answer,
        result("c1", "out \r\n"),
        result("c2", ""),
        user("then"),
        system("now"),
    ]
    linked = view([*said, user("é"), assistant("d"), user("")]).chain
    assert linked.tip.hex() == "a55b48cf0e0f16ea5deb658676e07650"
    assert linked.bare_tip.hex() == "591fcffbf92c0bcbcc61058d8a841e86"
    assert view([user("hello")]).chain.tip.hex() == "46f35c8ba21e65db6164356d88e9b5c9"


def test_a_chain_of_nothing_ends_where_it_begins() -> None:
    nothing = chain.chain(SECRET, b"root", ())
    assert nothing == chain.Chain(b"root", (), ())
    assert nothing.tip == nothing.bare_tip == b"root"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("t", "", "m"), ("u", "", "m")),
        (("t", "", "m"), ("t", "u", "m")),
        (("t", "", "m"), ("t", "", "n")),
        (("t", "u", ""), ("t", "", "u")),
        (("tu", "", "m"), ("t", "u", "m")),
        (("t", "1:u", "m"), ("t1:", "u", "m")),
    ],
)
def test_b6_b7_nothing_is_shared_between_tenants_end_users_and_models(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    messages = [user("a"), assistant(LONG), user("c")]
    views = [view(messages, tenant=tenant, end_user=end_user, model=model) for tenant, end_user, model in (one, other)]
    names = [{*each.chain.keys, *each.chain.bones, each.chain.root} for each in views]
    assert not names[0] & names[1]
    question, answer = views[0].groups[:2]
    roots = [each.chain.root for each in views]
    assert chain.handle(SECRET, roots[0], "x") != chain.handle(SECRET, roots[1], "x")
    assert chain.likeness(SECRET, roots[0], question, answer) != chain.likeness(SECRET, roots[1], question, answer)


def test_another_secret_gives_other_names() -> None:
    assert chain.digest(b"a", b"x") != chain.digest(b"b", b"x")
    roots = {chain.root(secret, tenant="t", end_user="", model="m") for secret in (b"a", b"b")}
    assert len(roots) == 2


def test_who_said_something_is_part_of_its_key() -> None:
    assert view([user("a")]).chain.keys != view([assistant("a")]).chain.keys
    assert view([user()]).chain.keys != view([assistant()]).chain.keys


def test_nothing_said_is_not_nothing_at_all() -> None:
    keys = view([user("a"), assistant(""), user("")]).chain.keys
    assert len(set(keys)) == 3


def test_b23_the_key_without_text_is_the_one_of_a_client_that_drops_the_text() -> None:
    before = view([user("a")]).chain.keys[-1]
    dropped = view([user("a"), assistant(calls=[READ])])
    assert chain.extend_bare(SECRET, before, canon.answer("Let me see.", [READ])) == dropped.chain.keys[-1]
    assert chain.extend(SECRET, before, canon.answer("Let me see.", [READ])) != dropped.chain.keys[-1]


def test_bones_are_the_same_whatever_the_answers_say_beside_their_calls() -> None:
    one = view([user("a"), assistant("b", calls=[READ]), result("c1", "x"), assistant("c"), user("d")])
    other = view([user("a"), assistant(calls=[READ]), result("c1", "x"), assistant("short"), user("d")])
    assert one.chain.bones == other.chain.bones
    assert [a == b for a, b in zip(one.chain.keys, other.chain.keys, strict=True)] == [True, *[False] * 4]
    edited = view([user("a"), assistant("b", calls=[call("c1", "Read")]), result("c1", "x")])
    assert edited.chain.bones[1] != one.chain.bones[1]


def test_a_short_answer_has_no_likeness() -> None:
    question, root = canon.read([user("a")]).groups[0], b"root"
    assert chain.likeness(SECRET, root, question, canon.answer("x" * 63)) is None
    assert chain.likeness(SECRET, root, question, canon.answer("x" * 63 + " \n")) is None
    assert chain.likeness(SECRET, root, question, canon.answer("x" * 64)) is not None


def test_likeness_is_of_question_and_answer() -> None:
    one, other = (canon.read([user(text)]).groups[0] for text in "ab")
    answer = canon.answer(LONG)
    names = {chain.likeness(SECRET, b"r", question, answer) for question in (one, other)}
    names |= {chain.likeness(SECRET, b"r", one, canon.answer(LONG + "!")), chain.handle(SECRET, b"r", LONG)}
    assert len(names) == 4


def test_no_instructions_have_an_empty_digest() -> None:
    assert chain.digest(SECRET, b"") == b""
    assert len(chain.digest(SECRET, b"x")) == 16


# --- properties ---

META = st.fixed_dictionaries({"tenant": TEXTS, "end_user": TEXTS, "model": TEXTS})


@settings(deadline=None, max_examples=200)
@given(MESSAGES, st.data())
def test_a_change_of_meaning_anywhere_changes_all_keys_from_there_on(
    messages: list[Message], data: st.DataObject
) -> None:
    asked = view(messages)
    if not asked.groups:
        return
    at = data.draw(st.integers(0, len(asked.groups) - 1))
    group = asked.groups[at]
    # Whatever stood in the group, this says one thing more.
    more = [TextPart("more")] if group.role == "user" else [ToolCallPart("", "more", "{}")]
    end = messages[group.end - 1]
    role = end.role if end.role != "system" else "user"
    changed = view([*messages[: group.end], Message(role, tuple(more)), *messages[group.end :]])
    pairs = list(zip(asked.chain.keys, changed.chain.keys, strict=True))
    assert all(one == other for one, other in pairs[:at])
    assert all(one != other for one, other in pairs[at:])
    assert not set(asked.chain.keys[at:]) & set(changed.chain.keys)


@settings(deadline=None, max_examples=200)
@given(MESSAGES, MESSAGES, META, META)
def test_two_conversations_share_a_key_only_where_they_say_the_same_from_the_beginning(
    one: list[Message], other: list[Message], meta: dict[str, str], else_meta: dict[str, str]
) -> None:
    views = view(one, **meta), view(other, **else_meta)
    shared = set(views[0].chain.keys) & set(views[1].chain.keys)
    pairs = zip(*(each.groups for each in views), strict=False)
    same = 0
    for left, right in pairs if meta == else_meta else ():
        if (left.role, left.canon) != (right.role, right.canon):
            break
        same += 1
    assert shared == set(views[0].chain.keys[:same])


@settings(deadline=None)
@given(MESSAGES)
def test_no_two_places_of_one_conversation_have_the_same_key(messages: list[Message]) -> None:
    keys = view(messages).chain.keys
    assert len({*keys, view(messages).chain.root}) == len(keys) + 1
    assert all(one != other for one, other in pairwise(keys))


@settings(deadline=None)
@given(MESSAGES)
def test_reasoning_and_ids_are_in_no_key(messages: list[Message]) -> None:
    written_anew = [
        structs.replace(
            message,
            parts=(ReasoningPart("hm"), *message.parts) if message.role == "assistant" else message.parts,
        )
        for message in messages
    ]
    assert view(written_anew).chain == view(messages).chain
