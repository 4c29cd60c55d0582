"""Keys over HTTP."""

import pytest
from tests.relay.fakes import NOON

from qwen_gateway.relay.views import KeyView
from qwen_gateway.server.admin.keys import Key

from .bench import STATIC, Bench

FULL = {
    "name": "laptop",
    "role": "viewer",
    "expires_at": NOON + 100,
    "models": ["qwen3*"],
    "endpoints": ["openai_chat"],
    "requests_per_minute": 10,
    "concurrency": 2,
    "tokens_per_day": 1000,
    "continuation": "suffix",
}


async def test_a_key_is_made_and_its_text_shown_once(bench: Bench) -> None:
    reply = await bench.call("POST", "keys", FULL)
    assert reply.status_code == 201
    text, key = reply.json()["text"], reply.json()["key"]
    assert {name: key[name] for name in FULL} == FULL
    assert (key["enabled"], key["tokens_today"], key["created_at"]) == (True, 0, NOON)
    assert bench.keys.find(text.encode()).id == key["id"]
    secret = text.rpartition("-")[2]
    for path in ("keys", f"keys/{key['id']}", "status"):
        assert secret not in (await bench.call("GET", path)).text
    assert (await bench.call("GET", "keys/laptop")).json() == key


async def test_a_key_of_the_name_alone_is_a_client_without_limits(bench: Bench) -> None:
    key = (await bench.call("POST", "keys", {"name": "x"})).json()["key"]
    assert (key["role"], key["models"], key["concurrency"], key["expires_at"]) == ("client", [], None, None)


async def test_stored_keys_are_listed_and_those_of_the_settings_are_not(bench: Bench) -> None:
    reply = await bench.call("GET", "keys")
    assert [key["name"] for key in reply.json()["keys"]] == ["the client", "the viewer", "the admin"]
    assert STATIC not in reply.text
    assert "digest" not in reply.text


async def test_what_is_left_out_stays_and_null_takes_a_limit_away(bench: Bench) -> None:
    await bench.call("POST", "keys", FULL)
    key = (await bench.call("PATCH", "keys/laptop", {"name": "desktop", "concurrency": None})).json()
    assert {**FULL, "name": "desktop", "concurrency": None}.items() <= key.items()
    key = (await bench.call("PATCH", "keys/desktop", {"continuation": None})).json()
    assert {**FULL, "name": "desktop", "concurrency": None, "continuation": None}.items() <= key.items()
    assert (await bench.call("PATCH", f"keys/{key['id']}", {})).json() == key


async def test_a_key_is_disabled_enabled_and_changed_at_once(bench: Bench) -> None:
    await bench.call("POST", "keys", FULL)
    key = (await bench.call("PATCH", "keys/laptop", {"enabled": False, "name": "desktop"})).json()
    assert (key["enabled"], key["name"]) == (False, "desktop")
    assert (await bench.call("PATCH", "keys/desktop", {"enabled": True})).json()["enabled"] is True


async def test_a_rotated_key_has_a_new_text_and_the_same_terms(bench: Bench) -> None:
    first = (await bench.call("POST", "keys", FULL)).json()
    second = (await bench.call("POST", "keys/laptop/rotate")).json()
    assert second["key"] == first["key"]
    assert second["text"] != first["text"]
    assert (await bench.call("GET", "keys", key=first["text"])).status_code == 401
    assert (await bench.call("GET", "keys", key=second["text"])).status_code == 200


async def test_a_key_cannot_be_deleted_since_usage_refers_to_it(bench: Bench) -> None:
    assert (await bench.call("DELETE", "keys/the%20client")).status_code == 405


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": None}, "name"),
        ({"role": "root"}, "role"),
        ({"role": None}, "role"),
        ({"continuation": "sometimes"}, "continuation"),
        ({"continuation": True}, "continuation"),
        ({"expires_at": NOON - 1}, "expires_at"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"models": "q*"}, "models"),
        ({"models": None}, "models"),
        ({"models": ["q", 1]}, "models[1]"),
        ({"models": ["****************"]}, "models[0]"),
        ({"endpoints": ["admin"]}, "endpoints[0]"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": "3"}, "concurrency"),
        ({"concurrency": True}, "concurrency"),
        ({"tokens_per_day": 1e30}, "tokens_per_day"),
        ({"requests_per_minute": -1}, "requests_per_minute"),
        ({"digest": "00"}, "digest"),
        ({"id": "other"}, "id"),
        ({"created_at": 0}, "created_at"),
        ({"tokens_today": 0}, "tokens_today"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_each_wrong_field_is_named_and_nothing_changes(
    bench: Bench, method: str, change: dict[str, object], param: str
) -> None:
    before = bench.state()
    path, base = ("keys", {"name": "new"}) if method == "POST" else ("keys/the%20client", {})
    reply = await bench.call(method, path, {**base, **change})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text
    assert bench.state() == before


async def test_a_new_key_is_not_made_disabled(bench: Bench) -> None:
    reply = await bench.call("POST", "keys", {"name": "new", "enabled": False})
    assert reply.json()["error"]["param"] == "enabled"


async def test_a_name_is_given_once_only(bench: Bench) -> None:
    reply = await bench.call("POST", "keys", {"name": "the admin"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "name_taken")


async def test_unknown_keys_are_not_found(bench: Bench) -> None:
    for method, path in (("GET", "keys/x"), ("PATCH", "keys/x"), ("POST", "keys/x/rotate")):
        reply = await bench.call(method, path, {} if method == "PATCH" else None)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "key_not_found")


def test_answers_have_every_field_of_the_view() -> None:
    assert list(Key.model_fields) == list(KeyView.__struct_fields__)
