"""TLS and client certificates of an installation: what `remit.toml` names, composed and kept fresh."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from cryptography import x509

from remit.app.folder import Folder
from remit.core.errors import DocumentError, Unauthenticated
from remit.core.settings import Settings
from remit.identity.bundles import Bundles
from remit.identity.certificates import CertificateAuthenticator
from remit.identity.pem_files import state_of
from remit.identity.spiffe import SpiffeId
from remit.identity.x509_bundle import read_x509_bundle
from remit.server.tls import ServerTls

log = logging.getLogger("remit.service")


class OwnAuthorities:
    """The X.509 authorities in `[identity] x509_bundle`, read anew when the file changes; none where it is empty."""

    def __init__(self, path: Path | None) -> None:
        """Raises `DocumentError` for a file that can't be used."""
        self._path = path
        self._seen = state_of(path)
        self.certificates: tuple[x509.Certificate, ...] = read_x509_bundle(path) if path else ()

    def refresh(self) -> None:
        """Takes what changed; what can't be read leaves those that are known, with an alarm."""
        if self._path is None or (seen := state_of(self._path)) == self._seen:
            return
        try:
            # The same tuple means the same authorities: an unchanged file must not be read again.
            self.certificates = read_x509_bundle(self._path)
            self._seen = seen
        except DocumentError as error:
            log.critical("ALARM the X.509 authorities were not replaced, it is tried again: %s", error)


class Certificates:
    """The listener's TLS (`tls`, None without), and who its clients are by their certificates."""

    def __init__(
        self, folder: Folder, settings: Settings, bundles: Bundles, local: Callable[[SpiffeId], str], now: int
    ) -> None:
        """`bundles` has those of other trust domains, `local` the identity here of a foreign one."""
        self._trust_domain = settings.trust_domain
        self._bundles = bundles
        self._own = OwnAuthorities(_path(folder, settings.identity.x509_bundle))
        self._now = now
        self.authenticator = CertificateAuthenticator(settings.trust_domain, self._authorities, local)
        self.tls: ServerTls | None = None
        certificate, key = _path(folder, settings.service.tls_certificate), _path(folder, settings.service.tls_key)
        if certificate and key:
            self.tls = ServerTls(certificate, key, self._all)

    def refresh(self, now: int) -> None:
        """Reads the files that changed, and what other trust domains publish now. Call it every few seconds."""
        self._now = now
        self._own.refresh()
        if self.tls is not None:
            self.tls.refresh()

    def _authorities(self, trust_domain: str, now: int) -> tuple[x509.Certificate, ...]:
        # SECURITY: for the own trust domain its own file alone, whatever anybody federates.
        if trust_domain == self._trust_domain:
            return self._own.certificates
        return self._bundles.x509_authorities(trust_domain, now)

    def _all(self) -> Sequence[x509.Certificate]:
        """The authorities of every trust domain: a handshake does not know yet which one a client is of."""
        found = list(self._own.certificates)
        for trust_domain in self._bundles.trust_domains():
            if trust_domain != self._trust_domain:
                # A bundle that has grown old has no authorities; its identities are told so at their next request.
                with suppress(Unauthenticated):
                    found += self._bundles.x509_authorities(trust_domain, self._now)
        return found


def _path(folder: Folder, name: str) -> Path | None:
    return folder.root / name if name else None
