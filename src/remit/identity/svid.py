"""JWT-SVIDs, verified (SPIFFE JWT-SVID, sections 2 to 4 and 6; RFC 7800 for the key that they are bound to)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from remit.core.errors import InvalidInput, Unauthenticated
from remit.core.identities import Identity
from remit.identity.bundle import VerificationKey
from remit.identity.compact import FOREIGN_REGISTRY, claims_of, milliseconds, parse_compact, signature_holds
from remit.identity.keys import THUMBPRINT
from remit.identity.spiffe import SpiffeId, parse_spiffe_id

LEEWAY_MS: Final = 5_000  # how far the clock of the issuer may be from ours, either way

_HEADER: Final = frozenset({"alg", "kid", "typ"})  # section 2: no other member may be present
_TYPES: Final = (None, "JWT", "JOSE")  # section 2.3
_NEXT_STEP: Final = "get a new SVID and send it with a fresh proof"


class Confirmation(msgspec.Struct, frozen=True):
    """The key that a token is bound to (RFC 7800, RFC 9449 section 6.1)."""

    jkt: str


class SvidClaims(msgspec.Struct, frozen=True):
    """What Remit reads of a JWT-SVID; other claims are ignored."""

    sub: str
    aud: str | tuple[str, ...]
    exp: int | float
    iat: int | float
    nbf: int | float = 0
    cnf: Confirmation | None = None


class Svid(msgspec.Struct, frozen=True):
    """A verified JWT-SVID. Its times must be checked at each use: `check_times`."""

    identity: Identity
    subject: SpiffeId
    not_before: int  # ms


_decoder: Final = msgspec.json.Decoder(SvidClaims)


def verify_svid(
    token: str,
    *,
    bundles: Mapping[str, Mapping[str, VerificationKey]],
    audience: str,
    max_lifetime_ms: int,
) -> Svid:
    """The SVID in `token`, with everything checked but the time; `Unauthenticated` otherwise.

    1. A bounded compact JWS with only `alg`, `kid` and `typ` in its header; `typ` JWT, JOSE or absent.
    2. `sub` is a SPIFFE ID with a path, in a trust domain that has a bundle here.
    3. `kid` selects one key of that bundle, and `alg` is that key's algorithm.
    4. The signature holds.
    5. `aud` holds the audience, `exp` and `iat` are present and no further apart than the maximum lifetime.
    6. `cnf.jkt` is present: a token that anyone may present is refused.
    """
    compact = parse_compact(token, _HEADER)
    if compact is None:
        raise _invalid("the SVID is not a JWT-SVID in compact form")
    header = compact.protected
    claims = claims_of(compact, _decoder)
    if claims is None or header.get("typ") not in _TYPES:
        raise _invalid("the SVID lacks a required claim or has one of the wrong type")
    subject = _subject(claims.sub)
    keys = bundles.get(subject.trust_domain)
    if keys is None:
        raise Unauthenticated(
            "trust_domain_unknown",
            "the SVID is from a trust domain that is not trusted here",
            "federate with that trust domain, or use an SVID of this one",
        )
    kid = header.get("kid")
    key = keys.get(kid) if isinstance(kid, str) else None
    # SECURITY: a key id is a name in the subject's own bundle; it is never a URL, a path or another domain's key.
    if key is None:
        raise _invalid("the SVID is signed by a key that its trust domain does not publish")
    # SECURITY: the algorithm is the key's; the header must repeat it (RFC 8725 section 3.1).
    if header.get("alg") != key.algorithm or not signature_holds(compact, key.key, FOREIGN_REGISTRY):
        raise _invalid("the SVID's signature does not hold")
    return _checked(claims, subject, audience, max_lifetime_ms)


def check_times(svid: Svid, now: int) -> None:
    """Refuses an SVID that has expired or is not valid yet, at `now`, with a leeway of `LEEWAY_MS`."""
    if now >= svid.identity.expires + LEEWAY_MS:
        raise Unauthenticated("token_expired", "the SVID has expired", _NEXT_STEP)
    if now < svid.not_before - LEEWAY_MS:
        raise Unauthenticated("token_not_yet_valid", "the SVID is not valid yet", "set this machine's clock")


def _subject(text: str) -> SpiffeId:
    try:
        subject = parse_spiffe_id(text)
    except InvalidInput:
        raise _invalid("the SVID's subject is not a SPIFFE ID") from None
    if not subject.path:
        raise _invalid("the SVID names a trust domain, not an identity")
    return subject


def _checked(claims: SvidClaims, subject: SpiffeId, audience: str, max_lifetime_ms: int) -> Svid:
    audiences = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
    if audience not in audiences:
        raise Unauthenticated("token_audience", "the SVID is meant for another service", _NEXT_STEP)
    expires, issued, not_before = milliseconds(claims.exp), milliseconds(claims.iat), milliseconds(claims.nbf)
    if expires is None or issued is None or not_before is None or expires <= issued:
        raise _invalid("the SVID's times make no sense")
    if expires - issued > max_lifetime_ms:
        raise Unauthenticated(
            "token_too_long_lived",
            f"the SVID lives longer than {max_lifetime_ms // 1000} seconds",
            "issue SVIDs with a shorter life",
        )
    # SECURITY: without `cnf` whoever holds the token would be believed.
    if claims.cnf is None or not THUMBPRINT.fullmatch(claims.cnf.jkt):
        raise Unauthenticated("token_unbound", "the SVID is not bound to a key", "issue SVIDs with `cnf.jkt`")
    identity = Identity(id=claims.sub, key=claims.cnf.jkt, expires=expires)
    return Svid(identity, subject, max(issued, not_before))


def _invalid(message: str) -> Unauthenticated:
    return Unauthenticated("token_invalid", message, _NEXT_STEP)
