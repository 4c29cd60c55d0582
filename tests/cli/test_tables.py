"""Tables keep whole names; sentences break between words."""

import pytest

from qwen_gateway.cli.tables import print_table, say


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_a_name_of_any_length_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    name = "n" * 100
    print_table(("name", "text"), [(name, "word " * 50)])
    said = capsys.readouterr().out
    assert said.count("n") >= 100
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= 80


def test_a_column_can_have_a_least_width(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "a", "b"), [("x", "word " * 50, "unbroken-word-of-24-signs")], least={"b": 25})
    assert "unbroken-word-of-24-signs" in capsys.readouterr().out


def test_a_sentence_breaks_between_words_and_keeps_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    say("Session:  " + "word " * 20 + "\n  " + "x" * 90)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(" " * 10 + "word")
    assert lines[-1].strip() == "x" * 90
    assert max(map(len, lines[:2])) < 80
