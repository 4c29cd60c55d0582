"""Leave to upload by oneself: asked of an account that is free and fresh, which then is given back."""

import pytest

from qwen_gateway.relay.account import Account
from qwen_gateway.relay.health import Health
from qwen_gateway.relay.pool import Pool
from qwen_gateway.relay.tickets import Tickets
from qwen_gateway.relay.uploads import UPLOADING
from qwen_gateway.turn.contracts import Tokens
from qwen_gateway.turn.faults import Challenged, Down, LoginExpired, NoAccount, RateLimited, Throttled, TimedOut
from qwen_gateway.turn.files import Facts, Ticket

from .fakes import NOON, Clock, Net, Site, account, jwt, pool, renewal

FILE = Facts("a.jpg", "image", "", 5)


class Bench:
    def __init__(self, *accounts: Account, clock: Clock | None = None) -> None:
        self.clock, self.site, self.net = clock or Clock(), Site(), Net()
        self.health = Health(self.clock.ambient())
        self.pool: Pool = pool(self.clock, *accounts)
        again = renewal(self.site, self.net, self.clock)
        self.tickets = Tickets(self.site, self.net, again, self.health, self.clock.ambient(), seconds=7)

    async def ask(self) -> Ticket:
        return await self.tickets.ask(self.pool, FILE, caller="key-1")


def one(*, refreshable: bool = False) -> tuple[Account, Bench]:
    clock = Clock()
    here = account(clock, refreshable=refreshable)
    return here, Bench(here, clock=clock)


async def test_a_ticket_is_asked_for_once_and_its_account_is_free_again() -> None:
    here, bench = one()
    assert (await bench.ask()).key == "user/file-1_a.jpg"
    assert (bench.net.log, bench.net.seconds["ticket"]) == (["ticket a.jpg"], 7)
    assert here.busy == 0


async def test_an_account_that_may_upload_nothing_for_a_while_is_passed_over() -> None:
    clock = Clock()
    full, free = account(clock, user="a"), account(clock, user="b")
    bench = Bench(full, free, clock=clock)
    full.failed(UPLOADING, RateLimited("Enough for today.", retry_after=900))
    await bench.ask()
    assert (full.last_used, free.last_used) == (0, NOON)


async def test_where_there_were_too_many_the_account_may_still_answer() -> None:
    here, bench = one()
    bench.site.says["ticket"].append(RateLimited("Too many tickets.", retry_after=75))
    with pytest.raises(RateLimited):
        await bench.ask()
    assert here.busy == 0
    assert here.refusal("q-switch") is None
    with pytest.raises(RateLimited):
        await bench.ask()
    assert bench.net.count("ticket") == 1, "the site was asked again at once"


async def test_a_wall_stands_before_the_whole_account() -> None:
    here, bench = one()
    bench.site.says["ticket"].append(Challenged("A person must act."))
    with pytest.raises(Challenged):
        await bench.ask()
    assert isinstance(here.refusal("q-switch"), Challenged)


async def test_a_session_that_is_over_is_renewed_once() -> None:
    here, bench = one(refreshable=True)
    bench.site.says["ticket"].append(LoginExpired("Your session has ended."))
    bench.site.fresh = Tokens(jwt(id="u", exp=NOON + 9_000, type="access_token"))
    assert (await bench.ask()).file_id == "file-1"
    assert [entry.split()[0] for entry in bench.net.log] == ["ticket", "refresh", "ticket"]
    assert here.refusal("") is None


async def test_a_session_that_stays_over_needs_a_login() -> None:
    here, bench = one(refreshable=True)
    bench.site.says["ticket"].extend([LoginExpired("Over."), LoginExpired("Over.")])
    bench.site.fresh = Tokens(jwt(id="u", exp=NOON + 9_000, type="access_token"))
    with pytest.raises(LoginExpired):
        await bench.ask()
    assert isinstance(here.refusal(""), LoginExpired)
    assert here.busy == 0


async def test_one_that_cannot_be_renewed_is_not_tried_again() -> None:
    here, bench = one()
    bench.site.says["ticket"].append(LoginExpired("Over."))
    with pytest.raises(LoginExpired):
        await bench.ask()
    assert bench.net.log == ["ticket a.jpg"]
    assert isinstance(here.refusal(""), LoginExpired)


async def test_a_site_that_is_left_alone_is_not_asked() -> None:
    _, bench = one()
    while bench.health.state() == "closed":
        bench.health.note(TimedOut("Nothing came."))
    with pytest.raises(Down):
        await bench.ask()
    assert bench.net.log == []


async def test_what_a_ticket_says_counts_neither_for_nor_against_the_site() -> None:
    _, bench = one()
    for _ in range(50):
        bench.net.breaks["ticket"].append(TimedOut("Nothing came."))
        with pytest.raises(TimedOut):
            await bench.ask()
    assert bench.health.state() == "closed"


async def test_without_an_account_there_is_none() -> None:
    with pytest.raises(NoAccount):
        await Bench().ask()


async def test_after_a_wall_one_ticket_does_not_prove_that_questions_are_answered() -> None:
    here, bench = one()
    here.failed("", Challenged("A person must act."))
    bench.clock.now += 61
    await bench.ask()
    lease = await bench.pool.lease("q-switch")
    assert here.awaits_probe("q-switch"), "one turn at a time tries whether it is over"
    lease.close()


async def test_who_is_told_to_wait_is_told_how_long() -> None:
    _, bench = one()
    bench.site.says["ticket"].append(Throttled("Too many tickets.", retry_after=75))
    with pytest.raises(Throttled) as caught:
        await bench.ask()
    assert caught.value.retry_after == 75
