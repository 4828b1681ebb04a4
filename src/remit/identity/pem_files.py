"""Certificates and keys in PEM files that agents replace: checked, loaded as a pair, and seen when they change."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path
from typing import Final

from cryptography import x509

from remit.core.errors import DocumentError

FILE_BYTES: Final = 256 * 1024


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> x509.Certificate:
    """Makes `context` prove itself with the certificate and its key, and returns the certificate (the first one).

    Raises `DocumentError`: as `check_key_file` does, and `tls_certificate_invalid` where the two can't be used.
    """
    check_key_file(key)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
        return x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise DocumentError(
            f"this certificate can't be used with the key `{key.name}`: {_words(error)}",
            path=certificate,
            next_step="give PEM files: the certificate with its intermediates, and its own key without a password",
            code="tls_certificate_invalid",
        ) from None


def check_key_file(path: Path) -> None:
    """Refuses a private key that others can read: `DocumentError("key_file_exposed")`.

    It is this user's with mode 0600 or less, or root's with mode 0640 or less, as secrets are mounted for a group. A
    link is followed, because agents replace certificates by changing one.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DocumentError(
            f"can't read the key: {error.strerror}", path=path, code="key_file_missing", next_step="give a PEM file"
        ) from None
    if not stat.S_ISREG(status.st_mode) or status.st_size > FILE_BYTES:
        raise DocumentError("it is not a regular file, or too large", path=path, code="key_file_invalid")
    allowed = 0o640 if status.st_uid == 0 and os.geteuid() != 0 else 0o600
    # SECURITY: whoever can read this key can be its owner.
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o777 & ~allowed:
        raise DocumentError(
            f"the key file has mode {stat.S_IMODE(status.st_mode):04o}, or belongs to another user",
            path=path,
            code="key_file_exposed",
            next_step=f"get a new key, or, if nobody can have read it: chmod 600 {path}",
        )


def state_of(*paths: Path | None) -> tuple[object, ...]:
    """Something that differs when any of these files has changed, come or gone."""
    return tuple(_identity_of(path) for path in paths)


def _identity_of(path: Path | None) -> tuple[int, int, int, int] | None:
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _no_password() -> str:
    raise ValueError("the key has a password")


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "unreadable").replace("_", " ").lower()
    return (error.strerror or "unreadable") if isinstance(error, OSError) else str(error) or "unreadable"
