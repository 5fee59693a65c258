"""A state for trials on part of the samples that these did not reject."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_STATES = "'WAITING', 'RUNNING', 'COMPLETE', 'SCREENED', 'PRUNED', 'FAIL'"
_MEASURED = (
    "score",
    "standard_error",
    "n",
    "flops_ratio",
    "kv_ratio",
    "drop",
    "drop_standard_error",
)


def upgrade() -> None:
    """Allow the state and rewrite such trials, which stood as complete with their part's score."""
    name, rule = op.f("ck_trial_state"), f"state IN ({_STATES})"
    with op.batch_alter_table("trial") as table:
        table.drop_constraint(name, type_="check")
        table.create_check_constraint(name, rule)
    columns = ("state", "reason", "samples", *_MEASURED)
    trial = sa.table("trial", *map(sa.column, columns))
    part = sa.and_(trial.c.state == "COMPLETE", trial.c.samples.is_not(None))
    reason = sa.literal("not rejected by ") + sa.cast(trial.c.samples, sa.Text) + " samples"
    values = {"state": "SCREENED", "reason": reason, **dict.fromkeys(_MEASURED)}
    op.execute(trial.update().where(part).values(values))
