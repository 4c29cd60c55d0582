"""Who is asking: cookies, Bearer tokens, refresh.

Here: the rules of the site's sessions and the routes of `/auths/`. Not here: how tokens are made (`tokens`).
The real auth routes live on `auth.qwen.ai`; here they share the simulator's origin.
"""

import asyncio
import re
import time
from dataclasses import dataclass

from aiohttp import web

from .accounts import Purpose
from .envelope import RefusedError, accept
from .faults import reply_of
from .refusals import REFUSALS
from .site import OWNER, SITE
from .ways import meet

REFRESH_COOKIE_SECONDS = 30 * 24 * 3600
# A jar of only two cookies was challenged where a whole one passed (A/B/A test, late Sep 2026).
WHOLE_JAR = {"acw_tc", "x-ap", "cna"}


def bearer(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


@dataclass(frozen=True)
class Credential:
    """What a request brings. `account`: whose it is, also when it is over; None is a guest, or a mixture."""

    account: str | None
    alive: bool


_CREDENTIAL = web.RequestKey("credential", Credential)


def credential(request: web.Request) -> Credential:
    """Read once for each request. A refresh token only tells whose it is."""
    known = request.get(_CREDENTIAL)
    if known is None:
        known = request[_CREDENTIAL] = _read(request)
    return known


def _read(request: web.Request) -> Credential:
    site = request.app[SITE]
    cookies = request.cookies
    given = [token for token in (bearer(request), cookies.get("token")) if token]
    claims = [site.mint.claims(token) for token in given]
    users = {claim.id for claim in claims if claim is not None}
    if given:
        now = time.time()
        alive = len(users) == 1 and all(claim is not None and claim.exp > now for claim in claims)
        return Credential(users.pop() if len(users) == 1 else None, alive)
    renewing = cookies.get("refresh_token", "")
    return Credential(site.refresh_tokens.get(renewing) or site.used_refresh_tokens.get(renewing), alive=False)


def visitor(request: web.Request) -> str | None:
    """The account of a request; None is a guest, and so is who brings no good credential."""
    try:
        return account(request)
    except RefusedError:
        return None


def account(request: web.Request, purpose: Purpose = "read") -> str:
    """The account of a request that needs one. A dead credential is refused even beside a live one.

    Pair rule (22 Sep 2026): a Bearer token goes with the jar of the same account or is refused.
    """
    found = credential(request)
    _meet_state(request, purpose)
    if found.account is None or not found.alive:
        raise RefusedError(REFUSALS["unauthorized"])
    return found.account


def _meet_state(request: web.Request, purpose: Purpose) -> None:
    """Before anything is looked at more closely: a firewall does not ask whether a token is over."""
    if (user := credential(request).account) is not None:
        meet(request.app[SITE].behaviour(user), purpose)


def writer(request: web.Request) -> str:
    """As `account`, for write endpoints: without `version` they answer Bad_Request (measured Sep 2026)."""
    if "source" not in request.headers or "version" not in request.headers:
        raise RefusedError(REFUSALS["bad_request"])
    return account(request, "write")


def check_jar(request: web.Request) -> None:
    """With `strict_jar` on, a completion needs a browser's whole jar, as measured on 22 Sep 2026."""
    if request.app[SITE].switches.strict_jar and not WHOLE_JAR.issubset(request.cookies):
        raise RefusedError(REFUSALS["challenge"])


async def refresh(request: web.Request) -> web.Response:
    """A new access token for a refresh token, or for the long session cookie alone (late Sep 2026)."""
    site = request.app[SITE]
    await asyncio.sleep(site.switches.refresh_delay_ms / 1000)
    if not {"source", "version", "x-request-origin"} <= {name.lower() for name in request.headers}:
        raise RefusedError(REFUSALS["invalid_header"])
    site.refreshes += 1
    user = _renewed(request)
    if user is not None:
        site.tallies[user].refreshes += 1
        meet(site.behaviour(user), "renew")
    if site.switches.refresh_fault:
        return reply_of(site.switches.refresh_fault, request)
    renewed = _take_refresh(request, user)
    if user is None or renewed is None:
        raise RefusedError(REFUSALS["unauthorized"])
    token = site.mint.access_token(user, site.switches.access_token_seconds)
    claims = site.mint.claims(token)
    expires = claims.exp if claims else 0
    answer = accept(request, {"access_token": token, "refresh_token": renewed, "expires_at": expires})
    answer.set_cookie("refresh_token", renewed, max_age=REFRESH_COOKIE_SECONDS, httponly=True, path="/")
    return answer


def _renewed(request: web.Request) -> str | None:
    """Whose session is to be renewed. A refresh token counts before the session cookie."""
    site = request.app[SITE]
    old = request.cookies.get("refresh_token")
    if old is not None:
        return site.refresh_tokens.get(old) or site.used_refresh_tokens.get(old)
    claims = site.mint.read(request.cookies.get("token", ""))
    return claims.id if claims else None


def _take_refresh(request: web.Request, user: str | None) -> str | None:
    """The refresh token to go on with. The old one is good once; None: it was used before, or is none of ours."""
    site = request.app[SITE]
    old = request.cookies.get("refresh_token")
    if user is None or (old is not None and old not in site.refresh_tokens):
        return None
    if old is not None:
        if not site.switches.rotate_refresh:
            return old
        site.used_refresh_tokens[old] = site.refresh_tokens.pop(old)
    return site.issue_refresh(user)


async def who_am_i(request: web.Request) -> web.Response:
    """`GET /api/v2/auths/` (Oct 2026)."""
    site = request.app[SITE]
    _count_whoami(request)
    _meet_state(request, "who")
    if site.switches.whoami_fault:
        return reply_of(site.switches.whoami_fault, request)
    return accept(request, _profile(request, account(request, "who")))


async def who_am_i_v1(request: web.Request) -> web.Response:
    """`GET /api/v1/auths/`: no envelope, and a token with a later end (28 Jun 2026; Oct 2025), which is also set as
    the session's cookie (a public client's note of Sep 2026)."""
    site = request.app[SITE]
    _count_whoami(request)
    user = account(request, "who")
    token = site.mint.long_token(user)
    claims = site.mint.claims(token)
    permissions = {"file_upload": True, "delete": True, "edit": True, "temporary": True}
    session = {"token": token, "token_type": "Bearer", "expires_at": claims.exp if claims else 0}
    answer = web.json_response({**_profile(request, user), **session, "permissions": {"chat": permissions}})
    answer.set_cookie("token", token, path="/")
    return answer


def _count_whoami(request: web.Request) -> None:
    site = request.app[SITE]
    site.whoamis += 1
    if (user := credential(request).account) is not None:
        site.tallies[user].whoamis += 1


def _profile(request: web.Request, user: str) -> dict[str, object]:
    name = "Simulator" if user == OWNER else user
    mailbox = re.sub(r"[^a-z0-9]+", ".", name.lower()).strip(".") or "somebody"
    role = "pending" if request.app[SITE].behaviour(user).state == "pending" else "user"
    return {"id": user, "email": f"{mailbox}@example.invalid", "name": name, "role": role}


def routes() -> list[web.RouteDef]:
    return [
        web.get("/api/v2/auths/refresh", refresh),
        web.get("/api/v2/auths/", who_am_i),
        web.get("/api/v1/auths/", who_am_i_v1),
    ]
