"""What the OpenAPI document says of files, and of chats that take a form."""

from typing import Any

_TEXT = {"type": "string"}
_WHOLE = {"type": "integer"}
_BINARY = {"type": "string", "format": "binary"}
_KEYED: list[dict[str, list[str]]] = [{"key": []}]
_ID = {"name": "id", "in": "path", "required": True, "schema": _TEXT}
_EXPIRY = {
    "type": "object",
    "required": ["anchor", "seconds"],
    "properties": {"anchor": {"enum": ["created_at"]}, "seconds": {**_WHOLE, "minimum": 3600, "maximum": 2592000}},
}
_PURPOSE = {**_TEXT, "default": "user_data", "description": "A word of your own or of OpenAI's; nothing depends on it."}
_FILE_TYPES = (
    "Its bytes say what it is: a picture, a video, a sound, a document (PDF, Office, EPUB, text, source code). What no "
    "model could be given is refused at once, with the code `unsupported_file`."
)
_FILE = {
    "type": "object",
    "properties": {
        "id": _TEXT,
        "object": {"const": "file"},
        "bytes": _WHOLE,
        "created_at": _WHOLE,
        "expires_at": {"type": ["integer", "null"]},
        "filename": _TEXT,
        "purpose": _TEXT,
        "status": {"const": "processed"},
    },
}
_UPLOAD = {
    "type": "object",
    "properties": {
        "id": _TEXT,
        "object": {"const": "upload"},
        "bytes": _WHOLE,
        "created_at": _WHOLE,
        "expires_at": _WHOLE,
        "filename": _TEXT,
        "purpose": _TEXT,
        "status": {"enum": ["pending", "completed", "cancelled", "expired"]},
        "file": {"oneOf": [_FILE, {"type": "null"}]},
    },
}
_PART = {
    "type": "object",
    "properties": {"id": _TEXT, "object": {"const": "upload.part"}, "created_at": _WHOLE, "upload_id": _TEXT},
}
_LIST = {
    "type": "object",
    "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "items": _FILE},
        "first_id": {"type": ["string", "null"]},
        "last_id": {"type": ["string", "null"]},
        "has_more": {"type": "boolean"},
    },
}
_DELETED = {"type": "object", "properties": {"id": _TEXT, "object": _TEXT, "deleted": {"const": True}}}
_OLD_UPLOAD = {
    "type": "object",
    "properties": {
        "id": _TEXT,
        "object": {"const": "file"},
        "bytes": _WHOLE,
        "created_at": _WHOLE,
        "filename": _TEXT,
        "purpose": {"const": "multimodal"},
        "url": _TEXT,
        "status": {"const": "uploaded"},
        "filetype": {"enum": ["image", "video", "audio", "file"]},
        "content_type": _TEXT,
    },
}
_TICKET_WISH = {
    "type": "object",
    "required": ["filename", "filesize"],
    "properties": {
        "filename": _TEXT,
        "filesize": {"oneOf": [_WHOLE, _TEXT], "description": "Bytes."},
        "filetype": {"enum": ["image", "video", "audio", "file"], "default": "image"},
    },
}
_TICKET = {
    "type": "object",
    "properties": {
        "success": {"const": True},
        "request_id": _TEXT,
        "data": {
            "type": "object",
            "properties": dict.fromkeys(
                (
                    "access_key_id",
                    "access_key_secret",
                    "security_token",
                    "file_url",
                    "file_path",
                    "file_id",
                    "bucketname",
                    "region",
                    "endpoint",
                ),
                _TEXT,
            ),
        },
    },
}
_NEW_UPLOAD = {
    "type": "object",
    "required": ["filename", "bytes"],
    "properties": {
        "filename": _TEXT,
        "bytes": {**_WHOLE, "minimum": 1},
        "mime_type": _TEXT,
        "purpose": _PURPOSE,
        "expires_after": _EXPIRY,
    },
}
_COMPLETION = {
    "type": "object",
    "required": ["part_ids"],
    "properties": {"part_ids": {"type": "array", "items": _TEXT}, "md5": _TEXT},
}
_LISTING = [
    {"name": "purpose", "in": "query", "schema": _TEXT},
    {"name": "limit", "in": "query", "schema": {**_WHOLE, "minimum": 1, "maximum": 10000, "default": 1000}},
    {"name": "order", "in": "query", "schema": {"enum": ["asc", "desc"], "default": "desc"}},
    {
        "name": "after",
        "in": "query",
        "schema": _TEXT,
        "description": "`last_id` of the page before. A page has 1000 files at most.",
    },
]


def paths(error: dict[str, Any], answer: dict[str, Any], chat_body: dict[str, Any]) -> dict[str, Any]:
    """error: the response to a request that is refused. answer: the response of a chat. chat_body: its request."""
    told = _Told(error)
    files, uploads, before = "Files", "Uploads", "As the earlier bridge had it"
    kept = {"file": {**_BINARY, "description": _FILE_TYPES}}
    whole = {
        **kept,
        "purpose": _PURPOSE,
        "expires_after[anchor]": {"enum": ["created_at"]},
        "expires_after[seconds]": {**_WHOLE, "minimum": 3600, "maximum": 2592000},
    }
    bytes_ = {"description": "Its bytes.", "content": {"application/octet-stream": {"schema": _BINARY}}}
    not_yet = "Kept here, encrypted, and brought to Qwen's site only when a chat names it."
    return {
        "/v1/files": {
            "post": told.of(files, "Keep a file", not_yet, form=_form(whole, "file"), gives=_FILE),
            "get": told.of(files, "The files that you keep here", parameters=_LISTING, gives=_LIST),
        },
        "/v1/files/{id}": {
            "get": told.of(files, "One file", parameters=[_ID], gives=_FILE),
            "delete": told.of(files, "Delete a file", parameters=[_ID], gives=_DELETED),
        },
        "/v1/files/{id}/content": {
            "get": told.of(files, "The bytes of a file", parameters=[_ID], response=bytes_),
        },
        "/v1/uploads": {
            "post": told.of(
                uploads,
                "Begin a file that comes in parts",
                "It expires after an hour.",
                body=_NEW_UPLOAD,
                gives=_UPLOAD,
            ),
        },
        "/v1/uploads/{id}/parts": {
            "post": told.of(
                uploads,
                "Add a part",
                "64 MB at most.",
                parameters=[_ID],
                form=_form({"data": _BINARY}, "data"),
                gives=_PART,
            ),
        },
        "/v1/uploads/{id}/complete": {
            "post": told.of(uploads, "Join the parts", parameters=[_ID], body=_COMPLETION, gives=_UPLOAD),
        },
        "/v1/uploads/{id}/cancel": {"post": told.of(uploads, "Give it up", parameters=[_ID], gives=_UPLOAD)},
        "/v1/files/upload": {
            "post": told.of(
                before,
                "Keep a file, and get an address for it",
                f"{not_yet} The address goes into `image_url` or `video_url` of a chat.",
                form=_form(kept, "file"),
                gives=_OLD_UPLOAD,
            ),
        },
        "/v2/files/getstsToken": {
            "post": told.of(
                before,
                "Leave to put a file into the site's own storage",
                "For one of the gateway's accounts. The answer is a credential for this file. Chats do not need it: "
                "the gateway uploads by itself.",
                body=_TICKET_WISH,
                gives=_TICKET,
            ),
        },
        "/v1/chat/multimodal": {
            "post": told.of(
                before,
                "Answer a conversation with files",
                "A chat completion that reasons unless told not to. Its parts may carry `file_info`: what an upload "
                "has answered.",
                body=chat_body,
                response=answer,
            ),
        },
        "/v1/image/upload_and_chat": {
            "post": told.of(
                before,
                "Ask about a picture",
                form=_form(_asking("image", stream=False), "image", "prompt"),
                response=answer,
            ),
        },
        "/v1/video/upload_and_chat": {
            "post": told.of(
                before,
                "Ask about a video",
                form=_form(_asking("video", stream=True), "video", "prompt"),
                response=answer,
            ),
        },
    }


class _Told:
    def __init__(self, error: dict[str, Any]) -> None:
        self._error = error

    def of(  # noqa: PLR0913 - what an operation is
        self,
        tag: str,
        summary: str,
        description: str = "",
        *,
        parameters: list[dict[str, Any]] | None = None,
        body: dict[str, Any] | None = None,
        form: dict[str, Any] | None = None,
        gives: dict[str, Any] | None = None,
        response: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """gives: the schema of an answer in JSON; response: an answer of another kind."""
        told: dict[str, Any] = {"tags": [tag], "summary": summary, "security": _KEYED}
        if description:
            told["description"] = description
        if parameters:
            told["parameters"] = parameters
        if body is not None:
            told["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
        if form is not None:
            told["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
        if response is None:
            response = {"description": summary, "content": {"application/json": {"schema": gives or {}}}}
        return {**told, "responses": {"200": response, "default": self._error}}


def _form(fields: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": fields}


def _asking(kind: str, *, stream: bool) -> dict[str, Any]:
    sizes = "10 MB at most." if kind == "image" else "As large as videos may be."
    return {
        kind: {**_BINARY, "description": sizes},
        "prompt": {**_TEXT, "description": f"What is to be said of the {kind}."},
        "model": {**_TEXT, "default": "qwen3-vl-plus"},
        "stream": {"type": "boolean", "default": stream},
        "enable_thinking": {"type": "boolean", "default": False},
        "thinking_budget": {**_WHOLE, "description": "Tokens; only with `enable_thinking`."},
    }
