"""Texts that are said in the message, and the same to be attached."""

from collections.abc import Callable

from hypothesis import given, settings
from tests.scaling import grows_linearly

from qwen_gateway.history.attached import to_attach
from qwen_gateway.history.canon import read
from qwen_gateway.history.inlined import attaching, inlined
from qwen_gateway.history.pack import whole
from qwen_gateway.turn.request import Message, TextPart, ToolResultPart

from .talks import MESSAGES, assistant, file, user

SHORT, LONG = (file(f"sha256:{text}", f"{text}.py", "document", text=text * 100) for text in ("a", "b\n"))
CAT = file("sha256:ca7", "cat.png")
TALK = [
    user("Read:"),
    Message("user", (TextPart("This"), SHORT, CAT, LONG)),
    assistant("Yes."),
    Message("user", (ToolResultPart("c", "x", files=(SHORT, CAT)),)),
]


def test_what_is_said_is_found_once_the_largest_first() -> None:
    assert [(one.file, one.size) for one in inlined(TALK)] == [(LONG, 300), (SHORT, 200)]
    assert [(one.file, one.size) for one in inlined(TALK[2:])] == [(SHORT, 100)]
    assert inlined(TALK[:1]) == []


def test_a_size_is_that_of_what_goes_to_the_site() -> None:
    odd = file("sha256:1", "a", "document", text='"\x00é\\')
    assert inlined([Message("user", (odd,))])[0].size == len(rb"\"\\") + len("é".encode())


def test_a_file_is_attached_wherever_it_stands_and_others_stay() -> None:
    found = attaching(TALK, {SHORT.identity})
    assert [one.file for one in inlined(found)] == [LONG]
    assert [one.identity for one in to_attach(found)] == [one.identity for one in (SHORT, CAT, SHORT, CAT)]
    assert attaching(TALK, ()) == attaching(TALK, {CAT.identity, "sha256:other"}) == tuple(TALK)


@settings(deadline=None, max_examples=200)
@given(MESSAGES)
def test_a_conversation_is_the_same_whichever_way_its_texts_went(messages: list[Message]) -> None:
    texts = inlined(messages)
    found = attaching(messages, {one.file.identity for one in texts})
    assert read(found) == read(messages)
    assert inlined(found) == []
    attached = {one.identity for one in to_attach(messages)} | {one.file.identity for one in texts}
    assert {one.identity for one in whole(found, key=b"k").files} == attached


def test_many_files_are_packed_in_linear_time() -> None:
    def work(count: int) -> Callable[[], object]:
        files = [file(f"sha256:{number}", "a.py", "document", text="x") for number in range(count)]
        messages = [Message("user", (*files, *files, file("sha256:p", "p.png")))]

        def packs() -> None:
            assert len(inlined(messages)) == count
            assert len(whole(attaching(messages, {one.identity for one in files}), key=b"k").files) == count + 1

        return packs

    assert grows_linearly(work, 60)
