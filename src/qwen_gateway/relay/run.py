"""One turn, from a request to events: does what the machine says, and tells it what came of it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from qwen_gateway.history.pack import neutral
from qwen_gateway.relay import machine, pool
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.answer import Answer, Patience
from qwen_gateway.relay.calls import Tries
from qwen_gateway.relay.conversations import Path
from qwen_gateway.relay.drive import drive
from qwen_gateway.relay.machine import (
    MOST_QUESTIONS,
    OF_THE_ACCOUNT,
    Ask,
    Completed,
    Done,
    Enter,
    Fail,
    Leased,
    Machine,
    OpenChat,
    Opened,
    Outcome,
    Refresh,
    Refreshed,
    Refused,
    Replanned,
    Replay,
)
from qwen_gateway.relay.pipeline import Pipeline, Stage
from qwen_gateway.relay.question import Questions
from qwen_gateway.relay.turn_files import Progress, TurnFiles, about_tokens
from qwen_gateway.relay.uploads import UPLOADING
from qwen_gateway.relay.wanted import Wanted
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.turn.contracts import Question
from qwen_gateway.turn.events import SHOWN, Event, Failed, Finished, Usage, total
from qwen_gateway.turn.faults import (
    ChatBusy,
    ChatLost,
    ContextTooLong,
    Fault,
    InvalidRequest,
    LoginExpired,
    ModelNotFound,
    Overloaded,
    SiteFault,
    StorageUnavailable,
    Unfit,
)
from qwen_gateway.turn.files import SiteFile
from qwen_gateway.turn.flow import HttpCall
from qwen_gateway.turn.places import Place
from qwen_gateway.turn.reply import Fold, Reply

if TYPE_CHECKING:
    from qwen_gateway.relay.turns import Turns

OWN_WAIT = 2.0
"""Seconds to wait for the account that knows the conversation, where another one could be told it."""


class Attaching(Struct, frozen=True):
    """A turn's files, and who is told how far they are."""

    files: TurnFiles
    progress: Progress


class Turn:
    """One turn that is under way. Iterate `events` once, inside `aclosing`: closing it early stops the site."""

    def __init__(
        self,
        shared: "Turns",
        accounts: pool.Pool,
        path: Path,
        wanted: Wanted,
        record: TurnRecord,
        attaching: Attaching,
    ) -> None:
        """Raises ContextTooLong: that a conversation is too long is known before a chat is made for it."""
        self._shared, self._accounts, self._path, self._wanted, self._record = shared, accounts, path, wanted, record
        self._attaching = attaching
        self._prompt = wanted.prompt
        self._tries = Tries()
        record.prefilled = bool(wanted.begun)
        if wanted.tools.tools:
            record.calls, record.call_format = self._tries.counts, shared.tool_manner.format
        self._questions = Questions(shared.site, path, wanted, record, self._count, attaching.files.check_together)
        self._question = self._first_question()
        self._files: tuple[SiteFile, ...] = ()  # that go with it
        self._note_way()
        self._shown = False
        self._fold = Fold()  # what the client got
        self._stages: list[Stage] = []
        self._unfinished = False  # what was asked last
        self._usage: Usage | None = None  # of what was asked last
        self._spent: list[Usage] = []  # on answers that could not be used
        self._again: Place | None = None  # where the question is about to be put once more
        self._kept = False  # the chat stays, since the conversation can go on in it
        self._began = shared.ambient.now()
        self._lease: pool.Lease | None = None
        self._tried: frozenset[str] = frozenset()
        self._bearer: str | None = None  # that the site refused, if it did
        self._fault: Fault | None = None  # for which the last step was refused
        self._renewed = False  # the leased account's session, or that was tried
        self._unreported = False
        self._clock = asyncio.get_running_loop().time

    @property
    def path(self) -> Path:
        """How the conversation reaches the model."""
        return self._path

    def prompt_tokens(self) -> int:
        """About how many the whole conversation has: what is reserved of a budget until the site has counted. Three
        bytes are a token, or somewhat less than one."""
        attached = sum(map(about_tokens, self._path.packed().files))
        return self._path.tokens + len(self._path.packed().said.encode()) // 3 + attached

    def reply(self) -> Reply:
        """The answer, once `events` has ended with `Finished`."""
        return self._fold.reply()

    def _count(self, text: str) -> int:
        return self._shared.tokens.count(self._model, text)

    async def events(self) -> AsyncGenerator[list[Event], None]:
        """Lists of events, one per network chunk that had any; the last event is `Finished` or `Failed`."""
        script = Machine(self._shared.health.may_retry, going_on=self._path.way != "replay")
        effect = script.first()
        self._attaching.files.open()
        try:
            while not isinstance(effect, Done):
                if isinstance(effect, Ask):
                    place = effect.place
                    answer = self._answer(place)
                    try:
                        async with answer:
                            asked = self._clock()
                            events = await answer.ask(self._call(place))
                            while events:
                                if not self._shown:
                                    self._record.site += self._clock() - asked
                                if shown := self._showable(events, place, answer):
                                    yield shown
                                asked = 0.0 if self._shown else self._clock()
                                events = await answer.next()
                    finally:
                        self._release(place, answer)
                    outcome = self._judge(answer)
                elif isinstance(effect, Fail):
                    yield [Failed(self._final(effect.fault))]
                    return
                else:
                    outcome = await self._do(effect)
                effect = script.next(outcome)
        finally:
            self._give_back()
            await self._attaching.files.close()

    async def _do(self, effect: machine.Lease | Enter | Replay | OpenChat | Refresh) -> Outcome:
        if isinstance(effect, machine.Lease):
            return await self._take(effect)
        if isinstance(effect, Enter):
            return await self._enter(effect)
        if isinstance(effect, Replay):
            return self._replay(effect)
        if isinstance(effect, OpenChat):
            return await self._open(effect)
        return await self._refresh()

    # -- what is asked

    def _first_question(self) -> Question:
        """What is new may be too long for one message, where the whole is not: its oldest part becomes a document."""
        if self._path.way != "replay":
            with suppress(ContextTooLong):
                return self._questions.make(whole=False)
        question = self._questions.make(whole=True)
        if self._path.way != "replay":
            self._path.replay("context")
        return question

    def _replay(self, effect: Replay) -> Outcome:
        try:
            self._question = self._questions.make(whole=True)
        except InvalidRequest as fault:
            return Refused(fault)
        self._path.replay(effect.why)
        self._note_way()
        return Replanned()

    def _note_way(self) -> None:
        self._record.way, self._record.why = self._path.way, self._path.reason

    # -- the account

    def _final(self, fault: Fault) -> Fault:
        if isinstance(fault, LoginExpired) and self._lease is not None and self._is_over():
            self._account.ended(fault)
        if isinstance(fault, OF_THE_ACCOUNT) and self._accounts.could_serve(self._model, self._cannot_attach()):
            fault.retry_after = 1.0  # the next request goes to another account
        return fault

    def _cannot_attach(self) -> frozenset[str]:
        """Accounts that may not upload for a while, where that matters to this turn."""
        return self._accounts.resting(UPLOADING) if self._questions.attached else frozenset()

    def _is_over(self) -> bool:
        """Renewing the session was tried, or is not possible."""
        return self._renewed or not self._account.session.can_refresh

    @property
    def _model(self) -> str:
        return self._wanted.model.id

    @property
    def _account(self) -> Account:
        return self._leased_now.account

    @property
    def _leased_now(self) -> pool.Lease:
        if self._lease is None:
            raise RuntimeError("the machine leases an account first")
        return self._lease

    async def _take(self, effect: machine.Lease) -> Outcome:
        if self._fault is not None:
            self._final(self._fault)  # for the account that is given back
        self._give_back()
        self._renewed = False
        only = self._path.account if effect.going_on else None
        others = only is not None and self._accounts.could_serve(self._model, frozenset({only}))
        waited = self._clock()
        try:
            self._shared.health.check()
            lease = await self._leased(only, OWN_WAIT if others else None)
            self._look(lease)
        except Fault as fault:
            return Refused(fault, others=others)
        finally:
            self._record.queued += self._clock() - waited
        self._lease = lease
        if not self._tried:
            self._shared.health.retries.asked()
        account = self._account
        self._tried |= {account.key}
        self._record.account, self._bearer = account.key, account.session.bearer
        return Leased(account.session.can_refresh)

    def _look(self, lease: pool.Lease) -> None:
        """From now on others may wait for what this turn learns of the site and of the account. Raises Down."""
        try:
            self._shared.health.ask()
        except Fault:
            lease.account.abandoned()
            lease.close()
            raise
        self._unreported, self._began = True, self._shared.ambient.now()

    def _look_away(self) -> None:
        """Where nothing was learned of the account or of the site, both are told that."""
        if self._unreported:
            self._unreported = False
            self._shared.health.breaker.abandoned()
            if self._lease is not None:
                self._account.abandoned(self._began)

    async def _leased(self, only: str | None, seconds: float | None) -> pool.Lease:
        """seconds: after which another account is told everything, rather than that this one is waited for."""
        excluded = self._tried | self._cannot_attach()
        if only is not None or not self._accounts.could_serve(self._model, excluded):
            excluded = self._tried  # it may have the files already
        try:
            async with asyncio.timeout(seconds):
                return await self._accounts.lease(self._model, caller=self._record.key, excluded=excluded, only=only)
        except TimeoutError:
            raise Overloaded("The account in which this conversation stands is busy.") from None

    def _give_back(self) -> None:
        """The account is free again, and the chat."""
        if (place := self._again) is not None:
            # It was to be asked there once more, and the client has left, or there was no room for the note.
            self._again = None
            over = self._path.leaving()
            self._shared.chats.release(
                self._account, place.chat_id, answer_id=None, unfinished=self._unfinished, over=over
            )
        self._path.leave()
        self._look_away()
        if self._lease is not None:
            self._lease.close()
            self._lease = None

    # -- the answer

    def _showable(self, events: list[Event], place: Place, answer: Answer) -> list[Event]:
        """What of `events` the client gets: not the end of an attempt that may still be tried again."""
        if not self._shown and any(isinstance(event, SHOWN) for event in events):
            self._shown = True
            self._reported(None)  # at once: others may wait for this news
            self._account.succeeded(self._began)
        last = events[-1]
        if type(last) is Failed:
            self._note_usage(events)
            events = events[:-1] if self._shown else []
        self._fold.feed(events)
        if type(last) is Finished:
            self._note_usage(events)
            self._finished(place, answer)
        return events

    def _finished(self, place: Place, answer: Answer) -> None:
        """Before the client has the end of its answer: it may go on at once."""
        if answer.unfinished or not all(stage.clean for stage in self._stages):
            return  # the chat holds something else than the client got
        usage, reply = self._usage or Usage(0, 0), self._fold.reply()
        self._kept = self._path.finished(
            self._account.key,
            place,
            answer.answer_id or "",
            reply.text,
            reply.calls,
            tokens=usage.conversation,  # also where it is an estimate
            handle=self._record.answer,
        )
        self._path.leave()

    def _note_usage(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Usage):
                self._usage = event
                self._record.usage = total([*self._spent, event])

    def _answer(self, place: Place) -> Answer:
        shared, limits = self._shared, self._shared.limits
        thinks = self._prompt.thinking.mode != "off"
        first = limits.first_event_thinking if thinks else limits.first_event
        decoder = shared.site.decoder(place.chat_id)
        self._tries.left = MOST_QUESTIONS - 1 - self._record.tries
        self._stages = self._wanted.stages(self._questions.nonce, self._tries, self._shared, self._record)
        pipeline = Pipeline(decoder, self._stages, lambda: self._path.whole().said, self._count)
        patience = Patience(first, limits.idle, limits.total)
        return Answer(shared.site, shared.transport, self._account, pipeline, patience)

    def _call(self, place: Place) -> HttpCall:
        self._record.tries += 1
        moment = self._shared.ambient.moment()
        call = self._shared.site.ask(self._account.session, moment, place, self._question, self._files)
        self._record.sent += len(call.body)
        return call

    def _release(self, place: Place, answer: Answer) -> None:
        self._unfinished = answer.unfinished
        fault = answer.fault
        again = isinstance(fault, Unfit) and fault.hint is not None
        if answer.unfinished and fault is None and not (self._fold.finish or again):
            self._note_usage(answer.cut_off())  # by the client: what it has had was written all the same
        verify = None
        # What ends early because there is enough of it, or with calls, is not what the chat holds.
        in_doubt = self._shown and not (self._kept or again or self._fold.finish or self._fold.calls())
        if in_doubt and answer.answer_id is not None:
            verify = self._path.verification(
                self._account, place, answer.answer_id, self._fold.text(), handle=self._record.answer
            )
        if again and self._path.entered is not None:
            self._again = place
            return  # it is asked again in the same place, after what is still written there was stopped
        over = self._path.leaving() if answer.unfinished else _nothing
        self._shared.chats.release(
            self._account,
            place.chat_id,
            answer_id=answer.answer_id,
            unfinished=answer.unfinished,
            kept=self._kept,
            verify=verify,
            over=over,
        )

    def _judge(self, answer: Answer) -> Outcome:
        if answer.fault is None:
            self._reported(None)
            self._account.succeeded(self._began)
            return Completed()
        fault = answer.fault
        if isinstance(fault, InvalidRequest) and fault.code == "unsupported_file":
            fault = self._about_files(fault)
        return self._refused(fault)

    def _about_files(self, fault: InvalidRequest) -> Fault:
        """The site refuses a file, and does not say which; or the input, where there are none."""
        parts = self._questions.attached
        if not parts:
            return InvalidRequest(fault.text)
        fault.param = parts[0].param if len(parts) == 1 else "messages"
        self._attaching.files.refused(self._account, parts)
        return fault

    def _reported(self, fault: Fault | None) -> None:
        self._unreported = False
        self._shared.health.note(fault)

    def _refused(self, fault: Fault, *, renewing: bool = False, uploading: bool = False) -> Outcome:
        """renewing: it was the sign-in host that failed, and not the site; perhaps once for many turns. uploading: what
        takes files in, which has limits of its own and says nothing of answers; the account has been told of it."""
        self._fault = fault
        if isinstance(fault, Unfit):
            return self._unfit(fault)
        if isinstance(fault, SiteFault) and not renewing and not uploading:
            self._reported(fault)
        if not uploading:
            self._account.failed(self._model, fault, self._began)
        if isinstance(fault, ModelNotFound):
            self._shared.models.gone(fault)
        if isinstance(fault, ChatLost) and not self._shown:
            self._path.lost()
        others = not self._shown and self._accounts.could_serve(self._model, self._tried)
        return Refused(fault, self._shown, others)

    def _unfit(self, fault: Unfit) -> Outcome:
        """The site has answered, and what the model said cannot be used."""
        self._reported(None)
        self._account.succeeded(self._began)
        if self._usage is not None:
            self._spent.append(self._usage)
            self._usage = None
        if fault.hint is not None:
            self._questions.hint = neutral(fault.hint)  # it quotes what the model wrote
            try:
                self._question = self._questions.make(whole=self._path.way == "replay")
            except ContextTooLong:
                fault.hint = None  # no room for the note
        return Refused(fault, self._shown)

    # -- the place of the question

    async def _open(self, effect: OpenChat) -> Outcome:
        began = self._clock()
        try:
            await asyncio.sleep(effect.after)
            if (refused := await self._fresh() or await self._attach()) is not None:
                return refused
            chat_id = await self._shared.chats.open(self._account, self._prompt, keep=self._wanted.asker.keep)
            return Opened(Place(chat_id))
        except Fault as fault:
            return self._refused(fault)
        finally:
            self._record.site += self._clock() - began

    async def _enter(self, effect: Enter) -> Outcome:
        began = self._clock()
        try:
            busy = self._path.entered
            if effect.again and busy is not None and (effect.after or self._unfinished):
                await self._stop(busy)
            await asyncio.sleep(effect.after)
            if (refused := await self._fresh() or await self._attach()) is not None:
                return refused
            place = await self._path.enter(again=effect.again)
            self._again = None
            if place is None:
                return Refused(ChatBusy("The chats of this conversation are in use."))
            return Opened(place)
        except StorageUnavailable as fault:
            return Refused(fault)
        finally:
            self._record.site += self._clock() - began

    async def _fresh(self) -> Outcome | None:
        try:
            await self._shared.renewal.ensure_fresh(self._account)
        except Fault as fault:
            return self._refused(fault, renewing=True)
        self._bearer = self._account.session.bearer
        return None

    async def _attach(self) -> Outcome | None:
        """Brings the question's files to the account. Nothing is asked before they are there; and since that may take
        long, whoever asks meanwhile gets the seat, and may look how the site and the account are."""
        files, parts = self._attaching.files, self._questions.attached
        there = files.there(self._account, parts)
        try:
            if there is None:
                self._look_away()
                self._leased_now.leave()
                there = await files.uploaded(self._account, parts, self._attaching.progress)
            self._files = there
            return None if self._leased_now.seated else await self._come_back()
        except Fault as fault:
            return self._refused(fault, uploading=True)

    async def _come_back(self) -> Outcome | None:
        """A seat again, and a log-in that has not run out meanwhile. Raises what `Pool.lease` does, and Down."""
        lease, waited = self._leased_now, self._clock()
        try:
            self._shared.health.check()
            await lease.back()
            self._look(lease)
        finally:
            self._record.queued += self._clock() - waited
            self._record.site -= self._clock() - waited
        return await self._fresh()

    async def _stop(self, place: Place) -> None:
        """Ends what the site still writes in a chat: an answer that nobody reads any more."""
        shared = self._shared
        flow = shared.site.stop(self._account.session, shared.ambient.moment(), place.chat_id, None)
        with suppress(Fault):
            await drive(flow, shared.transport, self._account, shared.limits.first_event)

    async def _refresh(self) -> Outcome:
        self._renewed = True
        self._path.leave()  # and enter again with the new token
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


def _nothing() -> None:
    pass
