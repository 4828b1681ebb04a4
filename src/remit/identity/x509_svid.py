"""X.509-SVIDs, verified (SPIFFE X509-SVID, sections 2 to 5; RFC 5280 section 6 for the path).

Two programs look at a client's certificate. OpenSSL, in the handshake, proves that the client has its key and refuses
chains that lead to none of the authorities known here; it knows nothing of SPIFFE, and takes any of them for any name.
This module relies on the first and on nothing else: it reads the certificate and builds the path anew, to the
authorities of the one trust domain that the certificate names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from joserfc.jwk import ECKey, RSAKey

from remit.core.errors import InvalidInput, Unauthenticated
from remit.identity.spiffe import SpiffeId, parse_spiffe_id
from remit.identity.x509_path import build_path

CHAIN: Final = 5  # certificates that a client may send: its own and the way to an authority
CERTIFICATE_BYTES: Final = 16 * 1024
RSA_BITS: Final = range(2048, 8193)

_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_NEXT_STEP: Final = "connect with the X.509-SVID of the workload, as its SPIFFE agent hands it out"

E = TypeVar("E", bound=x509.ExtensionType)

Authorities = Callable[[str, int], tuple[x509.Certificate, ...]]


class X509Svid(msgspec.Struct, frozen=True):
    """A verified X.509-SVID. Its times must be checked at each use: `check_validity`."""

    subject: SpiffeId
    key: str  # RFC 7638 thumbprint of its public key
    not_before: int  # ms; the latest of the path
    expires: int  # ms; the earliest of the path
    leaf_expires: int  # ms
    authorities: tuple[x509.Certificate, ...]  # those that it was verified with


def verify_x509_svid(chain: Sequence[bytes], authorities: Authorities, now: int) -> X509Svid:
    """The X.509-SVID of a client that sent `chain` (DER, its own certificate first); `Unauthenticated` otherwise.

    1. The chain is short, and its first certificate can be read (RFC 5280 section 4.1).
    2. It has exactly one URI SAN, a SPIFFE ID with a path (X509-SVID, sections 2, 3.1 and 5.2). CN, DNS names and all
       else in it mean nothing.
    3. It is no signing certificate: `cA` is false (4.1, 5.2), `keyCertSign` and `cRLSign` are not set (4.3, 5.2).
    4. Key usage is there, critical, with `digitalSignature` (4.3).
    5. Extended key usage, where there is one, has `clientAuth` (4.4).
    6. Its key is EC P-256, P-384 or P-521, or RSA of 2048 to 8192 bits.
    7. Its trust domain is trusted here, and has X.509 authorities. `authorities` knows them, and raises otherwise.
    8. A path leads to one of *those*, valid at `now` (5.1): `build_path`.
    """
    leaf, intermediates = _read(chain)  # 1
    try:
        subject = _subject(leaf)  # 2
        _check_leaf(leaf)  # 3, 4, 5
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        # SECURITY: what the extensions say can't be told; a second reader could read something else.
        raise _invalid("the certificate's extensions can't be read") from None
    key = _thumbprint(leaf)  # 6
    # SECURITY: the authorities of this certificate's own trust domain, never those of another one.
    trusted = authorities(subject.trust_domain, now)  # 7
    if not trusted:
        raise Unauthenticated(
            "certificate_untrusted",
            "no X.509 authority of the certificate's trust domain is known here",
            "give its bundle: `x509_bundle` under `[identity]` for the own trust domain, `[[federation]]` for others",
        )
    _check_own_times(leaf, now)
    path = build_path(leaf, intermediates, trusted, now)  # 8
    return X509Svid(
        subject=subject,
        key=key,
        not_before=max(_ms(each.not_valid_before_utc) for each in path),
        expires=min(_ms(each.not_valid_after_utc) for each in path),
        leaf_expires=_ms(leaf.not_valid_after_utc),
        authorities=trusted,
    )


def is_valid_at(svid: X509Svid, now: int) -> bool:
    """Whether every certificate of the path that was built is valid at `now`."""
    return svid.not_before <= now < svid.expires


def chain_digest(chain: Sequence[bytes]) -> str:
    """One name for what a client sent: equal digests are equal chains."""
    digest = hashlib.sha256()
    for each in chain:
        digest.update(len(each).to_bytes(4, "big"))
        digest.update(each)
    return digest.hexdigest()


def _read(chain: Sequence[bytes]) -> tuple[x509.Certificate, list[x509.Certificate]]:
    # SECURITY: what a stranger sends is bounded before anything is computed from it.
    if not 0 < len(chain) <= CHAIN or any(len(each) > CERTIFICATE_BYTES for each in chain):
        raise _invalid(f"the client sent more than {CHAIN} certificates, or one larger than {CERTIFICATE_BYTES} bytes")
    try:
        leaf, *intermediates = (x509.load_der_x509_certificate(each) for each in chain)
    except (ValueError, x509.InvalidVersion):
        raise _invalid("a certificate of the client can't be read") from None
    return leaf, intermediates


def _subject(leaf: x509.Certificate) -> SpiffeId:
    """The SPIFFE ID in the only URI SAN."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise _invalid("the certificate has no subject alternative name") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    # SECURITY: with two of them it would depend on the reader who this is.
    if len(uris) != 1:
        raise _invalid(f"the certificate has {len(uris)} URI names, and an X.509-SVID has exactly one")
    try:
        subject = parse_spiffe_id(uris[0])
    except InvalidInput as error:
        raise _invalid(f"the certificate's URI name is not a SPIFFE ID: {error.message}") from None
    if not subject.path:
        raise _invalid("the certificate names a trust domain, not an identity")
    return subject


def _check_leaf(leaf: x509.Certificate) -> None:
    constraints = _extension(leaf, x509.BasicConstraints)
    # SECURITY: who may sign certificates is not who they are for (section 5.2).
    if constraints is not None and constraints.value.ca:
        raise _invalid("the certificate is a signing certificate (`cA` is true)")
    usage = _extension(leaf, x509.KeyUsage)
    if usage is None or not usage.critical:
        raise _invalid("the certificate has no critical key usage")
    if usage.value.key_cert_sign or usage.value.crl_sign:
        raise _invalid("the certificate's key may sign certificates or revocation lists")
    if not usage.value.digital_signature:
        raise _invalid("the certificate's key usage lacks `digitalSignature`")
    extended = _extension(leaf, x509.ExtendedKeyUsage)
    if extended is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in extended.value:
        raise _invalid("the certificate's extended key usage lacks `clientAuth`")


def _extension(leaf: x509.Certificate, kind: type[E]) -> x509.Extension[E] | None:
    try:
        return leaf.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _thumbprint(leaf: x509.Certificate) -> str:
    """The RFC 7638 thumbprint of the public key, so that it compares with `cnf.jkt` and with registered keys."""
    try:
        key = leaf.public_key()
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
            return ECKey.import_key(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).thumbprint()
        if isinstance(key, rsa.RSAPublicKey) and key.key_size in RSA_BITS:
            return RSAKey.import_key(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).thumbprint()
    except (ValueError, UnsupportedAlgorithm):
        pass
    raise _invalid("the certificate's key is not EC P-256, P-384 or P-521, or RSA of 2048 to 8192 bits")


def _check_own_times(leaf: x509.Certificate, now: int) -> None:
    """The leaf's own times first, so that the most common refusal says what it is."""
    if now >= _ms(leaf.not_valid_after_utc):
        raise Unauthenticated("certificate_expired", "the client certificate has expired", "reconnect with a new one")
    if now < _ms(leaf.not_valid_before_utc):
        raise Unauthenticated(
            "certificate_not_yet_valid", "the client certificate is not valid yet", "set this machine's clock"
        )


def _ms(time: datetime) -> int:
    return int(time.astimezone(UTC).timestamp()) * 1000


def _invalid(message: str) -> Unauthenticated:
    return Unauthenticated("certificate_invalid", message, _NEXT_STEP)
