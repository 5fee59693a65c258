"""A study as its store alone knows it: enough for a report that compares nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from schedsearch.app.sample_size import span_of
from schedsearch.app.study_view import StudyView
from schedsearch.core.schedule import Target


@dataclass(frozen=True)
class RecordedSubject:
    """What a report says of a `Subject`; attributes as there."""

    ids: Sequence[object]
    target: Target | None
    context: Mapping[str, Any]
    span: float


class Recorded(StudyView):
    """A study without its model that can be reported."""

    @cached_property
    def subject(self) -> RecordedSubject:
        """What was evaluated."""
        contexts = self.store.contexts(self.name)
        targets = (trial.schedule.target for trial in self.trials)
        return RecordedSubject(
            ids=range(sum(each.samples or 0 for each in self.spec.facts.tokens)),
            target=next((one for one in targets if one is not None), None),
            context=contexts[-1] if contexts else {},
            span=span_of(self.spec.metric),
        )
