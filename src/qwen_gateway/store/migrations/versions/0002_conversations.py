"""Chats that are kept so that conversations go on in them, the places in them, and what a key says about that."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("keys", sa.Column("continuation", sa.String(20), nullable=True))
    op.create_table(
        "chats",
        sa.Column("id", sa.String(100), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(200), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("used", sa.Float, nullable=False),
        sa.Column("marked", sa.Boolean, nullable=False),
        sa.Column("owner", sa.String(64), nullable=True),
        sa.Column("held_until", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_chats"),
    )
    op.create_index("ix_chats_account", "chats", ["account", "used"])
    marked = sa.column("marked", sa.Boolean).is_(True)
    op.create_index("ix_chats_marked", "chats", ["marked"], sqlite_where=marked, postgresql_where=marked)
    op.create_table(
        "nodes",
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("chat_id", sa.String(100), nullable=False),
        sa.Column("answer_id", sa.String(100), nullable=False),
        sa.Column("bones", sa.LargeBinary, nullable=False),
        sa.Column("handle", sa.LargeBinary, nullable=False),
        sa.Column("likeness", sa.LargeBinary, nullable=True),
        sa.Column("instructions", sa.LargeBinary, nullable=False),
        sa.Column("tools", sa.LargeBinary, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("key", "chat_id", "answer_id", name="pk_nodes"),
    )
    for column in ("handle", "likeness", "chat_id"):
        op.create_index(f"ix_nodes_{column}", "nodes", [column])
