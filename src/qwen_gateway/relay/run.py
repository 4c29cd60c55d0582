"""One turn, from a request to events: does what the machine says, and tells it what came of it."""

import asyncio
from collections.abc import AsyncGenerator

from msgspec import Struct

from qwen_gateway.history.pack import pack
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.answer import Answer, Patience
from qwen_gateway.relay.chats import Chats
from qwen_gateway.relay.drive import Renewal
from qwen_gateway.relay.machine import (
    Ask,
    Completed,
    Done,
    Fail,
    Machine,
    OpenChat,
    Opened,
    Outcome,
    Refresh,
    Refreshed,
    Refused,
)
from qwen_gateway.relay.models import Models
from qwen_gateway.relay.pipeline import Pipeline
from qwen_gateway.relay.ports import Ambient, Transport
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.turn.catalog import Choice, Model
from qwen_gateway.turn.contracts import Question, Upstream
from qwen_gateway.turn.events import SHOWN, Event, Failed, Finished, Usage
from qwen_gateway.turn.faults import Fault, InvalidRequest, LoginExpired, ModelNotFound
from qwen_gateway.turn.flow import HttpCall
from qwen_gateway.turn.prompt import Prompt
from qwen_gateway.turn.request import Thinking, ThinkingMode, TurnRequest


class Limits(Struct, frozen=True):
    """Seconds. first_event: from the question to the first event; idle: between events; total: of a whole turn."""

    call: float
    first_event: float
    first_event_thinking: float
    idle: float
    total: float


class Turns:
    """Makes turns: what all turns of one process share."""

    def __init__(  # noqa: PLR0913 - the parts are joined here, once
        self,
        site: Upstream,
        transport: Transport,
        models: Models,
        chats: Chats,
        ambient: Ambient,
        *,
        limits: Limits,
        default_thinking: ThinkingMode,
    ) -> None:
        self.site, self.transport, self.models, self.chats = site, transport, models, chats
        self.ambient, self.limits = ambient, limits
        self.renewal = Renewal(site, transport, ambient, limits.call)
        self._default_thinking = default_thinking

    async def begin(self, request: TurnRequest, account: Account, record: TurnRecord) -> "Turn":
        """Checks all that can be checked without asking the site. Raises faults."""
        choice = await self.models.resolve(request.model)
        record.model, record.account = choice.model.id, account.key
        account.check(choice.model.id)
        prompt = self._prompt(request, choice)
        if request.thinking.mode in ("on", "off") and prompt.thinking.mode != request.thinking.mode:
            # A hint that many programs send with every request: better answered without than refused.
            record.ignored = (request.thinking.param,)
        # Too long a conversation is known before a chat is made for it.
        return Turn(self, account, self.site.question(prompt), record)

    def _prompt(self, request: TurnRequest, choice: Choice) -> Prompt:
        search = request.search if request.search is not None else bool(choice.search)
        if search and not choice.model.search:
            raise InvalidRequest(f"The model {choice.model.id} cannot search.", param="model")
        text = pack(request.messages)
        if not text.strip():
            raise InvalidRequest("`messages` hold no text.", param="messages")
        return Prompt(text, choice.model.id, self._thinking(request.thinking, choice), search)

    def _thinking(self, asked: Thinking, choice: Choice) -> Thinking:
        """The request's own words, else the model name's suffix, else the setting; within what the model can."""
        mode, model = asked.mode, choice.model
        if mode is None and choice.thinking is not None:
            mode = "on" if choice.thinking else "off"
            if not _can(mode, model):
                raise InvalidRequest(
                    f"The model {model.id} {'always' if mode == 'off' else 'never'} thinks, so its name takes no such "
                    "suffix.",
                    param="model",
                    code="unsupported_value",
                )
        mode = mode or self._default_thinking
        if not _can(mode, model):
            mode = "off" if model.thinking == "never" else "on"
        return Thinking(mode, asked.budget, asked.param)


def _can(mode: ThinkingMode, model: Model) -> bool:
    return model.thinking == "switch" or mode == ("on" if model.thinking == "always" else "off")


class Turn:
    """One turn that is under way. Iterate `events` once, inside `aclosing`: closing it early stops the site."""

    def __init__(self, shared: Turns, account: Account, question: Question, record: TurnRecord) -> None:
        self._shared, self._account, self._question, self._record = shared, account, question, record
        self._prompt = question.prompt
        self._shown = False
        self._began = shared.ambient.now()
        self._bearer = account.session.bearer  # that the site refused, if it did

    async def events(self) -> AsyncGenerator[list[Event], None]:
        """Lists of events, one per network chunk that had any; the last event is `Finished` or `Failed`."""
        machine = Machine(can_refresh=self._account.session.can_refresh)
        effect = machine.first()
        outcome: Outcome
        while True:
            if isinstance(effect, OpenChat):
                outcome = await self._open(effect)
            elif isinstance(effect, Ask):
                answer = self._answer(effect.chat_id)
                try:
                    async with answer:
                        events = await answer.ask(self._call(effect.chat_id))
                        while events:
                            if shown := self._showable(events):
                                yield shown
                            events = await answer.next()
                finally:
                    self._release(effect.chat_id, answer)
                outcome = self._judge(answer)
            elif isinstance(effect, Refresh):
                outcome = await self._refresh()
            elif isinstance(effect, Fail):
                if isinstance(effect.fault, LoginExpired):
                    self._account.ended(effect.fault)
                yield [Failed(effect.fault)]
                return
            elif isinstance(effect, Done):
                return
            effect = machine.next(outcome)

    def _showable(self, events: list[Event]) -> list[Event]:
        """What of `events` the client gets: not the end of an attempt that may still be tried again."""
        if not self._shown:
            self._shown = any(isinstance(event, SHOWN) for event in events)
        last = events[-1]
        if type(last) is Failed:
            self._note_usage(events)
            return events[:-1] if self._shown else []
        if type(last) is Finished:
            self._note_usage(events)
        return events

    def _note_usage(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Usage):
                self._record.usage = event

    def _answer(self, chat_id: str) -> Answer:
        shared, limits = self._shared, self._shared.limits
        thinks = self._prompt.thinking.mode != "off"
        first = limits.first_event_thinking if thinks else limits.first_event
        pipeline = Pipeline(shared.site.decoder(chat_id), self._prompt)
        patience = Patience(first, limits.idle, limits.total)
        return Answer(shared.site, shared.transport, self._account, pipeline, patience)

    def _call(self, chat_id: str) -> HttpCall:
        self._record.tries += 1
        return self._shared.site.ask(self._account.session, self._shared.ambient.moment(), chat_id, self._question)

    def _release(self, chat_id: str, answer: Answer) -> None:
        self._shared.chats.release(self._account, chat_id, answer_id=answer.answer_id, unfinished=answer.unfinished)

    def _judge(self, answer: Answer) -> Outcome:
        if answer.fault is None:
            self._account.succeeded(self._began)
            return Completed()
        return self._refused(answer.fault)

    def _refused(self, fault: Fault) -> Refused:
        self._account.failed(self._prompt.model, fault)
        if isinstance(fault, ModelNotFound):
            self._shared.models.gone(fault)
        return Refused(fault, self._shown)

    async def _open(self, effect: OpenChat) -> Outcome:
        if effect.after:
            await asyncio.sleep(effect.after)
        try:
            await self._shared.renewal.ensure_fresh(self._account)
            self._bearer = self._account.session.bearer
            return Opened(await self._shared.chats.open(self._account, self._prompt))
        except Fault as fault:
            return self._refused(fault)

    async def _refresh(self) -> Outcome:
        if self._account.session.bearer != self._bearer:
            return Refreshed()  # another turn was refused as well, and has seen to it
        try:
            await self._shared.renewal.refresh(self._account)
        except Fault as fault:
            return self._refused(fault)
        return Refreshed()
