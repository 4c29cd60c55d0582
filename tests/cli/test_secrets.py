"""`secrets rotate`: says what it did, and plainly why it cannot."""

import json

import pytest
from tests.cli.conftest import Invoke
from tests.cli.fake_management import FakeManagement

from qwen_gateway.settings import SettingsError


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "A new key is made, and 0 sessions are encrypted with it."),
        (1, "A new key is made, and 1 session is encrypted with it."),
    ],
)
def test_it_says_how_many_sessions(count: int, said: str, invoke: Invoke, management: FakeManagement) -> None:
    management.sealed = count
    done = invoke("secrets", "rotate")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith(said)
    assert json.loads(invoke("secrets", "rotate", "--json").stdout) == {"sealed": count}


def test_with_keys_of_the_settings_it_says_which_ones_can_go(
    invoke: Invoke, management: FakeManagement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QWEN_GATEWAY_SECRET_KEY", "new-canary,old-canary")
    management.sealed = 2
    done = invoke("secrets", "rotate")
    assert done.stdout.startswith("2 sessions are encrypted anew, with the first key of the setting `secret_key`.")
    assert "canary" not in done.output


def test_a_refusal_is_plain(invoke: Invoke, management: FakeManagement) -> None:
    management.sealed = SettingsError(["The key comes from QWEN_GATEWAY_SECRET_KEY. Put the new key before it."])
    done = invoke("secrets", "rotate")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("qwen-gateway: The key comes from")


def test_secrets_alone_explains_itself(invoke: Invoke) -> None:
    done = invoke("secrets")
    assert "rotate" in done.output


def test_accounts_that_cannot_be_read_are_removed_once_that_is_agreed_to(
    invoke: Invoke, management: FakeManagement
) -> None:
    names = management.unreadable = ["main", "the \x1b[31mother"]
    asked = invoke("secrets", "forget")
    assert (asked.exit_code, management.unreadable) == (2, names)
    assert "cannot open the sessions of these accounts:\n  main\n  the [31mother\n" in asked.stderr
    assert "add --yes" in asked.stderr
    done = invoke("secrets", "forget", "--yes")
    assert (done.exit_code, done.stdout) == (0, "Removed: main, the [31mother\nNext: qwen-gateway login\n")
    assert management.unreadable == []
    management.unreadable = names
    assert json.loads(invoke("secrets", "forget", "--yes", "--json").stdout) == {"removed": names}


def test_that_the_key_is_lost_has_to_be_said(invoke: Invoke, management: FakeManagement) -> None:
    management.unreadable = ["main"]
    invoke("secrets", "forget")
    invoke("secrets", "forget", "--lost", "--yes")
    assert management.lost == [False, True, True]


@pytest.mark.usefixtures("at_terminal")
def test_who_does_not_agree_keeps_them(invoke: Invoke, management: FakeManagement) -> None:
    management.unreadable = ["main"]
    done = invoke("secrets", "forget", input="n\n")
    assert (done.exit_code, management.unreadable) == (1, ["main"])
    assert done.stderr.index("  main\n") < done.stderr.index("Remove them from the gateway?")


def test_where_all_can_be_read_nothing_is_removed(invoke: Invoke) -> None:
    assert "Nothing was removed." in invoke("secrets", "forget", "--yes").stdout
