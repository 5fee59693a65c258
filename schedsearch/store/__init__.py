"""SQL truth: studies, trials, attempts and evaluations that outlast every process.

Needs SQLAlchemy and Alembic: `pip install 'schedsearch[search]'`.
"""

from schedsearch.store.evaluations import Evaluation, EvaluationKey
from schedsearch.store.lease import Lease
from schedsearch.store.place import StoreLostError
from schedsearch.store.rescue import Held, Scored
from schedsearch.store.store import Store, find_store, open_store, upgrade

__all__ = [
    "Evaluation",
    "EvaluationKey",
    "Held",
    "Lease",
    "Scored",
    "Store",
    "StoreLostError",
    "find_store",
    "open_store",
    "upgrade",
]
