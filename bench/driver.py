"""Runs the scenarios: builds the C programs, starts everybody, alternates between them, and writes the results."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import contenders, report
from bench.contenders import Line, Running
from bench.measure import Bench
from bench.processes import Cpus, NotReadyError, Server, free_port, pinned, raise_file_limit
from bench.scenarios import SCENARIOS, Scenario

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# Longer than any run; the mock ends by itself if nobody is left to end it.
MOCK_LIFETIME = "1200"


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children are stopped then too
    scenarios = [s.quick() if options.quick else s for s in SCENARIOS if s.name in options.only]
    run = Run(raise_file_limit())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        bench = _bench(stack, folder)
        lines = _lines(bench, options.contender, run)
        for scenario in scenarios:
            run.scenario(scenario, lines, bench)
    others = [line.name for line in lines if not line.known]
    cells = report.table(run.results, others)
    print(report.printed(cells))
    for note in run.notes:
        print(f"note: {note}")
    saved = _save(run, cells, quick=options.quick, output=options.output)
    print(f"raw numbers: {saved.relative_to(ROOT) if saved.is_relative_to(ROOT) else saved.name}")
    return 1 if run.fell_out else 0


class Run:
    """The results as they come in, and what a reader of the table has to know beside them."""

    def __init__(self, file_limit: int) -> None:
        self.file_limit = file_limit
        self.machine = report.machine()  # now: how busy it was before we made it busy
        self.results: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self.notes: list[str] = []
        self.fell_out: set[str] = set()

    def scenario(self, scenario: Scenario, lines: Sequence[Line], bench: Bench) -> None:
        if self.file_limit < 2 * scenario.clients + 200:
            self.notes.append(f"{scenario.name} skipped: {self.file_limit} open files are too few for it")
            return
        with ExitStack() as stack:
            # Fresh processes for each scenario: what one left in memory must not count for the next.
            started = [self._start(line, bench, stack) for line in lines if self._takes_part(line, scenario)]
            field = [running for running in started if running and self._serves(scenario, running, bench)]
            rounds = self.results.setdefault(scenario.name, {})
            for number in range(scenario.rounds):
                for running in field:
                    _progress(f"{scenario.name} {number + 1}/{scenario.rounds} {running.line.name}: {scenario.title}")
                    figures = bench.measure(scenario, running)
                    rounds.setdefault(running.line.name, []).append(figures)
                    self._judge(scenario, running, figures, len(bench.cpus.rest))

    def _judge(self, scenario: Scenario, running: Running, figures: dict[str, Any], cpus: int) -> None:
        who = f"{scenario.name}, {running.line.name}"
        spent = figures["mock_cpu_seconds"] + figures["load_cpu_seconds"]
        if running.server and spent > 0.9 * cpus * figures["seconds"]:
            self._note(f"{who}: mock and load generator were the limit; CPU per unit holds, wall figures do not")
        if figures.get("replayed"):
            self._note(f"{who}: {figures['replayed']} of {figures['requests']} did not go on in their chat")
        if figures["failed"]:
            kinds = ", ".join(f"{figures[kind]} {kind}" for kind in ("not_200", "broken", "incomplete"))
            self._note(f"{who}: {figures['failed']} of {figures['requests']} failed ({kinds})")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _takes_part(self, line: Line, scenario: Scenario) -> bool:
        if line.name in self.fell_out or (line.only and line.only != scenario.name):
            return False
        return line.translates or not scenario.translated_only

    def _serves(self, scenario: Scenario, running: Running, bench: Bench) -> bool:
        if scenario.tools and "tools" in bench.ignored(scenario, running):
            self._note(f"{scenario.name}, {running.line.name}: not measured, it ignores tools")
            return False
        return True

    def _start(self, line: Line, bench: Bench, stack: ExitStack) -> Running | None:
        if line.command:
            _progress(f"starting {line.name}")
        try:
            running = contenders.start(line, bench.mock, bench.folder, bench.cpus)
        except (NotReadyError, OSError) as failure:
            reason = failure if isinstance(failure, NotReadyError) else failure.strerror
            self.notes.append(f"{line.name} left out: {reason}")
            self.fell_out.add(line.name)
            return None
        stack.callback(running.stop)
        if running.server:
            start = {"ready_seconds": running.ready_seconds, "idle_rss_kib": running.idle_rss_kib}
            self.results.setdefault("start", {}).setdefault(line.name, []).append(start)
        return running


def _options() -> argparse.Namespace:
    names = [s.name for s in SCENARIOS]
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Measures the gateway beside nginx.")
    parser.add_argument("--quick", action="store_true", help="about a minute: one short round of each")
    parser.add_argument("--only", type=lambda text: text.split(","), default=names, metavar="S1,S2")
    parser.add_argument(
        "--contender", action="append", default=[], metavar="NAME=COMMAND",
        help="another gateway; {port} and {site} in the command are filled in",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, help="where the raw numbers go instead of bench/results")
    options = parser.parse_args()
    if unknown := set(options.only) - set(names):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return options


def _bench(stack: ExitStack, folder: Path) -> Bench:
    cpus = Cpus.split()
    os.sched_setaffinity(0, cpus.rest)
    port = free_port()
    command = [str(_built("mock")), "--port", str(port), "--lifetime", MOCK_LIFETIME]
    if recorded := sorted((ROOT / "tests" / "corpus").glob("models_v2_*.json")):
        command += ["--models", str(recorded[-1])]
    with pinned(cpus.rest):
        mock = Server(command, port, folder / "mock.log")
    stack.callback(mock.stop)
    mock.wait_ready("/api/v2/models/")
    return Bench(_built("load"), mock, folder, cpus)


def _built(name: str) -> Path:
    source, binary = HERE / f"{name}.c", HERE / "bin" / name
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        binary.parent.mkdir(exist_ok=True)
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", binary, source], check=True)
    return binary


def _lines(bench: Bench, specs: Sequence[str], run: Run) -> list[Line]:
    site, folder = bench.mock.port, bench.folder
    lines = [contenders.direct()]
    if contenders.NGINX:
        lines.append(contenders.nginx(contenders.NGINX, site, folder))
    else:
        run.notes.append("nginx is not installed: its column and the ratios are missing")
    lines.append(contenders.gateway(site, folder, delete_chats="keep"))
    lines += [contenders.gateway(site, folder, delete_chats=policy, only="S1") for policy in ("24", "now")]
    return lines + [contenders.stranger(spec, site, folder) for spec in specs]


def _save(run: Run, cells: Sequence[Sequence[str]], *, quick: bool, output: Path | None) -> Path:
    now, commit = datetime.now(UTC), report.commit(ROOT)
    if output is None:
        output = HERE / "results" / f"{now:%Y-%m-%d}-{commit}{'-quick' if quick else ''}.json"
        output.parent.mkdir(exist_ok=True)
    whole = {
        "date": now.isoformat(timespec="seconds"),
        "commit": commit,
        "quick": quick,
        "machine": run.machine,
        "versions": report.versions(contenders.NGINX),
        "notes": run.notes,
        "table": cells,
        "rounds": run.results,
    }
    unfinished = output.with_suffix(".tmp")
    unfinished.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    shutil.move(unfinished, output)
    return output


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
