import pytest
from tests.toolcall.answers import NONCE, OPEN

from qwen_gateway.toolcall.arguments import Arguments
from qwen_gateway.toolcall.draft import COMPARED, EARLY, LARGEST, WORTH, Draft, quoted_in, squeezed
from qwen_gateway.toolcall.markers import Marker, Markers
from qwen_gateway.toolcall.pieces import Commit


def draft(level: int = 3) -> Draft:
    reader = Arguments(lambda _: None, Markers(NONCE).boundary)
    return Draft(Marker("open", "bracket", level, 16), 16, OPEN, reader, 5.0)  # type: ignore[arg-type]


def fed(text: str, level: int = 3) -> Draft:
    one = draft(level)
    one.feed(text, final=False)
    return one


BEGUN = '{"name": "a", "arguments": {"b": "'


@pytest.mark.parametrize(
    ("commit", "size", "elapsed", "shown"),
    [
        ("complete", 5000, 99.0, False),
        ("hybrid", 2041, 7.9, False),
        ("hybrid", 2042, 5.0, True),
        ("hybrid", WORTH - 7, 99.0, False),
        ("hybrid", WORTH - 6, 7.9, False),
        ("hybrid", WORTH - 6, 8.0, True),
        ("eager", EARLY - 7, 99.0, False),
        ("eager", EARLY - 6, 5.0, True),
    ],
)
def test_when_a_call_is_shown(commit: Commit, size: int, elapsed: float, shown: bool) -> None:
    one = fed(BEGUN + "x" * size)
    assert one.may_be_shown(commit, elapsed, lambda _: False) is shown
    assert not fed(BEGUN + "x" * size, level=2).may_be_shown(commit, elapsed, lambda _: False)


def test_nothing_is_shown_before_its_name_is_known() -> None:
    assert not fed('{"arguments": {"b": "' + "x" * 5000).may_be_shown("eager", 99.0, lambda _: False)


def test_a_call_that_the_client_wrote_is_not_shown_and_asked_for_only_once() -> None:
    one = fed(BEGUN + "x" * 3000)
    asked: list[str] = []

    def quoted(text: str) -> bool:
        asked.append(text)
        return True

    assert not one.may_be_shown("hybrid", 0, quoted)
    assert not one.may_be_shown("hybrid", 0, quoted)
    assert asked == [squeezed((OPEN + BEGUN + "x" * 3000)[:COMPARED])]


def test_its_text_ends_where_it_ends() -> None:
    one = fed('{"name": "a"}\n[END')
    assert (one.state, one.text, one.rest) == ("whole", OPEN + '{"name": "a"}', "\n[END")
    assert one.comparable == one.text
    assert fed('{"name": "a"} x', level=2).comparable == '\n{"name": "a"}'


def test_too_long_a_call_is_broken() -> None:
    one = fed(BEGUN + "x" * LARGEST)
    assert (one.state, one.why) == ("broken", "a call that is too long")
    assert len(one.rest) == len(OPEN) + len(BEGUN)


def test_a_repair_that_may_be_a_guess_must_pass_the_strictest_check() -> None:
    assert fed('{"name": "a", "arguments": {"b": "c"}}').level == 3
    assert fed('{"name": "a", "arguments": {"b": "c"}}', level=2).level == 2
    assert fed('{"name": "a", "arguments": {"b": "c"d"}}\n[END TOOL CALL] ').level == 1


def test_texts_are_compared_without_white_space() -> None:
    quoted = quoted_in(["a b\n c", "d"])
    assert quoted(squeezed("b\tc"))
    assert not quoted(squeezed("c d"))
    assert not quoted("")
