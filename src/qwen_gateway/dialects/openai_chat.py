"""The OpenAI API's `POST /v1/chat/completions`: what it means as a turn, and a turn's events in its words."""

from collections.abc import Sequence

from qwen_gateway.dialects import openai_chat_request
from qwen_gateway.dialects.openai_chat_answer import completion
from qwen_gateway.dialects.openai_chat_chunks import ChoicesChunkWriter, ChunkWriter
from qwen_gateway.dialects.openai_errors import error
from qwen_gateway.turn.contracts import ChoicesWriter, Incoming, ReplyHead, Writer
from qwen_gateway.turn.reply import Reply
from qwen_gateway.turn.request import TurnRequest

name = "openai_chat"
routes = ("/v1/chat/completions",)
stream_type = "text/event-stream; charset=utf-8"
heartbeat = b": ping\n\n"

refusal = error


def read(incoming: Incoming) -> TurnRequest:
    return openai_chat_request.read(incoming.body)


def writer(request: TurnRequest, head: ReplyHead) -> Writer:
    return ChunkWriter(request, head)


def whole(request: TurnRequest, head: ReplyHead, reply: Reply) -> bytes:
    return completion(head, [reply], legacy=request.legacy_calls)


def choices_writer(request: TurnRequest, head: ReplyHead) -> ChoicesWriter:
    """For a request of several choices, each of them a turn of its own."""
    return ChoicesChunkWriter(request, head)


def choices_whole(request: TurnRequest, head: ReplyHead, replies: Sequence[Reply]) -> bytes:
    return completion(head, replies, legacy=request.legacy_calls)
