"""`secrets`: says what was done to the key and what it seals, and plainly why it cannot."""

import json
import sys

import pytest
from tests.cli.conftest import Invoke
from tests.cli.fake_management import FakeManagement

from qwen_gateway.app.secret_key import Resealed, Unreadable
from qwen_gateway.settings import Settings, SettingsError

NOTHING = Unreadable([], 0, 0)


class FakeKey:
    """What `secrets` asks of `qwen_gateway.app`. lost: each `--lost` or its absence, as it was passed on."""

    def __init__(self) -> None:
        self.resealed: Resealed | Exception = Resealed(0, 0)
        self.unreadable = NOTHING
        self.lost: list[bool] = []

    async def rotate_secret_key(self, _settings: Settings) -> Resealed:
        if isinstance(self.resealed, Exception):
            raise self.resealed
        return self.resealed

    async def unreadable_accounts(self, _settings: Settings, *, lost: bool) -> Unreadable:
        self.lost.append(lost)
        return self.unreadable

    async def forget_unreadable(self, _settings: Settings, *, lost: bool) -> Unreadable:
        self.lost.append(lost)
        was, self.unreadable = self.unreadable, NOTHING
        return was


@pytest.fixture
def key(management: FakeManagement, monkeypatch: pytest.MonkeyPatch) -> FakeKey:
    """In the place of the real one, beside the management."""
    fake = FakeKey()
    for name in ("rotate_secret_key", "unreadable_accounts", "forget_unreadable"):
        monkeypatch.setattr(sys.modules["qwen_gateway.app"], name, getattr(fake, name), raising=False)
    return fake


@pytest.mark.parametrize(
    ("sessions", "files", "said"),
    [
        (0, 0, "0 sessions are encrypted"),
        (1, 0, "1 session is encrypted"),
        (0, 1, "0 sessions and 1 kept file are encrypted"),
        (2, 30, "2 sessions and 30 kept files are encrypted"),
    ],
)
def test_a_rotation_says_how_much_was_encrypted(
    sessions: int, files: int, said: str, invoke: Invoke, key: FakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    key.resealed = Resealed(sessions, files)
    done = invoke("secrets", "rotate")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"A new key is made, and {said} with it.\nThe old key is of no use any more.\n"
    assert json.loads(invoke("secrets", "rotate", "--json").stdout) == {"sealed": sessions, "files": files}
    monkeypatch.setenv("QWEN_GATEWAY_SECRET_KEY", "new-canary,old-canary")
    done = invoke("secrets", "rotate")
    assert done.stdout == (
        f"{said} anew, with the first key of the setting `secret_key`.\nThe keys after it can be taken out now.\n"
    )


def test_a_refusal_is_plain(invoke: Invoke, key: FakeKey) -> None:
    key.resealed = SettingsError(["The key comes from QWEN_GATEWAY_SECRET_KEY. Put the new key before it."])
    done = invoke("secrets", "rotate")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("qwen-gateway: The key comes from")


def test_secrets_alone_explains_itself(invoke: Invoke) -> None:
    done = invoke("secrets")
    assert "rotate" in done.output


def test_accounts_that_cannot_be_read_are_removed_once_that_is_agreed_to(invoke: Invoke, key: FakeKey) -> None:
    lost = key.unreadable = Unreadable(["main", "the \x1b[31mother"], 0, 0)
    asked = invoke("secrets", "forget")
    assert (asked.exit_code, key.unreadable) == (2, lost)
    assert "cannot open the sessions of these accounts:\n  main\n  the [31mother\n" in asked.stderr
    assert "add --yes" in asked.stderr
    done = invoke("secrets", "forget", "--yes")
    assert (done.exit_code, done.stdout) == (0, "Removed: main, the [31mother\nNext: qwen-gateway login\n")
    assert key.unreadable == NOTHING
    key.unreadable = lost
    assert json.loads(invoke("secrets", "forget", "--yes", "--json").stdout) == {"removed": lost.accounts, "files": 0}


@pytest.mark.parametrize(
    ("lost", "announced", "removed"),
    [
        (
            Unreadable(["main"], 3, 0),
            "The present key cannot open the sessions of these accounts:\n  main\nNor can it open 3 kept files.\n",
            "Removed: main, 3 kept files\nNext: qwen-gateway login\n",
        ),
        (
            Unreadable([], 1, 2),
            "The present key cannot open 1 kept file and 2 notes about uploads.\n",
            "Removed: 1 kept file, 2 notes about uploads\n",
        ),
        (
            Unreadable([], 0, 1),
            "The present key cannot open 1 note about uploads.\n",
            "Removed: 1 note about uploads\n",
        ),
    ],
)
def test_files_that_cannot_be_read_are_removed_too(
    lost: Unreadable, announced: str, removed: str, invoke: Invoke, key: FakeKey
) -> None:
    key.unreadable = lost
    done = invoke("secrets", "forget", "--yes")
    assert (done.exit_code, done.stderr, done.stdout) == (0, announced, removed)
    key.unreadable = lost
    told = json.loads(invoke("secrets", "forget", "--yes", "--json").stdout)
    assert told == {"removed": lost.accounts, "files": lost.files}


def test_that_the_key_is_lost_has_to_be_said(invoke: Invoke, key: FakeKey) -> None:
    key.unreadable = Unreadable(["main"], 0, 0)
    invoke("secrets", "forget")
    invoke("secrets", "forget", "--lost", "--yes")
    assert key.lost == [False, True, True]


@pytest.mark.usefixtures("at_terminal")
@pytest.mark.parametrize("lost", [Unreadable(["main"], 0, 0), Unreadable([], 1, 0)])
def test_who_does_not_agree_keeps_them(lost: Unreadable, invoke: Invoke, key: FakeKey) -> None:
    key.unreadable = lost
    done = invoke("secrets", "forget", input="n\n")
    assert (done.exit_code, key.unreadable) == (1, lost)
    told = "  main\n" if lost.accounts else "1 kept file.\n"
    assert done.stderr.index(told) < done.stderr.index("Remove them from the gateway?")


@pytest.mark.usefixtures("key")
def test_where_all_can_be_read_nothing_is_removed(invoke: Invoke) -> None:
    assert "Nothing was removed." in invoke("secrets", "forget", "--yes").stdout
    assert json.loads(invoke("secrets", "forget", "--json").stdout) == {"removed": [], "files": 0}
