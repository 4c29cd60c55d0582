"""What one turn is to be: what is asked besides the conversation, and which stages its answers pass."""

import asyncio
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import structs

from qwen_gateway.history.pack import ToolWords, neutral
from qwen_gateway.relay.calls import Calls, Tries
from qwen_gateway.relay.conversations import Asker
from qwen_gateway.relay.cuts import Length, Prefill, SiteNotes, Stops
from qwen_gateway.relay.forms import Form, JsonAsItComes, WholeJson
from qwen_gateway.relay.path import Knows
from qwen_gateway.relay.pipeline import Stage
from qwen_gateway.relay.tools import ToolManner, Toolset
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.shaping import structured
from qwen_gateway.shaping.citations import CitationLinks
from qwen_gateway.toolcall.schema import Schema
from qwen_gateway.turn.catalog import Model
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.prompt import Prompt
from qwen_gateway.turn.request import TextPart, TurnRequest

if TYPE_CHECKING:
    from qwen_gateway.relay.turns import Turns

_GO_ON = "Your last entry is the beginning of your reply. Go on exactly where it ends, and do not repeat any of it."


_ONCE = "(This format is for this reply only.)"


class Wanted:
    """prompt: without its text."""

    def __init__(self, request: TurnRequest, asker: Asker, model: Model, prompt: Prompt, manner: ToolManner) -> None:
        """Raises InvalidRequest for tools and schemas that cannot be used."""
        self.asker, self.model, self.prompt = asker, model, prompt
        self._request = request
        self.tools = Toolset(request, manner)
        self._form = _form(request)
        self._notes = manner.show_site_tools

    def words(self, knows: Knows) -> ToolWords:
        """What is told beside the conversation."""
        words = self.tools.words(knows)
        lines = [
            words.tail,
            f"{neutral(structured.prompt(self._form.format))}\n{_ONCE}" if self._form else "",
            _GO_ON if self.begun else "",
        ]
        return structs.replace(words, tail="\n".join(filter(None, lines)))

    @cached_property
    def begun(self) -> str:
        """What the client has begun the answer with."""
        last = self._request.messages[-1]
        if last.role != "assistant":
            return ""
        return "\n".join(part.text for part in last.parts if isinstance(part, TextPart))

    def stages(self, nonce: str, tries: Tries, shared: "Turns", record: TurnRecord) -> list[Stage]:
        """Of one try. nonce: with which it was told of the tools."""
        request = self._request
        form = None if self.begun else self._form  # of a value that the client has begun, we see the second half only
        waits = form is not None and self._is_whole(form)
        stages: list[Stage] = [CitationLinks()] if self.prompt.search else []
        if self.begun:
            stages.append(Prefill(self.begun))  # before anything is counted
        if request.max_output is not None:
            stages.append(Length(request.max_output, lambda text: shared.tokens.count(self.model.id, text)))
        if (reading := self.tools.reading()) is not None:
            clock = asyncio.get_running_loop().time
            stages.append(
                Calls(
                    reading,
                    tries,
                    nonce,
                    _ids(shared.ambient.new_id),
                    clock,
                    holds=waits or not request.stream,
                )
            )
        if form is not None:
            stages.append(self._json(form, tries, record))
        if request.stop:
            stages.append(Stops(request.stop))
        if self._notes:
            stages.append(SiteNotes())
        return stages

    def _is_whole(self, form: Form) -> bool:
        """Whether the text is kept until its end. Before that, what looks like an object may be words before a call.
        Where the answer is sent whole, nobody waits for its pieces."""
        return form.format.kind == "json_schema" or bool(self.tools.tools) or not self._request.stream

    def _json(self, form: Form, tries: Tries, record: TurnRecord) -> Stage:
        if not self._is_whole(form):
            return JsonAsItComes(tries)

        def invalid() -> None:
            record.invalid_json = True

        return WholeJson(form, tries, invalid)


def _form(request: TurnRequest) -> Form | None:
    if (wanted := request.format) is None:
        return None
    if wanted.schema is None:
        return Form(wanted, None)
    try:
        return Form(wanted, Schema(wanted.schema))
    except ValueError as problem:
        raise InvalidRequest(
            f"`response_format.json_schema.schema`: {problem}", param="response_format.json_schema.schema"
        ) from problem


def _ids(new_id: Callable[[], str]) -> Callable[[], str]:
    return lambda: new_id().replace("-", "")[:24]
