"""How commands print: tables that keep whole names at 80 columns, sentences, JSON."""

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import typer

from qwen_gateway.cli.visible import visible

if TYPE_CHECKING:
    from rich.table import Table

    from qwen_gateway.cli.views import AccountView

_LONGEST_UNBROKEN = 36
_LABEL = re.compile(r"(?:[A-Z]\w*: )? {1,9}(?=\S)")


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Sequence[str]]],
    *,
    numbers: Iterable[str] = (),
    unbroken: Iterable[str] = (),
    least: Mapping[str, int] = MappingProxyType({}),
    total: Sequence[str] | None = None,
) -> None:
    """Cells are folded and never cut; the first one, a name, only when it is very long. A cell may have several lines.
    numbers: columns that are aligned to the right. unbroken: those that stay on one line. least: how narrow columns may
    become, in characters."""
    from rich.console import Console

    lines = [[_cell(cell) for cell in row] for row in rows]
    table = _table(columns, set(numbers), set(unbroken), least)
    table.columns[0].no_wrap = all(len(line[0]) <= _LONGEST_UNBROKEN for line in lines)
    for line in lines:
        _add(table, line)
    if total is not None:
        table.add_section()
        _add(table, total)
    Console().print(table)


def _table(columns: Sequence[str], numbers: set[str], unbroken: set[str], least: Mapping[str, int]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for name in columns:
        if name in numbers:
            table.add_column(name, justify="right", no_wrap=True)
        else:
            table.add_column(name, overflow="fold", no_wrap=name in unbroken, min_width=least.get(name))
    return table


def _cell(cell: str | Sequence[str]) -> str:
    return visible(cell) if isinstance(cell, str) else "\n".join(map(visible, cell))


def _add(table: "Table", cells: Sequence[str]) -> None:
    from rich.text import Text

    table.add_row(*(Text(cell) for cell in cells))  # Text: brackets are no markup


def print_json(value: object) -> None:
    """A struct, or what holds structs."""
    import json

    import msgspec

    print(json.dumps(msgspec.to_builtins(value), indent=2))


def account_fields(account: "AccountView") -> dict[str, Any]:
    """For JSON. Without `in_use`, which counts for one process, and that of a command answers nothing."""
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(account)
    fields.pop("in_use", None)
    return fields


def say(text: str, *, err: bool = False) -> None:
    """A sentence with words from elsewhere in it. Long ones are broken between words, to fit the terminal."""
    import shutil
    import textwrap

    width = max(40, min(shutil.get_terminal_size().columns, 100)) - 1
    for line in visible(text, lines=True).split("\n"):
        broken = textwrap.fill(
            line, width, break_long_words=False, break_on_hyphens=False, subsequent_indent=_indent(line)
        )
        typer.echo(broken, err=err)


def _indent(line: str) -> str:
    """Lines go on below where they began, behind a label and two blanks."""
    label = _LABEL.match(line)
    return " " * (label.end() if label else 0)
