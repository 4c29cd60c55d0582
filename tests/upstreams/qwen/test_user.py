"""Whose session it is: only a user with an id is one, whatever else a reply says."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_gateway.turn.contracts import User
from qwen_gateway.turn.faults import Blocked, Drift, Fault, LoginExpired
from qwen_gateway.upstreams.qwen import user

CORPUS = Path(__file__).parents[2] / "corpus"
WRAPPED = pytest.mark.parametrize("wrapped", [True, False], ids=["in the envelope", "bare"])


def body(told: object, *, wrapped: bool = True) -> bytes:
    return json.dumps({"success": True, "data": told} if wrapped else told).encode()


@WRAPPED
@pytest.mark.parametrize("role", [{"role": "user"}, {"role": "admin"}, {"role": None}, {"role": ""}, {}], ids=repr)
def test_a_user_with_an_id_is_one(role: dict[str, object], wrapped: bool) -> None:
    told = {"id": "u", "name": "A", "email": "a@example.invalid", "token": "t", **role}
    assert user.read(body(told, wrapped=wrapped)) == User("u", "A", "a@example.invalid")


def test_the_recorded_ones_are_read() -> None:
    recorded = (CORPUS / "auths_v1_get_2026-06-28.json").read_bytes()
    older = json.loads((CORPUS / "old_bodies_2025-10.json").read_text())["GET /api/v1/auths/ (Bearer)"]
    assert user.read(recorded).id == "9cf1479e-[BLANKED]"
    assert user.read(body(older, wrapped=False)).id == "f4506b78-[BLANKED]"


def test_names_that_are_none_are_left_out() -> None:
    assert user.read(body({"id": "u", "name": None, "email": 5})) == User("u", "", "")


@pytest.mark.parametrize("told", [None, {}, {"role": "guest"}, {"id": "g", "role": "guest"}], ids=repr)
def test_nobody_and_guests_are_not_logged_in(told: object) -> None:
    with pytest.raises(LoginExpired):
        user.read(body(told))


@WRAPPED
def test_an_unconfirmed_address_blocks(wrapped: bool) -> None:
    with pytest.raises(Blocked, match="not confirmed"):
        user.read(body({"id": "u", "role": "pending"}, wrapped=wrapped))


@WRAPPED
@pytest.mark.parametrize("role", ["banned", 5, ["user"], {"a": 1}], ids=repr)
def test_any_other_role_blocks_and_is_named(role: object, wrapped: bool) -> None:
    with pytest.raises(Blocked) as caught:
        user.read(body({"id": "u", "role": role}, wrapped=wrapped))
    assert str(role) in caught.value.text


@WRAPPED
@pytest.mark.parametrize("named", ["", "  ", 7, None, ["u"]], ids=repr)
def test_a_user_without_an_id_is_none(named: object, wrapped: bool) -> None:
    with pytest.raises(Drift):
        user.read(body({"id": named, "role": "user"}, wrapped=wrapped))


@pytest.mark.parametrize("told", [[], "x", 5, True, [{"id": "u"}], {"name": "A"}], ids=repr)
def test_what_is_no_user_is_a_change_of_the_site(told: object) -> None:
    with pytest.raises(Drift):
        user.read(body(told))


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff", b"null", b"[]", b"{}", b'"u"', b'{"success": true}', b"[" * 5000],
    ids=lambda raw: raw[:9],
)
def test_garbage_is_a_change_of_the_site(raw: bytes) -> None:
    with pytest.raises(Drift):
        user.read(raw)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["success", "data", "id", "role", "name", "email"]), inner)
    ),
    max_leaves=8,
)


@given(ANYTHING)
def test_any_body_is_a_user_with_an_id_or_a_fault(told: object) -> None:
    try:
        found = user.read(json.dumps(told).encode())
    except Fault:
        return
    assert found.id.strip()
