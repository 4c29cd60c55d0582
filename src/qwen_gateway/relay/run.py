"""One turn, from a request to events: does what the machine says, and tells it what came of it."""

import asyncio
import math
from collections.abc import AsyncGenerator

from msgspec import Struct

from qwen_gateway.accounts.breaker import Breaker, counts
from qwen_gateway.accounts.retries import RetryBudget
from qwen_gateway.history.pack import pack
from qwen_gateway.relay import machine, pool
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.answer import Answer, Patience
from qwen_gateway.relay.chats import Chats
from qwen_gateway.relay.machine import (
    OF_THE_ACCOUNT,
    Ask,
    Completed,
    Done,
    Fail,
    Leased,
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
from qwen_gateway.relay.renewal import Renewal
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.shaping.tokens import estimate
from qwen_gateway.turn.catalog import Choice, Model
from qwen_gateway.turn.contracts import Question, Upstream
from qwen_gateway.turn.events import SHOWN, Event, Failed, Finished, Usage
from qwen_gateway.turn.faults import Down, Fault, InvalidRequest, LoginExpired, ModelNotFound, SiteFault
from qwen_gateway.turn.flow import HttpCall
from qwen_gateway.turn.prompt import Prompt
from qwen_gateway.turn.request import Thinking, ThinkingMode, TurnRequest


class Limits(Struct, frozen=True):
    """Seconds. first_event: from the question to the first event; idle: between events; total: of a whole answer."""

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
        renewal: Renewal,
        limits: Limits,
        default_thinking: ThinkingMode,
    ) -> None:
        self.site, self.transport, self.models, self.chats = site, transport, models, chats
        self.ambient, self.limits, self.renewal = ambient, limits, renewal
        self.breaker, self.retries = Breaker(), RetryBudget()
        self._default_thinking = default_thinking

    async def begin(self, request: TurnRequest, accounts: pool.Pool, record: TurnRecord) -> "Turn":
        """Checks all that can be checked without asking the site. Raises faults."""
        choice = await self.models.resolve(request.model)
        record.model = choice.model.id
        prompt = self._prompt(request, choice)
        if request.thinking.mode in ("on", "off") and prompt.thinking.mode != request.thinking.mode:
            # A hint that many programs send with every request: better answered without than refused.
            record.ignored = (request.thinking.param,)
        # Too long a conversation is known before a chat is made for it.
        return Turn(self, accounts, self.site.question(prompt), record)

    def wake(self) -> None:
        """Whatever the site did until now, it is asked as if it had always been well."""
        self.breaker, self.retries = Breaker(), RetryBudget()

    def check_site(self) -> None:
        """Raises Down while the site is left alone."""
        if (left := self.breaker.left(self.ambient.now())) is not None:
            raise _down(left)

    def ask_site(self) -> None:
        """As `check_site`; who may ask reports what came of it, since after a time of silence one goes before the
        others."""
        if (left := self.breaker.check(self.ambient.now())) is not None:
            raise _down(left)

    def site_state(self) -> str:
        """`closed` while the site is asked as usual, `open` while it is left alone, `half_open` while one tries."""
        return self.breaker.state(self.ambient.now())

    def note(self, fault: Fault | None) -> None:
        """What came of a question to the site. A refusal is a sign of life."""
        if fault is not None and counts(fault):
            self.breaker.failed(self.ambient.now())
        else:
            self.breaker.succeeded(self.ambient.now())

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


def _down(left: float) -> Down:
    wait = float(max(1, math.ceil(left)))
    return Down(
        f"Qwen's site has failed several times in a row. The gateway asks it again in {wait:.0f} s.", retry_after=wait
    )


def _can(mode: ThinkingMode, model: Model) -> bool:
    return model.thinking == "switch" or mode == ("on" if model.thinking == "always" else "off")


class Turn:
    """One turn that is under way. Iterate `events` once, inside `aclosing`: closing it early stops the site."""

    def __init__(self, shared: Turns, accounts: pool.Pool, question: Question, record: TurnRecord) -> None:
        self._shared, self._accounts, self._question, self._record = shared, accounts, question, record
        self._prompt = question.prompt
        self._shown = False
        self._began = shared.ambient.now()
        self._lease: pool.Lease | None = None
        self._tried: frozenset[str] = frozenset()
        self._bearer: str | None = None  # that the site refused, if it did
        self._fault: Fault | None = None  # for which the last step was refused
        self._renewed = False  # the leased account's session, or that was tried
        self._unreported = False
        self._clock = asyncio.get_running_loop().time

    def prompt_tokens(self) -> int:
        """About how many the prompt has; counting takes some time for a long one."""
        return estimate(self._prompt.text)

    async def events(self) -> AsyncGenerator[list[Event], None]:
        """Lists of events, one per network chunk that had any; the last event is `Finished` or `Failed`."""
        script = Machine(lambda: self._shared.retries.may_retry(self._shared.ambient.now()))
        effect = script.first()
        try:
            while not isinstance(effect, Done):
                if isinstance(effect, Ask):
                    answer = self._answer(effect.chat_id)
                    try:
                        async with answer:
                            asked = self._clock()
                            events = await answer.ask(self._call(effect.chat_id))
                            while events:
                                if not self._shown:
                                    self._record.site += self._clock() - asked
                                if shown := self._showable(events):
                                    yield shown
                                asked = 0.0 if self._shown else self._clock()
                                events = await answer.next()
                    finally:
                        self._release(effect.chat_id, answer)
                    outcome = self._judge(answer)
                elif isinstance(effect, Fail):
                    yield [Failed(self._final(effect.fault))]
                    return
                else:
                    outcome = await self._do(effect)
                effect = script.next(outcome)
        finally:
            self._give_back()

    async def _do(self, effect: machine.Lease | OpenChat | Refresh) -> Outcome:
        if isinstance(effect, machine.Lease):
            return await self._take()
        if isinstance(effect, OpenChat):
            return await self._open(effect)
        return await self._refresh()

    def _final(self, fault: Fault) -> Fault:
        if isinstance(fault, LoginExpired) and self._lease is not None and self._is_over():
            self._account.ended(fault)
        if isinstance(fault, OF_THE_ACCOUNT) and self._accounts.could_serve(self._prompt.model, frozenset()):
            fault.retry_after = 1.0  # the next request goes to another account
        return fault

    def _is_over(self) -> bool:
        """Renewing the session was tried, or is not possible."""
        return self._renewed or not self._account.session.can_refresh

    @property
    def _account(self) -> Account:
        if self._lease is None:
            raise RuntimeError("the machine leases an account first")
        return self._lease.account

    async def _take(self) -> Outcome:
        if self._fault is not None:
            self._final(self._fault)  # for the account that is given back
        self._give_back()
        self._renewed = False
        waited = self._clock()
        try:
            self._shared.check_site()
            lease = await self._accounts.lease(self._prompt.model, caller=self._record.key, excluded=self._tried)
            try:
                self._shared.ask_site()
            except Fault:
                lease.account.abandoned()
                lease.close()
                raise
        except Fault as fault:
            return Refused(fault)
        finally:
            self._record.queued += self._clock() - waited
        self._lease, self._unreported = lease, True
        if not self._tried:
            self._shared.retries.asked()
        account = self._account
        self._tried |= {account.key}
        self._record.account, self._bearer = account.key, account.session.bearer
        self._began = self._shared.ambient.now()
        return Leased(account.session.can_refresh)

    def _give_back(self) -> None:
        """The account is free again. Where nothing was learned of it or of the site, both are told that."""
        if self._unreported:
            self._unreported = False
            self._shared.breaker.abandoned()
            if self._lease is not None:
                self._account.abandoned(self._began)
        if self._lease is not None:
            self._lease.close()
            self._lease = None

    def _showable(self, events: list[Event]) -> list[Event]:
        """What of `events` the client gets: not the end of an attempt that may still be tried again."""
        if not self._shown and any(isinstance(event, SHOWN) for event in events):
            self._shown = True
            self._reported(None)  # at once: others may wait for this news
            self._account.succeeded(self._began)
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
        if answer.unfinished and answer.fault is None:
            self._note_usage(answer.cut_off())  # by the client: what it has had was written all the same
        self._shared.chats.release(self._account, chat_id, answer_id=answer.answer_id, unfinished=answer.unfinished)

    def _judge(self, answer: Answer) -> Outcome:
        if answer.fault is None:
            self._reported(None)
            self._account.succeeded(self._began)
            return Completed()
        return self._refused(answer.fault)

    def _reported(self, fault: Fault | None) -> None:
        self._unreported = False
        self._shared.note(fault)

    def _refused(self, fault: Fault, *, renewing: bool = False) -> Refused:
        """renewing: it was the sign-in host that failed, and not the site; perhaps once for many turns."""
        self._fault = fault
        if isinstance(fault, SiteFault) and not renewing:
            self._reported(fault)
        self._account.failed(self._prompt.model, fault, self._began)
        if isinstance(fault, ModelNotFound):
            self._shared.models.gone(fault)
        others = not self._shown and self._accounts.could_serve(self._prompt.model, self._tried)
        return Refused(fault, self._shown, others)

    async def _open(self, effect: OpenChat) -> Outcome:
        began = self._clock()
        if effect.after:
            await asyncio.sleep(effect.after)
        try:
            try:
                await self._shared.renewal.ensure_fresh(self._account)
            except Fault as fault:
                return self._refused(fault, renewing=True)
            self._bearer = self._account.session.bearer
            return Opened(await self._shared.chats.open(self._account, self._prompt))
        except Fault as fault:
            return self._refused(fault)
        finally:
            self._record.site += self._clock() - began

    async def _refresh(self) -> Outcome:
        self._renewed = True
        if self._account.session.bearer != self._bearer:
            return Refreshed()  # another turn was refused as well, and has seen to it
        began = self._clock()
        try:
            await self._shared.renewal.refresh(self._account)
        except Fault as fault:
            return self._refused(fault, renewing=True)
        finally:
            self._record.site += self._clock() - began
        return Refreshed()
