"""The calls of one answer, whichever way the model wrote them, and what becomes of the answer for their sake."""

from collections.abc import Callable, Sequence

from msgspec import Struct, field

from qwen_gateway.relay.counts import CallCounts
from qwen_gateway.relay.thought import Thought
from qwen_gateway.toolcall.draft import Quoted
from qwen_gateway.toolcall.gate import Answer, Code, Deliver, Policy, Refuse, Retry, gate
from qwen_gateway.toolcall.hints import Reason
from qwen_gateway.toolcall.native import FunctionResult, NativeCollector, Snapshot
from qwen_gateway.toolcall.pieces import (
    Bad,
    CallArguments,
    CallBegan,
    CallEnded,
    Check,
    Commit,
    Out,
    Stop,
    TextOut,
    Tool,
)
from qwen_gateway.toolcall.sieve import Format, Sieve
from qwen_gateway.turn.events import (
    Citation,
    Event,
    Failed,
    Finished,
    NativeCall,
    NativeResult,
    Reasoning,
    Sources,
    Text,
    ToolCallArguments,
    ToolCallBegan,
    ToolCallEnded,
    Usage,
)
from qwen_gateway.turn.faults import Unfit

MOST_CALLS = 24

_OF_THE_TEXT = (Reasoning, Citation, Sources)
"""Events without a use where the text is not shown."""
_REFUSALS: dict[Code, str] = {
    "invalid_tool_call": "The model tried to call a tool, and its call could not be read or does not fit the tool. Try "
    "again, or use another model.",
    "tool_choice_unsatisfied": "The model did not call the tool that the request demands. Try again, demand less "
    "(`tool_choice`), or use another model.",
    "tool_call_intercepted": "Qwen's site took the model's tool call for one of its own, and it did not arrive. Try "
    "again, or use another model.",
    "upstream_empty": "Qwen's site answered with nothing. Try again.",
}
_CODES: dict[Reason, Code] = {
    "required": "tool_choice_unsatisfied",
    "intercepted": "tool_call_intercepted",
    "empty": "upstream_empty",
}


class Reading(Struct, frozen=True):
    """How the calls of a turn are read. The fields mean what they mean in `Sieve`, `Policy` and `Answer`."""

    tools: Sequence[Tool]
    check: Check
    quoted: Quoted
    format: Format
    commit: Commit
    required: bool
    parallel: bool
    nudge: bool
    form: Callable[[str], str]


class Tries(Struct):
    """What the tries of a turn hand on to the next. calls_only: text was shown, so of further tries only calls are.
    said: text that is good and was not shown yet.
    left: questions that may still be put; whoever puts them says so before each."""

    retried: tuple[Reason, ...] = ()
    calls_only: bool = False
    said: str = ""
    left: int = 2
    counts: CallCounts = field(default_factory=CallCounts)


class Calls:
    """A stage. enough: what follows will not be read. clean: the chat holds just what is passed on."""

    def __init__(
        self,
        reading: Reading,
        tries: Tries,
        nonce: str,
        ids: Callable[[], str],
        clock: Callable[[], float],
        *,
        holds: bool = False,
    ) -> None:
        """nonce: that the model was taught with this question. ids: a fresh one each time. clock: in seconds.
        holds: nothing is shown before the end, so that all can be asked again."""
        self._reading, self._tries, self._nonce, self._ids, self._clock = reading, tries, nonce, ids, clock
        self._holds_text = holds or reading.required  # it may not be what was demanded
        self._commit: Commit = "complete" if reading.required else reading.commit
        self._sieve = self._new_sieve(self._commit)
        self._native: NativeCollector | None = None
        self._began = clock()
        self._thought = Thought()
        self._text: list[str] = []
        self._held: list[Event] = []  # calls that are whole, and text before a call that is demanded
        self._names: list[str] = []
        self._whole: list[tuple[str, str]] = []
        self._bad: list[Bad] = []
        self._text_shown = self._call_shown = False
        self.enough = False
        self.clean = True

    def feed(self, events: list[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            kind = type(event)
            if kind is Finished:
                out += self._end(event)  # type: ignore[arg-type] # `kind` says so, faster than isinstance
            elif self.enough:
                if isinstance(event, Usage | Failed):
                    out.append(event)
            elif kind is Text:
                self._said(event.text, out)  # type: ignore[union-attr]
            elif isinstance(event, NativeCall):
                self._take(self._collector().snapshot(Snapshot(event.name, event.arguments)), out)
            elif isinstance(event, NativeResult):
                self._take(self._collector().result(FunctionResult(event.name, event.text)), out)
            else:
                if kind is Reasoning:
                    self._thought.feed(event.text)  # type: ignore[union-attr]
                if not (self._tries.calls_only and isinstance(event, _OF_THE_TEXT)):
                    out.append(event)
        return out

    def _said(self, text: str, out: list[Event]) -> None:
        if self._native is not None:
            self._take(self._native.other(), out)
            if self.enough:
                return
        self._take(self._sieve.feed(text, self._clock() - self._began), out)

    def _collector(self) -> NativeCollector:
        if self._native is None:
            reading = self._reading
            names = [tool.name for tool in reading.tools]
            most = MOST_CALLS if reading.parallel else 1
            self._native = NativeCollector(
                names,
                reading.check,
                commit=self._commit,
                most=most,
                first=len(self._names),
                quoted=reading.quoted,
                strict=[tool.name for tool in reading.tools if tool.strict],
            )
            for name, arguments in self._whole:
                self._native.tell(name, arguments)
        return self._native

    def _new_sieve(self, commit: Commit) -> Sieve:
        reading = self._reading
        return Sieve(
            reading.tools,
            nonce=self._nonce,
            check=reading.check,
            format=reading.format,
            commit=commit,
            most=MOST_CALLS,
            quoted=reading.quoted,
        )

    def _take(self, outs: Sequence[Out], out: list[Event]) -> None:
        for one in outs:
            if self._whole and not self._reading.parallel:
                # One call is all that is wanted. Most models end behind it by themselves, and then nothing is stopped.
                self.enough = True
                break
            kind = type(one)
            if kind is TextOut:
                self._show_text(one.text, out)  # type: ignore[union-attr]
            elif kind is CallArguments:
                self._held.append(ToolCallArguments(one.index, one.piece))  # type: ignore[union-attr]
            else:
                self._other(one)
        if self._held and self._is_being_shown():
            self._call_shown = True
            out += self._held
            self._held = []

    def _other(self, one: Out) -> None:
        if isinstance(one, CallBegan):
            self._names.append(one.name)
            self._held.append(ToolCallBegan(one.index, self._ids(), one.name))
        elif isinstance(one, CallEnded):
            self._whole.append((self._names[one.index], one.arguments))
            self._held.append(ToolCallEnded(one.index))
        elif isinstance(one, Bad):
            self._bad.append(one)
            self._tries.counts.bad(one.kind)
            # A call that has begun and broke off cannot be mended by what follows.
            self.enough = self.enough or len(self._whole) < len(self._names)
        elif isinstance(one, Stop):
            self.enough = True
            if one.reason in ("duplicate", "cap", "forged_result"):
                self._tries.counts.runaway += 1

    def _is_being_shown(self) -> bool:
        """A call that is shown before it is whole lets all before it out; others wait for the answer's end, where the
        whole answer can still be asked for again."""
        return self._call_shown or len(self._whole) < len(self._names)

    def _show_text(self, text: str, out: list[Event]) -> None:
        self._text.append(text)
        if self._tries.calls_only or not (text.strip() or self._has_said()):
            return  # blanks alone are no answer, and shown they would keep the next try's text away
        if self._holds_text:
            self._held.append(Text(text))
            return
        self._text_shown = True
        out.append(Text(text))

    def _has_said(self) -> bool:
        return any(map(str.strip, self._text))

    # -- the end

    def _end(self, finished: Finished) -> list[Event]:
        out: list[Event] = []
        if not self.enough:
            if self._native is not None:
                self._take(self._native.close(), out)
            self._take(self._sieve.close(cut=finished.reason != "stop"), out)
        thought = self._promote(out)
        answer = Answer(
            calls=tuple(name for name, _ in self._whole),
            bad=tuple(self._bad),
            text="".join(self._text),
            text_shown=self._text_shown or self._tries.calls_only,
            call_shown=self._call_shown,
            open=len(self._whole) < len(self._names),
            thought=thought,
            finish=finished.reason,
        )
        self._note(answer)
        decision = gate(answer, self._policy())
        if isinstance(decision, Deliver):
            self._tries.counts.ok += len(self._whole)
            said: list[Event] = [Text(self._tries.said)] if self._tries.said else []
            return [*out, *said, *self._held, *self._instead_of_calls(), Finished(decision.finish)]
        return [*out, Failed(self._unfit(decision))]

    def _instead_of_calls(self) -> list[Event]:
        """Where only calls were to follow a text that was shown, and none did: what the model says after all."""
        text = "".join(self._text).strip()
        return [Text(f"\n\n{text}")] if self._tries.calls_only and text and not self._whole else []

    def _unfit(self, decision: Retry | Refuse) -> Unfit:
        tries = self._tries
        if isinstance(decision, Refuse):
            tries.counts.failed += 1
            return Unfit(_REFUSALS[decision.code], code=decision.code)
        tries.counts.retried += 1
        tries.retried += (decision.reason,)
        if decision.reason == "nudge" and not decision.calls_only:
            tries.said = "".join(self._text)
        tries.calls_only = tries.calls_only or decision.calls_only or bool(tries.said)
        code = _CODES.get(decision.reason, "invalid_tool_call")
        return Unfit(_REFUSALS[code], code=code, hint=decision.hint)

    def _policy(self) -> Policy:
        reading = self._reading
        return Policy(
            names=tuple(tool.name for tool in reading.tools),
            required=reading.required,
            nudge=reading.nudge,
            form=reading.form(self._nonce),
            retried=self._tries.retried,
            time_left=self._tries.left > 0,
        )

    def _promote(self, out: list[Event]) -> bool:
        """A call that ends the reasoning, before an answer that is empty: the model stopped there, so it meant it.
        Whether there is one that cannot be taken for meant."""
        if self._whole or self._bad or self._has_said():
            return False
        calls, meant = self._thought.calls(self._new_sieve("complete"), self._nonce)
        if calls and meant:
            self._take(calls, out)
            self.clean = False
        return bool(calls) and not meant

    def _note(self, answer: Answer) -> None:
        repairs = sum(count for what, count in self._sieve.repairs.items() if what != "echo")
        self._tries.counts.repaired += repairs
        native = self._native is not None and self._native.seen
        # Where only calls are shown, the client has the text of an earlier try.
        differs = answer.bad or native or repairs or self.enough or self._tries.calls_only
        self.clean = self.clean and not differs
