"""Who is asking: cookies, Bearer tokens, refresh.

Here: the rules of the site's sessions and the routes of `/auths/`. Not here: how tokens are made (`tokens`).
The real auth routes live on `auth.qwen.ai`; here they share the simulator's origin.
"""

import asyncio

from aiohttp import web

from .envelope import RefusedError, accept
from .faults import reply_of
from .refusals import REFUSALS
from .site import OWNER, SITE

REFRESH_COOKIE_SECONDS = 30 * 24 * 3600
# A jar of only two cookies was challenged where a whole one passed (A/B/A test, late Sep 2026).
WHOLE_JAR = {"acw_tc", "x-ap", "cna"}


def bearer(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def visitor(request: web.Request) -> str | None:
    """The account of a request; None is a guest, and so is who brings no good credential."""
    try:
        return account(request)
    except RefusedError:
        return None


def account(request: web.Request) -> str:
    """The account of a request that needs one. A dead credential is refused even beside a live one.

    Pair rule (22 Sep 2026): a Bearer token goes with the jar of the same account or is refused.
    """
    mint = request.app[SITE].mint
    given = [token for token in (bearer(request), request.cookies.get("token")) if token]
    claims = [mint.read(token) for token in given]
    users = {claim.id for claim in claims if claim is not None}
    if None in claims or len(users) != 1:
        raise RefusedError(REFUSALS["unauthorized"])
    return users.pop()


def writer(request: web.Request) -> str:
    """As `account`, for write endpoints: without `version` they answer Bad_Request (measured Sep 2026)."""
    if "source" not in request.headers or "version" not in request.headers:
        raise RefusedError(REFUSALS["bad_request"])
    return account(request)


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
    if site.switches.refresh_fault:
        return reply_of(site.switches.refresh_fault, request)
    user = _renewing(request)
    old = request.cookies.get("refresh_token")
    renewed = site.issue_refresh(user) if site.switches.rotate_refresh or old is None else old
    seconds = site.switches.access_token_seconds
    token = site.mint.access_token(user, seconds)
    claims = site.mint.read(token)
    expires = claims.exp if claims else 0
    answer = accept(request, {"access_token": token, "refresh_token": renewed, "expires_at": expires})
    answer.set_cookie("refresh_token", renewed, max_age=REFRESH_COOKIE_SECONDS, httponly=True, path="/")
    return answer


def _renewing(request: web.Request) -> str:
    """Whose session is renewed. A refresh token counts before the session cookie and is used up."""
    site = request.app[SITE]
    old = request.cookies.get("refresh_token")
    if old is None:
        claims = site.mint.read(request.cookies.get("token", ""))
        user = claims.id if claims else None
    elif site.switches.rotate_refresh:
        user = site.refresh_tokens.pop(old, None)
    else:
        user = site.refresh_tokens.get(old)
    if user is None:
        raise RefusedError(REFUSALS["unauthorized"])
    return user


async def who_am_i(request: web.Request) -> web.Response:
    """`GET /api/v2/auths/` (Oct 2026)."""
    return accept(request, _profile(account(request)))


async def who_am_i_v1(request: web.Request) -> web.Response:
    """`GET /api/v1/auths/`: no envelope, and a token with a later end (28 Jun 2026; Oct 2025)."""
    site = request.app[SITE]
    user = account(request)
    token = site.mint.long_token(user)
    claims = site.mint.read(token)
    permissions = {"file_upload": True, "delete": True, "edit": True, "temporary": True}
    session = {"token": token, "token_type": "Bearer", "expires_at": claims.exp if claims else 0}
    return web.json_response({**_profile(user), **session, "permissions": {"chat": permissions}})


def _profile(user: str) -> dict[str, object]:
    name = "Simulator" if user == OWNER else user
    return {"id": user, "email": f"{name.lower()}@example.invalid", "name": name, "role": "user"}


def routes() -> list[web.RouteDef]:
    return [
        web.get("/api/v2/auths/refresh", refresh),
        web.get("/api/v2/auths/", who_am_i),
        web.get("/api/v1/auths/", who_am_i_v1),
    ]
