"""Studies as they are looked at: read once, and again only when something has changed."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from schedsearch.app.study_view import StudyView
from schedsearch.service.schemas import StudyOut
from schedsearch.store.store import Store
from schedsearch.store.studies import StudySummary

_MOST = 8
_FEW = 1000
"""So many trials are read and understood in less than a tenth of a second."""


def every_study(store: Store) -> list[StudyOut]:
    """What was asked of the service, and what was searched without it."""
    launches = {one.study: one for one in store.service.launches()}
    found = {one.spec.name: one for one in store.studies()}
    return [
        StudyOut.of(name, launches.get(name), found.get(name)) for name in {**found, **launches}
    ]


@dataclass
class _Kept:
    change: object
    view: StudyView


class Views:
    """Snapshots of studies; of thousands of trials one takes half a second.

    Args:
        store: Has the studies.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._few = _FEW
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def at_hand(self, found: StudySummary) -> bool:
        """Say whether a look at a study as it is now takes no time that anybody notices."""
        kept = self._kept.get(found.spec.name)
        known = kept is not None and kept.change == self._change(found)
        return known or sum(found.trials.values()) <= self._few

    def of(self, study: str) -> StudyView:
        """The study as it is now.

        Raises:
            InputError: There is none.
        """
        found = self._store.study(study)
        change = self._change(found)
        with self._lock:
            kept = self._kept.get(study)
            if kept is None or kept.change != change:
                kept = _Kept(change, StudyView(self._store, study).snapshot())
                self._kept[study] = kept
            self._kept.move_to_end(study)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
            return kept.view

    def _change(self, found: StudySummary) -> object:
        """What differs whenever there is something new."""
        proofs = len(self._store.certifications(found.spec.name))
        return found.created, tuple(sorted(found.trials.items())), proofs
