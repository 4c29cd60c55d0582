"""Answers that have to be JSON: found in what the model said, put right, checked, or asked for again."""

from collections.abc import Callable

from msgspec import Struct

from qwen_gateway.relay.calls import Tries
from qwen_gateway.shaping import structured
from qwen_gateway.shaping.json_stream import ObjectStream
from qwen_gateway.shaping.structured import Shape
from qwen_gateway.toolcall.arguments import Arguments
from qwen_gateway.turn.events import Declined, Event, Failed, Finished, Text, ToolCallBegan
from qwen_gateway.turn.faults import Unfit
from qwen_gateway.turn.request import OutputFormat

_FAILED = (
    "The model did not answer with JSON that satisfies the request's `response_format`. Try again, make the schema "
    "simpler, or use another model."
)

_ONE_WAY = frozenset({"escape", "control", "literal", "trailing_comma", "bare_key"})
"""Repairs after which there is one way to read the text. Brackets that are missing at the end are none of them: what
was cut off may have been more than those."""

_AROUND = " \t\r\n`~"


class Form(Struct, frozen=True):
    """What is wanted of a turn's answers. shape: `None` where any object will do."""

    format: OutputFormat
    shape: Shape | None


class WholeJson:
    """A stage: keeps the text until it is whole and is what is wanted. An answer with calls is passed on as it is.

    on_invalid: told when what is delivered does not satisfy the schema."""

    enough = False

    def __init__(self, form: Form, tries: Tries, on_invalid: Callable[[], None]) -> None:
        self._form, self._tries, self._on_invalid = form, tries, on_invalid
        self._said: list[str] = []
        self.clean = True

    def feed(self, events: list[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if isinstance(event, Text):
                self._said.append(event.text)
            elif isinstance(event, Finished):
                out += self._end(event)
            else:
                if isinstance(event, ToolCallBegan):
                    out += self._as_it_is()
                out.append(event)
        return out

    def _as_it_is(self) -> list[Event]:
        text = "".join(self._said)
        self._said.clear()
        return [Text(text)] if text else []

    def _end(self, finished: Finished) -> list[Event]:
        if finished.reason != "stop":  # cut, or with calls
            return [*self._as_it_is(), finished]
        text = "".join(self._said)
        form = self._form
        outcome = structured.read(text, form.shape, mend=mended, prune=not form.format.strict)
        decision = structured.decide(
            text, outcome, strict=form.format.strict, tried=len(self._tries.retried), time_left=self._tries.left > 0
        )
        if isinstance(decision, structured.Retry):
            return [Failed(retried(self._tries, decision.hint))]
        if isinstance(decision, structured.Refuse):
            return [Failed(Unfit(_FAILED, code="structured_output_failed"))]
        if isinstance(decision, structured.Refusal):
            self.clean = False
            return [Declined(decision.text), finished]
        self.clean = decision.json == text.strip()
        if decision.invalid:
            self._on_invalid()
        return [Text(decision.json), finished]


class JsonAsItComes:
    """A stage: the object in the text, without what stands around it, while it comes. For answers without calls."""

    def __init__(self, tries: Tries) -> None:
        self._tries = tries
        self._stream = ObjectStream()
        self._said: list[str] = []
        self._shown: list[str] = []
        self._goes_on = False

    @property
    def enough(self) -> bool:
        return self._goes_on or bool(self._stream.broken)

    @property
    def clean(self) -> bool:
        return "".join(self._said).strip() == "".join(self._shown)

    def feed(self, events: list[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if isinstance(event, Text):
                self._said.append(event.text)
                # Not yet with the object's own end: most models end there by themselves, and then nothing is stopped.
                self._goes_on = self._goes_on or (self._stream.done and bool(event.text.strip(_AROUND)))
                if shown := self._stream.feed(event.text):
                    self._shown.append(shown)
                    out.append(Text(shown))
            elif isinstance(event, Finished):
                out += self._end(event)
            else:
                out.append(event)
        return out

    def _end(self, finished: Finished) -> list[Event]:
        if finished.reason != "stop":
            return [finished]
        self._stream.close()
        if not self._stream.broken:
            return [finished]
        if not self._stream.began and self._tries.left > 0:
            return [Failed(retried(self._tries, structured.hint(["the reply is not one JSON object"])))]
        return [Failed(Unfit(_FAILED, code="structured_output_failed"))]


def retried(tries: Tries, hint: str) -> Unfit:
    tries.counts.retried += 1
    tries.retried += ("malformed",)
    return Unfit(_FAILED, code="structured_output_failed", hint=hint)


def mended(text: str) -> str | None:
    """An object that is nearly JSON → JSON, or `None` where one would have to guess."""
    if not text.startswith("{"):
        return None
    reader = Arguments(lambda _: None, lambda *_: 0, name="")
    reader.feed(text)
    reader.finish()
    certain = reader.state == "whole" and not reader.rest.strip() and reader.repairs <= _ONE_WAY
    return reader.arguments if certain else None
