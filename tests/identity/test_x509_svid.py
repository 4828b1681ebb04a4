"""X.509-SVIDs: what is one, and everything that only looks like one. Each certificate here is made in the test."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from joserfc.jwk import ECKey

from remit.core.errors import Unauthenticated
from remit.identity.keys import thumbprint
from remit.identity.x509_svid import CHAIN, X509Svid, chain_digest, is_valid_at, verify_x509_svid

from .certificates import CLIENT, SERVER, Key, Party, authority, make, now

DOMAIN = "example.org"
ID = f"spiffe://{DOMAIN}/workload/invoices"
ROOT = authority("root of example.org")
OTHER = authority("root of other.example")
BUNDLES = {DOMAIN: (ROOT.certificate,), "other.example": (OTHER.certificate,), "empty.example": ()}


def authorities(trust_domain: str, _now: int) -> tuple[x509.Certificate, ...]:
    if trust_domain not in BUNDLES:
        raise Unauthenticated("trust_domain_unknown", "not trusted here")
    return BUNDLES[trust_domain]


def verify(party: Party, at: int | None = None) -> X509Svid:
    return verify_x509_svid(party.chain, authorities, at or int(now().timestamp() * 1000))


def refused(party: Party, at: int | None = None) -> str:
    with pytest.raises(Unauthenticated) as caught:
        verify(party, at)
    assert caught.value.message[0].islower()
    return caught.value.code


def svid(**more: Any) -> Party:
    return make(**({"by": ROOT, "uris": [ID]} | more))


def test_a_certificate_with_one_spiffe_id_by_its_trust_domain_is_that_identity() -> None:
    leaf = svid()
    found = verify(leaf)
    assert str(found.subject) == ID
    assert found.expires == found.leaf_expires == int(leaf.certificate.not_valid_after_utc.timestamp() * 1000)


def test_the_key_is_named_as_in_proofs_and_registrations() -> None:
    leaf = svid()
    pem = leaf.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert verify(leaf).key == thumbprint(ECKey.import_key(pem))


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(65537, 2048),
    ],
)
def test_other_keys_that_spiffe_agents_make(key: Key) -> None:
    assert len(verify(svid(key=key)).key) == 43


def test_intermediates_lead_to_the_authority_and_their_end_counts() -> None:
    first = make("first", by=ROOT, ca=True, path_length=1, end=now() + timedelta(minutes=30))
    second = make("second", by=first, ca=True, path_length=0)
    leaf = make(by=second, uris=[ID])
    assert len(leaf.chain) == 3
    found = verify(leaf)
    assert found.expires == int(first.certificate.not_valid_after_utc.timestamp() * 1000) < found.leaf_expires


def test_an_authority_that_is_not_self_signed() -> None:
    """X509-SVID, section 6.1: an authority in a bundle should be self-signed; it need not be."""
    anchor = make("anchor", by=OTHER, ca=True)
    leaf = make(by=anchor, uris=["spiffe://anchored.example/a"])
    found = verify_x509_svid(leaf.chain, lambda _domain, _now: (anchor.certificate,), int(now().timestamp() * 1000))
    assert found.subject.trust_domain == "anchored.example"


def test_common_name_and_dns_names_mean_nothing() -> None:
    leaf = svid(name="spiffe://example.org/person/kim", dns=["admin.example.org", "*.example.org"])
    assert str(verify(leaf).subject) == ID


@pytest.mark.parametrize("extended", [None, (CLIENT,), (SERVER, CLIENT)])
def test_extended_key_usage_where_there_is_one(extended: tuple[ObjectIdentifier, ...] | None) -> None:
    assert verify(svid(extended=extended))


def test_without_basic_constraints_it_is_a_leaf() -> None:
    assert verify(svid(ca=None))


# --- the name --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uris",
    [
        pytest.param([ID, ID + "2"], id="two URI SANs"),
        pytest.param([ID, ID], id="the same URI SAN twice"),
        pytest.param([ID, "https://example.org/workload/invoices"], id="a SPIFFE ID and another URI"),
        pytest.param([], id="no SAN"),
        pytest.param(["https://example.org/workload/invoices"], id="not spiffe"),
        pytest.param(["spiffe:/example.org/workload/invoices"], id="one slash"),
        pytest.param(["SPIFFE://example.org/workload/invoices"], id="upper-case scheme"),
        pytest.param(["spiffe://Example.org/workload/invoices"], id="upper-case trust domain"),
        pytest.param(["spiffe://example.org"], id="no path"),
        pytest.param(["spiffe://example.org/"], id="empty path"),
        pytest.param(["spiffe://example.org/workload/invoices/"], id="trailing slash"),
        pytest.param(["spiffe://example.org//workload/invoices"], id="empty segment"),
        pytest.param(["spiffe://example.org/workload/../person/kim"], id="dot segment"),
        pytest.param(["spiffe://example.org/workload/invoices?a=b"], id="query"),
        pytest.param(["spiffe://example.org/workload/invoices#a"], id="fragment"),
        pytest.param(["spiffe://example.org:443/workload/invoices"], id="port"),
        pytest.param(["spiffe://kim@example.org/workload/invoices"], id="user information"),
        pytest.param(["spiffe://example.org/workload/%69nvoices"], id="percent-encoding"),
        pytest.param(["spiffe://example.org/workload/invoices\x00.evil.example"], id="embedded NUL"),
        pytest.param(["spiffe://example.org\x00.evil.example/workload/invoices"], id="NUL in the trust domain"),
        pytest.param([f"spiffe://example.org/{'a' * 2048}"], id="too long"),
    ],
)
def test_names_that_are_no_single_spiffe_id(uris: list[str]) -> None:
    assert refused(make("a name", by=ROOT, uris=uris)) == "certificate_invalid"


def test_a_spiffe_id_in_a_dns_name_or_in_the_subject_is_none() -> None:
    assert refused(make(ID, by=ROOT, dns=["example.org"])) == "certificate_invalid"


# --- what it may be used for -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"ca": True, "usage": ("digital_signature", "key_cert_sign")}, id="a CA as leaf"),
        pytest.param({"ca": True, "usage": ("digital_signature",)}, id="a CA without keyCertSign"),
        pytest.param({"usage": ("digital_signature", "key_cert_sign")}, id="keyCertSign on a leaf"),
        pytest.param({"usage": ("digital_signature", "crl_sign")}, id="cRLSign on a leaf"),
        pytest.param({"usage": ("key_encipherment",)}, id="no digitalSignature"),
        pytest.param({"usage": ()}, id="no key usage"),
        pytest.param({"usage_critical": False}, id="key usage not critical"),
        pytest.param({"extended": (SERVER,)}, id="extended key usage for servers only"),
        pytest.param({"extended": (ExtendedKeyUsageOID.CODE_SIGNING,)}, id="extended key usage for code"),
        pytest.param({"extended": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)}, id="any extended key usage"),
    ],
)
def test_certificates_for_another_use(more: dict[str, object]) -> None:
    assert refused(svid(**more)) == "certificate_invalid"


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256K1())])
def test_weak_and_unusual_keys(key: rsa.RSAPrivateKey) -> None:
    assert refused(svid(key=key)) == "certificate_invalid"


def test_ed25519_is_not_among_the_keys() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    assert refused(svid(key=key)) == "certificate_invalid"


@pytest.mark.parametrize("digest", ["sha1", "sha224"])
def test_signed_with_a_weak_digest(digest: str, tmp_path: Path) -> None:
    """Made with OpenSSL, because our library signs with no such digest any more."""
    leaf = svid(name="weak")
    request = x509.CertificateSigningRequestBuilder().subject_name(leaf.certificate.subject)
    for extension in leaf.certificate.extensions:
        request = request.add_extension(extension.value, extension.critical)
    asked, weak = tmp_path / "asked.pem", tmp_path / "weak.der"
    asked.write_bytes(request.sign(leaf.key, hashes.SHA256()).public_bytes(Encoding.PEM))
    root, root_key = ROOT.write(tmp_path, "root")
    command = ["openssl", "x509", "-req", "-in", asked, "-CA", root, "-CAkey", root_key, f"-{digest}", "-days", "1"]
    command += ["-copy_extensions", "copyall", "-outform", "DER", "-out", weak]
    subprocess.run([str(each) for each in command], check=True, capture_output=True)
    made = x509.load_der_x509_certificate(weak.read_bytes())
    assert made.signature_hash_algorithm is not None
    assert made.signature_hash_algorithm.name == digest
    assert refused(Party(made, leaf.key)) == "certificate_untrusted"


def test_what_is_unknown_and_critical() -> None:
    strange = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    assert verify(svid(more=[(strange, False)]))
    assert refused(svid(more=[(strange, True)])) == "certificate_untrusted"


def test_name_constraints_on_a_leaf() -> None:
    names = x509.NameConstraints([x509.UniformResourceIdentifier(DOMAIN)], None)
    assert refused(svid(constraints=names)) == "certificate_untrusted"


# --- when ------------------------------------------------------------------------------------------------------


def test_expired() -> None:
    assert refused(svid(start=now() - timedelta(hours=2), end=now() - timedelta(seconds=1))) == "certificate_expired"


def test_not_yet_valid() -> None:
    assert refused(svid(start=now() + timedelta(minutes=1))) == "certificate_not_yet_valid"


def test_expired_at_the_very_end() -> None:
    leaf = svid()
    end = int(leaf.certificate.not_valid_after_utc.timestamp() * 1000)
    assert verify(leaf, end - 1)
    assert refused(leaf, end) == "certificate_expired"


def test_a_verified_certificate_is_good_until_the_first_end_of_its_path() -> None:
    found = verify(svid(end=now() + timedelta(minutes=5)))
    assert is_valid_at(found, found.expires - 1)
    assert not is_valid_at(found, found.expires)
    assert not is_valid_at(found, found.not_before - 1)


@pytest.mark.parametrize(
    "times",
    [
        {"start": now() - timedelta(hours=2), "end": now() - timedelta(hours=1)},
        {"start": now() + timedelta(hours=1), "end": now() + timedelta(hours=2)},
    ],
)
def test_an_authority_or_an_intermediate_out_of_its_time(times: dict[str, Any]) -> None:
    between = make("between", by=ROOT, ca=True, **times)
    assert refused(make(by=between, uris=[ID])) == "certificate_untrusted"
    root = authority("another root", **times)
    leaf = make(by=root, uris=[ID])
    with pytest.raises(Unauthenticated):
        verify_x509_svid(leaf.chain, lambda _domain, _now: (root.certificate,), int(now().timestamp() * 1000))


# --- who vouches -----------------------------------------------------------------------------------------------


def test_self_signed() -> None:
    assert refused(make(uris=[ID])) == "certificate_untrusted"
    assert refused(make("root of example.org", uris=[ID])) == "certificate_untrusted"


def test_signed_by_the_authority_of_another_trusted_domain() -> None:
    assert refused(make(by=OTHER, uris=[ID])) == "certificate_untrusted"
    between = make("root of example.org", by=OTHER, ca=True)
    assert refused(make(by=between, uris=[ID])) == "certificate_untrusted"


def test_the_other_domains_authority_sent_along_is_no_authority() -> None:
    leaf = make(by=OTHER, uris=[ID])
    leaf.between = (OTHER.certificate,)
    assert refused(leaf) == "certificate_untrusted"


def test_an_impostor_with_the_authoritys_name_and_key_id() -> None:
    fake = authority("root of example.org")
    assert refused(make(by=fake, uris=[ID])) == "certificate_untrusted"


def test_foreign_and_not_federated() -> None:
    assert refused(make(by=OTHER, uris=["spiffe://stranger.example/workload/a"])) == "trust_domain_unknown"


def test_a_trust_domain_without_x509_authorities() -> None:
    assert refused(make(by=ROOT, uris=["spiffe://empty.example/workload/a"])) == "certificate_untrusted"


def test_an_intermediate_without_the_ca_bit() -> None:
    kinds: list[dict[str, Any]] = [{"ca": False}, {"ca": None}, {"ca": True, "usage": ("digital_signature",)}]
    for more in kinds:
        between = make("between", by=ROOT, **({"usage": ("key_cert_sign",)} | more))
        assert refused(make(by=between, uris=[ID])) == "certificate_untrusted"


def test_a_leaf_that_signs_another_leaf() -> None:
    """The workload next door can't make certificates with its own."""
    neighbour = svid(name="neighbour", uris=[f"spiffe://{DOMAIN}/workload/neighbour"])
    assert refused(make(by=neighbour, uris=[ID])) == "certificate_untrusted"


def test_a_longer_path_than_an_authority_allows() -> None:
    first = make("first", by=ROOT, ca=True, path_length=0)
    second = make("second", by=first, ca=True)
    assert verify(make(by=first, uris=[ID]))
    assert refused(make(by=second, uris=[ID])) == "certificate_untrusted"


def test_a_chain_that_is_too_long() -> None:
    link = ROOT
    for number in range(3):
        link = make(f"link {number}", by=link, ca=True)
    assert verify(make(by=link, uris=[ID]))
    link = make("one more", by=link, ca=True)
    leaf = make(by=link, uris=[ID])
    assert len(leaf.chain) == CHAIN
    assert refused(leaf) == "certificate_untrusted"
    assert refused(make(by=make("and one more", by=link, ca=True), uris=[ID])) == "certificate_invalid"


def test_a_missing_intermediate() -> None:
    leaf = make(by=make("between", by=ROOT, ca=True), uris=[ID])
    leaf.between = ()
    assert refused(leaf) == "certificate_untrusted"


def test_name_constraints_of_an_authority_are_honoured_or_refused() -> None:
    """DNS constraints hold for DNS names; a constraint on URIs is not known to the library, and refuses the path."""
    inside = x509.NameConstraints([x509.DNSName("example.org")], None)
    between = make("between", by=ROOT, ca=True, constraints=inside)
    assert verify(make(by=between, uris=[ID], dns=["a.example.org"]))
    assert refused(make(by=between, uris=[ID], dns=["a.other.example"])) == "certificate_untrusted"
    for name in ("other.example", DOMAIN):
        uri = x509.NameConstraints([x509.UniformResourceIdentifier(name)], None)
        assert refused(make(by=make("uri", by=ROOT, ca=True, constraints=uri), uris=[ID])) == "certificate_untrusted"


def test_a_bundle_that_lists_a_leaf_makes_it_no_identity() -> None:
    leaf = make(uris=[ID])
    with pytest.raises(Unauthenticated) as caught:
        verify_x509_svid(leaf.chain, lambda _domain, _now: (leaf.certificate,), int(now().timestamp() * 1000))
    assert caught.value.code == "certificate_untrusted"


# --- bytes -----------------------------------------------------------------------------------------------------


def test_bytes_that_are_no_certificate() -> None:
    good = svid().chain[0]
    for chain in ((), (b"",), (b"\x30\x00",), (good[:-1],), (good + b"\x00",), (good, b"junk"), (b"x" * 20_000,)):
        with pytest.raises(Unauthenticated) as caught:
            verify_x509_svid(chain, authorities, int(now().timestamp() * 1000))
        assert caught.value.code == "certificate_invalid"


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")  # of a serial number below 0
def test_one_bit_changed_in_what_was_signed() -> None:
    leaf = svid()
    good, signed = leaf.chain[0], leaf.certificate.tbs_certificate_bytes
    first = good.index(signed)
    for place in range(first, first + len(signed)):
        bad = bytearray(good)
        bad[place] ^= 1 << place % 8
        with pytest.raises(Unauthenticated):
            verify_x509_svid((bytes(bad),), authorities, int(now().timestamp() * 1000))


def test_the_digest_of_a_chain_tells_chains_apart() -> None:
    assert chain_digest((b"ab", b"c")) != chain_digest((b"a", b"bc"))
    assert chain_digest((b"ab",)) != chain_digest((b"ab", b""))
