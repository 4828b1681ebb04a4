"""TLS at the listener: its certificate, read anew when the files change, and which authorities clients may have."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from remit.core.errors import RemitError
from remit.identity.pem_files import load_pair, state_of
from remit.server.handshake import Peer

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"  # of TLS 1.2: forward secrecy and authenticated encryption

_log = logging.getLogger("remit.server")


class ServerTls:
    """What a handshake needs. `context` is for the next connection; a context that was made never changes.

    OpenSSL takes client certificates from any of `authorities()`, those of every trust domain together: whether the
    authority is the one of the certificate's own trust domain is for `remit.identity.x509_svid` to say, later.
    `expires` is when the listener's own certificate does (ms).
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
        return state_of(self._certificate, self._key), tuple(self._authorities())

    def _load(self) -> tuple[ssl.SSLContext, int]:
        """A context with the files as they are now, and when its certificate expires (ms)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.set_alpn_protocols(["http/1.1"])
        # SECURITY: no session is resumed: each connection proves its certificate and its key by itself.
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.num_tickets = 0
        context.sslobject_class = Peer
        served = load_pair(context, self._certificate, self._key)
        _ask_for_certificates(context, self._authorities())
        return context, int(served.not_valid_after_utc.timestamp() * 1000)


def _ask_for_certificates(context: ssl.SSLContext, authorities: Sequence[x509.Certificate]) -> None:
    """Asks clients for a certificate, which they may leave out, where any authority is known."""
    if not authorities:
        context.verify_mode = ssl.CERT_NONE
        return
    # Each once: the same authority may stand in two bundles.
    data = b"".join({each: each.public_bytes(Encoding.DER) for each in authorities}.values())
    context.load_verify_locations(cadata=data)
    # SECURITY: given, a certificate must hold; it may be left out, because DPoP proves callers too.
    context.verify_mode = ssl.CERT_OPTIONAL
    # An authority in a bundle need not be self-signed (X509-SVID, section 6.1).
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
