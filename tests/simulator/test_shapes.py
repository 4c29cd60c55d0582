"""The checks themselves: every recording passes them, every mutilation is caught."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .shapes import Source, faults_of

CORPUS = Path(__file__).parents[1] / "corpus"
WIRE = sorted(CORPUS.glob("sse_t2*.txt")) + sorted(CORPUS.glob("sse_search*.txt"))
PARTS = sorted(set(CORPUS.glob("*sse_*.txt")) - set(WIRE))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", WIRE, ids=lambda path: path.stem)
def test_a_recording_of_the_wire_has_the_shape(path: Path) -> None:
    assert faults_of(_read(path)) == []


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_a_recording_of_frames_has_the_frames_shape(path: Path) -> None:
    assert faults_of(_read(path), Source.PARTS) == []


def test_no_recording_is_left_out() -> None:
    assert len(WIRE) == 4
    assert len(PARTS) == 4


def _renumbered(text: str) -> str:
    return re.sub(r'"output_tokens": 4, (.*?)"total_tokens": 1312', r'"output_tokens": 0, \1"total_tokens": 1308', text)


MUTILATIONS: dict[str, tuple[str, Callable[[str], str]]] = {
    "closing frame lost": ("t2t_fast", lambda text: text[: text.rindex("data: ")]),
    "closing frame twice": ("t2t_fast", lambda text: text + text[text.rindex("data: ") :]),
    "blank line lost": ("t2t_fast", lambda text: text.replace("\n\n", "\n", 2)),
    "cut inside an event": ("t2t_fast", lambda text: text[:-30]),
    "tight spelling": ("t2t_fast", lambda text: text.replace('", "', '","')),
    "escaped characters": ("t2t_fast", lambda text: text.replace("à", "\\u00e0")),
    "blank after created lost": ("t2t_fast", lambda text: text.replace("}} \n", "}}\n")),
    "created lost": ("t2t_fast", lambda text: text[text.index("\n\n") + 2 :]),
    "done mark": ("t2t_fast", lambda text: text + "data: [DONE]\n\n"),
    "usage incomplete": ("t2t_fast", lambda text: text.replace('"characters": 0, ', "")),
    "usage shrinks": ("t2t_fast", _renumbered),
    "phase unknown": ("t2t_fast", lambda text: text.replace('"answer"', '"reply"', 1)),
    "other response": ("t2t_fast", lambda text: text.replace('"response_id": "f', '"response_id": "0', 1)),
    "thoughts not cumulative": ("t2t_thinking", lambda text: text.replace("Greeting the user", "Bye", 1)),
    "arguments not cumulative": ("search", lambda text: text.replace('{\\"queries\\": "', '{\\"q\\": "', 1)),
}


@pytest.mark.parametrize("name", MUTILATIONS)
def test_a_mutilated_stream_is_rejected(name: str) -> None:
    kind, mutilate = MUTILATIONS[name]
    whole = _read(next(CORPUS.glob(f"sse_{kind}_*.txt")))
    assert mutilate(whole) != whole
    assert faults_of(mutilate(whole)) != []
