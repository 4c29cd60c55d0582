"""Keys from text, file and keyring; made once, never replaced, and rotated without losing anything."""

import asyncio
import base64
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest

from qwen_gateway.store import lock, vault_keys
from qwen_gateway.store.vault import Vault
from qwen_gateway.store.vault_keys import KeyFile, KeyPlace, KeyRing, KeyTrouble, NoKey, parse, rotate
from qwen_gateway.turn.faults import BadVault

ONE, TWO = (base64.urlsafe_b64encode(bytes([number]) * 32) for number in (1, 2))  # ids of tests must not change
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")


class Memory(keyring.backend.KeyringBackend):
    """A keyring that forgets. broken: raises that. deaf: keeps nothing."""

    priority = 1
    broken: keyring.errors.KeyringError | None = None
    deaf = False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # theirs
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        if self.broken is not None:
            raise self.broken
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.broken is not None:
            raise self.broken
        if not self.deaf:
            self.entries[service, username] = password


@pytest.fixture
def memory() -> Iterator[Memory]:
    before = keyring.get_keyring()
    backend = Memory()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


@pytest.fixture(params=["file", "keyring"])
def place(request: pytest.FixtureRequest, tmp_path: Path, memory: Memory) -> KeyPlace:
    return KeyFile(tmp_path / "data" / "secret.key") if request.param == "file" else KeyRing(tmp_path / "data" / "lock")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "secret.key"


# Text


@pytest.mark.parametrize("between", [",", " , ", "\n", " "])
def test_keys_of_a_text_are_parted_by_commas_or_space(between: str) -> None:
    assert parse(between.join((ONE.decode(), TWO.decode())), "the setting") == [ONE, TWO]


@pytest.mark.parametrize("wrong", ["my passphrase", ONE.decode()[:-2], ONE.decode() + "AAAA", "é" * 44, "x" * 44])
def test_what_is_no_proper_key_is_refused_with_how_to_make_one_and_not_shown(wrong: str) -> None:
    with pytest.raises(KeyTrouble, match=r"of the setting is no proper key\..*Fernet\.generate_key") as caught:
        parse(wrong, "the setting")
    assert wrong.split(maxsplit=1)[0] not in str(caught.value)


def test_the_wrong_one_of_several_is_named_by_its_number() -> None:
    with pytest.raises(KeyTrouble, match="Key 2 of the setting"):
        parse(f"{ONE.decode()},{TWO.decode()[:-3]}", "the setting")


def test_the_key_that_the_error_tells_to_make_is_a_proper_one() -> None:
    command = vault_keys._HOW.split("makes one: python -c ")[1].strip('"')
    made = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert len(parse(made, "it")) == 1


# Both places


def test_the_first_key_is_made_once(place: KeyPlace) -> None:
    (key,) = place.read(create=True)
    assert place.read(create=True) == [key]
    Vault([key])


def test_where_no_key_may_be_made_there_is_none(place: KeyPlace, tmp_path: Path, memory: Memory) -> None:
    with pytest.raises(NoKey, match=r"no file .*secret.key|no entry qwen-gateway/secret-key"):
        place.read(create=False)
    assert not list(tmp_path.iterdir())
    assert not memory.entries
    assert place.read(create=True) == place.read(create=False)


async def test_a_rotation_where_no_key_may_be_made_makes_none(place: KeyPlace, tmp_path: Path) -> None:
    async def reseal(_keys: Sequence[bytes]) -> None:
        raise AssertionError

    with pytest.raises(NoKey):
        await rotate(place, reseal, create=False)
    assert not list(tmp_path.iterdir())


def test_several_keys_are_kept_in_order(place: KeyPlace) -> None:
    place.read(create=True)
    place.write([TWO, ONE])
    assert place.read(create=True) == [TWO, ONE]


class Stopped(Exception):
    """The process ended here."""


class Stored:
    """Two secrets that are resealed together; and a place that stops after some of its writes."""

    def __init__(self, place: KeyPlace, *, stop_after: int) -> None:
        self.place, self._left = place, stop_after
        vault = Vault(place.read(create=True))
        self.sealed = [vault.seal(b"a", "one"), vault.seal(b"b", "two")]

    def _step(self) -> None:
        if not self._left:
            raise Stopped
        self._left -= 1

    def read(self, *, create: bool) -> list[bytes]:
        return self.place.read(create=create)

    def write(self, keys: Sequence[bytes]) -> None:
        self._step()
        self.place.write(keys)

    async def reseal(self, keys: Sequence[bytes]) -> None:
        self._step()
        vault = Vault(keys)
        self.sealed = [vault.reseal(self.sealed[0], "one"), vault.reseal(self.sealed[1], "two")]

    def opened(self) -> list[bytes]:
        vault = Vault(self.place.read(create=True))
        return [vault.open(self.sealed[0], "one"), vault.open(self.sealed[1], "two")]


async def test_a_rotation_leaves_one_new_key_that_opens_everything(place: KeyPlace) -> None:
    stored = Stored(place, stop_after=99)
    (before,) = place.read(create=True)
    await rotate(stored, stored.reseal, create=False)
    (after,) = place.read(create=True)
    assert after != before
    assert stored.opened() == [b"a", b"b"]
    with pytest.raises(BadVault):
        Vault([before]).open(stored.sealed[0], "one")


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_a_rotation_that_stops_after_any_step_loses_nothing_and_can_be_done_again(
    place: KeyPlace, steps: int
) -> None:
    stored = Stored(place, stop_after=steps)
    (before,) = place.read(create=True)
    with pytest.raises(Stopped):
        await rotate(stored, stored.reseal, create=False)
    assert stored.opened() == [b"a", b"b"]
    stored._left = 99
    await rotate(stored, stored.reseal, create=False)
    assert stored.opened() == [b"a", b"b"]
    assert len(place.read(create=True)) == 1
    assert before not in place.read(create=True)


# The file


@posix
def test_nobody_else_may_read_the_file_or_enter_its_folder(path: Path) -> None:
    place = KeyFile(path)
    place.read(create=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    place.write([TWO])
    assert path.stat().st_mode & 0o777 == 0o600
    assert {file.name for file in path.parent.iterdir()} == {"secret.key", "secret.lock"}


@posix
def test_a_file_that_others_may_read_is_closed_to_them(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(ONE)
    path.chmod(0o644)
    assert KeyFile(path).read(create=True) == [ONE]
    assert path.stat().st_mode & 0o777 == 0o600


@posix
def test_a_file_that_others_may_read_and_that_cannot_be_closed_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    path.write_bytes(ONE)
    path.chmod(0o644)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refused)
    with pytest.raises(KeyTrouble, match=r"Other users may read .*secret\.key.*chmod 600"):
        KeyFile(path).read(create=True)


@pytest.mark.parametrize("content", [b"", b"\n", b"broken", ONE[:20], b"\xff\xfe\x00"])
def test_a_file_without_a_proper_key_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(KeyTrouble, match=r"secret\.key.*left as it is"):
        KeyFile(path).read(create=True)
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(KeyTrouble, match=r"data/secret\.key cannot be read or written"):
        KeyFile(tmp_path / "data" / "secret.key").read(create=True)


def test_a_write_that_fails_leaves_the_earlier_keys_and_no_other_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = KeyFile(path)
    before = place.read(create=True)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(KeyTrouble, match="No space left"):
            place.write([TWO])
    assert place.read(create=True) == before
    assert {file.name for file in path.parent.iterdir()} == {"secret.key", "secret.lock"}


def test_processes_that_start_at_once_end_with_the_same_key(path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from qwen_gateway.store.vault_keys import KeyFile\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "print(KeyFile(Path(sys.argv[1])).read(create=True))\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    others = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for other in others:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
    for other in others:
        assert other.stdin is not None
        other.stdin.write("\n")
        other.stdin.flush()
    said = {other.communicate(timeout=20)[0] for other in others}
    assert said == {f"{KeyFile(path).read(create=True)}\n"}


async def test_who_comes_while_another_makes_the_key_waits_and_takes_that_one(path: Path) -> None:
    path.parent.mkdir()
    held = lock.take(path.with_suffix(".lock"))
    reading = asyncio.create_task(asyncio.to_thread(KeyFile(path).read, create=True))
    await asyncio.sleep(0.05)
    KeyFile(path).write([ONE])
    os.close(held)
    assert await reading == [ONE]


def test_a_lock_that_is_never_given_back_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    held = lock.take(path.with_suffix(".lock"))
    monkeypatch.setattr(vault_keys, "_PATIENCE", 0.05)
    with pytest.raises(KeyTrouble, match="for a long time"):
        KeyFile(path).read(create=True)
    os.close(held)
    assert not path.exists()


# The keyring


def test_a_missing_package_is_named_with_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(KeyTrouble, match=r"pip install 'qwen-gateway\[keyring\]'"):
        KeyRing(tmp_path / "lock")


def test_the_package_is_not_imported_for_a_file(path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from qwen_gateway.store.vault_keys import KeyFile\n"
        "KeyFile(Path(sys.argv[1])).read(create=True)\n"
        "print('keyring' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_machine_without_a_keyring_is_named(tmp_path: Path, memory: Memory) -> None:
    memory.broken = keyring.errors.NoKeyringError("canary")
    with pytest.raises(KeyTrouble, match=r"cannot be used here \(NoKeyringError\)"):
        KeyRing(tmp_path / "lock").read(create=True)


def test_a_keyring_that_keeps_nothing_is_found_out_before_anything_is_sealed(tmp_path: Path, memory: Memory) -> None:
    memory.deaf = True
    with pytest.raises(KeyTrouble, match="does not keep"):
        KeyRing(tmp_path / "lock").read(create=True)


@pytest.mark.parametrize("content", ["", "broken"])
def test_a_broken_entry_is_refused_and_left_as_it_is(tmp_path: Path, memory: Memory, content: str) -> None:
    entry = (vault_keys.SERVICE, vault_keys.USER)
    memory.entries[entry] = content
    with pytest.raises(KeyTrouble, match="the keyring's entry qwen-gateway/secret-key"):
        KeyRing(tmp_path / "lock").read(create=True)
    assert memory.entries[entry] == content
