"""How an answer is shown, piece by piece; what is said beside it."""

import sys

import pytest

from qwen_gateway.cli.ask_answer import Answer, harmless
from qwen_gateway.turn.events import Event, Failed, Finished, FinishReason, Reasoning, Text
from qwen_gateway.turn.faults import Incomplete


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both streams count as terminals. Not in a fixture: pytest has others there."""
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")  # without colours


async def shown(*lists: list[Event], raw: bool = False) -> Answer:
    answer = Answer(raw=raw, as_json=False)
    for events in lists:
        await answer.show(events)
    return answer


async def test_each_piece_is_there_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    answer = await shown([Reasoning("Hm."), Text("a"), Text("b")])
    assert capsys.readouterr().out == "ab"
    await answer.show([Text("c"), Finished()])
    assert capsys.readouterr().out == "c"
    answer.complete("qwen3.7-plus", ())
    said = capsys.readouterr()
    assert (said.out, said.err) == ("\n", "")


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("length", "The answer is cut off: it is as long as the model can write.\n"),
        ("content_filter", "The answer is cut off by the site's content filter.\n"),
    ],
)
async def test_an_answer_that_was_cut_off_says_so(
    reason: FinishReason, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (await shown([Text("a\n"), Finished(reason)])).complete("qwen3.7-plus", ())
    assert capsys.readouterr() == ("a\n", said)


async def test_the_fault_of_an_answer_that_failed_comes_at_its_end() -> None:
    answer = await shown([Text("a")], [Failed(Incomplete("It broke."))])
    with pytest.raises(Incomplete):
        answer.complete("qwen3.7-plus", ())
    answer.break_off()


async def test_on_a_terminal_thoughts_and_text_do_not_run_into_each_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_terminal(monkeypatch)
    answer = await shown([Reasoning("One\n\n")], [Reasoning("two."), Text("Yes")])
    assert capsys.readouterr() == ("Yes", "One\n\ntwo.\n\n")
    await answer.show([Reasoning("Again [b].")])
    assert capsys.readouterr() == ("", "\nAgain [b].")
    answer.break_off()
    assert capsys.readouterr() == ("\n", "\n\n")


@pytest.mark.parametrize(("raw", "out"), [(False, "a[2J\n"), (True, "a\x1b[2J")])
async def test_on_a_terminal_nothing_in_the_text_moves_its_cursor(
    raw: bool, out: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_terminal(monkeypatch)
    answer = await shown([Text("a\x1b[2J"), Finished()], raw=raw)
    answer.complete("qwen3.7-plus", ())
    assert capsys.readouterr().out == out


def test_tabs_and_line_breaks_stay() -> None:
    assert harmless("a\tb\nc\rd\x1b\u202e") == "a\tb\nc d"
