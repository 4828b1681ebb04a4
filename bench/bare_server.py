"""A server that answers every request with the same few bytes: what the client alone costs.

`python -m bench.bare_server PORT [CERTIFICATE KEY AUTHORITIES]`; with files it speaks TLS and asks for a certificate.
"""

from __future__ import annotations

import asyncio
import ssl
import sys

import uvloop

BODY = b'{"decision":true}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Bare(asyncio.Protocol):
    """Reads heads and bodies, and nothing of what they say."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # of a stream
        self.waiting = b""

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        while (end := self.waiting.find(b"\r\n\r\n")) >= 0:
            at = self.waiting.lower().find(b"content-length:", 0, end)
            length = int(self.waiting[at + 15 : self.waiting.find(b"\r\n", at)]) if at >= 0 else 0
            if len(self.waiting) < end + 4 + length:
                return
            self.waiting = self.waiting[end + 4 + length :]
            self.transport.write(ANSWER)


async def _serve(port: int, files: list[str]) -> None:
    context = None
    if files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files[0], files[1])
        context.load_verify_locations(files[2])
        context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", port, ssl=context)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), sys.argv[2:]))
