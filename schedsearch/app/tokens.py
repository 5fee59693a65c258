"""Tokens of the service: made, shown once, recognised."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from schedsearch.errors import InputError
from schedsearch.store.access import SCOPES, Scope, Token
from schedsearch.store.service import ServiceStore

PREFIX = "schs"
_BYTES = 32
_NOBODY = "0" * 64


@dataclass(frozen=True)
class NewToken:
    """A token with its secret, which is never seen again.

    Attributes:
        token: The token.
        text: What its holder has to say.
    """

    token: Token
    text: str


def create_token(
    store: ServiceStore, name: str, scope: Scope, lifetime: timedelta | None = None
) -> NewToken:
    """Make a token.

    Args:
        store: Keeps it, without its secret.
        name: What people call it.
        scope: What it is good for.
        lifetime: For how long; None: until it is revoked.

    Raises:
        InputError: The name is empty or too long, or the lifetime is none.
    """
    if not 0 < len(name) <= 100 or not name.isprintable():
        raise InputError(f"the name of a token must have 1 to 100 letters, but got {name!r:.120}")
    if scope not in SCOPES:
        raise InputError(f"`scope` must be one of {', '.join(SCOPES)}, but got {scope!r:.50}")
    if lifetime is not None and lifetime <= timedelta(0):
        raise InputError("a token must live for a while; leave the time out for one without end")
    secret, salt = secrets.token_urlsafe(_BYTES), secrets.token_hex(16)
    expires = None if lifetime is None else datetime.now(UTC) + lifetime
    token = store.add_token(name, scope, expires, salt, _digest(salt, secret))
    return NewToken(token, f"{PREFIX}_{token.id}_{secret}")


def recognise(store: ServiceStore, text: str) -> Token | None:
    """Return the token of a secret, if it is good for something now.

    A secret has 256 random bits, so that one round of SHA-256 with its salt is enough. It is
    compared in a time that says nothing of it, whether there is such a token or not.
    """
    kind, _, rest = text.partition("_")
    number, _, secret = rest.partition("_")
    known = None
    if kind == PREFIX and number.isascii() and number.isdigit() and len(number) < 10:
        known = store.secret(int(number))
    salt, digest = (known.salt, known.digest) if known else ("", _NOBODY)
    same = hmac.compare_digest(_digest(salt, secret), digest)
    return known.token if known and same and known.token.valid(datetime.now(UTC)) else None


def _digest(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}{secret}".encode(errors="surrogatepass")).hexdigest()
