"""A service on another machine: its URL, whom to trust that it is the one, and who its client is."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography import x509

from remit.core.errors import DocumentError, InvalidInput
from remit.identity.pem_files import load_pair, state_of
from remit.identity.spiffe import parse_spiffe_id


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a service is reached over HTTPS, and the PEM files of a client.

    `ca` has the authorities of the service's certificate (None: those of this system). `certificate` and `key` are the
    client's X.509-SVID, both or neither; without them it proves itself with DPoP. All of them may be replaced while
    a client is connected.
    """

    url: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if not self.url.startswith("https://"):
            raise InvalidInput(
                "url_invalid", f"`{self.url[:128]}` is not https", "write it as https://remit.example.org"
            )
        if (self.certificate is None) != (self.key is None):
            raise InvalidInput(
                "certificate_incomplete", "a certificate needs its key, and a key its certificate", "give both files"
            )


class ClientTls:
    """A client's TLS contexts, made anew when the files change: with its certificate, and without.

    `id` is the SPIFFE ID in the certificate, "" without one. A context that was made never changes.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        """Reads the files; `DocumentError` where they can't be used."""
        self._endpoint = endpoint
        self._seen = self._state()
        self._load()

    def refresh(self) -> bool:
        """Reads what has changed since; whether anything had. Raises `DocumentError`, and keeps what there is."""
        seen = self._state()
        if seen == self._seen:
            return False
        self._load()
        self._seen = seen
        return True

    def context_for(self, headers: Mapping[str, str]) -> ssl.SSLContext:
        """The context for a request with these headers: the certificate goes with requests that prove nothing else.

        A service refuses a request whose certificate and proof are of two identities, and a client also sends proofs
        of the workloads whose documents it renews.
        """
        return self._plain if "DPoP" in headers else self._certified

    def _state(self) -> object:
        return state_of(self._endpoint.ca, self._endpoint.certificate, self._endpoint.key)

    def _load(self) -> None:
        endpoint = self._endpoint
        plain, certified, id = _context(endpoint.ca), _context(endpoint.ca), ""
        if endpoint.certificate is not None and endpoint.key is not None:
            id = _spiffe_id(load_pair(certified, endpoint.certificate, endpoint.key), endpoint.certificate)
        self._plain, self._certified, self.id = plain, certified, id


def _context(ca: Path | None) -> ssl.SSLContext:
    """A client's context: TLS 1.2 or later, the service's name checked."""
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError):
        raise DocumentError(
            "the file has no certificates that can be read",
            path=ca or "",
            next_step="give the authorities of the service's certificate as PEM",
            code="ca_file_invalid",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _spiffe_id(leaf: x509.Certificate, path: Path) -> str:
    """Who the certificate says its holder is; the service checks it, this only says it early."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        return str(parse_spiffe_id(uri))
    except (InvalidInput, ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        raise DocumentError(
            "the certificate is no X.509-SVID: it has not exactly one URI name, a SPIFFE ID",
            path=path,
            next_step="give the X.509-SVID of the workload, as its SPIFFE agent writes it",
            code="tls_certificate_invalid",
        ) from None
