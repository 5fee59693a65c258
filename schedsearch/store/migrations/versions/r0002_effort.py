"""Trials on part of the samples, and what attempts cost."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns; trials from before asked all samples, and what they cost is not known."""
    op.add_column("trial", sa.Column("samples", sa.Integer))
    op.add_column("trial", sa.Column("read", sa.Integer, nullable=False, server_default="0"))
    op.add_column("attempt", sa.Column("spent", sa.Double))
    op.add_column("attempt", sa.Column("naive", sa.Double))
