"""Client certificates as callers: what is remembered of them, and what ends it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

from remit.core.errors import Unauthenticated
from remit.identity import certificates as module
from remit.identity.certificates import CertificateAuthenticator, client_certificates, unmapped
from remit.identity.spiffe import SpiffeId

from .certificates import authority, make, now

ID = "spiffe://example.org/pep/gateway"
PARTNER = "spiffe://partner.example/ns/prod/agent"
ROOT = authority("root")
FOREIGN = authority("foreign")


class World:
    """Bundles that change, and one mapped partner."""

    def __init__(self) -> None:
        self.bundles: dict[str, tuple[x509.Certificate, ...]] = {
            "example.org": (ROOT.certificate,),
            "partner.example": (FOREIGN.certificate,),
        }
        self.authenticator = CertificateAuthenticator("example.org", self.authorities, self.local)

    def authorities(self, trust_domain: str, _now: int) -> tuple[x509.Certificate, ...]:
        return self.bundles.get(trust_domain, ())

    def local(self, subject: SpiffeId) -> str:
        return "spiffe://example.org/workload/partner" if str(subject) == PARTNER else unmapped(subject)


def at(minutes: float = 0) -> int:
    return int((now() + timedelta(minutes=minutes)).timestamp() * 1000)


def test_an_own_identity_is_who_it_says() -> None:
    leaf = make(by=ROOT, uris=[ID])
    found = World().authenticator.identify(client_certificates(leaf.chain), at())
    assert found.id == ID
    assert found.possession == "mtls"
    assert found.expires == int(leaf.certificate.not_valid_after_utc.timestamp() * 1000)


def test_a_foreign_identity_is_who_the_mapping_says_and_nobody_without_one() -> None:
    world = World()
    partner = make(by=FOREIGN, uris=[PARTNER])
    assert world.authenticator.identify(client_certificates(partner.chain), at()).id.endswith("/workload/partner")
    other = make(by=FOREIGN, uris=[PARTNER + "2"])
    with pytest.raises(Unauthenticated) as caught:
        world.authenticator.identify(client_certificates(other.chain), at())
    assert caught.value.code == "trust_domain_unknown"


def test_a_foreign_authority_vouches_for_nobody_here() -> None:
    stolen = make(by=FOREIGN, uris=[ID])
    with pytest.raises(Unauthenticated) as caught:
        World().authenticator.identify(client_certificates(stolen.chain), at())
    assert caught.value.code == "certificate_untrusted"


def test_a_path_is_built_once_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []
    original = module.verify_x509_svid
    monkeypatch.setattr(module, "verify_x509_svid", lambda *given: built.append(1) or original(*given))
    world = World()
    sent = client_certificates(make(by=ROOT, uris=[ID]).chain)
    for _ in range(5):
        world.authenticator.identify(sent, at())
    assert len(built) == 1
    world.bundles["example.org"] = (ROOT.certificate, FOREIGN.certificate)
    world.authenticator.identify(sent, at())
    assert len(built) == 2


def test_it_expires_while_it_is_remembered() -> None:
    world = World()
    sent = client_certificates(make(by=ROOT, uris=[ID], end=now() + timedelta(minutes=5)).chain)
    assert world.authenticator.identify(sent, at(4)).id == ID
    with pytest.raises(Unauthenticated) as caught:
        world.authenticator.identify(sent, at(6))
    assert caught.value.code == "certificate_expired"


def test_an_authority_that_leaves_the_bundle_takes_its_certificates_with_it() -> None:
    world = World()
    sent = client_certificates(make(by=ROOT, uris=[ID]).chain)
    assert world.authenticator.identify(sent, at())
    world.bundles["example.org"] = (authority("next").certificate,)
    with pytest.raises(Unauthenticated) as caught:
        world.authenticator.identify(sent, at())
    assert caught.value.code == "certificate_untrusted"


def test_a_renewed_authority_with_the_same_key_keeps_them() -> None:
    world = World()
    sent = client_certificates(make(by=ROOT, uris=[ID]).chain)
    assert world.authenticator.identify(sent, at())
    world.bundles["example.org"] = (authority("root", key=ROOT.key).certificate,)
    assert world.authenticator.identify(sent, at()).id == ID


def test_a_federation_that_ends() -> None:
    world = World()
    sent = client_certificates(make(by=FOREIGN, uris=[PARTNER]).chain)
    assert world.authenticator.identify(sent, at())
    del world.bundles["partner.example"]
    with pytest.raises(Unauthenticated):
        world.authenticator.identify(sent, at())
