"""The status over HTTP."""

from tests.relay.fakes import NOON

from qwen_gateway import __version__
from qwen_gateway.turn.faults import Challenged, RateLimited, StorageUnavailable, Unreachable

from .bench import Bench


async def test_all_is_well(bench: Bench) -> None:
    assert (await bench.call("GET", "status")).json() == {
        "version": __version__,
        "draining": False,
        "in_flight": 0,
        "queue": 0,
        "chats_pending": 0,
        "site": "closed",
        "database_problem": None,
        "counters_problem": None,
        "usage_unwritten": 0,
        "accounts": [
            {
                "id": bench.account,
                "name": "main",
                "state": "unchecked",
                "paused": False,
                "in_use": 0,
                "resting": False,
                "warning": None,
            }
        ],
    }


async def test_what_is_not_well_is_told(bench: Bench) -> None:
    bench.problem = StorageUnavailable("The database does not answer.")
    bench.service.draining, bench.service.in_flight = True, 3
    for _ in range(10):
        bench.service.turns.health.note(Unreachable("No way there."))
    account = bench.accounts.find("main")
    account.busy = 2
    account.rest.failed("q-max", RateLimited("Enough."), NOON)
    told = (await bench.call("GET", "status")).json()
    assert (told["database_problem"], told["draining"], told["in_flight"]) == ("The database does not answer.", True, 3)
    assert told["site"] == "open"
    assert (told["accounts"][0]["in_use"], told["accounts"][0]["resting"]) == (2, False)
    account.rest.failed("", Challenged("A wall."), NOON)
    assert (await bench.call("GET", "status")).json()["accounts"][0]["resting"] is True
