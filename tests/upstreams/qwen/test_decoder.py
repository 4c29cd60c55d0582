"""The decoder against all recordings, every cut of their bytes, and everything the site may break.

`tests/golden/qwen/` holds what each recording says, told by the small reader below, which shares nothing with the
decoder. `REGENERATE=1 pytest tests/upstreams/qwen/test_decoder.py` writes the files anew; the diff is reviewed by eye.
"""

import copy
import json
import os
from collections.abc import Callable, Iterable
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.turn.events import (
    Began,
    Event,
    Failed,
    Finished,
    NativeCall,
    NativeResult,
    Reasoning,
    SiteTool,
    Source,
    Sources,
    Text,
    Usage,
)
from qwen_gateway.upstreams.qwen.decoder import Decoder
from qwen_gateway.upstreams.qwen.frames import MAX_FRAME

TESTS = Path(__file__).parents[2]
RECORDINGS = sorted((TESTS / "corpus").glob("*sse_*.txt"))
CHAT = "chat-1"
OF_ALL = pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)

Told = dict[str, Any]


def test_all_recordings_are_found() -> None:
    assert len(RECORDINGS) == 8


# --- the independent reader ---


def told(path: Path) -> Told:
    """What a recording says, read line by line with the standard library."""
    out: Told = {"text": "", "reasoning": "", "sources": [], "tools": [], "calls": [], "results": []}
    out |= {"usage": None, "end": "upstream_incomplete"}
    rounds: list[dict[str, Any]] = [{}]
    summary: dict[str, Any] = {}
    for line in path.read_text("utf-8").split("\n"):
        if not line.startswith("data:"):
            continue
        frame = json.loads(line.removeprefix("data:"))
        for choice in frame.get("choices", []):
            delta = choice["delta"]
            phase, content, extra = delta["phase"], delta.get("content", ""), delta.get("extra", {})
            rounds[-1] = frame.get("usage") or rounds[-1]
            if phase == "answer" and "function_call" in delta and "function_id" not in delta:
                _add_snapshot(out["calls"], delta["function_call"])
            elif delta.get("role") == "function":
                rounds.append({})
                out["sources"] += extra.get("web_search_info", [])
                _add_result(out, delta)
            elif phase == "answer" and "function_call" not in delta:
                out["text"] += content
                if delta.get("status") == "finished" and "timestamp" not in frame:
                    out["end"] = "finished"
            elif phase == "think":
                out["reasoning"] += content
            summary = extra if "summary_thought" in extra else summary
    if summary:
        both = zip_longest(summary["summary_title"]["content"], summary["summary_thought"]["content"], fillvalue="")
        out["reasoning"] = "\n\n".join("\n\n".join(filter(None, (t and f"**{t}**", said))) for t, said in both)
    if not out["text"] + out["reasoning"]:
        out["end"] = "upstream_empty"
    figures = [(r["input_tokens"], r["output_tokens"], r["output_tokens_details"], r["prompt_tokens_details"])
               for r in rounds if "output_tokens_details" in r]  # fmt: skip
    if figures:
        out["usage"] = {
            "input": sum(f[0] for f in figures),
            "output": sum(f[1] for f in figures),
            "reasoning": sum(f[2].get("reasoning_tokens", 0) for f in figures),
            "cached": sum(f[3]["cached_tokens"] for f in figures),
        }
    out["sources"] = [{key: doc[key] for key in ("url", "title", "snippet")} for doc in out["sources"]]
    return out


def _add_result(out: Told, delta: dict[str, Any]) -> None:
    if delta["phase"] == "answer" and "function_id" not in delta:
        out["results"].append([delta["name"], delta["content"]])
    else:
        out["tools"].append(delta["name"])


def _add_snapshot(calls: list[list[str]], seen: dict[str, str]) -> None:
    name, arguments = seen["name"], seen["arguments"]
    if calls and calls[-1][0] == name and arguments.startswith(calls[-1][1]):
        calls.pop()
    calls.append([name, arguments])


# --- the decoder, in the same words ---


def said(events: Iterable[Event]) -> Told:
    out: Told = {"text": "", "reasoning": "", "sources": [], "tools": [], "calls": [], "results": []}
    out |= {"usage": None, "end": None}
    before: Event | None = None
    for event in events:
        if isinstance(event, Text):
            out["text"] += event.text
        elif isinstance(event, Reasoning):
            out["reasoning"] += event.text
        elif isinstance(event, Sources):
            out["sources"] += [{"url": s.url, "title": s.title, "snippet": s.snippet} for s in event.sources]
            assert isinstance(before, SiteTool)
            out["tools"].append(before.name)
        elif isinstance(event, NativeCall):
            _add_snapshot(out["calls"], {"name": event.name, "arguments": event.arguments})
        elif isinstance(event, NativeResult):
            out["results"].append([event.name, event.text])
        elif isinstance(event, Usage):
            figures = {"input": event.input, "output": event.output, "reasoning": event.reasoning}
            out["usage"] = {**figures, "cached": event.cached}
        elif isinstance(event, Finished):
            out["end"] = "finished"
        elif isinstance(event, Failed):
            out["end"] = event.fault.code
        before = event
    return out


def comparable(events: Iterable[Event]) -> list[object]:
    """Faults have no equality of their own."""
    return [
        (type(e.fault), e.fault.code, e.fault.text, e.fault.retry_after) if isinstance(e, Failed) else e for e in events
    ]


def chat_of(raw: bytes) -> str:
    _, there, rest = raw.partition(b'"response.created":')
    return json.JSONDecoder().raw_decode(rest.decode())[0]["chat_id"] if there else CHAT


def decoded(pieces: Iterable[bytes], chat_id: str = CHAT) -> list[Event]:
    decoder = Decoder(chat_id)
    events: list[Event] = []
    for piece in pieces:
        events += decoder.feed(piece)
    return events + decoder.close()


def cut(raw: bytes, points: Iterable[int]) -> list[bytes]:
    bounds = [0, *sorted(points), len(raw)]
    return [raw[a:b] for a, b in pairwise(bounds)]


def bytewise(raw: bytes) -> list[bytes]:
    return [raw[i : i + 1] for i in range(len(raw))]


# --- recordings ---


@OF_ALL
def test_a_recording_says_what_its_golden_file_says(path: Path) -> None:
    golden = TESTS / "golden/qwen" / f"{path.stem}.json"
    if os.environ.get("REGENERATE"):
        golden.write_text(json.dumps(told(path), ensure_ascii=False, indent=1) + "\n", "utf-8")
    expected = json.loads(golden.read_text("utf-8"))
    found = said(decoded([path.read_bytes()], chat_of(path.read_bytes())))
    # Calls of tools are told by every frame of theirs; only a search's result has sources to be counted by.
    expected["tools"] = [name for name in expected["tools"] if name == "web_search"]
    assert found == expected


@OF_ALL
def test_the_golden_file_is_what_the_independent_reader_tells(path: Path) -> None:
    golden = TESTS / "golden/qwen" / f"{path.stem}.json"
    assert json.loads(golden.read_text("utf-8")) == told(path)


@OF_ALL
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_any_cut_of_the_bytes_gives_the_same_events(path: Path, data: st.DataObject) -> None:
    raw = path.read_bytes()
    points = data.draw(st.lists(st.integers(0, len(raw)), max_size=60))
    chat = chat_of(raw)
    assert comparable(decoded(cut(raw, points), chat)) == comparable(decoded([raw], chat))


@OF_ALL
@pytest.mark.parametrize(
    "pieces",
    [bytewise, lambda raw: raw.splitlines(keepends=True), lambda raw: cut(raw, range(7, len(raw), 7))],
    ids=["each byte alone", "each line alone", "seven bytes"],
)
def test_bytes_lines_and_sevens_give_the_same_events(path: Path, pieces: Callable[[bytes], list[bytes]]) -> None:
    raw = path.read_bytes()
    chat = chat_of(raw)
    assert comparable(decoded(pieces(raw), chat)) == comparable(decoded([raw], chat))


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "CRLF": lambda raw: raw.replace(b"\n", b"\r\n"),
    "CR": lambda raw: raw.replace(b"\n", b"\r"),
    "mixed ends": lambda raw: raw.replace(b"\n\n", b"\r\n\r"),
    "BOM": lambda raw: b"\xef\xbb\xbf" + raw,
    "no space after the colon": lambda raw: raw.replace(b"data: ", b"data:"),
    "no blank lines": lambda raw: raw.replace(b"\n\n", b"\n"),
    "comments between": lambda raw: b": hello\n" + raw.replace(b"\n\n", b"\n: ping\n\n:\n"),
    "event and id lines": lambda raw: raw.replace(b"data: ", b"event: message\nid: 7\nretry: 10\ndata: "),
    "no line end at the end": lambda raw: raw.rstrip(b"\n"),
    "[DONE] after the end": lambda raw: raw + b"data: [DONE]\n\n",
    "keep-alives between": lambda raw: raw.replace(
        b"\n\n", b'\n\ndata: {"response.info": {"action": "keep_alive"}}\n\n'
    ),
    "each value over two lines": lambda raw: raw.replace(b'data: {"choices": [', b'data: {"choices":\ndata:  ['),
    "unknown keys": lambda raw: raw.replace(b'data: {"choices"', b'data: {"new": [{"x": 1}], "choices"'),
}


@OF_ALL
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_other_forms_of_the_same_stream_say_the_same(path: Path, form: Callable[[bytes], bytes]) -> None:
    raw = path.read_bytes()
    chat = chat_of(raw)
    expected = said(decoded([raw], chat))
    if form is FORMS["[DONE] after the end"] and expected["end"] == "upstream_incomplete":
        expected["end"] = "finished"  # said so explicitly
    other = form(raw)
    assert said(decoded([other], chat)) == expected
    assert said(decoded(bytewise(other), chat)) == expected


@OF_ALL
def test_a_broken_stream_never_ends_like_a_complete_one(path: Path) -> None:
    """Cut after any byte: finished if and only if the frame that closes the answer was complete."""
    raw = path.read_bytes()
    complete = raw.rindex(b"}") + 1 if told(path)["end"] == "finished" else len(raw) + 1
    decoder = Decoder(chat_of(raw))
    for position in range(len(raw)):
        events = copy.deepcopy(decoder).close()
        ends = [event for event in events if isinstance(event, Finished | Failed)]
        assert len(ends) == 1
        assert events[-1] is ends[0]
        assert isinstance(ends[0], Finished) == (position >= complete), position
        assert not decoder.settled or position >= complete
        decoder.feed(raw[position : position + 1])


# --- frames of one's own making ---


def line(value: object) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n\n"


def frame(content: object = "", phase: object = "answer", status: str = "typing", **more: object) -> bytes:
    delta = {"role": "assistant", "content": content, "phase": phase, "status": status}
    return line({"choices": [{"delta": delta}], "response_id": "r", "timestamp": 1, **more})


def created(chat_id: str = CHAT, response_id: str = "r") -> bytes:
    return line({"response.created": {"chat_id": chat_id, "parent_id": "p", "response_id": response_id}})


CLOSING = line({"choices": [{"delta": {"content": "", "status": "finished", "phase": "answer"}}], "response_id": "r"})


def end(*pieces: bytes) -> tuple[str, str]:
    """Text and end of a stream, which are the same for its bytes one by one."""
    raw = b"".join(pieces)
    events = decoded([raw])
    assert comparable(decoded(bytewise(raw))) == comparable(events)
    found = said(events)
    return found["text"], found["end"]


def native(arguments: object, name: str = "Bash", **more: object) -> bytes:
    """A snapshot as the recording of 2026-09-01 has it, or with `more` keys."""
    call = {"name": name, "arguments": arguments}
    delta = {"role": "assistant", "content": "", "phase": "answer", "status": "typing", "function_call": call}
    body = {"choices": [{"delta": {**delta, "extra": {"display_position": "answer"}, **more}}]}
    return f"data: {json.dumps(body)}\n\n".encode()


def answered(name: str = "Bash", **more: object) -> bytes:
    delta = {"role": "function", "content": f"Tool {name} does not exists.", "phase": "answer", "name": name}
    usage = {"usage": more.pop("usage")} if "usage" in more else {}
    return line({"choices": [{"delta": {**delta, **more}}], **usage})


def test_the_ids_of_the_answer_come_first() -> None:
    assert decoded([created(), frame("a"), CLOSING]) == [Began(CHAT, "r"), Text("a"), Finished()]


ENDS: dict[str, tuple[list[bytes], tuple[str, str]]] = {
    "nothing at all": ([], ("", "upstream_empty")),
    "only blank lines": ([b"\n\n\n"], ("", "upstream_empty")),
    "only comments": ([b": ping\n\n: ping\n\n"], ("", "upstream_empty")),
    "only the ids": ([created()], ("", "upstream_empty")),
    "ids and the closing frame": ([created(), CLOSING], ("", "upstream_empty")),
    "[DONE] and nothing else": ([b"data: [DONE]\n\n"], ("", "upstream_empty")),
    "text without an end": ([created(), frame("a")], ("a", "upstream_incomplete")),
    "text and the end of a round only": ([frame("a"), frame("", status="finished")], ("a", "upstream_incomplete")),
    "text after the closing frame": ([frame("a"), CLOSING, frame("b")], ("ab", "upstream_incomplete")),
    "thinking after the closing frame": ([frame("a"), CLOSING, frame("b", "think")], ("a", "upstream_incomplete")),
    "a summary after the closing frame": (
        [frame("a"), CLOSING, line({"choices": [{"delta": {"phase": "thinking_summary"}}]})],
        ("a", "upstream_incomplete"),
    ),
    "a tool's result after the closing frame": (
        [frame("a"), CLOSING, line({"choices": [{"delta": {"role": "function", "name": "bash", "phase": "bash"}}]})],
        ("a", "upstream_incomplete"),
    ),
    "half a frame after the closing frame": ([frame("a"), CLOSING, b'data: {"cho'], ("a", "upstream_incomplete")),
    "half a frame after text": ([frame("a"), b'data: {"choices": ['], ("a", "upstream_incomplete")),
    "text and [DONE]": ([frame("a"), b"data: [DONE]\n\n"], ("a", "finished")),
    "[DONE] without a space": ([frame("a"), b"data:[DONE]\n\n"], ("a", "finished")),
    "[DONE] with blanks": ([frame("a"), b"data:  [DONE] \n\n"], ("a", "finished")),
    "[DONE] twice": ([frame("a"), CLOSING, b"data: [DONE]\n\ndata: [DONE]\n\n"], ("a", "finished")),
    "text after [DONE]": ([frame("a"), b"data: [DONE]\n\n", frame("b")], ("a", "finished")),
    "half of [DONE]": ([frame("a"), b"data: [DO"], ("a", "upstream_incomplete")),
    "reasoning and no text": ([frame("a", "think"), CLOSING], ("", "finished")),
    "an unknown phase between": ([frame("a"), frame("x", "web_dev"), frame("b"), CLOSING], ("ab", "finished")),
    "no phase": ([frame("a", None), CLOSING], ("a", "finished")),
    "a frame without choices": ([frame("a"), line({"choices": []}), CLOSING], ("a", "finished")),
    "a choice without delta": ([frame("a"), line({"choices": [{}]}), CLOSING], ("a", "finished")),
    "an unknown event": ([frame("a"), line({"response.news": {"x": [1]}}), CLOSING], ("a", "finished")),
    "an empty data line": ([b"data:\n\n", frame("a"), b"data: \n\n", CLOSING], ("a", "finished")),
    "error: null": ([frame("a", error=None), line({"error": None}), CLOSING], ("a", "finished")),
    "another chat": ([created("chat-2"), frame("a"), CLOSING], ("", "upstream_crossed")),
    "another answer": ([created(), frame("a"), frame("b", response_id="other")], ("a", "upstream_crossed")),
    "invalid JSON": ([frame("a"), b'data: {"choices": [}\n\n', frame("b"), CLOSING], ("a", "upstream_changed")),
    "invalid JSON, no blank line": (
        [frame("a"), b'data: {"choices": [}\n', frame("b"), CLOSING],
        ("a", "upstream_changed"),
    ),
    "no JSON": ([frame("a"), b"data: hello\n\n", CLOSING], ("a", "upstream_changed")),
    "an array": ([frame("a"), b"data: [1]\n\n", CLOSING], ("a", "upstream_changed")),
    "a number": ([frame("a"), b"data: 1\n", CLOSING], ("a", "upstream_changed")),
    "a HTML page": ([b"<!doctype html>\n<html></html>"], ("", "upstream_challenge")),
    "a HTML page as an event": ([frame("a"), b"data: <html>\n\n"], ("a", "upstream_challenge")),
    "a bare error after text": ([frame("a"), b'{"error": "Internal error!"}'], ("a", "upstream_error")),
    "a bare error with a line end": ([frame("a"), b'{"error": "Internal error!"}\n'], ("a", "upstream_error")),
    "half a bare error": ([frame("a"), b'{"error": "Inter'], ("a", "upstream_incomplete")),
    "text after an error": ([line({"error": "x"}), frame("a"), CLOSING], ("", "upstream_error")),
    "success without data": ([frame("a"), line({"success": True}), CLOSING], ("a", "finished")),
    "deep nesting": ([frame("a"), b'data: {"x": ' + b"[" * 5000 + b"]" * 5000 + b"}\n\n"], ("a", "upstream_changed")),
}


@pytest.mark.parametrize(("pieces", "expected"), ENDS.values(), ids=ENDS.keys())
def test_how_a_stream_ends(pieces: list[bytes], expected: tuple[str, str]) -> None:
    assert end(*pieces) == expected


@pytest.mark.parametrize("blank", [b"\n\n", b"\n"], ids=["with blank lines", "without"])
@pytest.mark.parametrize(
    "changed",
    [
        line({"choices": [{"delta": {"content": 5, "phase": "answer"}}]}),
        line({"choices": [{"delta": {"content": ["a"], "phase": "answer"}}]}),
        line({"choices": [{"delta": {"content": {"text": "a"}, "phase": "answer"}}]}),
        line({"choices": [{"delta": {"content": "a", "phase": 1}}]}),
        line({"choices": [{"delta": {"content": "a", "phase": "answer", "status": True}}]}),
        line({"choices": [{"delta": "a"}]}),
        line({"choices": {"delta": {"content": "a"}}}),
        line({"choices": 1}),
        line({"choices": "a"}),
        line({"choices": [{"delta": {"content": "a", "phase": "answer"}}], "response_id": 7}),
        line({"response.created": "r"}),
        line({"success": "no"}),
    ],
    ids=lambda changed: changed.decode().strip(),
)
def test_a_field_of_another_type_is_drift_and_not_silence(changed: bytes, blank: bytes) -> None:
    stream = (frame("a") + changed + frame("b") + CLOSING).replace(b"\n\n", blank)
    assert end(stream) == ("a", "upstream_changed")


def test_nothing_follows_the_end() -> None:
    decoder = Decoder(CHAT)
    assert decoder.feed(frame("a") + line({"error": "x"}) + frame("b"))[0] == Text("a")
    assert decoder.settled
    assert decoder.feed(frame("c")) == []
    assert decoder.close() == []


# --- characters ---


def test_halves_of_a_character_in_two_frames_are_joined() -> None:
    first = b'data: {"choices": [{"delta": {"content": "a \\ud83d", "phase": "answer"}}]}\n\n'
    second = b'data: {"choices": [{"delta": {"content": "\\ude00 b", "phase": "answer"}}]}\n\n'
    assert decoded([first, second, CLOSING])[:2] == [Text("a "), Text("😀 b")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (rb"a\ud83db", "a\ufffdb"),
        (rb"a\ude00b", "a\ufffdb"),
        (rb"a\ud83d", "a\ufffd"),
        (rb"\ud83d", "\ufffd"),
        (rb"\ude00\ud83d", "\ufffd\ufffd"),
        (b"a\xffb", "a\ufffdb"),
        (b"caf\xc3", "caf\ufffd"),
        ("👩‍👩‍👧 é".encode(), "👩‍👩‍👧 é"),
        (rb"\ud83d\ude00", "😀"),
        (rb"\u0000\n", "\x00\n"),
    ],
)
def test_what_is_no_character_is_replaced_once(content: bytes, expected: str) -> None:
    raw = b'data: {"choices": [{"delta": {"content": "' + content + b'", "phase": "answer"}}]}\n\n'
    text, ended = end(raw, CLOSING)
    assert (text, ended) == (expected, "finished")
    text.encode()


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(), max_size=12), st.lists(st.integers(0, 24), max_size=4))
def test_text_cut_between_any_two_code_units_is_joined_again(text: str, points: list[int]) -> None:
    units = text.encode("utf-16-be", "surrogatepass")
    pieces = [
        piece.decode("utf-16-be", "surrogatepass") for piece in cut(units, {min(2 * p, len(units)) for p in points})
    ]
    frames = [
        b"data: " + json.dumps({"choices": [{"delta": {"content": p, "phase": "answer"}}]}).encode() + b"\n\n"
        for p in pieces
    ]
    found = said(decoded([frame("|"), *frames, CLOSING]))["text"]
    assert found == "|" + text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@pytest.mark.parametrize("bad", [b"\xff", rb"\ud83d"], ids=["stray byte", "half a character"])
def test_an_error_with_broken_characters_is_still_that_error(bad: bytes) -> None:
    refused = b'data: {"success": false, "data": {"code": "RateLimited", "details": "' + bad + b'", "num": 2}}\n\n'
    events = decoded([frame("a"), refused])
    assert isinstance(events[-1], Failed)
    assert (events[-1].fault.code, events[-1].fault.retry_after) == ("upstream_rate_limited", 7200)
    events[-1].fault.text.encode()


def test_a_snippet_cut_in_a_character_does_not_cost_the_sources() -> None:
    docs = rb'[{"url": "https://a.example", "title": "T", "snippet": "x \ud83d"}]'
    result = (
        b'data: {"choices": [{"delta": {"role": "function", "name": "web_search", "phase": "web_search", "extra": '
        b'{"web_search_info": ' + docs + b"}}}]}\n\n"
    )
    assert Sources((Source("https://a.example", "T", "x ?"),)) in decoded([result, frame("a"), CLOSING])


# --- limits ---


def test_a_large_frame_passes() -> None:
    text = "x" * (MAX_FRAME - 1000)
    assert said(decoded([frame(text), CLOSING]))["text"] == text


@pytest.mark.parametrize("ending", [b"", b'"}\n\n', b"\n\n"], ids=["at the end", "with a line end", "cut"])
@pytest.mark.parametrize("size", [100_000, 20_000_000], ids=["in pieces", "in one"])
def test_a_frame_above_the_limit_ends_the_answer_and_keeps_what_came_before(size: int, ending: bytes) -> None:
    raw = frame("a") + b'data: {"x": "' + b"x" * (MAX_FRAME + 100) + ending + frame("b") + CLOSING
    events = decoded(cut(raw, range(size, len(raw), size)))
    assert events[0] == Text("a")
    assert comparable(events)[-1][1] == "event_too_large"  # type: ignore[index] # a Failed is last
    assert len(events) == 2


def test_memory_stays_bounded_whatever_the_site_sends() -> None:
    decoder, piece = Decoder(CHAT), b"x" * 65536
    decoder.feed(b"data: ")
    for _ in range(2 * MAX_FRAME // len(piece)):
        decoder.feed(piece)
    assert len(decoder._frames._rest) <= MAX_FRAME + len(piece) + 6


def test_a_value_over_many_lines_is_bounded_too() -> None:
    decoder = Decoder(CHAT)
    events = decoder.feed(b"data: {\n")
    for _ in range(20):
        events += decoder.feed(b'data: "' + b"x" * (MAX_FRAME // 10) + b'",\n')
    assert [event.fault.code for event in events if isinstance(event, Failed)] == ["event_too_large"]


# --- usage ---


def figures(input_: object, output: object, reasoning: object = 0, cached: object = 0) -> dict[str, object]:
    return {
        "input_tokens": input_,
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "prompt_tokens_details": {"cached_tokens": cached},
    }


RESULT = line({"choices": [{"delta": {"role": "function", "name": "bash", "phase": "bash"}}], "usage": {}})

USAGES: dict[str, tuple[list[bytes], Usage | None]] = {
    "absent": ([frame("a")], None),
    "empty": ([frame("a", usage={})], None),
    "null": ([frame("a", usage=None)], None),
    "zero": ([frame("a", usage=figures(0, 0))], None),
    "the last of a round": ([frame("a", usage=figures(5, 1)), frame("b", usage=figures(5, 2))], Usage(5, 2)),
    "null behind figures": ([frame("a", usage=figures(5, 1)), frame("b", usage=None)], Usage(5, 1)),
    "empty behind figures": ([frame("a", usage=figures(5, 1)), frame("b", usage={})], Usage(5, 1)),
    "of two rounds": (
        [frame("a", usage=figures(10, 3, 1, 2)), RESULT, frame("b", usage=figures(20, 4, 2, 5))],
        Usage(30, 7, 3, 7, context=24),
    ),
    "of three rounds": (
        [
            frame("a", usage=figures(10, 3)),
            RESULT,
            frame("b", usage=figures(20, 4)),
            RESULT,
            frame("c", usage=figures(30, 5)),
        ],
        Usage(60, 12, context=35),
    ),
    "of two rounds with two results, each with the figures so far": (
        [frame("a", usage=figures(10, 3)), *[answered(usage=figures(10, 3))] * 2, frame("b", usage=figures(20, 4))],
        Usage(30, 7, context=24),
    ),
    "of two rounds with two results, one of which has no figures": (
        [frame("a", usage=figures(10, 3)), RESULT, answered(usage=figures(10, 3)), frame("b", usage=figures(20, 4))],
        Usage(30, 7, context=24),
    ),
    "that goes on behind a result": (
        [frame("a", usage=figures(10, 3)), RESULT, frame("b", usage=figures(10, 4))],
        Usage(10, 4),
    ),
    "of two rounds of which the first has none": ([RESULT, frame("b", usage=figures(20, 4))], Usage(20, 4)),
    "of two rounds of which the last has none": ([frame("b", usage=figures(20, 4)), RESULT, frame("c")], Usage(20, 4)),
    "of two rounds with the same input": (
        [frame("a", usage=figures(10, 9)), RESULT, frame("b", usage=figures(10, 2))],
        Usage(20, 11, context=12),
    ),
    "without details": ([frame("a", usage={"input_tokens": 3, "output_tokens": 4})], Usage(3, 4)),
    "negative": ([frame("a", usage=figures(-5, 4))], None),
    "negative details": ([frame("a", usage=figures(5, 4, -1))], None),
    "absurd": ([frame("a", usage=figures(10**15, 4))], None),
    "beyond 64 bits": ([frame("a", usage=figures(10**30, 4))], None),
    "text": ([frame("a", usage=figures("5", 4))], None),
    "a fraction": ([frame("a", usage=figures(5.5, 4))], None),
    "a list": ([frame("a", usage=[1, 2, 3, 4])], None),
}


@pytest.mark.parametrize(("pieces", "expected"), USAGES.values(), ids=USAGES.keys())
def test_usage(pieces: list[bytes], expected: Usage | None) -> None:
    decoder = Decoder(CHAT)
    events: list[Event] = []
    for piece in [*pieces, CLOSING]:
        events += decoder.feed(piece)
    assert decoder.has_usage == (expected is not None)
    events += decoder.close()
    assert decoder.has_usage == (expected is not None)
    assert next((event for event in events if isinstance(event, Usage)), None) == expected
    assert isinstance(events[-1], Finished)


def test_an_answer_that_fails_still_tells_its_usage_before_the_fault() -> None:
    events = decoded([frame("a", usage=figures(5, 1)), line({"error": "x"})])
    assert [type(event) for event in events] == [Text, Usage, Failed]


# --- thinking and tools ---


def thoughts(titles: list[str], said_: list[str], **more: object) -> bytes:
    extra = {"summary_title": {"content": titles}, "summary_thought": {"content": said_}}
    return line({"choices": [{"delta": {"content": "", "phase": "thinking_summary", "extra": extra, **more}}]})


def test_thinking_and_answer_may_take_turns() -> None:
    events = decoded([frame("a", "think"), frame("b"), frame("c", "think"), frame("d"), CLOSING])
    assert events == [Reasoning("a"), Text("b"), Reasoning("c"), Text("d"), Finished()]


def test_titles_without_a_thought_come_when_the_thinking_ends() -> None:
    done = line({"choices": [{"delta": {"content": "", "phase": "thinking_summary", "status": "finished"}}]})
    events = decoded([thoughts(["T", "U"], ["one"]), done, frame("a"), CLOSING])
    assert events == [Reasoning("**T**\n\none"), Reasoning("\n\n**U**"), Text("a"), Finished()]


@pytest.mark.parametrize("extra", [7, "x", {"summary_thought": 1}, {"summary_thought": {"content": [1]}}, None, {}])
def test_a_summary_that_cannot_be_read_does_not_cost_the_answer(extra: object) -> None:
    odd = line({"choices": [{"delta": {"content": "", "phase": "thinking_summary", "extra": extra}}]})
    assert end(odd, frame("a"), CLOSING) == ("a", "finished")


def test_a_call_of_a_site_tool_opens_another_round() -> None:
    call = line({"choices": [{"delta": {"phase": "bash", "function_call": {"name": "bash", "arguments": ""}}}]})
    assert end(frame("a"), CLOSING, call) == ("a", "upstream_incomplete")
    assert decoded([call, RESULT, frame("a"), CLOSING]) == [SiteTool("bash"), SiteTool("bash"), Text("a"), Finished()]


@pytest.mark.parametrize("phase", ["answer", "bash", None])
@pytest.mark.parametrize("number", [{}, {"function_id": "round_0_call_1"}])
def test_the_arguments_and_results_of_tools_are_never_text(phase: str | None, number: dict[str, str]) -> None:
    told_ = {"role": "function", "name": "X", "content": "Tool X does not exists.", "phase": phase, **number}
    call = {"content": "", "phase": phase, "function_call": {"name": "X", "arguments": '{"a": 1}'}, **number}
    pieces = [line({"choices": [{"delta": delta}]}) for delta in (call, told_)]
    assert end(*pieces, frame("a"), CLOSING) == ("a", "finished")


def test_the_recorded_calls_of_the_clients_tools_come_as_snapshots_and_then_their_results() -> None:
    events = decoded([(TESTS / "corpus/sse_native_client_toolcalls_2026-09-01.txt").read_bytes()])
    kinds = [type(event) for event in events]
    assert kinds[:21] == [NativeCall] * 19 + [NativeResult] * 2
    assert set(kinds[21:-1]) == {Text}
    calls = [event for event in events if isinstance(event, NativeCall)]
    assert calls[:2] == [NativeCall("SendMessage", ""), NativeCall("SendMessage", '{"to": ')]
    assert calls[7] == calls[8] == NativeCall("SendMessage", '{"to": "riky", "message": "build is green"}')
    assert calls[9] == NativeCall("Bash", "")
    assert json.loads(calls[18].arguments)["description"] == "Check git status on user's machine"
    assert events[20] == NativeResult("Bash", "Tool Bash does not exists.")


def test_the_recorded_call_of_a_site_tool_is_nobody_elses() -> None:
    events = decoded([(TESTS / "corpus/sse_code_interpreter_2026-09-01.txt").read_bytes()])
    assert {type(event) for event in events} == {SiteTool, Failed}
    assert SiteTool("code_interpreter") in events


MARKS: list[dict[str, object]] = [
    {"function_id": "round_0_call_1"},
    {"function_id": 7},
    {"phase": "web_search"},
    {"phase": "tool_call"},
    {"phase": None},
    {"extra": {"function_id": "call_1"}},
]


@pytest.mark.parametrize("mark", MARKS, ids=str)
def test_what_bears_a_mark_of_the_sites_own_tools_is_never_the_clients(mark: dict[str, object]) -> None:
    call, result = native('{"query": "x"}', "web_search", **mark), answered("web_search", **mark)
    assert decoded([call, result, frame("a"), CLOSING]) == [*[SiteTool("web_search")] * 2, Text("a"), Finished()]


@pytest.mark.parametrize("mark", [{}, {"function_id": None}, {"function_id": ""}, {"extra": {}}, {"extra": 3}], ids=str)
def test_a_call_without_such_a_mark_is_the_clients_whatever_its_name(mark: dict[str, object]) -> None:
    call, result = native('{"query": "x"}', "web_search", **mark), answered("web_search", **mark)
    assert decoded([call, result, frame("a"), CLOSING]) == [
        NativeCall("web_search", '{"query": "x"}'),
        NativeResult("web_search", "Tool web_search does not exists."),
        Text("a"),
        Finished(),
    ]


def test_a_call_and_nothing_else_is_an_answer_that_is_whole_only_with_its_end() -> None:
    assert end(native('{"a": 1}'), CLOSING) == ("", "finished")
    assert end(native('{"a": 1}')) == ("", "upstream_incomplete")
    assert end(frame("a"), CLOSING, native('{"a": 1}')) == ("a", "upstream_incomplete")
    assert end(frame("a"), CLOSING, answered()) == ("a", "upstream_incomplete")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a": "é 😀"}', '{"a": "é 😀"}'),
        ({"a": 1}, '{"a": 1}'),
        (None, ""),
        ("", ""),
        ("not JSON", "not JSON"),
    ],
)
def test_arguments_come_as_text_whatever_they_are(arguments: object, expected: str) -> None:
    assert decoded([native(arguments), CLOSING])[0] == NativeCall("Bash", expected)


def test_a_snapshot_that_ends_in_half_a_character_begins_the_next_one() -> None:
    events = decoded([native('{"a": "x\ud83d'), native('{"a": "x😀"}'), CLOSING])
    assert events[:2] == [NativeCall("Bash", '{"a": "x'), NativeCall("Bash", '{"a": "x😀"}')]
    assert decoded([native('{"a\ude00": "x'), CLOSING])[0] == NativeCall("Bash", '{"a\ufffd": "x')


def test_a_snapshot_with_stray_bytes_is_readable() -> None:
    broken = native('{"a": "x"}').replace(b"x", b"\xff")
    assert decoded([broken, CLOSING])[0] == NativeCall("Bash", '{"a": "\ufffd"}')


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 1400), max_size=30),
    st.lists(st.sampled_from(['{"a": "é', '{"a": "é😀"}', "", '{"a": "x\ud83d']), min_size=1, max_size=6),
)
def test_native_calls_are_the_same_for_any_cut(points: list[int], snapshots: list[str]) -> None:
    raw = b"".join([*map(native, snapshots), answered(), frame("a"), CLOSING])
    assert comparable(decoded(cut(raw, [min(p, len(raw)) for p in points]))) == comparable(decoded([raw]))


def test_only_the_frame_that_closes_the_answer_settles_it() -> None:
    decoder = Decoder(CHAT)
    decoder.feed(frame("a") + frame("", status="finished"))
    assert not decoder.settled
    decoder.feed(CLOSING)
    assert decoder.settled


# --- pieces that have become the whole answer (F23) ---


LONG_PIECE = "A sentence that is longer than what is kept of the beginning of an answer."


def _pieces(*texts: str) -> bytes:
    frames = [{"choices": [{"delta": {"content": text, "phase": "answer", "status": "typing"}}]} for text in texts]
    return b"".join(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames)


@pytest.mark.parametrize(
    ("texts", "at"),
    [
        (("alpha", " beta", "alpha beta gamma", "alpha beta gamma delta", "alpha beta gamma delta end"), 3),
        (("I", "I am", "I am fine, and", "I am fine, and you?", "I am fine, and you? Well"), 3),
        (("alpha beta", "alpha beta gamma", "alpha beta gamma delta"), 2),
        ((LONG_PIECE, LONG_PIECE + " more", LONG_PIECE + " more, and more"), 2),
        (("ha", "haha", "hahahahahaha", "hahahahahahaha", "hahahahahahaha, no", "hahahahahahaha, no more"), 5),
    ],
)
def test_an_answer_that_begins_to_repeat_itself_breaks_off(texts: tuple[str, ...], at: int) -> None:
    """at: the piece with which it is certain."""
    decoder = Decoder("c")
    for text in texts[:at]:
        assert decoder.feed(_pieces(text)) == [Text(text)]
    (failed,) = decoder.feed(_pieces(texts[at]))
    assert isinstance(failed, Failed)
    assert failed.fault.code == "upstream_changed"


@pytest.mark.parametrize(
    "texts",
    [
        ("1", "12", "123", "1234"),
        ("ab", "abcdefghijkl", "something else", "ab"),
        ("Hello there, ", "Hello there, again"),
        ("a long first piece", "b", "a longer piece than the first", " and more"),
        ("# Hi\n", "==========", "=========="),
        ("# Hi\n", "==========", "===============", "===================="),
        ("==========", "===============", "====================", "=" * 40),
        ("ha", "hahahahaha", "hahahahahaha", "hahahahahahaha"),
        ("alpha beta", "alpha beta gamma", "alpha beta gamma"),
        ("alpha beta", "alpha beta gamma", " and then ", "alpha beta gamma delta"),
        (LONG_PIECE, LONG_PIECE + "!", " So: ", LONG_PIECE + "! Yes.", "It ends."),
    ],
)
def test_pieces_that_are_alike_by_chance_are_text(texts: tuple[str, ...]) -> None:
    events = Decoder("c").feed(_pieces(*texts))
    assert "".join(event.text for event in events if isinstance(event, Text)) == "".join(texts)
