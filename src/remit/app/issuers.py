"""How the sources of keys from elsewhere stand, and what a token would be here: for commands and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from remit.app.elsewhere import elsewhere_of
from remit.app.folder import Folder
from remit.app.key_sources import KeySource, sources_of
from remit.core.clock import Clock
from remit.core.errors import Unauthenticated
from remit.core.settings import Settings
from remit.identity.arrival import Arrival
from remit.identity.elsewhere import Elsewhere
from remit.identity.outside_token import open_token
from remit.identity.rules import misses

Standing = Literal["fresh", "failing", "stale", "unread"]


class Listed(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One issuer or trust domain."""

    source: str  # `issuers/<name>` or `federation/<trust domain>`
    place: str  # where its keys are
    standing: Standing
    rules: int
    keys: int
    read: int  # ms; when its keys were last read; 0: never
    stale: int  # ms; from when on its tokens are refused, unless they are read again
    failures: int
    error: str


class Explained(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a token would be here."""

    accepted: bool
    id: str = ""
    rule: str = ""
    code: str = ""
    message: str = ""
    next_step: str = ""
    claims: Mapping[str, Any] = {}
    missed: Mapping[str, list[str]] = {}  # by rule of the token's issuer: what the token lacks for it


def standing(source: KeySource, now: int) -> Standing:
    """`fresh` when the last try succeeded, `failing` while older keys still serve, then `stale`."""
    state = source.state
    if not state.read:
        return "unread"
    if now >= state.read + source.stale_ms:
        return "stale"
    return "failing" if state.error else "fresh"


def listed(folder: Folder, settings: Settings, clock: Clock) -> list[Listed]:
    """Every source, as the service of this folder last kept it; raises `DocumentError` for files that are not there."""
    elsewhere = elsewhere_of(folder, settings)
    rules = {each.source: len(each.rules) for each in elsewhere.issuers.values()}
    rules |= {each.source: len(each.rules) for each in elsewhere.federations.values()}
    now = clock()
    return [
        Listed(
            source=source.state.source,
            place=source.state.place,
            standing=standing(source, now),
            rules=rules[source.state.source],
            keys=source.state.keys,
            read=source.state.read,
            stale=source.state.read + source.stale_ms if source.state.read else 0,
            failures=source.state.failures,
            error=source.state.error,
        )
        for source in sources_of(elsewhere, folder, clock)
    ]


def explain(folder: Folder, settings: Settings, token: str, clock: Clock) -> Explained:
    """What the token would be here, with the keys that were read last; nothing is exchanged, fetched or recorded."""
    elsewhere = elsewhere_of(folder, settings)
    sources_of(elsewhere, folder, clock)
    claims: Mapping[str, Any] = {}
    try:
        claims = open_token(token).claims
        found: Arrival = elsewhere.arrival(token, clock())
    except Unauthenticated as error:
        return Explained(
            accepted=False,
            code=error.code,
            message=error.message,
            next_step=error.next_step,
            claims=claims,
            missed=_missed(elsewhere, claims) if error.code in ("token_unmapped", "token_audience") else {},
        )
    return Explained(accepted=True, id=found.id, rule=f"{found.source} rule {found.rule}", claims=claims)


def _missed(elsewhere: Elsewhere, claims: Mapping[str, Any]) -> dict[str, list[str]]:
    issuer = elsewhere.issuers.get(str(claims.get("iss", "")))
    if issuer is None:
        return {}
    audience = claims.get("aud")
    meant = audience if isinstance(audience, list) else [audience]
    found = {}
    for rule in issuer.rules:
        lacks = [*(() if rule.audience in meant else ("aud",)), *misses(rule, claims)]
        if not lacks and rule.claim:
            lacks = [rule.claim]  # it is no name
        found[f"{issuer.source} rule {rule.number} ({rule.identity}{f'{{{rule.claim}}}' if rule.claim else ''})"] = (
            lacks
        )
    return found


def gauges(sources: Iterable[KeySource], now: int) -> dict[str, dict[str, float]]:
    """What an operator watches of each source: the age of its keys in seconds, how many, and failures in a row."""
    return {
        source.state.source: {
            "age": max(0, now - source.state.read) / 1000 if source.state.read else -1.0,
            "keys": source.state.keys,
            "failures": source.state.failures,
            "stale": float(standing(source, now) in ("stale", "unread")),
        }
        for source in sources
    }
