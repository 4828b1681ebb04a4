"""SPIFFE bundles of other trust domains: what is read of them, when they grow old, and that they don't go back."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core.errors import InvalidInput, Unauthenticated
from remit.identity.bundles import Bundles, read_bundle
from remit.identity.keys import generate_key, public_jwk

from .parties import NOW, attempt

DOMAIN = "partner.example"


def jwt_key(kid: str = "a", **more: Any) -> dict[str, Any]:
    return {**public_jwk(generate_key()), "kid": kid, "use": "jwt-svid", **more}


def authority(name: str = "partner") -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=900))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def entry_of(certificate: x509.Certificate, **more: Any) -> dict[str, Any]:
    der = certificate.public_bytes(serialization.Encoding.DER)
    return {"kty": "EC", "use": "x509-svid", "x5c": [b64encode(der).decode()], **more}


def bundle(*entries: Any, **more: Any) -> bytes:
    return json.dumps({"keys": list(entries), **more}).encode()


def refused(data: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_bundle(data)
    return caught.value.code


def test_keys_and_authorities_by_their_use() -> None:
    first, second = authority(), authority("next")
    found = read_bundle(
        bundle(
            jwt_key("a"),
            jwt_key("b"),
            entry_of(first),
            entry_of(second),
            {"kty": "EC", "use": "wit-svid"},
            {"kty": "EC"},
            spiffe_sequence=12,
            spiffe_refresh_hint=600,
        )
    )
    assert sorted(found.jwt_keys) == ["a", "b"]
    assert found.x509_authorities == (first, second)
    assert (found.sequence, found.refresh_hint) == (12, 600)


def test_the_first_certificate_of_an_entry_counts() -> None:
    first, second = authority(), authority("next")
    both = entry_of(first)
    both["x5c"] += entry_of(second)["x5c"]
    assert read_bundle(bundle(both)).x509_authorities == (first,)
    assert read_bundle(bundle(entry_of(first, x5c=[]), {"kty": "EC", "use": "x509-svid"})).x509_authorities == ()


def test_no_key_at_all_means_that_everything_is_revoked() -> None:
    bundles = Bundles()
    bundles.put(DOMAIN, read_bundle(bundle(jwt_key(), entry_of(authority()), spiffe_sequence=1)))
    bundles.put(DOMAIN, read_bundle(bundle(spiffe_sequence=2)))
    assert bundles.jwt_keys(DOMAIN, NOW) == {}
    assert bundles.x509_authorities(DOMAIN, NOW) == ()


@pytest.mark.parametrize("member", ["d", "k", "p"])
@pytest.mark.parametrize("use", ["jwt-svid", "x509-svid", "other", None])
def test_a_private_key_anywhere_refuses_the_bundle(member: str, use: str | None) -> None:
    assert refused(bundle(jwt_key(), {"kty": "EC", "use": use, member: "AQAB"})) == "bundle_invalid"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'{"keys":{}}',
        b'{"keys":[],"keys":[]}',
        bundle(jwt_key("a"), jwt_key("a")),
        bundle(jwt_key("")),
        bundle(jwt_key(), spiffe_sequence="1"),
        bundle(jwt_key(), spiffe_sequence=-1),
        bundle(jwt_key(), spiffe_sequence=True),
        bundle(jwt_key(), spiffe_sequence=1.5),
        bundle(jwt_key(), spiffe_sequence=2**63),
        bundle(jwt_key(), spiffe_refresh_hint=-5),
        bundle({"kty": "EC", "use": "x509-svid", "x5c": ["!!"]}),
        bundle({"kty": "EC", "use": "x509-svid", "x5c": ["AAAA"]}),
        bundle({"kty": "EC", "use": "x509-svid", "x5c": [7]}),
        bundle({"kty": "EC", "use": "x509-svid", "x5c": "AAAA"}),
        bundle({"kty": "EC", "use": "x509-svid", "x5c": {"0": "AAAA"}}),
        bundle({"kty": "EC", "use": "x509-svid", "x5c": ["A" * 20_000]}),
        bundle(*({"use": "x"} for _ in range(65))),
    ],
)
def test_what_is_no_bundle(data: bytes) -> None:
    assert refused(data) == "bundle_invalid"


@pytest.mark.parametrize(("before", "after"), [(7, 6), (7, 0), (7, None), (1, 0)])
def test_a_bundle_with_a_lower_sequence_number(before: int, after: int | None) -> None:
    bundles = Bundles()
    bundles.put(DOMAIN, read_bundle(bundle(jwt_key("new"), spiffe_sequence=before)))
    with pytest.raises(InvalidInput) as caught:
        bundles.put(DOMAIN, read_bundle(bundle(jwt_key("old"), spiffe_sequence=after)))
    assert caught.value.code == "bundle_rolled_back"
    assert list(bundles.jwt_keys(DOMAIN, NOW)) == ["new"]


@pytest.mark.parametrize(("before", "after"), [(7, 7), (7, 8), (None, 1), (None, None)])
def test_a_bundle_that_is_no_older(before: int | None, after: int | None) -> None:
    bundles = Bundles()
    bundles.put(DOMAIN, read_bundle(bundle(jwt_key("a"), spiffe_sequence=before)))
    bundles.put(DOMAIN, read_bundle(bundle(jwt_key("b"), spiffe_sequence=after)))
    assert list(bundles.jwt_keys(DOMAIN, NOW)) == ["b"]


def test_a_trust_domain_has_its_own_bundle_and_no_other() -> None:
    bundles = Bundles()
    bundles.put(DOMAIN, read_bundle(bundle(jwt_key("a"), entry_of(authority()))))
    for name in ("other.example", "PARTNER.example", "", "partner.example.evil"):
        for read in (bundles.jwt_keys, bundles.x509_authorities):
            with pytest.raises(Unauthenticated) as caught:
                read(name, NOW)
            assert caught.value.code == "trust_domain_unknown"
    bundles.drop(DOMAIN)
    assert bundles.trust_domains() == ()


def test_a_bundle_grows_old() -> None:
    bundles = Bundles()
    bundles.put(DOMAIN, read_bundle(bundle(jwt_key("a"))), until=NOW)
    assert list(bundles.jwt_keys(DOMAIN, NOW - 1)) == ["a"]
    for read in (bundles.jwt_keys, bundles.x509_authorities):
        with pytest.raises(Unauthenticated) as caught:
            read(DOMAIN, NOW)
        assert caught.value.code == "bundle_stale"


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_bundle_or_are_refused(data: bytes) -> None:
    _, error = attempt(lambda: read_bundle(data))
    assert error is None or error.code == "bundle_invalid"
