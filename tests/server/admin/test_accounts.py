"""Accounts over HTTP."""

import threading

import msgspec
import pytest
from tests.relay.fakes import NOON, jwt

from qwen_gateway.relay import views
from qwen_gateway.server.admin import LARGEST_SESSION, accounts, routes
from qwen_gateway.server.admin.mistakes import Shown
from qwen_gateway.turn.faults import Blocked, Challenged, LoginExpired, StorageUnavailable

from .bench import MAX_BODY, Bench

SESSION = f"token={jwt(id='v')}; cna=1"


async def test_accounts_are_listed_and_found_by_id_or_name(bench: Bench) -> None:
    listed = (await bench.call("GET", "accounts")).json()["accounts"]
    assert [(one["id"], one["name"]) for one in listed] == [(bench.account, "main")]
    for name in (bench.account, "main"):
        assert (await bench.call("GET", f"accounts/{name}")).json() == listed[0]


async def test_a_session_is_given_and_kept(bench: Bench) -> None:
    bench.site.user = msgspec.structs.replace(bench.site.user, id="v")
    reply = await bench.call("POST", "accounts", {"session": SESSION, "name": "second"})
    assert reply.status_code == 201
    told = reply.json()
    assert (told["account"]["name"], told["account"]["state"], told["renewed"]) == ("second", "valid", False)
    assert told["user"] == "Some One <someone@example.invalid>"
    assert told["kept"] == ["2 cookies", "token"]
    assert len(bench.store.rows) == 2


@pytest.mark.parametrize("fault", [LoginExpired("Over. Log in again."), Blocked("Locked.")], ids=lambda one: one.code)
async def test_a_refused_session_is_told_in_the_sites_words(bench: Bench, fault: LoginExpired | Blocked) -> None:
    bench.site.says["whoami"].append(fault)
    reply = await bench.call("POST", "accounts", {"session": SESSION})
    assert reply.status_code == 422, "it is the given session that is at fault"
    assert reply.json()["error"] == {
        "message": fault.text,
        "type": "invalid_request_error",
        "param": None,
        "code": fault.code,
    }
    assert reply.headers["x-gateway-fault"] == "client"
    assert len(bench.store.rows) == 1


async def test_a_large_session_is_taken_where_other_bodies_are_small(bench: Bench) -> None:
    padded = {"session": f"{SESSION}; x={'y' * 60_000}", "name": ""}
    bench.site.user = msgspec.structs.replace(bench.site.user, id="v")
    assert (await bench.call("POST", "accounts", padded)).status_code == 201
    for path in ("keys", "accounts/main/settings/silence"):
        reply = await bench.call("POST", path, padded)
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")
    reply = await bench.call("POST", "accounts", {"session": "x" * MAX_BODY})
    assert reply.status_code == 413


async def test_sixteen_megabytes_are_the_most_however_large_requests_may_be() -> None:
    bench = Bench(max_body=64 * 1024 * 1024)
    await bench.open()
    for size, wanted in ((LARGEST_SESSION, 400), (LARGEST_SESSION + 1, 413)):
        reply = await bench.call("POST", "accounts", content=b" " * size, headers={"content-type": "application/json"})
        assert reply.status_code == wanted


async def test_a_large_session_is_decoded_beside_the_turns(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def decoded(body: bytes) -> object:
        threads.append(threading.get_ident())
        return msgspec.json.decode(body)

    monkeypatch.setattr(routes, "decoded", decoded)
    for padding in (10, routes.SMALL):
        reply = await bench.call("POST", "accounts", {"session": f"token={jwt(id='u')}; x={'y' * padding}"})
        assert reply.status_code == 201
    small, large = threads
    assert small == threading.get_ident()
    assert large != threading.get_ident()


async def test_a_large_body_that_is_no_json_is_told_like_a_small_one(bench: Bench) -> None:
    for padding in (10, routes.SMALL):
        body = b'{"session": "' + b"y" * padding
        reply = await bench.call("POST", "accounts", content=body, headers={"content-type": "application/json"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_json")
        assert "Unterminated string" in reply.json()["error"]["message"]


async def test_the_site_is_asked_about_an_account_every_five_seconds_at_most(bench: Bench) -> None:
    assert (await bench.call("POST", "accounts/main/check")).status_code == 200
    bench.clock.now += 1.5
    for method, path in (("POST", "check"), ("GET", "settings")):
        reply = await bench.call(method, f"accounts/{bench.account}/{path}")
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "4")
        assert reply.json()["error"]["code"] == "rate_limit_exceeded"
    bench.clock.now += 3.5
    assert (await bench.call("GET", "accounts/main/settings")).status_code == 200


async def test_an_account_with_settings_to_put_back_is_removed_by_force_only(bench: Bench) -> None:
    bench.site.set = {"memory": {"enable_memory": True}}
    await bench.call("POST", "accounts/main/settings/silence", {"groups": ["memory"]})
    for query in ("", "?force=false"):
        reply = await bench.call("DELETE", f"accounts/main{query}")
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "settings_changed")
    assert (await bench.call("DELETE", "accounts/main?force=perhaps")).json()["error"]["param"] == "force"
    assert len(bench.store.rows) == 1
    assert (await bench.call("DELETE", "accounts/main?force=true")).json()["name"] == "main"
    assert bench.store.rows == {}


async def test_a_check_tells_what_the_site_says(bench: Bench) -> None:
    bench.site.says["whoami"].append(Challenged("Solve the slider."))
    told = (await bench.call("POST", "accounts/main/check")).json()
    assert (told["state"], told["check_text"], told["checked_at"]) == ("challenged", "Solve the slider.", NOON)
    (rest,) = told["rests"]
    assert rest == {"what": "", "code": "upstream_challenge", "text": "Solve the slider.", "until": NOON + 60}


async def test_pausing_resuming_and_removing(bench: Bench) -> None:
    assert (await bench.call("POST", "accounts/main/pause")).json()["paused"] is True
    assert (await bench.call("POST", f"accounts/{bench.account}/resume")).json()["paused"] is False
    assert (await bench.call("DELETE", "accounts/main")).json()["name"] == "main"
    reply = await bench.call("GET", "accounts/main")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "account_not_found")


async def test_settings_at_the_site_are_switched_off_and_put_back(bench: Bench) -> None:
    bench.site.set = {"memory": {"enable_memory": True}, "mcp": {"maps": True}}
    listed = (await bench.call("GET", "accounts/main/settings")).json()["settings"]
    assert [(one["group"], one["path"], one["value"]) for one in listed] == [
        ("memory", "memory.enable_memory", "on"),
        ("tools", "mcp.maps", "on"),
    ]
    silenced = await bench.call("POST", "accounts/main/settings/silence", {"groups": ["memory"]})
    assert silenced.json() == {"settings": listed[:1]}
    assert bench.site.set == {"memory": {"enable_memory": False}, "mcp": {"maps": True}}
    assert (await bench.call("POST", "accounts/main/settings/restore")).json() == {"restored": ["memory.enable_memory"]}
    assert bench.site.set["memory"] == {"enable_memory": True}
    assert (await bench.call("POST", "accounts/main/settings/restore")).status_code == 404


async def test_unknown_groups_are_named(bench: Bench) -> None:
    reply = await bench.call("POST", "accounts/main/settings/silence", {"groups": ["memory", "all"]})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "groups[1]")


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>", "=cmd|' -C calc'!A0", "{{7*7}}%s${x}", "Ünïcödé 帳號"]
)
async def test_a_name_is_data_whatever_it_looks_like(bench: Bench, name: str) -> None:
    bench.site.user = msgspec.structs.replace(bench.site.user, id="v")
    reply = await bench.call("POST", "accounts", {"session": SESSION, "name": name})
    assert reply.json()["account"]["name"] == name
    listed = await bench.call("GET", "accounts")
    assert listed.json()["accounts"][1]["name"] == name
    assert listed.headers["content-type"] == "application/json"
    assert listed.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["a\r\nset-cookie: x=1", "a\x1b[2J", "a\u202eb", "a/b"])
async def test_a_name_that_could_break_lines_terminals_or_addresses_is_refused(bench: Bench, name: str) -> None:
    reply = await bench.call("POST", "accounts", {"session": SESSION, "name": name})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "name")
    assert "set-cookie" not in reply.headers


async def test_a_name_in_the_path_is_decoded_once(bench: Bench) -> None:
    bench.site.user = msgspec.structs.replace(bench.site.user, id="v")
    await bench.call("POST", "accounts", {"session": SESSION, "name": "50%20 & more"})
    assert (await bench.call("GET", "accounts/50%2520%20%26%20more")).json()["name"] == "50%20 & more"
    assert (await bench.call("GET", "accounts/50%20%20%26%20more")).status_code == 404


async def test_unknown_names_and_headers_that_break_out_are_told_as_text(bench: Bench) -> None:
    reply = await bench.call("GET", "accounts/%0d%0aset-cookie:%20x=1%3Cscript%3E")
    assert reply.status_code == 404
    assert "set-cookie" not in reply.headers
    assert reply.headers["content-type"] == "application/json"


async def test_who_may_not_look_is_not_told_which_accounts_there_are(bench: Bench) -> None:
    for key in ("", bench.text["client"]):
        there = await bench.call("GET", "accounts/main", key=key)
        not_there = await bench.call("GET", "accounts/other", key=key)
        assert there.content == not_there.content
        assert b"main" not in not_there.content


async def test_a_database_that_is_away_is_told(bench: Bench) -> None:
    bench.store.down = StorageUnavailable("The database does not answer.", retry_after=5)
    reply = await bench.call("POST", "accounts/main/pause")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
    assert (await bench.call("GET", "accounts")).status_code == 200


@pytest.mark.parametrize(
    ("view", "model"),
    [
        (views.AccountView, accounts.Account),
        (views.RestView, accounts.Rest),
        (views.LeakView, accounts.Setting),
        (views.Imported, accounts.ImportedAccount),
    ],
)
def test_answers_have_every_field_of_the_views(view: type[msgspec.Struct], model: type[Shown]) -> None:
    assert list(model.model_fields) == list(view.__struct_fields__)
