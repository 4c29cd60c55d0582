"""The whole application as it is built, over a site, a network and stores in memory; called without a socket."""

import itertools
from collections.abc import Sequence
from typing import Any

import httpx2
from fastapi import FastAPI
from tests.relay.conversation_fakes import FakeConversationStore
from tests.relay.fakes import CATALOG, NOON, Clock, Counter, Journal, Net, Site, chats, credential, keeper, renewal
from tests.relay.fakes import Accounts as Store
from tests.relay.file_fakes import FakeSiteFiles, FakeStorage
from tests.relay.kept_fakes import Pile, Room
from tests.relay.kept_fakes import Shelf as FileShelf
from tests.relay.key_fakes import Shelf, Tally

from qwen_gateway.accounts.rest import Resting
from qwen_gateway.dialects import DIALECTS
from qwen_gateway.media.limits import Limits as FileLimits
from qwen_gateway.relay.accounts import Accounts, Manners
from qwen_gateway.relay.allowance import Allowances
from qwen_gateway.relay.attachments import Attachments
from qwen_gateway.relay.conversations import Conversations, Manner
from qwen_gateway.relay.file_pieces import Pieces
from qwen_gateway.relay.file_ports import Fetched
from qwen_gateway.relay.files import Files, Keep
from qwen_gateway.relay.key_changes import KeyChanges, Terms
from qwen_gateway.relay.keys import Keys
from qwen_gateway.relay.management import Management
from qwen_gateway.relay.memory import Memory
from qwen_gateway.relay.models import Models
from qwen_gateway.relay.pool import Queue
from qwen_gateway.relay.ports import Ambient, KeptChat, Remembered, Role, UsageBy, UsageQueries, UsageRow, UsageSum
from qwen_gateway.relay.tickets import Tickets
from qwen_gateway.relay.tools import ToolManner
from qwen_gateway.relay.turn_files import FileManner
from qwen_gateway.relay.turns import Limits, Turns
from qwen_gateway.relay.uploads import UploadCounts, Uploads
from qwen_gateway.server import app as server_app
from qwen_gateway.server.callers import Door
from qwen_gateway.server.guard import Guard
from qwen_gateway.server.metrics import Metrics, Now
from qwen_gateway.server.pages import Pages
from qwen_gateway.server.paths import Paths
from qwen_gateway.server.service import Desk, Pace, Service, Storage
from qwen_gateway.turn.catalog import Catalog
from qwen_gateway.turn.faults import Fault, InvalidRequest

STATIC = "sk-static-0123456789"
BOOTSTRAP = "bootstrap-of-256-random-bits"
HERE, ELSEWHERE = "127.0.0.1", "198.51.100.7"
MAX_BODY = 100_000
ROLES: tuple[Role, ...] = ("client", "viewer", "admin")

IDLE = Now(
    lambda: 0,
    lambda: 0,
    lambda: 0,
    {},
    lambda: 0,
    lambda: 0,
    lambda: False,
    lambda: True,
    lambda: UploadCounts(0, 0, 0, 0, 0, 0),
    lambda: 0,
)
"""Figures of a gateway that nobody uses."""


class Ledger:
    """Satisfies `UsageQueries`: gives what it was given, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.single: list[UsageRow] = []

    async def sums(self, by: UsageBy, since: float, until: float) -> list[UsageSum]:
        self.asked.append((by, since, until))
        return [UsageSum("2026-11-21", 3, 1, 100, 20, 5, 0, 1, 0.25, 0.01)]

    async def rows(self, since: float, until: float, limit: int) -> Sequence[UsageRow]:
        self.asked.append((since, until, limit))
        return self.single[:limit]


class NoFetcher:
    """Satisfies `Fetcher`: fetching is switched off."""

    async def fetch(self, url: str, param: str, limit: int) -> Fetched:
        raise InvalidRequest("Fetching is switched off.", code="url_not_allowed", param=param)


class Bench:
    """catalog: the models of today. files, pile, room, objects: files kept here, those in pieces, those on their way,
    and those at the site. account: id of the one that is there, of user `u`. text: of each role's key. problem: of the
    database."""

    def __init__(self, *, origins: Sequence[str] = (), prefix: str = "/qwen", max_body: int = MAX_BODY) -> None:
        self.clock, self.site, self.net = Clock(), Site(), Net()
        self.store, self.shelf, self.ledger = Store(), Shelf(), Ledger()
        self.tally, self.kept = Tally(self.clock), FakeConversationStore()
        self.catalog = CATALOG
        self.files, self.room, self.objects = FileShelf(), Room(), FakeStorage(self.net.log)
        self.pile = Pile(self.files)
        self.text: dict[str, str] = {}
        self.problem: Fault | None = None
        ambient, count = self.clock.ambient(), itertools.count(1)
        keeps = keeper(self.clock, self.store)
        manners = Manners(seats=4, per_minute=1e6, burst=1000, rest=Resting(60), queue=Queue(8, 5), warn_days=3)
        self.accounts = Accounts(self.store, keeps, ambient, manners)
        self.keys = Keys(self.shelf, ambient, static=[STATIC], stale_after=30)
        self.changes = KeyChanges(
            self.keys,
            self.shelf,
            ambient,
            token_bytes=lambda size: next(count).to_bytes(size, "little"),
            endpoints=("openai_chat", "files", "models"),
        )
        again = renewal(self.site, self.net, self.clock, keeps)
        self.management = Management(
            accounts=self.accounts,
            keys=self.keys,
            key_changes=self.changes,
            budgets=self.tally,
            usage=self.ledger,
            conversations=self.kept,
            forget=self.kept.mark_tenant,
            site=self.site,
            transport=self.net,
            renewal=again,
            store=self.store,
            ambient=ambient,
            seconds=9,
            warn_days=3,
            site_host="127.0.0.1",
        )
        models = Models(self._catalog, CATALOG, {}, ambient, 600)
        own_chats = chats(self.site, self.net, Journal(self.net.log), self.clock, store=self.kept)
        memory = Memory(self.kept, ambient, owner="me", kept=own_chats.kept, dropped=own_chats.drop)
        conversations = Conversations(
            memory, self.site, self.net, again, ambient, secret=b"secret", seconds=9, manner=Manner("now")
        )
        limits = FileLimits(image=50_000, document=50_000, audio=50_000, video=80_000)
        uploads = Uploads(
            self.site,
            self.objects,
            FakeSiteFiles(),
            self.net,
            ambient,
            owner="me",
            secret=b"secret",
            seconds=9,
            renewal=again,
        )
        turns = Turns(
            self.site,
            self.net,
            models,
            own_chats,
            conversations,
            ambient,
            renewal=again,
            limits=Limits(9, 9, 9, 9),
            default_thinking="off",
            tool_manner=ToolManner(),
            tokens=Counter(),
            attachments=Attachments(self.files, NoFetcher(), uploads, ambient, FileManner(limits, 0, 9)),
        )
        named = Ambient(ambient.now, lambda: f"{next(count):032x}")  # as long as ids are
        kept = Files(self.files, named, Keep(limits, 1_000_000.0, 200_000))
        tickets = Tickets(self.site, self.net, again, turns.health, ambient, seconds=9)
        self.service = Service(
            door=Door(self.keys, pass_through=False, may_be_open=True, bootstrap=BOOTSTRAP, clock=lambda: 0.0),
            guard=Guard("127.0.0.1", (), origins),
            accounts=self.accounts,
            allowances=Allowances(self.tally, self.tally, ambient, seat_seconds=60),
            models=models,
            turns=turns,
            pace=Pace(max_body, 10, 10, 10),
            continuation="auto",
            strict_params=False,
            ambient=ambient,
            observe=lambda _: None,
            storage=Storage(lambda: self.problem, lambda: None, lambda: 0),
            desk=Desk(self.room, kept, Pieces(self.pile, kept, ambient), tickets),
        )
        pages = Pages(self.service, Metrics(IDLE), listen="127.0.0.1", list_variants=True)
        self.app = server_app.build(self.service, pages, DIALECTS, self.management, prefix=prefix, origins=origins)

    @property
    def framework(self) -> FastAPI:
        """The application with the routes."""
        assert isinstance(self.app, Paths)
        inner: Any = self.app._app
        assert isinstance(inner, FastAPI), "with origins there is something before it"
        return inner

    async def open(self) -> None:
        """One account, one key of each role."""
        self.account = (await self.accounts.adopt(credential(user="u"), "main")).key
        await self.keys.reload()
        for role in ROLES:
            self.text[role] = (await self.changes.create(Terms(name=f"the {role}", role=role)))[0]

    async def keep(self, *chats: tuple[str, str]) -> None:
        """Chats `0`, `1` and so on at the site. chats: account and tenant of each."""
        await self.kept.remember([
            Remembered(KeptChat(str(number), account, tenant, created=NOON, used=NOON), ())
            for number, (account, tenant) in enumerate(chats)
        ])  # fmt: skip

    def id(self, role: Role) -> str:
        return self.keys.get(f"the {role}").id

    async def call(
        self,
        method: str,
        path: str,
        json: object = None,
        *,
        key: str | None = None,
        peer: str = HERE,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx2.Response:
        """key: text of the key; without one, the admin's; empty for none."""
        given = self.text["admin"] if key is None else key
        told = {**({"authorization": f"Bearer {given}"} if given else {}), **(headers or {})}
        transport = httpx2.ASGITransport(self.app, client=(peer, 50000))
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            address = path if path.startswith("/") else f"/api/admin/{path}"
            if content is not None:
                return await client.request(method, address, content=content, headers=told)
            return await client.request(method, address, json=json, headers=told)

    def state(self) -> tuple[object, ...]:
        """All that a call could change."""
        return (
            dict(self.store.rows),
            dict(self.store.rests),
            dict(self.shelf.kept),
            dict(self.site.set),
            dict(self.kept.chats),
            set(self.kept.marked),
            list(self.net.log),
        )

    async def _catalog(self) -> Catalog:
        return self.catalog


def _satisfied(ledger: Ledger) -> None:
    """Only for mypy: the fake is what the port asks for."""
    _: UsageQueries = ledger
