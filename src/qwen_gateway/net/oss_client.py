"""The storage's official SDK, as far as it is used here. Import it in a worker thread and only when there is a file to
upload: it takes 40 MB and half a second.

Nothing that it raises or writes leaves this module: it may hold credentials. What it would take from the environment
(proxies, `.netrc`, credentials) is kept from it.
"""

import ssl
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import alibabacloud_oss_v2 as oss  # type: ignore[import-untyped]
import requests
from alibabacloud_oss_v2.crc import Crc64  # type: ignore[import-untyped]
from alibabacloud_oss_v2.retry import StandardRetryer  # type: ignore[import-untyped]
from alibabacloud_oss_v2.transport import RequestsHttpClient  # type: ignore[import-untyped]
from msgspec import Struct
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool

from qwen_gateway.net.oss_faults import code_of, damaged, fault_of, refused, status_of
from qwen_gateway.net.oss_section import Halt, Section, Unanswered
from qwen_gateway.turn.faults import Fault
from qwen_gateway.turn.files import Ticket

TRIES = 3
"""Of each call, also of each part."""
RETRY_DELAY = 0.2
"""Seconds before the second of them, about; before later ones up to two."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_errors = oss.exceptions


def _plainly(call: Callable[_P, _T]) -> Callable[_P, _T]:
    """Raises Halted, Unanswered and faults, and none that knows of the SDK's."""

    @wraps(call)
    def told(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return call(*args, **kwargs)
        except Exception as problem:  # noqa: BLE001 - whatever it is, it must not get out
            fault = fault_of(problem)
        raise fault

    return told


class Part(Struct, frozen=True):
    """One part that has arrived. crc: of its bytes, as the storage has counted it; `None` where it did not say."""

    number: int
    size: int
    etag: str
    crc: int | None


class Bucket:
    """What one ticket allows. halt: ends calls that are under way. seconds: to wait for an answer."""

    @_plainly
    def __init__(self, ticket: Ticket, halt: Halt, connect_seconds: float, seconds: float) -> None:
        self._where = {"bucket": ticket.bucket, "key": ticket.key}
        self._halt = halt
        self._wire = _Wire()
        self._session = _session(halt, self._wire)
        self._client = oss.Client(
            oss.Config(
                region=ticket.region.removeprefix("oss-"),
                endpoint=ticket.endpoint,
                # The SDK knows itself that an address of version 4 has no names below it.
                use_path_style=any(host in ticket.endpoint for host in ("//localhost", "//[")),
                credentials_provider=oss.credentials.StaticCredentialsProvider(
                    ticket.access_key_id, ticket.access_key_secret, ticket.security_token
                ),
                http_client=RequestsHttpClient(
                    session=self._session, connect_timeout=connect_seconds, readwrite_timeout=seconds
                ),
                retryer=_Retryer(halt),
            )
        )

    def close(self) -> None:
        self._session.close()

    @_plainly
    def put(self, section: Section, media_type: str) -> None:
        self._client.put_object(oss.PutObjectRequest(**self._where, body=section, content_type=media_type))

    @_plainly
    def begin(self, media_type: str) -> str:
        """An upload in parts. Returns its id. Raises Unanswered: asked again, the storage would begin a second one."""
        self._halt.check()
        lost: Exception | None = None
        begun, retryer = None, _Retryer(self._halt, self._wire, after_loss=False)
        try:
            begun = self._client.initiate_multipart_upload(
                oss.InitiateMultipartUploadRequest(**self._where, content_type=media_type), retryer=retryer
            )
        except _errors.OperationError as problem:
            lost = fault_of(problem)
            if not (retryer.lost and isinstance(lost, Fault)):
                raise
        if isinstance(lost, Fault):
            raise Unanswered(lost)
        if begun is None or not begun.upload_id:
            raise refused()
        return str(begun.upload_id)

    @_plainly
    def open_uploads(self) -> list[str]:
        """Ids of the uploads in parts of this very file that have begun and not ended."""
        self._halt.check()
        key = self._where["key"]
        told = self._client.list_multipart_uploads(
            oss.ListMultipartUploadsRequest(bucket=self._where["bucket"], prefix=key, encoding_type="url")
        )
        return [str(one.upload_id) for one in told.uploads or [] if one.key == key and one.upload_id]

    @_plainly
    def put_part(self, upload: str, number: int, section: Section) -> Part:
        """number: from 1."""
        sent = self._client.upload_part(
            oss.UploadPartRequest(**self._where, part_number=number, upload_id=upload, body=section)
        )
        if not sent.etag:
            raise refused()
        return Part(number, len(section), str(sent.etag), int(sent.hash_crc64) if sent.hash_crc64 else None)

    @_plainly
    def complete(self, upload: str, parts: list[Part]) -> None:
        """All parts, in any order. An answer that got lost is asked for again; if the storage then knows of no such
        upload, it had done it the first time."""
        self._halt.check()
        parts = sorted(parts, key=lambda part: part.number)
        told = [oss.UploadPart(part_number=part.number, etag=part.etag) for part in parts]
        request = oss.CompleteMultipartUploadRequest(
            **self._where, upload_id=upload, complete_multipart_upload=oss.CompleteMultipartUpload(parts=told)
        )
        retryer = _Retryer(self._halt, self._wire)
        try:
            whole = self._client.complete_multipart_upload(request, retryer=retryer)
        except _errors.OperationError as problem:
            if retryer.lost and code_of(problem) == "NoSuchUpload" and self._is_there(parts):
                return
            raise
        ours = _joined_crc(parts)
        if ours is not None and whole.hash_crc64 and int(whole.hash_crc64) != ours:
            raise damaged()

    def _is_there(self, parts: list[Part]) -> bool:
        """Whether the object is made of these parts. Where the storage does not let us look (leave to write may not be
        leave to read) it is: only the one who began an upload knows its id, so nobody else has ended it."""
        try:
            head = self._client.head_object(oss.HeadObjectRequest(**self._where))
        except _errors.OperationError as problem:
            return status_of(problem) != 404
        ours = _joined_crc(parts)
        whole = head.content_length == sum(part.size for part in parts)
        return whole and (ours is None or not head.hash_crc64 or int(head.hash_crc64) == ours)

    @_plainly
    def abort(self, upload: str) -> None:
        """One that is not there counts as aborted."""
        try:
            self._client.abort_multipart_upload(oss.AbortMultipartUploadRequest(**self._where, upload_id=upload))
        except _errors.OperationError as problem:
            if code_of(problem) != "NoSuchUpload":
                raise


def _joined_crc(parts: list[Part]) -> int | None:
    joined = 0
    for part in parts:
        if part.crc is None:
            return None
        joined = Crc64.combine(joined, part.crc, part.size)
    return joined


# -- how it is sent


class _Wire:
    """sent: whether the request that went out last was sent whole, and an answer waited for. Only of use while there is
    one at a time."""

    sent = False


def _session(halt: Halt, wire: _Wire) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", _Adapter(halt, wire))
    session.mount("https://", _Adapter(halt, wire))
    return session


class _Adapter(HTTPAdapter):
    """Trusts whom the system trusts, as the rest of the gateway does. Connections end with the halt."""

    def __init__(self, halt: Halt, wire: _Wire) -> None:
        self._halt, self._wire = halt, wire
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, ssl_context=ssl.create_default_context(), **more)

    def send(self, *told: Any, **more: Any) -> requests.Response:
        self._wire.sent = False
        return super().send(*told, **more)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> HTTPConnectionPool:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        make = type(pool).ConnectionCls

        def watched(*told: Any, **more: Any) -> Any:
            connection: Any = make(*told, **more)
            self._halt.watch(connection)
            connection.getresponse = self._noting(connection.getresponse)
            return connection

        pool.ConnectionCls = watched  # type: ignore[assignment] # urllib3 only ever calls it
        return pool

    def _noting(self, answer: Callable[[], Any]) -> Callable[[], Any]:
        def noted() -> Any:
            self._wire.sent = True
            if self._halt.is_set:  # since before there was a socket to break
                self._halt.now()
            return answer()

        return noted


class _Retryer(StandardRetryer):  # type: ignore[misc] # the SDK has no types
    """With `wire`, `lost` tells whether an answer got lost to a request that was sent whole. after_loss: whether it is
    asked again then."""

    def __init__(self, halt: Halt, wire: _Wire | None = None, *, after_loss: bool = True) -> None:
        super().__init__(max_attempts=TRIES, max_backoff=2.0, base_delay=RETRY_DELAY)
        self._halt, self._wire, self._after_loss = halt, wire, after_loss
        self.lost = False

    def is_error_retryable(self, error: Exception) -> bool:
        lost = self._wire is not None and self._wire.sent and not isinstance(error, _errors.ServiceError)
        self.lost = self.lost or lost
        if self._halt.is_set or (lost and not self._after_loss):
            return False
        return bool(super().is_error_retryable(error))
