"""Bodies of chat completions, and how they are refused."""

import json

import pytest

from qwen_gateway.dialects.openai_chat_request import read
from qwen_gateway.turn.faults import InvalidRequest

HELLO = {"role": "user", "content": "hello"}


def body(**fields: object) -> bytes:
    return json.dumps({"model": "m", "messages": [HELLO], **fields}).encode()


def refused(raw: bytes) -> tuple[str | None, str]:
    """The parameter and the code of the fault with which `raw` is refused."""
    with pytest.raises(InvalidRequest) as caught:
        read(raw)
    assert caught.value.text.endswith(".")
    return caught.value.param, caught.value.code
