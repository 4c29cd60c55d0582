"""The stretches of an answer that are not plain text: search rounds, the site's own call frames, pictures.

Here: their frames as recorded. Not here: the answer around them (`scenes`).
"""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from .calls import arguments_text
from .frames import Delta, Ids, Json, now, piece
from .turns import Document, Search, ToolCall
from .usage import Meter


@dataclass(frozen=True)
class Picture:
    """A picture that the simulator serves itself."""

    url: str
    height: int
    width: int


def search(found: Search, ids: Ids, meter: Meter) -> Iterator[Delta]:
    """One `web_search` call and its result (14 Sep 2026)."""
    call = secrets.token_hex(12)
    queries = json.dumps(found.queries, ensure_ascii=False)
    # The recorded stages: nothing, the key, the list with the model's own line breaks, the end, the end again.
    whole = f'{{"queries": \n{queries}\n\n}}'
    for arguments in ("", '{"queries": ', whole[:-1], whole, whole):
        yield _call_frame("web_search", "web_search", arguments, ids, meter, f"round_0_call_{call}")
    yield Delta(_search_result(found, call), ids.response, usage={}, stamp=now())


def _search_result(found: Search, call: str) -> Json:
    docs = [msgspec.to_builtins(doc) for doc in found.docs]
    return {
        "role": "function",
        "content": "",
        "phase": "web_search",
        "status": "finished",
        "name": "web_search",
        "extra": {
            "function_id": f"call_{call}",  # without the round that the frame's own function_id has
            "tool_result": {
                "docs": docs,
                "used_id": len(docs) + 1,
                "tool_call_metrics": {"success": [1] * len(found.queries)},
                "tool_observation": observation(found.docs),
            },
            "web_search_info": docs,
            "display_position": "answer",
        },
        "function_id": f"round_0_call_{call}",
    }


def observation(docs: list[Document]) -> str:
    """What the model reads: the numbers here are those of its `[[n]]` marks."""
    entries = [f'[{n}] {doc.url} "{doc.title}\n{doc.snippet}" {doc.date}' for n, doc in enumerate(docs, 1)]
    return "```\n" + "\n\n".join(entries) + "\n```"


def native_calls(calls: list[ToolCall], ids: Ids, meter: Meter) -> Iterator[Delta]:
    """Calls in the model's trained form, which the platform takes off the text (1 Sep 2026).

    No `function_id`, arguments cumulative, the last snapshot twice; then the platform finds that it has no
    such tool.
    """
    for call in calls:
        text = arguments_text(call)
        step = max(1, -(-len(text) // 4))
        for arguments in [text[:end] for end in range(0, len(text), step)] + [text, text]:
            yield _call_frame("answer", call.name, arguments, ids, meter)
    for call, text in zip(calls, misses(calls), strict=True):
        delta = {**piece("answer", text), "role": "function", "name": call.name}
        yield Delta(delta, ids.response, usage={}, stamp=now())


def misses(calls: list[ToolCall]) -> list[str]:
    """What the platform tells the model of calls whose tools it does not have."""
    return [f"Tool {call.name} does not exists." for call in calls]


def narration(calls: list[ToolCall]) -> str:
    """What the model says after the platform told it that there is no such tool."""
    names = " and ".join(f"`{name}`" for name in dict.fromkeys(call.name for call in calls))
    return (
        f"The required tools {names} are not available in my current environment. I only have access to "
        "`code_interpreter`, `web_search`, `web_extractor`, and `web_search_image`."
    )


def _call_frame(phase: str, name: str, arguments: str, ids: Ids, meter: Meter, function_id: str | None = None) -> Delta:
    delta = piece(phase, "")
    delta["function_call"] = {"name": name, "arguments": arguments}
    if function_id is not None:
        delta["function_id"] = function_id
    delta["extra"] = {"display_position": "answer"}
    return Delta(delta, ids.response, usage=meter.tick(), stamp=now())


def gallery(pictures: list[Picture], ids: Ids) -> Iterator[Delta]:
    """One picture per frame (4 Mar 2026)."""
    for picture in pictures:
        delta: Json = {
            "role": "assistant",
            "content": picture.url,
            "phase": "image_gen",
            "extra": {"output_image_hw": [[picture.height, picture.width]]},
            "status": "typing",
        }
        usage: Json = {"input_tokens": 0, "output_tokens": 0, "characters": 0}
        usage |= {"width": picture.width, "image_count": 1, "height": picture.height}
        yield Delta(delta, ids.response, usage=usage, stamp=now(), text=picture.url)
