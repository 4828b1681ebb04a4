"""Client certificates as callers: the X.509-SVID of a connection becomes an identity, anew for each request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from remit.core.errors import Unauthenticated
from remit.core.identities import Identity
from remit.identity.recent import Recent
from remit.identity.spiffe import SpiffeId, parse_trust_domain
from remit.identity.x509_svid import Authorities, X509Svid, chain_digest, is_valid_at, verify_x509_svid

KEPT: Final = 4096  # verified certificates


class ClientCertificates(msgspec.Struct, frozen=True):
    """What the client of one connection sent: its certificate first (DER), and one name for all of it."""

    chain: tuple[bytes, ...]
    digest: str


def client_certificates(chain: Sequence[bytes]) -> ClientCertificates:
    """The certificates of one connection, to be kept with it."""
    return ClientCertificates(tuple(chain), chain_digest(chain))


class CertificateAuthenticator:
    """Turns client certificates into identities, for one trust domain and those that it trusts.

    `authorities` gives the X.509 authorities of a trust domain at a time; `local` the identity here of a SPIFFE ID of
    another one. Both raise `Unauthenticated` for what they don't know.
    """

    def __init__(self, trust_domain: str, authorities: Authorities, local: Callable[[SpiffeId], str]) -> None:
        self._trust_domain = parse_trust_domain(trust_domain)
        self._authorities = authorities
        self._local = local
        self._verified: Recent[X509Svid] = Recent(KEPT)

    def identify(self, certificates: ClientCertificates, now: int) -> Identity:
        """Who the client is at `now` (ms); `Unauthenticated` otherwise.

        A path is built once for each chain and each state of its trust domain's authorities; its times, and that the
        authorities are still the same, are looked at for every request, however long the connection has been open.
        """
        svid = self._verified.get(certificates.digest)
        # SECURITY: an authority that left the bundle takes with it the connections that it vouched for.
        if svid is None or not is_valid_at(svid, now) or not self._is_current(svid, now):
            svid = verify_x509_svid(certificates.chain, self._authorities, now)
            self._verified.put(certificates.digest, svid)
        subject = svid.subject
        id = str(subject) if subject.trust_domain == self._trust_domain else self._local(subject)
        return Identity(id=id, key=svid.key, expires=svid.expires, possession="mtls")

    def _is_current(self, svid: X509Svid, now: int) -> bool:
        return self._authorities(svid.subject.trust_domain, now) is svid.authorities


def unmapped(subject: SpiffeId) -> str:
    """For installations without federation: nobody from elsewhere is anybody here."""
    raise Unauthenticated(
        "trust_domain_unknown",
        f"the identity is from `{subject.trust_domain}`, a trust domain that is not trusted here",
        "federate with that trust domain, or use an identity of this one",
    )
