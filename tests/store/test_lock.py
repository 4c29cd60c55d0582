"""The lock on the journal: one process at a time, and no longer than that process lives."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qwen_gateway.store import lock

HOLD = """
import sys
from pathlib import Path
from qwen_gateway.store import lock
lock.take(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""
TRY = """
import sys
from pathlib import Path
from qwen_gateway.store import lock
try:
    lock.take(Path(sys.argv[1]))
except lock.Taken:
    sys.exit(3)
"""


def free_for_another_process(path: Path) -> bool:
    code = subprocess.run([sys.executable, "-c", TRY, str(path)], timeout=20, check=False).returncode
    assert code in (0, 3)
    return code == 0


def test_another_process_cannot_take_what_this_one_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    descriptor = lock.take(path)
    try:
        assert not free_for_another_process(path)
    finally:
        os.close(descriptor)
    assert free_for_another_process(path)


def test_this_process_cannot_take_what_another_holds_until_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(lock.Taken, match=r"a\.lock"):
            lock.take(path)
        other.kill()
        other.wait(20)
    os.close(lock.take(path))


def test_a_lock_is_taken_once_within_a_process_too(tmp_path: Path) -> None:
    descriptor = lock.take(tmp_path / "a.lock")
    with pytest.raises(lock.Taken):
        lock.take(tmp_path / "a.lock")
    os.close(descriptor)


def test_a_file_that_cannot_be_locked_at_all_is_not_called_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", none_left)
    with pytest.raises(OSError, match="No locks available"):
        lock.take(tmp_path / "a.lock")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        lock.take(tmp_path / "folder")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_nobody_else_may_open_it(tmp_path: Path) -> None:
    os.close(lock.take(tmp_path / "a.lock"))
    assert (tmp_path / "a.lock").stat().st_mode & 0o777 == 0o600
