"""What became of calls, as figures."""

import pytest

from qwen_gateway.relay.counts import CallCounts


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("intercepted", "intercepted=1"),
        ("unknown", "unknown=1"),
        ("schema", "malformed=1"),
        ("truncated", "malformed=1"),
        ("forged_result", "malformed=1"),
    ],
)
def test_a_bad_call_counts_as_what_it_was(kind: str, told: str) -> None:
    counts = CallCounts()
    counts.bad(kind)
    assert counts.told() == told


def test_only_what_happened_is_told() -> None:
    assert CallCounts().told() == ""
    assert CallCounts(ok=2, retried=1).told() == "ok=2 retried=1"


def test_counts_of_several_turns_add_up_and_stay_what_they_were() -> None:
    one, two = CallCounts(ok=1, failed=1), CallCounts(ok=2, runaway=3)
    assert one.plus([two, CallCounts(intercepted=1)]) == CallCounts(ok=3, failed=1, runaway=3, intercepted=1)
    assert (one, two) == (CallCounts(ok=1, failed=1), CallCounts(ok=2, runaway=3))
    assert one.plus([]) == one
