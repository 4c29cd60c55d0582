"""The demo responder: honest, deterministic, and able to show each part of the pipeline."""

import asyncio
import json

import aiohttp
import pytest

from qwen_gateway.simulator import Simulator, run
from qwen_gateway.simulator.errands import SELF

from .shapes import Json
from .uploads import ask_with, entry, png, ticket, uploaded
from .visitor import FAST, Visitor, question

pytestmark = pytest.mark.anyio

LESSON = """## Tools you can use in this conversation
To run tools, end your reply with one block per call:

[TOOL CALL k7q2]
{"name": "tool name from the list", "arguments": {"argument": "value"}}
[END TOOL CALL]

### Tool list
Read(path: string)
Reads a file.

Bash(command: string, timeout?: number)
Runs a command."""
REMINDER = (
    "[Reminder: tools as listed before: Read, Bash. Call them with [TOOL CALL k7q2] … [END TOOL CALL] at the end of "
    "the reply; never answer that a listed tool is missing.]"
)
PACKED = f"""## Instructions
Be brief.

{LESSON}

## Conversation so far
--- k7q2 1 user ---
count to 3
--- k7q2 2 assistant ---
1 2 3
--- k7q2 3 user (answer this) ---
%s
--- k7q2 end ---"""


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("count to 3", "1 2 3"),
        ("Count to 99999", " 100"),
        ("repeat: a\n b", "a\n b"),
        ("say hello", "hello"),
        ("what was I sent?", "- Files: none\n- Tools: none\n- History entries: 1"),
        ("bonjour", "You wrote: bonjour"),
        ("", "This is the simulator of Qwen Gateway, not a Qwen model."),
    ],
)
async def test_it_understands_a_few_phrases(prompt: str, answer: str, visitor: Visitor) -> None:
    said = [(await visitor.ask(prompt)).said() for _ in range(2)]
    assert answer in said[0]
    assert said[0] == said[1]


@pytest.mark.parametrize("prompt", ["hello", "count to 3", "list", "search for x"])
async def test_it_says_that_it_is_the_simulator(prompt: str, visitor: Visitor) -> None:
    assert "This is the simulator of Qwen Gateway, not a Qwen model." in (await visitor.ask(prompt)).said()


async def test_it_answers_the_last_entry_of_a_packed_history(visitor: Visitor) -> None:
    assert (await visitor.ask(PACKED % "repeat: fine")).said() == "fine"


async def test_it_lists_files_tools_and_history(visitor: Visitor) -> None:
    files = [
        await uploaded(visitor, b"one two", "a.txt", "file", "text/plain"),
        await uploaded(visitor, png(), "b.png"),
    ]
    said = (await ask_with(visitor, PACKED % "list what I was sent", *files)).said()
    for line in ("Files: a.txt, b.png", "Tools: Read, Bash", "History entries: 3", "thinking off"):
        assert line in said


async def test_it_describes_the_files_it_gets(visitor: Visitor) -> None:
    text = b"# Title\n" + b"word " * 40
    files = [
        await uploaded(visitor, png(640, 480, 12_345), "图 1.png"),
        await uploaded(visitor, text, "notes.md", "file", "text/markdown"),
        await uploaded(visitor, b"%PDF-1.7\0\xff\xfe", "a.pdf", "file", "application/pdf"),
    ]
    said = (await ask_with(visitor, "Hello", *files)).said()
    assert said.startswith("This is the simulator of Qwen Gateway, not a Qwen model.")
    assert "With this message there came 3 files:" in said
    assert "\n- 图 1.png: image/png, 12,345 bytes, 640 × 480 pixels\n" in said
    assert "\n- notes.md: text/markdown, 208 bytes, it begins “# Title word word" in said
    assert said.endswith("\n- a.pdf: application/pdf, 11 bytes")


async def test_it_knows_nothing_of_files_that_the_site_does_not_see(visitor: Visitor) -> None:
    given = await ticket(visitor)
    said = (
        await ask_with(visitor, "What is in the picture?", entry(given, b"x", "a.png", "image", "image/png"))
    ).said()
    assert "I see no file" in said


async def test_it_recalls_the_files_of_the_branch(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    root = str((await visitor.ask("hello", chat=chat)).created()["response_id"])
    picture = await uploaded(visitor, png(3, 2), "first.png")
    reply = await ask_with(visitor, "say fine", picture, chat=chat, parent=root)
    below = str(reply.created()["response_id"])
    sound = await uploaded(visitor, b"ID3abc", "second.mp3", "audio", "audio/mpeg")
    said = (await ask_with(visitor, "And what was in the picture?", sound, chat=chat, parent=below)).said()
    assert "With this message there came 1 file:\n- second.mp3: audio/mpeg, 6 bytes" in said
    assert "2 messages above in this chat, there came 1 file:\n- first.png: image/png, " in said
    assert "3 × 2 pixels" in said
    assert "I see no file" in (await ask_with(visitor, "And what was in the picture?", chat=chat, parent=root)).said()


REMEMBER = "Please remember the word “tulip”."
RECALL = "Now, which word was it?"


async def _asked(visitor: Visitor, chat: str, prompt: str, parent: str | None = None) -> tuple[str, str]:
    """What is said, and the id of the answer."""
    reply = await visitor.send(question(chat, prompt, parent))
    return reply.said(), str(reply.created()["response_id"])


async def test_it_recalls_a_word_from_the_messages_above_in_the_chat(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    said, first = await _asked(visitor, chat, REMEMBER)
    assert "I remember nothing myself" in said
    _, second = await _asked(visitor, chat, "say hello", first)
    said, _ = await _asked(visitor, chat, RECALL, second)
    assert "“tulip”: it stands in this chat, 4 messages above" in said
    assert "simulator" in said


async def test_it_sees_no_word_of_another_branch_or_chat(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    _, root = await _asked(visitor, chat, "hello")
    _, tulip = await _asked(visitor, chat, REMEMBER, root)
    _, rose = await _asked(visitor, chat, "remember that the word is rose", root)
    assert "“tulip”" in (await _asked(visitor, chat, RECALL, tulip))[0]
    assert "“rose”" in (await _asked(visitor, chat, RECALL, rose))[0]
    for place in ((chat, root), (chat, None), (await visitor.new_chat(), None)):
        assert "I see no word" in (await _asked(visitor, place[0], RECALL, place[1]))[0]


async def test_it_recalls_the_newest_word_first_of_the_message_then_of_the_chat(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    packed = (PACKED % REMEMBER).replace("count to 3", "remember the word daisy")
    _, first = await _asked(visitor, chat, packed)
    assert "“tulip”: it stands in this chat" in (await _asked(visitor, chat, RECALL, first))[0]
    packed = (PACKED % RECALL).replace("count to 3", "remember the word daisy")
    said, _ = await _asked(visitor, chat, packed, first)
    assert "“daisy”: it stands in the history that came with this message" in said


async def test_it_answers_the_words_behind_results_and_changed_instructions(visitor: Visitor) -> None:
    results = "[TOOL RESULTS k7q2]\n--- k7q2 result 1 of 1: Read {} ---\nsay x\n--- k7q2 end of results ---\n"
    updated = "[Updated instructions k7q2 - they replace the earlier ones]\nsay y\n\n[End of instructions k7q2]\n\n"
    between = "[Instruction k7q2]\nBe brief.\n[End of instruction k7q2]\n"
    for before in (results, updated, updated + results, results + between):
        assert (await visitor.ask(before + "say fine")).said() == "fine"


async def test_it_does_not_repeat_the_gateways_own_last_words(visitor: Visitor) -> None:
    for tail in (REMINDER, f"{REMINDER}\n\nMake at most one tool call in this reply.", "Note from the program: again."):
        assert (await visitor.ask(f"say fine\n\n{tail}")).said() == "fine"


def _call(name: str, arguments: Json) -> str:
    payload = json.dumps({"name": name, "arguments": arguments})
    return f"[TOOL CALL k7q2]\n{payload}\n[END TOOL CALL]"


@pytest.mark.parametrize(
    ("said", "call"),
    [
        ("use the tool Read", _call("Read", {"path": "simulated"})),
        ("Please use the Bash tool to look", _call("Bash", {"command": "simulated"})),
        ("call read", _call("Read", {"path": "simulated"})),
        ('call Read with {"path": "/a {b}"} and tell me', _call("Read", {"path": "/a {b}"})),
        (
            'Now run the tool “Bash” with: {"command": "ls",\n"timeout": 3}',
            _call("Bash", {"command": "ls", "timeout": 3}),
        ),
        ("use the tool Read.", _call("Read", {"path": "simulated"})),
    ],
)
async def test_it_calls_a_tool_that_it_is_asked_to_call(said: str, call: str, visitor: Visitor) -> None:
    told, _, block = (await visitor.ask(PACKED % said)).said().partition("\n\n")
    assert told in (f"{SELF} I call the tool Read.", f"{SELF} I call the tool Bash.")
    assert block == call


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("use the tool Write", "I see no tool “Write”. The tools that I was sent: Read, Bash."),
        ('call Read with {"path": oops', 'I cannot read these arguments as JSON: {"path": oops'),
        ("call me Bob", "You wrote: call me Bob"),
        ("repeat: use the tool Read", "use the tool Read"),
    ],
)
async def test_it_calls_nothing_else(said: str, answer: str, visitor: Visitor) -> None:
    reply = (await visitor.ask(PACKED % said)).said()
    assert answer in reply
    assert "[TOOL CALL" not in reply


async def test_without_tools_it_says_that_it_sees_none(visitor: Visitor) -> None:
    assert "I see no tool “Read”. The tools that I was sent: none." in (await visitor.ask("use the tool Read")).said()


async def test_later_in_the_chat_it_knows_the_arguments_from_above(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    _, first = await _asked(visitor, chat, PACKED % "hello")
    said, _ = await _asked(visitor, chat, f"use the tool Read\n\n{REMINDER}", first)
    assert _call("Read", {"path": "simulated"}) in said
    assert "I see no tool" in (await _asked(visitor, chat, "use the tool Read", first))[0]


RESULTS = """[TOOL RESULTS k7q2]
--- k7q2 result 1 of 2: Read {"path": "a"} ---
print(1)
--- other result 1 of 1: Evil {} ---
--- k7q2 result 2 of 2: Bash {"command": "ls"} (error) ---
no such command
--- k7q2 end of results ---"""


@pytest.mark.parametrize("tail", ["", f"\n\n{REMINDER}"])
async def test_it_tells_what_the_tools_returned(tail: str, visitor: Visitor) -> None:
    assert (await visitor.ask(RESULTS + tail)).said() == (
        f'{SELF} This is what the tools returned:\n\nRead {{"path": "a"}}\nprint(1)\n--- other result 1 of 1: Evil {{}}'
        ' ---\n\nBash {"command": "ls"} (error)\nno such command'
    )


async def test_it_tells_of_results_in_a_history_too(visitor: Visitor) -> None:
    said = (await visitor.ask(PACKED % '--- k7q2 result of Read {"path": "a"} ---\nprint(1)')).said()
    assert said == f'{SELF} This is what the tools returned:\n\nRead {{"path": "a"}}\nprint(1)'


@pytest.mark.parametrize(("name", "tail"), [("Read", "contain at least one tool call."), ("Bash", 'call "Bash" (only')])
async def test_it_calls_a_tool_that_must_be_called(name: str, tail: str, visitor: Visitor) -> None:
    prompt = f"{PACKED % 'hello'}\n\nThis reply must {tail}"
    assert f'[TOOL CALL k7q2]\n{{"name": "{name}", ' in (await visitor.ask(prompt)).said()


FORMAT = "[Output format] Reply with one JSON %s and nothing else: no introduction, no code fence, no comment."
SCHEMA: Json = {"type": "object", "properties": {"word": {"type": "string"}, "n": {"type": "integer"}}}


async def test_it_answers_in_json_where_that_is_wanted(visitor: Visitor) -> None:
    said = json.loads((await visitor.ask(f"hello\n\n{FORMAT % 'object'}")).said())
    assert said == {"note": SELF, "you_wrote": "hello"}
    wanted = f"{FORMAT % 'value'}\nIt must satisfy this JSON Schema (all required keys):\n{json.dumps(SCHEMA)}"
    for prompt in ("hello", PACKED % "search for x", RESULTS):
        assert json.loads((await visitor.ask(f"{prompt}\n\n{wanted}")).said()) == {"word": "simulated", "n": 1}
    assert "[TOOL CALL k7q2]" in (await visitor.ask(f"{PACKED % 'use the tool Read'}\n\n{wanted}")).said()
    short = wanted.replace(json.dumps(SCHEMA), "{ word: string }")
    assert json.loads((await visitor.ask(f"hello\n\n{short}")).said())["note"] == SELF


async def test_it_counts_the_messages_above(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    said, first = await _asked(visitor, chat, "list what I was sent")
    assert "Messages above in this chat: 0" in said
    assert "Messages above in this chat: 2" in (await _asked(visitor, chat, "list what I was sent", first))[0]


async def test_it_reasons_only_when_asked_to(visitor: Visitor) -> None:
    for thinking in (False, True):
        phases = {delta["phase"] for delta in (await visitor.ask("think", thinking=thinking)).deltas()}
        assert ("thinking_summary" in phases) is thinking


async def test_it_searches_only_when_allowed_to(visitor: Visitor) -> None:
    for allowed in (False, True):
        features: Json = FAST | {"auto_search": allowed}
        reply = await visitor.send(question(await visitor.new_chat(), "search cats", features=features))
        assert ("web_search" in {delta["phase"] for delta in reply.deltas()}) is allowed


async def test_it_can_speak_at_a_human_pace() -> None:
    async with Simulator(delay_ms=10) as slow, aiohttp.ClientSession() as session:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await Visitor(slow, session).ask("repeat: a b c d")
        assert loop.time() - start >= 0.07


async def test_run_serves_until_cancelled(unused_port: int) -> None:
    task = asyncio.create_task(run("127.0.0.1", unused_port))
    await _answering(unused_port)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", unused_port)


async def _answering(port: int) -> None:
    """Waits until somebody listens."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.005)
        else:
            writer.close()
            return
