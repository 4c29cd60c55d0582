"""Making, changing, disabling and rotating keys."""

import re
from typing import Any

import msgspec
import pytest
from msgspec import structs

from qwen_gateway.relay.key_changes import KeyChanges, Terms
from qwen_gateway.turn.faults import BadKey, InvalidRequest, NameTaken, NotFound, StorageUnavailable

from .fakes import NOON
from .key_fakes import KeyBench


async def test_a_new_key_has_an_id_in_plain_sight_and_a_long_secret_that_is_not_stored() -> None:
    bench = KeyBench()
    text, record = await bench.changes.create(Terms(name=" laptop "))
    assert re.fullmatch(r"sk-qg-[a-z2-7]{10}-[A-Za-z0-9_-]{43}", text)
    assert text.split("-")[2] == record.id
    assert (record.name, record.role, record.created_at, record.enabled) == ("laptop", "client", NOON, True)
    assert bench.shelf.kept == {record.id: record}
    assert text[-43:] not in repr(record)
    assert text.encode() not in record.digest.value
    other, _ = await bench.changes.create(Terms(name="phone"))
    assert other[:16] != text[:16]


async def test_all_random_bits_reach_the_secret() -> None:
    bench = KeyBench()
    sizes: list[int] = []

    def token_bytes(size: int) -> bytes:
        sizes.append(size)
        return b"\xff" * size

    changes = KeyChanges(
        bench.keys, bench.shelf, bench.clock.ambient(), token_bytes=token_bytes, endpoints=("openai_chat",)
    )
    text, _ = await changes.create(Terms(name="laptop"))
    assert text == f"sk-qg-{'7' * 10}-{'_' * 42}8"
    assert sizes == [7, 32]


async def test_a_change_touches_only_what_it_names() -> None:
    bench = KeyBench()
    _, record = await bench.changes.create(Terms(name="laptop", models=("qwen3*",), concurrency=2, expires_at=NOON + 9))
    changed = await bench.changes.change("laptop", Terms(name="desk", concurrency=None, tokens_per_day=5))
    assert changed == structs.replace(record, name="desk", concurrency=None, tokens_per_day=5)
    assert bench.shelf.kept[record.id] == changed == bench.keys.get(record.id)


async def test_how_conversations_go_on_is_a_term_of_the_key() -> None:
    bench = KeyBench()
    text, record = await bench.changes.create(Terms(name="laptop", continuation="suffix"))
    assert record.continuation == bench.keys.find(text.encode()).continuation == "suffix"
    assert (await bench.changes.change("laptop", Terms(concurrency=1))).continuation == "suffix"
    await bench.changes.change("laptop", Terms(continuation="replay"))
    assert bench.keys.find(text.encode()).continuation == "replay"
    await bench.changes.change("laptop", Terms(continuation=None))
    assert bench.keys.find(text.encode()).continuation is None


async def test_a_disabled_key_stops_at_once_and_an_enabled_one_works_again() -> None:
    bench = KeyBench()
    text, record = await bench.changes.create(Terms(name="laptop"))
    await bench.changes.disable(record.id)
    with pytest.raises(BadKey):
        bench.keys.find(text.encode())
    await bench.changes.enable("laptop")
    assert bench.keys.find(text.encode()).id == record.id


async def test_rotating_keeps_id_and_terms_and_ends_the_old_secret_at_once() -> None:
    bench = KeyBench()
    old, record = await bench.changes.create(Terms(name="laptop", concurrency=3))
    new, rotated = await bench.changes.rotate("laptop")
    assert rotated == structs.replace(record, digest=rotated.digest)
    assert bench.keys.find(new.encode()).concurrency == 3
    with pytest.raises(BadKey):
        bench.keys.find(old.encode())


async def test_a_change_does_not_undo_what_another_process_changed() -> None:
    bench = KeyBench()
    text, record = await bench.changes.create(Terms(name="laptop"))
    bench.shelf.kept[record.id] = structs.replace(record, enabled=False)
    await bench.changes.change(record.id, Terms(name="desk"))
    assert not bench.shelf.kept[record.id].enabled
    with pytest.raises(BadKey, match="disabled"):
        bench.keys.find(text.encode())


async def test_names_are_unique_and_unknown_keys_are_not_found() -> None:
    bench = KeyBench()
    await bench.changes.create(Terms(name="laptop"))
    with pytest.raises(NameTaken):
        await bench.changes.create(Terms(name="laptop"))
    await bench.changes.create(Terms(name="phone"))
    with pytest.raises(NameTaken):
        await bench.changes.change("phone", Terms(name="laptop"))
    assert bench.keys.get("phone").name == "phone"
    for change in (
        bench.changes.disable("tv"),
        bench.changes.rotate("tv"),
        bench.changes.change("tv", Terms(name="radio")),
    ):
        with pytest.raises(NotFound):
            await change


async def test_no_key_can_have_the_name_that_is_the_id_of_another() -> None:
    bench = KeyBench()
    _, victim = await bench.changes.create(Terms(name="victim"))
    with pytest.raises(NameTaken, match="is the id of a key"):
        await bench.changes.create(Terms(name=victim.id))
    await bench.changes.create(Terms(name="other"))
    with pytest.raises(NameTaken, match="is the id of a key"):
        await bench.changes.change("other", Terms(name=victim.id))
    for name in ("production", "abcdefgh27"):
        await bench.changes.create(Terms(name=name))


async def test_nothing_is_changed_while_the_database_is_away() -> None:
    bench = KeyBench()
    text, _ = await bench.changes.create(Terms(name="laptop"))
    bench.shelf.away = True
    with pytest.raises(StorageUnavailable):
        await bench.changes.rotate("laptop")
    with pytest.raises(StorageUnavailable):
        await bench.changes.create(Terms(name="phone"))
    bench.keys.find(text.encode())
    assert len(bench.keys.records()) == 1


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("name", {}),
        ("name", {"name": ""}),
        ("name", {"name": "  "}),
        ("name", {"name": "x" * 101}),
        ("name", {"name": "a\nb"}),
        ("name", {"name": "a\u202eb"}),
        ("name", {"name": "a/b"}),
        ("role", {"role": "root"}),
        ("continuation", {"continuation": "sometimes"}),
        ("continuation", {"continuation": ""}),
        ("expires_at", {"expires_at": NOON}),
        ("expires_at", {"expires_at": NOON - 1}),
        ("expires_at", {"expires_at": float("nan")}),
        ("expires_at", {"expires_at": float("inf")}),
        ("expires_at", {"expires_at": NOON + 1e11}),
        ("models", {"models": ("m",) * 101}),
        ("models[1]", {"models": ("qwen*", "")}),
        ("models[0]", {"models": ("x" * 101,)}),
        ("models[0]", {"models": ("a b",)}),
        ("models[0]", {"models": ("*a*a*a*a*",)}),
        ("endpoints[1]", {"endpoints": ("models", "admin")}),
        ("requests_per_minute", {"requests_per_minute": 0}),
        ("requests_per_minute", {"requests_per_minute": 1_000_001}),
        ("requests_per_minute", {"requests_per_minute": True}),
        ("requests_per_minute", {"requests_per_minute": 1.5}),
        ("concurrency", {"concurrency": -1}),
        ("tokens_per_day", {"tokens_per_day": 10**12 + 1}),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_name(param: str, fields: dict[str, Any]) -> None:
    bench = KeyBench()
    await bench.changes.create(Terms(name="there"))
    loads = bench.shelf.loads
    name: dict[str, Any] = {} if param == "name" else {"name": "laptop"}
    with pytest.raises(InvalidRequest) as caught:
        await bench.changes.create(Terms(**name, **fields))
    assert caught.value.param == param
    if fields:
        with pytest.raises(InvalidRequest) as caught:
            await bench.changes.change("there", Terms(**fields))
        assert caught.value.param == param
    assert bench.shelf.loads == loads, "the database was not asked"


def test_terms_read_from_json_know_no_other_fields() -> None:
    assert msgspec.json.decode(b'{"name":"a","concurrency":null}', type=Terms) == Terms(name="a", concurrency=None)
    for body in (
        b'{"name":"a","id":"b"}',
        b'{"enabled":true}',
        b'{"role":"root"}',
        b'{"concurrency":true}',
        b'{"continuation":"x"}',
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(body, type=Terms)
