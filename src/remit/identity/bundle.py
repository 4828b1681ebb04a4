"""Trust bundles (SPIFFE Trust Domain and Bundle, section 4; JWT-SVID, section 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from remit.core.bounds import NAME_BYTES
from remit.core.errors import InvalidInput

MAX_KEYS: Final = 64
RSA_CHARACTERS: Final = range(342, 684)  # of base64url: 2048 bits (RFC 7518 section 3.3) to 4096, which is slow enough

# Members that only private and symmetric keys have (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1).
PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

_CURVES: Final = {"P-256": "ES256", "P-384": "ES384"}


class VerificationKey(msgspec.Struct, frozen=True):
    """A public key of a trust domain, or of an issuer, and the one algorithm that it verifies."""

    kid: str
    algorithm: str
    key: ECKey | RSAKey


def verification_keys(bundle: Mapping[str, Any]) -> Mapping[str, VerificationKey]:
    """The JWT-SVID keys of a SPIFFE bundle (a JWK set) by their key id.

    Entries of another `use`, type or curve are passed over, as section 4.2 asks. Raises
    `InvalidInput("bundle_invalid")` when the set is malformed, an entry has a private part or no key id, two
    entries share one, or no JWT-SVID key is left.
    """
    keys = jwt_keys_of(entries_of(bundle))
    if not keys:
        raise _invalid("the trust bundle has no usable key for JWT-SVIDs")
    return keys


def entries_of(bundle: Mapping[str, Any]) -> list[Any]:
    """The entries of a bundle, at most `MAX_KEYS`, none of them with a private part."""
    entries = bundle.get("keys")
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise _invalid(f"a trust bundle has an array `keys` of at most {MAX_KEYS} keys")
    for entry in entries:
        # SECURITY: who publishes a private key has lost it; nothing of such a bundle is believed.
        if isinstance(entry, dict) and not PRIVATE.isdisjoint(entry):
            raise _invalid("the trust bundle holds a private key")
    return entries


def jwt_keys_of(entries: Sequence[Any]) -> Mapping[str, VerificationKey]:
    """The keys for JWT-SVIDs by their key id; empty where the trust domain publishes none."""
    keys: dict[str, VerificationKey] = {}
    for entry in entries:
        key = _verification_key(entry)
        if key is None:
            continue
        if key.kid in keys:
            raise _invalid("two keys of the trust bundle share one `kid`")
        keys[key.kid] = key
    return keys


def _verification_key(entry: object) -> VerificationKey | None:
    if not isinstance(entry, dict) or entry.get("use") != "jwt-svid":
        return None
    kid = entry.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= NAME_BYTES:
        raise _invalid("a key for JWT-SVIDs has no `kid`")
    algorithm = _algorithm(entry)
    if not algorithm or entry.get("alg", algorithm) != algorithm:
        return None
    members = ("kty", "n", "e") if algorithm == "RS256" else ("kty", "crv", "x", "y")
    if algorithm == "RS256" and not _fits(entry.get("n")):
        raise _invalid("an RSA key of the trust bundle has fewer than 2048 or more than 4096 bits")
    try:
        public = {member: entry[member] for member in members}
        key = RSAKey.import_key(public) if algorithm == "RS256" else ECKey.import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        raise _invalid("a key of the trust bundle can't be read") from None
    return VerificationKey(kid, algorithm, key)


def _algorithm(entry: dict[str, Any]) -> str:
    """The one algorithm for this key; "" for keys that this verifier does not know."""
    # SECURITY: the key fixes the algorithm, never the token: an RSA or EC key can't be used as an HMAC secret.
    if entry.get("kty") == "RSA":
        return "RS256"
    curve = entry.get("crv")
    return _CURVES.get(curve, "") if entry.get("kty") == "EC" and isinstance(curve, str) else ""


def _fits(modulus: object) -> bool:
    return isinstance(modulus, str) and len(modulus) in RSA_CHARACTERS and modulus[0] != "A"


def _invalid(message: str) -> InvalidInput:
    return InvalidInput("bundle_invalid", message, "fetch the bundle again from its trust domain")
