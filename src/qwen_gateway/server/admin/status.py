"""How the gateway is, for those who look after it."""

from pydantic import Field

from qwen_gateway import __version__
from qwen_gateway.relay.management import Management
from qwen_gateway.relay.ports import AccountState
from qwen_gateway.server.admin.mistakes import Shown
from qwen_gateway.server.admin.routes import Routes
from qwen_gateway.server.service import Service


class AccountStatus(Shown):
    id: str
    name: str
    state: AccountState
    paused: bool
    in_use: int
    resting: bool = Field(description="The whole account; single models do not count.")
    warning: str | None


class Status(Shown):
    version: str
    draining: bool = Field(description="It is shutting down.")
    in_flight: int = Field(description="Requests that are being served.")
    queue: int = Field(description="Of them, those that wait for an account.")
    chats_pending: int = Field(description="Chats at the site that are still to be deleted.")
    site: str = Field(
        description="Its circuit breaker. closed: asked as usual. open: left alone, since it failed again and again. "
        "half_open: one request looks how it is."
    )
    database_problem: str | None = Field(description="Why the database does not answer, if it does not.")
    counters_problem: str | None = Field(description="Why Redis did not answer the last time, if it did not.")
    usage_unwritten: int = Field(description="Rows of usage that wait for the database.")
    accounts: list[AccountStatus]


class StatusPages:
    def __init__(self, service: Service, management: Management) -> None:
        self._service, self._management = service, management

    def add_to(self, routes: Routes) -> None:
        routes.add("viewer", "GET", "/status", self.status, shows=Status)

    async def status(self) -> Status:
        """How the gateway is: its load, its accounts, its database."""
        service = self._service
        database, counters = service.storage.database(), service.storage.counters()
        return Status(
            version=__version__,
            draining=service.draining,
            in_flight=service.in_flight,
            queue=service.accounts.pool.waiting,
            chats_pending=service.turns.chats.waiting,
            site=service.turns.health.state(),
            database_problem=None if database is None else database.text,
            counters_problem=None if counters is None else counters.text,
            usage_unwritten=service.storage.unwritten(),
            accounts=[
                AccountStatus(
                    id=account.id,
                    name=account.name,
                    state=account.state,
                    paused=account.paused,
                    in_use=account.in_use,
                    resting=any(not rest.what for rest in account.rests),
                    warning=account.warning,
                )
                for account in self._management.accounts()
            ],
        )
