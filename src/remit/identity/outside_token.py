"""Tokens of outside issuers, verified (RFC 7519, RFC 8725; OpenID Connect Core section 3.1.3.7; RFC 9068 section 4).

What is verified here is a bearer token: it says something about whoever was given it, and nothing about who shows it.
So it is good for an exchange alone, and not for asking.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec
from joserfc import jws

from remit.core import bounds
from remit.core.errors import InvalidInput, Unauthenticated
from remit.identity.bundle import VerificationKey
from remit.identity.compact import milliseconds, registry_of, signature_holds
from remit.identity.json_text import json_object
from remit.identity.keys import THUMBPRINT
from remit.identity.svid import LEEWAY_MS

MAX_HEADER: Final = 2048
MAX_SUBJECT: Final = 512
MAX_AUDIENCES: Final = 32
# RFC 7519 section 5.1 and RFC 9068 section 2.1; other types are other tokens (RFC 8725 section 3.11).
_TYPES: Final = (None, "JWT", "jwt", "at+jwt", "application/at+jwt", "JOSE")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]*")
_NEXT_STEP: Final = "get a fresh token from its issuer, for the audience that `remit.toml` names"

REGISTRY: Final = registry_of(
    ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"), any_header=True
)


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A token taken apart. Nothing of it is true yet."""

    compact: jws.CompactSignature
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    digest: str  # SHA-256 of what is signed: the same for every spelling of the signature

    @property
    def issuer(self) -> str:
        """`iss`; "" where it has none."""
        return _text(self.claims.get("iss"))

    @property
    def subject(self) -> str:
        """`sub`; "" where it has none."""
        return _text(self.claims.get("sub"))


class Times(msgspec.Struct, frozen=True):
    """When a token is valid, in ms."""

    not_before: int
    expires: int


def open_token(token: str) -> Opened:
    """The token taken apart: bounded, compact, and with one reading; `Unauthenticated` otherwise."""
    if len(token) > bounds.TOKEN_BYTES:
        raise Unauthenticated("token_too_large", f"the token is larger than {bounds.TOKEN_BYTES} bytes", _NEXT_STEP)
    segments = token.split(".")
    if len(segments) != 3 or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise invalid("the token is not a JWT in compact form")
    try:
        header = json_object(_decoded(segments[0]), most=MAX_HEADER)
        claims = json_object(_decoded(segments[1]), most=bounds.TOKEN_BYTES)
        # SECURITY: with `b64` or `crit` the payload may mean something else to another reader.
        if "crit" in header or "b64" in header:
            raise invalid("the token has critical header members, none of which is known here")
        compact = jws.CompactSignature(dict(header), _decoded(segments[1]))
    except (InvalidInput, ValueError):
        raise invalid("the token is not a JWT with one reading") from None
    parts = [segment.encode("ascii") for segment in segments]
    compact.segments.update({"header": parts[0], "payload": parts[1], "signature": parts[2]})
    return Opened(compact=compact, header=header, claims=claims, digest=sha256(parts[0] + b"." + parts[1]).hexdigest())


def key_for(opened: Opened, keys: Mapping[str, VerificationKey]) -> VerificationKey | None:
    """The issuer's key that the token's `kid` names; None when it has no such key.

    `jku`, `jwk`, `x5u` and `x5c` are never looked at: keys come from the configured issuer alone.
    """
    kid = opened.header.get("kid")
    # SECURITY: a key id is a name among the issuer's own keys; it is never a URL, a path or another issuer's key.
    return keys.get(kid) if isinstance(kid, str) else None


def check_signature(opened: Opened, key: VerificationKey) -> None:
    """The signature is by `key`, with that key's own algorithm, and the token is of a known type."""
    if opened.header.get("typ") not in _TYPES:
        raise invalid("the token is of another type")
    # SECURITY: the algorithm is the key's; the header must repeat it (RFC 8725 section 3.1).
    if opened.header.get("alg") != key.algorithm or not signature_holds(opened.compact, key.key, REGISTRY):
        raise invalid("the token's signature does not hold")


def times_of(opened: Opened, now: int, longest: int, *, needs_issued: bool = True) -> Times:
    """When the token is valid, checked at `now`; all in ms. It may live no longer than `longest`."""
    expires, not_before = _moment(opened.claims.get("exp")), _moment(opened.claims.get("nbf", 0))
    issued = now if not needs_issued and "iat" not in opened.claims else _moment(opened.claims.get("iat"))
    if expires is None or issued is None or not_before is None:
        raise invalid("the token has no `exp` or no `iat`, or they are no times")
    if now >= expires + LEEWAY_MS:
        raise Unauthenticated("token_expired", "the token has expired", _NEXT_STEP)
    if now < max(issued, not_before) - LEEWAY_MS:
        raise Unauthenticated("token_not_yet_valid", "the token is not valid yet", "set this machine's clock")
    # SECURITY: a token is remembered until it expires; one that lives for years could not be.
    if expires - issued > longest:
        raise Unauthenticated(
            "token_too_long_lived",
            f"the token lives longer than {longest // 1000} seconds",
            "have the issuer give it a shorter life, or raise `token_seconds`",
        )
    return Times(max(issued, not_before), expires)


def audiences_of(opened: Opened) -> tuple[str, ...]:
    """`aud`, as one or several strings; `Unauthenticated` for anything else."""
    value = opened.claims.get("aud")
    found = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else ()
    if not 0 < len(found) <= MAX_AUDIENCES or not all(isinstance(each, str) and each for each in found):
        raise invalid("the token has no audience")
    return found


def check_party(opened: Opened, parties: tuple[str, ...]) -> None:
    """For whom the token was made (OpenID Connect Core section 3.1.3.7, steps 3 to 5).

    A token for several audiences could be shown here by each of the others: it needs an `azp` that is known.
    """
    party = opened.claims.get("azp")
    if parties:
        if party not in parties:
            raise Unauthenticated("token_audience", "the token was made for another party", _NEXT_STEP)
    elif len(audiences_of(opened)) > 1:
        raise Unauthenticated(
            "token_audience",
            "the token is meant for several audiences",
            "ask for one with this audience alone, or name its `azp` in `authorized_parties`",
        )


def check_kind(opened: Opened) -> None:
    """Refuses statements that are no proof of who was logged in: logout and security event tokens."""
    # SECURITY: OpenID Connect Back-Channel Logout section 4: they are signed by the same keys, with or without `typ`.
    if "events" in opened.claims:
        raise invalid("this is a statement about events, and no token of somebody")


def is_a_service(opened: Opened) -> bool:
    """Whether the token says that it is a client's own, with nobody logged in (RFC 9068 section 2.2)."""
    subject = opened.subject
    return any(opened.claims.get(name) == subject for name in ("client_id", "azp", "appid"))


def bound_key(opened: Opened) -> str:
    """The key that the token is bound to (RFC 7800, RFC 9449 section 6.1), "" for a bearer token."""
    confirmation = opened.claims.get("cnf")
    if confirmation is None:
        return ""
    key = confirmation.get("jkt") if isinstance(confirmation, dict) else None
    # SECURITY: a binding that can't be checked here is no reason to take the token without it.
    if not isinstance(key, str) or not THUMBPRINT.fullmatch(key):
        raise Unauthenticated("token_unbound", "the token is bound to something other than a DPoP key", _NEXT_STEP)
    return key


def invalid(message: str) -> Unauthenticated:
    """The refusal of a token that is not what it should be."""
    return Unauthenticated("token_invalid", message, _NEXT_STEP)


def _decoded(segment: str) -> bytes:
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _moment(value: object) -> int | None:
    # `bool` is an `int` to Python, and NaN compares with nothing.
    return milliseconds(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
