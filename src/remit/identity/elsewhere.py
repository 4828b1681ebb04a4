"""Who vouches from elsewhere: OIDC issuers and other trust domains, and whom their tokens stand for here.

`arrival` is the one place where an outside token becomes an identity:

1. The token is bounded, compact, and has one reading.
2. Its `iss` is exactly that of one issuer; without such an issuer, its `sub` is a SPIFFE ID of one federated domain.
3. That source's keys are fresh enough, and its `kid` names one of them.
4. The signature holds, with that key's own algorithm; the type is a known one.
5. It is valid now, lives no longer than it may, and names a subject that is not of the own trust domain.
6. Its audience is ours and, with several audiences, its `azp` is known.
7. Exactly one rule for that audience matches.

Refused tokens leave nothing behind, but for one early look at a source's keys where a `kid` is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Final, TypeVar

import msgspec

from remit.core.errors import InvalidInput, Unauthenticated
from remit.core.issuers import FederationSettings, IssuerSettings
from remit.identity import outside_token
from remit.identity.arrival import Arrival
from remit.identity.bundle import VerificationKey
from remit.identity.bundles import Bundles
from remit.identity.foreign_ids import ForeignRule, matches_id, read_foreign_rule
from remit.identity.outside_token import Opened
from remit.identity.rules import Match, Rule, groups_of, matches, read_rule
from remit.identity.spiffe import SpiffeId, parse_spiffe_id, parse_trust_domain

_SVID_HEADER: Final = frozenset({"alg", "kid", "typ"})  # JWT-SVID section 2: no other member may be present
_SPIFFE: Final = "spiffe://"
_Found = TypeVar("_Found")


class Issuer(msgspec.Struct, frozen=True, kw_only=True):
    """One `[[issuers]]` entry, checked."""

    settings: IssuerSettings
    rules: tuple[Rule, ...]

    @property
    def source(self) -> str:
        """`issuers/<name>`: how records, metrics and listings name it."""
        return f"issuers/{self.settings.name}"


class Federation(msgspec.Struct, frozen=True, kw_only=True):
    """One `[[federation]]` entry, checked."""

    settings: FederationSettings
    audience: str
    rules: tuple[ForeignRule, ...]

    @property
    def source(self) -> str:
        """`federation/<trust domain>`."""
        return f"federation/{self.settings.trust_domain}"


class Elsewhere:
    """Verifies and maps outside tokens. Its keys are given to it by whoever fetches them. Safe between threads."""

    def __init__(
        self,
        trust_domain: str,
        issuers: Iterable[Issuer] = (),
        federations: Iterable[Federation] = (),
        *,
        bundles: Bundles | None = None,
        on_unknown_key: Callable[[str], None] = lambda _source: None,
    ) -> None:
        """`on_unknown_key` is told the source whose keys lack a token's `kid`; it must be quick and bounded."""
        self.trust_domain = parse_trust_domain(trust_domain)
        self.issuers: Mapping[str, Issuer] = {each.settings.issuer: each for each in issuers}
        self.federations: Mapping[str, Federation] = {each.settings.trust_domain: each for each in federations}
        self.bundles = bundles or Bundles()
        self.on_unknown_key = on_unknown_key
        self._keys: dict[str, tuple[Mapping[str, VerificationKey], int]] = {}
        self._lock = Lock()

    def __bool__(self) -> bool:
        """Whether anybody elsewhere is believed at all."""
        return bool(self.issuers or self.federations)

    def take_keys(self, source: str, keys: Mapping[str, VerificationKey], *, until: int) -> None:
        """Takes these as the keys of an issuer from now on, to be used until the time `until` (ms)."""
        with self._lock:
            self._keys[source] = (keys, until)

    def knows(self, token: str) -> bool:
        """Whether the token names an issuer or a trust domain from elsewhere. Nothing is verified."""
        try:
            opened = outside_token.open_token(token)
        except Unauthenticated:
            return False
        return opened.issuer in self.issuers or self._federation_of(opened) is not None

    def arrival(self, token: str, now: int) -> Arrival:
        """Who the token's subject is here; `Unauthenticated` with the reason where it is nobody."""
        opened = outside_token.open_token(token)
        issuer = self.issuers.get(opened.issuer)
        if issuer is not None:
            return self._by_issuer(issuer, opened, now)
        federation = self._federation_of(opened)
        if federation is not None:
            return self._by_federation(federation, opened, now)
        raise Unauthenticated(
            "issuer_unknown",
            "the token is from an issuer that is not known here",
            "add it to `[[issuers]]` or `[[federation]]`, exactly as the token names it",
        )

    def local(self, subject: SpiffeId) -> str:
        """The SPIFFE ID here that a foreign one stands for, once that one was proved, with an X.509-SVID for instance.

        Raises `Unauthenticated`: `trust_domain_unknown`, `token_unmapped` or `token_ambiguous`.
        """
        federation = self.federations.get(subject.trust_domain)
        if federation is None:
            raise Unauthenticated(
                "trust_domain_unknown",
                f"the identity is from `{subject.trust_domain}`, a trust domain that is not trusted here",
                "federate with that trust domain, or use an identity of this one",
            )
        return self._local(_rule_for(federation, subject).identity)

    # --- issuers ----------------------------------------------------------------------------------------------

    def _by_issuer(self, issuer: Issuer, opened: Opened, now: int) -> Arrival:
        settings = issuer.settings
        key = self._key(issuer.source, self._keys_of(issuer.source, now), opened)
        outside_token.check_signature(opened, key)
        outside_token.check_kind(opened)
        times = outside_token.times_of(opened, now, settings.token_seconds * 1000)
        self._check_subject(opened)
        audiences = outside_token.audiences_of(opened)
        rules = [rule for rule in issuer.rules if rule.audience in audiences]
        if not rules:
            raise _wrong_audience()
        outside_token.check_party(opened, settings.authorized_parties)
        match = _only([found for rule in rules if (found := matches(rule, opened.claims)) is not None])
        return self._arrival(issuer, match, opened, times.expires)

    def _arrival(self, issuer: Issuer, match: Match, opened: Opened, expires: int) -> Arrival:
        return Arrival(
            id=self._local(match.path),
            source=issuer.source,
            issuer=issuer.settings.issuer,
            subject=opened.subject,
            rule=match.rule.number,
            chosen=match.chosen,
            token=opened.digest,
            key=outside_token.bound_key(opened),
            expires=expires,
            service=outside_token.is_a_service(opened),
            register=match.rule.register,
            groups=groups_of(match.rule, opened.claims),
        )

    def _keys_of(self, source: str, now: int) -> Mapping[str, VerificationKey]:
        keys, until = self._keys.get(source, ({}, 0))
        # SECURITY: keys that could not be confirmed for too long may have been withdrawn in the meantime.
        if now >= until:
            raise Unauthenticated(
                "issuer_stale",
                "the issuer's keys could not be read, or not read anew for too long",
                "try again later; `remit issuers` says why",
            )
        return keys

    # --- other trust domains ----------------------------------------------------------------------------------

    def _federation_of(self, opened: Opened) -> Federation | None:
        subject = opened.subject
        if not subject.startswith(_SPIFFE):
            return None
        return self.federations.get(subject[len(_SPIFFE) :].partition("/")[0])

    def _by_federation(self, federation: Federation, opened: Opened, now: int) -> Arrival:
        """A JWT-SVID of another trust domain (SPIFFE JWT-SVID, sections 2 to 4)."""
        if not _SVID_HEADER.issuperset(opened.header) or opened.header.get("typ") not in (None, "JWT", "JOSE"):
            raise outside_token.invalid("the JWT-SVID has header members beyond `alg`, `kid` and `typ`")
        domain = federation.settings.trust_domain
        key = self._key(federation.source, self.bundles.jwt_keys(domain, now), opened)
        outside_token.check_signature(opened, key)
        times = outside_token.times_of(opened, now, federation.settings.token_seconds * 1000, needs_issued=False)
        self._check_subject(opened)
        if federation.audience not in outside_token.audiences_of(opened):
            raise _wrong_audience()
        outside_token.check_party(opened, ())
        rule = _rule_for(federation, _subject(opened))
        return Arrival(
            id=self._local(rule.identity),
            source=federation.source,
            issuer=f"{_SPIFFE}{domain}",
            subject=opened.subject,
            rule=rule.number,
            chosen=False,
            token=opened.digest,
            key=outside_token.bound_key(opened),
            expires=times.expires,
            service=False,
        )

    # --- both -------------------------------------------------------------------------------------------------

    def _key(self, source: str, keys: Mapping[str, VerificationKey], opened: Opened) -> VerificationKey:
        key = outside_token.key_for(opened, keys)
        if key is None:
            self.on_unknown_key(source)
            raise Unauthenticated(
                "token_key_unknown",
                "the token is signed by a key that its issuer does not publish, or not yet",
                "try again in a few seconds: the issuer's keys are read again, at most once a minute",
            )
        return key

    def _check_subject(self, opened: Opened) -> None:
        subject = opened.subject
        if not 0 < len(subject) <= outside_token.MAX_SUBJECT:
            raise outside_token.invalid("the token has no subject, or too long a one")
        # SECURITY: nobody elsewhere speaks for an identity of this trust domain by naming it.
        if subject == f"{_SPIFFE}{self.trust_domain}" or subject.startswith(f"{_SPIFFE}{self.trust_domain}/"):
            raise outside_token.invalid("the token claims an identity of this trust domain, which vouches for its own")

    def _local(self, path: str) -> str:
        return f"{_SPIFFE}{self.trust_domain}/{path}"


def read_issuer(settings: IssuerSettings) -> Issuer:
    """The issuer with its rules, checked; `InvalidInput` says what is wrong."""
    return Issuer(
        settings=settings,
        rules=tuple(
            read_rule(rule, number, issuer=settings.issuer, audience=settings.audience)
            for number, rule in enumerate(settings.rules, 1)
        ),
    )


def read_federation(settings: FederationSettings, *, audience: str) -> Federation:
    """The federation with its rules, checked; `audience` is the service's own."""
    return Federation(
        settings=settings,
        audience=settings.audience or audience,
        rules=tuple(
            read_foreign_rule(rule, number, trust_domain=settings.trust_domain)
            for number, rule in enumerate(settings.rules, 1)
        ),
    )


def _subject(opened: Opened) -> SpiffeId:
    try:
        subject = parse_spiffe_id(opened.subject)
    except InvalidInput:
        raise outside_token.invalid("the JWT-SVID's subject is not a SPIFFE ID") from None
    if not subject.path:
        raise outside_token.invalid("the JWT-SVID names a trust domain, not an identity")
    return subject


def _rule_for(federation: Federation, subject: SpiffeId) -> ForeignRule:
    return _only([rule for rule in federation.rules if matches_id(rule, str(subject))])


def _only(found: list[_Found]) -> _Found:
    """The one that was found."""
    if not found:
        raise Unauthenticated(
            "token_unmapped",
            "the token is genuine, and no rule says who that is here",
            "add a rule for exactly its claims to `remit.toml`",
        )
    # SECURITY: where two rules match, the order of a file must not decide who somebody is.
    if len(found) > 1:
        raise Unauthenticated(
            "token_ambiguous",
            f"{len(found)} rules match the token",
            "make the rules of that issuer exclude each other, by their claims or by their `audience`",
        )
    return found[0]


def _wrong_audience() -> Unauthenticated:
    return Unauthenticated(
        "token_audience", "the token is meant for another service", "ask its issuer for one with this audience"
    )
