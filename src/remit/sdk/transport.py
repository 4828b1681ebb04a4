"""One keep-alive HTTP session to the service, over its unix socket, loopback or TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import msgspec
from yarl import URL

from remit.core.errors import (
    Conflict,
    DocumentError,
    Forbidden,
    InvalidInput,
    NotFound,
    RemitError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from remit.sdk.endpoint import ClientTls, Endpoint
from remit.sdk.wire import Problem

UNIX_ORIGIN: Final = "http://remit.local"
ANSWER_BYTES: Final = 16 * 1024 * 1024
SECONDS: Final = 30.0  # for one request and its answer
CONNECTIONS: Final = 64

Target = Path | str | Endpoint

_NEXT_STEP: Final = "start it with `remit up`"
_TLS_NEXT_STEP: Final = "look at the certificates of both sides and at the authorities that each of them trusts"
_ERRORS: Final[dict[int, type[RemitError]]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    431: TooLarge,
}
# What decoding an answer may raise.
INVALID: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_problem = msgspec.json.Decoder(Problem)


class Reply(NamedTuple):
    """Status and body."""

    status: int
    body: bytes


class ConnectionLost(Unavailable):
    """The connection ended before the answer came: it is not known whether the service took the request."""


class Transport:
    """Sends requests to one service. `origin` is what proofs must name."""

    def __init__(self, session: aiohttp.ClientSession, origin: str, tls: ClientTls | None = None) -> None:
        self.origin = origin
        self.session = session
        self.tls = tls
        self._urls: dict[str, URL] = {}

    async def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        """One request. `ConnectionLost` or `Unavailable` when there is no answer; any status is an answer."""
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with self.session.request(
                method,
                self._url(path),
                data=body,
                headers=headers,
                allow_redirects=False,
                ssl=self.ssl_for(headers),
            ) as response:
                # SECURITY: whatever answers there, it is read within bounds.
                if response.content_length is None or response.content_length > ANSWER_BYTES:
                    raise Unavailable("answer_invalid", "the service's answer has no length, or is too large")
                return Reply(response.status, await response.read())
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            words = _tls_words(error)
            raise Unavailable("tls_refused", f"there is no TLS connection: {words}", _TLS_NEXT_STEP) from None
        except aiohttp.ClientConnectorError as error:
            raise Unavailable(
                "service_unreachable", f"no service answers: {os.strerror(error.errno or 0)}", _NEXT_STEP
            ) from None
        except TimeoutError:
            raise Unavailable("service_timeout", f"the service did not answer within {SECONDS:.0f} seconds") from None
        except (aiohttp.ClientError, ConnectionError) as error:
            if isinstance(error.__cause__, ssl.SSLError):
                words = _tls_words(error.__cause__)
                raise Unavailable("tls_refused", f"the service ended TLS: {words}", _TLS_NEXT_STEP) from None
            raise ConnectionLost(
                "connection_lost", f"the connection to the service ended: {type(error).__name__}", _NEXT_STEP
            ) from None
        except RuntimeError:
            raise Unavailable("client_closed", "the client is closed") from None

    def ssl_for(self, headers: Mapping[str, str]) -> ssl.SSLContext | bool:
        """What aiohttp needs to know of TLS for a request with these headers."""
        return True if self.tls is None else self.tls.context_for(headers)

    def _url(self, path: str) -> URL:
        url = self._urls.get(path)
        if url is None:
            url = URL(self.origin + path, encoded=True)
            if len(self._urls) < 64:
                self._urls[path] = url
        return url

    async def close(self) -> None:
        """Closes all connections."""
        await self.session.close()
        await asyncio.sleep(0)


def open_transport(target: Target) -> Transport:
    """A transport to the unix socket at a `Path`, to a URL, or to an `Endpoint`. Needs a running loop.

    Raises `DocumentError` for files of an endpoint that can't be used.
    """
    tls = ClientTls(target) if isinstance(target, Endpoint) else None
    if isinstance(target, Path):
        connector: aiohttp.BaseConnector = aiohttp.UnixConnector(path=str(target), limit=CONNECTIONS)
        origin = UNIX_ORIGIN
    else:
        origin = _origin(target.url if isinstance(target, Endpoint) else target)
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, use_dns_cache=False)
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=SECONDS, sock_connect=5),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        auto_decompress=False,
        trust_env=False,  # SECURITY: no proxy from the environment ever sees a token
    )
    return Transport(session, origin, tls)


def error_of(reply: Reply) -> RemitError:
    """The problem in a refusing reply, as the error that it was."""
    kind = _ERRORS.get(reply.status, Unavailable)
    try:
        problem = _problem.decode(reply.body)
    except INVALID:
        return Unavailable("answer_invalid", f"the service answered {reply.status} without a problem document")
    error = (
        DocumentError(
            problem.detail,
            path=problem.path,
            line=problem.line,
            column=problem.column,
            next_step=problem.next_step,
            code=problem.code,
            shown=problem.shown,
            width=problem.width,
        )
        if problem.path
        else kind(problem.code, problem.detail, problem.next_step)
    )
    error.decision = problem.decision
    return error


def _origin(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise InvalidInput("url_invalid", f"`{url}` is not the URL of a service", "write it as http://127.0.0.1:8470")
    # SECURITY: tokens travel unencrypted on this machine only.
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise InvalidInput("url_not_loopback", f"`{url}` is http and not on this machine", "use https")
    return f"{parts.scheme}://{parts.netloc}"


def _tls_words(error: BaseException) -> str:
    """Why, as OpenSSL says it: the alert that came, or what is wrong with the other side's certificate."""
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    words = getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or type(inner).__name__
    return str(words).replace("_", " ").lower()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
