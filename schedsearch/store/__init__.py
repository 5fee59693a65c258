"""SQL truth: studies, trials, attempts and evaluations that outlast every process.

Needs SQLAlchemy and Alembic: `pip install 'schedsearch[search]'`.
"""

from schedsearch.store.evaluations import Evaluation, EvaluationKey
from schedsearch.store.lease import Lease
from schedsearch.store.store import Store, find_store, open_store, upgrade

__all__ = ["Evaluation", "EvaluationKey", "Lease", "Store", "find_store", "open_store", "upgrade"]
