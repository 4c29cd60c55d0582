"""Asking: `/api/v2/chat/completions` and its stop.

Here: the course of one request, from check to record. Not here: the checks (`ask`, `auth`), the answer
(`scenes`, `demo`), the faults (`faults`).
"""

import asyncio
import json
import time
import uuid
from contextlib import suppress

from aiohttp import web

from . import catalog, demo, faults
from .ask import BODY_LIMIT, Ask, check_place, read
from .attached import Desk
from .auth import check_jar, credential, writer
from .envelope import RefusedError, ShutOutError, accept
from .frames import Ids
from .pictures import shown
from .play import Play
from .refusals import REFUSALS
from .seen import Seen, Status, raw_request
from .site import SITE, Site, Stream
from .tree import Chat
from .turns import Turn
from .ways import check_limit
from .wire import StoppedError, Wire


async def complete(request: web.Request) -> web.StreamResponse:
    site = request.app[SITE]
    body = await request.read()
    seen = _see(request, body)
    seen.account = credential(request).account
    site.seen.append(seen)
    if seen.account is not None:
        site.tallies[seen.account].asked += 1
    try:
        ask, chat = _checked(request, body)
        desk = Desk(site, chat.user, request.host)
        attached = desk.look(ask.files)
        seen.attached = [one.as_json() for one in attached]
        refused = any(one.status == "refused" for one in attached)
        turn = Turn(error="invalid_input") if refused else _turn(site, ask, chat, desk)
    except (RefusedError, ShutOutError):
        seen.end("error")
        raise
    fault = faults.named(turn)
    if fault is not None and turn.after_chunks is None:
        reply = faults.loss(fault, site, chat, ask.parent) or fault.whole
        if reply is not None:
            return await _refuse(request, turn, reply, seen)
    return await _play(request, turn, ask, chat, seen)


async def _refuse(request: web.Request, turn: Turn, reply: faults.Reply, seen: Seen) -> web.Response:
    """A fault in place of a stream. It asks nothing of the chat and leaves nothing in it."""
    outcome: Status = "aborted"
    try:
        await asyncio.sleep(turn.first_byte_ms / 1000)
        outcome = "error"
        seen.first_byte = time.time()
        return reply(request, turn)
    finally:
        seen.end(outcome)


def _see(request: web.Request, body: bytes) -> Seen:
    """The record of a request as it arrived, well-formed or not."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return Seen(raw_request(request, body.decode(errors="replace")), size=len(body))
    try:
        message = parsed["messages"][0]
        features = message.get("feature_config", {})
    except (LookupError, TypeError, AttributeError):
        return Seen(raw_request(request, parsed), size=len(body))
    if not isinstance(features, dict):
        features = {}
    return Seen(
        raw_request(request, parsed),
        size=len(body),
        prompt=str(message.get("content", "")),
        model=str(parsed.get("model", "")),
        chat_id=str(parsed.get("chat_id", "")),
        parent=_text(parsed.get("parent_id")),
        files=list(message.get("files") or []),
        thinking=bool(features.get("thinking_enabled")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _checked(request: web.Request, body: bytes) -> tuple[Ask, Chat]:
    """The request as the site understands it. The firewall stands before everything else."""
    site = request.app[SITE]
    if len(body) >= BODY_LIMIT:
        raise RefusedError(REFUSALS["challenge"])
    user = writer(request)
    check_jar(request)
    ask = read(body, request.query.get("chat_id"))
    chat = check_place(ask, site.chat_of(user, ask.chat_id), catalog.ids(site))
    check_limit(site.behaviour(user), ask.model)
    return ask, chat


def _turn(site: Site, ask: Ask, chat: Chat, desk: Desk) -> Turn:
    turn = site.take(ask.prompt)
    if turn is not None:
        return turn
    return Turn() if site.controlled else demo.turn(ask, chat.branch(ask.parent), desk.look, site.delay_ms)


async def _play(request: web.Request, turn: Turn, ask: Ask, chat: Chat, seen: Seen) -> web.StreamResponse:
    site = request.app[SITE]
    stream = Stream(chat.id, seen)
    wire = Wire(request, stream, turn.tcp_bytes)
    ids = Ids(chat.id, str(uuid.uuid4()), str(uuid.uuid4()))
    play = Play(wire, turn, ask, chat, ids, site.switches.stored_after_ms / 1000)
    site.streams.add(stream)
    chat.running = True
    outcome: Status = "aborted"
    try:
        await wire.pause(turn.first_byte_ms / 1000)
        await _perform(request, play)
        outcome = "complete" if play.finished else "error"
    except StoppedError:
        with suppress(ConnectionError):
            await wire.end()
    except ConnectionError:
        outcome = "aborted"
    finally:
        chat.running = False
        site.streams.discard(stream)
        play.close(outcome == "error")
        if outcome == "aborted" and not seen.stopped:
            # The model goes on by itself when a client just leaves (late Sep 2026): the chat stays busy.
            play.leave(site.switches.busy_after_abort_ms / 1000)
        seen.end(outcome)
    return wire.response


async def _perform(request: web.Request, play: Play) -> None:
    turn, fault = play.turn, faults.named(play.turn)
    raw = turn.raw_bytes()
    if raw is not None:
        await _send_raw(play, raw)
        return
    play.load(turn, shown(request, turn, play.ids))
    if play.ask.role != "user":
        # A `system` message gets a stream with nothing in it (late Sep 2026).
        while len(play.frames) > 1:
            play.frames.pop()
    if fault is None:
        await play.rest()
    elif fault.play is not None:
        await fault.play(play)
    else:
        await faults.say(play, fault)


async def _send_raw(play: Play, raw: bytes) -> None:
    """Programmed bytes: a whole HTTP answer if they begin like one, else the body of a stream."""
    if raw.startswith(b"HTTP/1."):
        play.wire.raw(raw)
        play.wire.hang_up()
    else:
        await play.wire.write(raw)
        await play.wire.end()
    play.finished = True


async def stop(request: web.Request) -> web.Response:
    """Ends the running answer of a chat: `{"chat_id", "response_id"}` (Aug 2026), or without the query."""
    site = request.app[SITE]
    user = writer(request)
    try:
        body = json.loads(await request.read())
        chat_id = request.query.get("chat_id") or body["chat_id"]
    except (ValueError, LookupError, TypeError) as error:
        raise RefusedError(REFUSALS["missing_chat_id"]) from error
    chat = site.chat_of(user, str(chat_id))
    if chat is None:
        raise RefusedError(REFUSALS["not_found"])
    site.stops += 1
    chat.stop()
    for stream in site.streams:
        if stream.chat == chat_id:
            stream.stop()
    return accept(request, {"status": True})


def routes() -> list[web.RouteDef]:
    return [
        web.post("/api/v2/chat/completions", complete),
        web.post("/api/v2/chat/completions/stop", stop),
    ]
