"""`keys`: the bare key goes to standard output once, everything else beside it."""

import json

import pytest
from tests.cli.conftest import Invoke
from tests.cli.fake_management import DAY, NOW, FakeManagement, KeyView

from qwen_gateway.cli.keys import KeyManagement
from qwen_gateway.relay.management import Management

LONG = "the-laptop-under-the-stairs"


def test_only_the_key_goes_to_standard_output(invoke: Invoke, management: FakeManagement) -> None:
    done = invoke("keys", "create", "--name", "laptop")
    assert (done.exit_code, done.stdout) == (0, "sk-qg-id0-first\n")
    assert "The key laptop is made: role client, without an end, no limits." in done.stderr
    assert "shown only now" in done.stderr
    assert "sk-qg" not in done.stderr
    assert "key_created" not in done.stderr


def test_the_first_key_closes_the_door_and_that_is_said(invoke: Invoke, management: FakeManagement) -> None:
    first, second = invoke("keys", "create"), invoke("keys", "create")
    assert "programs that call the gateway need one, also those on this machine" in " ".join(first.stderr.split())
    assert first.stdout == "sk-qg-id0-first\n"
    assert "first key" not in second.stderr


def test_where_the_settings_have_keys_the_first_one_changes_nothing(
    invoke: Invoke, management: FakeManagement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QWEN_GATEWAY_API_KEYS", "sk-settings")
    assert "first key" not in invoke("keys", "create").stderr


def test_a_key_whose_end_no_calendar_has_is_listed(invoke: Invoke, management: FakeManagement) -> None:
    management.all_keys = [KeyView(id="a", name="odd", expires_at=1e300)]
    done = invoke("keys", "list")
    assert (done.exit_code, "an unknown time" in done.stdout) == (0, True)


def test_all_terms_reach_the_key(invoke: Invoke, management: FakeManagement) -> None:
    flags = "--role viewer --expires 2027-01-31 --rpm 60 --concurrency 2 --tokens-per-day 100000 --continuation replay"
    done = invoke("keys", "create", *flags.split(), "--models", "qwen3*, x", "--endpoints", "openai_chat,models")
    assert done.exit_code == 0
    (key,) = management.all_keys
    assert key == KeyView(
        id="id0",
        name="key-1",
        role="viewer",
        expires_at=1801439999.0,
        models=("qwen3*", "x"),
        endpoints=("openai_chat", "models"),
        requests_per_minute=60,
        concurrency=2,
        tokens_per_day=100_000,
        continuation="replay",
    )
    words = " ".join(done.stderr.split())
    assert (
        "until 31 January 2027, 23:59, 60 requests a minute; 2 at once; 100,000 tokens a day; only the models" in words
    )


def test_a_span_counts_from_now_and_names_are_found(invoke: Invoke, management: FakeManagement) -> None:
    management.all_keys = [KeyView(id="a", name="key-1"), KeyView(id="b", name="key-3")]
    assert json.loads(invoke("keys", "create", "--expires", "30d", "--json").stdout) == {
        "key": "sk-qg-id2-first",
        "id": "id2",
        "name": "key-2",
        "role": "client",
        "created_at": NOW,
        "expires_at": NOW + 30 * DAY,
        "enabled": True,
        "models": [],
        "endpoints": [],
        "requests_per_minute": None,
        "concurrency": None,
        "tokens_per_day": None,
        "continuation": None,
        "tokens_today": 0,
    }


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--expires", "soon"), "--expires: 'soon' is neither a date such as 2026-12-31 nor a time"),
        (("--expires", "2026-12-31"), "--expires: 2026-12-31 is over already."),
        (("--expires", "0d"), "--expires: 0d is no time at all."),
        (("--role", "king"), "king"),
        (("--rpm", "0"), "'--rpm'"),
        (("--continuation", "sometimes"), "sometimes"),
        (("--continuation", "default"), "default"),
        (("--name", "taken"), "There is a key 'taken' already."),
    ],
)
def test_terms_that_cannot_be_meant(
    flags: tuple[str, ...], said: str, invoke: Invoke, management: FakeManagement
) -> None:
    management.all_keys = [KeyView(id="a", name="taken")]
    done = invoke("keys", "create", *flags)
    assert (done.exit_code, done.stdout, len(management.all_keys)) == (2, "", 1)
    assert said in done.stderr


def test_the_table_fits_80_columns_and_keeps_names_whole(invoke: Invoke, management: FakeManagement) -> None:
    management.all_keys = [
        KeyView(id="abcdefghij", name=LONG, requests_per_minute=60, models=("qwen3*",)),
        KeyView(id="bcdefghijk", name="b\x1b[2J", role="admin", enabled=False),
        KeyView(id="cdefghijkl", name="c", expires_at=NOW - 2 * DAY),
        KeyView(id="defghijklm", name="d", tokens_per_day=10**7, tokens_today=1_234_567),
    ]
    said = invoke("keys", "list").stdout
    assert max(map(len, said.splitlines())) <= 80
    assert any(line.startswith(f"{LONG} ") for line in said.splitlines())
    assert said.count("no limit\n") == 3
    assert "1,234,567\n" in said
    assert "disabled" in said
    assert "\x1b" not in said
    assert "ended 2 days ago" in said
    assert f"{LONG}: 60 requests a minute; only the models qwen3*\n" in said
    assert json.loads(invoke("keys", "list", "--json").stdout)["keys"][0]["name"] == LONG


def test_without_keys_it_is_said_how_to_make_one(invoke: Invoke) -> None:
    assert "qwen-gateway keys create" in invoke("keys", "list").stdout


def test_a_change_says_what_the_key_may_do_now(invoke: Invoke, management: FakeManagement) -> None:
    management.all_keys = [KeyView(id="a", name="my laptop", concurrency=2)]
    done = invoke("keys", "change", "my laptop", "--continuation", "suffix")
    assert (done.exit_code, management.all_keys) == (
        0,
        [KeyView(id="a", name="my laptop", concurrency=2, continuation="suffix")],
    )
    assert " ".join(done.stdout.split()) == (
        "The key my laptop is changed: role client, without an end, 2 at once; continuation suffix."
    )
    assert "my laptop: 2 at once; continuation suffix\n" in invoke("keys", "list").stdout
    told = json.loads(invoke("keys", "change", "a", "--continuation", "default", "--json").stdout)
    assert (told["continuation"], told["concurrency"]) == (None, 2)


@pytest.mark.parametrize("flags", [(), ("--continuation", "sometimes")])
def test_a_change_of_nothing_known_is_refused(
    flags: tuple[str, ...], invoke: Invoke, management: FakeManagement
) -> None:
    management.all_keys = [KeyView(id="a", name="laptop")]
    done = invoke("keys", "change", "laptop", *flags)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--continuation" in done.stderr


def test_disabling_says_what_stops_and_how_to_undo_it(invoke: Invoke, management: FakeManagement) -> None:
    management.all_keys = [KeyView(id="a", name="my laptop")]
    done = invoke("keys", "disable", "my laptop")
    assert (done.exit_code, management.all_keys[0].enabled) == (0, False)
    words = " ".join(done.stdout.split())
    assert "programs that call with it are refused" in words
    assert "qwen-gateway keys enable 'my laptop'" in words
    assert json.loads(invoke("keys", "enable", "a", "--json").stdout)["enabled"] is True
    assert "works again" in invoke("keys", "enable", "a").stdout


def test_rotating_prints_the_new_key_and_says_that_the_old_one_stops(
    invoke: Invoke, management: FakeManagement
) -> None:
    management.all_keys = [KeyView(id="a", name="laptop")]
    done = invoke("keys", "rotate", "laptop")
    assert (done.exit_code, done.stdout) == (0, "sk-qg-a-second\n")
    assert "The old one no longer works" in done.stderr
    assert json.loads(invoke("keys", "rotate", "a", "--json").stdout)["key"] == "sk-qg-a-second"


@pytest.mark.parametrize("command", ["disable", "enable", "rotate", "change"])
def test_an_unknown_key_is_a_plain_error(command: str, invoke: Invoke) -> None:
    done = invoke("keys", command, "x", *(("--continuation", "auto") if command == "change" else ()))
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", "qwen-gateway: There is no key 'x'.\n")


def _satisfied(management: Management) -> None:
    """Only for mypy: the management is what the commands ask for."""
    _: KeyManagement = management
