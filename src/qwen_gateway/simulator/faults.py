"""Every fault that can be programmed by name: one table.

Here: the names, what each does in a sentence, and who does it; sentences of the site become whole bodies or
data lines here. Not here: the words (`refusals`), broken connections (`breaks`), strange events (`oddities`),
strange content (`tangles`), lost chats (`losses`).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from . import breaks, losses, oddities, tangles
from .envelope import Refusal, RefusedError, marks, refuse
from .frames import Event, Json, dumps
from .play import Play
from .refusals import REFUSALS
from .site import Site
from .tree import Chat
from .turns import Turn

Reply = Callable[[web.Request, Turn], web.Response]


@dataclass(frozen=True)
class Fault:
    """A row. It can be the whole answer (`whole`), a line of a stream (`line`), or a way of playing (`play`).

    lose: something is lost at the site first, for good, of the chat that was asked in after a parent. Returns what
    the site says then.
    """

    says: str
    whole: Reply | None = None
    line: Refusal | None = None
    play: Callable[[Play], Awaitable[None]] | None = None
    lose: Callable[[Site, Chat, str | None], Refusal] | None = None


def _sentence(name: str) -> Fault:
    refusal = REFUSALS[name]
    if refusal.inline:
        return Fault(f"data line: {_wording(refusal.body)}", line=refusal)
    says = f"JSON, or a data line: {_wording(refusal.body)}"
    return Fault(says, whole=lambda request, _: refuse(request, refusal), line=refusal)


def _wording(body: Json) -> str:
    """What a refusal says, for the guide."""
    inner = body.get("data", body.get("error")) if "ret" not in body else {"code": dumps(body["ret"])}
    if not isinstance(inner, dict):
        return f"`{inner}`"
    said = [inner.get("code"), inner.get("details", inner.get("message"))]
    url = ["with `data.url`"] if "ret" in body and "data" in body else []
    return ", ".join([*(f"`{part}`" for part in said if part), *url])


def _status(status: int, reason: str) -> Fault:
    def reply(request: web.Request, turn: Turn) -> web.Response:
        headers = marks(request, status)
        retry_after = turn.retry_after if turn.retry_after is not None else "2" if status == 429 else ""
        if retry_after:
            headers["Retry-After"] = retry_after
        return web.Response(status=status, text=reason, headers=headers)

    note = " with `Retry-After: 2` or what `retry_after` says" if status == 429 else ""
    return Fault(f"a true HTTP {status}{note}", whole=reply)


_SLIDER = """<!doctype html><html><head><title>Access Verification</title><meta name="aliyun_waf_aa" content="x">
</head><body><div id="nc_1_n1z">Please slide to verify</div><script>sessionStorage.x5referer = location.href;
window.location.replace("https://chat.qwen.ai/_____tmd_____/punish?x5secdata=x&action=captcha");</script>
</body></html>"""


def _slider(request: web.Request, _: Turn) -> web.Response:
    return web.Response(text=_SLIDER, content_type="text/html", headers=marks(request))


def _redirect(request: web.Request, _: Turn) -> web.Response:
    # A name that resolves nowhere, so that a client which follows it is caught doing so.
    location = {"Location": "https://login.invalid/?from=chat"}
    return web.Response(status=302, headers={**marks(request, 302), **location})


_NAMED: dict[str, Fault] = {
    **{name: _sentence(name) for name in REFUSALS},
    **{
        f"http_{status}": _status(status, reason)
        for status, reason in (
            (429, "Too Many Requests"),
            (500, "Internal Server Error"),
            (502, "Bad Gateway"),
            (503, "Service Unavailable"),
            (504, "Gateway Timeout"),
        )
    },
    "chat_lost": Fault("the chat is deleted by hand first, then as `chat_deleted`; JSON only", lose=losses.chat),
    "chats_lost": Fault(
        "all chats of the account are deleted first, then as `chat_deleted`; JSON only", lose=losses.chats
    ),
    "parent_lost": Fault(
        "the message asked after is deleted first with all below it, then as `parent_unknown`; JSON only",
        lose=losses.parent,
    ),
    "challenge_html": Fault("the slider page, HTML with HTTP 200", whole=_slider),
    "redirect": Fault("302 to a login page on another host", whole=_redirect),
    "disconnect": Fault("RST before any byte, or after `after_chunks` frames", play=breaks.disconnect),
    "eof": Fault("FIN in the middle of the stream", play=breaks.eof),
    "empty": Fault("HTTP 200, event stream, no event", play=breaks.empty),
    "stall": Fault("silence in the middle of the stream, for `seconds` (3600)", play=breaks.stall),
}

FAULTS: dict[str, Fault] = {
    **_NAMED,
    "f01": Fault("connection refused; played as RST at once, as one port serves all", play=breaks.disconnect),
    "f05": Fault("RST after the request was read", play=breaks.disconnect),
    "f06": Fault("stale keep-alive: this answer is fine, the connection's next request is reset", play=breaks.stale),
    "f07": Fault("headers after `seconds` (30)", play=breaks.slow_head),
    "f08": Fault("headers at once, first event after `seconds` (90)", play=breaks.slow_first),
    "f09": _NAMED["stall"],
    "f10": Fault("as stall, with SSE comments going on", play=breaks.stall_noisy),
    "f11": Fault("one byte every `seconds` (1)", play=breaks.drip),
    "f12": Fault("everything in one write; with `tcp_bytes` in small ones", play=breaks.lump),
    "f13": Fault("characters cut at each byte; a surrogate pair split over two events", play=oddities.cut_characters),
    "f14": Fault("invalid UTF-8 inside an event", play=oddities.bad_utf8),
    "f15": Fault("BOM, CRLF/LF/CR mixed, no blank after the colon, data lines split", play=oddities.line_salad),
    "f16": Fault("RST inside an event", play=breaks.reset_inside),
    "f17": _NAMED["eof"],
    "f18": Fault("no `[DONE]`: the site's ordinary way", play=Play.rest),
    "f19": Fault("`[DONE]` twice, and data after it", play=oddities.done_twice),
    "f20": Fault("a clean end without the closing frame", play=tangles.unfinished),
    "f21": Fault("frames sent again", play=tangles.replayed),
    "f22": Fault("a cumulative reasoning array that shrinks", play=tangles.shrinking),
    "f23": Fault("answer frames turn from incremental to cumulative", play=tangles.cumulative_later),
    "f24": _NAMED["empty"],
    "f25": _NAMED["challenge_html"],
    "f26": _NAMED["server"],
    "f27": Fault("bare JSON error behind some frames, no line end", play=oddities.trailing_json),
    "f28": Fault("an error event in the stream", line=REFUSALS["internal_event"]),
    "f29": Fault("a wrong content type with an odd charset", play=breaks.odd_type),
    "f30": Fault("gzip, unasked for", play=breaks.gzipped),
    "f30_cut": Fault("gzip that ends too early", play=breaks.gzip_cut),
    "f30_garbage": Fault("called gzip, but is not", play=breaks.gzip_garbage),
    "f31": Fault("a gzip bomb of 64 MiB", play=breaks.gzip_bomb),
    "f32": Fault("a chunk shorter than its size, then FIN", play=breaks.chunk_lie),
    "f32_garbage": Fault("a chunk size that is no number", play=breaks.chunk_garbage),
    "f33": Fault("Content-Length larger than the body", play=breaks.length_short),
    "f33_long": Fault("bytes beyond Content-Length", play=breaks.length_long),
    "f34": Fault("one event of 9 MB", play=oddities.large_event),
    "f34_line": Fault("a line of 100 MB without an end", play=oddities.endless_line),
    "f35": Fault("50 000 small events at full speed", play=oddities.burst),
    "f36": Fault("invalid JSON in one event", play=oddities.broken_event),
    "f37": Fault("unknown events, phases and fields", play=oddities.unknown_things),
    "f37_types": Fault("known fields with other types", play=oddities.other_types),
    "f38": _NAMED["http_429"],
    "f39": Fault("the daily limit as a data line", line=REFUSALS["rate_limit"]),
    "f40": _NAMED["http_503"],
    "f45": _NAMED["redirect"],
    "f46": _NAMED["content_filter"],
    "f47": _NAMED["too_long"],
    "f48": _NAMED["chat_deleted"],
    "f49": _NAMED["in_progress"],
    "f52": Fault("another chat's ids on this answer", play=tangles.crosstalk),
    "f53": Fault("no usage", play=tangles.usage_absent),
    "f53_negative": Fault("negative usage", play=tangles.usage_negative),
    "f53_absurd": Fault("usage too large and of other types", play=tangles.usage_absurd),
    "f53_last": Fault("usage in the last frames only", play=tangles.usage_last),
    "f54": Fault("reasoning, then an empty answer", play=tangles.thought_only),
    "f54_endless": Fault("reasoning without end, for `seconds` (60)", play=tangles.thought_endless),
    "f54_mixed": Fault("reasoning between the pieces of the answer", play=tangles.thought_mixed),
    "f55": Fault("a tool call that is never closed", play=tangles.call_unclosed),
    "f55_split": Fault("a tool call, one character per event", play=tangles.call_split),
    "f55_json": Fault("a tool call with unescaped quotes", play=tangles.call_bad_json),
    "f55_nested": Fault("a tool call inside an argument of one", play=tangles.call_nested),
    "f55_two": Fault("two tool calls with words around", play=tangles.call_twice),
    "f55_thinking": Fault("a tool call in the reasoning", play=tangles.call_in_thought),
    "f56": Fault("one sentence over and over, for `seconds` (60)", play=tangles.repeating),
    "f57": Fault("FIN from the site's side only, for `seconds` (60)", play=breaks.half_close),
}  # fmt: skip


def named(turn: Turn) -> Fault | None:
    return None if turn.error is None else FAULTS[turn.error.lower()]


def loss(fault: Fault, site: Site, chat: Chat, parent: str | None) -> Reply | None:
    """Loses what this fault wants lost, if anything: the answer that follows from it."""
    if fault.lose is None:
        return None
    refusal = fault.lose(site, chat, parent)
    return lambda request, _: refuse(request, refusal)


def complaint(turn: Turn) -> str | None:
    """Why this turn's error cannot be played, if so."""
    if turn.error is None:
        return None
    fault = FAULTS.get(turn.error.lower())
    if fault is None:
        return f"`error` names no fault: {turn.error}"
    if turn.after_chunks is not None and fault.line is None and fault.play is None:
        return f"`{turn.error}` is a whole answer and cannot come after chunks"
    return None


async def say(play: Play, fault: Fault) -> None:
    """A sentence of the site in the middle of a stream, and the end of the stream."""
    await play.lead(0)
    if fault.line is not None:
        await play.send(Event(_addressed(fault.line.body, play)))
    await play.wire.end()


def _addressed(body: Json, play: Play) -> Json:
    """Error objects come with the ids of the answer; here the index is a number (19 Sep 2026)."""
    if isinstance(body.get("error"), dict):
        return {**body, "response_id": play.ids.response, "response_index": 0}
    return body


def reply_of(name: str, request: web.Request) -> web.Response:
    """The whole answer of a fault, for endpoints without a stream."""
    fault = FAULTS[WHOLE_ALIASES.get(name, name)]
    if fault.whole is None:
        raise RefusedError(REFUSALS["server"])
    return fault.whole(request, Turn())


WHOLE_ALIASES = {"down": "http_503"}


def whole(name: str) -> bool:
    """Whether a name can stand for the whole answer of any endpoint."""
    fault = FAULTS.get(WHOLE_ALIASES.get(name, name))
    return fault is not None and fault.whole is not None
