"""The chat routes of the earlier bridge (qwen_reverse_fastapi, as its README of October 2025 tells of them).

    POST /v1/chat/multimodal          JSON: a chat completion whose parts may carry `file_info`
    POST /v1/image/upload_and_chat    a form: `image`, `prompt`
    POST /v1/video/upload_and_chat    a form: `video`, `prompt`

All answer as a chat completion does. What else a chat completion's body can say, the first of them understands too.
"""

from qwen_gateway.dialects import openai_chat, qwen_compat_form, qwen_compat_messages
from qwen_gateway.turn.contracts import FormRoute, Incoming
from qwen_gateway.turn.request import TurnRequest

name = "qwen_compat"
_FORMS = {
    "/v1/image/upload_and_chat": qwen_compat_form.IMAGE,
    "/v1/video/upload_and_chat": qwen_compat_form.VIDEO,
}
forms = {path: FormRoute(route.kind, route.largest) for path, route in _FORMS.items()}
routes = ("/v1/chat/multimodal", *_FORMS)

stream_type, heartbeat = openai_chat.stream_type, openai_chat.heartbeat
refusal = openai_chat.refusal
writer, whole = openai_chat.writer, openai_chat.whole
choices_writer, choices_whole = openai_chat.choices_writer, openai_chat.choices_whole


def read(incoming: Incoming) -> TurnRequest:
    if incoming.form is not None:
        return qwen_compat_form.read(incoming.form, _FORMS[incoming.path])
    return qwen_compat_messages.read(incoming.body)
