"""`[service]`: where the service listens, under which names it is reached, and its TLS."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from remit.core.documents import Document

ORIGINS: Final = 16

_Path = Annotated[str, Meta(max_length=1024)]
_ORIGIN: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::(?P<port>\d{1,5}))?"
)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[service]`: where the service listens besides its unix socket."""

    listen: Annotated[
        str, Meta(description="address:port of the HTTP listener, on loopback unless it has TLS; empty for none")
    ] = "127.0.0.1:8181"
    tls_certificate: Annotated[
        _Path, Meta(description="PEM file with the listener's certificate and its intermediates; seen when it changes")
    ] = ""
    tls_key: Annotated[_Path, Meta(description="PEM file with its private key, mode 0600; seen when it changes")] = ""
    origins: Annotated[
        tuple[str, ...],
        Meta(
            max_length=ORIGINS,
            description="URLs by which clients reach it besides its own address, such as `https://remit.example.org`",
        ),
    ] = ()

    @property
    def reached_at(self) -> tuple[str, ...]:
        """The origins of the HTTP listener that clients' proofs may name, the first one before all; none without it."""
        if not self.listen:
            return ()
        scheme = "https" if self.tls_certificate else "http"
        own = f"{scheme}://{self.listen}".removesuffix(f":{_DEFAULT_PORTS[scheme]}")
        return (*self.origins, *(() if own in self.origins or _is_any(self.listen) else (own,)))


def check_service(document: Document, service: Service) -> None:
    """TLS is whole, what others may reach has it, and every name is an origin; a `DocumentError`."""
    if bool(service.tls_certificate) != bool(service.tls_key):
        at = "tls_key" if service.tls_key else "tls_certificate"
        raise document.error("TLS needs a certificate and its key", ("service", at), "give both, or neither")
    for number, origin in enumerate(service.origins):
        _check_origin(document, service, origin, ("service", "origins", number))
    if service.tls_certificate and _is_any(service.listen) and not service.origins:
        raise document.error(
            f"`{service.listen}` is no address that a client can name",
            ("service", "listen"),
            'say how clients reach it: `origins = ["https://remit.example.org"]`',
        )


def _check_origin(document: Document, service: Service, origin: str, at: tuple[str | int, ...]) -> None:
    found = _ORIGIN.fullmatch(origin)
    if (
        found is None
        or found["port"] == _DEFAULT_PORTS[found["scheme"]]
        or int(found["port"] or 1) not in range(1, 65536)
    ):
        raise document.error(
            f"`{origin[:64]}` is no origin",
            at,
            "write scheme, host and port as `https://remit.example.org:8443`, in lower case, without a default port",
        )
    if found["scheme"] == "http" and (service.tls_certificate or not _is_loopback(found["host"])):
        # SECURITY: proofs for such a name would be of requests that everybody on the way can read and change.
        raise document.error(f"`{origin[:64]}` is not https", at, "clients on other machines use https")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _is_any(listen: str) -> bool:
    """Whether it listens on all addresses at once (0.0.0.0, ::)."""
    try:
        return ipaddress.ip_address(listen.rpartition(":")[0].strip("[]")).is_unspecified
    except ValueError:
        return False
