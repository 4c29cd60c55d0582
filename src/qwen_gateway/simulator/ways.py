"""What accounts in each state are told: valid, expired, challenged, blocked and so on, several at once.

Here: one table, and its use. Not here: whose call it is (`auth`), and faults that meet everybody (`faults`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from .accounts import Behaviour, Purpose, State
from .envelope import Refusal, RefusedError, ShutOutError, marks
from .faults import reply_of
from .refusals import REFUSALS, envelope
from .wire import drop

ALL: frozenset[Purpose] = frozenset({"read", "write", "who", "renew"})


@dataclass(frozen=True)
class Way:
    """A row: what an account in this state is told, and on which calls. `answer` is for what is no sentence."""

    says: str
    on: frozenset[Purpose] = frozenset()
    refusal: Refusal | None = None
    answer: Callable[[web.Request], web.StreamResponse] | None = None


# A firewall's block page: no slider, no way out. Invented; no such page of this site was published.
_BLOCK_PAGE = """<!doctype html><html><head><title>403 Forbidden</title></head>
<body><h1>Access denied</h1><p>Your request is not permitted by the policy of this website.</p></body></html>"""


def _block_page(request: web.Request) -> web.StreamResponse:
    return web.Response(status=403, text=_BLOCK_PAGE, content_type="text/html", headers=marks(request, 403))


WAYS: dict[State, Way] = {
    "ok": Way("as an account should"),
    "expired": Way("`Unauthorized` on everything, refresh too", ALL, REFUSALS["unauthorized"]),
    # The wall stands before writing (30 Sep 2026); looking and refreshing passed at the same hour.
    "challenged": Way("the slider (JSON) on everything that writes", frozenset({"write"}), REFUSALS["challenge"]),
    "walled": Way(
        "the slider page (HTML) on everything but refresh",
        ALL - {"renew"},
        answer=lambda request: reply_of("challenge_html", request),
    ),
    "blocked": Way("HTTP 403 with a page that offers no slider, on everything", ALL, answer=_block_page),
    # That the role says it was reported in May 2026; the refusal's words are ours.
    "pending": Way(
        "role `pending` when asked who it is, `Unauthorized` (`not activated`) on reading and writing",
        frozenset({"read", "write"}),
        envelope(401, "Unauthorized", "Your account is not activated."),
    ),
    "rate_limited": Way("`RateLimited` on questions to `model` (all without one), for `num` hours"),
    "down": Way("HTTP 503 on everything", ALL, answer=lambda request: reply_of("http_503", request)),
    "unreachable": Way("a reset on everything", ALL, answer=drop),
}


def meet(behaviour: Behaviour, purpose: Purpose) -> None:
    """Turns a call away if the account's state wants it so."""
    way = WAYS[behaviour.state]
    if purpose not in way.on:
        return
    if way.refusal is not None:
        raise RefusedError(way.refusal)
    if way.answer is not None:
        raise ShutOutError(way.answer)


def check_limit(behaviour: Behaviour, model: str) -> None:
    """The day's limit of a model, asked for with a question that is otherwise in order."""
    if behaviour.state != "rate_limited" or behaviour.model not in {None, model}:
        return
    if behaviour.num is None:
        raise RefusedError(REFUSALS["rate_limit_no_num"])
    told = REFUSALS["rate_limit"].body["data"]
    known = told if isinstance(told, dict) else {}
    raise RefusedError(Refusal(429, {"success": False, "data": {**known, "num": behaviour.num}}))
