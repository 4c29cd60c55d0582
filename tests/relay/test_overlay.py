"""Answers on their way to the database."""

from msgspec import structs

from qwen_gateway.relay.overlay import Overlay
from qwen_gateway.relay.ports import Remembered

from .conversation_fakes import answered


def overlay(*answers: Remembered) -> Overlay:
    made = Overlay()
    for answer in answers:
        made.add(answer)
    return made


def test_nodes_are_found_by_each_field_the_newest_first() -> None:
    here = overlay(answered("a", at=1.0, likeness=b"alike"), answered("b", at=2.0))
    assert [node.chat_id for node in here.find("key", [b"another", b"key"])] == ["b", "a"]
    assert [node.chat_id for node in here.find("handle", [b"hkey"])] == ["b", "a"]
    assert [node.chat_id for node in here.find("likeness", [b"alike"])] == ["a"]


def test_what_a_node_does_not_have_is_not_looked_for() -> None:
    assert overlay(answered(handle=b"")).find("handle", [b""]) == []


def test_an_answer_under_two_keys_is_found_under_both() -> None:
    (node,) = answered().nodes
    both = Remembered(answered().chat, (node, structs.replace(node, key=b"alias")))
    here = overlay(both)
    assert [found.key for found in here.find("key", [b"key", b"alias"])] == [b"key", b"alias"]
    here.remove([both])
    assert here.find("key", [b"key", b"alias"]) == []
    assert here.find("handle", [b"hkey"]) == []


def test_a_chat_is_there_as_long_as_one_of_its_answers_is() -> None:
    first, second = answered(), answered()  # equal, and two all the same
    here = overlay(first, second)
    assert (len(here), here.first(1) == [first], here.first(9)) == (2, True, [first, second])
    here.remove([first, first])
    assert ("chat" in here, len(here), len(here.find("key", [b"key"]))) == (True, 1, 1)
    here.remove([second])
    assert ("chat" in here, len(here), here.find("key", [b"key"])) == (False, 0, [])


def test_a_chat_is_forgotten_with_all_its_answers() -> None:
    here = overlay(answered(), answered(key=b"second"), answered("other"))
    assert here.forget("chat")
    assert not here.forget("chat")
    assert [answer.chat.id for answer in here.first(9)] == ["other"]
    assert [node.chat_id for node in here.find("key", [b"key", b"second"])] == ["other"]
