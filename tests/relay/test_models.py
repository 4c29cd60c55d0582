"""Today's models: when the site is asked, who waits for it, and what is left when it does not answer."""

import asyncio

import pytest

from qwen_gateway.relay import models as models_module
from qwen_gateway.relay.models import RETRY_EVERY, Models
from qwen_gateway.turn.catalog import Catalog, Model
from qwen_gateway.turn.faults import Fault, ModelNotFound, NoAccount, Unreachable

from .fakes import Clock, settle

BUILT_IN = Catalog((Model(id="old", name="Old"),), stale=True)
TODAY = Catalog((Model(id="new", name="New"),))
TTL = 600.0


class Bench:
    """answers: what the site says, in turn; its last answer again and again. hold: it waits for this event."""

    def __init__(self, *answers: Catalog | Fault) -> None:
        self.clock = Clock()
        self.answers = list(answers)
        self.asked = 0
        self.hold: asyncio.Event | None = None
        self.models = Models(self._fetch, BUILT_IN, {}, self.clock.ambient(), TTL)

    async def _fetch(self) -> Catalog:
        self.asked += 1
        if self.hold is not None:
            await self.hold.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Fault):
            raise answer
        return answer

    async def ids(self) -> list[str]:
        return [model.id for model in (await self.models.catalog()).models]


async def test_the_first_request_waits_for_the_list() -> None:
    bench = Bench(TODAY)
    assert await bench.models.catalog() == TODAY
    assert (await bench.models.resolve("new")).model.id == "new"
    assert bench.asked == 1


async def test_a_list_is_todays_for_a_while() -> None:
    bench = Bench(TODAY)
    await bench.models.catalog()
    bench.clock.now += TTL - 1
    await bench.models.catalog()
    await settle()
    assert bench.asked == 1
    bench.clock.now += 1
    await bench.models.catalog()
    await settle()
    assert bench.asked == 2


async def test_a_list_is_renewed_beside_the_request() -> None:
    newer = Catalog((Model(id="newer", name="Newer"),))
    bench = Bench(TODAY, newer)
    await bench.models.catalog()
    bench.clock.now += TTL
    bench.hold = asyncio.Event()
    assert await asyncio.wait_for(bench.ids(), 1) == ["new"]
    bench.hold.set()
    await settle()
    assert await bench.ids() == ["newer"]


async def test_many_who_wait_ask_once() -> None:
    bench = Bench(TODAY)
    bench.hold = asyncio.Event()
    tasks = [asyncio.create_task(bench.models.catalog()) for _ in range(30)]
    await settle()
    bench.hold.set()
    assert await asyncio.gather(*tasks) == [TODAY] * 30
    assert bench.asked == 1


async def test_one_who_leaves_does_not_take_the_list_from_the_others() -> None:
    bench = Bench(TODAY)
    bench.hold = asyncio.Event()
    first, second = (asyncio.create_task(bench.models.catalog()) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    bench.hold.set()
    assert await second == TODAY


async def test_the_first_request_makes_do_with_the_built_in_list_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_module, "FIRST_WAIT", 0.03)
    bench = Bench(TODAY)
    bench.hold = asyncio.Event()
    assert await asyncio.wait_for(bench.models.catalog(), 2) == BUILT_IN
    bench.hold.set()
    await settle()
    assert await bench.models.catalog() == TODAY


async def test_without_an_answer_the_built_in_list_stays_and_says_so() -> None:
    fault = Unreachable("refused")
    bench = Bench(fault, TODAY)
    assert await bench.models.catalog() == BUILT_IN
    assert bench.models.problem is fault
    bench.clock.now += RETRY_EVERY - 1
    await bench.models.catalog()
    assert bench.asked == 1, "it is not asked with every request"
    bench.clock.now += 1
    assert await bench.models.catalog() == TODAY
    assert bench.models.problem is None


async def test_without_an_answer_yesterdays_list_stays_and_says_so() -> None:
    bench = Bench(TODAY, Unreachable("refused"))
    await bench.models.catalog()
    bench.clock.now += TTL
    await bench.models.catalog()
    await settle()
    assert await bench.models.catalog() == Catalog(TODAY.models, stale=True)


async def test_nobody_waits_once_there_has_been_a_list() -> None:
    bench = Bench(TODAY, Unreachable("refused"))
    await bench.models.catalog()
    bench.clock.now += TTL
    await bench.models.catalog()
    await settle()
    bench.clock.now += RETRY_EVERY
    bench.hold = asyncio.Event()
    assert await asyncio.wait_for(bench.ids(), 1) == ["new"]
    await bench.models.close()


async def test_without_an_account_the_next_request_asks_again() -> None:
    bench = Bench(NoAccount("none"), TODAY)
    assert await bench.models.catalog() == BUILT_IN
    assert await bench.models.catalog() == TODAY


async def test_a_model_that_is_gone_renews_the_list() -> None:
    bench = Bench(TODAY)
    await bench.models.catalog()
    bench.models.gone(ModelNotFound("gone"))
    await bench.models.catalog()
    await settle()
    assert bench.asked == 2


async def test_an_unknown_name() -> None:
    with pytest.raises(ModelNotFound, match="new"):
        await Bench(TODAY).models.resolve("newt-9")


async def test_closing_ends_a_question_that_is_under_way() -> None:
    bench = Bench(TODAY)
    bench.hold = asyncio.Event()
    waiting = asyncio.create_task(bench.models.catalog())
    await settle()
    await asyncio.wait_for(bench.models.close(), 2)
    assert await waiting == BUILT_IN
    await bench.models.close()
