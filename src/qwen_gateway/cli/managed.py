"""How a command reaches accounts, keys and usage: on the same database as a gateway that runs, and beside it."""

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from qwen_gateway.cli import options
from qwen_gateway.cli.views import Management

T = TypeVar("T")
_WARNING = 30


def managed(config: str | None, set_: list[str] | None, work: Callable[[Management], Awaitable[T]]) -> T:
    """Does `work`. Questions to the person are asked outside of it: Ctrl-C would not end them while a loop runs.

    Raises SettingsError and the faults of the management.
    """
    settings = options.load({"config": config, "set": set_}).settings

    import asyncio

    from qwen_gateway import app

    async def opened() -> T:
        async with app.management(settings) as management:
            return await work(management)

    with quiet_logs():
        return asyncio.run(opened())


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Only warnings, and never on standard output: what a command prints there may be read by a program."""
    import structlog

    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(_WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        yield
    finally:
        structlog.configure(**before)
