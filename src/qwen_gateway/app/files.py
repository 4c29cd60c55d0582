"""The parts that bring files to the site and keep those of callers, joined."""

from dataclasses import dataclass
from ipaddress import ip_network

from qwen_gateway.app.core import AMBIENT, Core
from qwen_gateway.app.presence import Presence, presence_of
from qwen_gateway.media.limits import Limits
from qwen_gateway.net.fetch import GuardedFetch
from qwen_gateway.net.oss import OssStorage
from qwen_gateway.relay.account import DAY
from qwen_gateway.relay.attachments import Attachments
from qwen_gateway.relay.files import Keep
from qwen_gateway.relay.turn_files import FileManner
from qwen_gateway.relay.uploads import Uploads
from qwen_gateway.settings import Settings, SettingsError
from qwen_gateway.store.files import SqlFiles
from qwen_gateway.store.parted import SqlPartedFiles
from qwen_gateway.store.site_files import SqlSiteFiles
from qwen_gateway.store.spool import DiskSpool
from qwen_gateway.upstreams.qwen.headers import OWN_USER_AGENT

PARTS_AT_ONCE = 3
"""Of one upload; each is sent by a thread."""


@dataclass(frozen=True)
class FileParts:
    """Made by `files_of`; `close` them before the store."""

    spool: DiskSpool
    kept: SqlFiles
    pieces: SqlPartedFiles
    storage: OssStorage
    uploads: Uploads
    attachments: Attachments
    keep: Keep
    presence: Presence | None

    async def sweep(self) -> None:
        """Ends what processes that are gone have left of uploads."""
        await self.uploads.sweep(gone=None if self.presence is None else self.presence.gone)

    async def close(self, seconds: float) -> None:
        await self.uploads.close(seconds)
        await self.storage.close()


def files_of(parts: Core) -> FileParts:
    """Raises SettingsError."""
    settings = parts.settings
    limits = _limits(settings)
    try:
        spool = DiskSpool(settings.data_dir / "spool", total=settings.spool_bytes)
    except OSError as problem:
        raise SettingsError(
            [f"The data directory {settings.data_dir} cannot be used for files: {problem.strerror}."]
        ) from problem
    kept = SqlFiles(parts.database, settings.data_dir / "files", parts.vault)
    storage = OssStorage(
        multipart_above=settings.multipart_above,
        connect_seconds=settings.connect_timeout * 2,
        threads=min(64, settings.uploads_at_once * PARTS_AT_ONCE),
    )
    fetch = GuardedFetch(
        spool,
        on=settings.fetch_urls == "public",
        own_user_agent=OWN_USER_AGENT,
        networks=[ip_network(text) for text in settings.fetch_networks],
        seconds=settings.fetch_timeout,
        connect=settings.connect_timeout,
    )
    uploads = Uploads(
        parts.site,
        storage,
        SqlSiteFiles(parts.database, parts.vault),
        parts.transport,
        AMBIENT,
        owner=parts.owner,
        secret=parts.vault.derived("uploads"),
        seconds=settings.call_timeout,
        renewal=parts.renewal,
        cache_seconds=settings.reuse_uploads,
        parse_seconds=settings.parse_timeout,
        at_once=settings.uploads_at_once,
    )
    manner = FileManner(limits, settings.inline_text_bytes, settings.upload_timeout)
    return FileParts(
        spool,
        kept,
        SqlPartedFiles(parts.database, settings.data_dir / "files", parts.vault),
        storage,
        uploads,
        Attachments(kept, fetch, uploads, AMBIENT, manner),
        Keep(limits, settings.file_days * DAY, settings.max_kept_bytes),
        presence_of(settings),
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        image=settings.max_image_bytes,
        document=settings.max_document_bytes,
        audio=settings.max_audio_bytes,
        video=settings.max_video_bytes,
        pictures=settings.max_pictures,
        documents=settings.max_documents,
    )
