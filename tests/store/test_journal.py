"""The journal of chats: what `put` has returned for is never lost, and what it has not is not believed."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qwen_gateway.relay.ports import ChatJournal, ChatRecord
from qwen_gateway.store import journal as journal_module
from qwen_gateway.store.journal import FileJournal
from qwen_gateway.store.lock import Taken
from qwen_gateway.turn.faults import StorageUnavailable

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
LINUX = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full, which Linux has")


def record(number: int, chat_id: str | None = "c", due: float = 5.5) -> ChatRecord:
    return ChatRecord(f"API {number}", "account", chat_id, due)


ONE, TWO, THREE = record(1), record(2), record(3, None)
Open = Callable[[], FileJournal]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "chats.jsonl"


@pytest.fixture
def reopened(path: Path) -> Iterator[Open]:
    """Opens the journal; the one opened before is closed first, as a new process would find it."""
    last: list[FileJournal] = []

    def close() -> None:
        while last:
            last.pop().close()

    def again() -> FileJournal:
        close()
        last.append(FileJournal(path))
        return last[-1]

    yield again
    close()


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def test_a_new_journal_is_empty(reopened: Open) -> None:
    journal: ChatJournal = reopened()
    assert journal.records() == []


def test_changes_outlive_the_process(reopened: Open) -> None:
    journal = reopened()
    for each in (ONE, TWO, THREE):
        journal.put(each)
    journal.put(made := record(3, "made"))
    journal.remove(ONE.title)
    journal.remove("API never heard of")
    assert journal.records() == [TWO, made]
    assert reopened().records() == [TWO, made]
    assert reopened().records() == [TWO, made]


def test_a_line_is_in_the_file_before_put_returns(reopened: Open, path: Path) -> None:
    journal = reopened()
    for number in range(1, 4):
        journal.put(record(number))
        assert lines(path) == number


def test_texts_that_look_like_lines_stay_one_record(reopened: Open) -> None:
    odd = ChatRecord('API \n{"gone":"API 1"}\r\u2028\x85"\\', "ключ", "ч", 0.0)
    journal = reopened()
    journal.put(ONE)
    journal.put(odd)
    assert reopened().records() == [ONE, odd]


def test_opening_writes_only_what_is_still_there(reopened: Open, path: Path) -> None:
    journal = reopened()
    for _ in range(20):
        journal.put(ONE)
        journal.put(TWO)
        journal.remove(ONE.title)
    assert lines(path) == 60
    reopened()
    assert lines(path) == 1


@POSIX
def test_nobody_else_may_read_it(reopened: Open, path: Path) -> None:
    before = os.umask(0)
    try:
        reopened().put(ONE)
    finally:
        os.umask(before)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_a_second_one_is_refused_while_the_first_is_open(reopened: Open, path: Path) -> None:
    reopened().put(ONE)
    with pytest.raises(Taken):
        FileJournal(path)
    assert reopened().records() == [ONE], "the refused one has changed nothing"


# --- what a crash leaves ---

TWO_LINE = b'{"put":{"title":"API 2","account":"account","chat_id":"c","due":5.5}}\n'
DAMAGE: dict[str, bytes] = {
    "a torn last line": TWO_LINE[:-20],
    "a last line without its end": TWO_LINE[:-1] + b"",
    "an empty line": b"\n\n",
    "no JSON": b"hello\n",
    "other JSON": b"[1, 2]\nnull\n5\n{}\n",
    "a record of another shape": b'{"put":{"title":5}}\n',
    "bytes that are no text": b"\xff\xfe\x00\x01\n",
    "half a character": TWO_LINE.replace(b"API 2", b"API \xe4\xb8") + b"",
    "blocks of zeros": b"\x00" * 4096 + b"\n",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_costs_the_damaged_line_alone(name: str, reopened: Open, path: Path) -> None:
    reopened().put(ONE)
    with path.open("ab") as file:
        file.write(DAMAGE[name])
    journal = reopened()
    whole = name == "a last line without its end"
    assert journal.records() == ([ONE, TWO] if whole else [ONE])
    journal.put(THREE)
    assert reopened().records() == ([ONE, TWO, THREE] if whole else [ONE, THREE])


def test_damage_in_the_middle_does_not_hide_what_follows(reopened: Open, path: Path) -> None:
    reopened().put(ONE)
    with path.open("ab") as file:
        file.write(b'{"put":{"tit\n' + TWO_LINE)
    assert reopened().records() == [ONE, TWO]


def test_a_new_file_that_a_crash_left_half_written_is_ignored(reopened: Open, path: Path) -> None:
    reopened().put(ONE)
    path.with_suffix(".new").write_bytes(TWO_LINE * 100)
    assert reopened().records() == [ONE]


WRITER = """
import sys
from pathlib import Path
from qwen_gateway.relay.ports import ChatRecord
from qwen_gateway.store import journal as module
module.COMPACT_AT = 7
journal = module.FileJournal(Path(sys.argv[1]))
for number in range(1_000_000):
    journal.put(ChatRecord(f"API {number}", "account", None, 0.0))
    if number >= 5:
        journal.remove(f"API {number - 5}")
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_a_kill_loses_nothing_that_was_put(path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(300)]
        writer.kill()
        said += writer.stdout.readlines()
        writer.wait(20)
    # Also the last line that it said may be cut.
    last = int([line for line in said if line.endswith(b"\n")][-1])
    journal = FileJournal(path)
    kept = {int(each.title.split()[1]) for each in journal.records()}
    journal.close()
    assert set(range(last - 4, last + 1)) - kept <= {last - 4}, "the next removal may have been written already"
    assert min(kept) >= last - 4, "what was removed has not come back"


# --- growing ---


def test_history_is_dropped_when_there_is_too_much_of_it(
    reopened: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "COMPACT_AT", 10)
    journal = reopened()
    journal.put(ONE)
    for _ in range(100):
        journal.put(TWO)
        journal.remove(TWO.title)
    assert lines(path) <= 13
    assert reopened().records() == [ONE]


@pytest.mark.parametrize("count", range(1, 8))
def test_the_very_change_that_makes_the_file_new_is_in_it(
    count: int, reopened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "COMPACT_AT", 2)
    journal = reopened()
    for number in range(count):
        journal.put(record(0, f"try {number}"))
    for number in range(1, count):
        journal.put(record(number))
        journal.remove(f"API {number - 1}")
    believed = journal.records()
    assert reopened().records() == believed


# --- a disk that refuses ---


def failing(monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """A disk on which `after` more bytes fit. As a real one does, it takes a part of the write that fills it."""
    left = [after]
    write = os.write

    def limited(file: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = write(file, data[: left[0]])
        left[0] -= taken
        return taken

    monkeypatch.setattr(os, "write", limited)


@pytest.mark.parametrize("fits", [0, 1, 30, 66])
def test_a_full_disk_is_a_fault_and_the_record_is_not_believed(
    fits: int, reopened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = reopened()
    journal.put(ONE)
    with monkeypatch.context() as patch:
        failing(patch, after=fits)
        with pytest.raises(StorageUnavailable, match="No space left"):
            journal.put(TWO)
    assert journal.records() == [ONE]
    journal.put(THREE)
    assert reopened().records() == [ONE, THREE], "what came after the cut line is not lost with it"


@LINUX
def test_a_device_that_is_full(reopened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = reopened()
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(journal, "_file", full)
            with pytest.raises(StorageUnavailable):
                journal.put(ONE)
    finally:
        os.close(full)
    assert journal.records() == []


def test_a_new_file_that_does_not_fit_leaves_the_old_one(
    reopened: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "COMPACT_AT", 1)
    journal = reopened()
    journal.put(ONE)
    journal.put(ONE)
    with monkeypatch.context() as patch:
        failing(patch, after=len(TWO_LINE) + 10)
        journal.put(ONE)
        assert lines(path) == 3
    journal.put(TWO)
    assert reopened().records() == [ONE, TWO]
