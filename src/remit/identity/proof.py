"""Proofs of possession: DPoP (RFC 9449), and the same form for proofs that an enforcement point forwards."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec
from joserfc import jws
from joserfc.jwk import ECKey

from remit.core.errors import InvalidInput, Unauthenticated
from remit.identity.compact import ISSUED, ISSUED_REGISTRY, claims_of, milliseconds, parse_compact, signature_holds
from remit.identity.keys import import_public, is_coordinate, thumbprint_of_point

TYPE: Final = "dpop+jwt"
MAX_JTI: Final = 128

_HEADER: Final = frozenset({"typ", "alg", "jwk", "kid"})
_JWK: Final = frozenset({"kty", "crv", "x", "y", "alg", "use", "kid"})
_NEXT_STEP: Final = "make a fresh proof for exactly this request (RFC 9449)"


class ProofClaims(msgspec.Struct, frozen=True):
    """The claims of a proof (RFC 9449 section 4.2)."""

    jti: str
    htm: str
    htu: str
    iat: int | float
    ath: str = ""


class Proof(msgspec.Struct, frozen=True):
    """A proof taken apart. `key` is what it claims to be made with, until `check_signature` has passed."""

    compact: jws.CompactSignature
    claims: ProofClaims
    issued: int  # ms
    x: str
    y: str
    key: str  # RFC 7638 thumbprint


_decoder: Final = msgspec.json.Decoder(ProofClaims)


def read_proof(text: str) -> Proof:
    """A proof, its form checked as RFC 9449 section 4.3 numbers it; `Unauthenticated("proof_invalid")` otherwise.

    1. one header field: two of them joined with a comma are no JWT; 2. a single well-formed JWT; 3. the required
    claims; 4. `typ`; 5. `alg` is ES256; 7. `jwk` is public. The signature (6) is `check_signature`, the rest depends
    on the request.
    """
    compact = parse_compact(text, _HEADER)
    if compact is None:
        raise _invalid("the proof is not a single JWT of the form that RFC 9449 asks for")
    header = compact.protected
    if header.get("typ") != TYPE:
        raise _invalid("the proof has not the type `dpop+jwt`")
    # SECURITY: only ES256; `none` and HMAC never reach a key.
    if header.get("alg") not in ISSUED:
        raise _invalid("the proof is not signed with ES256")
    x, y = _point(header.get("jwk"))
    claims = claims_of(compact, _decoder)
    issued = None if claims is None else milliseconds(claims.iat)
    if claims is None or issued is None or not 0 < len(claims.jti) <= MAX_JTI:
        raise _invalid("the proof lacks a required claim or has one of the wrong type")
    return Proof(compact, claims, issued, x, y, thumbprint_of_point(x, y))


def check_signature(proof: Proof) -> None:
    """Check 6 of RFC 9449 section 4.3: the signature verifies with the key in the proof's header.

    Call it last among the checks without a side effect: it is the one that costs.
    """
    try:
        key = _public_key(proof.x, proof.y)
    except InvalidInput:
        raise _invalid("the proof's key is not a point of P-256") from None
    if not signature_holds(proof.compact, key, ISSUED_REGISTRY):
        raise _invalid("the proof's signature does not hold")


def check_age(proof: Proof, now: int, *, oldest: int, ahead: int) -> None:
    """Check 11: made within the last `oldest` and at most `ahead` in the future, both in ms."""
    if now - proof.issued > oldest:
        raise Unauthenticated("proof_stale", f"the proof is older than {oldest // 1000} seconds", _NEXT_STEP)
    if proof.issued - now > ahead:
        raise Unauthenticated("proof_early", "the proof is from the future", "set this machine's clock")


def check_key(proof: Proof, key: str) -> None:
    """Check 12 b: the proof's key is the one that the token is bound to, a thumbprint."""
    if proof.key != key:
        raise Unauthenticated(
            "key_mismatch", "the proof is made with another key than the token is bound to", "use the token's own key"
        )


def check_hash(proof: Proof, expected: str) -> None:
    """Check 12 a: `ath` is the hash of the token that came with the proof; "" when none came."""
    if proof.claims.ath != expected:
        raise Unauthenticated("proof_mismatch", "the proof is made for another token", _NEXT_STEP)


def check_method(proof: Proof, method: str) -> None:
    """Check 8: `htm` is the request's method."""
    if proof.claims.htm != method:
        raise Unauthenticated("proof_mismatch", "the proof is made for another method", _NEXT_STEP)


def _point(jwk: object) -> tuple[str, str]:
    # SECURITY: a closed list of members, so that no private part (`d`, and those of other key types) gets in.
    if not isinstance(jwk, dict) or not _JWK.issuperset(jwk):
        raise _invalid("the proof's `jwk` is missing, holds a private key, or has members beyond a public key's")
    x, y = jwk.get("x"), jwk.get("y")
    if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256" or not is_coordinate(x) or not is_coordinate(y):
        raise _invalid("the proof's `jwk` is not an EC P-256 key")
    if jwk.get("alg", "ES256") != "ES256" or jwk.get("use", "sig") != "sig":
        raise _invalid("the proof's `jwk` is for another use")
    return x, y


@lru_cache(maxsize=1024)
def _public_key(x: str, y: str) -> ECKey:
    """Imported keys by their points: an import costs half as much as a verification."""
    return import_public({"kty": "EC", "crv": "P-256", "x": x, "y": y})


def _invalid(message: str) -> Unauthenticated:
    return Unauthenticated("proof_invalid", message, _NEXT_STEP)
