"""What a coordinator tells about its search, and what others wish of it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns in place: a table that SQLite rebuilds would use ids of deleted rows again.

    Alembic has no word for a column with a check in SQLite, which itself has.
    """
    op.execute(
        "ALTER TABLE study ADD COLUMN wish TEXT DEFAULT 'run' NOT NULL "
        "CONSTRAINT ck_study_wish CHECK (wish IN ('run', 'pause', 'stop'))"
    )
    op.add_column("study", sa.Column("progress", sa.JSON))
    op.add_column("study", sa.Column("beat", sa.DateTime(timezone=True)))
