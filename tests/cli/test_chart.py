"""Bars of text: aligned, in proportion, and plain where the encoding has no blocks."""

import pytest

from qwen_gateway.cli.chart import bars


def test_bars_line_up_and_are_in_proportion() -> None:
    rows = [("a", 100, "100"), ("long", 50, "50"), ("none", 0, "0")]
    assert bars(rows, 27, "utf-8") == ["a     100  ████████████████", "long   50  ████████", "none    0"]


def test_eighths_show_small_differences_and_little_is_not_nothing() -> None:
    rows = [("a", 1_000_000, "x"), ("b", 1, "x"), ("c", 531_250, "x")]
    assert [line[6:] for line in bars(rows, 14, "utf-8")] == ["████████", "▏", "████▎"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "no such encoding"])
def test_without_blocks_bars_are_plain(encoding: str) -> None:
    assert bars([("a", 2, "2"), ("b", 1, "1")], 14, encoding) == ["a  2  ########", "b  1  ####"]


def test_wide_characters_take_two_columns() -> None:
    assert bars([("千问", 1, "1"), ("a", 1, "1")], 0, "utf-8") == ["千问  1  ████████", "a     1  ████████"]


def test_labels_are_text() -> None:
    assert bars([("a\x1b[2J\nb", 0, "0")], 40, "utf-8") == ["a[2J b  0"]


def test_no_rows_no_lines() -> None:
    assert bars([], 80, "utf-8") == []
