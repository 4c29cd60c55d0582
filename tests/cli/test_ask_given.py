"""What `ask` is given: words, what is piped in, files; and what cannot be a question."""

import os
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from qwen_gateway.cli import ask_given


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> BytesIO:
    """What is written to it is on standard input."""
    buffer = BytesIO()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=buffer, fileno=buffer.fileno, isatty=lambda: False))
    return buffer


@pytest.mark.parametrize(
    ("words", "given", "whole"),
    [
        (["Who", "are you?"], b"", ("Who are you?", "")),
        (["Review this."], b"\n+ one\n\n- two\n\n", ("Review this.", "+ one\n\n- two")),
        (["-"], b"Who are you?\r\n", ("", "Who are you?")),
        (["Review", "-"], b"this", ("Review", "this")),
        ([], b"Who are you?", ("", "Who are you?")),
        (["Hello"], b" \n", ("Hello", "")),
        ([], "\ufeffWer bist du, Käthe?".encode(), ("", "Wer bist du, Käthe?")),
        ([], "Wer bist du, Käthe?".encode("utf-16"), ("", "Wer bist du, Käthe?")),
        ([], b"K\xe4the", ("", "K\ufffdthe")),
        (["K\udce4the"], b"", ("K\ufffd\ufffd\ufffdthe", "")),
    ],
)
def test_words_and_what_is_piped_in_make_the_question(
    words: list[str], given: bytes, whole: tuple[str, str], piped: BytesIO
) -> None:
    piped.write(given)
    piped.seek(0)
    assert ask_given.question(words) == whole


@pytest.mark.parametrize(
    ("words", "given", "said"),
    [
        ([], b"", "nothing was asked"),
        (["-"], b"\n", "nothing was asked"),
        ([" "], b"", "nothing was asked"),
        (["What is this?"], b"\x89PNG\0\0", "standard input is not text"),
        (["What is this?"], b"x" * (ask_given.MOST + 1), "standard input is larger than 20 MB"),
    ],
)
def test_what_is_no_question_is_said(
    words: list[str], given: bytes, said: str, piped: BytesIO, capsys: pytest.CaptureFixture[str]
) -> None:
    piped.write(given)
    piped.seek(0)
    with pytest.raises(typer.Exit) as refused:
        ask_given.question(words)
    assert refused.value.exit_code == 2
    assert said in capsys.readouterr().err


def test_standard_input_that_feeds_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: int) -> bytes:
        raise AssertionError("nobody asked for it")

    with Path(os.devnull).open("rb") as nowhere:
        stdin = SimpleNamespace(buffer=SimpleNamespace(read=never), fileno=nowhere.fileno, isatty=lambda: False)
        monkeypatch.setattr("sys.stdin", stdin)
        assert ask_given.question(["Hello"]) == ("Hello", "")
    monkeypatch.setattr("sys.stdin", None)
    assert ask_given.question(["Hello"]) == ("Hello", "")


def test_files_are_taken_as_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "a [b].png").touch()
    assert ask_given.files([str(tmp_path / "a [b].png")]) == [tmp_path / "a [b].png"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone.png", "--file gone.png: it cannot be read: No such file or directory."),
        (".", "--file .: this is not a file."),
        ("fifo", "--file fifo: this is not a file."),
    ],
)
def test_what_is_no_file_is_said(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    with pytest.raises(typer.Exit) as refused:
        ask_given.files([name])
    assert refused.value.exit_code == 2
    assert capsys.readouterr().err == f"qwen-gateway: {said}\n"
