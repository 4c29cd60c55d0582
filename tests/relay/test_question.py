"""What a turn puts to the site: all of it, then with old results shortened, then with the oldest part as a document."""

import json
from collections.abc import Sequence

import pytest
from msgspec import structs

from qwen_gateway.relay import question as module
from qwen_gateway.relay.question import Questions
from qwen_gateway.relay.tools import ToolManner
from qwen_gateway.relay.turn_files import HISTORY
from qwen_gateway.relay.wanted import Wanted
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.turn.catalog import Catalog, Model
from qwen_gateway.turn.contracts import Question
from qwen_gateway.turn.faults import ContextTooLong, InvalidRequest
from qwen_gateway.turn.files import FilePart, Given
from qwen_gateway.turn.prompt import Prompt
from qwen_gateway.turn.request import Message, Thinking, ToolCallPart, ToolResultPart, TurnRequest

from .attachment_fakes import document, given, picture
from .fakes import SWITCH, Reply
from .turn_bench import CATALOG, EYES, ME, Bench, MakeBench, after, answer, message, say, talk

WORDS = "word " * 200  # 1000 bytes
HINT = "Write the call again, with a name that is there."


class Asks:
    """The questions of one turn. path: of its conversation."""

    def __init__(self, bench: Bench, request: TurnRequest, model: Model) -> None:
        self.bench, self._request, self._model = bench, request, model
        self.record = TurnRecord("r", "e")

    async def ready(self) -> "Asks":
        async def catalog() -> Catalog:
            return CATALOG

        bench, model = self.bench, self._model
        request, files = await bench.files.attachments.read(self._request, ME.tenant, model, catalog)
        wanted = Wanted(request, ME, model, Prompt("", model.id, Thinking("off"), search=False), ToolManner())
        self.path = await bench.turns.conversations.path(
            request,
            ME,
            model,
            lambda key: bench.pool.able(key, model.id),
            tools=wanted.tools.digest,
            words=wanted.words,
        )
        self.questions = Questions(
            bench.site, self.path, wanted, self.record, lambda text: len(text.split()), files.check_together
        )
        return self

    async def more(self, *messages: Message) -> "Asks":
        """The same with these in place of the last message."""
        request = structs.replace(self._request, messages=(*self._request.messages[:-1], *messages))
        return await Asks(self.bench, request, self._model).ready()

    def made(self, *, whole: bool = True) -> str:
        """Its text."""
        question = self.questions.make(whole=whole)
        assert self.size(question) <= self.bench.site.room(len(self.questions.attached))
        return question.prompt.text

    @staticmethod
    def size(question: Question) -> int:
        return len(bytes(question.text))

    @property
    def params(self) -> list[str]:
        """Of what is attached."""
        return [part.param for part in self.questions.attached]

    def document(self) -> str:
        part = self.questions.attached[-1]
        assert part.param == HISTORY
        assert isinstance(part.source, Given)
        with part.source.content.reader() as reader:
            return reader.read().decode()


async def asks(bench: Bench, messages: Sequence[Message], model: Model = EYES, *, longest: int = 0) -> Asks:
    """longest: bytes that a question without files may have."""
    if longest:
        bench.site.longest = longest
    return await Asks(bench, TurnRequest(model=model.id, messages=tuple(messages)), model).ready()


def with_long_results(*more: str) -> tuple[Message, ...]:
    """An old result of 9000 bytes, and then the texts of user and assistant."""
    call = ToolCallPart("c", "read", "{}")
    return (
        message("user", "Read it."),
        message("assistant", call),
        message("user", ToolResultPart("c", "x" * 9000)),
        *(message("user" if at % 2 else "assistant", text) for at, text in enumerate(more)),
    )


def chat(turns: int) -> tuple[Message, ...]:
    """So many texts of 1000 bytes, and a last question."""
    return talk(*(f"{number} {WORDS}" for number in range(turns - turns % 2)), "And now?")


# --- what fits ---


async def test_what_is_short_enough_goes_as_it_is(make: MakeBench) -> None:
    asking = await asks(make(offload=True), chat(2))
    text = asking.made()
    assert WORDS.strip() in text
    record = asking.record
    assert (record.shortened, record.files, record.offloaded) == (0, 0, False)
    assert asking.questions.attached == ()


async def test_files_are_attached_in_the_order_in_which_the_text_counts_them(make: MakeBench) -> None:
    first, second, third = (given(picture(number), param=f"p{number}") for number in range(3))
    again = structs.replace(first, param="again")
    messages = (
        message("user", "Look:", second, first),
        message("assistant", "Nice."),
        message("user", again, third, "And this?"),
    )
    asking = await asks(make(), messages)
    text = asking.made()
    assert asking.params == ["p1", "p0", "p2"]
    places = [text.index(f"(attached image {number}: ") for number in (1, 2, 3)]
    assert places == sorted(places)
    assert asking.record.files == 3


async def test_a_file_needs_no_words(make: MakeBench) -> None:
    asking = await asks(make(), [message("user", given())])
    assert asking.made()
    assert len(asking.params) == 1


async def test_more_files_than_one_question_holds_are_no_matter_of_length(make: MakeBench) -> None:
    files = [given(picture(number), param=f"p{number}") for number in range(5)]
    asking = await asks(make(offload=True), [message("user", "Look:", *files)], longest=3500)
    with pytest.raises(InvalidRequest) as raised:
        asking.questions.make(whole=True)
    assert (raised.value.code, raised.value.param) == ("too_many_files", "p3")


async def test_files_that_leave_no_room_for_a_text_are_too_many(make: MakeBench) -> None:
    files = [given(picture(number), param=f"p{number}") for number in range(3)]
    asking = await asks(make(offload=True), [message("user", "Look:", *files)], longest=2001)
    with pytest.raises(InvalidRequest) as raised:
        asking.questions.make(whole=True)
    assert (raised.value.code, raised.value.param) == ("too_many_files", "p1")
    asking = await asks(make(), [message("user", "Look:", *files[:1])], longest=2001)
    asking.made()


async def test_no_words_and_no_file_are_no_question(make: MakeBench) -> None:
    asking = await asks(make(), [message("user", " ")])
    with pytest.raises(InvalidRequest) as raised:
        asking.questions.make(whole=True)
    assert raised.value.param == "messages"


async def test_room_is_left_for_the_files(make: MakeBench) -> None:
    bench, files = make(), [given(picture(number), param=f"p{number}") for number in range(2)]
    asking = await asks(bench, [message("user", WORDS, *files)], longest=5000)
    text = asking.made()
    bench.site.longest = len(json.dumps(text)) + 2000
    asking.made()
    bench.site.longest -= 1
    with pytest.raises(ContextTooLong):
        asking.questions.make(whole=True)


# --- what does not ---


async def test_old_results_are_shortened_first(make: MakeBench) -> None:
    asking = await asks(make(offload=True), with_long_results(*"abcdefgh"), longest=8000)
    text = asking.made()
    assert "bytes of this result are left out" in text
    assert (asking.record.shortened, asking.record.offloaded, asking.params) == (1, False, [])


async def test_what_is_still_too_long_goes_with_its_oldest_part_as_a_document(make: MakeBench) -> None:
    asking = await asks(make(offload=True), chat(20), longest=9000)
    text = asking.made()
    record = asking.record
    assert (record.offloaded, record.files, record.shortened) == (True, 1, 0)
    assert asking.questions.attached[-1].name in text
    assert "0 word" in asking.document()
    assert text.splitlines()[-2] == "And now?"
    for number in range(20):
        assert (f"\n{number} word" in asking.document()) != (f"\n{number} word" in text)


async def test_a_result_that_goes_into_the_document_is_not_shortened(make: MakeBench) -> None:
    texts = [WORDS * 2] * 8
    asking = await asks(make(offload=True), with_long_results(*texts), longest=12_000)
    asking.made()
    assert (asking.record.shortened, asking.record.offloaded) == (0, True)
    assert "x" * 9000 in asking.document()


async def test_the_document_comes_after_the_clients_files(make: MakeBench) -> None:
    history = chat(20)
    old = message("user", "Long ago.", given(picture(1), param="old"))
    last = message("user", "And now?", given(picture(2), param="new"))
    asking = await asks(make(offload=True), [old, message("assistant", "Yes."), *history[:-1], last], longest=12_000)
    text = asking.made()
    assert asking.params == ["old", "new", HISTORY]
    assert "(attached image 1: " in asking.document()
    assert "(attached image 2: " in text
    assert asking.record.files == 3


async def test_each_time_it_is_the_same_question(make: MakeBench) -> None:
    asking = await asks(make(offload=True), chat(20), longest=9000)
    text, attached = asking.made(), asking.questions.attached
    assert (asking.made(), asking.questions.attached) == (text, attached)
    assert asking.path.whole().text == text


async def test_where_no_document_may_be_attached_it_is_too_long(make: MakeBench) -> None:
    for offload, model in ((False, EYES), (True, SWITCH)):
        asking = await asks(make(offload=offload), chat(20), model, longest=9000)
        with pytest.raises(ContextTooLong) as raised:
            asking.questions.make(whole=True)
        assert raised.value.param == "messages"
        assert asking.questions.attached == ()
        assert not asking.record.offloaded


async def test_a_last_message_that_is_too_long_by_itself_is_too_long(make: MakeBench) -> None:
    asking = await asks(make(offload=True), [*chat(6)[:-1], message("user", WORDS * 12)], longest=9000)
    with pytest.raises(ContextTooLong):
        asking.questions.make(whole=True)


async def test_what_the_model_can_take_counts_the_documents_words_too(make: MakeBench) -> None:
    within, below = (_with_window(tokens) for tokens in (5000, 3000))
    asking = await asks(make(offload=True), chat(20), within, longest=9000)
    assert len(asking.made().split()) < 2000
    asking = await asks(make(offload=True), chat(20), below, longest=9000)
    with pytest.raises(ContextTooLong, match="takes 3,000"):
        asking.questions.make(whole=True)


@pytest.mark.parametrize(("words", "counted", "says"), [(40, 40, "about 40 "), (120, 40, "about 120 ")])
async def test_no_more_is_counted_than_it_takes_to_know(
    make: MakeBench, monkeypatch: pytest.MonkeyPatch, words: int, counted: int, says: str
) -> None:
    """Nothing else happens meanwhile."""
    monkeypatch.setattr(module, "SLICE", 200)
    asking = await asks(make(), [message("user", "word " * words)], _with_window(39))
    counts: list[int] = []

    def count(text: str) -> int:
        counts.append(len(text.split()))
        return counts[-1]

    monkeypatch.setattr(asking.questions, "_count", count)
    with pytest.raises(ContextTooLong, match=f"has {says}tokens, and {EYES.id} takes 39"):
        asking.questions.make(whole=True)
    assert sum(counts) == counted


async def test_of_what_cannot_fit_nothing_is_counted(make: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = await asks(make(), [message("user", "word " * 1000)], _with_window(300))
    monkeypatch.setattr(asking.questions, "_count", None)
    with pytest.raises(ContextTooLong, match="has at least 312 tokens"):
        asking.questions.make(whole=True)


def _with_window(tokens: int) -> Model:
    return Model(id=EYES.id, name="", capabilities=EYES.capabilities, context_window=tokens)


# --- texts that are attached instead of being said ---


def source(name: str, kilobytes: int) -> FilePart:
    """A text file that is short enough to be said."""
    text = f"# {name}\n" + "line\n" * (200 * kilobytes)
    return given(text.encode(), name=f"{name}.py", param=name)


def inlining(*replies: Reply, offload: bool = True) -> Bench:
    return Bench(*replies, offload=offload, files={"inline": 10_000})


@pytest.mark.parametrize("offload", [False, True])
async def test_texts_that_do_not_fit_together_are_attached_the_largest_first(offload: bool) -> None:
    parts: list[str | FilePart] = ["Compare:", source("a", 2), source("b", 4), source("c", 1), source("d", 3)]
    for longest, attached in ((20_000, []), (11_000, ["b"]), (7_000, ["b", "d"])):
        asking = await asks(inlining(offload=offload), [message("user", *parts)], longest=longest)
        text = asking.made()
        assert asking.params == attached
        for name in "abcd":
            assert (f"# {name}\n" in text) == (name not in attached)
        record = asking.record
        assert (record.files, record.offloaded, record.shortened) == (len(attached), False, 0)


async def test_a_single_text_that_is_attached_beside_words_needs_no_note() -> None:
    asking = await asks(inlining(), [message("user", "Read:", source("a", 4))], longest=4_000)
    assert (asking.made(), asking.params) == ("Read:", ["a"])


async def test_a_text_that_stands_in_two_places_is_attached_once_for_both() -> None:
    again = structs.replace(source("a", 2), param="again")
    messages = [message("user", source("a", 2)), message("assistant", "Yes."), message("user", "And now?", again)]
    asking = await asks(inlining(), messages, longest=3_500)
    text = asking.made()
    assert (asking.params, text.count("(attached document 1: a.py)"), "# a" in text) == (["a"], 2, False)


async def test_no_more_texts_are_attached_than_one_question_may_hold_documents() -> None:
    texts = [source(name, 3) for name in "abcd"]
    asking = await asks(inlining(), [message("user", *texts)], longest=10_000)
    asking.made()
    assert asking.params == ["a", "b"]
    for more in ([*texts, given(document(), param="d")], [source(name, 3) for name in "abcdefgh"]):
        asking = await asks(inlining(), [message("user", *more)], longest=8_000)
        with pytest.raises(ContextTooLong):
            asking.questions.make(whole=True)
        assert asking.questions.attached == ()


async def test_pictures_leave_room_for_texts_as_documents() -> None:
    parts = [given(picture(1), param="p"), source("a", 4), source("b", 4)]
    asking = await asks(inlining(), [message("user", *parts)], longest=6_000)
    asking.made()
    assert asking.params == ["p", "a", "b"]


async def test_where_old_results_can_be_shortened_enough_nothing_is_attached() -> None:
    messages = (*with_long_results(*"abcdefg"), message("user", "And?", source("a", 3)))
    asking = await asks(inlining(), messages, longest=9_000)
    asking.made()
    assert (asking.record.shortened, asking.params) == (1, [])


async def test_attaching_comes_before_shortening_and_attaching() -> None:
    messages = (*with_long_results(*"abcdefg"), message("user", "And?", source("a", 9)))
    asking = await asks(inlining(), messages, longest=13_000)
    asking.made()
    assert (asking.record.shortened, asking.params) == (0, ["a"])
    asking = await asks(inlining(), messages, longest=8_000)
    asking.made()
    assert (asking.record.shortened, asking.params, asking.record.offloaded) == (1, ["a"], False)


async def test_a_last_message_whose_texts_are_too_long_is_told_beside_the_document() -> None:
    messages = [*chat(20)[:-1], message("user", "And now?", source("a", 4), source("b", 4), source("c", 1))]
    asking = await asks(inlining(), messages, longest=12_000)
    text = asking.made()
    assert asking.params == ["a", HISTORY]
    assert asking.record.offloaded
    assert "0 word" in asking.document()
    assert "(attached document 1: a.py)" in text
    assert ("# a\n" in text, "# b\n" in text, "# c\n" in text) == (False, True, True)


async def test_texts_of_old_messages_go_into_the_document() -> None:
    messages = [message("user", source("a", 4), source("b", 4)), message("assistant", "Yes."), *chat(20)]
    asking = await asks(inlining(), messages, longest=9_000)
    asking.made()
    assert asking.params == [HISTORY]
    assert "# a\n" in asking.document()


async def test_what_the_model_can_take_counts_texts_that_are_attached_too() -> None:
    messages = [message("user", source("a", 4), source("b", 4))]
    within, below = (Model(id=EYES.id, name="", capabilities=EYES.capabilities, context_window=n) for n in (3000, 1500))
    asking = await asks(inlining(), messages, within, longest=8_000)
    asking.made()
    assert asking.params == ["a"]
    asking = await asks(inlining(), messages, below, longest=8_000)
    with pytest.raises(ContextTooLong, match="takes 1,500"):
        asking.questions.make(whole=True)


async def test_a_note_makes_a_further_text_a_document() -> None:
    bench = inlining()
    asking = await asks(bench, [message("user", source("a", 4), source("b", 3), source("c", 2))], longest=9_000)
    asking.made()
    assert asking.params == ["a"]
    asking.questions.hint = "n" * 3_000
    assert asking.made().endswith(asking.questions.hint)
    assert asking.params == ["a", "b"]
    assert asking.made().count("(attached document ") == 2


# --- another try ---


async def test_a_note_stands_at_the_end(make: MakeBench) -> None:
    asking = await asks(make(), chat(2))
    first = asking.made()
    asking.questions.hint = HINT
    assert asking.made() == f"{first}\n\n{HINT}"


async def test_a_note_for_which_there_is_no_room_makes_the_rest_smaller(make: MakeBench) -> None:
    bench = make(offload=True)
    asking = await asks(bench, chat(20))
    text = asking.made()
    bench.site.longest = len(json.dumps(text)) + 10
    assert asking.made() == text
    asking.questions.hint = HINT
    assert asking.made().endswith(HINT)
    assert asking.record.offloaded


@pytest.mark.parametrize("hint", ["n", 'A "note". ' * 30, "n" * 2000])
async def test_beside_a_document_room_is_left_for_the_note(make: MakeBench, hint: str) -> None:
    bench = make(offload=True)
    for longest in range(9000, 11_000, 100):
        asking = await asks(bench, chat(20), longest=longest)
        asking.questions.hint = hint
        assert asking.made().endswith(hint)
        assert asking.record.offloaded


async def test_a_note_that_cannot_be_told_leaves_what_was_asked_last(make: MakeBench) -> None:
    asking = await asks(make(offload=True), chat(20), longest=9000)
    asking.made()
    attached, nonce = asking.questions.attached, asking.questions.nonce
    asking.questions.hint = "n" * 9000
    with pytest.raises(ContextTooLong):
        asking.questions.make(whole=True)
    assert (asking.questions.attached, asking.questions.nonce) == (attached, nonce)


# --- where it goes on ---


async def _gone_on(bench: Bench, *parts: str | FilePart, longest: int = 0) -> Asks:
    """After a turn with a picture that was answered."""
    first = TurnRequest(model=EYES.id, messages=(message("user", "Look.", given(picture(1), param="old")),))
    second = after(first, await bench.answered(first), *parts)
    if longest:
        bench.site.longest = longest
    return await Asks(bench, second, EYES).ready()


async def test_only_new_files_go_with_what_is_new(make: MakeBench) -> None:
    asking = await _gone_on(make(answer(say("Nice."))), "And this?", given(picture(2), param="new"))
    assert asking.path.way == "continue"
    assert asking.made(whole=False) == "And this?"
    assert (asking.params, asking.record.files) == (["new"], 1)
    asking.made()
    assert (asking.params, asking.record.files) == (["old", "new"], 2)


async def test_what_is_new_is_neither_shortened_nor_made_a_document(make: MakeBench) -> None:
    asking = await _gone_on(make(answer(say("Nice.")), offload=True), longest=7500)
    asking = await asking.more(message("user", WORDS * 4), message("user", WORDS * 4))
    assert asking.path.way == "continue"
    with pytest.raises(ContextTooLong):
        asking.questions.make(whole=False)
    assert (asking.record.shortened, asking.record.offloaded) == (0, False)


async def test_documents_of_the_clients_are_files_like_others(make: MakeBench) -> None:
    asking = await asks(make(offload=True), [message("user", "Read:", given(document(), name="a.pdf", param="p"))])
    asking.made()
    assert asking.params == ["p"]
    assert not asking.record.offloaded


@pytest.mark.parametrize("way", ["continue", "catchup"])
async def test_new_texts_that_do_not_fit_together_are_attached_where_it_goes_on(way: str) -> None:
    bench = inlining(answer(say("Nice.")))
    first = TurnRequest(model=EYES.id, messages=(message("user", WORDS, source("old", 5)),))
    reply = await bench.answered(first)
    request = after(first, reply, "And these?", source("a", 3), source("b", 4))
    if way == "catchup":
        told = [message("user", "Hm."), message("assistant", "Not mine."), request.messages[-1]]
        request = structs.replace(request, messages=(*request.messages[:-1], *told))
    bench.site.longest = 7_500
    asking = await Asks(bench, request, EYES).ready()
    assert asking.path.way == way
    text = asking.made(whole=False)
    assert asking.params == ["b"]
    assert ("# a\n" in text, "# b\n" in text, "# old\n" in text) == (True, False, False)
    assert asking.path.packed().text == text
    assert asking.made(whole=False) == text


async def test_whether_a_text_was_said_or_attached_the_conversation_goes_on_after_it() -> None:
    bench = inlining(answer(say("Nice.")), answer(say("Good.")))
    bench.site.longest = 7_000
    first = TurnRequest(model=EYES.id, messages=(message("user", source("a", 4), source("b", 4)),))
    reply = await bench.answered(first)
    assert bench.record.files == 1
    bench.site.longest = 70_000
    asking = await Asks(bench, after(first, reply, "And?"), EYES).ready()
    assert (asking.path.way, asking.made(whole=False)) == ("continue", "And?")
    asking.made()
    assert asking.params == []
