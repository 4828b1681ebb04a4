"""A small trust domain for tests, and a forger who can write any header and any claims."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import ECKey

from remit.core.errors import RemitError
from remit.identity.authenticator import Authenticator, ProofLimits
from remit.identity.authority import Authority
from remit.identity.compact import token_hash
from remit.identity.holder import Holder
from remit.identity.keyring import KeyRing
from remit.identity.keys import generate_key, public_jwk, thumbprint

T = TypeVar("T")

NOW = 1_800_000_000_000
DOMAIN = "example.org"
AUDIENCE = "spiffe://example.org/remit"
URL = "http://remit.local/access/v1/evaluation"
WORKLOAD = "spiffe://example.org/workload/invoices"
PEP = "spiffe://example.org/pep/gateway"
OTHER_PEP = "spiffe://example.org/pep/other"


class Parties:
    """One trust domain with its authority, its service and holders of keys."""

    def __init__(self, folder: Path, limits: ProofLimits | None = None) -> None:
        self.ring = KeyRing.create(folder / "trust", NOW - 3_600_000)
        self.authority = Authority(DOMAIN, self.ring)
        self.service = self.authenticator(limits)

    def authenticator(self, limits: ProofLimits | None = None, *, started: int = NOW - 3_600_000) -> Authenticator:
        return Authenticator(
            DOMAIN, {DOMAIN: self.ring.bundle()}, AUDIENCE, ["http://remit.local"], started=started, limits=limits
        )

    def holder(self, id: str = WORKLOAD, now: int = NOW) -> Holder:
        key = generate_key()
        return Holder(key, self.authority.issue_svid(id, thumbprint(key), AUDIENCE, now), id)

    def task_token(self, holder: Holder, task: str = "t_1", life: int = 600_000) -> str:
        return self.authority.issue_task_token(task, holder.id, holder.key, NOW + life, NOW)

    def svid(self, claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None) -> str:
        """An SVID signed with the trust domain's real key, with some claims and header members changed or removed."""
        signing = self.ring.signing_key(NOW)
        return forge(
            changed({"alg": "ES256", "kid": signing.kid, "typ": "JWT"}, header),
            changed(svid_claims(), claims),
            signing.key,
        )


def svid_claims(**more: Any) -> dict[str, Any]:
    seconds = NOW // 1000
    return {
        "sub": WORKLOAD,
        "aud": AUDIENCE,
        "iat": seconds,
        "exp": seconds + 3600,
        "cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
        **more,
    }


def changed(base: dict[str, Any], changes: dict[str, Any] | None) -> dict[str, Any]:
    """`base` with some members replaced; `...` removes one."""
    return {name: value for name, value in {**base, **(changes or {})}.items() if value is not ...}


def proof(
    key: ECKey,
    token: str = "",
    *,
    header: dict[str, Any] | None = None,
    claims: dict[str, Any] | None = None,
) -> str:
    """A proof for `POST URL` at NOW by `key`, with some claims and header members changed or removed."""
    base = {"jti": "a-proof", "htm": "POST", "htu": URL, "iat": NOW // 1000}
    if token:
        base["ath"] = token_hash(token)
    return forge(
        changed({"typ": "dpop+jwt", "alg": "ES256", "jwk": public_jwk(key)}, header), changed(base, claims), key
    )


def forge(header: Any, claims: Any, key: ECKey) -> str:
    """A compact JWS with exactly this header, signed with ES256 whatever the header says."""
    signing_input = f"{encoded(header)}.{encoded(claims)}"
    private = key.private_key
    assert isinstance(private, EllipticCurvePrivateKey)
    r, s = decode_dss_signature(private.sign(signing_input.encode(), ECDSA(SHA256())))
    size = (private.curve.key_size + 7) // 8
    return f"{signing_input}.{b64(r.to_bytes(size, 'big') + s.to_bytes(size, 'big'))}"


def forge_hmac(header: Any, claims: Any, secret: bytes) -> str:
    signing_input = f"{encoded(header)}.{encoded(claims)}"
    return f"{signing_input}.{b64(hmac.new(secret, signing_input.encode(), sha256).digest())}"


def encoded(value: Any) -> str:
    return b64(value if isinstance(value, bytes) else json.dumps(value).encode())


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def attempt(call: Callable[[], T]) -> tuple[T | None, RemitError | None]:
    """What `call` answers, or the error of ours that it raises; any other exception fails the test."""
    try:
        return call(), None
    except RemitError as error:
        return None, error
