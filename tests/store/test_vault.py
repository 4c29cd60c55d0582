"""Sealing: what comes out again, for whom, and under which keys."""

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from qwen_gateway.store.vault import Vault
from qwen_gateway.turn.faults import BadVault

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()


@given(plain=st.binary(max_size=3000), owner=st.text(max_size=80))
def test_what_is_sealed_for_an_owner_is_opened_for_that_owner(plain: bytes, owner: str) -> None:
    vault = Vault([NEW])
    assert vault.open(vault.seal(plain, owner), owner) == plain


@given(plain=st.binary(min_size=8, max_size=200))
def test_what_is_sealed_does_not_show(plain: bytes) -> None:
    assert plain not in Vault([NEW]).seal(plain, "one")


@given(owner=st.text(max_size=10), other=st.text(max_size=10), plain=st.binary(max_size=20))
def test_what_is_sealed_for_one_is_not_opened_for_another(owner: str, other: str, plain: bytes) -> None:
    vault = Vault([NEW])
    if owner != other:
        with pytest.raises(BadVault):
            vault.open(vault.seal(plain, owner), other)


@given(st.data())
def test_what_was_changed_is_not_opened(data: st.DataObject) -> None:
    vault = Vault([NEW])
    sealed = vault.seal(b"secret", "one")
    at = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytes([data.draw(st.integers(0, 255).filter(lambda byte: byte != sealed[at]))])
    with pytest.raises(BadVault):
        vault.open(sealed[:at] + changed + sealed[at + 1 :], "one")


@pytest.mark.parametrize("broken", [b"", b"x", b"\xff" * 200, b"gAAAAA=="])
def test_what_was_never_sealed_is_not_opened(broken: bytes) -> None:
    with pytest.raises(BadVault):
        Vault([NEW]).open(broken, "one")


def test_another_key_is_refused_with_a_word_on_where_keys_come_from() -> None:
    sealed = Vault([OLD]).seal(b"secret", "one")
    with pytest.raises(BadVault, match=r"setting secret_key.*keyring.*file secret\.key.*every machine") as caught:
        Vault([NEW]).open(sealed, "one")
    assert not caught.value.retryable
    assert caught.value.__cause__ is None


def test_an_earlier_key_opens_and_the_first_seals() -> None:
    both = Vault([NEW, OLD])
    sealed = Vault([OLD]).seal(b"secret", "one")
    assert both.open(sealed, "one") == b"secret"
    assert not both.is_current(sealed)
    again = both.reseal(sealed, "one")
    assert both.is_current(again)
    assert Vault([NEW]).open(again, "one") == b"secret"


def test_nothing_is_resealed_for_another_owner() -> None:
    with pytest.raises(BadVault):
        Vault([NEW, OLD]).reseal(Vault([OLD]).seal(b"secret", "one"), "another")


def test_neither_the_vault_nor_its_errors_show_a_key() -> None:
    vault = Vault([NEW, OLD])
    with pytest.raises(BadVault) as caught:
        vault.open(b"x", "one")
    shown = f"{vault!r} {vault!s} {caught.value!r} {caught.value!s}"
    assert NEW.decode() not in shown
    assert OLD.decode() not in shown
    assert repr(vault) == "Vault(…)"


def test_what_is_derived_is_the_same_for_the_same_key_and_purpose_and_says_nothing_of_the_key() -> None:
    derived = Vault([NEW, OLD]).derived("conversations")
    assert derived == Vault([NEW]).derived("conversations")
    assert len(derived) == 32
    assert derived != Vault([NEW]).derived("another")
    assert derived != Vault([OLD]).derived("conversations")
    assert NEW not in derived
