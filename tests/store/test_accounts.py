"""What every engine must do with accounts and pauses, also when several processes do it at once."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
from cryptography.fernet import Fernet
from sqlalchemy import text
from structlog.testing import capture_logs

from qwen_gateway.relay.ports import AccountStore, Check, Secret, StoredAccount, StoredPause
from qwen_gateway.store.accounts import SqlAccounts
from qwen_gateway.store.database import Database
from qwen_gateway.store.revisions import SqlRevisions
from qwen_gateway.store.site_files import SqlSiteFiles
from qwen_gateway.store.vault import Vault
from qwen_gateway.store.vault_keys import KeyFile, rotate
from qwen_gateway.turn.faults import BadVault, NameTaken, StorageUnavailable
from qwen_gateway.turn.files import SiteFile

from .conftest import SECONDS

KEY = Fernet.generate_key()
CANARY = b"canary-in-the-session"
UNDO_CANARY = b"canary-in-the-undo"
ONE = StoredAccount(
    id="a1",
    name="Mine",
    session=Secret(CANARY),
    source="environment",
    origin="0123",
    paused=True,
    created_at=1_700_000_000.25,
    check=Check("valid", 1_700_000_001.5, "All is well."),
    undo=UNDO_CANARY,
)
TWO = StoredAccount("a2", "Yours ’; DROP TABLE accounts; --", Secret(b"\x00\xff two"), created_at=5.0)
REST = StoredPause("a1", "qwen3-max", 10.0, 20.5, "upstream_rate_limited", "Too many.", 3)


@pytest.fixture
def store(database: Database) -> SqlAccounts:
    return SqlAccounts(database, Vault([KEY]))


@pytest.fixture
async def other(url: str) -> AsyncIterator[SqlAccounts]:
    """The same database over connections of its own, as another process has them."""
    database = Database(url, seconds=SECONDS)
    yield SqlAccounts(database, Vault([KEY]))
    await database.close()


async def numbers(database: Database) -> dict[str, int]:
    return await SqlRevisions(database).read()


async def raised(database: Database, before: dict[str, int]) -> set[str]:
    return {name for name, number in (await numbers(database)).items() if number > before[name]}


def test_it_is_what_the_port_asks_for(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'unused'}", seconds=1)
    store: AccountStore = SqlAccounts(database, Vault([KEY]))
    assert "canary" not in repr(store)
    assert KEY.decode() not in repr(vars(store))


async def test_a_new_database_has_none(store: SqlAccounts) -> None:
    assert await store.load() == []
    assert await store.pauses() == []


async def test_all_of_an_account_comes_back(store: SqlAccounts, other: SqlAccounts) -> None:
    revision = await store.put(ONE)
    assert await other.load() == [msgspec.structs.replace(ONE, revision=revision)]


async def test_accounts_come_by_the_time_of_their_creation(store: SqlAccounts) -> None:
    await store.put(ONE)
    await store.put(TWO)
    assert [account.id for account in await store.load()] == ["a2", "a1"]


async def test_names_and_texts_are_values_and_never_statements(store: SqlAccounts) -> None:
    await store.put(TWO)
    await store.set_check("a2", Check("unclear", 1.0, "'; DROP TABLE accounts; -- {{7*7}} %s :id"))
    (account,) = await store.load()
    assert account.name == TWO.name
    assert account.check.text == "'; DROP TABLE accounts; -- {{7*7}} %s :id"
    assert not await store.remove("' OR ''='")
    assert len(await store.load()) == 1


async def test_putting_it_again_replaces_it_and_raises_its_revision(store: SqlAccounts) -> None:
    first = await store.put(ONE)
    changed = msgspec.structs.replace(ONE, name="Renamed", session=Secret(b"fresh"), undo=None, paused=False)
    second = await store.put(changed)
    assert second > first
    assert await store.load() == [msgspec.structs.replace(changed, revision=second)]


async def test_a_taken_name_is_named_and_nothing_is_changed(store: SqlAccounts, database: Database) -> None:
    await store.put(ONE)
    await store.put(TWO)
    before, rows = await numbers(database), await store.load()
    for account_id in ("a3", "a2"):
        with pytest.raises(NameTaken, match="another account named 'Mine'") as caught:
            await store.put(msgspec.structs.replace(TWO, id=account_id, name="Mine", session=Secret(CANARY)))
        assert CANARY.decode() not in repr(caught.value)
        assert caught.value.__cause__ is None
    assert await store.load() == rows
    assert await raised(database, before) == set()


async def test_one_name_is_given_once_however_many_want_it(store: SqlAccounts, other: SqlAccounts) -> None:
    wanted = [msgspec.structs.replace(TWO, id=f"b{number}", name="Wanted") for number in range(20)]
    ended = await asyncio.gather(
        *((store, other)[number % 2].put(account) for number, account in enumerate(wanted)), return_exceptions=True
    )
    assert sum(isinstance(end, int) for end in ended) == 1
    assert sum(isinstance(end, NameTaken) for end in ended) == 19


async def test_one_id_that_many_put_at_once_is_one_account_with_a_revision_for_each(
    store: SqlAccounts, other: SqlAccounts
) -> None:
    got = await asyncio.gather(*((store, other)[number % 2].put(ONE) for number in range(20)))
    assert len(set(got)) == 20
    (account,) = await store.load()
    assert account.revision == max(got)


async def test_a_session_is_saved_by_who_knows_its_revision_only(store: SqlAccounts, other: SqlAccounts) -> None:
    revision = await store.put(ONE)
    newer = await store.save_session("a1", Secret(b"renewed"), revision)
    assert newer is not None
    assert newer > revision
    assert await other.save_session("a1", Secret(b"late"), revision) is None
    (account,) = await other.load()
    assert (account.session, account.revision) == (Secret(b"renewed"), newer)
    assert await store.save_session("gone", Secret(b"x"), 1) is None


async def test_of_many_that_save_a_session_at_once_one_wins_and_its_session_stays(
    store: SqlAccounts, other: SqlAccounts
) -> None:
    revision = await store.put(ONE)
    got = await asyncio.gather(
        *((store, other)[n % 2].save_session("a1", Secret(b"session %d" % n), revision) for n in range(30))
    )
    (winner,) = [number for number, new in enumerate(got) if new is not None]
    (account,) = await store.load()
    assert account.session == Secret(b"session %d" % winner)
    assert account.revision == got[winner]


async def test_who_holds_a_removed_account_does_not_overwrite_the_one_that_came_back(store: SqlAccounts) -> None:
    old = await store.put(ONE)
    for _ in range(3):
        renewed = await store.save_session("a1", Secret(b"renewed"), old)
        assert renewed is not None
        old = renewed
    await store.remove("a1")
    new = await store.put(ONE)
    assert new > old
    for revision in range(old + 1):
        assert await store.save_session("a1", Secret(b"stale"), revision) is None


async def test_each_change_raises_its_number_and_a_change_of_nothing_does_not(
    store: SqlAccounts, database: Database
) -> None:
    before = await numbers(database)
    assert not await store.set_paused("a1", True)
    assert not await store.set_check("a1", Check())
    assert not await store.set_undo("a1", b"x")
    assert not await store.remove("a1")
    assert await store.save_session("a1", Secret(b"x"), 0) is None
    await store.clear_pauses("a1")
    assert await raised(database, before) == set()
    revision = await store.put(ONE)
    assert await raised(database, before) == {"accounts"}
    for change in (
        store.set_paused("a1", False),
        store.set_check("a1", Check("expired", 9.0, "Log in again.")),
        store.set_undo("a1", None),
        store.save_session("a1", Secret(b"x"), revision),
    ):
        before = await numbers(database)
        assert await change
        assert await raised(database, before) == {"accounts"}
    (account,) = await store.load()
    assert not account.paused
    assert account.check == Check("expired", 9.0, "Log in again.")
    assert account.undo is None
    before = await numbers(database)
    await store.put_pause(REST)
    assert await raised(database, before) == {"pauses"}
    before = await numbers(database)
    assert await store.remove("a1")
    assert await raised(database, before) == {"accounts", "pauses"}


async def test_a_change_and_its_number_are_seen_together(store: SqlAccounts, other: SqlAccounts, url: str) -> None:
    """Who sees the number sees the change: else it would look, find nothing new, and not look again."""
    await store.put(ONE)
    watching = Database(url, seconds=SECONDS)
    seen: list[bool] = []

    async def watch() -> None:
        last = (await numbers(watching))["accounts"]
        while len(seen) < 20:
            number = (await numbers(watching))["accounts"]
            if number > last:
                (account,) = await other.load()
                seen.append(account.check.at >= number)
                last = number

    async def change() -> None:
        at = 0.0
        while len(seen) < 20:
            at = float((await numbers(watching))["accounts"] + 1)
            await store.set_check("a1", Check("valid", at, ""))

    await asyncio.gather(watch(), change())
    await watching.close()
    assert all(seen)


async def test_pauses_are_added_replaced_and_cleared(store: SqlAccounts, other: SqlAccounts) -> None:
    whole = StoredPause("a1", "", 1.0, 2.0, "upstream_challenge", "Act.", 1)
    stranger = StoredPause("not stored", "", 1.0, 2.0, "breaker_open", "Wait.")
    for pause in (REST, whole, stranger):
        await store.put_pause(pause)
    later = msgspec.structs.replace(REST, until=99.0, challenges=4)
    await other.put_pause(later)
    assert await store.pauses() == [whole, later, stranger]
    await store.clear_pauses("a1")
    assert await store.pauses() == [stranger]


ODD = "\0 \ud800 ж" + "x" * 5000


async def test_odd_texts_are_stored_as_far_as_they_can_be(store: SqlAccounts) -> None:
    """The site's words and names end up here; a refusal would come back every second."""
    await store.put_pause(StoredPause(ODD, ODD, 1.0, 2.0, ODD, ODD))
    await store.put_pause(StoredPause("a1", "\0", 1.0, 2.0, "", ""))
    nul, odd = sorted(await store.pauses(), key=lambda pause: len(pause.what))
    assert nul.what == "?", "not the empty one, which means the whole account"
    assert odd.text.startswith("? ? жxxx")
    assert [len(part) for part in (odd.account, odd.what, odd.code)] == [64, 200, 60]
    revision = await store.put(msgspec.structs.replace(ONE, name=ODD, check=Check("valid", 1.0, ODD)))
    assert await store.put(msgspec.structs.replace(ONE, name=ODD)) > revision
    assert await store.set_check("a1", Check("unclear", 2.0, ODD))
    (account,) = await store.load()
    assert account.name == "? ? ж" + "x" * 95
    assert account.check.text.startswith("? ? жxxx")


async def test_an_account_takes_its_pauses_with_it(store: SqlAccounts) -> None:
    await store.put(ONE)
    await store.put_pause(REST)
    await store.put_pause(msgspec.structs.replace(REST, account="a2"))
    assert await store.remove("a1")
    assert [pause.account for pause in await store.pauses()] == ["a2"]
    assert not await store.remove("a1")


async def test_an_account_takes_what_is_known_of_its_uploads_with_it(store: SqlAccounts, database: Database) -> None:
    uploads = SqlSiteFiles(database, Vault([KEY]))
    await store.put(ONE)
    for account in ("a1", "a1", "a2"):
        await uploads.begin(account, b"d", "owner", 1.0)
    await uploads.done(await uploads.begin("a1", b"d", "owner", 1.0), SiteFile("s", b"{}"), 2.0)
    assert await store.remove("a1")
    assert await uploads.find("a1", b"d", 0.0) is None
    assert [left.account for left in await uploads.leftovers("me", 2.0)] == ["a2"]


async def test_one_that_no_key_opens_takes_what_is_known_of_its_uploads_with_it(
    store: SqlAccounts, database: Database
) -> None:
    uploads = SqlSiteFiles(database, Vault([KEY]))
    await SqlAccounts(database, Vault([Fernet.generate_key()])).put(ONE)
    await store.put(TWO)
    for account in ("a1", "a2"):
        await uploads.begin(account, b"d", "owner", 1.0)
    assert await store.remove_unreadable() == ["Mine"]
    assert [left.account for left in await uploads.leftovers("me", 2.0)] == ["a2"]


async def test_one_of_many_may_renew(store: SqlAccounts, other: SqlAccounts) -> None:
    await store.put(ONE)
    got = await asyncio.gather(*((store, other)[n % 2].claim_refresh("a1", f"p{n}", 100.0, 30.0) for n in range(50)))
    assert sum(got) == 1


async def test_one_of_many_that_claim_under_one_name_may_renew(store: SqlAccounts) -> None:
    await store.put(ONE)
    got = await asyncio.gather(*(store.claim_refresh("a1", "p", 100.0, 30.0) for _ in range(10)))
    assert sum(got) == 1


async def test_a_claim_ends_when_it_is_given_back_or_by_its_time(store: SqlAccounts, other: SqlAccounts) -> None:
    await store.put(ONE)
    assert await store.claim_refresh("a1", "p", 100.0, 30.0)
    await other.release_refresh("a1", "q")  # not theirs to give back
    assert not await other.claim_refresh("a1", "q", 129.9, 30.0)
    assert await other.claim_refresh("a1", "q", 130.0, 30.0)
    await store.release_refresh("a1", "p")  # no longer theirs
    assert not await store.claim_refresh("a1", "p", 131.0, 30.0)
    await other.release_refresh("a1", "q")
    assert await store.claim_refresh("a1", "p", 131.0, 30.0)
    assert not await store.claim_refresh("gone", "p", 131.0, 30.0)


async def test_a_claim_survives_changes_of_the_account_and_is_none_itself(
    store: SqlAccounts, database: Database
) -> None:
    await store.put(ONE)
    before = await numbers(database)
    assert await store.claim_refresh("a1", "p", 100.0, 30.0)
    assert await raised(database, before) == set()
    await store.put(ONE)
    assert not await store.claim_refresh("a1", "q", 101.0, 30.0)


# The vault


async def test_another_key_is_refused_by_name_and_the_rows_stay(store: SqlAccounts, database: Database) -> None:
    await store.put(ONE)
    wrong = SqlAccounts(database, Vault([Fernet.generate_key()]))
    with pytest.raises(BadVault, match="every machine that uses the same database needs the same key"):
        await wrong.load()
    assert len(await store.load()) == 1
    assert await wrong.remove("a1")


async def test_one_that_cannot_be_opened_is_left_out_and_told_once(store: SqlAccounts, database: Database) -> None:
    stranger = SqlAccounts(database, Vault([Fernet.generate_key()]))
    await stranger.put(ONE)
    await store.put(TWO)
    with capture_logs() as logs:
        for _ in range(3):
            assert [account.id for account in await store.load()] == ["a2"]
    assert store.unreadable == ("Mine",)
    (line,) = logs
    assert (line["event"], line["accounts"]) == ("account_unreadable", ["a1"])
    assert "Mine" not in repr(line)
    await stranger.put(msgspec.structs.replace(TWO, id="a3", name="Third"))
    with capture_logs() as logs:
        await store.load()
    assert [line["accounts"] for line in logs] == [["a1", "a3"]], "it is told again when it is another one"


async def test_a_fresh_session_makes_an_unreadable_account_whole(store: SqlAccounts, database: Database) -> None:
    await SqlAccounts(database, Vault([Fernet.generate_key()])).put(ONE)
    await store.put(TWO)
    await store.load()
    await store.put(ONE)
    assert [account.id for account in await store.load()] == ["a2", "a1"]
    assert store.unreadable == ()


async def test_when_none_can_be_opened_the_key_is_wrong(store: SqlAccounts, database: Database) -> None:
    stranger = SqlAccounts(database, Vault([Fernet.generate_key()]))
    await stranger.put(ONE)
    await stranger.put(TWO)
    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(BadVault):
                await store.load()
    assert store.unreadable == ("Yours ’; DROP TABLE accounts; --", "Mine")
    assert len(logs) == 1


@pytest.mark.parametrize("swap", [
    "UPDATE accounts SET session = (SELECT o.session FROM accounts o WHERE o.id = 'a2') WHERE id = 'a1'",
    "UPDATE accounts SET session = undo WHERE id = 'a1'",
    "UPDATE accounts SET undo = session WHERE id = 'a1'",
])  # fmt: skip
async def test_sealed_values_cannot_be_put_in_each_others_place(
    store: SqlAccounts, database: Database, swap: str
) -> None:
    await store.put(ONE)
    await store.put(TWO)
    await database.write(lambda c: c.execute(text(swap)))
    assert [account.id for account in await store.load()] == ["a2"]
    assert store.unreadable == ("Mine",)


async def test_everything_is_resealed_at_once(store: SqlAccounts, database: Database) -> None:
    revision = await store.put(ONE)
    await store.put(TWO)
    new = Fernet.generate_key()
    both = SqlAccounts(database, Vault([new, KEY]))
    before = await both.load()
    assert await both.reseal() == 2
    assert await both.reseal() == 0
    assert await SqlAccounts(database, Vault([new])).load() == before
    with pytest.raises(BadVault):
        await store.load()
    # The session is the same one, so who holds it may still save it.
    assert await both.save_session("a1", Secret(b"renewed"), revision) is not None


async def test_one_that_cannot_be_opened_keeps_all_from_being_resealed(store: SqlAccounts, database: Database) -> None:
    await store.put(ONE)
    stranger = SqlAccounts(database, Vault([Fernet.generate_key()]))
    await stranger.put(TWO)
    with pytest.raises(BadVault):
        await SqlAccounts(database, Vault([Fernet.generate_key(), KEY])).reseal()
    await stranger.remove("a2")
    assert [account.id for account in await store.load()] == ["a1"]


async def test_a_rotation_of_the_key_leaves_everything_readable(database: Database, tmp_path: Path) -> None:
    place = KeyFile(tmp_path / "keys" / "secret.key")
    first = SqlAccounts(database, Vault(place.read(create=True)))
    await first.put(ONE)
    before = await first.load()

    async def reseal(keys: Sequence[bytes]) -> int:
        return await SqlAccounts(database, Vault(keys)).reseal()

    await rotate(place, reseal, create=False)
    assert await SqlAccounts(database, Vault(place.read(create=False))).load() == before
    with pytest.raises(BadVault):
        await first.load()


# At rest


async def fill(store: SqlAccounts) -> None:
    revision = await store.put(ONE)
    await store.save_session("a1", Secret(b"renewed " + CANARY), revision)
    await store.set_undo("a1", b"again " + UNDO_CANARY)


async def test_nothing_secret_is_in_the_file_or_beside_it(tmp_path: Path) -> None:
    from tests.services import migrated_by  # noqa: PLC0415

    url = f"sqlite+aiosqlite:///{tmp_path / 'gateway.sqlite3'}"
    await migrated_by(url)
    database = Database(url, seconds=SECONDS)
    await fill(SqlAccounts(database, Vault([KEY])))
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    await database.close()
    assert b"Mine" in found["gateway.sqlite3-wal"]
    for content in (*found.values(), (tmp_path / "gateway.sqlite3").read_bytes()):
        assert CANARY not in content
        assert UNDO_CANARY not in content
        assert KEY not in content


@pytest.mark.needs("postgresql")
async def test_nothing_secret_is_in_a_dump(request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("postgres")
    with server.fresh_database() as url:
        database = Database(url, seconds=SECONDS)
        await fill(SqlAccounts(database, Vault([KEY])))
        await database.close()
        dump: bytes = server.dump(url.rsplit("/", 1)[1])
    assert b"Mine" in dump
    for secret in (CANARY, UNDO_CANARY, KEY):
        assert secret not in dump
        assert secret.hex().encode() not in dump  # how a dump writes bytes


# Another process

ANOTHER = """
import asyncio, os, sys
from qwen_gateway.relay.ports import Secret
from qwen_gateway.store.accounts import SqlAccounts
from qwen_gateway.store.database import Database
from qwen_gateway.store.vault import Vault

async def main():
    database = Database(sys.argv[1], seconds=10)
    store = SqlAccounts(database, Vault([os.environ["KEY"].encode()]))
    name = sys.argv[2]
    (account,) = await store.load()
    print("ready", flush=True)
    sys.stdin.readline()
    claims = saves = 0
    for turn in range(20):
        claims += await store.claim_refresh(account.id, name, 100.0 * turn, 100.0)
        (account,) = await store.load()
        saves += await store.save_session(account.id, Secret(name.encode()), account.revision) is not None
    print(claims, saves)
    await database.close()

asyncio.run(main())
"""


async def test_processes_share_it(store: SqlAccounts, url: str) -> None:
    first = await store.put(ONE)
    others = [
        subprocess.Popen(
            [sys.executable, "-c", ANOTHER, url, f"p{number}"],
            env={**os.environ, "KEY": KEY.decode()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for other in others:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
    said = await asyncio.gather(*(asyncio.to_thread(other.communicate, "\n", 40) for other in others))
    claims, saves = (sum(int(output.split()[at]) for output, _ in said) for at in (0, 1))
    assert claims == 20
    (account,) = await store.load()
    assert account.revision == first + saves
    assert account.session in [Secret(f"p{number}".encode()) for number in range(3)]


async def test_without_its_database_every_method_says_so() -> None:
    database = Database("postgresql+asyncpg://user:unused@127.0.0.1:1/name", seconds=5.0)
    store = SqlAccounts(database, Vault([KEY]))
    for work in (
        store.load(), store.put(ONE), store.save_session("a1", Secret(b"x"), 1), store.set_paused("a1", True),
        store.set_check("a1", Check()), store.set_undo("a1", None), store.remove("a1"),
        store.claim_refresh("a1", "p", 1.0, 1.0), store.release_refresh("a1", "p"), store.pauses(),
        store.put_pause(REST), store.clear_pauses("a1"), store.reseal(),
    ):  # fmt: skip
        with pytest.raises(StorageUnavailable) as caught:
            await work
        assert "canary" not in repr(caught.value.__cause__)
    await database.close()


async def test_accounts_whose_key_is_lost_can_be_removed_and_the_others_stay(
    store: SqlAccounts, database: Database
) -> None:
    lost = SqlAccounts(database, Vault([Fernet.generate_key()]))
    await lost.put(ONE)
    await lost.put_pause(REST)
    with pytest.raises(BadVault, match="secrets forget"):
        await store.load()
    assert await store.remove_unreadable() == [ONE.name]
    await store.put(TWO)
    assert await store.remove_unreadable() == []
    assert [row.id for row in await store.load()] == [TWO.id]
    assert await store.pauses() == []
