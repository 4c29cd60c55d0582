"""Who is let in, wherever in the request the key is; what the others are told; and how often they may try."""

import base64
import itertools
from collections.abc import Callable

import pytest

from qwen_gateway.relay.key_changes import KeyChanges, Terms
from qwen_gateway.relay.keys import Key, Keys
from qwen_gateway.relay.ports import Ambient, KeyRecord, Role
from qwen_gateway.server.callers import MAX_ADDRESSES, MAX_KEY, MAX_WRONG, Caller, Door, Headers, TooManyWrongKeys
from qwen_gateway.turn.faults import BadKey, Fault, Forbidden, StorageUnavailable

CHAT, GEMINI, ADMIN = "/v1/chat/completions", "/v1beta/models/q:generateContent", "/admin/api/keys"
HERE, ELSEWHERE = "127.0.0.1", "198.51.100.7"
BOOTSTRAP = "bootstrap-of-256-random-bits"
JWT = b"aGVhZA.bWlkZGxl.c2ln"
MADE_UP = "sk-qg-aaaaaaaaaa-" + "x" * 43


class Shelf:
    """Satisfies `KeyStore`, in memory. away: the database does not answer."""

    def __init__(self) -> None:
        self.kept: dict[str, KeyRecord] = {}
        self.away = False

    async def load(self) -> list[KeyRecord]:
        if self.away:
            raise StorageUnavailable("The database does not answer.")
        return list(self.kept.values())

    async def add(self, key: KeyRecord) -> None:
        self.kept[key.id] = key

    async def replace(self, key: KeyRecord) -> bool:
        self.kept[key.id] = key
        return True


class Bench:
    def __init__(
        self, *static: str, pass_through: bool = False, may_be_open: bool = True, bootstrap: str = BOOTSTRAP
    ) -> None:
        self.now = 1_000_000.0
        self.shelf = Shelf()
        ambient, count = Ambient(lambda: self.now, lambda: "id"), itertools.count(1)
        self.keys = Keys(self.shelf, ambient, static=static, stale_after=30)
        self.changes = KeyChanges(
            self.keys,
            self.shelf,
            ambient,
            token_bytes=lambda size: next(count).to_bytes(size, "little"),
            endpoints=("openai_chat",),
        )
        self.door = Door(
            self.keys,
            pass_through=pass_through,
            may_be_open=may_be_open,
            bootstrap=bootstrap,
            clock=lambda: self.now,
        )

    async def key(self, role: Role = "client", name: str = "laptop") -> str:
        return (await self.changes.create(Terms(name=name, role=role)))[0]

    def code(self, *headers: tuple[bytes, bytes], path: str = CHAT, query: bytes = b"", peer: str = ELSEWHERE) -> str:
        return refused(lambda: self.door.admit(headers, path, query, peer))

    def admin_code(self, *headers: tuple[bytes, bytes], peer: str | None = HERE) -> str:
        return refused(lambda: self.door.admit_admin(headers, ADMIN, b"", peer, "admin"))


def refused(call: Callable[[], Caller]) -> str:
    """The code of the refusal, or who was let in."""
    try:
        return call().kind
    except Fault as fault:
        return fault.code


def bearer(key: str | bytes) -> tuple[bytes, bytes]:
    return (b"authorization", b"Bearer " + (key.encode() if isinstance(key, str) else key))


Carried = tuple[Headers, str, bytes]
PLACES: dict[str, Callable[[bytes], Carried]] = {
    "bearer": lambda key: ([(b"authorization", b"Bearer " + key)], CHAT, b""),
    "bearer in other letters": lambda key: ([(b"authorization", b"bEARER  " + key + b" ")], CHAT, b""),
    "x-api-key": lambda key: ([(b"host", b"a"), (b"x-api-key", key)], CHAT, b""),
    "x-goog-api-key": lambda key: ([(b"x-goog-api-key", key)], GEMINI, b""),
    "Gemini's parameter": lambda key: ([], GEMINI, b"alt=sse&key=" + key),
    "two places": lambda key: ([(b"x-api-key", key), (b"authorization", b"Bearer " + key)], GEMINI, b"key=" + key),
}
VERDICTS = [
    "key",
    "static",
    "invalid_api_key",
    "key_disabled",
    "key_expired",
    "storage_unavailable",
    "never loaded",
    "too_many_wrong_keys",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("verdict", VERDICTS)
async def test_the_verdict_is_the_same_wherever_the_key_was_carried(place: str, verdict: str) -> None:
    bench = Bench("static-key")
    if verdict != "never loaded":
        await bench.keys.reload()
    text = await bench.key() if verdict.startswith("key") else MADE_UP
    if verdict == "static":
        text = "static-key"
    elif verdict == "key_disabled":
        await bench.changes.disable("laptop")
    elif verdict == "key_expired":
        await bench.changes.change("laptop", Terms(expires_at=bench.now + 1))
        bench.now += 1
    elif verdict == "storage_unavailable":
        bench.now += 31
    elif verdict == "too_many_wrong_keys":
        for _ in range(MAX_WRONG):
            bench.code(bearer("wrong"))
    expected = {"static": "key", "never loaded": "storage_unavailable"}.get(verdict, verdict)
    headers, path, query = PLACES[place](text.encode())
    assert refused(lambda: bench.door.admit(headers, path, query, ELSEWHERE)) == expected


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer   ")],
        [(b"x-api-key", b" ")],
        [(b"authorization", b"Basic " + base64.b64encode(b"user:static-key"))],
        [(b"authorization", b"static-key")],
        [(b"api-key", b"static-key")],
        [(b"cookie", b"key=static-key")],
    ],
)
async def test_keys_elsewhere_are_no_keys_and_the_answer_names_the_places(headers: Headers) -> None:
    bench = Bench("static-key")
    with pytest.raises(BadKey, match=r"Authorization: Bearer …`, `x-api-key: …` or `x-goog-api-key: …") as caught:
        bench.door.admit(headers, CHAT)
    assert (caught.value.code, caught.value.status) == ("missing_api_key", 401)


@pytest.mark.parametrize(
    "given",
    [
        b"static-key\0",
        b"\xff\xfe",
        "schlüssel".encode(),
        b"' OR 1=1--",
        b'"; DROP TABLE keys',
        b"sk-%",
        b'{"key":1}',
        b"static-ke",
        b"static-key static-key",
    ],
)
@pytest.mark.parametrize("pass_through", [False, True])
async def test_what_is_no_key_is_refused(given: bytes, pass_through: bool) -> None:
    bench = Bench("static-key", pass_through=pass_through)
    await bench.keys.reload()
    assert bench.code(bearer(given)) == "invalid_api_key"


def test_a_key_that_is_longer_than_any_is_not_even_looked_up() -> None:
    door = Bench("k" * (MAX_KEY + 1), "k" * MAX_KEY).door
    assert door.admit([bearer("k" * MAX_KEY)], CHAT).kind == "key"
    with pytest.raises(BadKey, match="longer than any"):
        door.admit([bearer("k" * (MAX_KEY + 1))], CHAT)


@pytest.mark.parametrize(
    "headers",
    [
        [bearer("static-key"), (b"x-api-key", b"other")],
        [bearer("static-key"), bearer("other")],
        [(b"x-goog-api-key", b"other"), (b"x-api-key", b"static-key")],
    ],
)
def test_two_different_keys_are_refused_even_if_one_is_right(headers: Headers) -> None:
    with pytest.raises(BadKey, match="two different keys"):
        Bench("static-key").door.admit(headers, CHAT)


def test_two_different_keys_are_refused_when_one_is_in_the_address() -> None:
    with pytest.raises(BadKey, match="two different keys"):
        Bench("static-key").door.admit([bearer("static-key")], GEMINI, b"key=other")


@pytest.mark.parametrize("query", [b"key=static-key", b"a=1&api_key=static-key", b"%6bey=static-key", b"API_KEY=x"])
@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/v1betamax", "/"])
def test_keys_in_addresses_are_refused_where_no_client_needs_them(query: bytes, path: str) -> None:
    door = Bench("static-key").door
    for headers in ([], [bearer("static-key")]):
        with pytest.raises(BadKey, match="end up in logs") as caught:
            door.admit(headers, path, query)
        assert (caught.value.code, caught.value.status) == ("key_in_url", 401)
    with pytest.raises(BadKey, match="end up in logs"):
        door.admit_admin([], path, query, HERE, "viewer")


def test_other_parameters_are_nobodys_business_but_their_number_is_bounded() -> None:
    door = Bench("static-key").door
    assert door.admit([bearer("static-key")], CHAT, b"alt=sse&monkey=1&key=").kind == "key"
    with pytest.raises(BadKey, match="too many"):
        door.admit([], GEMINI, b"key=a" + b"&a=1" * 200)


async def test_a_key_in_geminis_address_may_be_written_with_escapes() -> None:
    bench = Bench()
    text = await bench.key()
    escaped = "".join(f"%{byte:02x}" for byte in text.encode()).encode()
    assert bench.door.admit([], GEMINI, b"key=" + escaped).key is not None


async def test_a_caller_comes_with_what_the_key_may() -> None:
    bench = Bench()
    text = await bench.key("viewer")
    caller = bench.door.admit([bearer(text)], CHAT)
    assert caller.key is not None
    assert (caller.key.name, caller.key.role, caller.token) == ("laptop", "viewer", None)


async def test_without_any_key_whoever_reaches_the_port_is_let_in_until_one_is_made() -> None:
    bench = Bench()
    await bench.keys.reload()
    assert bench.door.is_open
    assert bench.code() == bench.code(bearer("anything")) == "open"
    await bench.key()
    assert not bench.door.is_open
    assert bench.code() == "missing_api_key"


async def test_a_revoked_key_does_not_open_the_door_again() -> None:
    bench = Bench()
    await bench.key()
    await bench.changes.disable("laptop")
    assert not bench.door.is_open
    assert bench.code() == "missing_api_key"


async def test_a_door_that_other_machines_reach_is_never_open() -> None:
    bench = Bench(may_be_open=False)
    await bench.keys.reload()
    assert not bench.door.is_open
    assert bench.code() == "missing_api_key"


async def test_a_database_that_is_away_does_not_open_the_door() -> None:
    bench = Bench()
    bench.shelf.away = True
    with pytest.raises(StorageUnavailable):
        await bench.keys.reload()
    for headers in ((), (bearer(MADE_UP),), (bearer("x"),)):
        assert bench.code(*headers) == "storage_unavailable"
    bench.shelf.away = False
    await bench.keys.reload()
    assert bench.code() == "open"
    bench.now += 31  # another process may have made a key since
    assert not bench.door.is_open
    assert bench.code() == "storage_unavailable"


async def test_in_pass_through_a_token_is_the_callers_own_and_keys_win() -> None:
    bench = Bench("static.key.here", pass_through=True)
    text = await bench.key()
    assert bench.door.admit([bearer(JWT)], CHAT) == Caller("token", token=JWT.decode())
    assert bench.door.admit([(b"x-api-key", JWT)], CHAT).token == JWT.decode()
    assert bench.door.admit([bearer(text)], CHAT).key is not None
    assert bench.door.admit([bearer("static.key.here")], CHAT).token is None
    await bench.changes.disable("laptop")
    assert bench.code(bearer(text)) == "key_disabled"
    assert bench.code() == "missing_api_key"
    assert not bench.door.is_open
    with pytest.raises(BadKey, match="wants your Qwen token"):
        bench.door.admit([bearer("no-token")], CHAT)


async def test_in_pass_through_tokens_need_no_database() -> None:
    bench = Bench(pass_through=True)
    assert bench.code(bearer(JWT)) == "token"
    assert bench.code(bearer(MADE_UP)) == "storage_unavailable"
    assert bench.code() == "missing_api_key"


@pytest.mark.parametrize(
    ("role", "needed", "verdict"),
    [
        ("client", "viewer", "role_not_sufficient"),
        ("client", "admin", "role_not_sufficient"),
        ("viewer", "viewer", "key"),
        ("viewer", "admin", "role_not_sufficient"),
        ("admin", "viewer", "key"),
        ("admin", "admin", "key"),
    ],
)
async def test_managing_wants_a_role(role: Role, needed: Role, verdict: str) -> None:
    bench = Bench()
    headers = [bearer(await bench.key(role))]
    assert needed != "client"
    assert refused(lambda: bench.door.admit_admin(headers, ADMIN, b"", ELSEWHERE, needed)) == verdict
    assert refused(lambda: bench.door.admit(headers, CHAT)) == "key"


async def test_managing_is_never_open_and_never_for_keys_of_the_settings_or_tokens() -> None:
    bench = Bench()
    await bench.keys.reload()
    assert bench.door.is_open
    assert bench.admin_code() == "missing_api_key"
    assert bench.admin_code(bearer("wrong")) == "invalid_api_key"
    static = Bench("static-key", pass_through=True)
    await static.keys.reload()
    assert static.admin_code(bearer("static-key")) == "role_not_sufficient"
    assert static.admin_code(bearer(JWT)) == "invalid_api_key"


async def test_the_bootstrap_key_is_an_admins_until_there_is_one_that_works() -> None:
    bench = Bench()
    await bench.keys.reload()
    for peer in (HERE, "127.8.8.8", "::1", "::ffff:127.0.0.1"):
        caller = bench.door.admit_admin([bearer(BOOTSTRAP)], ADMIN, b"", peer, "admin")
        assert caller.key is not None
        assert (caller.key.id, caller.key.role) == ("bootstrap", "admin")
    await bench.key("viewer", "v")
    assert bench.admin_code(bearer(BOOTSTRAP)) == "key"
    await bench.key("admin", "a")
    with pytest.raises(BadKey, match="there is an admin's key now"):
        bench.door.admit_admin([bearer(BOOTSTRAP)], ADMIN, b"", HERE, "viewer")
    await bench.changes.disable("a")
    assert bench.admin_code(bearer(BOOTSTRAP)) == "key"


async def test_the_bootstrap_key_takes_no_turns() -> None:
    bench = Bench("static-key")
    await bench.keys.reload()
    assert bench.code(bearer(BOOTSTRAP), peer=HERE) == "invalid_api_key"


@pytest.mark.parametrize("peer", [None, "", "unix", "localhost", ELSEWHERE, "192.168.0.2", "::2", "::ffff:10.0.0.1"])
async def test_the_bootstrap_key_does_not_work_from_elsewhere(peer: str | None) -> None:
    bench = Bench()
    await bench.keys.reload()
    assert bench.admin_code(bearer(BOOTSTRAP), peer=peer) == "bootstrap_not_from_here"


@pytest.mark.parametrize(
    "name", [b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-real-ip", b"via"]
)
async def test_the_bootstrap_key_does_not_work_through_a_proxy(name: bytes) -> None:
    bench = Bench()
    await bench.keys.reload()
    with pytest.raises(Forbidden, match="not through a proxy"):
        bench.door.admit_admin([bearer(BOOTSTRAP), (name, b"")], ADMIN, b"", HERE, "admin")


async def test_the_bootstrap_key_does_not_work_while_admins_may_be_unknown() -> None:
    bench = Bench()
    assert bench.admin_code(bearer(BOOTSTRAP)) == "storage_unavailable"
    await bench.keys.reload()
    bench.now += 31
    assert bench.admin_code(bearer(BOOTSTRAP)) == "storage_unavailable"


async def test_an_empty_bootstrap_key_never_works() -> None:
    bench = Bench(bootstrap="")
    await bench.keys.reload()
    assert bench.admin_code(bearer("")) == "missing_api_key"
    assert bench.admin_code((b"x-api-key", b"")) == "missing_api_key"
    assert bench.admin_code(bearer(BOOTSTRAP)) == "invalid_api_key"


async def test_too_many_wrong_keys_end_the_tries_of_that_address_and_no_others() -> None:
    bench = Bench("right")
    await bench.keys.reload()
    for n in range(MAX_WRONG):
        assert bench.code(bearer(f"wrong-{n}")) == "invalid_api_key"
        bench.now += 1
    with pytest.raises(TooManyWrongKeys) as caught:
        bench.door.admit([bearer("wrong")], CHAT, peer=ELSEWHERE)
    assert (caught.value.status, caught.value.retryable) == (429, False)
    assert caught.value.retry_after == 60 - MAX_WRONG
    assert bench.code(bearer("right")) == "key", "a right key is looked up first"
    assert bench.code(bearer("wrong"), peer=HERE) == "invalid_api_key"
    assert bench.admin_code(bearer("wrong"), peer=ELSEWHERE) == "too_many_wrong_keys"
    bench.now += caught.value.retry_after or 0
    assert bench.code(bearer("wrong")) == "invalid_api_key"


async def test_only_wrong_keys_are_counted() -> None:
    bench = Bench("right", pass_through=True)
    text = await bench.key()
    await bench.changes.disable("laptop")
    for _ in range(MAX_WRONG + 5):
        assert bench.code() == "missing_api_key"
        assert bench.code(bearer(text)) == "key_disabled"
        assert bench.code(bearer(JWT)) == "token"
    assert bench.code(bearer("wrong")) == "invalid_api_key"


async def test_one_who_has_many_ipv6_addresses_is_counted_once() -> None:
    bench = Bench("right")
    await bench.keys.reload()
    for n in range(MAX_WRONG):
        assert bench.code(bearer("wrong"), peer=f"2001:db8::{n:x}") == "invalid_api_key"
    assert bench.code(bearer("wrong"), peer="2001:db8::ffff%eth0") == "too_many_wrong_keys"
    assert bench.code(bearer("wrong"), peer="2001:db8:0:1::1") == "invalid_api_key"


async def test_addresses_are_forgotten_oldest_first_when_there_are_too_many() -> None:
    bench = Bench("right")
    await bench.keys.reload()
    for _ in range(MAX_WRONG):
        bench.code(bearer("wrong"), peer=HERE)
    for n in range(MAX_ADDRESSES - 1):
        bench.code(bearer("wrong"), peer=f"10.0.{n // 256}.{n % 256}")
    assert bench.code(bearer("wrong"), peer=HERE) == "too_many_wrong_keys"
    bench.code(bearer("wrong"), peer="10.9.9.9")
    assert bench.code(bearer("wrong"), peer=HERE) == "invalid_api_key"
    assert len(bench.door._wrong._seen) == MAX_ADDRESSES


def test_a_callers_token_is_not_shown() -> None:
    token = JWT.decode()
    shown = repr(Caller("token", token=token))
    assert token not in shown
    assert "token" in shown
    assert repr(Caller("key", Key("id", "name"))) == "Caller(key, id)"
