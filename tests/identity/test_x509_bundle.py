"""The file with the own trust domain's X.509 authorities: as a SPIFFE bundle and as PEM."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey

from remit.core.errors import DocumentError
from remit.identity.keys import public_jwk
from remit.identity.x509_bundle import read_x509_bundle

from .certificates import Party, authority, make

ROOT, NEXT = authority("root"), authority("next")


def entry(party: Party, **more: Any) -> dict[str, Any]:
    der = b64encode(party.certificate.public_bytes(Encoding.DER)).decode()
    pem = party.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {**public_jwk(ECKey.import_key(pem)), "use": "x509-svid", "x5c": [der]} | more


def pem(*parties: Party) -> bytes:
    return b"".join(party.certificate.public_bytes(Encoding.PEM) for party in parties)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "bundle"


def test_a_spiffe_bundle_and_pem_say_the_same(file: Path) -> None:
    file.write_text(" \n" + json.dumps({"keys": [entry(ROOT), entry(NEXT)], "spiffe_sequence": 7}))
    bundle = read_x509_bundle(file)
    file.write_bytes(pem(ROOT, NEXT))
    assert read_x509_bundle(file) == bundle == (ROOT.certificate, NEXT.certificate)


def test_what_is_no_authority_of_x509_svids_is_passed_over_in_a_bundle(file: Path) -> None:
    others = [entry(NEXT, use="jwt-svid", kid="a"), {"kty": "RSA", "use": "other"}, entry(NEXT, x5c=[])]
    file.write_text(json.dumps({"keys": [*others, entry(ROOT)]}))
    assert read_x509_bundle(file) == (ROOT.certificate,)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nothing",
        b"{",
        b'{"keys": []}',
        json.dumps({"keys": [entry(ROOT, x5c=["AAAA"])]}).encode(),
        json.dumps({"keys": [entry(make("leaf", by=ROOT))]}).encode(),
        json.dumps({"keys": [entry(ROOT, d="A" * 43)]}).encode(),
        pem(make("leaf", by=ROOT)),
        pem(*[ROOT] * 65),
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ],
)
def test_files_without_authorities(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(DocumentError) as caught:
        read_x509_bundle(file)
    assert caught.value.code == "bundle_invalid"
    assert caught.value.next_step


def test_no_file(file: Path) -> None:
    with pytest.raises(DocumentError):
        read_x509_bundle(file)
