"""Certificates for tests, made here: authorities, X.509-SVIDs, and everything that resembles one and is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

NO_USAGE = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


@dataclass
class Party:
    """A certificate, its key, and the certificates between it and its authority."""

    certificate: x509.Certificate
    key: Key
    between: Sequence[x509.Certificate] = field(default_factory=tuple)

    @property
    def chain(self) -> tuple[bytes, ...]:
        """What it sends: its own certificate first (DER)."""
        return tuple(each.public_bytes(Encoding.DER) for each in (self.certificate, *self.between))

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Certificate chain and key as PEM files, the key with mode 0600; replaced as SPIFFE agents do it."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        _replace(certificate, b"".join(each.public_bytes(Encoding.PEM) for each in (self.certificate, *self.between)))
        _replace(key, self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate, key


def _replace(path: Path, data: bytes) -> None:
    new = path.with_suffix(path.suffix + ".new")
    new.touch(mode=0o600)
    new.write_bytes(data)
    new.replace(path)


def now() -> datetime:
    """The time, without fractions: certificates have none."""
    return datetime.now(UTC).replace(microsecond=0)


def make(
    name: str = "",
    *,
    by: Party | None = None,
    key: Key | None = None,
    ca: bool | None = False,
    path_length: int | None = None,
    uris: Sequence[str] = (),
    dns: Sequence[str] = (),
    ips: Sequence[Any] = (),
    usage: Sequence[str] | None = None,
    usage_critical: bool = True,
    extended: Sequence[x509.ObjectIdentifier] | None = (SERVER, CLIENT),
    start: datetime | None = None,
    end: datetime | None = None,
    constraints: x509.NameConstraints | None = None,
    more: Sequence[tuple[x509.ExtensionType, bool]] = (),
    digest: hashes.HashAlgorithm | None = None,
) -> Party:
    """A certificate by `by`, or self-signed. `ca` None: without basic constraints; `usage` None: the usual one."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    signer = by or Party(None, key)  # type: ignore[arg-type]  # of a self-signed one only the key is used
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start or now() - timedelta(minutes=1))
        .not_valid_after(end or now() + timedelta(hours=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), False)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length if ca else None), True)
    if usage is None:
        usage = ("key_cert_sign", "crl_sign") if ca else ("digital_signature",)
    if usage:
        builder = builder.add_extension(x509.KeyUsage(**(NO_USAGE | dict.fromkeys(usage, True))), usage_critical)
    if extended is not None and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), False)
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
    names += [x509.DNSName(each) for each in dns]
    names += [x509.IPAddress(each) for each in ips]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), not name)
    if constraints is not None:
        builder = builder.add_extension(constraints, True)
    for extension, critical in more:
        builder = builder.add_extension(extension, critical)
    signed = builder.sign(signer.key, digest or hashes.SHA256())
    between = () if by is None or _is_root(by) else (by.certificate, *by.between)
    return Party(signed, key, between)


def authority(name: str = "authority", **more: Any) -> Party:
    """A self-signed authority, for longer than any leaf that is made later."""
    return make(name, **{"ca": True, "start": now() - timedelta(days=1), "end": now() + timedelta(days=1)} | more)


def _is_root(party: Party) -> bool:
    return party.certificate.issuer == party.certificate.subject
