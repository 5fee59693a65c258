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
        self._lost: LeaseLostError | None = None

    def beat(self) -> None:
        """Tell and hear; what fails besides the lease and the store's file is logged once.

        A store that cannot be reached tells nobody that the lease is lost. It may be by then, and
        nothing is written before the store has been asked whether it is.

        Raises:
            StopStudy: Somebody wishes so.
            StoreLostError: The store's file is gone.
            LeaseLostError: Somebody else coordinates the study by now.
        """
        try:
            self.wish = self._store.beat(self._lease, self._progress())
            self._failure = ""
        except StoreLostError:
            raise
        except LeaseLostError as error:
            self._lost = error
            raise
        except SchedsearchError as error:
            if str(error) != self._failure:
                log.warning(
                    "others cannot see the progress of this search: %s; they may take it over once "
                    "its lease has lapsed",
                    error,
                )
            self._failure = str(error)
        self.obey()

    def obey(self) -> None:
        """End the run where somebody wishes so, or has taken it over.

        Raises:
            StopStudy: Somebody wishes so.
            LeaseLostError: Somebody else coordinates the study, as a beat has found.
        """
        if self._lost:
            raise self._lost
        if self.wish == "stop":
            raise StopStudy("another process has asked for it")
