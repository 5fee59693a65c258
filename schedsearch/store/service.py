"""What a service keeps in the store besides studies. Each method is one transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from schedsearch.store import access, idempotency, launches, sample_sets
from schedsearch.store.access import Audit, Scope, Secret, Session, Token
from schedsearch.store.database import Database
from schedsearch.store.idempotency import Reply
from schedsearch.store.launches import Launch
from schedsearch.store.sample_sets import SampleSetEntry


class ServiceStore:
    """Tokens, sessions, audits, launches, replies and uploaded sets of a store.

    Methods raise as those of `Store` do.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # Who may do what

    def add_token(
        self, name: str, scope: Scope, expires: datetime | None, salt: str, digest: str
    ) -> Token:
        """Add a token."""
        return self._database.write(access.add_token, name, scope, expires, salt, digest)

    def tokens(self) -> list[Token]:
        """Return all tokens, oldest first."""
        return self._database.read(access.tokens)

    def secret(self, token: int) -> Secret | None:
        """Return a token with what its secret is compared with."""
        return self._database.read(access.secret, token)

    def revoke(self, token: int) -> Token:
        """Make a token good for nothing, and end the sessions that it has opened.

        Raises:
            InputError: There is none.
        """
        return self._database.write(access.revoke, token)

    def add_session(self, token: int, digest: str, expires: datetime) -> None:
        """Add a session."""
        self._database.write(access.add_session, token, digest, expires)

    def session(self, digest: str) -> Session | None:
        """Return a session, expired or not."""
        return self._database.read(access.session, digest)

    def end_session(self, digest: str) -> None:
        """Forget a session."""
        self._database.write(access.end_session, digest)

    def add_audit(
        self, who: str, action: str, object: str, origin: str, detail: Mapping[str, Any]
    ) -> None:
        """Note what somebody had the service write."""
        self._database.write(access.add_audit, who, action, object, origin, detail)

    def audits(self, before: int | None = None, limit: int = 100) -> list[Audit]:
        """Return the latest audits, those before a number alone where one is given."""
        return self._database.read(access.audits, before, limit)

    # Launches

    def add_launch(self, study: str, content: Mapping[str, Any], who: str, backend: str) -> Launch:
        """Add a launch.

        Raises:
            InputError: There is one of this study.
        """
        return self._database.write(launches.add, study, content, who, backend)

    def launch(self, study: str) -> Launch | None:
        """Return the launch of a study; None where it was made without a service."""
        return self._database.read(launches.find, study)

    def launches(self) -> list[Launch]:
        """Return all launches, oldest first."""
        return self._database.read(launches.every)

    def change_launch(self, study: str, version: int | None, content: Mapping[str, Any]) -> Launch:
        """Give a launch that nobody searches another content.

        Raises:
            ChangedError: It is of another version by now.
            StateError: It waits or is at work.
        """
        return self._database.write(launches.change, study, version, content)

    def remove_launch(self, study: str, version: int | None) -> None:
        """Remove a launch that nobody searches; raises as `change_launch`."""
        self._database.write(launches.remove, study, version)

    def queue(self, study: str) -> Launch:
        """Have a launch wait for room."""
        return self._database.write(launches.queue, study)

    def withdraw(self, study: str) -> Launch:
        """Have a launch wait no longer, for room or for a coordinator that has not come yet."""
        return self._database.write(launches.withdraw, study)

    def take(self, most: int) -> Launch | None:
        """Begin the launch that has waited longest, where fewer than so many are at work."""
        return self._database.write(launches.take, most)

    def claim(self, study: str, attempt: int, handle: Mapping[str, Any]) -> Launch:
        """Be the coordinator of a launch.

        Raises:
            StateError: Another one is, or none is wanted.
        """
        return self._database.write(launches.claim, study, attempt, handle)

    def end_launch(self, study: str, attempt: int, ending: str, reason: str = "") -> None:
        """Note how the search of an attempt has ended, unless that is known."""
        self._database.write(launches.end, study, attempt, ending, reason)

    def requeue_unclaimed(self) -> int:
        """Have launches wait again whose coordinator never came; return how many."""
        return self._database.write(launches.requeue_unclaimed)

    # Replies

    def begin_reply(self, who: str, key: str, request: str) -> Reply | None:
        """Take an idempotency key; return what it was answered before, None for a new one.

        Raises:
            KeyInUseError: It was used for another request, or its request is at work.
        """
        return self._database.write(idempotency.begin, who, key, request)

    def end_reply(self, who: str, key: str, reply: Reply | None) -> None:
        """Keep what a key was answered; None: forget the key, its request had no effect."""
        self._database.write(idempotency.end, who, key, reply)

    # Uploaded sets

    def add_sample_set(self, digest: str, name: str, samples: int, size: int, who: str) -> bool:
        """Add an uploaded set; return whether it is new."""
        return self._database.write(sample_sets.add, digest, name, samples, size, who)

    def sample_sets(self) -> list[SampleSetEntry]:
        """Return all uploaded sets, oldest first."""
        return self._database.read(sample_sets.every)

    def remove_sample_set(self, digest: str) -> None:
        """Forget an uploaded set.

        Raises:
            InputError: There is none.
        """
        self._database.write(sample_sets.remove, digest)
