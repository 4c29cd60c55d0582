"""A form with one file and one question → a turn. The answer of the earlier bridge to `curl -F`."""

from msgspec import Struct

from qwen_gateway.dialects.openai_chat_request import MAX_NAMED
from qwen_gateway.dialects.openai_chat_values import refused
from qwen_gateway.turn.contracts import Form, FormFile
from qwen_gateway.turn.faults import BodyTooLarge, InvalidRequest
from qwen_gateway.turn.files import FilePart, Given, Kind
from qwen_gateway.turn.request import Message, TextPart, Thinking, TurnRequest

MODEL = "qwen3-vl-plus"
"""Where a request names none."""

_FLAGS = {"true": True, "1": True, "on": True, "yes": True, "false": False, "0": False, "off": False, "no": False}
_KNOWN = ("model", "prompt", "stream", "enable_thinking", "thinking_budget")


class Route(Struct, frozen=True):
    """kind: of its file, and the name of the field that holds it. stream: unless the request says. largest: bytes of
    the file; `None`: what any file of this kind may have."""

    kind: Kind
    stream: bool
    largest: int | None = None


IMAGE = Route("image", stream=False, largest=10 * 1024 * 1024)
VIDEO = Route("video", stream=True)


def read(form: Form, route: Route) -> TurnRequest:
    """Raises InvalidRequest and BodyTooLarge."""
    fields = {name: value.strip() for name, value in form.fields}
    file = _file(form, route)
    if not (prompt := fields.get("prompt")):
        raise InvalidRequest(
            "`prompt` is missing: what is to be said of the file.", param="prompt", code="missing_required_parameter"
        )
    thinks = _flag(fields, "enable_thinking", unless_said=False)
    budget = _budget(fields.get("thinking_budget"))
    ignored = [name for name, _ in form.fields if name not in _KNOWN]
    ignored += [other.field for other in form.files if other.field != route.kind]
    if not thinks and budget is not None:
        ignored.append("thinking_budget")
    return TurnRequest(
        model=fields.get("model") or MODEL,
        messages=(Message("user", (TextPart(prompt), _part(file, route))),),
        stream=_flag(fields, "stream", unless_said=route.stream),
        thinking=Thinking("on" if thinks else "off", budget if thinks else None, "enable_thinking"),
        ignored=tuple(dict.fromkeys(ignored))[:MAX_NAMED],
    )


def _file(form: Form, route: Route) -> FormFile:
    field = route.kind
    found = [file for file in form.files if file.field == field]
    if not found:
        raise InvalidRequest(
            f"`{field}` is missing: send the file itself, as `curl -F '{field}=@path'` does.",
            param=field,
            code="missing_required_parameter",
        )
    if len(found) > 1:
        raise refused(field, "one file per question. /v1/chat/multimodal takes several", "too_many_files")
    if route.largest is not None and found[0].content.size > route.largest:
        raise BodyTooLarge(
            f"`{field}`: this route takes files of up to {route.largest // 1024 // 1024} MB, and this one has "
            f"{found[0].content.size:,} bytes. /v1/chat/completions takes larger ones.",
            param=field,
            code="file_too_large",
        )
    return found[0]


def _part(file: FormFile, route: Route) -> FilePart:
    return FilePart(Given(file.content), route.kind, file.media_type, file.name, route.kind)


def _flag(fields: dict[str, str], name: str, *, unless_said: bool) -> bool:
    if not (said := fields.get(name)):
        return unless_said
    if said.lower() not in _FLAGS:
        raise refused(name, "can be true or false")
    return _FLAGS[said.lower()]


def _budget(said: str | None) -> int | None:
    """Tokens. `None`: no bound."""
    if not said:
        return None
    if not said.isascii() or not said.isdigit() or not 1 <= len(said) <= 7 or not 1 <= int(said) <= 1_000_000:
        raise refused("thinking_budget", "a number of tokens from 1 to 1000000")
    return int(said)
