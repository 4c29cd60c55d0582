"""What a person pastes → a credential; and that no error or repr shows it."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.accounts.credential import MAX_LENGTH, MAX_USER_AGENT, Claims, Credential, claims, parse_cookies, read
from qwen_gateway.turn.faults import InvalidRequest

RECORDED = json.loads((Path(__file__).parents[1] / "corpus/auth_access_token_jwt_2026-09-25.json").read_text())


def jwt(payload: object, header: object = RECORDED["header"]) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, payload))
    return ".".join([*parts, "c2lnbmF0dXJl"])


ACCESS = jwt(RECORDED["payload"])
LONG = jwt({"id": "u", "last_password_change": 1, "exp": 2_000_000_000})


# --- cookies ---

HEADERS: dict[str, tuple[str, dict[str, str]]] = {
    "one": ("a=1", {"a": "1"}),
    "some": ("a=1; b=2;c=3", {"a": "1", "b": "2", "c": "3"}),
    "with its name": ("Cookie: a=1; b=2", {"a": "1", "b": "2"}),
    "with its name in lower case": ("cookie:a=1", {"a": "1"}),
    "over lines": ("a=1;\n b=2\r\nc=3\n", {"a": "1", "b": "2", "c": "3"}),
    "blanks around": ("  a=1 ;; b=2; ", {"a": "1", "b": "2"}),
    "an empty value": ("a=; b=2", {"a": "", "b": "2"}),
    "signs in a value": ('a=x=y==; b=%7B"q"%7D', {"a": "x=y==", "b": '%7B"q"%7D'}),
    "the last of two": ("a=1; a=2", {"a": "2"}),
    "nothing": (" ; ", {}),
}


@pytest.mark.parametrize(("header", "jar"), HEADERS.values(), ids=HEADERS.keys())
def test_cookie_headers(header: str, jar: dict[str, str]) -> None:
    assert parse_cookies(header) == jar


GARBAGE = {
    "no pair": "secretsecret",
    "a pair without a name": "=secret",
    "a name with blanks": "se cret=1",
    "a control character": "a=sec\x00ret",
    "beyond ASCII": "a=secrét",
    "a curl command": "curl 'https://chat.qwen.ai' -H 'cookie: a=secret'",
    "JSON": '[{"name": "token", "value": "secret"}]',
    "too long": "a=" + "secret" * MAX_LENGTH,
}


@pytest.mark.parametrize("header", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_cookie_header_is_refused_without_showing_it(header: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_cookies(header)
    assert caught.value.param == "cookies"
    assert "secr" not in caught.value.text
    assert caught.value.__cause__ is None


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=30))
def test_any_text_is_cookies_or_refused(text: str) -> None:
    try:
        jar = parse_cookies(text)
    except InvalidRequest:
        return
    assert parse_cookies("; ".join(f"{name}={value}" for name, value in jar.items())) == jar


# --- both ---


@pytest.mark.parametrize(
    ("cookies", "token", "expected"),
    [
        (None, None, None),
        ("", "", None),
        (" \n", " ", None),
        (";", "", None),
        ("a=1", None, Credential({"a": "1"})),
        (f"token={LONG}; a=1", None, Credential({"token": LONG, "a": "1"}, LONG)),
        (None, LONG, Credential({"token": LONG}, LONG)),
        (None, f"Bearer {LONG}\n", Credential({"token": LONG}, LONG)),
        (None, f"bearer  {LONG}", Credential({"token": LONG}, LONG)),
        (f"'token={LONG}; a=1'", f'"{LONG}"', Credential({"token": LONG, "a": "1"}, LONG)),
        ("a=1", LONG, Credential({"token": LONG, "a": "1"}, LONG)),
        ("a=1", ACCESS, Credential({"a": "1"}, ACCESS)),
        (f"token={LONG}", ACCESS, Credential({"token": LONG}, ACCESS)),
        (None, ACCESS, Credential({}, ACCESS)),
        ("token=opaque", None, Credential({"token": "opaque"}, "opaque")),
    ],
)
def test_credentials(cookies: str | None, token: str | None, expected: Credential | None) -> None:
    assert read(cookies=cookies, token=token) == expected


@pytest.mark.parametrize(
    "token", ["secret", "Bearer ", "secret.secret", "a.b.c.secret", "a.b.secret!", "a. .secret", "é.b.secret"]
)
def test_what_is_no_token_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(cookies=None, token=token)
    assert caught.value.param == "token"
    assert "secret" not in caught.value.text


def test_a_repr_shows_neither_cookies_nor_token() -> None:
    shown = repr(read(cookies=f"a=geheim; token={LONG}", token=ACCESS)) + str(Credential({"a": "geheim"}, None))
    assert shown == "Credential(2 cookies, token: yes)Credential(1 cookies, token: no)"


# --- claims ---


def test_claims_of_the_recorded_token() -> None:
    payload = RECORDED["payload"]
    assert claims(ACCESS) == Claims(payload["id"], payload["exp"], "access_token")
    assert Credential({}, ACCESS).claims == claims(ACCESS)
    assert Credential({}).claims == Claims()


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (jwt({}), Claims()),
        (jwt({"exp": 1.5}), Claims(exp=1.5)),
        (jwt({"exp": 0}), Claims(exp=0)),
        (jwt({"exp": 99_999_999_999}), Claims(exp=99_999_999_999)),
        (jwt({"exp": 1e11, "id": "u", "type": "x"}), Claims("u", None, "x")),
        (jwt({"exp": -1, "id": "u"}), Claims("u")),
        (jwt({"exp": 1e308, "id": "u"}), Claims("u")),
        (jwt({"exp": "soon", "id": "u"}), Claims()),
        (jwt([]), Claims()),
        (jwt({"x": "é" * 3, "id": "ü"}), Claims("ü")),
        ("", Claims()),
        ("a.b", Claims()),
        ("a.b.c.d", Claims()),
        ("a.!!!.c", Claims()),
        ("a.é.c", Claims()),
        ("a..c", Claims()),
        ("a._w.c", Claims()),
        (
            "a." + base64.urlsafe_b64encode(b'{"x":' + b"[" * 9000 + b"]" * 9000 + b"}").decode().rstrip("=") + ".c",
            Claims(),
        ),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_claims_are_empty_where_they_cannot_be_read(token: str, expected: Claims) -> None:
    assert claims(token) == expected


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=20), st.binary(max_size=20))
def test_any_token_has_claims(text: str, payload: bytes) -> None:
    claims(text)
    claims(f"a.{base64.urlsafe_b64encode(payload).decode()}.c")


# --- the browser ---


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Mozilla/5.0 (X11)", True),
        ("x" * MAX_USER_AGENT, True),
        ("x" * (MAX_USER_AGENT + 1), False),
        ("", False),
        (" x", False),
        ("x\r\ny: z", False),
        ("é", False),
    ],
)
def test_a_user_agent_that_no_header_can_carry_is_dropped(text: str, kept: bool) -> None:
    expected = text if kept else None
    assert Credential({}, user_agent=text).user_agent == expected
    one = read(cookies="a=1", token=None, user_agent=text)
    assert one == Credential({"a": "1"}, None, expected)


def test_a_user_agent_alone_is_no_credential() -> None:
    assert read(cookies=None, token=None, user_agent="x") is None
