"""The site's refusals as data: what it says, under which status, and in which form.

Here: wording. The bodies are those of the recorded errors (dates beside them); where only the wording was
recorded, the envelope was completed. Not here: when they are given (`auth`, `chats`, `ask`) and faults that
are not a sentence of the site (`breaks`, `oddities`).
"""

from .envelope import Refusal

BUSY_RET = ["FAIL_SYS_USER_VALIDATE", "RGV587_ERROR::SM::哎哟喂,被挤爆啦,请稍后重试"]
_PUNISH = (
    "https://chat.qwen.ai:443//api/v2/chat/completions/_____tmd_____/punish?x5secdata=[BLANKED]"
    "__bx__chat.qwen.ai:443/api/v2/chat/completions&x5step=2&action=captcha&pureCaptcha="
)
_DAILY = "You've reached the upper limit for today's usage."


def envelope(status: int, code: str, details: str, **more: object) -> Refusal:
    """A refusal in the site's envelope: HTTP says 200, `status` goes into `x-actual-status-code`."""
    return Refusal(status, {"success": False, "data": {"code": code, "details": details, **more}})


def _line(**error: object) -> Refusal:
    return Refusal(200, {"error": dict(error)}, inline=True)


REFUSALS: dict[str, Refusal] = {
    # num counts hours. Transcribed from a live answer of 2026.
    "rate_limit": envelope(
        429,
        "RateLimited",
        _DAILY,
        template="You have reached the daily usage limit. Please wait {{num}} hours before trying again.",
        num=10,
    ),
    # Seen live 21 Aug 2026, also in the middle of an answer: num may be missing.
    "rate_limit_no_num": envelope(429, "RateLimited", _DAILY),
    # The same code with another text is a passing crowd (18-23 Sep 2026).
    "rate_limit_busy": envelope(429, "RateLimited", "目前服务访问量较大，请稍后再试"),
    "server": envelope(500, "Internal_Server_Error", "Internal Server Error"),
    "internal_error": envelope(400, "internal_error", "Internal Error"),
    "unauthorized": envelope(401, "Unauthorized", "401 Unauthorized"),  # 22-29 Sep 2026
    "invalid_header": envelope(401, "Unauthorized", "Invalid request header"),  # auth host, Oct 2026
    "bad_request": envelope(400, "Bad_Request", "internal error"),
    "in_progress": envelope(400, "Bad_Request", "The chat is in progress!"),
    "too_many_messages": envelope(400, "Bad_Request", "Invalid input too many messages."),
    "malformed": envelope(400, "Bad_Request", "Something wrong with request!"),
    "missing_chat_id": envelope(400, "RequestValidationError", "Field 'chat_id': Field required"),
    "chat_deleted": envelope(404, "CHAT_NOT_FOUND", "This chat has been deleted. Please start a new chat to continue."),
    "parent_unknown": envelope(
        400, "PARENT_NOT_FOUND", "Invalid input chat parent_id 00000000-0000-4000-8000-000000000000 is not exist."
    ),
    "not_found": envelope(404, "Not_Found", "Chat not found"),
    "model_unknown": envelope(404, "Not_Found", "model not found"),
    # Known from a test double of 2026 only; no live refusal of a long prompt was published.
    "too_long": envelope(400, "ContextLengthExceeded", "Range of input length should be [1, 1000000]"),
    # The slider: as the whole body or as a data line (16 Jun - Oct 2026).
    "challenge": Refusal(200, {"ret": BUSY_RET, "data": {"url": _PUNISH}}),
    "challenge_connect": Refusal(
        200,
        {
            "ret": ["FAIL_SYS_USER_VALIDATE"],
            "data": {
                "url": "https://chat.qwen.ai/api/v2/chat/completions/_____tmd_____/punish"
                "?x5secdata=x&action=captchaconnect"
            },
        },
    ),
    # The busy form has no data.url: 477 of 502 sends of one operator on 23-26 Sep 2026.
    "challenge_busy": Refusal(200, {"ret": BUSY_RET}),
    # 19 Sep 2026
    "content_filter": _line(
        code="data_inspection_failed",
        modality=["text"],
        stage="input",
        details="内容安全警告：输入数据可能包含不适当的内容！",
    ),
    "invalid_input": _line(code="invalid_input", details="输入或附件无效。请检查后重试。"),  # 24 Sep 2026
    "internal_string": Refusal(200, {"error": "Internal error!"}, inline=True),  # 24 Sep 2026
    "internal_event": _line(code="internal_error", details="Internal Error"),
    "token_limit": _line(
        message="Allocated quota exceeded, please increase your quota limit. For details, see: "
        "https://www.alibabacloud.com/help/en/model-studio/error-code#token-limit"
    ),
}


def parent_unknown(parent: str) -> Refusal:
    """The refusal of a parent that this chat does not hold; the text names it."""
    return envelope(400, "PARENT_NOT_FOUND", f"Invalid input chat parent_id {parent} is not exist.")


def field_wrong(field: str, reason: str) -> Refusal:
    """The schema's refusal; the text names the field (wording of a probe of Sep 2026)."""
    return envelope(400, "RequestValidationError", f"Field '{field}': {reason}")
