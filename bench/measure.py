"""One measurement: warm up, load, and read off what it cost. Numbers only; what they mean is `report`'s business."""

import http.client
import json
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contenders import Running
from bench.processes import Cpus, Server, cpu_seconds, memory_kib, pinned
from bench.scenarios import Scenario, openai_request, site_request

LATE_MS = 100
# Work put off until after the answer (accounting, deleting chats) belongs to the chat that caused it.
SETTLE_SECONDS = 0.5


@dataclass(frozen=True)
class Bench:
    """What every measurement of a run shares."""

    load: Path
    mock: Server
    folder: Path
    cpus: Cpus

    def measure(self, scenario: Scenario, running: Running) -> dict[str, Any]:
        if scenario.goes_on and running.base_pss_kib is None:
            self._finish(self._launch(scenario.beginning(), running, once=True))
            time.sleep(SETTLE_SECONDS)
        self._finish(self._launch(scenario.warm_up(), running))
        time.sleep(SETTLE_SECONDS)
        if running.base_pss_kib is None:
            running.base_pss_kib = memory_kib(running.pid, "Pss")
        cpu, mock_cpu, load_cpu = cpu_seconds(running.pid), cpu_seconds(self.mock.pid), _children_seconds()
        load = self._launch(scenario, running)
        pss_kib = self._peak_pss(load, running) if scenario.rate else None
        result = self._finish(load)
        load_cpu = _children_seconds() - load_cpu
        time.sleep(SETTLE_SECONDS)
        cpu, mock_cpu = cpu_seconds(running.pid) - cpu, cpu_seconds(self.mock.pid) - mock_cpu
        return (
            result
            | _figures(scenario, running, result, cpu, pss_kib)
            | {
                "cpu_seconds": round(cpu, 2),
                "mock_cpu_seconds": round(mock_cpu, 2),
                "load_cpu_seconds": round(load_cpu, 2),
            }
        )

    def ignored(self, scenario: Scenario, running: Running) -> str:
        """What of the scenario's request the gateway admits to pass over."""
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
        try:
            headers = {"Authorization": f"Bearer {running.line.key}", "Content-Type": "application/json"}
            connection.request("POST", running.line.path, openai_request(scenario), headers)
            response = connection.getresponse()
            response.read()
            return response.headers.get("x-gateway-ignored", "")
        except (OSError, http.client.HTTPException):
            return ""  # the measurement itself will count it as a failure
        finally:
            connection.close()

    def _peak_pss(self, load: subprocess.Popen[bytes], running: Running) -> int:
        """A slow server opens the last stream long after it was asked to, so one look at a set time is not enough."""
        peak = 0
        while load.poll() is None:
            peak = max(peak, memory_kib(running.pid, "Pss"))
            time.sleep(0.5)
        return peak

    def _launch(self, scenario: Scenario, running: Running, *, once: bool = False) -> subprocess.Popen[bytes]:
        """once: each client sends one request."""
        body = self.folder / "request.json"
        body.write_bytes(openai_request(scenario) if running.line.translates else site_request(scenario))
        options = {
            "port": running.port,
            "path": running.line.path,
            "body": body,
            "header": f"Authorization: Bearer {running.line.key}",
            "clients": scenario.clients,
            "marks": scenario.marks,
            "timeout": 30,
        }
        if scenario.rate:
            # Each client holds one stream, once.
            options |= {"requests": scenario.clients, "ramp-ms": scenario.ramp_ms, "late-ms": LATE_MS}
            options["seconds"] = scenario.ramp_ms / 1000 + 5
            options["timeout"] = int(scenario.stream_seconds) + 30
        elif once:
            options["requests"] = scenario.clients
        else:
            options["seconds"] = scenario.seconds
        with pinned(self.cpus.rest):
            return subprocess.Popen([self.load, *_flags(options)], stdout=subprocess.PIPE)

    def _finish(self, load: subprocess.Popen[bytes]) -> dict[str, Any]:
        try:
            out, _ = load.communicate(timeout=120)
        except BaseException:
            load.kill()
            load.wait()
            raise
        result: dict[str, Any] = json.loads(out)
        return result


def _flags(options: dict[str, Any]) -> Sequence[str]:
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _figures(
    scenario: Scenario, running: Running, result: dict[str, Any], cpu: float, pss_kib: int | None
) -> dict[str, Any]:
    good = result["good"]
    asked = scenario.clients if scenario.rate else result["requests"]
    figures: dict[str, Any] = {"asked": asked, "failed": asked - good}
    if scenario.goes_on:
        figures["replayed"] = asked - result["continued"]
    if good:
        figures["cpu_us_per_chat"] = round(1e6 * cpu / good, 2)
        figures["cpu_us_per_event"] = round(1e6 * cpu / (good * scenario.events), 3)
        figures["chats_per_second"] = round(good / result["seconds"], 1)
        figures["events_per_second"] = round(good * scenario.events / result["seconds"], 1)
    if scenario.rate:
        due = asked * scenario.marks
        # What never came is not in time either.
        figures["in_time_percent"] = round(100 * (result["marks"] - result["late"]) / due, 2)
    if pss_kib is not None and running.server and running.base_pss_kib is not None and result["open_peak"]:
        figures["kib_per_stream"] = round((pss_kib - running.base_pss_kib) / result["open_peak"], 1)
    return figures
