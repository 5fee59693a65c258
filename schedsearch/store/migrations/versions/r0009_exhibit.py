"""What became of single samples of a trial, token by token, with small pictures."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "exhibit",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("trial_id", sa.Integer, nullable=False),
        sa.Column("sample", sa.Text, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("picture", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_exhibit"),
        sa.UniqueConstraint("trial_id", "sample", name="uq_exhibit_trial_id_sample"),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name="fk_exhibit_trial_id_trial"),
        sqlite_autoincrement=True,
    )
