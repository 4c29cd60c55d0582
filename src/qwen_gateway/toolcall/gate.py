"""What becomes of an answer to a request with tools once it is over: delivered, asked for again, or refused.

One decision for all dialects, streamed or not.
"""

import re
from typing import Literal

from msgspec import Struct

from qwen_gateway.toolcall.hints import Reason, hint
from qwen_gateway.toolcall.pieces import Bad
from qwen_gateway.turn.events import FinishReason

MOST_RETRIES = 2
Code = Literal["invalid_tool_call", "tool_choice_unsatisfied", "tool_call_intercepted", "upstream_empty"]


class Answer(Struct, frozen=True, kw_only=True):
    """One answer as it was read.

    calls: names of the valid ones, promoted ones from the reasoning included. text: what can be read of it, calls cut
    out. text_shown, call_shown: the client has seen some of the text, or the beginning of a call. open: a call has
    begun to be shown and has not ended. thought: the reasoning ends with a call that was not written in the answer.
    """

    calls: tuple[str, ...] = ()
    bad: tuple[Bad, ...] = ()
    text: str = ""
    text_shown: bool = False
    call_shown: bool = False
    open: bool = False
    thought: bool = False
    finish: FinishReason = "stop"


class Policy(Struct, frozen=True, kw_only=True):
    """What the request wants, and what has been tried.

    names: of the tools that may be called; the list for a named choice has one. nudge: ask on when the answer only
    announces an action. form: a sentence that shows how calls are written. retried: reasons of earlier tries.
    """

    names: tuple[str, ...]
    required: bool = False
    nudge: bool = False
    form: str = ""
    retried: tuple[Reason, ...] = ()
    time_left: bool = True


class Deliver(Struct, frozen=True):
    """What there is, with this end."""

    finish: FinishReason


class Retry(Struct, frozen=True):
    """Ask again, beside this answer and not after it. `hint` goes at the end of the same message.

    calls_only: text of this answer was shown, so of the next one only calls may be.
    """

    reason: Reason
    hint: str
    calls_only: bool = False


class Refuse(Struct, frozen=True):
    """An error with this code: 502, or the dialect's own event in a stream that is open."""

    code: Code


Decision = Deliver | Retry | Refuse

_OF_BAD: dict[str, Reason] = {"unknown": "unknown", "schema": "schema", "intercepted": "intercepted"}
# Twice for what the client insists on; a reason that did not help once will not help again.
_MOST: dict[Reason, int] = {"required": 2}


def gate(answer: Answer, policy: Policy) -> Decision:
    if answer.finish in ("length", "content_filter"):
        return Deliver(answer.finish)
    if answer.calls:
        return _with_calls(answer, policy)
    if answer.call_shown or answer.open:
        # A call that was shown and broke off: closing it would make a shorter command of it.
        return Deliver("length")
    reason = _reason(answer, policy)
    if reason is None:
        return Deliver("stop")
    return _retry(reason, answer, policy) or _exhausted(reason, answer, policy)


def _with_calls(answer: Answer, policy: Policy) -> Decision:
    foreign = [name for name in answer.calls if name not in policy.names]
    if answer.call_shown or answer.open:
        # A call that is never ended, whatever broke it, must not look like one that may be run.
        broken = answer.open or any(bad.kind == "truncated" for bad in answer.bad)
        return Deliver("length" if broken else "tool_calls")
    if foreign:
        # Only the list that was taught may be called; nothing of such an answer goes out.
        reason: Reason = "required" if policy.required else "unknown"
        return _retry(reason, answer, policy, what=foreign[0]) or Refuse(_code(reason))
    # Programs run the calls of an answer as a set: one that lacks a call is worse than another try.
    if answer.bad and (again := _retry(_reason_of(answer.bad), answer, policy)):
        return again
    return Deliver("tool_calls")


def _reason(answer: Answer, policy: Policy) -> Reason | None:
    """Why an answer without a call is not good enough."""
    if policy.required:
        return "required"
    # Results that the model made up end a text that was shown; without them the text is good.
    if answer.bad and not (answer.text_shown and all(bad.kind == "forged_result" for bad in answer.bad)):
        return _reason_of(answer.bad)
    if answer.thought:
        return "thought"
    if not answer.text.strip():
        return "empty"
    return "nudge" if policy.nudge and announces(answer.text) else None


def _reason_of(bad: tuple[Bad, ...]) -> Reason:
    kinds = [_OF_BAD.get(one.kind, "malformed") for one in bad]
    return "intercepted" if "intercepted" in kinds else kinds[0]


def _retry(reason: Reason, answer: Answer, policy: Policy, what: str = "") -> Retry | None:
    """`None`: enough has been tried, or it is too late."""
    tried = policy.retried.count(reason) >= _MOST.get(reason, 1) or len(policy.retried) >= MOST_RETRIES
    if tried or not policy.time_left:
        return None
    # A call that failed says more than that one was required.
    why = _reason_of(answer.bad) if reason == "required" and answer.bad else reason
    cause = next((bad for bad in answer.bad if _OF_BAD.get(bad.kind, "malformed") == why), None)
    told = hint(
        why,
        what=what or (cause.info if cause else ""),
        tool=cause.name if cause else "",
        names=policy.names,
        form=policy.form,
    )
    return Retry(reason, told, calls_only=answer.text_shown)


def _exhausted(reason: Reason, answer: Answer, policy: Policy) -> Decision:
    if not policy.required and answer.text.strip():
        return Deliver("stop")
    return Refuse(_code(reason))


def _code(reason: Reason) -> Code:
    codes: dict[Reason, Code] = {
        "required": "tool_choice_unsatisfied",
        "intercepted": "tool_call_intercepted",
        "empty": "upstream_empty",
    }
    return codes.get(reason, "invalid_tool_call")


_LONGEST_ANNOUNCEMENT = 600
_SENTENCE_END = re.compile(r"(?<=[.!。！])\s+|(?<=[。！])|\n+")
_ANNOUNCES = re.compile(
    r"\b(let me|let's|i'll|i will|i'm going to|i am going to|next,? i|now i)\b"
    r"|(接下来|现在|下面|让)?我(来|将|会|先|再|这就|现在)|让我",
    re.IGNORECASE,
)
# "Let me know", "I will be glad to": the end of an answer, not the beginning of an action.
_COURTESY = re.compile(
    r"let me know|\b(i'll|i will|i'm|i am)( then)? be (glad|happy|here)|如(果|有|需)|请(告诉|随时)", re.IGNORECASE
)


def announces(text: str) -> bool:
    """Whether a short answer ends by saying what will be done next."""
    text = text.strip().replace("’", "'")
    if len(text) >= _LONGEST_ANNOUNCEMENT or "?" in text or "？" in text:
        return False
    last = [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()][-1:]
    return bool(last) and bool(_ANNOUNCES.search(last[0])) and not _COURTESY.search(last[0])
