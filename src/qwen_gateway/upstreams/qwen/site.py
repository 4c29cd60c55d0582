"""The site as an upstream: every call that the gateway makes there, and what its replies mean."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from qwen_gateway.turn.catalog import Catalog
from qwen_gateway.turn.contracts import Identity, Moment, Question, Tokens, User
from qwen_gateway.turn.faults import ChatLost, Drift, Fault, LoginExpired
from qwen_gateway.turn.files import Facts, Kind, SiteFile, Ticket
from qwen_gateway.turn.flow import Flow, HttpCall, HttpReply
from qwen_gateway.turn.places import Place, StoredMessage
from qwen_gateway.turn.prompt import Prompt
from qwen_gateway.upstreams.qwen import body, catalog, faults, files, stored, user
from qwen_gateway.upstreams.qwen.decoder import Decoder
from qwen_gateway.upstreams.qwen.headers import SiteConfig, headers

_encode = msgspec.json.encode


class QwenSite:
    """Satisfies `turn.contracts.Upstream`. Holds its configuration and nothing else."""

    name = "qwen"
    parses: frozenset[Kind] = files.PARSED
    fallback_catalog = catalog.FALLBACK
    aliases = catalog.ALIASES

    def __init__(self, config: SiteConfig) -> None:
        self._config = config

    def open_chat(self, who: Identity, at: Moment, prompt: Prompt, title: str) -> Flow[str]:
        """`title` is kept by the site until the first answer (body of G1; the body of September 2026 has none)."""
        sent = headers(self._config, who, at, page="/c/new-chat")
        told = _encode(
            {
                "title": title,
                "chatId": "",
                "models": [prompt.model],
                "project_id": "",
                "timestamp": int(at.now * 1000),  # milliseconds here, seconds in a completion
                "chat_type": body.chat_type(prompt),
                "chat_mode": "normal",
            }
        )
        data = _data((yield HttpCall("POST", self._config.url + "/api/v2/chats/new", sent, told)))
        if not isinstance(data, dict) or not isinstance(data.get("id"), str) or not data["id"]:
            raise Drift("Qwen's site made a chat without saying its id. The site may have changed.")
        return str(data["id"])

    def question(self, prompt: Prompt, files: int = 0) -> Question:
        return body.question(prompt, self._config.max_body, files)

    def room(self, files: int) -> int:
        return body.room(self._config.max_body, files)

    def ask(
        self, who: Identity, at: Moment, place: Place, question: Question, files: Sequence[SiteFile] = ()
    ) -> HttpCall:
        chat = quote(place.chat_id, safe="")
        sent = headers(self._config, who, at, page=f"/c/{chat}")
        sent["X-Accel-Buffering"] = "no"
        url = f"{self._config.url}/api/v2/chat/completions?chat_id={chat}"
        return HttpCall("POST", url, sent, body.completion(question, place, at, files))

    def decoder(self, chat_id: str) -> Decoder:
        return Decoder(chat_id)

    def is_stream(self, status: int, headers: Mapping[str, str]) -> bool:
        """A stream unless the reply says JSON or HTML, which mean an error or a challenge here."""
        kind = headers.get("content-type", "")
        return status == 200 and "json" not in kind and "html" not in kind

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> Fault | None:
        return faults.of_reply(status, headers, body)

    def stop(self, who: Identity, at: Moment, chat_id: str, answer_id: str | None) -> Flow[None]:
        """Ends a running answer. Closing the connection alone does not: the site goes on to write (2026-08)."""
        told = {"chat_id": chat_id, **({"response_id": answer_id} if answer_id else {})}
        path = f"/api/v2/chat/completions/stop?chat_id={quote(chat_id, safe='')}"
        sent = headers(self._config, who, at, page=f"/c/{quote(chat_id, safe='')}")
        reply = yield HttpCall("POST", self._config.url + path, sent, _encode(told))
        _envelope(reply)

    def discard(self, who: Identity, at: Moment, chat_id: str) -> Flow[None]:
        """Deletes the chat. One that is gone already counts as deleted, if the site itself says so: an address that is
        not there (HTTP 404 alone) means that this call has to be another one by now, and not that the chat is gone."""
        path = f"/api/v2/chats/{quote(chat_id, safe='')}"
        reply = yield HttpCall("DELETE", self._config.url + path, headers(self._config, who, at))
        try:
            _envelope(reply)
        except ChatLost:
            return

    def read_chat(self, who: Identity, at: Moment, chat_id: str) -> Flow[dict[str, StoredMessage]]:
        """Messages appear here a moment after their stream has ended, up to two seconds (2026-09)."""
        return stored.read(_data((yield self._get(who, at, f"/api/v2/chats/{quote(chat_id, safe='')}"))), chat_id)

    def find_titled(self, who: Identity, at: Moment, title: str) -> Flow[str | None]:
        """Looks at the first page of chats (about 50): the chat was made a moment before a crash."""
        data = _data((yield self._get(who, at, "/api/v2/chats/?page=1&exclude_project=true")))
        for chat in data if isinstance(data, list) else ():
            if isinstance(chat, dict) and chat.get("title") == title and isinstance(chat.get("id"), str):
                return str(chat["id"])
        return None

    def models(self, who: Identity, at: Moment) -> Flow[Catalog]:
        """The list depends on who asks. Falls back to the older address, which the site still served in 2026-09."""
        reply = yield self._get(who, at, "/api/v2/models/")
        if _is_gone(reply):
            reply = yield self._get(who, at, "/api/models")
        if _is_gone(reply):
            raise Drift("Qwen's list of models is not where it used to be. The site may have changed.")
        fault = self.refusal(reply.status, reply.headers, reply.body)
        if fault is not None:
            raise fault
        return catalog.read(reply.body)

    def ticket(self, who: Identity, at: Moment, file: Facts) -> Flow[Ticket]:
        """Falls back to the older address, which the site still served in 2026-09."""
        told = files.ticket_body(file)
        reply = yield self._post(who, at, "/api/v2/files/getstsToken", told)
        if _is_gone(reply):
            reply = yield self._post(who, at, "/api/v1/files/getstsToken", told)
        if _is_gone(reply):
            raise Drift("Qwen's site no longer takes files where it used to. The site may have changed.")
        try:
            value = _decoded(reply)
        except Fault as fault:
            raise files.ticket_fault(fault) from None
        return files.ticket(value.get("data", value), self._config.url)  # the older one answers without an envelope

    def parse(self, who: Identity, at: Moment, file_id: str) -> Flow[None]:
        reply = yield self._post(who, at, "/api/v2/files/parse", _encode({"file_id": file_id}))
        try:
            _envelope(reply)
        except Fault as fault:
            raise files.parser_fault(fault) from None

    def is_parsed(self, who: Identity, at: Moment, file_id: str) -> Flow[bool]:
        reply = yield self._post(who, at, "/api/v2/files/parse/status", _encode({"file_id_list": [file_id]}))
        try:
            data = _data(reply)
        except Fault as fault:
            raise files.parser_fault(fault) from None
        return files.is_parsed(data, file_id)

    def site_file(self, ticket: Ticket, file: Facts, at: Moment) -> SiteFile:
        return files.entry(ticket, file, at)

    def refresh(self, who: Identity, at: Moment) -> Flow[Tokens]:
        """A new access token (15 minutes) from the session's cookies. Raises LoginExpired."""
        sent = self._auth_headers(who, at)
        sent.pop("Authorization", None)  # the cookies are the credential here; an expired token only confuses
        reply = yield HttpCall("GET", f"{self._config.auth_url}/api/v2/auths/refresh", sent)
        _raise_auth(reply)
        data = _data(reply)
        token = data.get("access_token") if isinstance(data, dict) else None
        if not isinstance(token, str) or not token:
            raise LoginExpired("Qwen's site gave no new access token for this session. Log in there again.")
        refresh, expires = data.get("refresh_token"), data.get("expires_at")
        return Tokens(
            token,
            refresh if isinstance(refresh, str) and refresh else None,
            float(expires) if isinstance(expires, int | float) else None,
        )

    def whoami(self, who: Identity, at: Moment) -> Flow[User]:
        """Whose session it is. Asks the sign-in host, and the older address only where that one knows no such path:
        the older one gives the session a new cookie with each answer (2026-09), so it is no mere look."""
        sent = self._auth_headers(who, at)
        reply = yield HttpCall("GET", f"{self._config.auth_url}/api/v2/auths/", sent)
        if _is_gone(reply):
            reply = yield self._get(who, at, "/api/v1/auths/")
        if _is_gone(reply):
            raise Drift("Qwen's site no longer says whose session it is where it used to. The site may have changed.")
        _raise_auth(reply)
        return user.read(reply.body)

    def settings(self, who: Identity, at: Moment) -> Flow[dict[str, Any]]:
        return _object(_data((yield self._get(who, at, "/api/v2/users/user/settings"))))

    def change_settings(self, who: Identity, at: Moment, changes: dict[str, Any]) -> Flow[dict[str, Any]]:
        """Merges at the site, then reads what stands there: what the change itself answers was never published. The
        site may show the old values for a second or two more (ifan855/qwen-studio-reversed, 2026-09)."""
        _envelope((yield self._post(who, at, "/api/v2/users/user/settings/update", _encode(changes))))
        return (yield from self.settings(who, at))

    def _auth_headers(self, who: Identity, at: Moment) -> dict[str, str]:
        """The sign-in host wants to be told which site asks (2026-10)."""
        sent = headers(self._config, who, at)
        sent["x-request-origin"] = self._config.url
        sent["Sec-Fetch-Site"] = "same-site"
        return sent

    def _get(self, who: Identity, at: Moment, path: str) -> HttpCall:
        return HttpCall("GET", self._config.url + path, headers(self._config, who, at))

    def _post(self, who: Identity, at: Moment, path: str, told: bytes) -> HttpCall:
        return HttpCall("POST", self._config.url + path, headers(self._config, who, at), told)


def _is_gone(reply: HttpReply) -> bool:
    """Nothing is at this address. "Not found" is the same word for all things, so a chat's fault may mean it."""
    return reply.status == 404 or isinstance(faults.of_reply(reply.status, reply.headers, reply.body), ChatLost)


def _raise_auth(reply: HttpReply) -> None:
    fault = faults.of_auth_reply(reply.status, reply.headers, reply.body)
    if fault is not None:
        raise fault


def _object(data: object) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise Drift("Qwen's site sent settings in a form that the gateway does not know. The site may have changed.")
    return data


def _decoded(reply: HttpReply) -> dict[str, Any]:
    """An answer that is no refusal. Raises the fault that the reply stands for."""
    fault = faults.of_reply(reply.status, reply.headers, reply.body)
    if fault is not None:
        raise fault
    try:
        envelope = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise Drift("Qwen's site sent something that is not JSON. The site may have changed.") from problem
    if not isinstance(envelope, dict) or not envelope:
        raise Drift(_NEITHER)
    return envelope


_NEITHER = "Qwen's site sent an answer that says neither yes nor no. The site may have changed."


def _envelope(reply: HttpReply) -> dict[str, Any]:
    """The site's envelope around an answer. Raises the fault that the reply stands for."""
    envelope = _decoded(reply)
    if not (envelope.get("success") is True or "data" in envelope):
        raise Drift(_NEITHER)
    return envelope


def _data(reply: HttpReply) -> Any:
    """What the envelope holds. Raises the fault that the reply stands for."""
    envelope = _envelope(reply)
    if "data" not in envelope:
        raise Drift("Qwen's site sent an answer without data. The site may have changed.")
    return envelope["data"]
