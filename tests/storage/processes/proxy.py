"""Stands between a store and its database, and cuts the connection at a chosen statement."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

# Before the server has the statement; or after it has done it, and before anybody hears of that.
Moment = Literal["before", "after"]


class Proxy:
    """Reads PostgreSQL's protocol (version 3) as it passes."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()
        self._cut: tuple[str, Moment] | None = None
        self.cuts = 0
        self.is_up = True
        self.flowing = asyncio.Event()
        self.flowing.set()

    @property
    def url(self) -> str:
        """Where the store connects to."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        user = self._url.netloc.rpartition("@")[0]
        return urlunsplit(self._url._replace(netloc=f"{user}@127.0.0.1:{port}", query="sslmode=disable"))

    def cut(self, statement: str, moment: Moment) -> None:
        """Cuts the connection on which a statement with this text comes next."""
        self._cut = (statement, moment)

    def drop(self) -> None:
        """Cuts every connection."""
        for task in list(self._passing):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            if self.is_up:
                await self._pass(reader, writer)
        except (asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._passing.discard(task)
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to = await asyncio.open_connection("127.0.0.1", self._url.port)
        back = asyncio.create_task(self._return(there, writer))
        statements: dict[bytes, str] = {}
        try:
            length = await reader.readexactly(4)
            to.write(length + await reader.readexactly(struct.unpack("!I", length)[0] - 4))
            while True:
                head = await reader.readexactly(5)
                await self.flowing.wait()
                body = await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)
                moment = self._moment(head[:1], body, statements)
                if moment == "before":
                    return
                to.write(head + body)
                if moment == "after":
                    back.cancel()
                    while head[:1] not in (b"S", b"Q"):
                        head = await reader.readexactly(5)
                        to.write(head + await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4))
                    await self._done(there)
                    return
                await to.drain()
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
            to.transport.abort()

    async def _return(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await there.read(65_536):
                await self.flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def _done(self, there: asyncio.StreamReader) -> None:
        """Waits until the server is ready for the next statement."""
        while True:
            head = await there.readexactly(5)
            await there.readexactly(struct.unpack("!I", head[1:])[0] - 4)
            if head[:1] == b"Z":
                return

    def _moment(self, kind: bytes, body: bytes, statements: dict[bytes, str]) -> Moment | None:
        text = ""
        if kind == b"Q":
            text = body[:-1].decode()
        elif kind == b"P":
            name, query, _ = body.split(b"\0", 2)
            statements[name] = query.decode()
        elif kind == b"B":
            text = statements.get(body.split(b"\0", 2)[1], "")
        if self._cut is None or self._cut[0] not in text:
            return None
        (_, moment), self._cut = self._cut, None
        self.cuts += 1
        return moment


@asynccontextmanager
async def between(url: str) -> AsyncIterator[Proxy]:
    """A proxy before the database at `url`."""
    proxy = Proxy(url)
    proxy._server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
    try:
        yield proxy
    finally:
        proxy._server.close()
        proxy.drop()
        while proxy._passing:
            await asyncio.sleep(0.01)
        await proxy._server.wait_closed()
