"""HTTP/1.1 on one connection: uvicorn's httptools protocol, with bounds on what comes before a request is whole."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal

import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from remit.sdk.wire import Problem
from remit.server.cork import Corked
from remit.server.handshake import Peer

HEAD_BYTES: Final = 32 * 1024  # request line and headers
HEADERS: Final = 64
HEAD_SECONDS: Final = 10.0  # from the first byte (or the connection) to the end of the headers
CONNECTIONS: Final = 1024
CERTIFICATES: Final = "remit_certificates"  # in the scope's state: what the client of a TLS connection sent, or None

_PHRASES: Final = {400: b"Bad Request", 431: b"Request Header Fields Too Large", 503: b"Service Unavailable"}


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose head is too large or too slow; answers framing errors as problems, and closes."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_timer: asyncio.TimerHandle | None = None
        self._stage: Literal["between", "head", "body"] = "between"
        self._head_bytes = 0
        self.refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # narrower, as uvicorn calls it
        peer = transport.get_extra_info("ssl_object")
        if isinstance(peer, Peer):
            # For this connection alone: its certificates, which are looked at when a request needs them.
            self.app_state = {**self.app_state, CERTIFICATES: peer.certificates()}
        self._corked = Corked(transport, self.loop)
        super().connection_made(self._corked)  # type: ignore[arg-type]  # it acts as the transport
        if len(self.connections) > CONNECTIONS:
            self.refuse(503, "connections_full", f"there are {CONNECTIONS} connections already")
            return
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.refused:
            return
        super().data_received(data)
        if self._stage == "head" and not self.refused:
            # SECURITY: a head that never ends is bounded in bytes here and in time by the timer.
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.refuse(431, "head_too_large", f"the request's head is larger than {HEAD_BYTES} bytes")
        elif self._stage == "between" and (self.cycle is None or self.cycle.response_complete):
            # Bytes between requests (blank lines) stopped the keep-alive timer and began nothing.
            self._start_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._stage = "head"
        self._head_bytes = 0
        self._start_timer()

    def on_headers_complete(self) -> None:
        self._stage = "body"
        self._stop_timer()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > HEAD_BYTES or len(self.headers) > HEADERS:
            self.refuse(431, "head_too_large", f"the head is larger than {HEAD_BYTES} bytes or {HEADERS} headers")
        elif sum(1 for name, _ in self.headers if name == b"host") > 1:
            self.refuse(400, "framing_invalid", "`Host` stands twice")
        elif self.parser.should_upgrade():
            # SECURITY: nothing is upgraded; what follows such a head would not be parsed as requests.
            self.refuse(400, "upgrade_refused", "the service upgrades no connection")
        if self.refused:
            # Stops the parser in the middle: what follows is never a request.
            raise ValueError("refused")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stage = "between"
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._corked.flush()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        # SECURITY: after a framing error nothing on this connection is believed.
        self.refuse(400, "framing_invalid", "the request is not valid HTTP/1.1")

    def refuse(self, status: int, code: str, detail: str) -> None:
        """Answers once, where no answer has begun, and closes the connection."""
        if self.refused:
            return
        self.refused = True
        self._stop_timer()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            # What was read of this request ends here: its handler sees a caller that went away.
            cycle.disconnected = True
            cycle.message_event.set()
        if cycle is None or cycle.response_complete or not cycle.response_started:
            phrase = _PHRASES[status]
            body = msgspec.json.encode(Problem(title=phrase.decode(), status=status, detail=detail, code=code))
            self.transport.write(
                b"HTTP/1.1 %d %b\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\n"
                b"connection: close\r\n\r\n%b" % (status, phrase, len(body), body)
            )
        self.transport.close()

    def _start_timer(self) -> None:
        if self._head_timer is None and self.timeout_keep_alive_task is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()
