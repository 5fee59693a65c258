"""What every coordinator imports sooner or later: once, before it is forked."""

import importlib
from contextlib import suppress

from tests.chaos.coordinator import erring

for name in (
    "alembic.command",
    "alembic.ddl",
    "mako.template",
    "rich.traceback",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.dialects.postgresql.psycopg",
    "psycopg",
):
    with suppress(ImportError):
        importlib.import_module(name)

erring()
