"""The listeners: one unix socket and one TCP socket, served by one process until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from uvicorn.config import Config
from uvicorn.server import Server

from remit.core.errors import Unavailable
from remit.server.authentication import ORIGINS, UNIX_ORIGIN
from remit.server.handshake import TlsServer
from remit.server.protocol import BoundedProtocol
from remit.server.sockets import bind_tcp, bind_unix, origin_of, remove_socket, socket_file
from remit.server.tls import ServerTls

_log = logging.getLogger("remit.server")

KEEP_ALIVE_SECONDS: Final = 75  # between two requests on one connection
GRACE_SECONDS: Final = 5  # for open requests when it stops


class Listener(Server):
    """Serves `app` on the given sockets; each tells the application its own origins."""

    def __init__(
        self,
        app: Starlette,
        *,
        unix: socket.socket | None = None,
        tcp: socket.socket | None = None,
        tls: ServerTls | None = None,
        origins: Sequence[str] = (),
    ) -> None:
        """`origins` are the URLs that clients of `tcp` prove themselves for; by default the socket's own address.

        With `tls`, `tcp` speaks TLS and nothing else.
        """
        config = Config(
            app,
            http=BoundedProtocol,
            ws="none",
            interface="asgi3",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        super().__init__(config)
        self.attachments = app.state.attachments
        self._tls = tls
        self._origins: list[tuple[socket.socket, tuple[str, ...]]] = []
        if unix is not None:
            self._origins.append((unix, (UNIX_ORIGIN,)))
        if tcp is not None:
            self._origins.append((tcp, tuple(origins) or (origin_of(tcp, tls=tls is not None),)))
        self._task: asyncio.Task[None] | None = None
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the application and both listeners."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise Unavailable("start_failed", "the application did not start", "see the service's log")
        loop = asyncio.get_running_loop()
        self.servers = []
        for sock, origins in self._origins:
            factory = self._factory(origins)
            server: asyncio.AbstractServer | TlsServer
            if sock.family == socket.AF_UNIX:
                server = await loop.create_unix_server(factory, sock=sock)
            elif self._tls is None:
                server = await loop.create_server(factory, sock=sock)
            else:
                server = TlsServer(sock, self._tls, factory)
            self.servers.append(server)  # type: ignore[arg-type]  # only closed and waited for
        self.started = True
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends attached streams, lets open requests finish, closes."""
        self.attachments.close()
        await super().shutdown(sockets)

    async def start(self) -> None:
        """Serves in the background, without touching signals; returns when it listens."""
        self._task = asyncio.create_task(self._serve())
        waiting = asyncio.create_task(self.listening.wait())
        await asyncio.wait((self._task, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._task.done():
            await self._task

    async def stop(self) -> None:
        """Stops gracefully and waits until it has."""
        self.should_exit = True
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM stop it; they are not raised again afterwards, so that everything above closes too."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _factory(self, origins: tuple[str, ...]) -> Callable[[], asyncio.Protocol]:
        # SECURITY: the origins that proofs must name belong to the listener; no header can add one.
        state = {**self.lifespan.state, ORIGINS: origins}
        return lambda: BoundedProtocol(self.config, self.server_state, state)


async def serve(
    app: Starlette,
    *,
    socket_path: Path | None,
    host: str = "127.0.0.1",
    port: int | None = 0,
    tls: ServerTls | None = None,
    origins: Sequence[str] = (),
    on_listening: Callable[[Listener], None] = lambda _: None,
) -> None:
    """Binds both sockets and serves until SIGINT, SIGTERM or `Listener.should_exit`; `port` None: no TCP.

    Run it on uvloop. The unix socket's file is removed at the end.
    """
    unix = bind_unix(socket_path) if socket_path else None
    mine = socket_file(socket_path) if socket_path else None
    try:
        tcp = bind_tcp(host, port, tls=tls is not None) if port is not None else None
        listener = Listener(app, unix=unix, tcp=tcp, tls=tls, origins=origins)
        announce = asyncio.create_task(_announce(listener, on_listening))
        try:
            await listener.serve()
        finally:
            announce.cancel()
    finally:
        if unix is not None and socket_path is not None:
            remove_socket(socket_path, mine)
            unix.close()


async def _announce(listener: Listener, on_listening: Callable[[Listener], None]) -> None:
    await listener.listening.wait()
    try:
        on_listening(listener)
    except Exception:  # noqa: BLE001 - it listens already; nobody waits for this task
        _log.exception("the service listens, but what follows on that failed")
