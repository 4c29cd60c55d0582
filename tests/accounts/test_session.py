"""A session as it lives on: renewed cookies, tokens at their end."""

import base64
import json

import pytest

from qwen_gateway.accounts.credential import Credential
from qwen_gateway.accounts.session import REFRESH_BEFORE, Session
from qwen_gateway.turn.contracts import Identity, Tokens

NOW = 1_790_000_000.0


def jwt(**payload: object) -> str:
    part = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return f"e30.{part}.sig"


def access(exp: float | None, user: str = "u") -> str:
    return jwt(id=user, type="access_token", **({} if exp is None else {"exp": exp}))


def session(token: str | None = None, /, **cookies: str) -> Session:
    return Session(Credential(cookies, token))


def test_a_session_is_what_an_upstream_needs() -> None:
    who: Identity = Session(Credential({"a": "1", "b": "2"}, "t"), "Mozilla/5.0")
    assert (who.cookie_header, who.bearer, who.user_agent) == ("a=1; b=2", "t", "Mozilla/5.0")


def test_a_session_without_anything() -> None:
    bare = session()
    assert (bare.cookie_header, bare.bearer, bare.expires_at) == ("", None, None)
    assert not bare.expired(NOW)
    assert not bare.needs_refresh(NOW)


def test_the_key_is_the_users_and_not_the_tokens() -> None:
    one, other = session(access(NOW, "u")), session(access(NOW + 900, "u"), a="1")
    assert one.key == other.key
    assert len({one.key, session(access(NOW, "v")).key, session("x.y.z").key, session(a="1").key}) == 4
    assert repr(one) == f"Session({one.key})"


# --- Set-Cookie ---

LINES: dict[str, tuple[str, str]] = {
    # name: line, the jar that was `a=1; b=2`
    "another": ("c=3; Path=/; HttpOnly", "a=1; b=2; c=3"),
    "a new value": ("a=9; Domain=.qwen.ai; Secure; SameSite=None", "a=9; b=2"),
    "a value with signs": ("a=x=y; Max-Age=60", "a=x=y; b=2"),
    "no value": ("a=; Path=/", "b=2"),
    "max-age zero": ("a=9; Max-Age=0", "b=2"),
    "max-age below zero": ("a=9; max-age = -1", "b=2"),
    "max-age above zero": ("a=9; Max-Age=1800; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "a=9; b=2"),
    "max-age garbage": ("a=9; Max-Age=--5", "a=9; b=2"),
    "max-age a small two": ("a=9; Max-Age=²", "a=9; b=2"),
    "max-age of many digits": ("a=9; Max-Age=" + "9" * 9000, "a=9; b=2"),
    "an end in 1970": ("a=9; Expires=Thu, 01-Jan-1970 00:00:00 GMT", "b=2"),
    "an end that has passed": ("a=9; expires=Fri, 01 Jan 2021 00:00:00 GMT", "b=2"),
    "an end to come": ("a=9; Expires=Fri, 01 Jan 2100 00:00:00 GMT", "a=9; b=2"),
    "an end that cannot be read": ("a=9; Expires=soon", "a=9; b=2"),
    "no pair": ("nonsense", "a=1; b=2"),
    "no name": ("=x", "a=1; b=2"),
    "a control character": ("a=x\x00y", "a=1; b=2"),
    "nothing": ("", "a=1; b=2"),
    "the end of an unknown one": ("z=; Max-Age=0", "a=1; b=2"),
}


@pytest.mark.parametrize(("line", "jar"), LINES.values(), ids=LINES.keys())
def test_cookies_of_replies(line: str, jar: str) -> None:
    one = session(a="1", b="2")
    one.absorb((line,), NOW)
    assert one.cookie_header == jar


def test_no_lines_change_nothing() -> None:
    one = session(a="1")
    one.absorb((), NOW)
    assert one.cookie_header == "a=1"


@pytest.mark.parametrize(
    ("token", "follows"),
    [
        (jwt(exp=NOW + 5), True),  # a long token: the newer one counts
        (access(NOW + 5), False),  # an access token that lives
        (access(None), False),
        (access(NOW), True),
        (None, True),
    ],
)
def test_a_renewed_token_cookie_is_used_unless_an_access_token_lives(token: str | None, follows: bool) -> None:
    one, longer = session(token), jwt(exp=NOW + 10**6)
    one.absorb((f"token={longer}; Path=/",), NOW)
    assert one.cookie_header == f"token={longer}"
    assert one.bearer == (longer if follows else token)
    assert one.expires_at == NOW + 10**6


# --- ends ---


@pytest.mark.parametrize(
    ("left", "refresh_token", "needs", "expired"),
    [
        (REFRESH_BEFORE, True, False, False),
        (REFRESH_BEFORE - 0.001, True, True, False),
        (REFRESH_BEFORE + 0.001, True, False, False),
        (0, True, True, False),
        (-1, True, True, False),
        (None, True, False, False),
        (REFRESH_BEFORE, False, False, False),
        (1, False, False, False),
        (0.001, False, False, False),
        (0, False, False, True),
        (-1, False, False, True),
        (None, False, False, False),
    ],
)
def test_when_a_token_is_renewed_and_when_all_is_over(
    left: float | None, refresh_token: bool, needs: bool, expired: bool
) -> None:
    cookies = {"refresh_token": "r"} if refresh_token else {}
    one = session(access(None if left is None else NOW + left), **cookies)
    assert (one.can_refresh, one.needs_refresh(NOW), one.expired(NOW)) == (refresh_token, needs, expired)


@pytest.mark.parametrize(
    ("token", "cookies", "end"),
    [
        (jwt(exp=5), {}, 5),
        (jwt(exp=5), {"token": jwt(exp=7)}, 7),
        (access(5), {"refresh_token": "r"}, None),
        (access(5), {"refresh_token": "r", "token": jwt(exp=7)}, 7),
        (None, {}, None),
    ],
)
def test_when_a_person_must_log_in_again(token: str | None, cookies: dict[str, str], end: float | None) -> None:
    assert session(token, **cookies).expires_at == end


# --- renewing ---


def test_a_refresh_gives_a_new_token_and_perhaps_a_new_cookie() -> None:
    one = session(access(NOW), refresh_token="old", a="1")
    one.renew(Tokens(access(NOW + 900)))
    assert (one.bearer, one.cookie_header) == (access(NOW + 900), "refresh_token=old; a=1")
    assert not one.needs_refresh(NOW)
    one.renew(Tokens(access(NOW + 1800), "new"))
    assert one.cookie_header == "refresh_token=new; a=1"
    assert one.needs_refresh(NOW + 1800 - REFRESH_BEFORE + 1)


def test_the_end_of_an_opaque_token_is_what_the_refresh_says() -> None:
    one = session(access(NOW), refresh_token="r")
    one.renew(Tokens("opaque", expires_at=NOW + 900))
    assert one.bearer == "opaque"
    assert not one.needs_refresh(NOW)
    assert one.needs_refresh(NOW + 900)
