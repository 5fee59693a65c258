"""What can happen to a search."""

from tests.chaos.faults import cut, frozen, killed, refusing, restarted, rivals, seeded, workers
from tests.chaos.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *killed.FAULTS,
    *cut.FAULTS,
    *restarted.FAULTS,
    *rivals.FAULTS,
    *frozen.FAULTS,
    *refusing.FAULTS,
    *seeded.FAULTS,
    *workers.FAULTS,
)
