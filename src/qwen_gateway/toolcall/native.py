"""Calls that the site took for its own: collected from the frames in which they can still be seen.

When a model writes its trained form of a call, the site reads it, finds no such tool of its own and tells the model so.
Until then the call comes as snapshots, each of which replaces the one before; the last comes twice, and parallel calls
come one after the other, without a number (recorded 2026-09-01).
"""

import json
from collections.abc import Collection, Iterable

from msgspec import Struct

from qwen_gateway.toolcall.digest import call_key
from qwen_gateway.toolcall.draft import EARLY, LONG, Quoted
from qwen_gateway.toolcall.echoes import is_quoted
from qwen_gateway.toolcall.names import Names
from qwen_gateway.toolcall.pieces import Bad, CallArguments, CallBegan, CallEnded, Check, Commit, Out, Stop

PIECE = 4096
"""Characters of arguments in one piece, at most."""


class Snapshot(Struct, frozen=True):
    """A call as far as it has come. `arguments` from its very beginning.

    function_id: the site's number for a call of a tool of its own; empty for a call of the client's. Calls outside of
    an answer phase are the site's, so whoever reads the frames must give them one.
    """

    name: str
    arguments: str
    function_id: str = ""


class FunctionResult(Struct, frozen=True):
    """What the site says to the model as the result of a call."""

    name: str
    text: str
    function_id: str = ""


class _Call(Struct):
    """quoted: its beginning stands in a text of the client's; None before that was asked. echo: all of it does."""

    name: str
    tool: str | None
    index: int = -1
    arguments: str = ""
    sent: int = 0
    is_open: bool = True
    answered: bool = False
    missing: bool = False
    quoted: bool | None = None
    echo: bool = False


class NativeCollector:
    """The native calls of one answer. `done`: nothing that follows is of use, the upstream may be stopped.

    most: so many calls are delivered. first: index of the first, when the text has brought some already. quoted: as for
    the sieve; a call that the model only repeats is text there, and here it is nothing. strict: names of tools whose
    calls are checked before anything of them is shown.
    """

    def __init__(  # noqa: PLR0913 - settings of one request, all by name
        self,
        names: Iterable[str],
        check: Check,
        *,
        commit: Commit = "hybrid",
        most: int = 24,
        first: int = 0,
        quoted: Quoted = lambda _: False,
        strict: Collection[str] = (),
    ) -> None:
        self._names = Names(names)
        self._check = check
        self._committed_from = {"eager": EARLY, "hybrid": LONG, "complete": None}[commit]
        self._most = most
        self._next = first
        self._quoted = quoted
        self._strict = frozenset(strict)
        self._calls: list[_Call] = []
        self._known: set[tuple[str, bytes]] = set()
        self._whole = 0
        self._missing: set[str] = set()
        self.done = False
        self.echoes = 0
        """Calls that were text of the client's."""

    @property
    def seen(self) -> bool:
        """The site has taken a call: it has put messages of its own into the conversation."""
        return bool(self._calls) or bool(self._missing)

    def knows(self, name: str, arguments: str) -> bool:
        """Whether this call has been delivered: its copy in the text is then dropped."""
        return call_key(name, arguments) in self._known

    def tell(self, name: str, arguments: str) -> None:
        """A call that the text has delivered: its native copy is then dropped."""
        self._known.add(call_key(name, arguments))

    def snapshot(self, seen: Snapshot) -> list[Out]:
        if seen.function_id or self.done:
            return []
        call = self._open()
        out: list[Out] = []
        if call is None or _is_another(call, seen):
            if call is None and self._is_repeat(seen):
                return []
            out = self._close(call)
            if self.done:
                return out
            call = _Call(seen.name, self._names.resolve(seen.name))
            self._calls.append(call)
        elif not _keeps(call, seen.arguments):
            # Something was shown that the call no longer says. It cannot be taken back.
            call.is_open = False
            return [Bad("truncated", "the call changed while it was shown", call.name), *self._stopped("malformed")]
        call.arguments = seen.arguments
        return out + self._shown(call)

    def result(self, told: FunctionResult) -> list[Out]:
        if told.function_id or self.done:
            return []
        waiting = next((one for one in self._calls if one.name == told.name and not one.answered), None)
        if waiting is None:
            return self._nowhere(told)
        out = self._close(waiting)
        waiting.answered = True
        if waiting.tool is None and not waiting.echo and _is_missing(told.text):
            waiting.missing = True
            out.append(Bad("unknown", waiting.name))
        ours = [one for one in self._calls if not one.echo and (one.tool is not None or one.missing)]
        if ours and all(one.answered for one in ours) and not self.done:
            out += self._stopped("native")
        return out

    def other(self) -> list[Out]:
        """Text of the answer, or anything else that is no call, begins."""
        if self.done:
            return []
        out = self._close(self._open())
        return out + self._stopped("native") if self._whole and not self.done else out

    def close(self) -> list[Out]:
        """The end of the round, or of the stream."""
        if self.done:
            return []
        out = self._close(self._open())
        unknown = [one for one in self._calls if one.tool is None and not one.answered and not one.echo]
        for one in unknown:
            one.answered = True
        return out + [Bad("unknown", one.name) for one in unknown]

    def _open(self) -> _Call | None:
        return self._calls[-1] if self._calls and self._calls[-1].is_open else None

    def _is_repeat(self, seen: Snapshot) -> bool:
        return any(one.name == seen.name and one.arguments == seen.arguments for one in self._calls)

    def _shown(self, call: _Call) -> list[Out]:
        """What may be shown of a call that is not whole. Objects only."""
        return self._pieces(call, call.arguments) if call.index >= 0 or self._may_be_shown(call) else []

    def _may_be_shown(self, call: _Call) -> bool:
        """By the length alone, and not by how it came. Not where it may be a call that has come before."""
        if self._committed_from is None or len(call.arguments) <= self._committed_from:
            return False
        if call.tool is None or call.tool in self._strict or any(call.tool == name for name, _ in self._known):
            return False
        if call.quoted is None:
            call.quoted = is_quoted(call.name, call.arguments[:EARLY], self._quoted)
        return call.arguments.startswith("{") and not call.quoted

    def _pieces(self, call: _Call, arguments: str) -> list[Out]:
        out: list[Out] = []
        if call.index < 0:
            call.index, self._next = self._next, self._next + 1
            out.append(CallBegan(call.index, call.tool or call.name))
        starts = range(call.sent, len(arguments), PIECE)
        out += [CallArguments(call.index, arguments[start : start + PIECE]) for start in starts]
        call.sent = max(call.sent, len(arguments))
        return out

    def _close(self, call: _Call | None) -> list[Out]:
        """A call of a name that is no tool of the client's may be the site's own: its result will tell."""
        if call is None or not call.is_open:
            return []
        call.is_open = False
        if call.index >= 0:
            # Sent is sent: it goes out as the model wrote it, and the client's program checks it as well.
            whole = _is_object(call.arguments)
            return (
                self._ended(call, call.arguments)
                if whole
                else [Bad("truncated", "it broke off", call.tool or call.name)]
            )
        if is_quoted(call.name, call.arguments, self._quoted):
            call.echo = True
            self.echoes += 1
            return []
        if call.tool is None or self.knows(call.tool, call.arguments):
            return []
        verdict = self._check(call.tool, call.arguments, 3)
        if verdict.ok:
            return self._ended(call, verdict.arguments)
        lost = verdict.kind == "malformed" or not call.arguments.strip()
        return [Bad("intercepted" if lost else verdict.kind, verdict.why, call.tool)]

    def _ended(self, call: _Call, arguments: str) -> list[Out]:
        self.tell(call.tool or call.name, arguments)
        self._whole += 1
        out = [*self._pieces(call, arguments), CallEnded(call.index, arguments)]
        return out + self._stopped("cap") if self._whole == self._most else out

    def _nowhere(self, told: FunctionResult) -> list[Out]:
        """The site could not find a tool, and no call of it was to be seen."""
        tool = self._names.resolve(told.name)
        if tool is None or tool in self._missing or not _is_missing(told.text):
            return []
        if any(one.tool == tool for one in self._calls):
            return []
        self._missing.add(tool)
        return [Bad("intercepted", "no arguments came", tool)]

    def _stopped(self, reason: str) -> list[Out]:
        self.done = True
        return [Stop(reason)]


def _is_another(call: _Call, seen: Snapshot) -> bool:
    """Whether a snapshot begins another call than the open one."""
    if seen.name != call.name or (call.arguments and not seen.arguments):
        return True
    return not seen.arguments.startswith(call.arguments) and _is_object(call.arguments)


def _keeps(call: _Call, arguments: str) -> bool:
    """Whether these arguments begin with what was shown of the call."""
    if arguments.startswith(call.arguments):
        return True
    return arguments.startswith(call.arguments[: call.sent])


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        return False


def _is_missing(text: str) -> bool:
    return "does not exist" in text.lower()
