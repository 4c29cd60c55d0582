"""One question from the command line, without a server: the gateway's own parts, opened for a single turn."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path

import structlog
from msgspec import Struct

from qwen_gateway.accounts.credential import Credential
from qwen_gateway.app.ask_journal import ask_journal
from qwen_gateway.app.core import AMBIENT, Core, core, credential_of
from qwen_gateway.app.files import FileParts, files_of
from qwen_gateway.app.local_file import Told, local_file, param_of
from qwen_gateway.app.presence import present
from qwen_gateway.app.turns import chats_of, models_of, turns_of
from qwen_gateway.media.limits import Limits
from qwen_gateway.relay.conversations import Asker
from qwen_gateway.relay.memory import Memory
from qwen_gateway.relay.ports import UsageSink
from qwen_gateway.relay.run import Turn
from qwen_gateway.relay.turn_files import Progress
from qwen_gateway.relay.turns import Turns
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.settings import Settings, SettingsError
from qwen_gateway.store.journal import FileJournal
from qwen_gateway.store.usage import UsageWriter
from qwen_gateway.turn.content import Bytes
from qwen_gateway.turn.events import SHOWN, Event, Failed, Finished
from qwen_gateway.turn.faults import ClientLeft, ContextTooLong, Fault, InvalidRequest
from qwen_gateway.turn.files import FilePart, Given
from qwen_gateway.turn.request import Message, Part, TextPart, Thinking, ThinkingMode, TurnRequest

__all__ = ("Asking", "Progress", "Question", "asking", "param_of")

CLEAN_UP = 10.0
"""Seconds at the end for the chat's deletion. The journal keeps a chat that is not deleted by then."""
FLUSH = 5.0
"""Seconds at the end to store a session that was renewed meanwhile."""
SWEEP = 3.0
"""Seconds at the end for tidying up after one that was killed, begun at the start. The next one does the rest."""

_log = structlog.get_logger()


class Question(Struct, frozen=True):
    """said: the person's own words. piped: what stands below them. thinking, search: `None` leaves it to the model's
    name and the settings."""

    said: str
    piped: str
    model: str
    files: tuple[FilePart, ...] = ()
    thinking: bool | None = None
    search: bool | None = None

    def request(self, *, attached: bool = False) -> TurnRequest:
        """attached: what is piped in goes as a document."""
        mode: ThinkingMode | None = None if self.thinking is None else "on" if self.thinking else "off"
        return TurnRequest(
            model=self.model,
            messages=(Message("user", self._as_document() if attached else self._as_text()),),
            stream=True,
            thinking=Thinking(mode, param="--thinking" if self.thinking else "--no-thinking"),
            search=self.search,
            store=False,
        )

    def _as_text(self) -> tuple[Part, ...]:
        return (*self.files, TextPart("\n\n".join(filter(None, (self.said, self.piped)))))

    def _as_document(self) -> tuple[Part, ...]:
        content = Given(Bytes(self.piped.encode()))
        document = FilePart(content, "document", "text/plain", "input.txt", "standard input")
        return (*self.files, document, TextPart(self.said))


class Asking:
    """Open as `asking(settings)`."""

    def __init__(self, parts: Core, turns: Turns, journal: FileJournal, usage: UsageSink, limits: Limits) -> None:
        self._parts, self._turns, self._journal, self._usage = parts, turns, journal, usage
        self._limits = limits
        self._before = {record.title for record in journal.records()}
        self.model = ""
        """Id of the model that answers, once it is known."""
        self.ignored: tuple[str, ...] = ()
        """Options that this model cannot follow."""

    async def file(self, path: Path, told: Told) -> FilePart:
        """One of the person's own, as a part of a question. Reads all of it. Raises InvalidRequest and BodyTooLarge."""
        return await local_file(path, told, self._limits)

    @property
    def chats_left(self) -> int:
        """Chats of ours that are still to be deleted; those that will be, until the end."""
        return sum(record.title not in self._before for record in self._journal.records())

    def check(self) -> None:
        """Raises NoAccount."""
        if not self._parts.accounts.all():
            self._parts.accounts.any()  # has the words for it

    async def events(self, question: Question, progress: Progress) -> AsyncGenerator[list[Event], None]:
        """The answer as it comes: the last event is `Finished` or `Failed`. Iterate inside `aclosing`: closing it early
        stops the site. progress: told of uploads. Raises faults."""
        record = TurnRecord("req_" + AMBIENT.new_id().replace("-", ""), "ask", at=AMBIENT.now(), stream=True)
        record.asked_model, record.begun = question.model[:100], time.monotonic()
        record.end, record.status = "client_left", ClientLeft.status  # as long as nothing else is known
        try:
            turn = await self._begun(question, record, progress)
            self.model, self.ignored = record.model, record.ignored
            async with aclosing(turn.events()) as events:
                async for some in events:
                    _note(record, some)
                    yield some
        except Fault as fault:
            record.end, record.status, record.code = "refused", fault.status, fault.code
            raise
        finally:
            record.duration = time.monotonic() - record.begun
            self._usage.add(record.row())

    async def _begun(self, question: Question, record: TurnRecord, progress: Progress) -> Turn:
        begin = partial(
            self._turns.begin,
            accounts=self._parts.accounts.pool,
            record=record,
            asker=Asker(tenant="", mode="replay", keep=False),
            progress=progress,
        )
        try:
            return await begin(question.request())
        except ContextTooLong:
            if not (question.said and question.piped):
                raise
            return await begin(question.request(attached=True))


def _note(record: TurnRecord, events: Sequence[Event]) -> None:
    if record.first_event is None and any(isinstance(event, SHOWN) for event in events):
        record.first_event = time.monotonic() - record.begun
    last = events[-1]
    if isinstance(last, Failed):
        record.end, record.status, record.code = "failed", last.fault.status, last.fault.code
    elif isinstance(last, Finished):
        record.end, record.status = "finished", 200


@asynccontextmanager
async def asking(settings: Settings) -> AsyncGenerator[Asking, None]:
    """Beside a gateway that may be running on the same data directory. The end waits until the chat is deleted.

    Raises SettingsError, and faults of the store.
    """
    async with AsyncExitStack() as stack:
        journal = ask_journal(settings.data_dir)
        stack.callback(journal.close)
        parts = await stack.enter_async_context(core(settings))
        stack.enter_context(present(settings.data_dir, parts.owner))
        models = models_of(parts)
        stack.push_async_callback(models.close)
        chats = chats_of(parts, journal)
        parts.accounts.on_use, parts.accounts.on_forget = chats.take_up, chats.forget
        # Nothing is remembered of a chat that does not stay, so nothing of this is written.
        memory = Memory(parts.conversations, AMBIENT, owner=parts.owner, kept=chats.kept, dropped=chats.drop)
        files = files_of(parts)
        stack.push_async_callback(files.close, FLUSH)
        turns = turns_of(parts, models, chats, memory, files.attachments)
        parts.keeper.start()
        stack.push_async_callback(parts.keeper.close, FLUSH)
        stack.push_async_callback(parts.renewal.close)
        chats.start()
        stack.push_async_callback(chats.close, CLEAN_UP)
        usage = UsageWriter(parts.database)
        usage.start()
        stack.push_async_callback(usage.close, FLUSH)
        asking = Asking(parts, turns, journal, usage, files.keep.limits)
        if (found := _credential(settings)) is not None:
            await parts.accounts.adopt(found, source="environment")
        else:
            await parts.accounts.sync()
        await stack.enter_async_context(_sweeping(files))
        yield asking


@asynccontextmanager
async def _sweeping(files: FileParts) -> AsyncGenerator[None, None]:
    """What others have left of uploads is ended beside the answer."""
    task = asyncio.create_task(_swept(files))
    try:
        yield
    finally:
        try:
            await asyncio.wait([task], timeout=SWEEP)
        finally:
            task.cancel()
            await asyncio.wait([task])


async def _swept(files: FileParts) -> None:
    try:
        await files.sweep()
    except Exception as problem:  # noqa: BLE001 - whatever it was, there is a next time, and the answer matters more
        _log.warning("upkeep_failed", problem=str(problem))


def _credential(settings: Settings) -> Credential | None:
    try:
        return credential_of(settings)
    except InvalidRequest as fault:
        raise SettingsError([f"{fault.param or 'cookies'}: {fault.text}"]) from None  # the cause may hold the secret
