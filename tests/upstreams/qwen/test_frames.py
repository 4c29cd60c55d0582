"""Lines of any cut, with any line end; frames from JSON that is sound, odd or broken."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.upstreams.qwen.frames import MAX_FRAME, FrameReader, Unreadable, decode


def lines(*pieces: bytes) -> list[bytes]:
    """All lines, of which the last is what had no end."""
    reader = FrameReader()
    found = [line for piece in pieces for line in reader.lines(piece)]
    return [*found, reader.rest()]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", "é".encode(), b":", b" ", b""]), max_size=12))
def test_lines_end_with_lf_crlf_or_cr_however_the_bytes_are_cut(pieces: list[bytes]) -> None:
    raw = b"".join(pieces)
    expected = re.split(rb"\r\n|\r|\n", raw)
    assert lines(raw) == expected
    assert lines(*pieces) == expected
    assert lines(*[raw[i : i + 1] for i in range(len(raw))]) == expected


@pytest.mark.parametrize("cuts", [[], [1], [2], [3], [1, 2, 3]])
def test_a_byte_order_mark_is_dropped_at_the_start_only(cuts: list[int]) -> None:
    raw = "\ufeffa\n\ufeffb".encode()
    bounds = [0, *cuts, len(raw)]
    assert lines(*[raw[a:b] for a, b in pairwise(bounds)]) == [b"a", "\ufeffb".encode()]


def test_a_stream_of_only_a_byte_order_mark_is_empty() -> None:
    assert lines(b"\xef\xbb", b"\xbf") == [b""]


@pytest.mark.parametrize("size", [1 << 16, 1 << 24])
def test_lines_before_one_that_is_too_long_are_given_out(size: int) -> None:
    reader, raw = FrameReader(), b"a\nb\n" + b"x" * (MAX_FRAME + 1) + b"\nc\n"
    found: list[bytes] = []
    for at in range(0, len(raw), size):
        found += reader.lines(raw[at : at + size])
        if reader.overflow:
            break
    assert reader.overflow
    assert found == [b"a", b"b"]


def test_what_has_no_end_yet_is_too_long_at_once() -> None:
    reader = FrameReader()
    assert reader.lines(b"a\n" + b"x" * (MAX_FRAME + 1)) == [b"a"]
    assert reader.overflow


def test_a_line_of_exactly_the_limit_is_one() -> None:
    reader = FrameReader()
    assert reader.lines(b"x" * MAX_FRAME + b"\n") == [b"x" * MAX_FRAME]
    assert not reader.overflow


@pytest.mark.parametrize(
    ("payload", "whole"),
    [
        (b"", False),
        (b"hello", False),
        (b'{"choices": [', False),
        (b'{"a": 1} x', False),
        (b"[]", True),
        (b"null", True),
        (b'"text"', True),
        (b'{"choices": 1}', True),
        (b'{"choices": [1]}', True),
        (b'{"choices": [{"delta": {"content": 1}}]}', True),
        (b'{"response.created": 1}', True),
    ],
)
def test_what_is_no_frame_says_whether_more_lines_could_help(payload: bytes, whole: bool) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(payload)
    assert (caught.value.line, caught.value.whole) == (payload, whole)


@pytest.mark.parametrize("depth", [900, 1000, 5000, 100_000])
def test_nesting_of_any_depth_is_a_frame_or_unreadable(depth: int) -> None:
    for shape in (
        b'{"x": %s}',
        b'{"usage": %s}',
        b'{"choices": [{"delta": {"extra": %s}}]}',
        b'{"choices": %s, "\xff": 1}',
    ):
        try:
            decode(shape % (b"[" * depth + b"]" * depth))
        except Unreadable:
            continue


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
KEYS = ["choices", "response_id", "usage", "response.created", "error", "success", "data", "ret", "timestamp"]
DELTAS = st.dictionaries(
    st.sampled_from(["content", "phase", "status", "role", "name", "function_call", "extra"]), JSON
)
CHOICES = JSON | st.lists(JSON | st.fixed_dictionaries({"delta": JSON | DELTAS}), max_size=2)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from(KEYS), JSON), CHOICES)
def test_any_json_is_a_frame_or_unreadable(value: dict[str, object], choices: object) -> None:
    try:
        frame = decode(json.dumps({**value, "choices": choices}).encode())
    except Unreadable:
        return
    assert isinstance(frame.choices, list)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=40))
def test_any_bytes_are_a_frame_or_unreadable(payload: bytes) -> None:
    try:
        decode(b'{"error": "' + payload + b'"}')
    except Unreadable:
        return


@pytest.mark.parametrize("content", [rb"\ud83d", b"\xff"], ids=["half a character", "stray byte"])
def test_the_slow_way_reads_the_same_fields(content: bytes) -> None:
    frame = decode(
        b'{"choices": [{"delta": {"content": "' + content + b'", "phase": "answer", "extra": {"a": 1}}}], '
        b'"usage": {"input_tokens": 1}, "response_id": "r", "timestamp": 5}'
    )
    delta = frame.choices[0].delta
    assert delta is not None
    assert (delta.phase, bytes(delta.extra)) == ("answer", b'{"a": 1}')
    assert (bytes(frame.usage), frame.response_id, frame.timestamp) == (b'{"input_tokens": 1}', "r", 5)


@pytest.mark.parametrize(
    ("payload", "refuses"),
    [
        (b"{}", False),
        (b'{"success": true, "data": {}}', False),
        (b'{"success": false}', True),
        (b'{"error": "x"}', True),
        (b'{"ret": []}', True),
    ],
)
def test_which_frames_refuse(payload: bytes, refuses: bool) -> None:
    assert decode(payload).refuses is refuses
