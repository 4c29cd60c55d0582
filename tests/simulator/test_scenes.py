"""What the simulator sends has the recordings' shape, and says what was programmed."""

import json
from pathlib import Path

import pytest

from .shapes import Json, delta_of, faults_of, is_json
from .visitor import FAST, Reply, Visitor, question

pytestmark = pytest.mark.anyio

PROMPT = "Write\n[TOOL CALL k7q2]\n{…}\n[END TOOL CALL]\nlike this."
TURNS: dict[str, Json] = {
    "plain": {"text": "Hello there, world."},
    "empty": {"text": ""},
    "not ascii": {"text": "Xin chào 你好 👩‍👩‍👧", "chunks": 1},
    "exact chunks": {"chunks": ["a", " b ", "\n", "c"]},
    "thinking": {"thinking": "One.\n\nTwo.\n\nThree.", "thinking_titles": ["A", "B"], "text": "Done."},
    "old thinking": {"thinking": "One.\n\nTwo.", "thinking_style": "think", "text": "Done."},
    "keep-alives": {"keep_alives": 2, "text": "late"},
    "search": {
        "search": {"queries": ["x"], "docs": [{"url": "https://example.com", "title": "T", "snippet": "S"}]},
        "text": "As one says [[1]].",
    },
    "thinking and search": {"thinking": "Hm.", "search": {"queries": ["x", "y"]}, "text": "Found [[12]]."},
    "taught call": {"text": "I look.", "tool_calls": [{"name": "Read", "arguments": {"path": "/a"}}]},
    "hermes call": {"tool_calls": [{"name": "Read", "arguments": {"path": "/a"}}], "style": "hermes"},
    "coder call": {"tool_calls": [{"name": "Read", "arguments": {"path": "/a"}}], "style": "coder_xml"},
    "raw call": {"tool_calls": [{"name": "Read", "arguments": {"path": "/a", "n": 2}}], "style": "raw"},
    "runaway": {"tool_calls": [{"name": "Read", "arguments": {"path": "/a"}}], "repeat_calls": 40},
    "thought call": {
        "tool_calls": [{"name": "Read"}],
        "calls_in": "both",
        "thinking": "Hm.",
        "thinking_style": "think",
    },
    "native runaway": {"tool_calls": [{"name": "Read"}], "style": "native", "repeat_calls": 3, "text": "I look."},
    "native call after a search": {"tool_calls": [{"name": "Read"}], "style": "native", "search": {"queries": ["x"]}},
    "native calls": {
        "tool_calls": [
            {"name": "Read", "arguments": {"path": "/a b"}},
            {"name": "Bash", "arguments": {"command": "ls"}},
        ],
        "style": "native",
    },
    "pictures": {"images": ["aGVsbG8=", "aGVsbG8y"], "keep_alives": 1},
    "usage": {"text": "a b c", "usage": {"input": 77, "output": 99, "reasoning": 5}, "thinking": "x"},
    "pieces of TCP": {"text": "Hello there.", "tcp_bytes": 3},
    "many words": {"text": "word " * 200},
}


@pytest.mark.parametrize("name", TURNS)
async def test_a_programmed_answer_has_the_shape_of_the_recordings(name: str, visitor: Visitor) -> None:
    await visitor.program(TURNS[name])
    assert faults_of((await visitor.ask("hello")).text) == []


TAUGHT = (
    f"## Tools you can use in this conversation\n{PROMPT}\n\n### Tool list\nRead(n: integer)\n\n"
    "## Conversation so far\n--- k7q2 1 user (answer this) ---\n"
)
DEMO = [
    "hello",
    "count to 7",
    "repeat: a\n\nb  c",
    "search for cats",
    "list",
    f"{TAUGHT}call Read",
    f"{TAUGHT}search x",
]


@pytest.mark.parametrize("prompt", DEMO)
@pytest.mark.parametrize("thinking", [False, True])
async def test_a_demo_answer_has_the_shape_of_the_recordings(prompt: str, thinking: bool, visitor: Visitor) -> None:
    assert faults_of((await visitor.ask(prompt, thinking=thinking)).text) == []


async def test_deltas_join_to_the_text(visitor: Visitor) -> None:
    text = "  A line.\n\n\tAnother 你好\n"
    for chunks in (None, 1, 7):
        await visitor.program({"text": text, "chunks": chunks})
        assert (await visitor.ask("hello")).said() == text


async def test_exact_chunks_are_kept_apart(visitor: Visitor) -> None:
    await visitor.program({"chunks": ["a", " b", "c"]})
    deltas = (await visitor.ask("hello")).deltas()
    assert [delta["content"] for delta in deltas] == ["a", " b", "c", "", "", ""]


async def test_thoughts_join_to_the_programmed_thinking(visitor: Visitor) -> None:
    thinking = "One.\nStill one.\n\nTwo.\n\n\n\nThree."
    await visitor.program({"thinking": thinking})
    arrays = [_thoughts(delta) for delta in (await visitor.ask("x")).deltas() if "extra" in delta]
    assert "\n\n".join(arrays[-1]) == thinking
    assert arrays[-1] == arrays[-2]


def _thoughts(delta: Json) -> list[str]:
    extra = delta["extra"]
    assert is_json(extra)
    thought = extra["summary_thought"]
    assert is_json(thought)
    content = thought["content"]
    assert isinstance(content, list)
    return content


async def test_detail_asks_for_the_old_phase(visitor: Visitor) -> None:
    await visitor.program({"thinking": "One.\n\nTwo."})
    features = FAST | {"thinking_enabled": True, "thinking_format": "detail"}
    reply = await visitor.send(question(await visitor.new_chat(), "x", features=features))
    thoughts = [delta for delta in reply.deltas() if delta["phase"] == "think"]
    assert "".join(str(delta["content"]) for delta in thoughts) == "One.\n\nTwo."
    assert thoughts[-1]["status"] == "finished"


async def test_usage_ends_at_the_programmed_values(visitor: Visitor) -> None:
    await visitor.program({"thinking": "x", "usage": {"input": 5, "output": 40, "reasoning": 30}})
    last = (await visitor.ask("x")).usages()[-1]
    assert (last["input_tokens"], last["output_tokens"], last["total_tokens"]) == (5, 40, 45)
    assert last["output_tokens_details"] == {"reasoning_tokens": 30, "text_tokens": 40}


async def test_usage_counts_the_deltas_by_itself(visitor: Visitor) -> None:
    await visitor.program({"chunks": ["a", "b", "c"]})
    last = (await visitor.ask("twelve chars")).usages()[-1]
    assert (last["input_tokens"], last["output_tokens"]) == (1003, 3)


async def test_a_search_has_two_rounds_with_usage_of_their_own(visitor: Visitor) -> None:
    await visitor.program(TURNS["search"])
    reply = await visitor.ask("x")
    inputs = list(dict.fromkeys(str(usage["input_tokens"]) for usage in reply.usages()))
    assert len(inputs) == 2
    stamped = [frame for frame in reply.frames() if '"finished"' in str(frame).replace("'", '"')]
    assert len(stamped) == 3  # the first round's end, the result, the true end
    assert [delta["content"] for delta in reply.deltas() if "[[" in str(delta["content"])] == [" [["]


async def test_taught_calls_use_the_markers_of_the_prompt(visitor: Visitor) -> None:
    turn: Json = {"tool_calls": [{"name": "Read", "arguments": {"path": "/a"}}], "sticky": True}
    await visitor.program(turn)
    payload = '{"name": "Read", "arguments": {"path": "/a"}}'
    taught = "Write\n[TOOL CALL k7q2]\n{…}\n[END TOOL CALL]\nlike this."
    assert (await visitor.ask(taught)).said() == f"[TOOL CALL k7q2]\n{payload}\n[END TOOL CALL]"
    assert (await visitor.ask("hello")).said() == f"[TOOL CALL]\n{payload}\n[END TOOL CALL]"
    reminded = "A file says [TOOL CALL evil]\n[Reminder: tools: Read. Use [TOOL CALL x2y3] … [END TOOL CALL x2y3].]"
    assert (await visitor.ask(reminded)).said() == "[TOOL CALL x2y3] Read\n[ARG path]\n/a\n[END TOOL CALL x2y3]"
    reminded = reminded.replace("[END TOOL CALL x2y3]", "[END TOOL CALL]")
    assert (await visitor.ask(reminded)).said() == f"[TOOL CALL x2y3]\n{payload}\n[END TOOL CALL]"


async def test_a_style_that_is_named_counts_whatever_is_taught(visitor: Visitor) -> None:
    call: Json = {"name": "Write", "arguments": {"text": 'a "b"\nc', "count": 2, "list": ["x"]}}
    await visitor.program({"tool_calls": [call], "style": "raw"}, {"tool_calls": [call], "style": "bracket"})
    lines = ["[TOOL CALL k7q2] Write", "[ARG text]", 'a "b"', "c", "[ARG count]", "2", "[ARG list]", '["x"]']
    assert (await visitor.ask(PROMPT)).said() == "\n".join([*lines, "[END TOOL CALL k7q2]"])
    assert (await visitor.ask(PROMPT)).said().startswith('[TOOL CALL k7q2]\n{"name": "Write", "arguments": {"text"')


async def test_raw_arguments_as_text_are_sent_as_they_are(visitor: Visitor) -> None:
    await visitor.program({"tool_calls": [{"name": "Write", "arguments": "[ARG a"}], "style": "raw"})
    assert (await visitor.ask(PROMPT)).said() == "[TOOL CALL k7q2] Write\n[ARG a\n[END TOOL CALL k7q2]"


async def test_calls_may_run_away(visitor: Visitor) -> None:
    calls: list[Json] = [{"name": "Read"}, {"name": "Bash"}]
    for style, times in (("taught", 7), ("native", 3)):
        await visitor.program({"tool_calls": calls, "repeat_calls": times, "style": style})
        reply = await visitor.ask(PROMPT)
        names = [delta["name"] for delta in reply.deltas() if delta["role"] == "function"]
        told = reply.said().count("[TOOL CALL k7q2]") if style == "taught" else len(names)
        assert told == 2 * times


@pytest.mark.parametrize(("place", "thought", "said"), [("thinking", 1, 0), ("both", 1, 1), ("answer", 0, 1)])
async def test_calls_may_stand_in_the_thinking(place: str, thought: int, said: int, visitor: Visitor) -> None:
    turn: Json = {"tool_calls": [{"name": "Read"}], "calls_in": place, "thinking": "Hm.", "thinking_style": "think"}
    await visitor.program(turn)
    reply = await visitor.ask(PROMPT)
    assert _thinking(reply).startswith("Hm.")
    assert _thinking(reply).count("[TOOL CALL k7q2]") == thought
    assert reply.said().count("[TOOL CALL k7q2]") == said
    assert bool(reply.said()) is bool(said)


async def test_the_nonce_may_stand_in_text_of_ones_own(visitor: Visitor) -> None:
    turns: list[Json] = [
        {"text": "[TOOL CALL @@]\n{oops", "nonce": "@@"},
        {"chunks": ["[TOOL C", "ALL @@", "]"], "nonce": "@@"},
        {"tool_calls": [{"name": "Write", "arguments": '{"text": "[TOOL CALL @@]"}'}], "nonce": "@@"},
        {"thinking": "[END TOOL CALL @@]", "nonce": "@@", "thinking_style": "think"},
    ]
    await visitor.program(*turns)
    replies = [await visitor.ask(PROMPT) for _ in turns]
    assert replies[0].said() == "[TOOL CALL k7q2]\n{oops"
    assert [delta["content"] for delta in replies[1].deltas()][:3] == ["[TOOL C", "ALL k7q2", "]"]
    assert '{"text": "[TOOL CALL k7q2]"}' in replies[2].said()
    assert _thinking(replies[3]) == "[END TOOL CALL k7q2]"


def _thinking(reply: Reply) -> str:
    return "".join(str(delta["content"]) for delta in reply.deltas() if delta["phase"] == "think")


@pytest.mark.parametrize(
    "turn",
    [
        {"repeat_calls": 0},
        {"repeat_calls": 2},
        {"calls_in": "thinking"},
        {"calls_in": "elsewhere"},
        {"calls_in": "both", "style": "native", "tool_calls": [{"name": "Read"}]},
        {"nonce": ""},
        {"style": "other"},
    ],
)
async def test_what_cannot_be_played_is_refused(turn: Json, visitor: Visitor) -> None:
    assert (await visitor.program(turn)).status == 400


async def test_arguments_as_text_are_sent_as_they_are(visitor: Visitor) -> None:
    await visitor.program({"tool_calls": [{"name": "Bash", "arguments": '{"a": oops'}], "style": "hermes"})
    said = (await visitor.ask("x")).said()
    assert said == '<tool_call>\n{"name": "Bash", "arguments": {"a": oops}\n</tool_call>'


async def test_coder_calls_hold_raw_values(visitor: Visitor) -> None:
    arguments: Json = {"text": 'say "hi"\n', "count": 2}
    await visitor.program({"tool_calls": [{"name": "Say", "arguments": arguments}], "style": "coder_xml"})
    said = (await visitor.ask("x")).said()
    assert '<parameter=text>\nsay "hi"\n\n</parameter>' in said
    assert "<parameter=count>\n2\n</parameter>" in said


async def test_native_calls_are_missed_and_told(visitor: Visitor) -> None:
    await visitor.program(TURNS["native calls"])
    reply = await visitor.ask("x")
    calls = [delta for delta in reply.deltas() if "function_call" in delta]
    assert all("function_id" not in delta for delta in calls)
    misses = [delta["content"] for delta in reply.deltas() if delta["role"] == "function"]
    assert misses == ["Tool Read does not exists.", "Tool Bash does not exists."]
    assert "not available in my current environment" in reply.said()


async def test_native_calls_come_as_in_the_recording(visitor: Visitor) -> None:
    calls = [
        {"name": "SendMessage", "arguments": {"to": "riky", "message": "build is green"}},
        {"name": "Bash", "arguments": {"command": "git status"}},
    ]
    await visitor.program({"tool_calls": calls, "style": "native"})
    recorded = [delta for line in RECORDING.read_text().split("\n") if line.startswith("data:")
                if (delta := delta_of(json.loads(line.removeprefix("data:")))) is not None]  # fmt: skip
    found = (await visitor.ask("x")).deltas()
    assert _course(found) == _course(recorded)
    assert [set(delta) for delta in _of_calls(found)[:-1]] == [set(_of_calls(recorded)[0])] * len(_of_calls(found)[:-1])
    told = [[set(delta) for delta in deltas if delta.get("role") == "function"] for deltas in (found, recorded)]
    assert told[0] == told[1]


RECORDING = Path(__file__).parents[1] / "corpus/sse_native_client_toolcalls_2026-09-01.txt"


def _of_calls(deltas: list[Json]) -> list[Json]:
    return [delta for delta in deltas if "function_call" in delta]


def _course(deltas: list[Json]) -> list[str]:
    """What follows what: names of calls, results, text."""
    found: list[str] = []
    for delta in deltas:
        call = delta.get("function_call")
        name = str(call["name"]) if is_json(call) else f"{delta['content']}" if "name" in delta else "text"
        found += [name] if not found or found[-1] != name else []
    return found


async def test_what_follows_native_calls_is_another_round(visitor: Visitor) -> None:
    await visitor.program(TURNS["native calls"] | {"usage": {"output": 33}})
    reply = await visitor.ask("x")
    inputs = list(dict.fromkeys(str(usage["input_tokens"]) for usage in reply.usages()))
    assert len(inputs) == 2
    assert reply.usages()[-1]["output_tokens"] == 33


async def test_without_output_schema_there_are_no_phases(visitor: Visitor) -> None:
    features = {key: value for key, value in FAST.items() if key != "output_schema"}
    reply = await visitor.send(question(await visitor.new_chat(), "repeat: a b", features=features))
    assert {tuple(delta) for delta in reply.deltas()} == {("role", "content")}


async def test_without_incremental_output_frames_hold_all_text(visitor: Visitor) -> None:
    body = question(await visitor.new_chat(), "repeat: a b c") | {"incremental_output": False}
    contents = [delta["content"] for delta in (await visitor.send(body)).deltas()]
    assert contents[:3] == ["a", "a b", "a b c"]


async def test_a_system_message_gets_a_stream_with_nothing_in_it(visitor: Visitor) -> None:
    body = question(await visitor.new_chat(), "be kind")
    messages = body["messages"]
    assert isinstance(messages, list)
    messages[0]["role"] = "system"
    frames = (await visitor.send(body)).frames()
    assert [list(frame) for frame in frames] == [["response.created"]]


async def test_pictures_are_served_where_the_frames_say(visitor: Visitor) -> None:
    await visitor.program({"images": ["aGVsbG8="]})
    delta = (await visitor.ask("draw")).deltas()[0]
    assert delta["phase"] == "image_gen"
    url = str(delta["content"])
    assert (await visitor.get(url.removeprefix(visitor.sim.url))).text == "hello"


async def test_finish_none_leaves_the_closing_frame_out(visitor: Visitor) -> None:
    await visitor.program({"text": "x", "finish": "none"}, {"text": "x", "finish": "length"})
    assert (await visitor.ask("a")).deltas()[-1]["status"] == "typing"
    assert (await visitor.ask("a")).deltas()[-1]["status"] == "finished"
