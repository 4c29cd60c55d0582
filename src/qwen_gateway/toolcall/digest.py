"""When two lists of tools, or two calls, are the same."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from qwen_gateway.toolcall.pieces import Tool


def canonical(tools: Sequence[Tool]) -> bytes:
    """The list as JSON with its keys sorted, in the client's order, without `cache_control`, which says nothing to
    the model and moves from turn to turn."""
    return _sorted(
        [
            {
                "description": tool.description,
                "name": tool.name,
                "parameters": {key: value for key, value in tool.parameters.items() if key != "cache_control"},
                "strict": tool.strict,
            }
            for tool in tools
        ]
    )


def tools_hash(tools: Sequence[Tool]) -> str:
    """SHA-256 of `canonical`, in hexadecimal."""
    return hashlib.sha256(canonical(tools)).hexdigest()


def call_key(name: str, arguments: str) -> tuple[str, bytes]:
    """Equal for calls that do the same. Arguments that are no JSON are compared as text."""
    try:
        return name, _sorted(json.loads(arguments))
    except (ValueError, RecursionError):
        return name, arguments.encode(errors="surrogatepass")


def _sorted(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
