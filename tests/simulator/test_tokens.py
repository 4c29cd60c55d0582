"""Tokens: the captured shapes, and what makes one worthless."""

import base64
import json
from pathlib import Path

import pytest

from qwen_gateway.simulator.tokens import Mint

CAPTURE = Path(__file__).parents[1] / "corpus" / "auth_access_token_jwt_2026-09-25.json"


def _part(token: str, index: int) -> dict[str, object]:
    part = token.split(".")[index]
    decoded = json.loads(base64.urlsafe_b64decode(part + "=="))
    assert isinstance(decoded, dict)
    return decoded


def test_an_access_token_has_the_captured_shape() -> None:
    capture = json.loads(CAPTURE.read_text(encoding="utf-8"))
    token = Mint().access_token("me")
    assert _part(token, 0) == capture["header"]
    payload = _part(token, 1)
    assert list(payload) == list(capture["payload"])
    assert int(str(payload["exp"])) - int(str(payload["iat"])) in {900, 901}


def test_a_long_token_has_three_claims() -> None:
    assert list(_part(Mint().long_token("me"), 1)) == ["id", "last_password_change", "exp"]


def test_a_mint_knows_its_own_tokens() -> None:
    mint = Mint()
    for token in (mint.long_token("me"), mint.access_token("me")):
        claims = mint.read(token)
        assert claims is not None
        assert claims.id == "me"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é.ü.ß", "a.b", "...."])
def test_rubbish_is_no_token(token: str) -> None:
    assert Mint().read(token) is None


def test_changed_expired_and_foreign_tokens_are_refused() -> None:
    mint = Mint()
    good = mint.long_token("me")
    assert mint.read(good[:-2]) is None
    assert mint.read("x" + good) is None
    assert mint.read(mint.long_token("me", seconds=-1)) is None
    assert Mint().read(good) is None
