"""Files on their way: bars on a terminal, one line for each file elsewhere."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from qwen_gateway.cli.ask_transfers import Bars, Lines, transfers
from qwen_gateway.turn.files import FilePart, Stored


def part(name: str) -> FilePart:
    return FilePart(Stored("file-1"), name=name, param=f"--file {name}")


def test_elsewhere_each_file_has_a_line_once_it_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    shown = transfers()
    assert isinstance(shown, Lines)
    shown.reading(Path("cat.png"), 2_500_000, 2_500_000)
    for done in (0, 1_000_000, 0, 2_500_000, 2_500_000):
        shown.uploading(part("cat.png"), done, 2_500_000)
    shown.uploading(part("b\x1b[2J.pdf"), 1, 2)
    assert capsys.readouterr().err == "Uploaded cat.png (2.5 MB).\n"
    shown.uploading(part("b\x1b[2J.pdf"), 2, 2)
    shown.end()
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "Uploaded b[2J.pdf (2 bytes).\n")


def test_on_a_terminal_each_file_has_one_bar_that_goes_at_the_end() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, height=20, legacy_windows=False)
    bars = Bars(console)
    bars.end()
    assert screen.getvalue() == ""
    bars.reading(Path("folder") / "cat[b].png", 500_000, 1_000_000)
    progress = bars._progress
    assert progress is not None
    bars.reading(Path("b.pdf"), 10, 10)
    bars.uploading(FilePart(Stored("file-1"), name="cat[b].png", param="--file folder/cat[b].png"), 250_000, 1_000_000)
    bars.uploading(part("c.pdf"), 5, 5)
    progress.refresh()
    rows = [(task.description, task.completed, task.total) for task in progress.tasks]
    assert rows == [
        ("read b.pdf", 10, 10),
        (r"uploading cat\[b].png", 250_000, 1_000_000),
        ("uploaded c.pdf", 5, 5),
    ]
    assert "uploading cat[b].png" in screen.getvalue()
    bars.end()
    assert not progress.live.is_started
    assert screen.getvalue().endswith("\x1b[2K")  # nothing is where the bars were
    bars.end()
