"""What all turns of one process share, and how a turn is made."""

from collections.abc import Sequence

from msgspec import Struct

from qwen_gateway.relay import pool
from qwen_gateway.relay.attachments import Attachments
from qwen_gateway.relay.chats import Chats
from qwen_gateway.relay.conversations import Asker, Conversations
from qwen_gateway.relay.health import Health
from qwen_gateway.relay.models import Models
from qwen_gateway.relay.ports import Ambient, TokenCounter, Transport
from qwen_gateway.relay.renewal import Renewal
from qwen_gateway.relay.run import Attaching, Turn
from qwen_gateway.relay.terms import terms
from qwen_gateway.relay.tools import ToolManner
from qwen_gateway.relay.turn_files import Progress, nothing_seen
from qwen_gateway.relay.wanted import Wanted
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.turn.contracts import Upstream
from qwen_gateway.turn.request import ThinkingMode, TurnRequest


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
        conversations: Conversations,
        ambient: Ambient,
        *,
        renewal: Renewal,
        limits: Limits,
        default_thinking: ThinkingMode,
        tool_manner: ToolManner,
        tokens: TokenCounter,
        attachments: Attachments,
    ) -> None:
        self.site, self.transport, self.models, self.chats = site, transport, models, chats
        self.conversations = conversations
        self.ambient, self.limits, self.renewal = ambient, limits, renewal
        self.health = Health(ambient)
        self.tool_manner, self.tokens, self.attachments = tool_manner, tokens, attachments
        self._default_thinking = default_thinking

    async def begin(
        self,
        request: TurnRequest,
        accounts: pool.Pool,
        record: TurnRecord,
        asker: Asker,
        progress: Progress = nothing_seen,
    ) -> Turn:
        """Checks all that can be checked without asking the site. Raises faults. progress: told of uploads."""
        (turn,) = await self.begin_all(request, accounts, [record], asker, progress)
        return turn

    async def begin_all(
        self,
        request: TurnRequest,
        accounts: pool.Pool,
        records: Sequence[TurnRecord],
        asker: Asker,
        progress: Progress = nothing_seen,
    ) -> list[Turn]:
        """As `begin`, a turn for each record. The request's files are looked at, fetched and kept once for all."""
        choice = await self.models.resolve(request.model)
        prompt = terms(request, choice, self._default_thinking)
        for record in records:
            record.model = choice.model.id
            if request.thinking.mode in ("on", "off") and prompt.thinking.mode != request.thinking.mode:
                # A hint that many programs send with every request: better answered without than refused.
                record.ignored = (request.thinking.param,)
        request, files = await self.attachments.read(request, asker.tenant, choice.model, self.models.catalog)
        if request.max_output is not None:
            await self.tokens.ready(choice.model.id)

        async def turn(record: TurnRecord) -> Turn:
            wanted = Wanted(request, asker, choice.model, prompt, self.tool_manner)
            path = await self.conversations.path(
                request,
                asker,
                choice.model,
                lambda key: accounts.able(key, choice.model.id),
                tools=wanted.tools.digest,
                words=wanted.words,
            )
            return Turn(self, accounts, path, wanted, record, Attaching(files, progress))

        return [await turn(record) for record in records]
