"""The journals of `ask`: one for each that runs, and nothing that one has left is lost."""

from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from qwen_gateway.app.ask_journal import MOST, ask_journal, gather
from qwen_gateway.relay.ports import ChatRecord
from qwen_gateway.settings import SettingsError
from qwen_gateway.store.journal import FileJournal


def record(name: str) -> ChatRecord:
    return ChatRecord(f"API {name}", "account", f"chat-{name}", 0.0)


def test_each_has_its_own_and_one_too_many_is_told(tmp_path: Path) -> None:
    with ExitStack() as journals:
        for _ in range(MOST):
            journals.enter_context(closing(ask_journal(tmp_path)))
        assert len(list(tmp_path.glob("asks*.jsonl"))) == MOST
        with pytest.raises(SettingsError, match="are being answered already"):
            ask_journal(tmp_path)
    ask_journal(tmp_path).close()


def test_what_others_have_left_is_taken_over_once(tmp_path: Path) -> None:
    with closing(ask_journal(tmp_path)) as first, closing(ask_journal(tmp_path)) as second:
        first.put(record("a"))
        second.put(record("b"))
    with closing(ask_journal(tmp_path)) as heir, closing(ask_journal(tmp_path)) as other:
        assert heir.records() == [record("a"), record("b")]
        assert other.records() == []


def test_what_is_still_held_stays(tmp_path: Path) -> None:
    with closing(ask_journal(tmp_path)) as running, closing(FileJournal(tmp_path / "chats.jsonl")) as gateways:
        running.put(record("a"))
        gather(gateways, tmp_path)
        assert gateways.records() == []
        assert running.records() == [record("a")]


def test_the_gateways_own_journal_takes_over_as_well(tmp_path: Path) -> None:
    with closing(ask_journal(tmp_path)) as left:
        left.put(record("a"))
    with closing(FileJournal(tmp_path / "chats.jsonl")) as gateways:
        gather(gateways, tmp_path)
        assert gateways.records() == [record("a")]
    with closing(ask_journal(tmp_path)) as next_one:
        assert next_one.records() == []


def test_a_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be used"):
        ask_journal(tmp_path / "file")
