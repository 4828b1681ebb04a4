"""Standard input and output as asyncio sees them: pipes, sockets and terminals, and plain files beside them."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from contextlib import suppress
from typing import Final, cast

_COPY: Final = 64 * 1024


class Outlet(asyncio.BaseProtocol):
    """A way out that keeps what its reader does not take yet; `waiting` says how much that is."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self._free = asyncio.Event()
        self._free.set()
        self._transport: asyncio.WriteTransport | None = None
        self._file = -1

    def write(self, data: bytes) -> None:
        """Writes, or keeps for later; what is written after the reader has gone is lost."""
        if self._transport is not None:
            if not self._transport.is_closing():
                self._transport.write(data)
        elif self._file >= 0:
            _write_all(self._file, data)

    async def drain(self) -> None:
        """Returns when there is room again, or the reader has gone."""
        await self._free.wait()

    async def flush(self) -> None:
        """Ends it when everything is written, or the reader has gone."""
        if self._transport is not None:
            self._transport.close()
            await self.closed.wait()

    @property
    def waiting(self) -> int:
        """Bytes that the reader has not taken."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def close(self) -> None:
        """Ends it; what is still kept is lost."""
        if self._transport is not None and not self.closed.is_set():
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's does not inherit it

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        self._free.set()

    def pause_writing(self) -> None:
        self._free.clear()

    def resume_writing(self) -> None:
        self._free.set()


async def open_inlet(fd: int) -> asyncio.StreamReader:
    """What arrives at `fd`, which stays open."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**20, loop=loop)
    pipe = os.dup(fd) if _is_stream(fd) else _fed_by_thread(fd)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader, loop=loop), os.fdopen(pipe, "rb"))
    return reader


async def open_outlet(fd: int) -> Outlet:
    """The way out at `fd`, which stays open."""
    outlet = Outlet()
    if _is_stream(fd):
        await asyncio.get_running_loop().connect_write_pipe(lambda: outlet, os.fdopen(os.dup(fd), "wb"))
    else:
        outlet._file = fd
    return outlet


def _is_stream(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or (stat.S_ISCHR(mode) and os.isatty(fd))


def _fed_by_thread(fd: int) -> int:
    """A pipe that a thread fills from a file, which an event loop can't wait for."""
    out, into = os.pipe()

    def copy() -> None:
        with suppress(OSError):
            while data := os.read(fd, _COPY):
                _write_all(into, data)
        os.close(into)

    threading.Thread(target=copy, name="remit-gateway-input", daemon=True).start()
    return out


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
