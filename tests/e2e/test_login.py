"""Logging in from whatever a browser hands out, beside a gateway that runs; and what else people do with commands."""

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.accounts import browsers
from tests.cli.forking import forking

from qwen_gateway import __version__
from qwen_gateway.app import bootstrap
from qwen_gateway.simulator import Simulator

from . import process, wire
from .process import Gateway
from .rig import Done, Tap, command, tapped, until, until_async
from .wire import Answer, Json, ask, request_bytes

OWN = f"qwen-gateway/{__version__}"
KEY = "sk-test-0123456789"


class Home(NamedTuple):
    """A person's machine: a data directory, the site, and a gateway that runs."""

    directory: Path
    sim: Simulator
    site: Tap
    gateway: Gateway
    line: list[str]

    async def command(self, *arguments: str, given: str | bytes = "") -> Done:
        return await command(self.directory, *arguments, given=given, line=self.line, site_url=self.site.url)

    async def ask(self, key: str | None = KEY, text: str = "hello") -> Answer:
        return await wire.exchange(self.gateway.url, request_bytes("/v1/chat/completions", ask(text), key=key))

    async def manage(self, method: str, path: str, body: Json | None = None) -> Answer:
        key = (self.directory / "data" / bootstrap.FILE).read_text().strip()
        request = request_bytes(f"/api/admin{path}", body, key=key, method=method, content_type="application/json")
        return await wire.exchange(self.gateway.url, request)

    async def accounts(self) -> dict[str, Json]:
        """What the running gateway has, by name."""
        found = (await self.manage("GET", "/accounts")).json()["accounts"]
        return {account["name"]: account for account in found}

    async def give(self, user: str, name: str, cookies: str = "") -> None:
        """An account that the gateway has from now on."""
        body = {"session": cookies or self.sim.cookies(user), "name": name}
        assert (await self.manage("POST", "/accounts", body)).status == 201

    async def behave(self, **users: str) -> None:
        body = {"site": {"accounts": {user: {"state": state} for user, state in users.items()}}}
        assert (await wire.exchange(self.sim.url, request_bytes("/__sim/program", body))).status == 200


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Home]:
    directory = tmp_path_factory.mktemp("house")
    async with Simulator() as sim, tapped(sim.url) as site:
        # Programs that call it have a key, so that it does not change who is let in when others are made.
        with process.serve(directory, site_url=site.url, api_keys=KEY) as gateway, forking() as line:
            yield Home(directory, sim, site, gateway, line)


@pytest.fixture
async def home(house: Home) -> Home:
    """No account is known, and the site remembers nothing."""
    for account in (await house.accounts()).values():
        assert (await house.manage("DELETE", f"/accounts/{account['id']}")).status == 200
    assert (await wire.exchange(house.sim.url, request_bytes("/__sim/reset", {}))).status == 200
    house.site.sent.clear()
    return house


def _jar(cookies: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in cookies.split("; "))


def _secrets(cookies: str) -> list[str]:
    return [value for name, value in _jar(cookies).items() if name in ("token", "refresh_token", "acw_tc")]


# --- ways in

WAYS: dict[str, tuple[str, str]] = {
    # name: how it is given, and the User-Agent that the site must see afterwards
    "header": ("pipe", OWN),
    "token": ("pipe", OWN),
    "bash": ("pipe", browsers.AGENT),
    "cmd": ("pipe", browsers.AGENT),
    "har": ("file", browsers.AGENT),
    "cookiestxt": ("file", OWN),
    "renewable": ("api", browsers.AGENT),
}


def _pasted(name: str, cookies: str, ended: str) -> str:
    """ended: an access token whose time is over."""
    jar = _jar(cookies)
    if name == "renewable":
        del jar["token"]
        return browsers.firefox_bash(jar, ended)
    forms = {
        "header": f"Cookie: {cookies}",
        "token": f"Bearer {jar['token']}",
        "bash": browsers.chrome_bash(jar),
        "cmd": browsers.chrome_cmd(jar),
        "har": browsers.har(jar),
        "cookiestxt": browsers.cookies_txt(jar),
    }
    return forms[name]


async def test_each_form_becomes_an_account_that_a_running_gateway_uses(home: Home) -> None:
    # The last one's token is over, and is renewed in the course of it, which uses up what was pasted.
    cookies = {name: home.sim.cookies(name) for name in WAYS}
    ended = home.sim.access_token("renewable", expires_in=-5)

    async def give(name: str) -> str:
        text, (way, _) = _pasted(name, cookies[name], ended), WAYS[name]
        if way == "api":
            answer = await home.manage("POST", "/accounts", {"session": text, "name": name})
            assert answer.status == 201, answer.body
            return answer.body.decode()
        if way == "file":
            path = home.directory / f"{name}.export"
            path.write_text(text)
            done = await home.command("login", "--name", name, "--file", str(path))
            assert "still holds your login" in done.err
        else:
            done = await home.command("login", "--name", name, given=text)
        assert done.code == 0, (name, done)
        assert f"Account:  {name} (new)" in done.out
        assert f"Whose:    {name} <{name}@example.invalid>" in done.out
        return done.out + done.err

    told = await asyncio.gather(*(give(name) for name in WAYS))
    listed = await home.command("accounts", "list", "--json")
    accounts = {one["name"]: one for one in listed.json()["accounts"]}
    assert set(accounts) == set(WAYS)
    assert {(one["state"], one["source"], one["paused"]) for one in accounts.values()} == {("valid", "imported", False)}

    async def knows_all() -> bool:
        return set(await home.accounts()) == set(WAYS)

    await until_async(knows_all)
    answers = await asyncio.gather(*(home.ask() for _ in range(2 * len(WAYS))))
    assert {answer.status for answer in answers} == {200}
    seen = {one.account: one.raw["headers"] for one in home.sim.site.seen}
    assert set(seen) == set(WAYS)
    for name, headers in seen.items():
        assert isinstance(headers, dict)
        assert name is not None
        assert headers["User-Agent"] == WAYS[name][1], name
    for name, value in _jar(cookies["bash"]).items():
        assert f"{name}={value}" in str(seen["bash"]), "the whole jar goes on"
    assert home.sim.site.refreshes == 1, "what the import renewed was stored"
    _nothing_but_what_is_kept(home.site)
    for secret in [secret for one in cookies.values() for secret in _secrets(one)]:
        assert secret not in "".join(told) + listed.out + listed.err


SENT = {
    "host", "accept", "accept-encoding", "content-type", "content-length", "user-agent", "origin", "referer", "cookie",
    "authorization", "source", "version", "timezone", "x-request-id", "x-request-origin", "x-accel-buffering",
    "sec-fetch-site",
}  # fmt: skip


def _nothing_but_what_is_kept(site: Tap) -> None:
    """Of pasted requests, the site sees cookies, token and User-Agent: no fingerprints, no body, no other header."""
    requests = site.requests()
    assert len(requests) > 3 * len(WAYS)
    for path, headers in requests:
        assert set(headers) <= SENT, (path, set(headers) - SENT)
    sent = bytes(site.sent).lower()
    for part in (b"bx-", b"sec-ch-ua", b"chromium", b"blanked", b'cookie: a=b"'):
        assert part not in sent, part


async def test_a_fresh_login_of_a_known_account_renews_it(home: Home) -> None:
    first, second = home.sim.cookies("ann"), home.sim.cookies("ann")
    await home.give("ann", "work", first)
    done = await home.command("login", "--json", given=browsers.chrome_bash(_jar(second)))
    told = done.json()
    assert (told["renewed"], told["account"]["name"], told["kept"]) == (
        True,
        "work",
        ["7 cookies", "token", "User-Agent"],
    )

    async def uses_it() -> bool:
        assert (await home.ask()).status == 200
        headers = home.sim.site.seen[-1].raw["headers"]
        assert isinstance(headers, dict)
        return _jar(headers["Cookie"])["refresh_token"] == _jar(second)["refresh_token"]

    await until_async(uses_it)
    assert set(await home.accounts()) == {"work"}


# --- ways that end at the door


class Outcome(NamedTuple):
    """code, says: of `login`; `None` where the API alone is asked. status, told: of the API, `told` being the code of
    an error or the state of the account that is stored."""

    code: int | None
    says: str
    status: int
    told: str


OUTCOMES = {
    "garbage": Outcome(2, "not recognised", 400, "invalid_value"),
    "guest": Outcome(None, "", 400, "invalid_value"),
    "expired": Outcome(3, "session has ended, so nothing was stored", 422, "upstream_auth_required"),
    "blocked": Outcome(None, "", 422, "upstream_blocked"),
    "pending": Outcome(4, "is not confirmed", 422, "upstream_blocked"),
    "challenged": Outcome(None, "", 201, "valid"),  # only those who write meet this wall
    "walled": Outcome(5, "solve the check", 201, "challenged"),
    "unreachable": Outcome(6, "cannot be reached", 201, "unreachable"),
    "down": Outcome(None, "", 201, "unreachable"),
}
PASTED = {"garbage": "canary-paste what is this?", "guest": "cna=canary-paste; acw_tc=1"}


async def test_sessions_that_cannot_be_used_are_told_apart_and_only_doubtful_ones_are_stored(home: Home) -> None:
    states = {name: name for name in OUTCOMES if name not in PASTED}
    await home.behave(**states, **{f"my {name}": state for name, state in states.items()})

    async def by_command(name: str) -> None:
        text = PASTED.get(name) or home.sim.cookies(f"my {name}")
        done, expected = await home.command("login", "--name", f"my {name}", given=text), OUTCOMES[name]
        assert done.code == expected.code, (name, done)
        assert expected.says in " ".join((done.out + done.err).split()), (name, done)
        assert "Traceback" not in done.err
        _assert_untold(done.out + done.err, text)

    async def by_request(name: str) -> None:
        text, expected = PASTED.get(name) or home.sim.cookies(name), OUTCOMES[name]
        answer = await home.manage("POST", "/accounts", {"session": text, "name": name})
        told = answer.json()["account"]["state"] if answer.status == 201 else answer.error()["code"]
        assert (answer.status, told) == (expected.status, expected.told), name
        _assert_untold(answer.body.decode(), text)

    commands = [by_command(name) for name, outcome in OUTCOMES.items() if outcome.code is not None]
    await asyncio.gather(*commands, *(by_request(name) for name in OUTCOMES))
    stored = {name: outcome.told for name, outcome in OUTCOMES.items() if outcome.status == 201}
    stored |= {f"my {name}": state for name, state in stored.items() if OUTCOMES[name].code is not None}

    async def knows_them() -> bool:
        return {name: account["state"] for name, account in (await home.accounts()).items()} == stored

    await until_async(knows_them)


def _assert_untold(told: str, pasted: str) -> None:
    assert "canary-paste" not in told
    for secret in _secrets(pasted) if "token=" in pasted else []:
        assert secret not in told


async def test_refusals_in_json_and_arguments(home: Home) -> None:
    await home.behave(ann="expired")
    cookies = home.sim.cookies("ann")
    expired, argument = await asyncio.gather(
        home.command("accounts", "add", "--json", given=cookies), home.command("login", cookies)
    )
    assert (expired.code, expired.out) == (3, "")
    assert (argument.code, argument.out) == (2, "")
    assert "does not belong on the command line" in argument.err
    assert cookies not in argument.err
    for secret in _secrets(cookies):
        assert secret not in argument.err + expired.err
    assert await home.accounts() == {}


async def test_a_check_tells_later_what_the_site_says_then(home: Home) -> None:
    users = ["ok", "expired", "walled", "blocked", "pending", "unreachable"]
    for user in users:
        await home.give(user, user)
    await home.behave(**{user: user for user in users})
    states = {"ok": "valid", "expired": "expired", "walled": "challenged", "blocked": "blocked", "pending": "blocked",
              "unreachable": "unreachable"}  # fmt: skip
    for user in users:
        assert (await home.manage("POST", f"/accounts/{user}/check")).json()["state"] == states[user]
    done = await home.command("accounts", "check", "--json")
    assert done.code == 1
    assert {one["name"]: one["state"] for one in done.json()["accounts"]} == states
    assert all(one["check_text"] for one in done.json()["accounts"])
    told = await home.command("accounts", "check", "expired")
    assert told.code == 1
    assert "Log in" in told.out


# --- a running gateway follows


def _stored_rests(directory: Path) -> int:
    with contextlib.closing(sqlite3.connect(directory / "data" / "gateway.db")) as database:
        return int(database.execute("SELECT count(*) FROM pauses").fetchone()[0])


async def test_pausing_resuming_and_removing_take_effect_in_the_running_gateway(home: Home) -> None:
    await home.give("ann", "work")

    async def answers(status: int, code: str = "") -> bool:
        answer = await home.ask()
        return answer.status == status and (not code or answer.error()["code"] == code)

    await until_async(lambda: answers(200))
    assert (await home.command("accounts", "pause", "work")).code == 0
    await until_async(lambda: answers(503, "account_paused"))
    assert (await home.command("accounts", "resume", "work")).code == 0
    await until_async(lambda: answers(200))
    await home.behave(ann="challenged")
    await until_async(lambda: answers(503, "upstream_challenge"))
    await home.behave(ann="ok")
    assert await answers(503, "upstream_challenge"), "it rests for two minutes"

    await until(lambda: _stored_rests(home.directory) == 1)
    assert (await home.command("accounts", "resume", "work")).code == 0
    await until_async(lambda: answers(200))
    assert (await home.command("accounts", "remove", "work", "--yes")).code == 0
    await until_async(lambda: answers(503, "no_account"))
    gone = await home.command("accounts", "pause", "work")
    assert gone.code == 2
    assert "no account 'work'" in gone.err


async def test_keys_take_effect_in_the_running_gateway_and_its_usage_is_told(home: Home) -> None:
    await home.give("ann", "work")
    made = await home.command("keys", "create", "--name", "laptop", "--tokens-per-day", "1000000")
    key = made.out.strip()
    assert re.fullmatch(r"sk-qg-[a-z2-7]{10}-[A-Za-z0-9_-]{43}", key)
    assert key not in made.err

    async def answers(status: int, text: str = key) -> bool:
        return (await home.ask(text)).status == status

    await until_async(lambda: answers(200))
    new = (await home.command("keys", "rotate", "laptop", "--json")).json()["key"]
    await until_async(lambda: answers(401))
    assert await answers(200, new)
    assert (await home.command("keys", "disable", "laptop")).code == 0
    await until_async(lambda: answers(401, new))
    asked = len(home.sim.site.seen)

    async def told() -> bool:
        done = await home.command("usage", "--json", "--by", "key")
        rows = {row["label"]: row["requests"] - row["failed"] for row in done.json()["rows"]}
        assert key not in done.out
        return bool(rows.get("laptop") == asked)

    await until_async(told, 10)
    listed = await home.command("keys", "list", "--json")
    assert key not in listed.out
    assert new not in listed.out
    assert listed.json()["keys"][0]["tokens_today"] > 0
