"""Several `remit up` processes on one PostgreSQL database, each with a folder, a socket and keys of its own to use."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from remit.app.folder import Folder
from tests.e2e.service import Service, write_project
from tests.storage.places import use_postgres

T = TypeVar("T")


class Cluster:
    """Folders `0`, `1`, … with the same files; they share the database and the folder of signing keys.

    The identities' keys are made by the first process and copied, so that a test can ask at every socket.
    """

    def __init__(
        self,
        root: Path,
        url: str,
        count: int = 3,
        *,
        urls: tuple[str, ...] = (),
        origin: str = "",
    ) -> None:
        """`urls` are ways to the same database for single processes, through a proxy.

        With `origin` all of them are reached by that name too, each listening at a port of its own.
        """
        first = write_project(root / "0")
        text = (first.root / "remit.toml").read_text()
        if origin:
            text = text.replace("[service]\n", f'[service]\norigins = ["{origin}"]\n')
        self.ports = [free_port() if origin else 0 for _ in range(count)]
        (first.root / "remit.toml").write_text(text + '\n[identity]\ntrust = "../trust"\n')
        self.folders = [first, *(Folder(root / str(number)) for number in range(1, count))]
        for folder in self.folders[1:]:
            shutil.copytree(first.root, folder.root)
        for number, folder in enumerate(self.folders):
            use_postgres(folder.root, urls[number] if number < len(urls) and urls[number] else url)
        self.services: list[Service | None] = [None] * count

    def start(self, number: int) -> Service:
        """Starts one process."""
        if number and self.folders[0].keys.exists() and not self.folders[number].keys.exists():
            shutil.copytree(self.folders[0].keys, self.folders[number].keys)
            self.folders[number].state.chmod(0o700)
        options = ("--listen", f"127.0.0.1:{self.ports[number]}") if self.ports[number] else ()
        running = self.services[number] = Service(self.folders[number], *options)
        return running

    def kill(self, number: int) -> None:
        """kill -9 of one process."""
        running = self.services[number]
        assert running is not None
        running.kill()

    def running(self) -> list[Service]:
        """Those that have not ended."""
        return [each for each in self.services if each is not None and each.process.poll() is None]

    def log(self, number: int) -> str:
        """What one process has written to its log."""
        return (self.folders[number].root / "service.log").read_text()


@contextmanager
def cluster(
    root: Path,
    url: str,
    count: int = 3,
    *,
    urls: tuple[str, ...] = (),
    origin: str = "",
    at_once: bool = False,
) -> Iterator[Cluster]:
    """All of them for a block; those that run at the end are stopped, and must have stopped well.

    `at_once`: none begins before the others, so that each makes keys of its own.
    """
    made = Cluster(root, url, count, urls=urls, origin=origin)
    try:
        if not at_once:
            made.start(0)
        with ThreadPoolExecutor() as pool:
            list(pool.map(made.start, range(0 if at_once else 1, count)))
        yield made
        for running in made.running():
            assert running.stop() == 0, running.log.read_text()
    finally:
        for running in made.running():
            running.kill()


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Proxy:
    """A way to a database that can be cut, on a port of its own; it runs in a thread.

    `on_sent(data)` sees what a client sends and returns True to cut the connection: before the data is passed on, or
    after it and before its answer, when `passes` is set.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._there = (parts.hostname or "", parts.port or 0)
        self.on_sent: Callable[[bytes], bool] = lambda _: False
        self.passes = False
        self.cuts = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        port = self._server.sockets[0].getsockname()[1]
        self.url = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl()

    def cut(self) -> None:
        """Cuts every connection."""

        async def cut() -> None:
            for writer in list(self._open):
                writer.transport.abort()

        self._run(cut())

    def close(self) -> None:
        """Ends it; nothing gets through any more."""
        if self._loop.is_closed():
            return

        async def end() -> None:
            self._server.close()
            for writer in list(self._open):
                writer.transport.abort()
            await asyncio.sleep(0.05)

        self._run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._there)
        except OSError:
            writer.close()
            return
        self._open |= {writer, there_writer}
        mute = asyncio.Event()
        try:
            done, waiting = await asyncio.wait(
                (
                    asyncio.create_task(self._forth(reader, there_writer, mute)),
                    asyncio.create_task(self._back(there_reader, writer, mute)),
                ),
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in waiting:
                task.cancel()
            await asyncio.gather(*done, *waiting, return_exceptions=True)
        finally:
            for each in (writer, there_writer):
                self._open.discard(each)
                each.transport.abort()

    def _sent(self, data: bytes) -> bool:
        cut = self.on_sent(data)
        self.cuts += cut
        return cut

    async def _forth(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mute: asyncio.Event) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                cut = self._sent(data)
                if cut and not self.passes:
                    return
                if cut:
                    mute.set()
                writer.write(data)
                await writer.drain()
                if cut:
                    await asyncio.sleep(0.05)  # so that it is carried out
                    return

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mute: asyncio.Event) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if not mute.is_set():
                    writer.write(data)
                    await writer.drain()


@contextmanager
def proxied(url: str) -> Iterator[Proxy]:
    """A proxy for a block."""
    proxy = Proxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
