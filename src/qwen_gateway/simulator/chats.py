"""Chats over HTTP: create, list, read, delete.

Here: the routes of `/api/v2/chats`. Not here: what a chat is (`tree`) and asking in it (`completions`).
"""

import msgspec
from aiohttp import web

from .auth import account, writer
from .envelope import RefusedError, accept
from .faults import reply_of
from .refusals import REFUSALS, field_wrong
from .site import SITE
from .tree import NEW_TITLE, Chat

PAGE = 50  # "a page holds 50 or so" (14 Sep 2026)


class _New(msgspec.Struct):
    """Both bodies: that of 2025 has a title, that of Sep 2026 a `chatId`; the simulator needs neither."""

    models: list[str]
    title: str = ""
    chat_type: str = "t2t"
    project_id: str = ""


async def new(request: web.Request) -> web.Response:
    site = request.app[SITE]
    user = writer(request)
    if site.switches.chats_new_fault:
        return reply_of(site.switches.chats_new_fault, request)
    try:
        body = msgspec.json.decode(await request.read(), type=_New)
    except msgspec.DecodeError as error:
        raise RefusedError(field_wrong("body", str(error))) from error
    if not body.models:
        raise RefusedError(field_wrong("models", "List should have at least 1 item"))
    chat = Chat(user, body.models[0], body.title or NEW_TITLE, body.chat_type, body.project_id or None)
    site.chats[chat.id] = chat
    return accept(request, {"id": chat.id})


async def listing(request: web.Request) -> web.Response:
    """Newest first; an empty page ends the list (web 0.3.12 pages on until then)."""
    user = account(request)
    page = request.query.get("page", "1")
    if not page.isdecimal() or page == "0":
        raise RefusedError(field_wrong("page", "Input should be greater than 0"))
    mine = [chat for chat in request.app[SITE].chats.values() if chat.user == user and not chat.deleted]
    mine.sort(key=lambda chat: chat.updated, reverse=True)
    start = (int(page) - 1) * PAGE
    return accept(request, [chat.listed() for chat in mine[start : start + PAGE]])


async def tree(request: web.Request) -> web.Response:
    return accept(request, _mine(request, account(request)).as_json())


async def delete(request: web.Request) -> web.Response:
    """After it: GET says Not_Found, a completion CHAT_NOT_FOUND (late Sep 2026)."""
    site = request.app[SITE]
    user = writer(request)
    if site.switches.delete_fault:
        return reply_of(site.switches.delete_fault, request)
    chat = _mine(request, user)
    chat.deleted = True
    site.deleted.append(chat.id)
    return accept(request, {"status": True})


def _mine(request: web.Request, user: str) -> Chat:
    chat = request.app[SITE].chat_of(user, request.match_info["chat_id"])
    if chat is None:
        raise RefusedError(REFUSALS["not_found"])
    return chat


def routes() -> list[web.RouteDef]:
    return [
        web.post("/api/v2/chats/new", new),
        web.get("/api/v2/chats/", listing),
        web.get("/api/v2/chats/{chat_id}", tree),
        web.delete("/api/v2/chats/{chat_id}", delete),
    ]
