"""Who is at work on a data directory: told by locks, so that neither a kill nor a process's number misleads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from qwen_gateway.app.presence import STALE, Presence, presence_of, present
from qwen_gateway.settings import Settings, SettingsError

STAY = """
import sys
from pathlib import Path
from qwen_gateway.app.presence import present
with present(Path(sys.argv[1]), "other"):
    print("there", flush=True)
    sys.stdin.read()
"""


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "owners").iterdir())


def old(path: Path) -> Path:
    path.touch()
    os.utime(path, (path.stat().st_mtime - STALE - 1,) * 2)
    return path


def test_an_owner_is_gone_before_and_after_but_not_meanwhile(tmp_path: Path) -> None:
    presence = Presence(tmp_path)
    assert presence.gone("me")
    with present(tmp_path, "me"), present(tmp_path, "other"):
        assert not presence.gone("me")
        assert presence.gone("m")
    assert presence.gone("me")
    assert files(tmp_path) == []


def test_one_that_is_killed_is_gone_at_once_and_its_file_later(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STAY, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"there\n"
        assert not Presence(tmp_path).gone("other")
        other.kill()
        other.wait(20)
    assert Presence(tmp_path).gone("other")
    with present(tmp_path, "me"):
        assert files(tmp_path) == ["me.lock", "other.lock"]  # it might have been one that just begins
    old(tmp_path / "owners" / "other.lock")
    with present(tmp_path, "me"):
        assert files(tmp_path) == ["me.lock"]


def test_the_file_of_one_that_has_been_there_for_long_stays(tmp_path: Path) -> None:
    with present(tmp_path, "me"):
        old(tmp_path / "owners" / "me.lock")
        with present(tmp_path, "other"):
            assert files(tmp_path) == ["me.lock", "other.lock"]


def test_where_processes_share_only_a_database_nobody_can_tell(tmp_path: Path) -> None:
    assert presence_of(Settings(data_dir=tmp_path)) is not None
    assert presence_of(Settings(data_dir=tmp_path, database_url=SecretStr("postgresql://localhost/x"))) is None


def test_a_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "owners").touch()
    with pytest.raises(SettingsError, match="cannot be used"), present(tmp_path, "me"):
        pass
