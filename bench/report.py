"""What the numbers mean: the table with its aims, and the file of raw results."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

Rounds = Sequence[Mapping[str, Any]]
# scenario → line → its rounds; start-ups are kept under the scenario "start"
Results = Mapping[str, Mapping[str, Rounds]]

LIBRARIES = (
    "qwen-gateway aiohttp fastapi httptools msgspec prometheus-client pydantic starlette structlog uvicorn uvloop"
)


@dataclass(frozen=True)
class Row:
    """One line of the table. `aim` is what the gateway's figure may be at most, or at least if `at_least`."""

    scenario: str
    title: str
    figure: Callable[[Mapping[str, Any]], float | None]
    aim: float | None = None
    at_least: bool = False
    over_direct: bool = False  # the figure is the difference to the direct line
    over: str = ""  # the figure is the difference to that of the same line in this scenario
    line: str = "gateway"  # whose figure stands in the gateway's column
    cost: bool = False  # CPU time: the direct line has no process of its own
    not_yet: str = ""  # why it cannot be measured; the aim stays in sight


def _value(name: str, scale: float = 1) -> Callable[[Mapping[str, Any]], float | None]:
    def figure(one: Mapping[str, Any]) -> float | None:
        found = one.get(name)
        return None if found is None else found * scale

    return figure


def _point(series: str, point: str, scale: float = 1) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda one: one[series][point] * scale if one.get(series) else None


_EVENT_COST = _value("cpu_us_per_event")
_CHAT_COST = _value("cpu_us_per_chat", 0.001)
_IN_TIME = _value("in_time_percent")

ROWS = (
    Row("S1", "CPU ms/chat, chats kept", _CHAT_COST, 0.6, cost=True),
    Row("S1", "CPU ms/chat, chats kept for 24 h", _CHAT_COST, line="gateway-24", cost=True),
    Row("S1", "CPU ms/chat, chats deleted", _CHAT_COST, line="gateway-now", cost=True),
    Row("S1", "chats/s", _value("chats_per_second")),
    Row("S1c", "CPU ms/chat, second turn", _CHAT_COST, cost=True),
    Row("S1c", "… over S1", _CHAT_COST, 0.4, over="S1", cost=True),
    Row("S1h", "CPU ms/chat, 200 messages before", _CHAT_COST, cost=True),
    Row("S1h", "… over S1c", _CHAT_COST, 3, over="S1c", cost=True),
    Row("S2", "CPU µs/event", _EVENT_COST, 5, cost=True),
    Row("S2", "events/s", _value("events_per_second")),
    Row("S2t", "CPU µs/event, tools declared", _EVENT_COST, 10, cost=True),
    Row("S3m", "CPU µs/event", _EVENT_COST, 65, cost=True),
    Row("S3m", "in time, %", _IN_TIME),
    Row("S3m", "KiB per stream", _value("kib_per_stream"), cost=True),
    Row("S3", "in time, %", _IN_TIME, 95, at_least=True),
    Row("S3", "streams failed", _value("failed"), 0),
    Row("S3", "streams open at once", _value("open_peak")),
    Row("S3", "KiB per stream", _value("kib_per_stream"), 32, cost=True),
    Row("S3", "CPU µs/event", _EVENT_COST, cost=True),
    Row("S3", "first token, p50 ms", _point("first_mark_us", "p50", 0.001)),
    Row("S3", "first token, p99 ms", _point("first_mark_us", "p99", 0.001)),
    Row("S4", "first token, p50 µs", _point("first_mark_us", "p50")),
    Row("S4", "… over the direct line", _point("first_mark_us", "p50"), 1000, over_direct=True),
    Row("S5", "1 MB prompt, CPU ms", _CHAT_COST, 8, cost=True),
    Row("S5", "8 MB image, CPU ms", lambda _: None, not_yet="not yet: takes no files"),
    Row("start", "idle RSS, MB", _value("idle_rss_kib", 1024 / 1e6), 120),
    Row("start", "seconds to ready", _value("ready_seconds"), 2),
)


def table(results: Results, others: Sequence[str]) -> list[list[str]]:
    head = ["", "figure", "direct", "nginx", "gateway", "× nginx", "aim", "reached", *others]
    body = [_cells(row, results, others) for row in ROWS if row.scenario in results]
    return [head, *body]


def _cells(row: Row, results: Results, others: Sequence[str]) -> list[str]:
    lines = results[row.scenario]
    direct = None if row.cost else _median(row, lines.get("direct", ()))

    def base(line: str) -> float | None:
        if row.over:
            return _median(row, results.get(row.over, {}).get(line, ()))
        return direct if row.over_direct else 0.0

    def figure(line: str) -> float | None:
        found, less = _median(row, lines.get(line, ())), base(line)
        return None if found is None or less is None else found - less

    nginx, ours = figure("nginx"), figure(row.line)
    ratio = f"{ours / nginx:.1f}" if ours is not None and nginx and row.scenario != "start" else ""
    shown_direct = "–" if row.over_direct else _shown(direct)
    aim = "" if row.aim is None else f"{'≥' if row.at_least else '≤'} {row.aim:g}"
    return [
        row.scenario,
        row.title,
        shown_direct,
        _shown(nginx),
        _shown(ours),
        ratio,
        aim,
        row.not_yet or _reached(row, ours, lines.get(row.line, ())),
        *(_shown(figure(other)) for other in others),
    ]


def _median(row: Row, rounds: Rounds) -> float | None:
    values = [value for one in rounds if (value := row.figure(one)) is not None]
    return median(values) if values else None


def _reached(row: Row, value: float | None, rounds: Rounds) -> str:
    if failed := sum(one.get("failed", 0) for one in rounds):
        # A figure of the answers that did arrive whole says little when others did not.
        return f"no: {failed} failed"
    if any(one.get("replayed", 0) for one in rounds):
        return "no: replays"
    if row.aim is None:
        return ""
    if value is None:
        return "not measured"
    # Streams that wait until others have ended make the load lighter than the scenario: no aim is reached that way.
    least = min((one["open_peak"] for one in rounds if "in_time_percent" in one), default=None)
    if least is not None and least < rounds[0]["asked"]:
        return f"no: only {least} open at once"
    return "yes" if (value >= row.aim if row.at_least else value <= row.aim) else "no"


def _shown(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def printed(cells: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Everything a reader needs to judge the numbers, and nothing that names the machine."""
    cpu = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "kernel": platform.release(),
        "load_average": os.getloadavg(),
        "compiler": _output("cc", "--version").partition("\n")[0],
    }


def versions(nginx: str | None) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES.split():
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    found["nginx"] = _output(nginx, "-v").rpartition("/")[2].strip() if nginx else "absent"
    return found


def commit(root: Path) -> str:
    """The commit, marked when the tree differs from it."""
    short = _output("git", "-C", str(root), "rev-parse", "--short", "HEAD").strip()
    if not short or " " in short:
        return "uncommitted"
    changed = _output("git", "-C", str(root), "status", "--porcelain", "--", "src").strip()
    return f"{short}-dirty" if changed else short


def _output(*command: str) -> str:
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout or done.stderr if done.returncode == 0 else ""
