"""The book of keys: who is let in, and what is said to the others, with the database there or away."""

import asyncio

import pytest
from msgspec import structs

from qwen_gateway.relay.key_changes import Terms
from qwen_gateway.relay.keys import Key, Keys, check_endpoint, check_model, may_use_model
from qwen_gateway.turn.faults import BadKey, Forbidden, NotFound, StorageUnavailable

from .fakes import settle
from .key_fakes import KeyBench

MADE_UP = b"sk-qg-aaaaaaaaaa-" + b"x" * 43


def refused(keys: Keys, given: bytes) -> str:
    with pytest.raises((BadKey, StorageUnavailable)) as caught:
        keys.find(given)
    return caught.value.code


async def test_a_stored_key_is_found_with_what_it_may() -> None:
    bench = KeyBench()
    terms = Terms(name="laptop", role="viewer", models=("qwen3*",), endpoints=("models",), concurrency=2)
    text, record = await bench.changes.create(terms)
    found = bench.keys.find(text.encode())
    assert found == Key(record.id, "laptop", "viewer", ("qwen3*",), ("models",), concurrency=2)


async def test_a_key_of_the_settings_is_a_client_without_limits_under_a_name_that_stays() -> None:
    first, second = KeyBench("any form"), KeyBench("other", "any form")
    found = first.keys.find(b"any form")
    assert (found.role, found.models, found.requests_per_minute) == ("client", (), None)
    assert found.id.startswith("static-")
    assert len(found.id) == len("static-") + 8
    assert second.keys.find(b"any form") == found
    assert second.keys.find(b"other").id != found.id


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"x",
        b"any for",
        b"any formx",
        b"any form\0",
        b"' OR 1=1--",
        b"sk-%",
        b"sk-qg-",
        b"{}",
        "’ schlüssel".encode(),
        b"\xff" * 90,
        MADE_UP,
        MADE_UP + b"\n",
        MADE_UP.upper(),
    ],
)
async def test_what_is_no_key_is_refused_however_it_looks(given: bytes) -> None:
    bench = KeyBench("any form")
    await bench.changes.create(Terms(name="laptop"))
    assert refused(bench.keys, given) == "invalid_api_key"


async def test_keys_that_begin_alike_are_each_judged_on_all_their_characters() -> None:
    bench = KeyBench()
    text, _ = await bench.changes.create(Terms(name="laptop"))
    for wrong in (text[:-1] + ("A" if text[-1] != "A" else "B"), text[:40] + "Z" * 20, text[:-1], text + "A"):
        bench.keys.find(text.encode())
        assert refused(bench.keys, wrong.encode()) == "invalid_api_key"


async def test_the_right_id_with_a_wrong_secret_learns_nothing_of_the_key() -> None:
    bench = KeyBench()
    text, _ = await bench.changes.create(Terms(name="laptop"))
    await bench.changes.disable("laptop")
    wrong = text[:-43] + "z" * 43
    assert refused(bench.keys, wrong.encode()) == "invalid_api_key"
    assert refused(bench.keys, text.encode()) == "key_disabled"


async def test_an_expired_key_is_told_the_day() -> None:
    bench = KeyBench()
    bench.clock.now = 1_795_305_600.0  # 2026-11-22 00:00 UTC
    text, _ = await bench.changes.create(Terms(name="laptop", expires_at=bench.clock.now + 10))
    bench.clock.now += 9
    bench.keys.find(text.encode())
    bench.clock.now += 1
    with pytest.raises(BadKey, match="expired on 2026-11-22") as caught:
        bench.keys.find(text.encode())
    assert caught.value.code == "key_expired"


async def test_before_the_first_load_only_keys_of_the_settings_are_known() -> None:
    bench = KeyBench("static")
    bench.keys.find(b"static")
    bench.keys.confirmed()  # of nothing
    assert not bench.keys.loaded
    for given in (b"other", MADE_UP):
        assert refused(bench.keys, given) == "storage_unavailable"
    bench.shelf.away = True
    with pytest.raises(StorageUnavailable):
        await bench.keys.reload()
    assert refused(bench.keys, b"other") == "storage_unavailable"


async def test_while_the_database_is_away_known_keys_work_and_unknown_ones_are_not_called_wrong() -> None:
    bench = KeyBench()
    text, _ = await bench.changes.create(Terms(name="laptop"))
    old, _ = await bench.changes.create(Terms(name="old"))
    await bench.changes.disable("old")
    bench.clock.now += 31
    assert not bench.keys.fresh
    bench.keys.find(text.encode())
    assert refused(bench.keys, old.encode()) == "key_disabled"
    assert refused(bench.keys, MADE_UP) == "storage_unavailable"
    # It may have been rotated since.
    assert refused(bench.keys, text[:-43].encode() + b"z" * 43) == "storage_unavailable"
    # No key of ours could look like this.
    assert refused(bench.keys, b"hello") == "invalid_api_key"
    bench.keys.confirmed()
    assert refused(bench.keys, MADE_UP) == "invalid_api_key"


async def test_a_clock_that_was_set_back_makes_no_knowledge_young() -> None:
    bench = KeyBench()
    await bench.keys.reload()
    bench.clock.now -= 3600
    assert refused(bench.keys, MADE_UP) == "storage_unavailable"


async def test_a_key_disabled_by_another_process_is_refused_once_the_number_has_risen() -> None:
    bench = KeyBench()
    text, record = await bench.changes.create(Terms(name="laptop"))
    other = bench.other_process()
    await other.follow(1)
    other.find(text.encode())
    await bench.changes.disable(record.id)
    loads = bench.shelf.loads
    await other.follow(1)
    assert bench.shelf.loads == loads, "an unchanged number loads nothing"
    await other.follow(2)
    assert refused(other, text.encode()) == "key_disabled"


async def test_a_number_that_could_not_be_followed_is_followed_later() -> None:
    bench = KeyBench()
    await bench.keys.follow(1)
    bench.shelf.away = True
    with pytest.raises(StorageUnavailable):
        await bench.keys.follow(2)
    bench.shelf.away = False
    loads = bench.shelf.loads
    await bench.keys.follow(2)
    assert bench.shelf.loads == loads + 1


async def test_an_unchanged_number_confirms_what_is_known() -> None:
    bench = KeyBench()
    await bench.keys.follow(7)
    bench.clock.now += 31
    assert not bench.keys.fresh
    await bench.keys.follow(7)
    assert bench.keys.fresh


async def test_a_slow_load_does_not_bring_back_what_was_changed_meanwhile() -> None:
    bench = KeyBench()
    text, record = await bench.changes.create(Terms(name="laptop"))
    hold = bench.shelf.hold = asyncio.Event()
    slow = asyncio.create_task(bench.keys.reload())
    await settle()
    change = asyncio.create_task(bench.changes.disable(record.id))
    await settle()
    hold.set()
    await slow
    await change
    assert refused(bench.keys, text.encode()) == "key_disabled"


async def test_an_admins_key_counts_while_it_works_and_any_key_counts_for_ever() -> None:
    bench = KeyBench()
    await bench.changes.create(Terms(name="c"))
    assert not bench.keys.has_admin
    await bench.changes.create(Terms(name="a", role="admin", expires_at=bench.clock.now + 5))
    assert bench.keys.has_admin
    await bench.changes.disable("a")
    assert not bench.keys.has_admin
    await bench.changes.enable("a")
    bench.clock.now += 5
    assert not bench.keys.has_admin
    await bench.changes.disable("c")
    assert bench.keys.has_any
    assert not KeyBench().keys.has_any
    assert KeyBench("static").keys.has_any


async def test_a_key_is_looked_up_by_its_id_before_any_name() -> None:
    bench = KeyBench()
    _, first = await bench.changes.create(Terms(name="first"))
    _, second = await bench.changes.create(Terms(name="second"))
    # Refused today, but such a name may be stored already.
    bench.shelf.kept[second.id] = second = structs.replace(second, name=first.id)
    await bench.keys.reload()
    assert bench.keys.get(first.id) == first
    assert bench.keys.get("first") == first
    assert bench.keys.records() == [first, second]
    with pytest.raises(NotFound, match="'third'"):
        bench.keys.get("third")


KEY = Key("k", "laptop", models=("qwen3-max", "qwen2.5-*"), endpoints=("openai_chat",))


@pytest.mark.parametrize(
    ("model", "may"),
    [
        ("qwen3-max", True),
        ("qwen2.5-coder", True),
        ("qwen3-max-preview", False),
        ("Qwen3-Max", False),
        (" qwen3-max", False),
        ("xqwen2.5-coder", False),
        ("", False),
    ],
)
def test_a_key_for_some_models_may_use_these_and_no_others(model: str, may: bool) -> None:
    assert may_use_model(KEY, model) is may
    if not may:
        with pytest.raises(Forbidden, match=r"qwen3-max, qwen2\.5-\*") as caught:
            check_model(KEY, model)
        assert caught.value.code == "model_not_allowed"
    else:
        check_model(KEY, model)


def test_a_key_for_some_endpoints_may_use_these_and_no_others() -> None:
    check_endpoint(KEY, "openai_chat")
    with pytest.raises(Forbidden, match="It may use: openai_chat") as caught:
        check_endpoint(KEY, "models")
    assert caught.value.code == "endpoint_not_allowed"


def test_callers_and_keys_without_lists_may_use_all() -> None:
    for key in (None, structs.replace(KEY, models=(), endpoints=())):
        check_model(key, "anything")
        check_endpoint(key, "anything")


def test_the_worst_pattern_that_a_key_can_have_is_judged_at_once() -> None:
    pattern = "*" + "a*" * 3 + "b"
    assert not may_use_model(structs.replace(KEY, models=(pattern,) * 100), "a" * 200)


async def test_keys_have_an_id_whichever_way_they_came_and_are_named() -> None:
    bench = KeyBench("static")
    _, record = await bench.changes.create(Terms(name="laptop"))
    static = bench.keys.find(b"static")
    assert [bench.keys.id_of(which) for which in ("laptop", record.id, static.id)] == [record.id, record.id, static.id]
    with pytest.raises(NotFound):
        bench.keys.id_of("static")
