"""The listener's certificate, and the authorities of clients' certificates: whether they hold, and for how long."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from remit.app.doctor.finding import Finding, Situation, listed
from remit.core.errors import RemitError
from remit.identity.pem_files import load_pair
from remit.identity.x509_bundle import read_x509_bundle

DAY_MS = 24 * 3600 * 1000
SOON = 0.2  # of a certificate's life: by then it should have been replaced


def own(situation: Situation) -> Iterator[Finding]:
    """The listener's certificate fits its key, is valid, names what clients name; its key is the service's alone."""
    settings = situation.settings
    if settings is None or not settings.service.tls_certificate:
        return
    root = situation.folder.root
    key = root / settings.service.tls_key
    try:
        pair = load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), root / settings.service.tls_certificate, key)
    except RemitError as error:
        yield Finding(check="certificate", level="fail", message=error.message, next_step=error.next_step)
        return
    if situation.agent.uid != key.stat().st_uid and situation.agent.may(key, 4):
        yield Finding(
            check="certificate",
            level="fail",
            message=f"`{situation.agent.name}` can read the key of the listener's certificate",
            next_step=f"get a new certificate and key; chmod 600 {key}",
        )
    unnamed = [origin for origin in settings.service.reached_at if not _names(pair, urlsplit(origin).hostname or "")]
    if unnamed:
        yield Finding(
            check="certificate",
            level="warn",
            message=f"the listener's certificate does not name {listed(unnamed)}, so that clients refuse it there",
            next_step="have it issued for these names, or take them out of `origins`",
        )
    yield _life(situation, "certificate", "the listener's certificate", pair)


def authorities(situation: Situation) -> Iterator[Finding]:
    """The authorities in `x509_bundle` can be read and are valid."""
    settings = situation.settings
    if settings is None or not settings.identity.x509_bundle:
        return
    path = situation.folder.root / settings.identity.x509_bundle
    try:
        found = read_x509_bundle(Path(path))
    except RemitError as error:
        yield Finding(check="authorities", level="fail", message=error.message, next_step=error.next_step)
        return
    if not settings.service.tls_certificate:
        yield Finding(
            check="authorities",
            level="warn",
            message="`x509_bundle` is given, but the listener has no TLS, so that no client can show a certificate",
            next_step="give `tls_certificate` and `tls_key` under `[service]`",
        )
    # The one that lasts longest: the others are being replaced.
    last = max(found, key=lambda each: each.not_valid_after_utc)
    yield _life(situation, "authorities", f"the last of {len(found)} X.509 authorities of this trust domain", last)


def _life(situation: Situation, check: str, what: str, certificate: x509.Certificate) -> Finding:
    start = int(certificate.not_valid_before_utc.timestamp() * 1000)
    end = int(certificate.not_valid_after_utc.timestamp() * 1000)
    until = f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if not start <= situation.now < end:
        word = "has expired" if situation.now >= end else "is not valid yet"
        return Finding(check=check, level="fail", message=f"{what} {word}", next_step="replace the file")
    if end - situation.now < SOON * (end - start):
        return Finding(
            check=check,
            level="warn",
            message=f"{what} expires soon, on {until}",
            next_step="see why it was not renewed; the service takes a new file within seconds",
        )
    return Finding(check=check, level="ok", message=f"{what} is valid until {until}")


def _names(certificate: x509.Certificate, host: str) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
    try:
        return ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        patterns = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
        return host in patterns or f"*.{host.partition('.')[2]}" in patterns
