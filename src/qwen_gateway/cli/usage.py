"""`usage`: how many requests and tokens, by day, key, model, account, endpoint or how they ended."""

import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct, structs

from qwen_gateway.cli import options
from qwen_gateway.cli.plainly import fail, plain_errors
from qwen_gateway.cli.spans import read_since, read_until
from qwen_gateway.cli.views import UsageBy

if TYPE_CHECKING:
    from qwen_gateway.cli.views import Management, UsageSum

_COLUMNS = "first word: mean time until the answer begins; added: the part of it that the gateway took."
_ESTIMATED = "~: the site did not count the tokens of {estimated:,} of {requests:,} requests: they are estimated."
_NOBODY = {"key": "(no key)", "account": "(no account)", "model": "(no model)", "end": "(unknown)"}


class Row(Struct, frozen=True):
    """A line of the table. The fields mean what they mean in `relay.ports.UsageSum`; label: the name for people."""

    name: str
    label: str
    requests: int
    failed: int
    input: int
    output: int
    reasoning: int
    cached: int
    estimated: int
    mean_first_event: float | None
    mean_added: float


def usage(  # noqa: PLR0913, PLR0917  (each parameter is a flag)
    by: Annotated[UsageBy, typer.Option("--by", help="What a line stands for.")] = "day",
    since: Annotated[
        str, typer.Option("--since", metavar="WHEN", help="Days such as 7d (today is one), 12h, or a date.")
    ] = "7d",
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help="Last day; today without one.", show_default=False)
    ] = None,
    chart: Annotated[
        bool | None,
        typer.Option("--chart/--no-chart", help="Bars of the tokens; on a terminal by default.", show_default=False),
    ] = None,
    as_json: options.Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets.")] = False,
    config: options.Config = None,
    set_: options.Set = None,
) -> None:
    """Show requests and tokens. Days are UTC days."""
    if as_json and as_csv:
        raise fail("--json and --csv are two forms of the same. Give one of them.")
    start, end = _span(since, until)
    from qwen_gateway.cli.managed import managed

    async def work(management: "Management") -> "tuple[Sequence[UsageSum], dict[str, str]]":
        return await management.usage(by, start, end), await _names(management, by)

    with plain_errors():
        sums, names = managed(config, set_, work)
    rows = [_row(one, names.get(one.name) or one.name or _NOBODY.get(by, "(none)")) for one in sums]
    if by == "day" and rows:
        rows = _every_day(rows, min(end, time.time()))
    if as_json:
        _print_json(by, start, end, rows)
    elif as_csv:
        _print_csv(by, rows)
    elif not rows:
        print(f"No requests {_period(start, end)}.")
    else:
        _print_table(by, rows, _period(start, end))
        if sys.stdout.isatty() if chart is None else chart:
            _print_chart(rows)


def _span(since: str, until: str | None) -> tuple[float, float]:
    now = time.time()
    flag = "--since"
    try:
        start = read_since(since, now)
        flag = "--until"
        end = now if until is None else read_until(until)
    except ValueError as error:
        raise fail(f"{flag}: {error}") from None
    if start >= end:
        raise fail("the time that --since names is after that of --until (or after now).")
    return start, end


async def _names(management: "Management", by: UsageBy) -> dict[str, str]:
    """Ids → what people call them. What is gone keeps its id."""
    if by == "key":
        return {key.id: key.name for key in await management.keys()}
    if by == "account":
        return {account.id: account.name for account in management.accounts()}
    return {}


def _row(one: "UsageSum", label: str) -> Row:
    return Row(
        one.name,
        label,
        one.requests,
        one.failed,
        one.input,
        one.output,
        one.reasoning,
        one.cached,
        one.estimated,
        one.mean_first_event,
        one.mean_added,
    )


def _every_day(rows: list[Row], end: float) -> list[Row]:
    """Also the days without requests, from the first with some: a gap is news too."""
    known = {row.name: row for row in rows}
    last = datetime.fromtimestamp(end - 1, UTC).date()
    day, days = date.fromisoformat(min(known)), []
    while day <= max(last, date.fromisoformat(max(known))):
        name = day.isoformat()
        days.append(known.get(name) or Row(name, name, 0, 0, 0, 0, 0, 0, 0, None, 0.0))
        day += timedelta(days=1)
    return days


def _total(rows: list[Row]) -> Row:
    figures = {
        name: sum(getattr(row, name) for row in rows)
        for name in ("requests", "failed", "input", "output", "reasoning", "cached", "estimated")
    }
    return Row("", "total", **figures, mean_first_event=None, mean_added=0.0)


def _period(start: float, end: float) -> str:
    first, last = (datetime.fromtimestamp(at, UTC) for at in (start, end - 1))
    if start % 86_400:
        return f"since {first:%Y-%m-%d %H:%M} (UTC)"
    return (
        f"on {first:%Y-%m-%d} (UTC)"
        if first.date() == last.date()
        else f"from {first:%Y-%m-%d} to {last:%Y-%m-%d} (UTC)"
    )


def _print_json(by: str, start: float, end: float, rows: list[Row]) -> None:
    from qwen_gateway.cli.tables import print_json

    print_json({"by": by, "since": start, "until": end, "rows": rows, "total": _figures(_total(rows))})


def _figures(total: Row) -> dict[str, int]:
    return {name: value for name, value in structs.asdict(total).items() if type(value) is int}


def _print_csv(by: str, rows: list[Row]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    fields = [name for name in Row.__struct_fields__ if name != "label"]
    writer.writerow(["id" if by in {"key", "account"} else by, "name", *fields[1:]])
    for row in rows:
        cells = [row.name, row.label, *(getattr(row, name) for name in fields[1:])]
        writer.writerow([_harmless(cell) if isinstance(cell, str) else cell for cell in cells])


def _harmless(cell: str) -> str:
    """A spreadsheet takes what begins like this for a formula, and runs it (C-43)."""
    from qwen_gateway.cli.visible import visible

    text = visible(cell)
    return f"'{text}" if text.lstrip()[:1] in {"=", "+", "-", "@"} else text


def _print_table(by: str, rows: list[Row], period: str) -> None:
    from qwen_gateway.cli.tables import print_table, say

    total = _total(rows)
    columns = (by, "requests", "failed", "input", "output", "first word", "added")
    print(f"Tokens {period}:")
    print_table(columns, [_cells(row) for row in rows], numbers=columns[1:], total=(*_cells(total)[:-2], "", ""))
    say(_COLUMNS)
    if total.estimated:
        say(_ESTIMATED.format(estimated=total.estimated, requests=total.requests))


def _cells(row: Row) -> tuple[str, ...]:
    mark = "~" if row.estimated else ""
    first = "" if row.mean_first_event is None else f"{row.mean_first_event:.1f} s"
    added = f"{row.mean_added * 1000:.0f} ms" if row.requests else ""
    return (
        row.label,
        f"{row.requests:,}",
        f"{row.failed:,}",
        f"{mark}{row.input:,}",
        f"{mark}{row.output:,}",
        first,
        added,
    )


def _print_chart(rows: list[Row]) -> None:
    import shutil

    from qwen_gateway.cli.chart import bars

    width = min(shutil.get_terminal_size().columns, 100) - 1
    tokens = [(row.label, row.input + row.output, _tokens(row)) for row in rows]
    print("\nTokens, in and out:\n")
    for line in bars(tokens, width, sys.stdout.encoding or "ascii"):
        print(line)


def _tokens(row: Row) -> str:
    return f"{'~' if row.estimated else ''}{row.input + row.output:,}"
