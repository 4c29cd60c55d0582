"""What is measured: the scenarios, and the request each of them sends."""

import json
from dataclasses import dataclass, replace
from typing import Any

MODEL = "qwen3.7-plus"
SENTENCE = 'She wrote: "streams are rivers", and went on — über die Brücke — to the next line.\n'


@dataclass(frozen=True)
class Scenario:
    """One kind of load. A chat is `events` upstream events: one opens it, one closes it, the rest carry text."""

    name: str
    title: str
    clients: int
    events: int
    seconds: float = 4
    rounds: int = 3
    rate: int = 0  # events per second and stream; 0: as fast as they are read
    stream: bool = True
    tools: bool = False
    prompt_bytes: int = 600
    translated_only: bool = False  # nginx and the direct line would only repeat another scenario
    messages: int = 1
    unsaid: int = 0  # the last ones of them, which are left out
    goes_on: bool = False  # each client has a conversation of its own, and has had all answers in it

    @property
    def marks(self) -> int:
        return self.events - 2

    @property
    def ramp_ms(self) -> int:
        """Paced streams open one after the other, as people do, not all in one instant."""
        return self.clients if self.rate else 0

    @property
    def stream_seconds(self) -> float:
        return self.events / self.rate if self.rate else 0

    def beginning(self) -> "Scenario":
        """What each client has asked before: the same without the last answer and the question that follows it."""
        return replace(self, unsaid=2)

    def quick(self) -> "Scenario":
        events = 50 if self.rate else self.events
        return replace(self, events=events, seconds=min(self.seconds, 1.2), rounds=1)

    def warm_up(self) -> "Scenario":
        """The same requests, briefly; paced streams run unpaced, or their warm-up would take as long as they do."""
        if not self.rate:
            return replace(self, seconds=min(self.seconds / 4, 0.7))
        return replace(self, seconds=0.5, clients=16, events=20, rate=0)


_CHAT = Scenario("S1", "chat of 20 events, not streamed", clients=64, events=20, stream=False)

SCENARIOS = (
    _CHAT,
    replace(_CHAT, name="S1c", title="its second turn", messages=3, goes_on=True, translated_only=True),
    replace(
        _CHAT, name="S1h", title="its 101st turn", messages=201, goes_on=True, translated_only=True, prompt_bytes=300
    ),
    Scenario("S2", "stream of 1000 events, unpaced", clients=16, events=1000),
    Scenario("S2t", "the same, tools declared", clients=16, events=1000, tools=True, translated_only=True),
    Scenario("S3m", "500 streams of 20 events/s", clients=500, events=200, rate=20, rounds=2),
    Scenario("S3", "2000 streams of 20 events/s", clients=2000, events=200, rate=20, rounds=2),
    Scenario("S4", "one client, time to first token", clients=1, events=20, seconds=3),
    Scenario("S5", "prompt of 1 MB", clients=4, events=20, stream=False, prompt_bytes=1_000_000),
)

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["place"],
        },
    },
}


def openai_request(scenario: Scenario) -> bytes:
    body: dict[str, Any] = {
        "model": MODEL,
        "stream": scenario.stream,
        "messages": [_message(scenario, number) for number in range(scenario.messages - scenario.unsaid)],
    }
    if scenario.tools:
        body["tools"] = [WEATHER]
    return json.dumps(body, ensure_ascii=False).encode()


def site_request(scenario: Scenario) -> bytes:
    """What the web app would send, in the shape of the recording; nginx and the direct line carry this."""
    features = {"thinking_enabled": False, "output_schema": "phase", "thinking_mode": "Fast", "auto_search": True}
    message = {
        "id": None,
        "fid": "88421f4d-5716-4da5-9b63-6c6db73b3420",
        "parentId": None,
        "childrenIds": ["717e9e25-3977-4490-84c9-671b588fdd73"],
        "role": "user",
        "content": _prompt(scenario),
        "user_action": "chat",
        "files": [],
        "timestamp": 1789353469,
        "models": [MODEL],
        "chat_type": "t2t",
        "feature_config": features,
        "extra": {"meta": {"subChatType": "t2t"}},
        "sub_chat_type": "t2t",
        "parent_id": None,
    }
    body = {
        "stream": True,
        "version": "2.1",
        "incremental_output": True,
        "chat_id": "c792d549-85e8-4e7e-9915-c47fc9882162",
        "chat_mode": "normal",
        "model": MODEL,
        "parent_id": None,
        "messages": [message],
        "timestamp": 1789353469,
    }
    return json.dumps(body, ensure_ascii=False).encode()


def _message(scenario: Scenario, number: int) -> dict[str, str]:
    if number % 2 == 0:
        return {"role": "user", "content": _prompt(scenario)}
    if number == scenario.messages - 2:
        return {"role": "assistant", "content": _answer(scenario)}
    return {"role": "assistant", "content": _filled(f"Answer {number}. ", scenario.prompt_bytes)}


def _answer(scenario: Scenario) -> str:
    """What the mock answers in a conversation."""
    return "".join(f" @{1_000_001 + mark}" for mark in range(scenario.marks))


def _prompt(scenario: Scenario) -> str:
    # The first word tells the mock which stream to play; the load generator puts each client's number in the second.
    order = f"bench-n{scenario.events}-r{scenario.rate}"
    return _filled(f"{order}-f client-00000 " if scenario.goes_on else f"{order} ", scenario.prompt_bytes)


def _filled(beginning: str, size: int) -> str:
    return beginning + SENTENCE * max(1, (size - len(beginning)) // len(SENTENCE.encode()))
