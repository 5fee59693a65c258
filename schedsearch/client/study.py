"""A study at a service: started, followed, looked at, its result taken away."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote

from schedsearch.client.connection import Connection
from schedsearch.client.following import follow
from schedsearch.client.values import Best, Status, trial_of
from schedsearch.core.trial import Trial, TrialState
from schedsearch.errors import RunError

OnEvent = Callable[[Status | Trial], object]


def path_of(name: str) -> str:
    """Path of a study; of a name that is no text one that no study has."""
    return f"studies/{quote(name, safe='', errors='replace')}"


class Study:
    """A study at a service.

    Made by `client.studies`. Each method may raise `schedsearch.InputError` where the service
    refuses, and `schedsearch.RunError` where it fails or cannot be reached.

    Args:
        connection: To the service.
        status: As it stood.

    Attributes:
        status: As it stood when the service last told.
    """

    def __init__(self, connection: Connection, status: Status) -> None:
        self._connection = connection
        self.status = status

    def __repr__(self) -> str:
        return f"Study({self.name!r}, {self.state})"

    @property
    def name(self) -> str:
        """Its name."""
        return self.status.name

    @property
    def state(self) -> str:
        """What became of it, as `status` has it."""
        return self.status.state

    def refresh(self) -> Self:
        """Look at it again."""
        return self._stands(self._connection.json("GET", self._path()))

    def content(self) -> Mapping[str, Any]:
        """What is searched, as a study file has it."""
        found: Mapping[str, Any] = self._connection.json("GET", self._path("/content"))
        return found

    def start(self) -> Self:
        """Have it searched, or searched on, as soon as there is room."""
        return self._stands(self._connection.json("POST", self._path("/start"), once=True))

    def pause(self) -> Self:
        """Have its search end once the trials at work are closed."""
        return self._stands(self._connection.json("POST", self._path("/pause")))

    def stop(self) -> Self:
        """Have its search end at once, or wait no longer."""
        return self._stands(self._connection.json("POST", self._path("/stop")))

    def delete(self) -> None:
        """Delete it with all that was found, unless somebody has changed it meanwhile."""
        version = self.status.version
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        self._connection.ask("DELETE", self._path(), headers=headers)

    def clone(self, name: str, changes: Mapping[str, Any] | None = None) -> "Study":
        """Create a study of the same content, with changes.

        Args:
            name: Of the new one.
            changes: Keys of a study file; mappings are merged, None removes a key.
        """
        body = {"study": name, "changes": changes or {}}
        made = self._connection.json("POST", self._path("/clone"), json=body)
        return Study(self._connection, Status.of(made))

    def wait(self, timeout: float | None = None, on_event: OnEvent | None = None) -> Self:
        """Return once nobody searches the study any more, nor is to.

        Lost connections and restarts of the service are waited for.

        Args:
            timeout: Seconds to wait at most; None: as long as it takes.
            on_event: Called with the status whenever it has changed, and with each trial closed
                since the call.

        Raises:
            RunError: The search has failed, was deleted, or goes on when the time is up.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        for event in follow(self._connection, self.name, self._path("/events"), deadline):
            if isinstance(event, Status):
                self.status = event
            if on_event is not None:
                on_event(event)
            # What is told may be a second old, and of the time before a start.
            if isinstance(event, Status) and not event.active and not self.refresh().status.active:
                return self._ended()
        raise RunError(f"`{self.name}` is {self.state} after {timeout:g} s; wait for it again")

    def trials(
        self,
        state: TrialState | str | Sequence[TrialState | str] | None = None,
        *,
        max_cost: float | None = None,
        max_drop: float | None = None,
        layer: int | None = None,
        order: str = "number",
        descending: bool = False,
        page: int = 500,
    ) -> Iterator[Trial]:
        """Iterate over trials, which are asked for page by page.

        Args:
            state: In this state, or one of these.
            max_cost: Of at most this FLOPs ratio.
            max_drop: That lose at most this much of the metric.
            layer: That asked about this layer.
            order: number, drop, flops_ratio or score; those that lack it come last.
            descending: The greatest first.
            page: How many are asked for at once, at most 500.
        """
        states = [state] if isinstance(state, str) else state
        asked = {
            "state": None if states is None else [str(one) for one in states],
            "max_cost": max_cost,
            "max_drop": max_drop,
            "layer": layer,
            "order": order,
            "descending": str(descending).lower(),
        }
        return map(trial_of, self._connection.pages(self._path("/trials"), "trials", asked, page))

    def trial(self, number: int) -> Trial:
        """The trial of a number."""
        return trial_of(self._connection.json("GET", self._path(f"/trials/{number:d}")))

    def best(self, budget: float | None = None, max_drop: float | None = None) -> Best:
        """What is certified, else the result so far; or another trial, by cost or drop.

        Args:
            budget: The best trial of at most this cost.
            max_drop: The cheapest trial that loses at most this much of the metric; with `budget`
                both must hold.

        Raises:
            InputError: There is none.
        """
        asked = {"budget": budget, "max_drop": max_drop}
        params = {key: value for key, value in asked.items() if value is not None}
        body = self._connection.json("GET", self._path("/best"), params=params)
        file = self._connection.ask("GET", self._path("/schedule"), params=params)
        return Best.of(body, file.content)

    def _path(self, rest: str = "") -> str:
        return path_of(self.name) + rest

    def _stands(self, body: Mapping[str, Any]) -> Self:
        self.status = Status.of(body)
        return self

    def _ended(self) -> Self:
        if self.state == "failed":
            raise RunError(
                f"the search of `{self.name}` has failed: {self.status.reason or 'no reason'}; "
                "remove the cause, then start it again"
            )
        return self
