"""TLS at the listener: its certificate, read anew when the files change, and which authorities clients may have."""

from __future__ import annotations

import logging
import os
import ssl
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from remit.core.errors import DocumentError, RemitError
from remit.server.handshake import Peer

FILE_BYTES: Final = 256 * 1024
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"  # of TLS 1.2: forward secrecy and authenticated encryption

_log = logging.getLogger("remit.server")


class ServerTls:
    """What a handshake needs. `context` is for the next connection; a context that was made never changes.

    OpenSSL takes client certificates from any of `authorities()`, those of every trust domain together: whether the
    authority is the one of the certificate's own trust domain is for `remit.identity.x509_svid` to say, later.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        authorities: Callable[[], Sequence[x509.Certificate]] = tuple,
    ) -> None:
        """Reads both files; `DocumentError` where they can't be used, or where others can read the key."""
        self._certificate = certificate
        self._key = key
        self._authorities = authorities
        self._seen = self._state()
        self.context, self.expires = self._load()

    def refresh(self) -> bool:
        """Reads what has changed since; whether anything had. What can't be used leaves all as it was, with an alarm.

        Call it every few seconds. Connections that are open stay as they are.
        """
        seen = self._state()
        if seen == self._seen:
            return False
        try:
            self.context, self.expires = self._load()
        except RemitError as error:
            _log.critical("ALARM the listener's certificate was not replaced, it is tried again: %s", error)
            return False
        self._seen = seen
        return True

    def _state(self) -> object:
        """Something that differs when any of it has changed."""
        files = tuple(_identity_of(path) for path in (self._certificate, self._key))
        return files, tuple(self._authorities())

    def _load(self) -> tuple[ssl.SSLContext, int]:
        """A context with the files as they are now, and when its certificate expires (ms)."""
        check_key_file(self._key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.set_alpn_protocols(["http/1.1"])
        # SECURITY: no session is resumed: each connection proves its certificate and its key by itself.
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.num_tickets = 0
        context.sslobject_class = Peer
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
            served = x509.load_pem_x509_certificates(self._certificate.read_bytes())[0]
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            raise DocumentError(
                f"this certificate can't be used with the key `{self._key.name}`: {_words(error)}",
                path=self._certificate,
                next_step="give PEM files: the certificate with its intermediates, and its own key without a password",
                code="tls_certificate_invalid",
            ) from None
        _ask_for_certificates(context, self._authorities())
        return context, int(served.not_valid_after_utc.timestamp() * 1000)


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
    # SECURITY: whoever can read this key can be this service.
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o777 & ~allowed:
        raise DocumentError(
            f"the key file has mode {stat.S_IMODE(status.st_mode):04o} or belongs to another user",
            path=path,
            code="key_file_exposed",
            next_step=f"get a new key, or, if nobody can have read it: chmod 600 {path}",
        )


def _ask_for_certificates(context: ssl.SSLContext, authorities: Sequence[x509.Certificate]) -> None:
    """Asks clients for a certificate, which they may leave out, where any authority is known."""
    if not authorities:
        context.verify_mode = ssl.CERT_NONE
        return
    # One by one, each once: the same authority may stand in two bundles.
    data = b"".join({each: each.public_bytes(Encoding.DER) for each in authorities}.values())
    context.load_verify_locations(cadata=data)
    # SECURITY: given, a certificate must hold; it may be left out, because DPoP proves callers too.
    context.verify_mode = ssl.CERT_OPTIONAL
    # An authority in a bundle need not be self-signed (X509-SVID, section 6.1).
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _identity_of(path: Path) -> tuple[int, int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None  # to read it will say why
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _no_password() -> str:
    raise ValueError("the key has a password")


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "unreadable").replace("_", " ").lower()
    return (error.strerror or "unreadable") if isinstance(error, OSError) else str(error) or "unreadable"
