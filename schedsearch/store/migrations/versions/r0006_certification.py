"""What studies were to prove on which samples, and what came of it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "certification",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("images", sa.Text, nullable=False),
        sa.Column("result", sa.JSON),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_certification"),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name="fk_certification_study_id_study"),
    )
    op.create_index("ix_certification_study_id", "certification", ["study_id"])
