"""Counts and times of requests, for Prometheus. Labels have few values: never a client's own words."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from qwen_gateway import __version__
from qwen_gateway.relay.counts import CallCounts
from qwen_gateway.relay.uploads import UploadCounts
from qwen_gateway.relay.watch import TurnRecord

_SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)


class Now(NamedTuple):
    """What can be asked for at any moment.

    in_flight: requests being served. chats_pending: chats that wait to be deleted. waiting: requests that wait for an
    account. accounts: by state. usage_waiting, usage_dropped: rows that are not written yet, and never will be.
    uploads: files on their way to the site, and those that went. spooled: bytes of files on their way.
    """

    in_flight: Callable[[], int]
    chats_pending: Callable[[], int]
    waiting: Callable[[], int]
    accounts: Mapping[str, Callable[[], int]]
    usage_waiting: Callable[[], int]
    usage_dropped: Callable[[], int]
    site_closed: Callable[[], bool]
    store_up: Callable[[], bool]
    uploads: Callable[[], UploadCounts]
    spooled: Callable[[], int]


_Metric = TypeVar("_Metric", Counter, Histogram)


class _Uploads(Collector):
    """Counts that others keep."""

    def __init__(self, counts: Callable[[], UploadCounts]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        now = self._counts()
        files = CounterMetricFamily(
            "qwen_gateway_uploads", "Files by what became of them; reused: the site had them.", labels=["outcome"]
        )
        for outcome, count in (("done", now.done), ("failed", now.failed), ("reused", now.reused)):
            files.add_metric([outcome], count)
        yield files
        yield CounterMetricFamily("qwen_gateway_upload_bytes", "Bytes of files uploaded whole.", value=now.bytes)


class Metrics:
    def __init__(self, at: Now) -> None:
        registry = self._registry = CollectorRegistry()
        self._children: dict[tuple[object, tuple[str, ...]], Any] = {}
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
        self._ways = Counter(
            "qwen_gateway_continuations",
            "Requests by how their conversation reached the model, and why so.",
            ["way", "reason"],
            registry=registry,
        )
        self._calls = Counter(
            "qwen_gateway_tool_calls",
            "What became of the calls that models tried to make.",
            ["model", "format", "kind"],
            registry=registry,
        )
        self._sent = Counter(
            "qwen_gateway_question_bytes", "Bytes of the questions put to the site.", registry=registry
        )
        self._tries = Counter(
            "qwen_gateway_upstream_tries", "Questions put to the site.", ["endpoint"], registry=registry
        )
        self._added = Histogram(
            "qwen_gateway_added_seconds",
            "Of the time to the first piece of an answer: what went neither to the site nor to the queue.",
            ["endpoint"],
            buckets=_SHORT,
            registry=registry,
        )
        self._queued = Histogram(
            "qwen_gateway_queued_seconds",
            "Time spent waiting for an account.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        gauges: tuple[tuple[str, str, Callable[[], float]], ...] = (
            ("in_flight_requests", "Requests being served now.", at.in_flight),
            ("waiting_requests", "Requests that wait for an account.", at.waiting),
            ("chats_pending", "Chats at the site that are still to be deleted, now or later.", at.chats_pending),
            ("usage_rows_waiting", "Rows of usage that are not in the database yet.", at.usage_waiting),
            ("usage_rows_dropped", "Rows of usage that were lost since the start.", at.usage_dropped),
            ("site_left_alone", "1 while the site is not asked, since it failed again and again.", at.site_closed),
            ("database_up", "1 while the database answers.", at.store_up),
            ("uploads_running", "Files being uploaded to the site now.", lambda: at.uploads().running),
            ("uploads_waiting", "Files that wait for their turn to be uploaded.", lambda: at.uploads().waiting),
            ("spool_bytes", "Bytes on disk of files on their way.", at.spooled),
        )
        for name, text, value in gauges:
            Gauge(f"qwen_gateway_{name}", text, registry=registry).set_function(value)
        accounts = Gauge("qwen_gateway_accounts", "Accounts by what they can do now.", ["state"], registry=registry)
        for state, count in at.accounts.items():
            accounts.labels(state).set_function(count)
        registry.register(_Uploads(at.uploads))

    def _observe_calls(self, model: str, record: TurnRecord, counts: CallCounts) -> None:
        for kind in counts.__struct_fields__:
            if count := getattr(counts, kind):
                self._of(self._calls, model, record.call_format, kind).inc(count)

    def observe(self, record: TurnRecord) -> None:
        of, endpoint, model = self._of, record.endpoint, record.model
        of(self._requests, endpoint, model, "yes" if record.stream else "no", record.end, record.code).inc()
        of(self._duration, endpoint).observe(record.duration)
        if record.tries:
            of(self._ways, record.way, record.why).inc()
            self._sent.inc(record.sent)
        if record.calls is not None:
            self._observe_calls(model, record, record.calls)
        of(self._added, endpoint).observe(record.added)
        if record.queued >= _SHORT[0]:
            of(self._queued, endpoint).observe(record.queued)
        if record.first_event is not None:
            of(self._first, endpoint).observe(record.first_event)
        if record.tries:
            of(self._tries, endpoint).inc(record.tries)
        if record.usage is not None:
            of(self._tokens, model, "input").inc(record.usage.input)
            of(self._tokens, model, "output").inc(record.usage.output)

    def _of(self, metric: _Metric, *labels: str) -> _Metric:
        """The metric's child for these labels. Its own look-up takes a lock, and five times as long."""
        child = self._children.get((metric, labels))
        if child is None:
            child = self._children[metric, labels] = metric.labels(*labels)
        return child

    def page(self) -> bytes:
        return generate_latest(self._registry)
