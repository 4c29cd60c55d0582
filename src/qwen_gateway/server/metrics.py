"""Counts and times of requests, for Prometheus. Labels have few values: never a client's own words."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from qwen_gateway import __version__
from qwen_gateway.relay.watch import TurnRecord

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)


class Metrics:
    """in_flight: requests being served now. chats_pending: chats that wait to be deleted."""

    def __init__(self, in_flight: Callable[[], int], chats_pending: Callable[[], int]) -> None:
        registry = self._registry = CollectorRegistry()
        build = Gauge("qwen_gateway_build_info", "The running version.", ["version"], registry=registry)
        build.labels(__version__).set(1)
        self._requests = Counter(
            "qwen_gateway_requests",
            "Requests by how they ended.",
            ["endpoint", "model", "stream", "end", "code"],
            registry=registry,
        )
        self._duration = Histogram(
            "qwen_gateway_request_duration_seconds",
            "From a request's arrival to the end of its response.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._first = Histogram(
            "qwen_gateway_first_event_seconds",
            "From a request's arrival to the first piece of its answer.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "qwen_gateway_tokens", "Tokens, as the site counts them.", ["model", "direction"], registry=registry
        )
        self._tries = Counter(
            "qwen_gateway_upstream_tries", "Questions put to the site.", ["endpoint"], registry=registry
        )
        running = Gauge("qwen_gateway_in_flight_requests", "Requests being served now.", registry=registry)
        running.set_function(in_flight)
        pending = Gauge(
            "qwen_gateway_chats_pending",
            "Chats at the site that are still to be deleted, now or later.",
            registry=registry,
        )
        pending.set_function(chats_pending)

    def observe(self, record: TurnRecord) -> None:
        self._requests.labels(
            record.endpoint, record.model, "yes" if record.stream else "no", record.end, record.code
        ).inc()
        self._duration.labels(record.endpoint).observe(record.duration)
        if record.first_event is not None:
            self._first.labels(record.endpoint).observe(record.first_event)
        if record.tries:
            self._tries.labels(record.endpoint).inc(record.tries)
        if record.usage is not None:
            self._tokens.labels(record.model, "input").inc(record.usage.input)
            self._tokens.labels(record.model, "output").inc(record.usage.output)

    def page(self) -> bytes:
        return generate_latest(self._registry)
