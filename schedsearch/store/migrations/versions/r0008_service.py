"""Who may ask a service for what, who did, and which searches it was asked to launch."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the tables."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "token",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("salt", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("created", time, nullable=False),
        sa.Column("expires", time),
        sa.Column("revoked", time),
        sa.PrimaryKeyConstraint("id", name="pk_token"),
        sa.CheckConstraint("scope IN ('read', 'launch', 'admin')", name="scope"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "session",
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("token_id", sa.Integer, nullable=False),
        sa.Column("created", time, nullable=False),
        sa.Column("expires", time, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_session"),
        sa.ForeignKeyConstraint(["token_id"], ["token.id"], name="fk_session_token_id_token"),
    )
    op.create_index("ix_session_token_id", "session", ["token_id"])
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("time", time, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("object", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "launch",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study", sa.Text, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("created", time, nullable=False),
        sa.Column("queued", time),
        sa.Column("started", time),
        sa.Column("ended", time),
        sa.Column("backend", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("handle", sa.JSON),
        sa.Column("ending", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_launch"),
        sa.UniqueConstraint("study", name="uq_launch_study"),
        sa.CheckConstraint("state IN ('CREATED', 'QUEUED', 'STARTED', 'ENDED')", name="state"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "answer",
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("headers", sa.JSON),
        sa.Column("body", sa.Text),
        sa.Column("created", time, nullable=False),
        sa.PrimaryKeyConstraint("who", "key", name="pk_answer"),
    )
    op.create_table(
        "sample_set",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("samples", sa.Integer, nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("created", time, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sample_set"),
        sa.UniqueConstraint("digest", name="uq_sample_set_digest"),
    )
