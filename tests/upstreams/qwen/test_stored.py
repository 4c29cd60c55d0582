"""A chat as the site keeps it. No whole body was published: the shapes are those that three parsers of 2026 expect."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_gateway.turn.faults import Drift
from qwen_gateway.turn.places import StoredMessage
from qwen_gateway.upstreams.qwen import stored


def item(content: object, phase: str | None = "answer", **more: object) -> dict[str, Any]:
    return {"phase": phase, "content": content, "status": "finished", "role": "assistant", **more}


def node(name: str, role: str = "user", parent: str | None = None, **more: object) -> dict[str, Any]:
    """With the keys of `upstream-protocol` 3.3."""
    return {
        "id": name,
        "fid": None,
        "parentId": parent,
        "childrenIds": [],
        "role": role,
        "content": "",
        "content_list": [],
        "models": ["qwen3.7-plus"],
        "timestamp": 1_790_000_000,
        "feature_config": {},
        "files": [],
        "extra": None,
        "done": True,
        "error": None,
        **more,
    }


def chat(*nodes: dict[str, Any], **more: object) -> dict[str, Any]:
    messages = {one["id"]: one for one in nodes}
    history = {"messages": messages, "currentId": "a", "currentResponseIds": ["a"], "pagination": {}}
    inner = {"models": ["m"], "messages": list(nodes), "history": history}
    return {"id": "c", "user_id": "u", "title": "t", "currentId": "a", "chat": inner, **more}


def answer(**more: object) -> StoredMessage:
    """What is read of an assistant's node like this."""
    return stored.read(chat(node("a", "assistant", "q", **more)), "c")["a"]


def test_questions_and_answers_are_read_with_their_parents() -> None:
    read = stored.read(
        chat(
            node("q", content="hello"),
            node("a", "assistant", "q", content_list=[item("Hi "), item("there")]),
            node("q2", parent="a", content="bye"),
        ),
        "c",
    )
    assert read == {
        "q": StoredMessage("q", None, "user", "hello", True),
        "a": StoredMessage("a", "q", "assistant", "Hi there", True),
        "q2": StoredMessage("q2", "a", "user", "bye", True),
    }


TEXTS: dict[str, tuple[dict[str, Any], str]] = {
    "only of the phase answer": ({"content_list": [item("mm", "thinking_summary"), item("x"), item("y", "bio")]}, "x"),
    "in several stretches around a tool": (
        {
            "content_list": [
                item("One. "),
                item("", "web_search"),
                item("r", "web_search", role="function"),
                item("Two"),
            ]
        },
        "One. Two",
    ),
    "not what a tool says": ({"content_list": [item("a"), item("Tool x does not exists.", role="function")]}, "a"),
    "not a call": ({"content_list": [item("{}", function_call={"name": "x"}), item("b")]}, "b"),
    "without a phase": ({"content_list": [item("a", None)]}, "a"),
    "content of another type elsewhere": ({"content_list": [item({"x": 1}, "image_gen"), item("a")]}, "a"),
    "nothing in an item": ({"content_list": [item(None), item("a")]}, "a"),
    "in content, without a list": ({"content": "plain"}, "plain"),
    "in content, with no list": ({"content": "plain", "content_list": None}, "plain"),
    "in content, beside reasoning": ({"content": "plain", "content_list": [item("mm", "think")]}, "plain"),
    "in the list rather than in content": ({"content": "old", "content_list": [item("new")]}, "new"),
    "none": ({"content": None, "content_list": []}, ""),
}


@pytest.mark.parametrize(("keys", "text"), TEXTS.values(), ids=TEXTS.keys())
def test_the_text_of_an_answer(keys: dict[str, Any], text: str) -> None:
    assert answer(**keys).text == text


def test_a_question_is_its_content_whatever_else_it_has() -> None:
    read = stored.read(chat(node("q", content="hello", content_list=[item("other")])), "c")
    assert read["q"].text == "hello"


@pytest.mark.parametrize(
    ("keys", "done"),
    [
        ({"done": True}, True),
        ({"done": False}, False),
        ({"done": False, "content_list": [item("x")]}, False),
        ({"done": None, "content_list": [item("x")]}, True),
        ({"done": None, "content_list": [item("x"), item("y", status="typing")]}, False),
        ({"done": None, "content": "x"}, False),
    ],
)
def test_whether_an_answer_is_finished(keys: dict[str, Any], done: bool) -> None:
    assert answer(**keys).done is done


def test_a_question_is_finished_when_nothing_is_said_of_it() -> None:
    assert stored.read(chat(node("q", content="x", done=None)), "c")["q"].done is True


def test_messages_may_be_a_list_or_stand_beside_the_history() -> None:
    nodes = [node("q", content="hello"), node("a", "assistant", "q", content="hi")]
    expected = stored.read(chat(*nodes), "c")
    assert len(expected) == 2
    for inner in (
        {"history": {"messages": nodes}},
        {"messages": nodes},
        {"messages": nodes, "history": {}},
        {"messages": nodes, "history": {"messages": None}},
        {"history": {"messages": {"q": {**nodes[0], "id": ""}, "a": nodes[1]}}},
    ):
        assert stored.read({"chat": inner}, "c") == expected


def test_a_new_chat_has_no_messages() -> None:
    assert stored.read(chat(), "c") == {}


def test_what_is_neither_question_nor_answer_is_left_out() -> None:
    assert list(stored.read(chat(node("s", "system"), node("q", parent="s"), node("t", "tool")), "c")) == ["q"]


def test_no_parent_is_spelled_in_two_ways() -> None:
    assert stored.read(chat(node("q", parent="")), "c")["q"].parent is None


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "x",
        {},
        {"chat": None},
        {"chat": {}},
        {"chat": {"history": {"messages": "x"}}},
        {"chat": {"history": {"messages": {"q": None}}}},
        {"chat": {"history": {"messages": {"q": {"id": "q"}}}}},
        {"chat": {"history": {"messages": [{"role": "user"}]}}},
        chat(node("q", role="user", parentId=7)),
        chat(node("q", content=["x"])),
        chat(node("a", "assistant", content_list="x")),
        chat(node("a", "assistant", content_list=[item(["x"])])),
        chat(node("a", "assistant", done="yes")),
        {"chat": {"history": {"messages": {"q": node("other")}}}},
    ],
)
def test_what_cannot_be_understood_is_drift(data: object) -> None:
    with pytest.raises(Drift) as caught:
        stored.read(data, "c")
    assert caught.value.code == "upstream_changed"


def test_another_chat_is_not_taken_for_this_one() -> None:
    with pytest.raises(Drift) as caught:
        stored.read(chat(node("q"), id="other"), "c")
    assert caught.value.code == "upstream_crossed"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "chat", "history", "messages", "role", "content", "content_list", "parentId", "done"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(ANYTHING)
def test_anything_else_is_messages_or_drift(data: object) -> None:
    try:
        read = stored.read({"chat": {"history": {"messages": data}}}, "c")
    except Drift:
        return
    assert all(name == message.id and message.role in ("user", "assistant") for name, message in read.items())
