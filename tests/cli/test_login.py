"""`login`: every way in, what it says of what came of it, and never the secret."""

import json
from pathlib import Path

import pytest
from msgspec import structs
from tests.cli.conftest import Invoke
from tests.cli.fake_management import DAY, NOW, AccountView, FakeManagement, Imported

from qwen_gateway.cli.login import BLOCKED, CHALLENGED, EXPIRED, UNCLEAR, UNREACHABLE
from qwen_gateway.turn.faults import Blocked, InvalidRequest, LoginExpired, NameTaken

SECRET = "canary-5f1c"
PASTE = f"curl 'https://chat.qwen.ai/' \\\n  -H 'cookie: token={SECRET}'"
ADA = AccountView(id="u-1", name="main", expires_at=NOW + 27 * DAY)


def test_a_login_from_standard_input_says_all_that_matters(invoke: Invoke, management: FakeManagement) -> None:
    management.imported = Imported(ADA, user="Ada <ada@example.com>")
    done = invoke("login", input=PASTE)
    assert (done.exit_code, done.stderr) == (0, "")
    assert management.pasted == [(PASTE, "")]
    assert (
        done.stdout
        == """\
Kept:     12 cookies, token, User-Agent. Everything else was discarded, such as
          headers that tell browsers apart.
Account:  main (new)
Whose:    Ada <ada@example.com>
State:    valid
Session:  until 11 February 2027, 08:00 (27 days); the gateway renews it by
          itself till then

Next: qwen-gateway serve
A gateway that already runs uses the account within a second.
"""
    )


def test_an_account_that_was_paused_and_is_in_use_again_is_said(invoke: Invoke, management: FakeManagement) -> None:
    management.all = [structs.replace(ADA, paused=True), AccountView(id="u-2", name="other", paused=True)]
    management.imported = Imported(ADA, renewed=True)
    assert "It was paused, and is in use again." in invoke("login", input=PASTE).stdout
    management.imported = Imported(structs.replace(ADA, paused=True), renewed=True)
    assert "It stays paused. Back into use: qwen-gateway accounts resume main" in invoke("login", input=PASTE).stdout
    management.all = [ADA]
    management.imported = Imported(ADA, renewed=True)
    assert "paused" not in invoke("login", input=PASTE).stdout


@pytest.mark.parametrize("way", [["-"], ["--file", "-"], []])
def test_the_ways_to_name_standard_input(way: list[str], invoke: Invoke, management: FakeManagement) -> None:
    assert invoke("login", "--name", "work", *way, input=PASTE).exit_code == 0
    assert management.pasted == [(PASTE, "work")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_may_be_written_by_any_editor(
    encoding: str, invoke: Invoke, management: FakeManagement, tmp_path: Path
) -> None:
    (tmp_path / "request.txt").write_text(PASTE, encoding)
    done = invoke("login", "--file", "request.txt")
    assert done.exit_code == 0
    assert management.pasted == [(PASTE, "")]
    assert "request.txt still holds your login" in done.output


def test_accounts_add_is_the_same(invoke: Invoke, management: FakeManagement) -> None:
    assert invoke("accounts", "add", "--name", "work", input=PASTE).exit_code == 0
    assert management.pasted == [(PASTE, "work")]


@pytest.mark.parametrize("given", [[f"token={SECRET}"], ["-", SECRET], [f"Cookie: a={SECRET};", "b=c"]])
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(
    given: list[str], invoke: Invoke, management: FakeManagement
) -> None:
    done = invoke("login", *given, input=PASTE)
    assert done.exit_code == 2
    assert "Other users of this machine" in done.stderr
    assert SECRET not in done.output
    assert management.pasted == []


@pytest.mark.parametrize("nothing", ["", " \n\n"])
def test_nothing_given_is_said_with_how_to_give_it(nothing: str, invoke: Invoke, management: FakeManagement) -> None:
    done = invoke("login", input=nothing)
    assert done.exit_code == 2
    assert done.stderr.startswith("qwen-gateway: nothing was given.\n")
    assert "DevTools" in done.stderr
    assert management.pasted == []


def test_a_file_that_is_not_there_is_said(invoke: Invoke, management: FakeManagement) -> None:
    done = invoke("login", "--file", "gone.har")
    assert (done.exit_code, done.stderr) == (2, "qwen-gateway: gone.har cannot be read: No such file or directory.\n")
    assert management.pasted == []


def test_a_file_without_bounds_is_not_read_whole(invoke: Invoke, tmp_path: Path) -> None:
    with (tmp_path / "big.har").open("wb") as file:
        file.truncate(65 * 1024**2)
    done = invoke("login", "--file", "big.har")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "big.har is larger than 64 MB" in done.stderr


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (LoginExpired("?"), EXPIRED, "this session has ended, so nothing was stored"),
        (Blocked("Qwen does not serve this country."), BLOCKED, "serve this country.\nNothing was stored."),
        (InvalidRequest("This is no login."), 2, "qwen-gateway: This is no login.\n"),
        (NameTaken("There is an account 'main' already."), 2, "'main' already"),
    ],
)
def test_refusals_have_a_code_and_a_plain_text(
    fault: Exception, code: int, said: str, invoke: Invoke, management: FakeManagement
) -> None:
    management.imported = fault  # type: ignore[assignment]
    done = invoke("login", input=PASTE)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("state", "code", "said"),
    [
        ("challenged", CHALLENGED, "Then: qwen-gateway accounts resume 'my account'"),
        ("unreachable", UNREACHABLE, "Then: qwen-gateway accounts check 'my account'"),
        ("unclear", UNCLEAR, "Look again: qwen-gateway accounts check 'my account'"),
    ],
)
def test_a_login_that_could_not_be_checked_is_stored_with_what_to_do(
    state: str, code: int, said: str, invoke: Invoke, management: FakeManagement
) -> None:
    management.imported = Imported(AccountView(id="u-1", name="my account", state=state, check_text="Slider."))
    done = invoke("login", input=PASTE)
    assert done.exit_code == code
    assert "The login is stored" in done.stdout
    assert (f"State:    {state}: Slider.\n" in done.stdout) is (state != "challenged")
    assert said in done.stdout
    assert "qwen-gateway serve" not in done.stdout
    assert invoke("login", "--json", input=PASTE).exit_code == code


def test_a_known_account_a_session_without_renewal_and_a_warning_are_told(
    invoke: Invoke, management: FakeManagement
) -> None:
    account = AccountView(id="u-1", name="main", expires_at=NOW + 3600, renews_itself=False, warning="It ends soon.")
    management.imported = Imported(account, renewed=True)
    said = invoke("login", input=PASTE).stdout
    assert "main (known; it has a fresh session now)" in said
    assert "until 15 January 2027, 09:00 (60 minutes); it cannot be renewed" in " ".join(said.split())
    assert "\nIt ends soon.\n" in said


@pytest.mark.parametrize(("renews", "said"), [(True, "renewed by the gateway"), (False, "does not say when it ends")])
def test_a_session_without_an_end_is_told(renews: bool, said: str, invoke: Invoke, management: FakeManagement) -> None:
    management.imported = Imported(AccountView(id="u-1", name="main", renews_itself=renews))
    assert f"Session:  {said}" in invoke("login", input=PASTE).stdout


def test_json_has_the_account_and_what_was_kept(invoke: Invoke, management: FakeManagement) -> None:
    management.imported = Imported(ADA, user="Ada <ada@example.com>")
    done = invoke("login", "--json", input=PASTE)
    shown = json.loads(done.stdout)
    assert shown["account"]["expires_at"] == NOW + 27 * DAY
    assert "in_use" not in shown["account"]
    assert {name: shown[name] for name in ("renewed", "user", "kept")} == {
        "renewed": False,
        "user": "Ada <ada@example.com>",
        "kept": ["12 cookies", "token", "User-Agent"],
    }


def test_names_and_texts_of_the_site_cannot_write_to_the_terminal(invoke: Invoke, management: FakeManagement) -> None:
    account = AccountView(id="u-1", name="a\x1b[2Jb\u202e", state="unclear", check_text="x\x1b]0;title\x07\ny")
    management.imported = Imported(account, user="Ada\r\x1b[A <a@b>")
    said = invoke("login", input=PASTE).stdout
    assert not set("\x1b\x07\r\u202e") & set(said)
    management.imported = Blocked("no\x1b[2J")
    assert "\x1b" not in invoke("login", input=PASTE).stderr


def test_settings_are_taken_as_elsewhere(invoke: Invoke, management: FakeManagement, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("port = 9000")
    assert invoke("login", "--config", "own.toml", "--set", "heartbeat=3", input=PASTE).exit_code == 0
    assert (management.settings[0].port, management.settings[0].heartbeat) == (9000, 3)
    assert invoke("login", "--set", "hots=x", input=PASTE).exit_code == 2
