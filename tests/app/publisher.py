"""An https server on loopback that publishes keys: what it answers can be changed, and every request is counted."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Made = web.StreamResponse | Awaitable[web.StreamResponse]
Answer = Callable[[web.Request], Made] | int | bytes  # made for each request, or a status, or a body

_START: Final = datetime.now(UTC) - timedelta(hours=1)


class LocalAuthority:
    """A certificate authority, made here."""

    def __init__(self, name: str = "local authority", uri: str = "") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._made(
            name, self.key.public_key(), [x509.UniformResourceIdentifier(uri)] if uri else [], ca=True
        )

    def server(
        self,
        folder: Path,
        *names: x509.GeneralName,
        days: int = 400,
        usages: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    ) -> ssl.SSLContext:
        """TLS for a server with these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._made("server", key.public_key(), list(names), days=days, usages=usages)
        file = folder / f"server-{certificate.serial_number}.pem"
        file.write_bytes(
            certificate.public_bytes(Encoding.PEM)
            + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def pem(self, file: Path) -> Path:
        """Its own certificate in a file."""
        file.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return file

    def _made(
        self,
        name: str,
        public: ec.EllipticCurvePublicKey,
        names: list[x509.GeneralName],
        *,
        ca: bool = False,
        days: int = 400,
        usages: tuple[x509.ObjectIdentifier, ...] = (),
    ) -> x509.Certificate:
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local authority")])
        subject = issuer if ca else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_START)
            .not_valid_after(_START + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=not ca,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=ca,
                    crl_sign=ca,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())


class Publisher:
    """What a server answers by path, and how often it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        answer = self.answers.get(request.path, 404)
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        if isinstance(answer, int):
            return web.Response(status=answer)
        made = answer(request)
        return await made if inspect.isawaitable(made) else made


@asynccontextmanager
async def publishing(
    context: ssl.SSLContext | None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Publisher]:
    """Such a server, on a free port of loopback (or on that one); without a context it speaks http."""
    publisher = Publisher()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", publisher.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=context)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    publisher.url = f"{'https' if context else 'http'}://{'localhost' if context else host}:{port}"
    try:
        yield publisher
    finally:
        await runner.cleanup()


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits until it holds."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.005)
