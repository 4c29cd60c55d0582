"""Options that several commands have, and the way from them to settings."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qwen_gateway.settings_sources import Loaded

Config = Annotated[
    str | None, typer.Option("--config", metavar="FILE", help="TOML file of settings, instead of qwen-gateway.toml.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any other setting but secrets. Can be given repeatedly."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def load(flags: Mapping[str, object]) -> "Loaded":
    """Settings as this process is given them: flags, environment and files. Raises SettingsError."""
    import os
    from pathlib import Path

    from qwen_gateway import settings_sources

    return settings_sources.load(flags, os.environ, Path.cwd())
