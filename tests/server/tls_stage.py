"""The service of `stage` behind TLS: real sockets on loopback, certificates made here, bundles that tests change."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from remit.core.errors import Unauthenticated
from remit.core.identities import Identity
from remit.identity.certificates import CertificateAuthenticator, unmapped
from remit.identity.holder import Holder
from remit.identity.spiffe import SpiffeId
from remit.server.app import build_app
from remit.server.listener import Listener
from remit.server.sockets import bind_loopback, origin_of
from remit.server.tls import ServerTls
from tests.identity.certificates import Party, authority, make

from .stage import AUDIENCE, DOMAIN, PEP, Answered, Stage, parse

PARTNER = "spiffe://partner.example/ns/prod/agent"
WEB = authority("web authority")
SERVER = make("service", by=WEB, dns=["localhost", "remit.example.org"], ips=[ip_address("127.0.0.1")])
ROOT = authority("authority of example.org")
FOREIGN = authority("authority of partner.example")


class TlsStage(Stage):
    """A stage whose TCP listener speaks TLS. `bundles` is what its trust domains publish now."""

    def __init__(self, folder: Path, *, origins: tuple[str, ...] = (), server: Party = SERVER, **more: Any) -> None:
        super().__init__(folder, **more)
        self.folder = folder
        self.bundles: dict[str, tuple[x509.Certificate, ...]] = {
            DOMAIN: (ROOT.certificate,),
            "partner.example": (FOREIGN.certificate,),
        }
        self.clock_ahead = 0
        self.callers: list[Identity] = []
        self.tls = ServerTls(*server.write(folder, "server"), self.every_authority)
        self.tcp.close()
        self.tcp = bind_loopback("127.0.0.1", 0)
        self.url = origin_of(self.tcp, tls=True)
        self.authenticator._origins |= {self.url, *origins}
        self.certificates = CertificateAuthenticator(DOMAIN, self.authorities, self.local)
        self.app = build_app(
            self.service,
            self.authenticator,
            self.authority,
            bearer_keys=self.bearer_keys,
            bundle=dict,
            audience=AUDIENCE,
            base_url=self.url,
            clock=lambda: self.service.clock() + self.clock_ahead,
            certificates=self.certificates,
        )
        self.listener = Listener(self.app, unix=self.unix, tcp=self.tcp, tls=self.tls, origins=origins)
        self.service.identities = self._identities  # type: ignore[method-assign, assignment]

    async def _identities(self, caller: Identity) -> tuple[()]:
        self.callers.append(caller)
        return ()

    def every_authority(self) -> list[x509.Certificate]:
        return [each for bundle in self.bundles.values() for each in bundle]

    def authorities(self, trust_domain: str, _now: int) -> tuple[x509.Certificate, ...]:
        if trust_domain not in self.bundles:
            raise Unauthenticated("trust_domain_unknown", "that trust domain is not trusted here")
        return self.bundles[trust_domain]

    def local(self, subject: SpiffeId) -> str:
        return PEP if str(subject) == PARTNER else unmapped(subject)

    def context(self, party: Party | None = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A client's context, with the certificate of `party`."""
        context = ssl.create_default_context(cadata=WEB.certificate.public_bytes(Encoding.PEM).decode())
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # what is too weak is for the service to refuse
        if party is not None:
            context.load_cert_chain(*party.write(self.folder, "client"))
        if version is not None:
            context.maximum_version = version
        return context

    async def connect(self, party: Party | None = None, version: ssl.TLSVersion | None = None) -> Connection:
        """One connection, its handshake done."""
        host, port = self.tcp.getsockname()[:2]
        reader, writer = await asyncio.open_connection(
            host, port, ssl=self.context(party, version), server_hostname="localhost"
        )
        return Connection(self, reader, writer)

    async def who(self, party: Party | None = None, **more: Any) -> Answered:
        """One request that needs a caller, on a connection of its own."""
        connection = await self.connect(party)
        try:
            return await connection.ask(**more)
        finally:
            connection.close()


class Connection:
    """A TLS connection that stays open for several requests."""

    def __init__(self, stage: TlsStage, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.stage, self.reader, self.writer = stage, reader, writer

    async def ask(
        self,
        method: str = "GET",
        path: str = "/v1/identities",
        body: Any = None,
        *,
        holder: Holder | None = None,
        origin: str = "",
        host: str = "",
        headers: dict[str, str] | None = None,
    ) -> Answered:
        """One request and its answer."""
        url = (origin or self.stage.url) + path
        sent = {"Host": host or self.stage.url.removeprefix("https://")}
        sent |= holder.headers(method, url, self.stage.service.clock()) if holder else {}
        data = b"" if body is None else msgspec.json.encode(body)
        if body is not None:
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        sent |= headers or {}
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        self.writer.write(head.encode("latin-1") + b"\r\n" + data)
        answer = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
        length = int(parse(answer).headers["content-length"])
        return parse(answer + await self.reader.readexactly(length))

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def serving(folder: Path, **settings: Any) -> AsyncIterator[TlsStage]:
    """A TLS stage whose listener serves until the block ends."""
    stage = TlsStage(folder, **settings)
    await stage.listener.start()
    try:
        yield stage
    finally:
        await stage.listener.stop()
