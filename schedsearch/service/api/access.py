"""Tokens and audits, for admins; and what browsers log in by."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Path as InPath

from schedsearch.app.tokens import create_token
from schedsearch.service.api.common import (
    Cursor,
    InOffice,
    Limit,
    audit,
    errors,
    from_cursor,
    to_cursor,
)
from schedsearch.service.auth import Administers, Reads
from schedsearch.service.problems import not_found
from schedsearch.service.schemas import (
    AuditOut,
    AuditsOut,
    NewTokenOut,
    TokenIn,
    TokenOut,
)

router = APIRouter(tags=["access"])

_MOST = 10**9


@router.get("/token", responses=errors(), summary="The token that asks")
def own_token(who: Reads) -> TokenOut:
    """Return what the token of this request is good for."""
    return TokenOut.of(who.token)


@router.get("/tokens", responses=errors(), summary="List tokens")
def list_tokens(office: InOffice, _who: Administers) -> list[TokenOut]:
    """Return all tokens, without their secrets."""
    return [TokenOut.of(token) for token in office.store.service.tokens()]


@router.post("/tokens", status_code=201, responses=errors(400, 413), summary="Make a token")
def make_token(request: Request, office: InOffice, who: Administers, asked: TokenIn) -> NewTokenOut:
    """Make a token; its secret is in this answer and nowhere else."""
    lifetime = None if asked.days is None else timedelta(days=asked.days)
    made = create_token(office.store.service, asked.name, asked.scope, lifetime)
    audit(office, request, who, "create token", str(made.token.id), scope=made.token.scope)
    return NewTokenOut(**TokenOut.of(made.token).model_dump(), token=made.text)


@router.delete("/tokens/{token}", status_code=204, responses=errors(404), summary="Revoke a token")
def revoke_token(
    request: Request,
    office: InOffice,
    who: Administers,
    token: Annotated[int, InPath(ge=0, le=_MOST)],
) -> None:
    """Make a token good for nothing, and end its sessions."""
    if office.store.service.secret(token) is None:
        raise not_found(f"token {token}")
    office.store.service.revoke(token)
    audit(office, request, who, "revoke token", str(token))


@router.get("/audits", responses=errors(), summary="List audits")
def list_audits(
    office: InOffice, _who: Administers, limit: Limit = 100, cursor: Cursor = None
) -> AuditsOut:
    """Return who had what written, when and from where, the latest first."""
    before = from_cursor(cursor, (int,))[0] if cursor is not None else None
    found = office.store.service.audits(before, limit + 1)
    following = to_cursor([found[limit - 1].id]) if len(found) > limit else None
    return AuditsOut(audits=[AuditOut.of(one) for one in found[:limit]], cursor=following)
