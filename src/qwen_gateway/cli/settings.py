"""`settings`: every setting, its value and where it came from."""

from typing import TYPE_CHECKING

from qwen_gateway.cli import options
from qwen_gateway.cli.plainly import plain_errors

if TYPE_CHECKING:
    from qwen_gateway.settings_sources import Shown


def settings(as_json: options.Json = False, config: options.Config = None, set_: options.Set = None) -> None:
    """Show every setting, its value, and where it came from. Secrets are masked."""
    with plain_errors():
        from qwen_gateway.settings_sources import describe

        rows = list(describe(options.load({"config": config, "set": set_})))
    if as_json:
        import json

        print(json.dumps({row.name: {"value": row.value, "origin": row.origin} for row in rows}, indent=2))
    else:
        _print_table(rows)


def _print_table(rows: "list[Shown]") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("where it came from", overflow="fold")
    for row in rows:
        style = "dim" if row.origin == "default" else ""
        table.add_row(row.name, Text(row.value), Text(row.origin), style=style)  # Text: brackets are no markup
    Console().print(table)
