"""Putting files into a storage on a socket: whole and in parts, what is tried again, and what stays when it ends."""

import asyncio
import gc
import io
import logging
import shutil
import ssl
import subprocess
import sys
import traceback
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

import pytest
import structlog
from aiohttp import web

from qwen_gateway.net import oss, oss_buckets, oss_client
from qwen_gateway.net.oss import OssStorage
from qwen_gateway.relay.file_ports import ObjectStorage
from qwen_gateway.turn.faults import Draining, Fault, SiteError, StorageUnavailable, TimedOut, Unreachable
from qwen_gateway.turn.files import Content, Ticket

from .raw import until
from .storage import (
    SECRETS,
    Act,
    Memory,
    Store,
    Zeros,
    breaking,
    client,
    damaging,
    delaying,
    holding,
    losing,
    refusal,
    refusing,
    storing,
    ticket,
)

KEY = "user/file-1_a b.txt"
SMALL = b"hello"
LARGE = bytes(range(256)) * 14  # 3584: four parts


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oss_client, "RETRY_DELAY", 0.01)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with storing() as made:
        yield made


class Put:
    """Puts a file, and writes down what is told meanwhile."""

    def __init__(self, log: list[str] | None = None) -> None:
        self.log = [] if log is None else log
        self.arrived: list[int] = []
        self.left: list[str] = []

    async def parted(self, upload: str) -> None:
        self.log.append(f"parted {upload}")

    async def __call__(self, storage: ObjectStorage, where: Ticket, content: Content) -> None:
        await storage.put(
            where, content, "text/x-test", parted=self.parted, left=self.left.append, progress=self.arrived.append
        )


async def refused(storage: ObjectStorage, where: Ticket, data: bytes = SMALL) -> Fault:
    content = Memory(data)
    with pytest.raises(Fault) as raised:
        await Put()(storage, where, content)
    assert content.open == 0
    return raised.value


# --- whole ---


async def test_a_small_file_goes_in_one_request(store: Store) -> None:
    content, put = Memory(SMALL), Put()
    async with client() as storage:
        await put(storage, ticket(store.endpoint), content)
    assert store.log == ["put"]
    assert store.objects == {KEY: (SMALL, "text/x-test")}
    assert put.arrived[-1] == len(SMALL)
    assert content.open == 0
    assert put.log == []


async def test_it_is_signed_for_the_region_with_the_leave_of_the_ticket(store: Store) -> None:
    async with client() as storage:
        await Put()(storage, ticket(store.endpoint), Memory(SMALL))
    (sent,) = store.headers
    assert sent["Authorization"].startswith(f"OSS4-HMAC-SHA256 Credential={SECRETS[0]}/")
    assert "/ap-southeast-1/oss/aliyun_v4_request," in sent["Authorization"]
    assert sent["x-oss-security-token"] == SECRETS[2]
    assert sent["Content-Length"] == str(len(SMALL))


# --- in parts ---


async def test_a_large_file_goes_in_parts_three_at_once(store: Store) -> None:
    content, put = Memory(LARGE * 3), Put(store.log)
    async with client() as storage:
        await put(storage, ticket(store.endpoint), content)
    assert store.objects[KEY][0] == LARGE * 3
    assert store.log[:2] == ["begin", "parted up-1"]
    assert sorted(store.log[2:-1]) == sorted(f"part {number}" for number in range(1, 12))
    assert store.log[-1] == "complete"
    assert 1 <= store.most <= 3
    assert put.arrived == sorted(put.arrived)
    assert put.arrived[-1] == content.size
    assert content.open == 0


async def test_there_are_never_more_than_a_thousand_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert oss.MOST_PARTS == 1000
    monkeypatch.setattr(oss, "MOST_PARTS", 10)
    async with client(above=10, part=1) as storage:
        await Put()(storage, ticket(store.endpoint), Memory(LARGE))
    assert store.objects[KEY][0] == LARGE
    assert sum(entry.startswith("part ") for entry in store.log) == 10


@pytest.mark.parametrize("act", [breaking, damaging, refusing("InternalError", 500)], ids=["lost", "damaged", "500"])
@pytest.mark.parametrize("name", ["part", "put"])
async def test_what_got_lost_is_sent_again(store: Store, name: str, act: Act) -> None:
    store.acts[name].append(act)
    content, put = Memory(LARGE), Put()
    async with client(above=1000 if name == "part" else 10_000) as storage:
        await put(storage, ticket(store.endpoint), content)
    assert store.objects[KEY][0] == LARGE
    assert sum(entry.startswith(name) for entry in store.log) == (5 if name == "part" else 2)
    assert put.arrived[-1] == len(LARGE)
    assert content.open == 0


async def test_a_file_damaged_again_and_again_is_not_taken_for_whole(store: Store) -> None:
    store.acts["put"] += [damaging] * 3
    async with client() as storage:
        fault = await refused(storage, ticket(store.endpoint))
    assert isinstance(fault, SiteError)
    assert fault.code == "upload_failed"
    assert store.log == ["put"] * 3


async def test_an_object_that_is_not_made_of_these_parts_is_noticed(store: Store) -> None:
    async def wrong(_request: object) -> None:
        store.uploads["up-1"][2] = b"something else"

    store.acts["complete"].append(wrong)
    async with client() as storage:
        await Put()(storage, ticket(store.endpoint), Memory(LARGE))
    assert store.log[-1] == "put"
    assert store.objects[KEY][0] == LARGE


# --- one request in place of parts ---


@pytest.mark.parametrize(
    ("name", "times"), [("begin", 1), ("part", 1), ("complete", 1)], ids=["begin", "part", "complete"]
)
async def test_where_parts_are_refused_one_request_does(store: Store, name: str, times: int) -> None:
    store.acts[name] += [refusing("AccessDenied", 403)] * times
    content, put = Memory(LARGE), Put()
    async with client() as storage:
        await put(storage, ticket(store.endpoint), content)
    assert store.objects[KEY] == (LARGE, "text/x-test")
    assert store.log[-1] == "put"
    assert store.uploads == {}
    assert ("abort" in store.log) == (name != "begin")
    assert 0 in put.arrived
    assert put.arrived[-1] == len(LARGE)
    assert content.open == 0


async def test_what_is_too_large_for_one_request_fails_instead(store: Store) -> None:
    store.acts["part"] += [refusing("AccessDenied", 403)] * 4
    async with client(single=3000) as storage:
        fault = await refused(storage, ticket(store.endpoint), LARGE)
    assert (type(fault), fault.code) == (SiteError, "upload_failed")
    assert store.log[-1] == "abort"
    assert store.uploads == {}


# --- leave ---


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("SecurityTokenExpired", ""),
        ("InvalidAccessKeyId", ""),
        ("InvalidSecurityToken", ""),
        ("AccessDenied", "Request has expired."),
    ],
)
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["whole", "in parts"])
async def test_leave_that_has_run_out_is_told_apart(store: Store, code: str, message: str, data: bytes) -> None:
    store.acts["put"].append(refusing(code, 403, message))
    store.acts["begin"].append(refusing(code, 403, message))
    async with client() as storage:
        fault = await refused(storage, ticket(store.endpoint), data)
    assert (type(fault), fault.code) == (SiteError, "upload_expired")
    assert len(store.log) == 1


async def test_leave_that_runs_out_between_parts_is_no_reason_for_one_request(store: Store) -> None:
    store.acts["part"] += [refusing("SecurityTokenExpired", 403)] * 4
    async with client() as storage:
        fault = await refused(storage, ticket(store.endpoint), LARGE)
    assert fault.code == "upload_expired"
    assert "put" not in store.log


async def test_a_wrong_clock_is_said_to_be_wrong(store: Store) -> None:
    store.acts["put"] += [refusing("RequestTimeTooSkewed", 403)] * 3
    async with client() as storage:
        fault = await refused(storage, ticket(store.endpoint))
    assert fault.code == "upload_failed"
    assert "clock" in fault.text


# --- networks and disks ---


async def test_a_storage_that_is_not_there(store: Store) -> None:
    nowhere = ticket("http://127.0.0.1:1")
    async with client() as storage:
        assert type(await refused(storage, nowhere)) is Unreachable
        assert type(await refused(storage, nowhere, LARGE)) is Unreachable
    assert store.log == []


@pytest.mark.parametrize("reads", [True, False], ids=["answers not", "takes no bytes"])
async def test_a_storage_that_keeps_silent(store: Store, reads: bool) -> None:
    store.acts["put"] += [holding(asyncio.Event(), reads=reads)] * 3
    async with client(above=10**9, seconds=0.2) as storage:
        fault = await refused(storage, ticket(store.endpoint), bytes(20_000_000))
    assert type(fault) is TimedOut
    assert store.log == ["put"] * 3


class Broken(Memory):
    def reader(self) -> BinaryIO:
        return _Broken(bytes(self.size))


class _Broken(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise OSError("the disk is gone")


class Short(Memory):
    """Has fewer bytes than it says."""

    @property
    def size(self) -> int:
        return super().size + 1


@pytest.mark.parametrize("content", [Broken(SMALL), Short(SMALL), Broken(LARGE), Short(LARGE)])
async def test_a_disk_that_fails_is_not_taken_for_a_network_that_does(store: Store, content: Content) -> None:
    async with client() as storage:
        with pytest.raises(StorageUnavailable):
            await Put()(storage, ticket(store.endpoint), content)
    assert store.objects == {}
    assert store.uploads == {}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That nobody has signed but itself; its key lies beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl to make a certificate")
    folder: Path = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True, timeout=30)
    return folder / "cert"


async def test_certificates_are_trusted_that_the_system_trusts_and_no_others(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key"))
    async with storing(context) as store, client(above=10**9) as storage:
        fault = await refused(storage, ticket(store.endpoint))
        assert (type(fault), fault.code) == (Unreachable, "upstream_tls")
        assert store.log == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        await Put()(storage, ticket(store.endpoint), Memory(LARGE))
        assert store.objects[KEY][0] == LARGE
        reached, content = asyncio.Event(), Memory(bytes(20_000_000))
        store.acts["put"].append(holding(reached, reads=False))
        put = asyncio.create_task(Put()(storage, ticket(store.endpoint), content))
        await reached.wait()
        await cancelled(put, content)


async def test_nothing_of_the_environment_is_used(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", "another")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with client() as storage:
        await Put()(storage, ticket(store.endpoint), Memory(SMALL))
    assert store.headers[0]["Authorization"].startswith(f"OSS4-HMAC-SHA256 Credential={SECRETS[0]}/")


# --- cancelled ---


async def cancelled(put: asyncio.Task[None], content: Memory) -> None:
    """At once, although the other side would keep silent for an hour."""
    put.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await put
    assert content.open == 0


@pytest.mark.parametrize("reads", [True, False], ids=["waiting for the answer", "in the middle of the bytes"])
async def test_a_put_that_is_cancelled_ends_at_once(store: Store, reads: bool) -> None:
    reached, content = asyncio.Event(), Memory(bytes(20_000_000))
    store.acts["put"].append(holding(reached, reads=reads))
    async with client(above=10**9, seconds=3600) as storage:
        put = asyncio.create_task(Put()(storage, ticket(store.endpoint), content))
        await reached.wait()
        await cancelled(put, content)
    assert store.log == ["put"]
    assert store.objects == {}


async def test_parts_that_are_cancelled_are_aborted(store: Store) -> None:
    reached, content = asyncio.Event(), Memory(LARGE)
    store.acts["part"] += [holding(reached, reads=True)] * 3
    async with client(seconds=3600) as storage:
        put = asyncio.create_task(Put()(storage, ticket(store.endpoint), content))
        await until(lambda: len(store.log) == 4)
        await cancelled(put, content)
    assert store.log[-1] == "abort"
    assert len(store.log) == 5
    assert store.uploads == {}


async def test_whoever_cancels_twice_still_leaves_nothing_open(store: Store) -> None:
    reached, aborting, content = asyncio.Event(), asyncio.Event(), Memory(LARGE)
    store.acts["part"] += [holding(reached, reads=True)] * 3

    async def slow(_request: object) -> None:
        aborting.set()
        await asyncio.sleep(0.05)

    store.acts["abort"].append(slow)
    async with client(seconds=3600) as storage:
        put = asyncio.create_task(Put()(storage, ticket(store.endpoint), content))
        await until(lambda: len(store.log) == 4)
        put.cancel()
        await aborting.wait()
        await cancelled(put, content)
    assert store.uploads == {}


async def test_a_beginning_that_is_cancelled_is_waited_for_and_ended(store: Store) -> None:
    """The storage has begun the upload already; only its answer is late."""
    reached, answering, content, made = asyncio.Event(), asyncio.Event(), Memory(LARGE), Put()
    store.acts["begin"].append(delaying(store, reached, answering))
    async with client(seconds=3600) as storage:
        put = asyncio.create_task(made(storage, ticket(store.endpoint), content))
        await reached.wait()
        put.cancel()
        await asyncio.sleep(0)
        answering.set()
        await cancelled(put, content)
        assert store.log == ["begin", "abort"]
        assert store.uploads == {}
    assert (made.log, made.left) == ([], [])


async def test_closing_waits_for_a_beginning_and_ends_it(store: Store) -> None:
    reached, answering = asyncio.Event(), asyncio.Event()
    store.acts["begin"].append(delaying(store, reached, answering))
    async with client(seconds=3600) as storage:
        put = asyncio.create_task(Put()(storage, ticket(store.endpoint), Memory(LARGE)))
        await reached.wait()
        closing = asyncio.create_task(storage.close())
        await asyncio.sleep(0)
        answering.set()
        await closing
        with pytest.raises(Draining):
            await put
    assert store.log == ["begin", "abort"]
    assert store.uploads == {}


async def test_a_beginning_that_is_cancelled_and_never_answered_is_looked_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oss_buckets, "BEGIN_SECONDS", 0.1)
    reached, content = asyncio.Event(), Memory(LARGE)
    store.acts["begin"].append(delaying(store, reached, asyncio.Event()))
    async with client(seconds=3600) as storage:
        put = asyncio.create_task(Put()(storage, ticket(store.endpoint), content))
        await reached.wait()
        await cancelled(put, content)
    assert store.log == ["begin", "list", "abort"]
    assert store.uploads == {}


# --- answers that get lost ---


async def test_what_a_lost_answer_would_have_told_of_is_ended_before_another_is_begun(store: Store) -> None:
    store.acts["begin"].append(losing(store))
    store.uploads["up-9"], store.keys["up-9"] = {}, KEY + ".other"
    async with client() as storage:
        await Put()(storage, ticket(store.endpoint), Memory(LARGE))
    assert store.log[:4] == ["begin", "list", "abort", "begin"]
    assert store.log[-1] == "complete"
    assert store.objects[KEY][0] == LARGE
    assert store.uploads == {"up-9": {}}


async def test_where_nobody_may_look_for_it_no_second_one_is_begun(store: Store) -> None:
    store.acts["begin"].append(losing(store))
    store.acts["list"].append(refusing("AccessDenied", 403))
    with structlog.testing.capture_logs() as logs:
        async with client() as storage:
            await Put()(storage, ticket(store.endpoint), Memory(LARGE))
    assert store.objects[KEY][0] == LARGE
    assert store.log == ["begin", "list", "put"]
    assert len(store.uploads) == 1
    assert "upload_perhaps_open" in [entry["event"] for entry in logs]


async def test_a_file_too_large_for_one_request_is_begun_once_more_all_the_same(store: Store) -> None:
    store.acts["begin"].append(losing(store))
    store.acts["list"].append(refusing("AccessDenied", 403))
    async with client(single=3000) as storage:
        await Put()(storage, ticket(store.endpoint), Memory(LARGE))
    assert store.objects[KEY][0] == LARGE
    assert store.log.count("begin") == 2


async def test_a_beginning_that_was_refused_for_the_moment_is_asked_for_again(store: Store) -> None:
    store.acts["begin"].append(refusing("ServiceUnavailable", 503))
    async with client() as storage:
        await Put()(storage, ticket(store.endpoint), Memory(LARGE))
    assert store.log.count("begin") == 2
    assert store.log[-1] == "complete"


async def test_an_object_that_was_joined_though_nobody_was_told_is_taken(store: Store) -> None:
    store.acts["complete"].append(losing(store))
    put = Put()
    async with client(single=3000) as storage:
        await put(storage, ticket(store.endpoint), Memory(LARGE))
    assert store.log[-3:] == ["complete", "complete", "head"]
    assert store.objects[KEY][0] == LARGE
    assert put.arrived[-1] == len(LARGE)


async def test_it_is_taken_too_where_nobody_may_look_at_it(store: Store) -> None:
    async def denied(_request: object) -> web.Response:
        return web.Response(status=403)

    store.acts["complete"].append(losing(store))
    store.acts["head"].append(denied)
    async with client() as storage:
        await Put()(storage, ticket(store.endpoint), Memory(LARGE))
    assert store.log[-1] == "head"


@pytest.mark.parametrize("there", [b"something else", b"", bytes(len(LARGE))], ids=["other", "empty", "as large"])
async def test_another_object_is_not_taken_for_it(store: Store, there: bytes) -> None:
    async def other(_request: object) -> None:
        store.objects[KEY] = there, ""

    store.acts["complete"].append(losing(store))
    store.acts["head"].append(other)
    async with client() as storage:
        await Put()(storage, ticket(store.endpoint), Memory(LARGE))
    assert store.log[-1] == "put"
    assert store.objects[KEY][0] == LARGE


async def test_an_object_that_is_not_there_is_not_taken_for_it(store: Store) -> None:
    async def gone(_request: object) -> None:
        store.objects.clear()

    store.acts["complete"].append(losing(store))
    store.acts["head"].append(gone)
    async with client() as storage:
        await Put()(storage, ticket(store.endpoint), Memory(LARGE))
    assert store.log[-1] == "put"


async def test_an_upload_that_somebody_else_has_ended_is_not_taken_for_done(store: Store) -> None:
    """No answer was lost, so nothing says that it was joined."""

    async def ended(_request: object) -> None:
        store.uploads.clear()

    store.acts["complete"].append(ended)
    async with client() as storage:
        await Put()(storage, ticket(store.endpoint), Memory(LARGE))
    assert "head" not in store.log
    assert store.log[-1] == "put"


# --- what cannot be ended ---


@pytest.mark.parametrize("act", [refusing("AccessDenied", 403), breaking], ids=["refused", "lost"])
async def test_one_that_cannot_be_ended_is_told_of_although_the_file_arrives(store: Store, act: Act) -> None:
    store.acts["part"] += [refusing("AccessDenied", 403)] * 4
    store.acts["abort"] += [act] * 3
    put = Put()
    async with client() as storage:
        await put(storage, ticket(store.endpoint), Memory(LARGE))
    assert put.left == ["up-1"]
    assert store.objects[KEY][0] == LARGE


async def test_one_that_cannot_be_ended_is_told_of_when_the_turn_has_left(store: Store) -> None:
    reached, content, made = asyncio.Event(), Memory(LARGE), Put()
    store.acts["part"] += [holding(reached, reads=True)] * 3
    store.acts["abort"].append(refusing("AccessDenied", 403))
    async with client(seconds=3600) as storage:
        put = asyncio.create_task(made(storage, ticket(store.endpoint), content))
        await until(lambda: len(store.log) == 4)
        await cancelled(put, content)
        assert made.left == ["up-1"]
        await storage.abort(ticket(store.endpoint), made.left[0])
    assert store.uploads == {}


async def test_an_end_does_not_wait_behind_bytes(store: Store) -> None:
    reached = asyncio.Event()
    store.uploads["up-9"] = {}
    store.acts["put"].append(holding(reached, reads=True))
    storage = OssStorage(seconds=3600, threads=1)
    put = asyncio.create_task(Put()(storage, ticket(store.endpoint), Memory(SMALL)))
    await reached.wait()
    async with asyncio.timeout(10):
        await storage.abort(ticket(store.endpoint), "up-9")
    assert store.uploads == {}
    await storage.close()
    with pytest.raises(Draining):
        await put


async def test_closing_lets_parts_be_ended(store: Store) -> None:
    reached = asyncio.Event()
    store.acts["part"] += [holding(reached, reads=True)] * 4
    async with client(seconds=3600) as storage:
        put = asyncio.create_task(Put()(storage, ticket(store.endpoint), Memory(LARGE)))
        await reached.wait()
        async with asyncio.timeout(10):
            await storage.close()
        with pytest.raises(Draining):
            await put
    assert store.log[-1] == "abort"
    assert store.uploads == {}


async def test_closing_does_not_wait_for_ever_for_an_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oss_buckets, "CLOSE_SECONDS", 0.2)
    reached, made = asyncio.Event(), Put()
    store.acts["part"] += [holding(reached, reads=True)] * 4
    store.acts["abort"].append(holding(asyncio.Event(), reads=True))
    async with client(seconds=3600) as storage:
        put = asyncio.create_task(made(storage, ticket(store.endpoint), Memory(LARGE)))
        await reached.wait()
        await storage.close()
        with pytest.raises(Draining):
            await put
    assert made.left == ["up-1"]


async def test_where_the_parts_cannot_be_written_down_none_is_sent(store: Store) -> None:
    class Full(Put):
        async def parted(self, upload: str) -> None:
            raise StorageUnavailable("The disk is full.")

    async with client() as storage:
        with pytest.raises(StorageUnavailable):
            await Full()(storage, ticket(store.endpoint), Memory(LARGE))
    assert store.log == ["begin", "abort"]


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["whole", "in parts"])
async def test_closing_ends_what_is_under_way(store: Store, data: bytes) -> None:
    reached, content = asyncio.Event(), Memory(data)
    store.acts["put"].append(holding(reached, reads=True))
    store.acts["part"] += [holding(reached, reads=True)] * 4
    async with client(seconds=3600) as storage:
        put = asyncio.create_task(Put()(storage, ticket(store.endpoint), content))
        await reached.wait()
        async with asyncio.timeout(10):
            await storage.close()
            with pytest.raises(Draining):
                await put
    assert content.open == 0


# --- aborting later ---


async def test_an_upload_that_is_left_over_is_ended(store: Store) -> None:
    store.uploads["up-9"] = {}
    async with client() as storage:
        await storage.abort(ticket(store.endpoint), "up-9")
        await storage.abort(ticket(store.endpoint), "up-9")  # not there any more: counts as ended
    assert store.uploads == {}


async def test_one_that_cannot_be_ended_says_why(store: Store) -> None:
    store.acts["abort"].append(refusing("SecurityTokenExpired", 403))
    async with client() as storage:
        with pytest.raises(SiteError) as raised:
            await storage.abort(ticket(store.endpoint), "up-9")
    assert raised.value.code == "upload_expired"


# --- what gets out, and what it costs ---


@pytest.mark.parametrize(
    "act",
    [
        refusing("SignatureDoesNotMatch", 403),
        refusing("AccessDenied", 403),
        refusing("Canary canarysecret", 400),
        refusing("InternalError", 500),
        breaking,
    ],
    ids=["signature", "denied", "a strange code", "500", "lost"],
)
async def test_no_credential_gets_into_faults_or_logs(store: Store, act: Act, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    store.acts["put"] += [act] * 6
    store.acts["part"] += [act] * 12
    store.acts["abort"] += [act] * 6
    where = ticket(store.endpoint)
    with structlog.testing.capture_logs() as logs:
        async with client() as storage:
            faults = [await refused(storage, where), await refused(storage, where, LARGE)]
            with pytest.raises(Fault) as raised:
                await storage.abort(where, "up-9")
    told = [caplog.text, str(logs), repr(where)]
    for fault in (*faults, raised.value):
        assert fault.__context__ is None
        told += [repr(fault), fault.text, repr(vars(fault)), "".join(traceback.format_exception(fault))]
    assert not [word for word in told if any(secret in word for secret in SECRETS)]


async def test_a_ticket_that_the_sdk_does_not_take_is_refused_without_its_words() -> None:
    async with client() as storage:
        fault = await refused(storage, ticket("http://127.0.0.1:1/?canarysecret"))
    assert isinstance(fault, Unreachable | SiteError)
    assert "canary" not in fault.text


@pytest.mark.parametrize("above", [10**9, 1000], ids=["whole", "in parts"])
async def test_memory_stays_flat(store: Store, above: int) -> None:
    size = 64_000_000
    store.keeps = False
    async with client(above=above, part=8_000_000, single=10**9) as storage:
        await Put()(storage, ticket(store.endpoint), Memory(SMALL))  # loads the SDK
        gc.collect()
        tracemalloc.start()
        try:
            await Put()(storage, ticket(store.endpoint), Zeros(size))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 4_000_000


def test_the_sdk_is_loaded_only_for_a_file() -> None:
    script = (
        "import sys; from qwen_gateway.net.oss import OssStorage; OssStorage(); "
        "sys.exit('alibabacloud_oss_v2' in sys.modules or 'requests' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_refusal_of_this_file_holds_secrets() -> None:
    """Else the tests above would prove nothing."""
    assert all(secret in (refusal("X", 400).text or "") for secret in SECRETS)
