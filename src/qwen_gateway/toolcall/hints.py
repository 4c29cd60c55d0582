"""Notes to the model for another try. They are put at the end of the same message, and no client ever sees them.

They say what went wrong and what to write instead; they change nothing about the task.
"""

from typing import Literal

from qwen_gateway.toolcall.coercion import dumped

Reason = Literal["malformed", "unknown", "schema", "intercepted", "thought", "required", "nudge", "empty"]

_TEXTS: dict[Reason, str] = {
    "malformed": "your last attempt had a call that could not be read ({what}). Write the complete block again, valid "
    "JSON, nothing after it.",
    "unknown": "your last attempt called {what}, but there is no tool of that name. The names are: {names}.",
    "schema": "your call{of} was rejected: {what}. Correct the arguments and write the complete block again.",
    "intercepted": "your call did not arrive because it was written in another format. {form}",
    "thought": "your call was inside your reasoning and was not executed. Write it in the reply.",
    "required": "this reply must contain a tool call ({names}). Write the block now.",
    "nudge": "you announced an action but did not call a tool. Call it now, or answer in full if nothing "
    "is left to do.",
}  # fmt: skip
_MOST_NAMES = 2_000


def hint(reason: Reason, *, what: str = "", tool: str = "", names: tuple[str, ...] = (), form: str = "") -> str:
    """The note for `reason`; empty for an empty answer, which is simply asked for again.

    what: of `Bad.info`, quoted. form: a sentence that shows how calls are written here.
    """
    text = _TEXTS.get(reason)
    if text is None:
        return ""
    of = f" of {tool}" if tool else ""
    told = text.format(what=_quoted(what, 300 if reason == "schema" else 80), of=of, names=_listed(names), form=form)
    return f"Note from the tool runner: {told.strip()}"


def _quoted(text: str, most: int) -> str:
    return dumped(text if len(text) <= most else text[: most - 1] + "…")


def _listed(names: tuple[str, ...]) -> str:
    listed = ", ".join(names)
    return listed if len(listed) <= _MOST_NAMES else listed[:_MOST_NAMES].rpartition(", ")[0] + ", …"
