"""What held-out samples said of a study's result and of baselines."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "comparison",
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("study_id", name="pk_comparison"),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name="fk_comparison_study_id_study"),
    )
