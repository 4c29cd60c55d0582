"""Every mishap of files that can be programmed: one table.

Here: the names, what each does in a sentence, and the mishaps that are the whole answer of the site. Not here: those of
a ticket (`files`), of a document (`parsing`), of the object storage (`oss`); its refusals (`oss_refusals`).
"""

from aiohttp import web

from . import faults
from .envelope import refuse
from .mishaps import Mishap
from .oss_refusals import CODES
from .refusals import envelope

SITE_PLACES = ("ticket", "ticket_v1", "parse", "status")

MISHAPS: dict[str, dict[str, str]] = {
    "ticket": {
        "used_up": "`RateLimited`, as when the account has taken too many",
        "expired": "its credential is over before it is used",
        "wrong_id": "the `file_id` is that of no file, so a question that names it is asked without",
        "incomplete": "without `security_token` and `file_path`",
    },
    "parse": {
        "failed": "reading ends with `failed`",
        "never": "reading never ends",
        "service_down": "`success` is true, and the code `Internal_Server_Error`",
    },
    "status": {"service_down": "`success` is false, and the code `Internal_Server_Error`"},
    "oss": {
        "drop": "RST before the body is read",
        "cut": "RST once `received` bytes of the body have come",
        "lost": "it is done, but the answer is a RST",
    },
}
EVERYWHERE = {"gone": "a true HTTP 404"}
"""At every place of the site, besides the faults that are a whole answer."""

_GONE = envelope(404, "Not_Found", "Not Found")


def whole(what: str, request: web.Request) -> web.Response | None:
    """The answer of a mishap that needs to know nothing of files."""
    if what == "gone":
        answer = refuse(request, _GONE)
        answer.set_status(404)
        return answer
    if what and faults.whole(what):
        return faults.reply_of(what, request)
    return None


def complaint(mishap: Mishap) -> str | None:
    """Why it cannot happen, if so."""
    if not _known(mishap):
        return f"`what` names nothing that can happen at `{mishap.at}`: {mishap.what}"
    return mishap.complaint()


def _known(mishap: Mishap) -> bool:
    if mishap.at in SITE_PLACES:
        table = MISHAPS[mishap.at.removesuffix("_v1")]
        return mishap.what in table or mishap.what in EVERYWHERE or faults.whole(mishap.what)
    return mishap.what in MISHAPS["oss"] or mishap.what in CODES
