"""Questions: a yes goes on, anything else changes nothing."""

import pytest
import typer

from qwen_gateway.cli.asking import confirm


def test_a_yes_beforehand_asks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    confirm("Sure?", yes=True)
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_it_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        confirm("Sure?", yes=False)
    assert caught.value.exit_code == 2
    assert "add --yes" in capsys.readouterr().err
