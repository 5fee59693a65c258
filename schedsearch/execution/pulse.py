"""The pulse of a run: tells the store where it stands, and hears what others wish of it."""

import logging
from collections.abc import Callable

from schedsearch.core.progress import Progress, Wish
from schedsearch.errors import SchedsearchError
from schedsearch.execution.heartbeat import StopStudy
from schedsearch.store.lease import Lease, LeaseLostError
from schedsearch.store.place import StoreLostError
from schedsearch.store.store import Store

log = logging.getLogger(__name__)


class Pulse:
    """What the coordinator does at each heartbeat, in whichever thread.

    Args:
        store: Keeps progress and wish.
        lease: Of the study.
        progress: Says where the run stands.

    Attributes:
        wish: What others wish, as of the last beat.
    """

    def __init__(self, store: Store, lease: Lease, progress: Callable[[], Progress]) -> None:
        self.wish: Wish = "run"
        self._store = store
        self._lease = lease
        self._progress = progress
        self._failure = ""

    def beat(self) -> None:
        """Tell and hear; what fails besides the lease and the store's file is logged once.

        Raises:
            StopStudy: Somebody wishes so.
            StoreLostError: The store's file is gone.
            LeaseLostError: Somebody else coordinates the study by now.
        """
        try:
            self.wish = self._store.beat(self._lease, self._progress())
            self._failure = ""
        except (StoreLostError, LeaseLostError):
            raise
        except SchedsearchError as error:
            if str(error) != self._failure:
                log.warning("others cannot see the progress of this search: %s", error)
            self._failure = str(error)
        self.obey()

    def obey(self) -> None:
        """End the run where somebody wishes so.

        Raises:
            StopStudy: Somebody does.
        """
        if self.wish == "stop":
            raise StopStudy("another process has asked for it")
