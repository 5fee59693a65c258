"""Create studies, schedules, trials, attempts and evaluations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "study",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.Column("lease_token", sa.Integer, nullable=False),
        sa.Column("lease_holder", sa.JSON),
        sa.Column("lease_since", moment),
        sa.PrimaryKeyConstraint("id", name="pk_study"),
        sa.UniqueConstraint("name", name="uq_study_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "schedule",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("keep", sa.JSON, nullable=False),
        sa.Column("ranker", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_schedule"),
        sa.UniqueConstraint("digest", name="uq_schedule_digest"),
    )
    op.create_table(
        "trial",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("schedule_id", sa.Integer, nullable=False),
        sa.Column("target", sa.JSON),
        sa.Column("params", sa.JSON, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("standard_error", sa.Double),
        sa.Column("n", sa.Integer),
        sa.Column("flops_ratio", sa.Double),
        sa.Column("kv_ratio", sa.Double),
        sa.Column("drop", sa.Double),
        sa.Column("drop_standard_error", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_trial"),
        sa.UniqueConstraint("study_id", "number", name="uq_trial_study_id_number"),
        sa.CheckConstraint(
            "state IN ('WAITING', 'RUNNING', 'COMPLETE', 'PRUNED', 'FAIL')",
            name=op.f("ck_trial_state"),
        ),
        sa.CheckConstraint(
            "(state = 'COMPLETE') = (score IS NOT NULL)", name=op.f("ck_trial_complete")
        ),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name="fk_trial_study_id_study"),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["schedule.id"], name="fk_trial_schedule_id_schedule"
        ),
    )
    op.create_index("ix_trial_schedule_id", "trial", ["schedule_id"])
    op.create_table(
        "attempt",
        sa.Column("trial_id", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("lease_token", sa.Integer, nullable=False),
        sa.Column("started", moment, nullable=False),
        sa.Column("ended", moment),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("trial_id", "number", name="pk_attempt"),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name="fk_attempt_trial_id_trial"),
    )
    _create_evaluations(moment)


def _create_evaluations(moment: sa.DateTime) -> None:
    op.create_table(
        "context",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("description", sa.JSON, nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_context"),
        sa.UniqueConstraint("digest", name="uq_context_digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "study_context",
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("context_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("study_id", "context_id", name="pk_study_context"),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name="fk_study_context_study_id_study"),
        sa.ForeignKeyConstraint(
            ["context_id"], ["context.id"], name="fk_study_context_context_id_context"
        ),
    )
    for table, column in (("sample", "key"), ("counts", "kept")):
        op.create_table(
            table,
            sa.Column("id", sa.Integer, nullable=False),
            sa.Column(column, sa.Text, nullable=False),
            sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
            sa.UniqueConstraint(column, name=f"uq_{table}_{column}"),
        )
    op.create_table(
        "evaluation",
        sa.Column("context_id", sa.Integer, nullable=False),
        sa.Column("counts_id", sa.Integer, nullable=False),
        sa.Column("sample_id", sa.Integer, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("prediction", sa.Text),
        sa.PrimaryKeyConstraint("context_id", "counts_id", "sample_id", name="pk_evaluation"),
        sa.ForeignKeyConstraint(
            ["context_id"], ["context.id"], name="fk_evaluation_context_id_context"
        ),
        sa.ForeignKeyConstraint(
            ["counts_id"], ["counts.id"], name="fk_evaluation_counts_id_counts"
        ),
        sa.ForeignKeyConstraint(
            ["sample_id"], ["sample.id"], name="fk_evaluation_sample_id_sample"
        ),
        sqlite_with_rowid=False,
    )
