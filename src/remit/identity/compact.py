"""JWS compact serialisation (RFC 7515 section 7.1), bounded and without surprises.

Nothing here says what a token means. `None` and `False` are refusals; callers turn them into their own errors.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final, TypeVar

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from remit.core import bounds

T = TypeVar("T")

MAX_SECONDS: Final = 253_402_300_799  # the last second of the year 9999

# SECURITY: the allow-lists. RFC 7518 names; `none` and HMAC are in neither.
ISSUED: Final = ("ES256",)  # what Remit signs: SVIDs, task tokens, proofs
FOREIGN: Final = ("ES256", "ES384", "RS256")  # the JWT-SVID table (section 2.1) less what no test covers


def registry_of(algorithms: Iterable[str], *, any_header: bool = False) -> jws.JWSRegistry:
    """A registry that allows exactly these algorithms. Build it once: it is reused for every token.

    With `any_header`, header members that nobody knows are passed over, as RFC 7515 section 4 asks.
    """
    registry = jws.JWSRegistry(algorithms=tuple(algorithms), strict_check_header=not any_header)
    registry.max_header_length = 2048
    registry.max_payload_length = bounds.TOKEN_BYTES
    return registry


ISSUED_REGISTRY: Final = registry_of(ISSUED)
FOREIGN_REGISTRY: Final = registry_of(FOREIGN)


def parse_compact(text: str, members: frozenset[str]) -> jws.CompactSignature | None:
    """`text` taken apart, its signature not yet checked; None unless it is a JWS with only these header members."""
    if len(text) > bounds.TOKEN_BYTES or not text.isascii():
        return None
    try:
        compact = jws.extract_compact(text.encode("ascii"), registry=ISSUED_REGISTRY)  # for its bounds
    except (JoseError, ValueError, TypeError, RecursionError):
        return None
    header: object = compact.protected
    # SECURITY: one closed list of members refuses `crit`, `jku`, `x5u`, `x5c`, `b64` and a `jwk` where none belongs.
    if not isinstance(header, dict) or not members.issuperset(header):
        return None
    return compact


def signature_holds(compact: jws.CompactSignature, key: ECKey | RSAKey, registry: jws.JWSRegistry) -> bool:
    """Whether the signature is by `key` with the header's algorithm, which `registry` must allow for such a key."""
    try:
        return jws.validate_compact(compact, key, registry=registry)
    except (JoseError, ValueError, TypeError):
        return False


def claims_of(compact: jws.CompactSignature, decoder: msgspec.json.Decoder[T]) -> T | None:
    """The payload as the decoder's type; None when it does not fit."""
    try:
        return decoder.decode(compact.payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def sign(header: dict[str, Any], claims: dict[str, Any], key: ECKey) -> str:
    """A compact JWS by `key` with ES256; `header` needs no `alg`."""
    return jws.serialize_compact({"alg": "ES256", **header}, msgspec.json.encode(claims), key, registry=ISSUED_REGISTRY)


def milliseconds(value: float) -> int | None:
    """A NumericDate (RFC 7519 section 2), which may have a fraction, in milliseconds; None when out of range."""
    return round(value * 1000) if 0 <= value <= MAX_SECONDS else None


def token_hash(token: str) -> str:
    """The `ath` of a token (RFC 9449 section 4.2): base64url of the SHA-256 of its ASCII bytes."""
    return urlsafe_b64encode(sha256(token.encode("ascii")).digest()).decode("ascii").rstrip("=")
