"""Every route of the management API, found in the application itself: who may call it, and that nobody else can."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from tests.relay.fakes import jwt

from qwen_gateway.relay.checks import LOOK_EVERY
from qwen_gateway.relay.key_changes import Terms
from qwen_gateway.server.admin.routes import PREFIX, AdminRoute, Gate, Routes, UndeclaredRole, check

from .bench import BOOTSTRAP, ELSEWHERE, HERE, STATIC, Bench

WRONG = "sk-qg-aaaaaaaaaa-" + "x" * 43
SESSION = f"token={jwt(id='u')}"
SETTINGS = f"{PREFIX}/accounts/{{name}}/settings"
"""Looking there asks the site, so it is not for viewers; and it is done every few seconds at most."""

BODIES: dict[str, object] = {
    "POST /accounts": {"session": SESSION},
    "POST /accounts/{name}/settings/silence": {"groups": ["memory"]},
    "POST /keys": {"name": "another"},
    "PATCH /keys/{key}": {"concurrency": 2},
}
"""What a plausible call sends. A route that takes a body and is not here fails the tests."""
QUERIES = {"DELETE /conversations": "?of=the%20client"}
"""What stands behind the path in a plausible call."""


class Caller(NamedTuple):
    """Who calls. viewer, admin: the status for routes that want this role; 200 stands for any success."""

    key: str
    viewer: int
    admin: int
    peer: str = HERE
    headers: dict[str, str] | None = None


CALLERS: dict[str, Caller] = {
    "nobody": Caller("", 401, 401),
    "a wrong key": Caller(WRONG, 401, 401),
    "a client's key": Caller("client", 403, 403),
    "a key of the settings": Caller(STATIC, 403, 403),
    "a viewer's key": Caller("viewer", 200, 403),
    "an admin's key": Caller("admin", 200, 200),
    "an admin's key from elsewhere": Caller("admin", 200, 200, ELSEWHERE),
    "an admin's key that is disabled": Caller("disabled", 401, 401),
    "an admin's key that has expired": Caller("expired", 401, 401),
    "the bootstrap key while there is an admin's": Caller(BOOTSTRAP, 401, 401),
}
BOOTSTRAPS: dict[str, Caller] = {
    "from this machine": Caller(BOOTSTRAP, 200, 200),
    "through a proxy": Caller(BOOTSTRAP, 403, 403, HERE, {"x-forwarded-for": HERE}),
    "from elsewhere": Caller(BOOTSTRAP, 403, 403, ELSEWHERE),
}


def below(routes: Sequence[BaseRoute]) -> Iterator[AdminRoute]:
    """The documented routes; those that take away come last."""
    check(routes)
    found = [route for route in routes if isinstance(route, AdminRoute) and route.include_in_schema]
    yield from sorted(found, key=lambda route: route.methods == {"DELETE"})


def method(route: AdminRoute) -> str:
    assert route.methods is not None
    (only,) = route.methods
    return only


def sample(route: AdminRoute, bench: Bench) -> tuple[str, str, object]:
    """Method, path and body of a plausible call."""
    name = f"{method(route)} {route.path.removeprefix(PREFIX)}"
    assert route.body_field is None or name in BODIES, f"{name} takes a body: say in BODIES what a call sends"
    path = route.path.replace("{name}", bench.account).replace("{key}", bench.id("client"))
    assert "{" not in path
    return method(route), path + QUERIES.get(name, ""), BODIES.get(name)


async def prepared(*, admins: bool = True) -> Bench:
    bench = Bench()
    await bench.open()
    bench.site.set = {"memory": {"enable_memory": True}}
    await bench.keep((bench.account, bench.id("client")))
    for name in ("disabled", "expired"):
        terms = Terms(name=name, role="admin", expires_at=bench.clock.now + 1 if name == "expired" else None)
        bench.text[name] = (await bench.changes.create(terms))[0]
    await bench.changes.disable("disabled")
    bench.clock.now += 2
    if not admins:
        await bench.changes.disable("the admin")
    return bench


async def tried(bench: Bench, caller: Caller) -> int:
    """Calls every route as this caller, and returns how many there are."""
    count = 0
    for number, route in enumerate(below(bench.framework.router.routes)):
        verb, path, body = sample(route, bench)
        if route.path == SETTINGS:
            bench.clock.now += LOOK_EVERY
        before = bench.state()
        # Each from its own address: who tries wrong keys again and again is soon told so instead.
        peer = f"127.0.1.{number}" if caller.peer == HERE else caller.peer
        key = bench.text.get(caller.key, caller.key)
        reply = await bench.call(verb, path, body, key=key, peer=peer, headers=caller.headers)
        wanted = caller.viewer if route.role == "viewer" else caller.admin
        where = f"{verb} {path}: {reply.status_code} {reply.text}"
        assert reply.status_code // 100 == 2 if wanted == 200 else reply.status_code == wanted, where
        assert reply.headers["cache-control"] == "no-store", where
        if wanted != 200:
            assert bench.state() == before, where
            assert reply.json()["error"]["type"] in ("authentication_error", "permission_error"), where
        count += 1
    return count


@pytest.mark.parametrize("who", CALLERS)
async def test_every_route_lets_in_those_that_it_declares(who: str) -> None:
    assert await tried(await prepared(), CALLERS[who]) >= 19


@pytest.mark.parametrize("how", BOOTSTRAPS)
async def test_the_bootstrap_key_opens_every_route_while_there_is_no_admin(how: str) -> None:
    assert await tried(await prepared(admins=False), BOOTSTRAPS[how]) >= 19


def test_what_is_looked_at_wants_a_viewer_and_what_changes_or_asks_the_site_wants_an_admin() -> None:
    for route in below(Bench().framework.router.routes):
        looks = method(route) == "GET" and route.path != SETTINGS
        assert route.role == ("viewer" if looks else "admin"), route.path


async def test_whoever_is_not_let_in_is_refused_before_the_body_is_read() -> None:
    bench = await prepared()

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was asked for")

    for route in below(bench.framework.router.routes):
        verb, path, _ = sample(route, bench)
        for key, wanted in (("", 401), (bench.text["client"], 403)):
            sent: list[Any] = []

            async def send(message: Any, sent: list[Any] = sent) -> None:
                sent.append(message)

            headers = [(b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json")]
            headers += [(b"authorization", f"Bearer {key}".encode())] if key else []
            scope = {
                "type": "http",
                "method": verb,
                "path": path.partition("?")[0],
                "raw_path": path.partition("?")[0].encode(),
                "query_string": path.partition("?")[2].encode(),
                "headers": headers,
                "client": (HERE, 50000),
            }
            await bench.app(scope, receive, send)
            assert sent[0]["status"] == wanted, path


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"origin": "https://evil.example"}, "origin_not_allowed"),
        ({"origin": "null"}, "origin_not_allowed"),
        ({"host": "evil.example"}, "host_not_allowed"),
    ],
)
async def test_foreign_pages_and_foreign_names_are_refused_whatever_the_key(header: dict[str, str], code: str) -> None:
    bench = await prepared()
    for route in below(bench.framework.router.routes):
        verb, path, body = sample(route, bench)
        before = bench.state()
        reply = await bench.call(verb, path, body, headers=header)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, code), path
        assert bench.state() == before
        assert "access-control-allow-origin" not in reply.headers


async def test_a_page_of_the_gateway_itself_may_call() -> None:
    reply = await (await prepared()).call("GET", "keys", headers={"origin": "http://127.0.0.1:8000"})
    assert reply.status_code == 200


async def test_other_paths_below_the_prefix_tell_strangers_nothing() -> None:
    bench = await prepared()
    for path in ("", "nothing", "accounts/x/y", "keys/x/y/z", "openapi.json", "%2e%2e/v1/models"):
        for verb in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
            at = f"{PREFIX}/{path}"
            assert (await bench.call(verb, at, key="")).status_code == 401
            assert (await bench.call(verb, at, key=bench.text["client"])).status_code == 403
            assert (await bench.call(verb, at, key=bench.text["viewer"])).status_code == 404


async def test_other_spellings_of_the_path_want_the_same_role() -> None:
    bench = await prepared()
    for path in ("/api//admin//keys", "/api/admin/keys/", "/qwen/api/admin/keys", "/api/admin/%6beys"):
        assert (await bench.call("GET", path, key="")).status_code == 401, path
        assert (await bench.call("GET", path, key=bench.text["client"])).status_code == 403, path
        assert (await bench.call("GET", path)).status_code == 200, path
    for path in ("/v1/api/admin/keys", "/API/admin/keys", "/api/admin;/keys"):
        assert (await bench.call("GET", path)).status_code == 404, path


async def test_other_methods_are_named_to_viewers_only() -> None:
    bench = await prepared()
    assert (await bench.call("PUT", "keys", key="")).status_code == 401
    reply = await bench.call("PUT", "keys", key=bench.text["viewer"])
    assert (reply.status_code, reply.json()["error"]["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("verb", ["OPTIONS", "TRACE", "PROPFIND", "CONNECT", "X"])
@pytest.mark.parametrize("path", ["", "/keys", "/nothing"])
async def test_whatever_the_method_the_key_and_the_names_are_looked_at_first(verb: str, path: str) -> None:
    bench = await prepared()
    for key, headers, wanted in (
        ("", {}, 401),
        (WRONG, {}, 401),
        (bench.text["client"], {}, 403),
        (bench.text["admin"], {"host": "evil.example"}, 403),
        (bench.text["viewer"], {}, 405 if path == "/keys" else 404),
    ):
        reply = await bench.call(verb, PREFIX + path, key=key, headers=headers)
        assert reply.status_code == wanted
        assert "allow" not in reply.headers


async def test_pages_of_other_origins_are_given_no_answer_of_the_management_api() -> None:
    bench = Bench(origins=["https://app.example"])
    await bench.open()
    page = {"origin": "https://app.example"}
    asks = {**page, "access-control-request-method": "GET", "access-control-request-headers": "authorization"}
    for path in (f"{PREFIX}/keys", f"/qwen{PREFIX}/keys", "/api//admin/keys/", PREFIX, f"{PREFIX}/nothing"):
        for verb, headers, key in (("OPTIONS", asks, ""), ("GET", page, ""), ("GET", page, None)):
            reply = await bench.call(verb, path, headers=headers, key=key)
            assert not [name for name in reply.headers if name.startswith("access-control")], path
            assert reply.status_code == (401 if key == "" else 200 if "keys" in path else 404)
    for verb, headers in (("OPTIONS", asks), ("GET", page)):
        for path in ("/v1/models", "/api/administrator"):
            reply = await bench.call(verb, path, headers=headers)
            assert reply.headers["access-control-allow-origin"] == "https://app.example"


@pytest.mark.parametrize("prefix", ["", "/qwen", "/api", "/api/admin", "/ap", "/api/adm"])
async def test_it_is_reached_with_and_without_the_prefix_whatever_that_is(prefix: str) -> None:
    bench = Bench(prefix=prefix)
    await bench.open()
    for path in (f"{PREFIX}/keys", f"{prefix}{PREFIX}/keys", f"{prefix}{PREFIX}/keys/the%20client"):
        assert (await bench.call("GET", path)).status_code == 200, path
        assert (await bench.call("GET", path, key=bench.text["client"])).status_code == 403, path
        assert (await bench.call("OPTIONS", path, key="")).status_code == 401, path
    assert (await bench.call("GET", f"{prefix}{PREFIX}")).status_code == 404
    assert (await bench.call("GET", "/v1/models")).status_code == 200
    if prefix != PREFIX:
        assert (await bench.call("GET", f"{prefix}/v1/models")).status_code == 200
        assert (await bench.call("GET", f"{prefix}/models")).status_code == 200


async def test_a_key_in_the_address_opens_nothing() -> None:
    bench = await prepared()
    for query in (f"key={bench.text['admin']}", f"api_key={bench.text['admin']}"):
        for key in ("", bench.text["admin"]):
            reply = await bench.call("GET", f"{PREFIX}/keys?{query}", key=key)
            assert (reply.status_code, reply.json()["error"]["code"]) == (401, "key_in_url")


# -- a route without a role


async def forgotten(_: Request) -> Response:
    return PlainTextResponse("wide open")


async def also_forgotten() -> str:
    return "wide open"


def _route(app: FastAPI) -> None:
    app.router.routes.append(Route(f"{PREFIX}/forgotten", forgotten))


def _api_route(app: FastAPI) -> None:
    app.add_api_route(f"{PREFIX}/forgotten", also_forgotten)


def _router(app: FastAPI) -> None:
    router = APIRouter()
    router.add_api_route("/forgotten", also_forgotten)
    app.include_router(router, prefix=PREFIX)


def _mount(app: FastAPI) -> None:
    app.router.routes.append(Mount("/api", routes=[Route("/admin/forgotten", forgotten)]))


def _opaque_mount(app: FastAPI) -> None:
    app.mount(PREFIX, PlainTextResponse("wide open"))


def _catch_all(app: FastAPI) -> None:
    app.router.routes.append(Route("/{path:path}", forgotten))


ADDITIONS = [_route, _api_route, _router, _mount, _opaque_mount, _catch_all]


@pytest.mark.parametrize("add", ADDITIONS)
async def test_a_route_that_declares_no_role_fails_these_tests_and_is_never_reached(add: Any) -> None:
    bench = await prepared()
    add(bench.framework)
    with pytest.raises(UndeclaredRole, match="does not say which role"):
        await tried(bench, CALLERS["nobody"])
    for key, wanted in (("", 401), (bench.text["client"], 403), (bench.text["admin"], 404)):
        assert (await bench.call("GET", "forgotten", key=key)).status_code == wanted


@pytest.mark.parametrize("add", ADDITIONS)
def test_an_application_that_has_such_a_route_already_does_not_start(add: Any) -> None:
    app = FastAPI()
    add(app)
    with pytest.raises(UndeclaredRole):
        Routes(app, Gate(Bench().service))


def test_routes_elsewhere_need_no_role() -> None:
    app = FastAPI()
    app.router.routes += [Route("/api/administrator", forgotten), Route("/v1/{name:path}", forgotten)]
    app.mount("/static", PlainTextResponse("a file"))
    check(app.router.routes)


def test_a_route_of_ours_cannot_be_made_without_a_role() -> None:
    with pytest.raises(TypeError, match="role"):
        AdminRoute("/x", also_forgotten, gate=Gate(Bench().service), largest=0)  # type: ignore[call-arg]
