"""`models`: what the site offers the configured account."""

import sys
from typing import TYPE_CHECKING

import typer

from qwen_gateway.cli import options
from qwen_gateway.cli.plainly import plain_errors
from qwen_gateway.cli.visible import visible

if TYPE_CHECKING:
    from qwen_gateway.turn.catalog import Catalog, Model
    from qwen_gateway.turn.faults import Fault

_STALE = "This is the list that comes with the gateway, and it may be out of date: the site did not give its own."


def models(as_json: options.Json = False, config: options.Config = None, set_: options.Set = None) -> None:
    """List the models that the site offers your account."""
    with plain_errors():
        import asyncio

        from qwen_gateway import app

        settings = options.load({"config": config, "set": set_}).settings
        catalog, problem = asyncio.run(app.list_models(settings))
    if as_json:
        _print_json(catalog, problem)
    else:
        _print_table(catalog)
    if problem is not None:
        print(f"{_STALE}\n{visible(problem.text, lines=True)}", file=sys.stderr)
        raise typer.Exit(1)


def _print_json(catalog: "Catalog", problem: "Fault | None") -> None:
    import json

    import msgspec

    listed = [{**msgspec.to_builtins(model), "variants": model.variants} for model in catalog.models]
    why = None if problem is None else {"code": problem.code, "text": problem.text}
    print(json.dumps({"stale": catalog.stale, "problem": why, "models": listed}, indent=2))


def _print_table(catalog: "Catalog") -> None:
    from qwen_gateway.cli.tables import print_table

    columns = ("id", "context window", "thinking", "capabilities", "variants")
    print_table(columns, map(_row, catalog.models), least={"variants": len("-thinking-search")})


def _row(model: "Model") -> tuple[str, ...]:
    window = f"{model.context_window:,}" if model.context_window else "unknown"
    suffixes = " ".join(name.removeprefix(model.id) for name in model.variants)
    return model.id, window, model.thinking, ", ".join(model.capabilities), suffixes
