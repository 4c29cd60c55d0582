"""What no file of this project may say: where packages came from, and on which machine it was made."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))

# In two halves each, so that this file does not hold them.
FORBIDDEN = [
    first + second
    for first, second in [
        ("pypi", ".org"),
        ("python", "hosted"),
        ("npmjs", ".org"),
        ("npmjs", ".com"),
        ("index", "-url ="),
        ("/work", "/main"),
        ("/work", "/shared"),
        ("/work", "/.library"),
        ("/opt", "/pypi"),
        ("/opt", "/wheels"),
        ("/root", "/"),
        (".pyenv", "/versions"),
    ]
]


def _files() -> list[Path]:
    """All files that are in the project, or would be at the next `git add`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout, so it is not known which files belong to the project")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_locks_name_no_host_and_no_file(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert not re.search(r"://|file:|^\s*-{1,2}(?!hash=sha256:)\w|@ ", text, re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_pin_of_a_lock_has_a_hash(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        assert not line or re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line[:80]


def test_no_file_names_a_package_index_or_a_path_of_a_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in _files()
        if "static" not in path.parts  # a copy of somebody else's work
        for text in [path.read_bytes().decode("utf-8", "replace").lower()]
        for word in FORBIDDEN
        if word in text
    ]
    assert not found


def test_no_file_is_a_secret() -> None:
    assert not [path for path in _files() if path.name == ".env" or path.suffix in {".har", ".pem", ".key"}]
