"""The tables, as the code uses them. How a database gets there from an earlier version: `store/migrations`.

Times are seconds since 1970, as floats. Secrets are columns of type `LargeBinary` that hold what the vault made of
them, except `keys.digest`, a SHA-256 of 256 random bits, and the digests in `nodes` and `site_files`.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("session", LargeBinary, nullable=False),
    Column("source", String(20), nullable=False),
    Column("origin", String(64), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("check_state", String(20), nullable=False),
    Column("check_at", Float, nullable=False),
    Column("check_text", Text, nullable=False),
    Column("undo", LargeBinary, nullable=True),
    Column("refresher", String(64), nullable=True),
    Column("refresh_until", Float, nullable=False, server_default="0"),
)

pauses = Table(
    "pauses",
    metadata,
    # No foreign key: accounts that callers bring rest as well, and are stored nowhere.
    Column("account", String(64), primary_key=True),
    Column("what", String(200), primary_key=True),
    Column("since", Float, nullable=False),
    Column("until", Float, nullable=False),
    Column("code", String(60), nullable=False),
    Column("text", Text, nullable=False),
    Column("challenges", Integer, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("role", String(20), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=True),
    Column("enabled", Boolean, nullable=False),
    Column("models", Text, nullable=False),  # a JSON array of strings, like `endpoints`
    Column("endpoints", Text, nullable=False),
    Column("requests_per_minute", Integer, nullable=True),
    Column("concurrency", Integer, nullable=True),
    Column("tokens_per_day", BigInteger, nullable=True),
    Column("continuation", String(20), nullable=True),
)

budgets = Table(
    "budgets",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("used", BigInteger, nullable=False),
)

usage = Table(
    "usage",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("at", Float, nullable=False),
    Column("key", String(64), nullable=False),
    Column("account", String(64), nullable=False),
    Column("model", String(100), nullable=False),
    Column("asked_model", String(100), nullable=False),
    Column("endpoint", String(40), nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("status", Integer, nullable=False),
    Column("end", String(20), nullable=False),
    Column("code", String(60), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("input", BigInteger, nullable=False),
    Column("output", BigInteger, nullable=False),
    Column("reasoning", BigInteger, nullable=False),
    Column("cached", BigInteger, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("first_event", Float, nullable=True),
    Column("duration", Float, nullable=False),
    Column("queued", Float, nullable=False),
    Column("added", Float, nullable=False),
    Column("calls", String(160), nullable=False, server_default=text("''")),
    Index(None, "at"),
)

chats = Table(
    "chats",
    metadata,
    Column("id", String(100), primary_key=True),
    Column("account", String(64), nullable=False),
    Column("tenant", String(200), nullable=False),
    Column("created", Float, nullable=False),
    Column("used", Float, nullable=False),
    Column("marked", Boolean, nullable=False),
    Column("owner", String(64), nullable=True),
    Column("held_until", Float, nullable=False),
    Index(None, "account", "used"),
)
_marked = chats.c.marked.is_(True)
# Of those that are marked alone. One of all chats would be taken for a short way to those that are not: a search for 50
# nodes then took 36 ms instead of 1 (SQLite 3.40, measured 2026-11-21).
Index(None, chats.c.marked, sqlite_where=_marked, postgresql_where=_marked)

nodes = Table(
    "nodes",
    metadata,
    # No foreign key: what removes a chat or marks it removes its nodes, and inserting them must look nothing up.
    Column("key", LargeBinary, primary_key=True),
    Column("chat_id", String(100), primary_key=True),
    Column("answer_id", String(100), primary_key=True),
    Column("bones", LargeBinary, nullable=False),
    Column("handle", LargeBinary, nullable=False),
    Column("likeness", LargeBinary, nullable=True),
    Column("instructions", LargeBinary, nullable=False),
    Column("tools", LargeBinary, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("created", Float, nullable=False),
    Index(None, "handle"),
    Index(None, "likeness"),
    Index(None, "chat_id"),
)

files = Table(
    "files",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(200), nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("media_type", String(200), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=True),  # 0 when the caller has removed it
    Column("blob", String(64), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index(None, "tenant", "created", "id"),
    Index(None, "expires"),
    Index(None, "blob"),
)

parted_files = Table(
    "parted_files",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(200), nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("media_type", String(200), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("state", String(20), nullable=False),
    Column("made_into", String(64), nullable=False),
    Column("file_seconds", Float, nullable=True),
    Column("sealed", LargeBinary, nullable=False),
    Index(None, "tenant"),
    Index(None, "expires"),
)

file_pieces = Table(
    "file_pieces",
    metadata,
    # No foreign key: pieces are deleted after their upload, some at a time.
    Column("id", String(64), primary_key=True),
    Column("upload", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created", Float, nullable=False),
    Column("blob", String(64), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index(None, "upload"),
    Index(None, "blob"),
)

site_files = Table(
    "site_files",
    metadata,
    # No foreign key: accounts that callers bring upload as well, and are stored nowhere.
    Column("id", String(64), primary_key=True),
    Column("account", String(64), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("owner", String(64), nullable=False),
    Column("begun", Float, nullable=False),
    Column("done", Float, nullable=True),
    Column("parts", LargeBinary, nullable=True),
    Column("entry", LargeBinary, nullable=True),
    Index(None, "account", "digest", "done"),
    Index(None, "done"),
)
_under_way = site_files.c.done.is_(None)
Index(None, site_files.c.begun, sqlite_where=_under_way, postgresql_where=_under_way)

revisions = Table(
    "revisions",
    metadata,
    Column("name", String(20), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
"""`accounts`, `pauses`, `keys`: raised in the transaction that changes the table."""
