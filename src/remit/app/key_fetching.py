"""Reads keys and bundles over https: bounded in size and time, from the host that was named and from no other."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from yarl import URL

from remit.core.errors import DocumentError, InvalidInput, Unauthenticated, Unavailable
from remit.core.issuers import is_fetchable
from remit.identity.json_text import json_object
from remit.identity.x509_svid import verify_x509_svid
from remit.server.handshake import Peer

DOCUMENT_BYTES: Final = 120 * 1024  # of keys; a bundle with 64 authorities has some 100
DISCOVERY_BYTES: Final = 64 * 1024
SECONDS: Final = 10.0  # for one document, redirects and all
REDIRECTS: Final = 3

_MAX_AGE: Final = re.compile(r"(?:^|[,\s])max-age=(\d{1,9})(?:$|[,\s;])", re.IGNORECASE)
_WELL_KNOWN: Final = "/.well-known/openid-configuration"


class Fetched:
    """One document, and for how long (seconds) its server says that it holds; None where it says nothing."""

    def __init__(self, data: bytes, max_age: int | None = None) -> None:
        self.data = data
        self.max_age = max_age


async def fetch(url: str, context: ssl.SSLContext, *, allow_http: bool, most: int = DOCUMENT_BYTES) -> Fetched:
    """The document at `url`; `Unavailable("keys_unreachable")` with the reason when there is none.

    Redirects are followed at most three times and within the same origin. No cookies, no proxies of the environment,
    no credentials.
    """
    try:
        async with asyncio.timeout(SECONDS), _session(context) as session:
            for _ in range(REDIRECTS + 1):
                async with session.get(URL(url, encoded=True), allow_redirects=False) as response:
                    location = response.headers.get("Location", "")
                    if 300 <= response.status < 400 and location:
                        url = _followed(url, location, allow_http=allow_http)
                        continue
                    if response.status != 200:
                        raise _unreachable(f"the server answered {response.status}")
                    return Fetched(await _read(response, most), _max_age(response.headers.get("Cache-Control", "")))
    except TimeoutError:
        raise _unreachable(f"the server did not answer within {SECONDS:.0f} seconds") from None
    except aiohttp.ClientConnectorCertificateError as error:
        raise _unreachable(f"the server's certificate does not hold: {_words(error.certificate_error)}") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _unreachable(f"the connection failed: {_words(error)}") from None
    raise _unreachable(f"the server redirects more than {REDIRECTS} times")


async def discover(issuer: str, context: ssl.SSLContext, *, allow_http: bool) -> str:
    """Where the keys of an issuer are (OpenID Connect Discovery 1.0, section 4)."""
    found = await fetch(issuer.removesuffix("/") + _WELL_KNOWN, context, allow_http=allow_http, most=DISCOVERY_BYTES)
    try:
        document = json_object(found.data, most=DISCOVERY_BYTES)
    except InvalidInput as error:
        raise _unreachable(f"the issuer's metadata can't be read: {error.message}") from None
    # SECURITY: section 4.3: metadata of another issuer, or of none, is nobody's.
    if document.get("issuer") != issuer:
        raise _unreachable("the metadata is of another issuer; `issuer` must be written exactly as it says")
    keys = document.get("jwks_uri")
    if not isinstance(keys, str) or not is_fetchable(keys, allow_http=allow_http):
        raise _unreachable("the metadata names no https URL as `jwks_uri`")
    # SECURITY: whoever can change one document of an issuer must not send us anywhere.
    if urlsplit(keys).hostname != urlsplit(issuer).hostname:
        raise _unreachable("the metadata names keys on another host; if that is right, set `jwks_url`")
    return keys


def web_context(ca_file: Path | None) -> ssl.SSLContext:
    """TLS by the system's authorities, or by those in a PEM file; `DocumentError` when it can't be read."""
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ValueError) as error:
        raise DocumentError(
            f"can't read the authorities: {_words(error)}", path=ca_file or "", next_step="give PEM certificates"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def spiffe_context(
    endpoint_id: str, authorities: tuple[x509.Certificate, ...], clock: Callable[[], int]
) -> ssl.SSLContext:
    """TLS to the one server that proves to be `endpoint_id` (SPIFFE Federation, section 5.2.2.4)."""

    class Endpoint(Peer):
        """The server's side of a handshake: an X.509-SVID of exactly that id, whatever host it runs on."""

        def do_handshake(self) -> None:
            ssl.SSLObject.do_handshake(self)
            sent = self.certificates()
            try:
                svid = verify_x509_svid(sent.chain if sent else (), lambda _domain, _now: authorities, clock())
            except Unauthenticated as error:
                raise ssl.SSLCertVerificationError(1, error.message.replace("the client certificate", "it")) from None
            # SECURITY: any workload of that trust domain has a certificate; one alone hands out bundles.
            if str(svid.subject) != endpoint_id:
                raise ssl.SSLCertVerificationError(1, "the endpoint has another SPIFFE ID than `endpoint_id`")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False  # the SPIFFE ID is the name
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.sslobject_class = Endpoint
    if authorities:
        context.load_verify_locations(cadata=b"".join(each.public_bytes(Encoding.DER) for each in authorities))
    return context


def _session(context: ssl.SSLContext) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=1, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=SECONDS),
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        trust_env=False,  # SECURITY: no proxy from the environment says what an issuer's keys are
        auto_decompress=False,  # SECURITY: what was counted is what is read
        max_line_size=8 * 1024,
        max_field_size=8 * 1024,
    )


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    data = b""
    async for part in response.content.iter_chunked(16 * 1024):
        data += part
        if len(data) > most:
            raise _unreachable(f"the document is larger than {most} bytes")
    return data


def _followed(url: str, location: str, *, allow_http: bool) -> str:
    target = urljoin(url, location)
    before, after = urlsplit(url), urlsplit(target)
    # SECURITY: an open redirect at an issuer must not say what its keys are.
    if (before.scheme, before.netloc) != (after.scheme, after.netloc) or not is_fetchable(
        target, allow_http=allow_http
    ):
        raise _unreachable("the server redirects to another host")
    return target


def _max_age(header: str) -> int | None:
    if "no-store" in header.lower() or "no-cache" in header.lower():
        return 0
    found = _MAX_AGE.search(header)
    return int(found[1]) if found else None


def _unreachable(message: str) -> Unavailable:
    return Unavailable("keys_unreachable", message, "`remit issuers` shows the state of all of them")


def _words(error: Exception) -> str:
    text = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or type(error).__name__
    return str(text)[:200]
