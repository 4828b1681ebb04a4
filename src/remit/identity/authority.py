"""The embedded trust domain: issues JWT-SVIDs and task tokens, each bound to a key."""

from __future__ import annotations

from typing import Any, Final

from remit.core.errors import InvalidInput
from remit.identity.compact import sign
from remit.identity.keyring import LONGEST_LIFE_MS, KeyRing
from remit.identity.keys import THUMBPRINT
from remit.identity.spiffe import SpiffeId, parse_spiffe_id, parse_trust_domain
from remit.identity.task_token import TASK_ID, task_audience
from remit.identity.task_token import TYPE as TASK_TYPE

SVID_SECONDS: Final = 3600  # the usual life of an SVID
MAX_SVID_SECONDS: Final = 24 * 3600


class Authority:
    """Signs for one trust domain with the keys of its ring. Who may have what is decided before it is called."""

    def __init__(self, trust_domain: str, keyring: KeyRing) -> None:
        self.trust_domain = parse_trust_domain(trust_domain)
        self.keyring = keyring

    def issue_svid(self, spiffe_id: str, jkt: str, audience: str, now: int, ttl_s: int = SVID_SECONDS) -> str:
        """A JWT-SVID (ES256) for an identity of this trust domain, for one audience, bound to the key `jkt`.

        Lives `ttl_s` seconds, 1 to 86,400. Raises `InvalidInput` for a foreign id or anything out of bounds.
        """
        subject = self._own(spiffe_id)
        if not 0 < ttl_s <= MAX_SVID_SECONDS:
            raise InvalidInput("lifetime_invalid", f"an SVID lives between 1 and {MAX_SVID_SECONDS} seconds")
        if not audience:
            raise InvalidInput("audience_missing", "an SVID needs an audience")
        issued = now // 1000
        claims = {"sub": str(subject), "aud": audience, "iat": issued, "exp": issued + ttl_s}
        return self._sign("JWT", claims, jkt, now)

    def issue_task_token(self, task: str, workload: str, jkt: str, expires: int, now: int) -> str:
        """A task token: names the task `task` of `workload`, bound to the key `jkt`, until `expires` (ms).

        It lives 31 days at most, as the longest task does, so that a retired signing key need not be kept longer.
        Raises `InvalidInput` for a malformed task id, workload or key, or an expiry in the past.
        """
        workload_id = parse_spiffe_id(workload)
        if not TASK_ID.fullmatch(task):
            raise InvalidInput("task_id_invalid", "a task id has 1 to 256 letters, digits, dots, dashes, underscores")
        until = min(expires, now + LONGEST_LIFE_MS)
        if until <= now:
            raise InvalidInput("lifetime_invalid", "the task token would expire before it is issued")
        claims = {
            "sub": str(workload_id),
            "aud": task_audience(self.trust_domain),
            "jti": task,
            "iat": now // 1000,
            "exp": until / 1000 if until % 1000 else until // 1000,
        }
        return self._sign(TASK_TYPE, claims, jkt, now)

    def _own(self, text: str) -> SpiffeId:
        subject = parse_spiffe_id(text)
        # SECURITY: a trust domain vouches for its own identities only (SPIFFE-ID section 3.1).
        if subject.trust_domain != self.trust_domain or not subject.path:
            raise InvalidInput(
                "spiffe_id_foreign",
                f"`{text}` is not an identity of the trust domain `{self.trust_domain}`",
                "ask that identity's own trust domain",
            )
        return subject

    def _sign(self, typ: str, claims: dict[str, Any], jkt: str, now: int) -> str:
        if not THUMBPRINT.fullmatch(jkt):
            raise InvalidInput("key_invalid", "a key is named by its RFC 7638 thumbprint, 43 characters of base64url")
        signing = self.keyring.signing_key(now)
        return sign({"kid": signing.kid, "typ": typ}, {**claims, "cnf": {"jkt": jkt}}, signing.key)
