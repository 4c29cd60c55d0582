"""The OpenAPI document. The turns' routes are plain endpoints, so what they take and give is written down here."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from qwen_gateway.server import openapi_files

_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_MESSAGE = {
    "type": "object",
    "required": ["role"],
    "properties": {
        "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
        "content": {
            "description": "Text, or parts: `text`, `image_url`, `input_audio`, `video_url`, `file`. Files come as "
            "base64, as an address, or as the id of one that is kept at /v1/files.",
            "oneOf": [_TEXT, {"type": "null"}, {"type": "array", "items": {"type": "object"}}],
        },
        "reasoning_content": {**_TEXT, "description": "Of an earlier answer; not shown to the model again."},
        "tool_calls": {"type": "array", "items": {"type": "object"}},
        "tool_call_id": _TEXT,
    },
}
_REQUEST = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": {
            **_TEXT,
            "description": "A name from /v1/models or an alias, with `-thinking`, `-nothinking`, `-search` behind it.",
        },
        "messages": {"type": "array", "items": _MESSAGE, "minItems": 1},
        "stream": _FLAG,
        "stream_options": {"type": "object", "properties": {"include_usage": _FLAG}},
        "enable_thinking": {**_FLAG, "description": "Whether the model reasons before it answers."},
        "thinking_budget": {"type": "integer", "minimum": 1, "description": "Upper bound of the reasoning, in tokens."},
        "reasoning_effort": {
            "enum": ["none", "minimal", "low", "medium", "high", "xhigh", "max"],
            "description": "The site has a switch only: `none` and `minimal` are off, all others on.",
        },
        "enable_search": {**_FLAG, "description": "Whether the model may search the web."},
        "chat_type": {"enum": ["t2t", "search"]},
        "n": {"type": "integer", "minimum": 1, "maximum": 4},
        "stop": {
            "description": "The text ends before the first of these.",
            "oneOf": [_TEXT, {"type": "array", "items": _TEXT, "maxItems": 4}],
        },
        "max_tokens": {"type": "integer", "minimum": 1, "description": "Of the answer, without its reasoning."},
        "max_completion_tokens": {"type": "integer", "minimum": 1, "description": "Of reasoning and answer."},
        "tools": {"type": "array", "items": {"type": "object"}, "description": "Functions that the model may call."},
        "tool_choice": {
            "description": "`none`, `auto`, `required`, a function by name, or `allowed_tools`.",
            "oneOf": [{"enum": ["none", "auto", "required"]}, {"type": "object"}],
        },
        "parallel_tool_calls": _FLAG,
        "response_format": {
            "type": "object",
            "properties": {"type": {"enum": ["text", "json_object", "json_schema"]}},
            "description": "That the answer is JSON, or satisfies a JSON Schema.",
        },
        "user": {**_TEXT, "description": "Whose conversation it is. Nobody goes on with that of another."},
        "store": {**_FLAG, "description": "False: nothing is kept of this turn, and its chat is deleted at once."},
    },
    "additionalProperties": {"description": "Ignored, and named in the response header `x-gateway-ignored`."},
    "example": {
        "model": "qwen3.7-plus",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": False,
    },
}
_ERROR = {
    "description": "What went wrong; the header `x-gateway-fault` says whose fault it is.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "error": {
                        "type": "object",
                        "properties": {
                            "message": _TEXT,
                            "type": _TEXT,
                            "param": {"type": ["string", "null"]},
                            "code": _TEXT,
                        },
                    }
                },
            }
        }
    },
}
_HEADERS = [
    {
        "name": "X-Continuation",
        "in": "header",
        "schema": {"enum": ["auto", "replay", "off"]},
        "description": "`replay`: tell the whole conversation in a new chat. `off`: and delete that chat after it.",
    },
    {
        "name": "X-Continue-From",
        "in": "header",
        "schema": _TEXT,
        "description": "The id of the earlier answer that the request goes on from, for clients that reformat answers.",
    },
]
_KEYED: list[dict[str, list[str]]] = [{"key": []}]


def _json(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": {"type": "object"}}}}


def _page(tag: str, summary: str, *, key: bool = False) -> dict[str, Any]:
    told: dict[str, Any] = {"get": {"tags": [tag], "summary": summary, "responses": {"200": _json(summary)}}}
    if key:
        told["get"] |= {"security": _KEYED}
        told["get"]["responses"]["401"] = _ERROR
    return told


def _answer() -> dict[str, Any]:
    answer = _json("The answer; with `stream`, chunks as server-sent events.")
    answer["content"] |= {"text/event-stream": {"schema": _TEXT}}
    return answer


def _paths() -> dict[str, Any]:
    one_model = _page("Models", "One model, by any of its names", key=True)
    one_model["get"]["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": _TEXT}]
    one_model["get"]["responses"]["404"] = _ERROR
    return {
        "/v1/chat/completions": {
            "post": {
                "tags": ["Chat"],
                "summary": "Answer a conversation",
                "security": _KEYED,
                "parameters": _HEADERS,
                "requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST}}},
                "responses": {"200": _answer(), "default": _ERROR},
            }
        },
        "/v1/models": _page("Models", "The models that the account can use today", key=True),
        "/v1/models/{name}": one_model,
        "/health": _page("Health", "How well the gateway is, and its account"),
        "/livez": _page("Health", "200 while the process runs"),
        "/readyz": _page("Health", "200 while chats can be served"),
    }


def describe(app: FastAPI) -> None:
    """Makes `app.openapi()` tell of the plain routes too."""

    def openapi() -> dict[str, Any]:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        document["paths"].update(_paths() | openapi_files.paths(_ERROR, _answer(), _REQUEST))
        document.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        return document

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend the document
