"""`accounts`: what is shown, what is asked first, and what is said of what was done."""

import json
import re

import pytest
from tests.cli.conftest import Invoke
from tests.cli.fake_management import DAY, NOW, AccountView, FakeManagement, RestView

LONG = "my-account-for-work-and-other-things"
MAIN = AccountView(
    id="u-1", name="main", checked_at=NOW - 300, expires_at=NOW + 27.2 * DAY, warning="It ends soon.", in_use=3
)
TIRED = AccountView(
    id="u-2",
    name=LONG,
    state="challenged",
    check_text="Qwen asks for a human check.",
    checked_at=NOW - 7200,
    paused=True,
    rests=(
        RestView("", "upstream_challenge", "Qwen asks for a human check.", NOW + 240),
        RestView("qwen3.7-plus", "upstream_rate_limited", "Today's limit is reached.", NOW + 4 * 3600),
    ),
)


@pytest.fixture(autouse=True)
def two(management: FakeManagement) -> None:
    management.all = [MAIN, TIRED]


def test_the_table_fits_80_columns_and_keeps_names_whole(invoke: Invoke) -> None:
    done = invoke("accounts", "list")
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("main "))
    assert " valid " in line
    assert f"{LONG}: Today's limit is reached." in done.stdout
    assert "11 Feb 2027" in line
    assert line.rstrip().endswith("no")
    assert any(line.startswith(f"{LONG} ") for line in done.stdout.splitlines())
    words = " ".join(done.stdout.split())
    assert "(27 days)" in words
    assert f"{LONG}: Qwen asks for a human check." in words
    assert "It ends soon." in words


def test_rests_are_told_with_the_time_left(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    said = invoke("accounts", "list").stdout
    assert re.search(r" paused +unknown +4 minutes", said)
    assert re.search(r" challenged +qwen3\.7-plus: 4 hours", said)
    assert "checked 2 hours ago" in said
    assert said.count("Qwen asks for a human check.") == 1


def test_without_accounts_it_is_said_how_to_connect_one(invoke: Invoke, management: FakeManagement) -> None:
    management.all = []
    done = invoke("accounts", "list")
    assert (done.exit_code, done.stdout) == (
        0,
        "No Qwen account is connected yet. Connect yours: qwen-gateway login\n",
    )
    done = invoke("accounts", "check")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "qwen-gateway login" in done.stderr


def test_json_has_all_but_what_only_the_gateway_knows(invoke: Invoke) -> None:
    shown = json.loads(invoke("accounts", "list", "--json").stdout)["accounts"]
    assert [account["name"] for account in shown] == ["main", LONG]
    assert shown[1]["rests"][0]["until"] == NOW + 240
    assert "in_use" not in shown[0]


def test_names_with_escape_codes_and_brackets_are_text(invoke: Invoke, management: FakeManagement) -> None:
    management.all = [AccountView(id="u-3", name="a\x1b[31m[red]b\u202e", warning="w\x1b]8;;http://x\x07")]
    said = invoke("accounts", "list").stdout
    assert "a[31m[red]b" in said
    assert not set("\x1b\x07\u202e") & set(said)


@pytest.mark.parametrize(("names", "code"), [((), 1), (("main",), 0), (("u-2",), 1)])
def test_a_check_fails_unless_all_asked_for_are_valid(names: tuple[str, ...], code: int, invoke: Invoke) -> None:
    done = invoke("accounts", "check", *names)
    assert done.exit_code == code
    assert ("main: valid\n" in done.stdout) is (names != ("u-2",))
    assert (f"{LONG}: challenged – Qwen asks for a human check." in done.stdout) is (names != ("main",))
    assert invoke("accounts", "check", *names, "--json").exit_code == code


def test_a_check_shows_what_the_site_says_now(invoke: Invoke, management: FakeManagement) -> None:
    management.checks["u-1"] = AccountView(id="u-1", name="main", state="expired", check_text="Log in again.")
    done = invoke("accounts", "check", "main")
    assert (done.exit_code, done.stdout) == (1, "main: expired – Log in again.\n")


def test_pause_and_resume(invoke: Invoke, management: FakeManagement) -> None:
    done = invoke("accounts", "pause", "main")
    assert (done.exit_code, management.all[0].paused) == (0, True)
    assert "accounts resume main" in done.stdout
    assert json.loads(invoke("accounts", "resume", LONG, "--json").stdout)["rests"] == []
    assert management.all[1].paused is False
    assert "main is in use again" in invoke("accounts", "resume", "u-1").stdout


@pytest.mark.parametrize(
    "command", [("check", "x"), ("pause", "x"), ("resume", "x"), ("remove", "x", "--yes"), ("settings", "x")]
)
def test_an_unknown_account_is_a_plain_error(command: tuple[str, ...], invoke: Invoke) -> None:
    done = invoke("accounts", *command)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", "qwen-gateway: There is no account 'x'.\n")


def test_removing_says_what_stays_and_asks(invoke: Invoke, management: FakeManagement, at_terminal: None) -> None:
    done = invoke("accounts", "remove", "main", input="n\n")
    assert (done.exit_code, len(management.all)) == (1, 2)
    assert re.search(r"Forget the session of main\?.*chat.qwen.ai stays as it is", done.stderr)
    assert "Nothing was changed." in done.stderr
    assert invoke("accounts", "remove", "main", input="y\n").exit_code == 0
    assert management.all == [TIRED]


def test_without_a_terminal_removing_wants_a_yes(invoke: Invoke, management: FakeManagement) -> None:
    done = invoke("accounts", "remove", "main", input="y\n")
    assert (done.exit_code, len(management.all)) == (2, 2)
    assert "--yes" in done.stderr
    done = invoke("accounts", "remove", "main", "--yes")
    assert (done.exit_code, management.all) == (0, [TIRED])
    assert "stays as it is" in done.stdout


def test_removing_the_account_of_the_settings_says_that_it_comes_back(
    invoke: Invoke, management: FakeManagement
) -> None:
    management.all = [AccountView(id="u-1", name="main", source="environment")]
    done = invoke("accounts", "remove", "main", "--yes", "--json")
    assert json.loads(done.stdout)["id"] == "u-1"
    assert "brings it back" in done.stderr


def test_an_account_whose_settings_are_still_switched_off_is_removed_by_force_only(
    invoke: Invoke, management: FakeManagement
) -> None:
    management.all, management.undoable = [AccountView(id="u-1", name="main")], ["memory.enable_memory"]
    done = invoke("accounts", "remove", "main", "--yes")
    assert (done.exit_code, done.stderr) == (2, "qwen-gateway: Put them back first.\n")
    assert invoke("accounts", "remove", "main", "--yes", "--force").exit_code == 0
    assert management.all == []
