"""Attempts: which workers worked for them, and when."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the column; who worked before is not known."""
    op.add_column("attempt", sa.Column("workers", sa.JSON))
