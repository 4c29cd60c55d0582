"""What became of the tool calls that models tried to make, in each row of the usage."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("usage", sa.Column("calls", sa.String(160), nullable=False, server_default=sa.text("''")))
