"""`accounts settings`: what would change in a person's real account is shown exactly, and asked, before it changes."""

import json

import pytest
from tests.cli.conftest import Invoke
from tests.cli.fake_management import AccountView, FakeManagement, LeakView

LEAKS = [
    LeakView("memory", "memory.enable_memory", True, "What you said in other chats finds its way into answers."),
    LeakView("personalization", "personalization.instruction", "Always answer in verse. " * 5, "Is put before all."),
    LeakView("tools", "tools_enabled.web_search", True, "Searches."),
    LeakView("tools", "tools_enabled.bio", True, "Searches."),
]


@pytest.fixture(autouse=True)
def leaky(management: FakeManagement) -> None:
    management.all = [AccountView(id="u-1", name="main")]
    management.all_leaks = list(LEAKS)


def test_leaks_are_listed_with_why_and_how_to_end_them(invoke: Invoke) -> None:
    done = invoke("accounts", "settings", "main")
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert all(leak.path in done.stdout for leak in LEAKS)
    assert done.stdout.count("Searches.") == 1
    words = " ".join(done.stdout.split())
    assert "qwen-gateway accounts settings main --off memory,personalization,tools" in words
    assert json.loads(invoke("accounts", "settings", "main", "--json").stdout)["leaks"][0]["value"] is True


def test_a_clean_account_is_told_so(invoke: Invoke, management: FakeManagement) -> None:
    management.all_leaks = []
    assert invoke("accounts", "settings", "main").stdout.startswith("None of your settings at chat.qwen.ai (main)")
    done = invoke("accounts", "settings", "main", "--off", "memory")
    assert (done.exit_code, done.stdout) == (0, "There is nothing to switch off: nothing was changed.\n")


def test_switching_off_shows_the_change_and_asks(invoke: Invoke, management: FakeManagement, at_terminal: None) -> None:
    done = invoke("accounts", "settings", "main", "--off", "memory", input="n\n")
    assert (done.exit_code, management.all_leaks) == (1, LEAKS)
    assert "real account" in done.stderr
    assert "memory.enable_memory (now: on)" in done.stderr
    assert "tools_enabled" not in done.stderr
    assert "Change this in your account?" in done.stderr

    done = invoke("accounts", "settings", "main", "--off", "memory, tools", input="y\n")
    assert (done.exit_code, management.all_leaks) == (0, [LEAKS[1]])
    assert "Switched off at chat.qwen.ai: memory.enable_memory, tools_enabled.web_search," in done.stdout
    assert "--undo" in done.stdout


def test_without_a_terminal_it_wants_a_yes(invoke: Invoke, management: FakeManagement) -> None:
    assert invoke("accounts", "settings", "main", "--off", "tools").exit_code == 2
    assert management.all_leaks == LEAKS
    done = invoke("accounts", "settings", "main", "--off", "tools", "--yes", "--json")
    assert [leak["path"] for leak in json.loads(done.stdout)["changed"]] == [
        "tools_enabled.web_search",
        "tools_enabled.bio",
    ]


def test_undo_puts_back_and_says_what(invoke: Invoke, management: FakeManagement) -> None:
    management.undoable = ["memory.enable_memory"]
    done = invoke("accounts", "settings", "main", "--undo")
    assert (done.exit_code, management.undoable) == (0, [])
    assert done.stdout == "As before in your account at chat.qwen.ai (main): memory.enable_memory.\n"
    done = invoke("accounts", "settings", "main", "--undo")
    assert (done.exit_code, done.stderr) == (2, "qwen-gateway: There is nothing to put back.\n")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--off", "memory,brain"), "there is no group 'brain'. Groups: memory, personalization, tools"),
        (("--off", " ,"), "--off wants at least one group"),
        (("--off", "memory", "--undo"), "--off and --undo are opposites"),
    ],
)
def test_flags_that_cannot_be_meant(
    flags: tuple[str, ...], said: str, invoke: Invoke, management: FakeManagement
) -> None:
    done = invoke("accounts", "settings", "main", *flags, "--yes")
    assert (done.exit_code, management.all_leaks) == (2, LEAKS)
    assert said in done.stderr
