"""The X.509 authorities of the own trust domain, from a file: a SPIFFE bundle, or certificates as PEM."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography import x509

from remit.core.bounds import DOCUMENT_BYTES
from remit.core.errors import DocumentError, InvalidInput
from remit.identity.bundle import MAX_KEYS
from remit.identity.bundles import read_bundle

_NEXT_STEP: Final = "give a SPIFFE bundle (`spire-server bundle show -format spiffe`), or PEM certificates"


def read_x509_bundle(path: Path) -> tuple[x509.Certificate, ...]:
    """The authorities in the file at `path`; `DocumentError("bundle_invalid")` when it has none, or one that is none.

    Keys for JWT-SVIDs in it are passed over: in its own trust domain Remit believes its own keys alone.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= DOCUMENT_BYTES else b""
    except OSError as error:
        raise _invalid(path, f"can't read the file: {error.strerror}") from None
    try:
        # A bundle is a JSON object; anything else has to be PEM.
        json = data.lstrip().startswith(b"{")
        found = read_bundle(data).x509_authorities if json else tuple(x509.load_pem_x509_certificates(data))
    except InvalidInput as error:
        raise _invalid(path, error.message) from None
    except ValueError:
        raise _invalid(path, "the file holds no certificates that can be read") from None
    if not 0 < len(found) <= MAX_KEYS:
        raise _invalid(path, f"the file holds {len(found)} X.509 authorities; from 1 to {MAX_KEYS} are expected")
    for number, each in enumerate(found, 1):
        if not _is_authority(each):
            raise _invalid(path, f"certificate {number} of the file is no authority (`cA` is not true)")
    return found


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False


def _invalid(path: Path, message: str) -> DocumentError:
    return DocumentError(message, path=path, next_step=_NEXT_STEP, code="bundle_invalid")
