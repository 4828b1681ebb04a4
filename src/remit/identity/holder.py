"""The client's side: who holds a key and an SVID makes the headers and proofs that an authenticator accepts."""

from __future__ import annotations

import secrets
from typing import Final

import msgspec
from joserfc.jwk import ECKey

from remit.core.errors import InvalidInput
from remit.identity.compact import claims_of, milliseconds, parse_compact, sign, token_hash
from remit.identity.keys import public_jwk, thumbprint
from remit.identity.proof import TYPE

REUSE_MS: Final = 30_000  # a subject proof is made anew after half of its life

_MAX_SUBJECT_PROOFS: Final = 64


class _Expiry(msgspec.Struct, frozen=True):
    exp: int | float


_expiry: Final = msgspec.json.Decoder(_Expiry)


class Holder:
    """An identity's key and its current SVID (`svid` may be "" before the first one, and is replaced on renewal)."""

    def __init__(self, key: ECKey, svid: str, id: str) -> None:
        self.id = id
        self.svid = svid
        self.key = thumbprint(key)
        self._key = key
        self._header = {"typ": TYPE, "jwk": public_jwk(key)}
        self._subject_proofs: dict[tuple[str, str], tuple[int, str]] = {}

    def headers(self, method: str, url: str, now: int) -> dict[str, str]:
        """The headers of one request: `DPoP`, used up by it, and `Authorization` when there is an SVID."""
        ath = token_hash(self.svid) if self.svid else ""
        proof = self._proof(method, url.partition("#")[0].partition("?")[0], ath, now)
        if not self.svid:
            return {"DPoP": proof}
        return {"Authorization": f"DPoP {self.svid}", "DPoP": proof}

    def subject_proof(self, pep_id: str, task_token: str, now: int) -> str:
        """A proof for the enforcement point `pep_id` to forward, bound to the task token, or to the SVID without one.

        The same proof is answered for 30 seconds, to spare signatures; it is good for 60.
        """
        token = task_token or self.svid
        at, proof = self._subject_proofs.get((pep_id, token), (0, ""))
        if not proof or not 0 <= now - at < REUSE_MS:
            if len(self._subject_proofs) >= _MAX_SUBJECT_PROOFS:
                self._subject_proofs.clear()
            proof = self._proof("POST", pep_id, token_hash(token), now)
            self._subject_proofs[pep_id, token] = (now, proof)
        return proof

    def _proof(self, method: str, url: str, ath: str, now: int) -> str:
        # `iat` has milliseconds: a service that has just started refuses proofs from before.
        claims = {"jti": secrets.token_urlsafe(16), "htm": method, "htu": url, "iat": now / 1000}
        return sign(self._header, {**claims, "ath": ath} if ath else claims, self._key)


def expiry_of(token: str) -> int:
    """When a token says that it expires (ms), without verifying it: for its holder, to renew in time.

    Raises `InvalidInput("token_invalid")`.
    """
    compact = parse_compact(token, frozenset({"alg", "kid", "typ"}))
    claims = None if compact is None else claims_of(compact, _expiry)
    expires = None if claims is None else milliseconds(claims.exp)
    if expires is None:
        raise InvalidInput("token_invalid", "this is not a token with an expiry")
    return expires
