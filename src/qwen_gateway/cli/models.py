"""`models`: what the site offers the configured account."""

import sys
from typing import TYPE_CHECKING

import typer

from qwen_gateway.cli import options
from qwen_gateway.cli.plainly import plain_errors

if TYPE_CHECKING:
    from qwen_gateway.turn.catalog import Catalog
    from qwen_gateway.turn.faults import Fault

_STALE = "This is the list that comes with the gateway, and it may be out of date: the site did not give its own."


def models(as_json: options.Json = False, config: options.Config = None, set_: options.Set = None) -> None:
    """List the models that the site offers your account."""
    with plain_errors():
        import asyncio
        import tempfile
        from pathlib import Path

        from qwen_gateway import app

        settings = options.load({"config": config, "set": set_}).settings
        # A directory of its own: a gateway that runs has its lock on the usual one.
        with tempfile.TemporaryDirectory(prefix="qwen-gateway-models-") as directory:
            catalog, problem = asyncio.run(app.list_models(settings.model_copy(update={"data_dir": Path(directory)})))
    if as_json:
        _print_json(catalog, problem)
    else:
        _print_table(catalog)
    if problem is not None:
        print(f"{_STALE}\n{problem.text}", file=sys.stderr)
        raise typer.Exit(1)


def _print_json(catalog: "Catalog", problem: "Fault | None") -> None:
    import json

    import msgspec

    listed = [{**msgspec.to_builtins(model), "variants": model.variants} for model in catalog.models]
    why = None if problem is None else {"code": problem.code, "text": problem.text}
    print(json.dumps({"stale": catalog.stale, "problem": why, "models": listed}, indent=2))


def _print_table(catalog: "Catalog") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("id", "context window", "thinking", "capabilities", "variants", box=box.SIMPLE_HEAD)
    table.columns[0].no_wrap = True
    table.columns[-1].min_width = len("-thinking-search")
    for model in catalog.models:
        window = f"{model.context_window:,}" if model.context_window else "unknown"
        suffixes = " ".join(name.removeprefix(model.id) for name in model.variants)
        cells = (model.id, window, model.thinking, ", ".join(model.capabilities), suffixes)
        table.add_row(*(Text(cell) for cell in cells))
    Console().print(table)
