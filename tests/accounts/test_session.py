"""A session as it lives on: renewed cookies, tokens at their end."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.accounts.credential import Credential
from qwen_gateway.accounts.session import REFRESH_BEFORE, Session
from qwen_gateway.turn.contracts import Identity, Tokens
from qwen_gateway.turn.faults import BadVault

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


@pytest.mark.parametrize(
    ("token", "refresh_token", "end"),
    [
        (jwt(exp=7), jwt(exp=30), 30),
        (jwt(exp=30), jwt(exp=7), 30),
        (None, jwt(exp=30), 30),
        (jwt(exp=7), "opaque", 7),
    ],
)
def test_a_refresh_cookie_that_says_its_end_counts_as_well(token: str | None, refresh_token: str, end: float) -> None:
    cookies = {"refresh_token": refresh_token, **({"token": token} if token else {})}
    assert session(access(5), **cookies).expires_at == end


def test_what_a_token_says_of_its_end_counts_more_than_what_the_refresh_says() -> None:
    one = session(access(NOW), refresh_token="r")
    one.renew(Tokens(access(NOW + 900), expires_at=NOW + 5000))
    assert one.token_ends_at == NOW + 900
    one.renew(Tokens("opaque", expires_at=NOW + 5000))
    assert one.token_ends_at == NOW + 5000


# --- who, and which browser ---


def test_a_key_that_is_given_stays() -> None:
    one = Session(Credential({}, "opaque"), key="account-1")
    one.renew(Tokens("opaque too"))
    assert one.key == "account-1"


@pytest.mark.parametrize(
    ("of_credential", "given", "used"), [("A", None, "A"), ("A", "B", "B"), (None, None, None), ("A", "", "")]
)
def test_the_browser_is_the_credentials_unless_another_is_given(
    of_credential: str | None, given: str | None, used: str | None
) -> None:
    assert Session(Credential({}, None, of_credential), given).user_agent == used


# --- what is worth storing ---

CHANGES: dict[str, tuple[str, int]] = {
    "a new value": ("a=2; Path=/", 1),
    "another cookie": ("b=1", 1),
    "the end of one": ("a=; Max-Age=0", 1),
    "a new token": (f"token={jwt(exp=9)}", 1),
    "the same value": ("a=1; Path=/", 0),
    "the end of an unknown one": ("z=; Max-Age=0", 0),
    "nonsense": ("nonsense", 0),
    "the load balancer's": ("acw_tc=2; Path=/", 0),
    "the anti-bot script's": ("ssxmod_itna2=2", 0),
    "the end of a passing one": ("x-ap=; Max-Age=0", 0),
}


@pytest.mark.parametrize(("line", "raised"), CHANGES.values(), ids=CHANGES.keys())
def test_only_what_is_worth_storing_raises_the_generation(line: str, raised: int) -> None:
    one = Session(Credential({"a": "1", "acw_tc": "1", "x-ap": "1"}, jwt(exp=5)))
    one.absorb((line,), NOW)
    assert one.generation == raised


def test_several_lines_are_one_change_and_no_lines_are_none() -> None:
    one = session(a="1")
    one.absorb(("a=2", "b=3"), NOW)
    one.absorb((), NOW)
    assert one.generation == 1


def test_each_renewal_is_a_change() -> None:
    one = session(access(NOW), refresh_token="r")
    one.renew(Tokens(access(NOW + 900)))
    one.renew(Tokens(access(NOW + 900), "r"))
    assert one.generation == 2


# --- at rest ---

JARS = st.dictionaries(st.sampled_from(["a", "acw_tc", "token", "refresh_token"]), st.sampled_from(["1", jwt(exp=7)]))
TOKENS = st.sampled_from([None, "opaque", access(NOW), access(NOW + 900), jwt(id="u", exp=NOW)])


@settings(deadline=None, max_examples=200)
@given(JARS, TOKENS, st.sampled_from([None, "UA"]), st.sampled_from([None, NOW + 60.5]), st.booleans())
def test_a_session_outlives_the_process(
    jar: dict[str, str], token: str | None, agent: str | None, ends: float | None, renewed: bool
) -> None:
    one = Session(Credential(jar, token, agent))
    if renewed:
        one.renew(Tokens("opaque", "r", ends))
    again = Session.load(one.dump(), one.key)
    for what in ("key", "cookie_header", "bearer", "user_agent", "expires_at", "can_refresh"):
        assert getattr(again, what) == getattr(one, what)
    for now in (NOW - 1000, NOW, NOW + 61, NOW + 1000):
        assert (again.needs_refresh(now), again.expired(now)) == (one.needs_refresh(now), one.expired(now))
    assert again.dump() == one.dump()
    assert again.generation == 0


@pytest.mark.parametrize("data", [b"", b"{}", b'{"cookies":1}', b"\xff", b"[" * 100_000])
def test_a_session_that_cannot_be_read_is_said_to_be(data: bytes) -> None:
    with pytest.raises(BadVault, match="account-1"):
        Session.load(data, "account-1")


@pytest.mark.parametrize("told", [-1.0, 1e11, 1e300])
def test_an_end_that_can_be_no_date_counts_as_none(told: float) -> None:
    one = session(None, refresh_token="r")
    one.renew(Tokens("opaque", expires_at=told))
    assert one.token_ends_at is None
    stored = json.dumps({"cookies": {}, "token": "opaque", "ends": told}).encode()
    assert Session.load(stored, "k").token_ends_at is None


@pytest.mark.parametrize(("ends", "kept"), [(NOW - 1, False), (NOW, False), (NOW + 1, True), (None, True)])
def test_a_renewal_takes_a_dead_session_cookie_out(ends: float | None, kept: bool) -> None:
    cookie = jwt(id="u", **({} if ends is None else {"exp": ends}))
    one = Session(Credential({"token": cookie, "refresh_token": "r"}, cookie))
    one.renew(Tokens(access(NOW + 900)), NOW)
    assert (f"token={cookie}" in one.cookie_header) == kept
    assert "refresh_token=r" in one.cookie_header
