"""Who completes a TLS handshake becomes a connection: accepting, bounded, with the peer's certificates kept."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from remit.identity.certificates import ClientCertificates, client_certificates

HANDSHAKES: Final = 512  # under way at once
HANDSHAKE_SECONDS: Final = 10.0
CLOSING_SECONDS: Final = 2.0
_TOLD_SECONDS: Final = 1.0  # refused certificates are logged at most this often
_PAUSE_SECONDS: Final = 1.0  # after the system let nobody in

_log = logging.getLogger("remit.server")


class Peer(ssl.SSLObject):
    """One side of a TLS connection: what the other side sent, and a refusal that it gets to hear."""

    _refusal: ssl.SSLCertVerificationError | None = None

    def do_handshake(self) -> None:
        """As `SSLObject` does, but whose certificate is refused gets the alert that says why before all ends."""
        if self._refusal is not None:
            raise self._refusal
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            self._refusal = error
            refused.tell(error)
            # Sends what is to be sent, and comes back when the client reacts or the time is over.
            raise ssl.SSLWantReadError from None

    def certificates(self) -> ClientCertificates | None:
        """The certificates that the client sent, its own first; None when it sent none."""
        own = self.getpeercert(binary_form=True)
        if own is None:
            return None
        chain = self._sent_chain()
        # SECURITY: the first is the one whose key was proved in this handshake.
        if not chain or chain[0] != own:
            raise ssl.SSLError("the client's certificates can't be told apart")
        return client_certificates(chain)

    def _sent_chain(self) -> list[bytes]:
        if sys.version_info >= (3, 13):
            return list(self.get_unverified_chain())
        # The same function before it became public.
        inner: Any = self._sslobj  # type: ignore[attr-defined]  # not in the stubs
        return [each.public_bytes(_DER) for each in inner.get_unverified_chain() or ()]


class Contexts(Protocol):
    """Where the next connection finds its certificate and whom it trusts."""

    @property
    def context(self) -> ssl.SSLContext:
        """The context for the next connection; its objects are `Peer`s."""


class TlsServer:
    """Accepts on one socket; who completes the handshake gets a protocol, as with `loop.create_server`."""

    def __init__(
        self,
        sock: socket.socket,
        contexts: Contexts,
        factory: Callable[[], asyncio.BaseProtocol],
    ) -> None:
        """`contexts.context` is that of the next connection, and may change between two. Needs a running loop."""
        self._sock = sock
        self._contexts = contexts
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting = self._loop.create_task(self._accept())

    def close(self) -> None:
        """Accepts nobody any more and ends the handshakes that are under way; connections stay."""
        self._accepting.cancel()
        for task in self._handshakes:
            task.cancel()

    async def wait_closed(self) -> None:
        """Waits until it has closed."""
        await asyncio.wait([self._accepting, *self._handshakes])

    async def _accept(self) -> None:
        try:
            while True:
                try:
                    connection, _ = await self._loop.sock_accept(self._sock)
                except OSError as error:
                    _log.critical("ALARM no connection can be accepted, it is tried again: %s", error.strerror)
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                # SECURITY: strangers who never finish a handshake are bounded in number, and in time.
                if len(self._handshakes) >= HANDSHAKES:
                    connection.close()
                    continue
                task = self._loop.create_task(self._let_in(connection))
                self._handshakes.add(task)
                task.add_done_callback(self._handshakes.discard)
        finally:
            self._sock.close()

    async def _let_in(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._factory,
                connection,
                ssl=self._contexts.context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=CLOSING_SECONDS,
            )
        except OSError:
            connection.close()  # `Peer` has told why, or the client went away, or was too slow
        except BaseException:
            connection.close()
            raise


class Refused:
    """Counts refused certificates, and tells of them at most once a second."""

    def __init__(self) -> None:
        self.count = 0
        self._told = 0.0
        self._untold = 0

    def tell(self, error: ssl.SSLCertVerificationError) -> None:
        """One more, and why."""
        now = time.monotonic()
        self.count += 1
        self._untold += 1
        if now - self._told >= _TOLD_SECONDS:
            _log.info("client certificates refused: %d, the last one: %s", self._untold, error.verify_message)
            self._told, self._untold = now, 0


refused: Final = Refused()  # of this process
_DER: Final = 2  # of `_ssl`: the encoding
