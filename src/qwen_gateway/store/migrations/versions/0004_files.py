"""Files: those that callers keep at the gateway, whole or still coming in pieces, and those that accounts uploaded."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    _files()
    _parted_files()
    _site_files()


def _files() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(200), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("media_type", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("expires", sa.Float, nullable=True),
        sa.Column("blob", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
    )
    op.create_index("ix_files_tenant", "files", ["tenant", "created", "id"])
    op.create_index("ix_files_expires", "files", ["expires"])
    op.create_index("ix_files_blob", "files", ["blob"])


def _parted_files() -> None:
    op.create_table(
        "parted_files",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(200), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("media_type", sa.String(200), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("made_into", sa.String(64), nullable=False),
        sa.Column("file_seconds", sa.Float, nullable=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_parted_files"),
    )
    op.create_index("ix_parted_files_tenant", "parted_files", ["tenant"])
    op.create_index("ix_parted_files_expires", "parted_files", ["expires"])
    op.create_table(
        "file_pieces",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("upload", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("blob", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_file_pieces"),
    )
    op.create_index("ix_file_pieces_upload", "file_pieces", ["upload"])
    op.create_index("ix_file_pieces_blob", "file_pieces", ["blob"])


def _site_files() -> None:
    op.create_table(
        "site_files",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("begun", sa.Float, nullable=False),
        sa.Column("done", sa.Float, nullable=True),
        sa.Column("parts", sa.LargeBinary, nullable=True),
        sa.Column("entry", sa.LargeBinary, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_site_files"),
    )
    op.create_index("ix_site_files_account", "site_files", ["account", "digest", "done"])
    op.create_index("ix_site_files_done", "site_files", ["done"])
    under_way = sa.column("done", sa.Float).is_(None)
    op.create_index("ix_site_files_begun", "site_files", ["begun"], sqlite_where=under_way, postgresql_where=under_way)
