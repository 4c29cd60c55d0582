"""Headers of the site's web client, without its fingerprints.

`bx-ua` and `bx-umidtoken` come from a script in the site's pages. We neither make nor replay them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from msgspec import Struct

from qwen_gateway import __version__
from qwen_gateway.turn.contracts import Identity, Moment

OWN_USER_AGENT = f"qwen-gateway/{__version__}"


class SiteConfig(Struct, frozen=True, kw_only=True):
    """Where the site is, and what changes there every few weeks.

    version: value of the `Version` header; writes without it are refused (measured 2026-09-22), and the
        sign-in host wants a recent one (0.3.12 in early October 2026).
    extra_headers: added to every call, by the operator's wish.
    max_body: bytes that a completion's body may have. The site challenges bodies of 128 KB and more; 117 KB
        passed (Rfym21/Qwen2API#147, 2026-08-04).
    """

    url: str = "https://chat.qwen.ai"
    auth_url: str = "https://auth.qwen.ai"
    version: str = "0.3.12"
    extra_headers: Mapping[str, str] = {}
    max_body: int = 117_000


def headers(
    config: SiteConfig, who: Identity, at: Moment, *, page: str = "/", accept: str = "application/json"
) -> dict[str, str]:
    """Headers of one call. `page`: the path of the site's page that would make it."""
    sent = {
        "Accept": accept,
        # Compression would cost both sides work on every event of a stream.
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "User-Agent": who.user_agent or OWN_USER_AGENT,
        "source": "web",
        "Version": config.version,
        "Timezone": _browser_date(int(at.now)),
        "X-Request-Id": at.request_id,
        "Origin": config.url,
        "Referer": config.url + page,
    }
    # Which of the two carries the session changed between 14 and 25 September 2026: send both.
    if who.cookie_header:
        sent["Cookie"] = who.cookie_header
    if who.bearer:
        sent["Authorization"] = f"Bearer {who.bearer}"
    sent.update(config.extra_headers)
    return sent


@lru_cache(maxsize=4)
def _browser_date(now: int) -> str:
    """As JavaScript writes a date, cut before the bracket: `Sat Sep 26 2026 00:12:28 GMT+0000`."""
    return datetime.fromtimestamp(now, UTC).strftime("%a %b %d %Y %H:%M:%S GMT+0000")
