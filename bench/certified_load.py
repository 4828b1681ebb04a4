"""A load generator for connections with a client certificate, which `wrk` does not make; in a process of its own.

`python -m bench.certified_load URL SERVER REQUEST CERTIFICATE KEY AUTHORITIES CONNECTIONS SECONDS` sends the bytes in
the file REQUEST again and again, one at a time on each connection, and prints what came of it as one line of JSON.
SERVER is the process whose time is taken too. The clock runs once every connection has shaken hands.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from bench.processes import cpu_of
from bench.result import percentile


class Connection(asyncio.Protocol):
    """Sends, waits for the whole answer, takes the time, and sends again until the end."""

    def __init__(self, request: bytes, times: list[float], ended: asyncio.Future[int]) -> None:
        self.request, self.times, self.ended = request, times, ended
        self.answer = b""
        self.failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # of a stream

    def start(self, until: float) -> None:
        self.until = until
        self._send()

    def data_received(self, data: bytes) -> None:
        self.answer += data
        end = self.answer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self.answer.find(b"content-length:", 0, end)
        if len(self.answer) < end + 4 + int(self.answer[at + 15 : self.answer.find(b"\r\n", at)]):
            return
        now = time.perf_counter()
        self.times.append(now - self.began)
        self.failed += not self.answer.startswith(b"HTTP/1.1 200 ")
        if now < self.until:
            self._send()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(self.failed + (error is not None))

    def _send(self) -> None:
        self.answer = b""
        self.began = time.perf_counter()
        self.transport.write(self.request)


async def _run(url: str, server: int, request: bytes, files: list[str], connections: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context(cafile=files[2])
    context.load_cert_chain(files[0], files[1])
    parts = urlsplit(url)
    times: list[float] = []
    opened = []
    protocols = []
    for _ in range(connections):
        ended: asyncio.Future[int] = loop.create_future()
        opened.append(ended)
        _, protocol = await loop.create_connection(
            lambda ended=ended: Connection(request, times, ended),  # type: ignore[misc]  # bound now
            parts.hostname or "",
            parts.port or 443,
            ssl=context,
        )
        protocols.append(protocol)
    client, served, began = time.process_time(), cpu_of(server), time.perf_counter()
    for each in protocols:
        each.start(began + seconds)
    failed = sum(await asyncio.gather(*opened))
    said = {
        "requests": len(times),
        "seconds": time.perf_counter() - began,
        "p50_ms": percentile(times, 0.5) * 1000,
        "p99_ms": percentile(times, 0.99) * 1000,
        "failed": failed,
        "client_cpu_s": time.process_time() - client,
        "server_cpu_s": cpu_of(server) - served,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    url, server, file, *files, connections, seconds = sys.argv[1:]
    uvloop.run(_run(url, int(server), Path(file).read_bytes(), files, int(connections), float(seconds)))
