"""Tokens of the service, browsers that are logged in, and what people had it write, in SQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, insert, select, update

from schedsearch.errors import InputError
from schedsearch.store.codec import decoding, storable
from schedsearch.store.tables import AuditRow, SessionRow, TokenRow

Scope = Literal["read", "launch", "admin"]
"""What a token is good for; each does all that those before it do."""

SCOPES: tuple[Scope, ...] = ("read", "launch", "admin")
_SCOPES = {scope: scope for scope in SCOPES}


@dataclass(frozen=True)
class Token:
    """A token, without its secret.

    Attributes:
        id: Of this token for ever.
        name: What people call it.
        scope: What it is good for.
        created: When it was made.
        expires: From when on it is good for nothing; None: never.
        revoked: Since when it is good for nothing; None: it was not revoked.
    """

    id: int
    name: str
    scope: Scope
    created: datetime
    expires: datetime | None
    revoked: datetime | None

    def valid(self, at: datetime) -> bool:
        """Say whether it is good for something at a time."""
        return self.revoked is None and (self.expires is None or at < self.expires)


@dataclass(frozen=True)
class Secret:
    """A token with what its secret is compared with.

    Attributes:
        token: The token.
        salt: Goes before the secret.
        digest: Of both.
    """

    token: Token
    salt: str
    digest: str


@dataclass(frozen=True)
class Session:
    """A browser that is logged in.

    Attributes:
        token: By which.
        expires: When that ends.
    """

    token: Token
    expires: datetime


@dataclass(frozen=True)
class Audit:
    """Something that somebody had the service write.

    Attributes:
        id: Grows with time.
        time: When.
        who: Name and number of the token.
        action: What was done.
        object: To what.
        origin: The address that asked.
        detail: What else is known.
    """

    id: int
    time: datetime
    who: str
    action: str
    object: str
    origin: str
    detail: Mapping[str, Any]


def add_token(
    connection: Connection,
    name: str,
    scope: Scope,
    expires: datetime | None,
    salt: str,
    digest: str,
) -> Token:
    """Add a token."""
    values = {
        "name": storable(name, "the name of a token"),
        "scope": scope,
        "created": datetime.now(UTC),
        "expires": expires,
        "revoked": None,
    }
    added = connection.execute(
        insert(TokenRow).values(salt=salt, digest=digest, **values).returning(TokenRow.id)
    )
    return Token(id=added.scalar_one(), **values)  # type: ignore[arg-type]


def tokens(connection: Connection) -> list[Token]:
    """Return all tokens, oldest first."""
    rows = connection.execute(select(TokenRow.__table__).order_by(TokenRow.id))
    return [_token(row) for row in rows]


def secret(connection: Connection, token: int) -> Secret | None:
    """Return a token with what its secret is compared with; None where there is none."""
    query = select(TokenRow.__table__).where(TokenRow.id == token)
    row = connection.execute(query).one_or_none()
    return None if row is None else Secret(_token(row), row.salt, row.digest)


def revoke(connection: Connection, token: int) -> Token:
    """Make a token good for nothing, and end the sessions that it has opened.

    Raises:
        InputError: There is none.
    """
    found = secret(connection, token)
    if found is None:
        raise InputError(f"there is no token {token}; `schedsearch token list` shows all")
    if found.token.revoked is None:
        changed = update(TokenRow).where(TokenRow.id == token)
        connection.execute(changed.values(revoked=datetime.now(UTC)))
    connection.execute(delete(SessionRow).where(SessionRow.token_id == token))
    again = secret(connection, token)
    assert again is not None
    return again.token


def add_session(connection: Connection, token: int, digest: str, expires: datetime) -> None:
    """Add a session, and forget those that have expired."""
    now = datetime.now(UTC)
    connection.execute(delete(SessionRow).where(SessionRow.expires <= now))
    connection.execute(
        insert(SessionRow).values(token_id=token, digest=digest, created=now, expires=expires)
    )


def session(connection: Connection, digest: str) -> Session | None:
    """Return a session, expired or not; None where there is none."""
    columns = (*TokenRow.__table__.columns, SessionRow.expires.label("ends"))
    query = select(*columns).join(SessionRow, SessionRow.token_id == TokenRow.id)
    row = connection.execute(query.where(SessionRow.digest == digest)).one_or_none()
    return None if row is None else Session(_token(row), row.ends)


def end_session(connection: Connection, digest: str) -> None:
    """Forget a session."""
    connection.execute(delete(SessionRow).where(SessionRow.digest == digest))


def add_audit(
    connection: Connection,
    who: str,
    action: str,
    object: str,
    origin: str,
    detail: Mapping[str, Any],
) -> None:
    """Note what somebody had written; in the transaction that writes it, where there is one."""
    connection.execute(
        insert(AuditRow).values(
            time=datetime.now(UTC),
            who=who,
            action=action,
            object=object,
            origin=origin,
            detail=dict(detail),
        )
    )


def audits(connection: Connection, before: int | None, limit: int) -> list[Audit]:
    """Return the latest audits, those before a number alone where one is given; newest first."""
    query = select(AuditRow.__table__).order_by(AuditRow.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditRow.id < before)
    return [Audit(**row._mapping) for row in connection.execute(query)]


def _token(row: Row[Any]) -> Token:
    with decoding("the scope of a token"):
        scope = _SCOPES[row.scope]
    return Token(row.id, row.name, scope, row.created, row.expires, row.revoked)
