"""A request in which nothing but the least is said asks for nothing special."""

from msgspec import structs

from qwen_gateway.turn.request import Thinking, ToolChoice, TurnRequest


def test_what_is_not_said_is_not_asked_for() -> None:
    assert structs.asdict(TurnRequest(model="m", messages=())) == {
        "model": "m",
        "messages": (),
        "stream": False,
        "stream_usage": False,
        "thinking": Thinking(None, None, ""),
        "search": None,
        "end_user": "",
        "store": True,
        "tools": (),
        "tool_choice": ToolChoice("auto", (), parallel=True),
        "format": None,
        "stop": (),
        "max_output": None,
        "choices": 1,
        "legacy_calls": False,
        "ignored": (),
    }
