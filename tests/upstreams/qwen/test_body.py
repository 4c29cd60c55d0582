"""The body of a completion beside the recorded ones. Every difference from them stands here.

`tests/golden/qwen_body/` holds the bodies of second turns, of which none was recorded whole. `REGENERATE=1 pytest
tests/upstreams/qwen/test_body.py` writes the files anew; the diff is reviewed by eye.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from qwen_gateway.turn.contracts import Moment
from qwen_gateway.turn.faults import ContextTooLong
from qwen_gateway.turn.places import Place
from qwen_gateway.turn.prompt import Prompt
from qwen_gateway.turn.request import Thinking, ThinkingMode
from qwen_gateway.upstreams.qwen import body

TESTS = Path(__file__).parents[2]
CORPUS = TESTS / "corpus"
FID = "88421f4d-5716-4da5-9b63-6c6db73b3420"


FIRST = Place("c")


def sent(prompt: Prompt, place: Place = FIRST, now: float = 1_789_353_469.7) -> dict[str, Any]:
    written = json.loads(body.completion(body.question(prompt, 117_000), place, Moment(now, FID)))
    assert isinstance(written, dict)
    return written


RECORDED: dict[str, tuple[ThinkingMode, bool, dict[str, Any]]] = {
    # name: mode, search, what we write otherwise in feature_config
    "req_t2t_fast_2026-09-14": ("off", False, {"auto_search": False}),
    "req_t2t_thinking_2026-09-14": ("on", False, {"auto_search": False}),
    "req_search_2026-09-14": ("off", True, {}),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_request_is_written_again(name: str) -> None:
    mode, search, otherwise = RECORDED[name]
    recorded = json.loads((CORPUS / f"{name}.json").read_text())
    question = recorded["messages"][0]
    prompt = Prompt(question["content"], recorded["model"], Thinking(mode), search)
    written = sent(prompt, Place(recorded["chat_id"]))
    # Ids and the clock are each call's own.
    for ours, theirs in ((written, recorded), (written["messages"][0], question)):
        assert isinstance(ours.pop("timestamp"), int)
        theirs.pop("timestamp")
    assert written["messages"][0].pop("fid") == FID
    question.pop("fid")
    # Deliberately different: the site gives the answer's id itself, and search is the client's choice.
    assert question["childrenIds"]
    question["childrenIds"] = []
    question["feature_config"] |= otherwise
    assert written == recorded
    assert list(written) == [key for key in recorded if key != "timestamp"]


PARENT = "f62f2aa6-6cd1-4dae-a1d0-5dc4b4ef3b42"
SECOND = {
    "second_turn_fast": Prompt("And now? “搜”\n", "qwen3.7-plus", Thinking("off"), False),
    "second_turn_thinking": Prompt("And now?", "qwen3.8-max", Thinking("on", 2048), False),
    "second_turn_search": Prompt("And now?", "qwen3.7-plus", Thinking("auto"), True),
}
CHAT = "c792d549-85e8-4e7e-9915-c47fc9882162"


@pytest.mark.parametrize("name", SECOND)
def test_a_second_turn_is_the_golden_file(name: str) -> None:
    written = sent(SECOND[name], Place(CHAT, PARENT))
    golden = TESTS / "golden" / "qwen_body" / f"{name}.json"
    if os.environ.get("REGENERATE"):
        golden.write_text(json.dumps(written, ensure_ascii=False, indent=1) + "\n", "utf-8")
    expected = json.loads(golden.read_text("utf-8"))
    assert written == expected
    assert list(written) == list(expected)


def test_a_second_turn_differs_from_a_first_one_in_its_parent_only() -> None:
    first, second = (sent(SECOND["second_turn_fast"], place) for place in (Place(CHAT), Place(CHAT, PARENT)))
    for one, parents in ((first, (None, "", None, None)), (second, (PARENT,) * 4)):
        message = one["messages"][0]
        assert message["user_action"] == "chat"
        found = (one.pop("parent_id"), one.pop("parentId"), message.pop("parent_id"), message.pop("parentId"))
        assert found == parents
    assert first == second


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [
        (Thinking(), {"thinking_enabled": False, "thinking_mode": "Fast"}),
        (Thinking("off"), {"thinking_enabled": False, "thinking_mode": "Fast"}),
        (Thinking("on"), {"thinking_enabled": True, "thinking_mode": "Thinking", "thinking_format": "summary"}),
        (Thinking("auto"), {"thinking_enabled": True, "thinking_mode": "Auto", "thinking_format": "summary"}),
        (
            Thinking("on", 2048),
            {
                "thinking_enabled": True,
                "thinking_mode": "Thinking",
                "thinking_format": "summary",
                "thinking_budget": 2048,
            },
        ),
    ],
)
def test_ways_to_think(thinking: Thinking, expected: dict[str, Any]) -> None:
    features = sent(Prompt("x", "m", thinking, False))["messages"][0]["feature_config"]
    always = {"output_schema": "phase", "research_mode": "normal", "auto_search": False}
    assert features == {**always, "auto_thinking": thinking.mode == "auto", **expected}


def test_time_is_in_seconds() -> None:
    written = sent(Prompt("x", "m", Thinking(), False), now=1_789_353_469.9)
    assert written["timestamp"] == written["messages"][0]["timestamp"] == 1_789_353_469


@pytest.mark.parametrize("thinking", [Thinking("off"), Thinking("on", 1_000_000), Thinking("auto", 1_000_000)])
@pytest.mark.parametrize("search", [False, True])
def test_the_room_reckoned_around_the_text_is_enough(thinking: Thinking, search: bool) -> None:
    """With ids as long as the site's, and a model name longer than any of its own."""
    prompt = Prompt("x", "qwen3.5-omni-flash-2026-12-31-preview-thinking", thinking, search)
    written = body.completion(body.question(prompt, 10_000), Place(FID, FID), Moment(9_999_999_999, FID))
    assert len(written) - len('"x"') <= body.ENVELOPE


@pytest.mark.parametrize("text", ["ü" * 100, '"' * 100, "搜" * 100, "\n" * 100])
def test_the_limit_counts_bytes_of_the_text_as_json(text: str) -> None:
    prompt = Prompt(text, "m", Thinking(), False)
    size = len(json.dumps(text, ensure_ascii=False).encode()) + body.ENVELOPE
    assert body.question(prompt, size).prompt is prompt
    with pytest.raises(ContextTooLong) as caught:
        body.question(prompt, size - 1)
    assert caught.value.param == "messages"
    assert f"{size:,}" in caught.value.text


@pytest.mark.parametrize("text", ["搜索é", '"}],"model":"other"', "\n\t\\", "\u2028", "😀", ""])
def test_the_text_arrives_as_it_is(text: str) -> None:
    asked = body.question(Prompt(text, "m", Thinking(), False), 10_000)
    written = body.completion(asked, Place("c"), Moment(0, FID))
    assert json.loads(written)["messages"][0]["content"] == text
    assert json.loads(written)["model"] == "m"
