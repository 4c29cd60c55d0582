"""Lookups in threads of their own: so many at once, and nobody else waits for them."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from qwen_gateway.net.fetch import GuardedFetch
from qwen_gateway.net.lookups import Lookups
from qwen_gateway.turn.faults import InvalidRequest

from .fetch_spool import MemorySpool
from .raw import until


class Names:
    """In place of `socket.getaddrinfo`. Lookups wait until they are `let`. asked: names, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.let = threading.Event()
        self.says: Exception | None = None

    def find(self, host: str, port: int, **_: Any) -> Sequence[tuple[Any, ...]]:
        self.asked.append(host)
        self.let.wait(30)
        if self.says is not None:
            raise self.says
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{len(host)}", port))]


@pytest.fixture
def names() -> Iterator[Names]:
    made = Names()
    yield made
    made.let.set()


async def test_names_are_looked_up_as_this_machine_does() -> None:
    assert set(await Lookups()("localhost", 80)) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("problem", [socket.gaierror(-2, "unknown"), UnicodeError("label too long")])
async def test_what_the_machine_says_is_said(names: Names, problem: Exception) -> None:
    names.says = problem
    names.let.set()
    with pytest.raises(type(problem)):
        await Lookups(1, names.find)("a.test", 80)


async def test_more_than_so_many_wait_and_whoever_leaves_is_never_looked_up(names: Names) -> None:
    lookups = Lookups(2, names.find)
    looking = [asyncio.create_task(lookups(host, 80)) for host in ("a", "bb", "left", "dddd")]
    await until(lambda: len(names.asked) == 2)
    looking[2].cancel()
    await asyncio.wait([looking[2]])
    assert sorted(names.asked) == ["a", "bb"]
    names.let.set()
    assert [await looking[number] for number in (0, 1, 3)] == [["192.0.2.1"], ["192.0.2.2"], ["192.0.2.4"]]
    assert "left" not in names.asked


async def test_one_that_nobody_waits_for_keeps_its_place_until_it_ends(names: Names) -> None:
    lookups = Lookups(1, names.find)
    left, waits = (asyncio.create_task(lookups(host, 80)) for host in ("a", "bb"))
    await until(lambda: names.asked == ["a"])
    left.cancel()
    await asyncio.wait([left])
    await asyncio.sleep(0)
    assert names.asked == ["a"]
    names.let.set()
    assert await waits == ["192.0.2.2"]


async def test_slow_names_keep_nobody_from_the_threads_of_the_loop(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", names.find)
    fetch = GuardedFetch(MemorySpool(), on=True, own_user_agent="tests/1", connect=0.05)
    with ThreadPoolExecutor(1) as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        fetching = [asyncio.create_task(fetch.fetch(f"http://{n}.test/", "p", 9)) for n in range(3)]
        await asyncio.wait(fetching)
        assert all(isinstance(each.exception(), InvalidRequest) for each in fetching)
        async with asyncio.timeout(10):
            assert await asyncio.to_thread(threading.active_count) > 3, "the lookups are still under way"
        assert len(names.asked) == 3
        names.let.set()


def test_a_lookup_that_outlives_the_loop_is_no_error(names: Names) -> None:
    async def leave() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await Lookups(1, names.find)("a", 80)

    asyncio.run(leave())
    (lookup,) = (each for each in threading.enumerate() if each.name == "lookup")
    assert lookup.daemon, "the process does not wait for it"
    names.let.set()
    lookup.join(10)
    assert not lookup.is_alive()
