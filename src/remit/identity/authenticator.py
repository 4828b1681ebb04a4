"""Who is asking, proved: the one place where tokens and proofs become identities."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from remit.core import bounds
from remit.core.decisions import TaskHandle
from remit.core.errors import InvalidInput, Unauthenticated
from remit.core.identities import Identity
from remit.identity.bundle import VerificationKey, verification_keys
from remit.identity.compact import token_hash
from remit.identity.elsewhere import Elsewhere
from remit.identity.proof import (
    Proof,
    check_age,
    check_hash,
    check_key,
    check_method,
    check_signature,
    read_proof,
)
from remit.identity.recent import Recent
from remit.identity.replay import ReplayCache, replayed
from remit.identity.spiffe import parse_trust_domain
from remit.identity.svid import Svid, check_times, verify_svid
from remit.identity.target import Target, parse_target
from remit.identity.task_token import check_task_expiry, verify_task_token

_AUTHORIZATION: Final = re.compile(r"(?i:dpop) +([A-Za-z0-9._~+/-]+=*)")  # RFC 9449 section 7.1
_NEXT_STEP: Final = "send `Authorization: DPoP <JWT-SVID>` and `DPoP: <proof>`"
_PROOF_NEXT_STEP: Final = "make a fresh proof for exactly this request (RFC 9449)"
_SUBJECT_NEXT_STEP: Final = "let the workload make a proof for this enforcement point and this task token"


class ProofLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long tokens and proofs are good for, and how much is remembered of them."""

    svid_lifetime_ms: int = 24 * 3600 * 1000  # longer-lived SVIDs are refused
    proof_age_ms: int = 30_000  # a request's proof
    subject_proof_age_ms: int = 60_000  # a proof that an enforcement point forwards
    proof_ahead_ms: int = 5_000  # how far a proof's clock may run ahead
    verified_tokens: int = 4096  # of each sort
    used_proofs: int = 262_144  # some 25 MB when full
    used_proofs_per_key: int = 65_536  # 2,184 requests a second from one key, without end


class Authenticator:
    """Turns credentials into identities, for one service: one audience, at known origins.

    `bundles` maps trust domains to SPIFFE bundles and must have the own one; ids of other trust domains are refused.
    `origins` are the URLs that the service answers at ("http://remit.local"). `started` is when it began (ms):
    proofs from before are refused, because what was used then is forgotten. `elsewhere` has the outside issuers whose
    tokens name persons.
    """

    def __init__(
        self,
        trust_domain: str,
        bundles: Mapping[str, Mapping[str, Any]],
        audience: str,
        origins: Iterable[str],
        *,
        started: int,
        limits: ProofLimits | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._elsewhere = elsewhere
        self.trust_domain = parse_trust_domain(trust_domain)
        self.audience = audience
        self._limits = limits = limits or ProofLimits()
        self._started = started
        self._bundles: dict[str, Mapping[str, VerificationKey]] = {}
        self._svids: Recent[Svid] = Recent(limits.verified_tokens)
        self._tasks: Recent[TaskHandle] = Recent(limits.verified_tokens)
        self._subject_proofs: Recent[Proof] = Recent(limits.verified_tokens)
        self._used = ReplayCache(capacity=limits.used_proofs, per_key=limits.used_proofs_per_key)
        # SECURITY: anyone may send a proof without a token; those must not fill the memory that callers depend on.
        self._used_alone = ReplayCache(capacity=limits.used_proofs // 4, per_key=256)
        self._origins = frozenset(_origin(url) for url in origins)
        for name, bundle in bundles.items():
            self.trust(name, bundle)
        if not audience or not self._origins or self.trust_domain not in self._bundles:
            raise InvalidInput(
                "authenticator_incomplete",
                "the service needs an audience, an origin and the bundle of its own trust domain",
                "run `remit init`, or give the missing setting",
            )

    def trust(self, trust_domain: str, bundle: Mapping[str, Any]) -> None:
        """Takes `bundle` as the keys of `trust_domain` from now on, for instance after a rotation.

        What was verified with earlier keys is forgotten and verified again. Raises `InvalidInput("bundle_invalid")`.
        """
        self._bundles[parse_trust_domain(trust_domain)] = verification_keys(bundle)
        self._forget()

    def refuse_before(self, now: int) -> None:
        """Refuses proofs that were made before `now` (ms): which of them were used is no longer known."""
        self._started = max(self._started, now)

    def distrust(self, trust_domain: str) -> None:
        """Ends the federation with `trust_domain`: its identities are refused from now on."""
        if trust_domain == self.trust_domain:
            raise InvalidInput("bundle_invalid", "the own trust domain can't be distrusted", "rotate its keys instead")
        self._bundles.pop(trust_domain, None)
        self._forget()

    def authenticate(self, authorization: str, proof: str, *, method: str, url: str, now: int) -> Identity:
        """The caller of a request, from its `Authorization` and `DPoP` headers (RFC 9449 sections 4.3 and 7.1).

        The proof is used up. Costs one signature verification when the SVID was seen before. Raises
        `Unauthenticated`, and `Unavailable("proof_memory_full")` at a bound.
        """
        token = _token_of(authorization)
        digest = token_hash(token)
        svid = self._svid(token, digest, now)
        made = self._request_proof(proof, method=method, url=url, now=now)
        check_key(made, svid.identity.key)
        check_hash(made, digest)
        self._use_up(made, self._used, now)
        return svid.identity

    def prove_key(
        self, proof: str, *, method: str, url: str, now: int, registered: Callable[[str], bool] | None = None
    ) -> str:
        """The thumbprint of the key that made the proof of a request without a token (`POST /v1/svids`).

        With `registered`, keys for which it is false are refused as `key_unknown` before anything is remembered of
        them: the service should pass it, so that strangers can't crowd out those who renew.
        """
        made = self._request_proof(proof, method=method, url=url, now=now)
        check_hash(made, "")
        if registered is not None and not registered(made.key):
            raise Unauthenticated("key_unknown", "no identity is registered with this key", "register the key first")
        self._use_up(made, self._used_alone, now)
        return made.key

    def subject(self, token: str, proof: str, *, pep: str, task_token: str, now: int) -> Identity:
        """The workload that the enforcement point `pep` (a SPIFFE ID, proved) asks about.

        The proof names that enforcement point (`htu`) and the task token, or the SVID when there is none (`ath`). It
        may be used again while it is fresh, by that enforcement point only. A task token must be the same workload's
        and bound to the same key.
        """
        digest = _hash_of(token, "token")
        svid = self._svid(token, digest, now)
        mark = _hash_of(proof, "proof")
        known = self._subject_proofs.get(mark)
        made = known or read_proof(proof)
        check_key(made, svid.identity.key)
        check_method(made, "POST")
        # SECURITY: a proof for one enforcement point is worth nothing in the hands of another.
        if made.claims.htu != pep:
            raise Unauthenticated(
                "proof_mismatch", "the subject's proof is made for another enforcement point", _SUBJECT_NEXT_STEP
            )
        check_age(made, now, oldest=self._limits.subject_proof_age_ms, ahead=self._limits.proof_ahead_ms)
        check_hash(made, _hash_of(task_token, "task_token") if task_token else digest)
        if known is None:
            check_signature(made)
            self._subject_proofs.put(mark, made)
        if task_token:
            _check_same(svid.identity, self.task_handle(task_token, now))
        return svid.identity

    def person(self, token: str, now: int) -> Identity:
        """The person on whose behalf a task starts, from that person's own token; `Unauthenticated` otherwise.

        That is their JWT-SVID, or a token of an outside issuer that a rule maps to a person; then `possession` is none.
        The person's key is not proved again: the starter, who is authenticated, answers for having the token.
        """
        digest = _hash_of(token, "token")
        if self._elsewhere and self._elsewhere.knows(token):
            return self._person_from_elsewhere(self._elsewhere, token, now)
        svid = self._svid(token, digest, now)
        if len(svid.subject.segments) != 2 or svid.subject.segments[0] != "person":
            raise _no_person()
        return svid.identity

    def _person_from_elsewhere(self, elsewhere: Elsewhere, token: str, now: int) -> Identity:
        arrival = elsewhere.arrival(token, now)
        # SECURITY: a client's own token says that nobody was logged in, whatever a rule makes of it.
        if not arrival.path.startswith("person/") or arrival.service:
            raise _no_person()
        return Identity(id=arrival.id, key=arrival.key, expires=arrival.expires, possession="none")

    def task_handle(self, token: str, now: int) -> TaskHandle:
        """The task that a token names, and the key that must be proved with it. It says nothing of the task's state."""
        digest = _hash_of(token, "task_token")
        handle = self._tasks.get(digest)
        if handle is None:
            keys = self._bundles[self.trust_domain]
            handle = verify_task_token(token, trust_domain=self.trust_domain, keys=keys)
            check_task_expiry(handle, now)
            self._tasks.put(digest, handle)
        check_task_expiry(handle, now)
        return handle

    def _svid(self, token: str, digest: str, now: int) -> Svid:
        """The verified SVID, from memory when it was seen before; its times are checked at every use."""
        svid = self._svids.get(digest)
        if svid is None:
            svid = verify_svid(
                token,
                bundles=self._bundles,
                audience=self.audience,
                max_lifetime_ms=self._limits.svid_lifetime_ms,
            )
            check_times(svid, now)
            self._svids.put(digest, svid)
        check_times(svid, now)
        return svid

    def _request_proof(self, text: str, *, method: str, url: str, now: int) -> Proof:
        """Checks 1 to 5, 7 to 9 and 11 of RFC 9449 section 4.3. There is no nonce (10): this service gives none."""
        target = self._target(url)
        _check_given(text, "proof")
        made = read_proof(text)
        check_method(made, method)
        if parse_target(made.claims.htu) != target:
            raise Unauthenticated("proof_mismatch", "the proof is made for another URL", _PROOF_NEXT_STEP)
        check_age(made, now, oldest=self._limits.proof_age_ms, ahead=self._limits.proof_ahead_ms)
        # SECURITY: what was used before this service started is forgotten, so nothing from then is accepted.
        if made.issued < self._started:
            raise Unauthenticated("proof_stale", "the proof is from before the service started", _PROOF_NEXT_STEP)
        return made

    def _use_up(self, made: Proof, used: ReplayCache, now: int) -> None:
        """Check 6, the signature, and then the proof can't be used again (section 11.1)."""
        if used.seen(made.key, made.claims.jti):
            raise replayed()
        check_signature(made)
        used.use(made.key, made.claims.jti, until=made.issued + self._limits.proof_age_ms, now=now)

    def _target(self, url: str) -> Target:
        target = parse_target(url)
        # SECURITY: the request's own URL is partly the client's word (`Host`); only origins of this service count.
        if target is None or target.origin not in self._origins:
            raise Unauthenticated(
                "origin_unknown", "the request is for an address that is not this service's", "use the service's URL"
            )
        return target

    def _forget(self) -> None:
        self._svids.clear()
        self._tasks.clear()


def _no_person() -> Unauthenticated:
    return Unauthenticated("person_invalid", "the token is not a person's", "send that person's own token")


def _check_given(text: str, what: str) -> None:
    """Refuses a missing or oversized token or proof before anything is computed from it; `what` leads the codes."""
    name = what.replace("_", " ")
    if not text:
        raise Unauthenticated(f"{what}_missing", f"the request has no {name}", _NEXT_STEP)
    if len(text) > bounds.TOKEN_BYTES:
        raise Unauthenticated(f"{what}_too_large", f"the {name} is larger than {bounds.TOKEN_BYTES} bytes", _NEXT_STEP)
    if not text.isascii():
        raise Unauthenticated(f"{what}_invalid", f"the {name} has characters other than ASCII", _NEXT_STEP)


def _hash_of(text: str, what: str) -> str:
    _check_given(text, what)
    return token_hash(text)


def _token_of(authorization: str) -> str:
    """The token of an `Authorization: DPoP` header; a bearer token is refused."""
    _check_given(authorization, "token")
    match = _AUTHORIZATION.fullmatch(authorization)
    # SECURITY: `Bearer` is not accepted for the same token: that would take the proof's place (section 7.2).
    if match is None:
        raise Unauthenticated("token_invalid", "the authorization scheme is not `DPoP` with one token", _NEXT_STEP)
    return match[1]


def _check_same(subject: Identity, handle: TaskHandle) -> None:
    """The task token is the subject's own, and bound to the key that the subject proved."""
    # SECURITY: a stolen handle is useless to whoever has not its key.
    if handle.key != subject.key:
        raise Unauthenticated("key_mismatch", "the task token is bound to another key", _SUBJECT_NEXT_STEP)
    if handle.workload != subject.id:
        raise Unauthenticated("subject_mismatch", "the task token is another workload's", _SUBJECT_NEXT_STEP)


def _origin(url: str) -> str:
    target = parse_target(url)
    if target is None or target.path != "/":
        raise InvalidInput("origin_invalid", "an origin is `http://` or `https://`, a host and perhaps a port")
    return target.origin
