"""A chat completion in one piece, and the parts of it that its stream has in the same form."""

from collections.abc import Sequence

import msgspec

from qwen_gateway.turn.contracts import ReplyHead
from qwen_gateway.turn.events import Citation, FinishReason, Usage, total
from qwen_gateway.turn.reply import Reply
from qwen_gateway.turn.request import ToolCallPart

ID = "chatcmpl-"
CALL_ID = "call_"

_encode = msgspec.json.Encoder().encode


def completion(head: ReplyHead, replies: Sequence[Reply], *, legacy: bool) -> bytes:
    """One choice for each reply. legacy: calls in the older form, which has room for one."""
    return _encode(
        {
            "id": ID + head.id,
            "object": "chat.completion",
            "created": head.created,
            "model": head.model,
            "choices": [_choice(index, reply, legacy) for index, reply in enumerate(replies)],
            "usage": usage(total([reply.usage for reply in replies])),
        }
    )


def _choice(index: int, reply: Reply, legacy: bool) -> dict[str, object]:
    says_otherwise = reply.calls or reply.declined
    message: dict[str, object] = {
        "role": "assistant",
        "content": reply.text or (None if says_otherwise else ""),
        "refusal": reply.declined or None,
    }
    if reply.reasoning:
        message["reasoning_content"] = reply.reasoning
    message.update(annotations(reply.citations))
    if reply.calls:
        message.update(_calls(reply.calls, legacy))
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish_reason(reply.finish, legacy)}


def _calls(calls: Sequence[ToolCallPart], legacy: bool) -> dict[str, object]:
    functions = [{"name": call.name, "arguments": call.arguments} for call in calls]
    if legacy:
        return {"function_call": functions[0]}
    rows = [
        {"id": CALL_ID + call.id, "type": "function", "function": function}
        for call, function in zip(calls, functions, strict=True)
    ]
    return {"tool_calls": rows}


def finish_reason(reason: FinishReason, legacy: bool) -> str:
    return "function_call" if legacy and reason == "tool_calls" else reason


def annotations(citations: Sequence[Citation]) -> dict[str, object]:
    if not citations:
        return {}
    rows = [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": citation.start,
                "end_index": citation.end,
                "url": citation.source.url,
                "title": citation.source.title,
            },
        }
        for citation in citations
    ]
    return {"annotations": rows}


def usage(usage: Usage) -> dict[str, object]:
    figures: dict[str, object] = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
    # Not a key of OpenAI's: says that the site gave no figures and these are ours.
    return {**figures, "estimated": True} if usage.estimated else figures
