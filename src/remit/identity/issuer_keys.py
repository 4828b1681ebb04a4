"""The keys of an outside issuer: a JWK Set (RFC 7517 section 5), each key with the one algorithm that it verifies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from remit.core.bounds import NAME_BYTES
from remit.core.errors import InvalidInput
from remit.identity.bundle import MAX_KEYS, PRIVATE, RSA_CHARACTERS, VerificationKey
from remit.identity.json_text import json_object

MAX_BYTES: Final = 512 * 1024

_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


def read_jwks(data: bytes, algorithms: Iterable[str]) -> Mapping[str, VerificationKey]:
    """The issuer's signing keys by `kid`; `InvalidInput("jwks_invalid")` otherwise.

    Passed over: keys for another use, of another type, without a `kid`, or for an algorithm that is not allowed here.
    A private key anywhere, or one `kid` for two keys, refuses the whole set. A set without a usable key is one: the
    issuer has withdrawn them all.
    """
    try:
        entries = json_object(data, most=MAX_BYTES).get("keys")
    except InvalidInput as error:
        raise _invalid(f"this is not a JWK Set: {error.message}") from None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise _invalid(f"a JWK Set has an array `keys` of at most {MAX_KEYS} keys")
    allowed = frozenset(algorithms)
    keys: dict[str, VerificationKey] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        # SECURITY: who publishes a private key has lost it; nothing of such a set is believed.
        if not PRIVATE.isdisjoint(entry):
            raise _invalid("the JWK Set holds a private or symmetric key")
        kid, algorithm = entry.get("kid"), _algorithm(entry)
        if not _signs(entry) or algorithm not in allowed:
            continue
        if not isinstance(kid, str) or not 0 < len(kid) <= NAME_BYTES:
            continue
        if kid in keys:
            # SECURITY: which of two keys is meant must not depend on the order of a list.
            raise _invalid("two keys of the JWK Set share one `kid`")
        keys[kid] = VerificationKey(kid, algorithm, _key(entry))
    return keys


def _signs(entry: Mapping[str, Any]) -> bool:
    """Whether the key is for signatures (RFC 7517 sections 4.2 and 4.3)."""
    operations = entry.get("key_ops", ["verify"])
    return entry.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _algorithm(entry: Mapping[str, Any]) -> str:
    """The one algorithm for this key: as `alg` says, else the usual one of its type; "" where they do not fit."""
    # SECURITY: the key fixes the algorithm, never the token (RFC 8725 sections 3.1 and 3.2).
    said = entry.get("alg")
    curve = entry.get("crv")
    if entry.get("kty") == "RSA":
        usual, possible = "RS256", _RSA
    elif entry.get("kty") == "EC" and isinstance(curve, str) and curve in _CURVES:
        usual, possible = _CURVES[curve], frozenset({_CURVES[curve]})
    else:
        return ""
    if said is None:
        return usual
    return said if isinstance(said, str) and said in possible else ""


def _key(entry: Mapping[str, Any]) -> ECKey | RSAKey:
    is_rsa = entry["kty"] == "RSA"
    if is_rsa and not _fits(entry.get("n")):
        raise _invalid("an RSA key of the JWK Set has fewer than 2048 or more than 4096 bits")
    try:
        if is_rsa:
            return RSAKey.import_key({member: entry[member] for member in ("kty", "n", "e")})
        return ECKey.import_key({member: entry[member] for member in ("kty", "crv", "x", "y")})
    except (JoseError, ValueError, TypeError, KeyError):
        raise _invalid("a key of the JWK Set can't be read") from None


def _fits(modulus: object) -> bool:
    return isinstance(modulus, str) and len(modulus) in RSA_CHARACTERS and modulus[0] != "A"


def _invalid(message: str) -> InvalidInput:
    return InvalidInput("jwks_invalid", message, "look at what the issuer publishes")
