"""What a server sends is bounded before it is believed, also where it is compressed."""

from __future__ import annotations

import gzip
import http.server
import socket
import threading
import zlib
from collections.abc import Iterator

import pytest

from remit.core.errors import InvalidInput, NotFound, RemitError, Unavailable
from remit.ledger.tlog.source import HttpSource

DATA = b"entry" * 200
ANSWERS: dict[str, tuple[int, str, bytes]] = {
    "/plain": (200, "", DATA),
    "/identity": (200, "identity", DATA),
    "/gzip": (200, "gzip", gzip.compress(DATA)),
    "/bomb": (200, "gzip", gzip.compress(bytes(50_000_000))),
    "/cut": (200, "gzip", gzip.compress(DATA)[:-9]),
    "/more": (200, "gzip", gzip.compress(DATA) + b"more"),
    "/none": (200, "gzip", b""),
    "/deflate": (200, "deflate", zlib.compress(DATA)),
    "/long": (200, "", DATA * 2),
    "/gone": (410, "", b""),
    "/busy": (503, "", b""),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert self.headers["Accept-Encoding"] == "gzip, identity"
        status, coding, data = ANSWERS[self.path]
        self.send_response(status)
        if coding:
            self.send_header("Content-Encoding", coding)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def source() -> Iterator[HttpSource]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield HttpSource(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()


@pytest.mark.parametrize("path", ["plain", "identity", "gzip"])
def test_it_is_read_compressed_or_not(source: HttpSource, path: str) -> None:
    assert source.read(path, len(DATA)) == DATA


@pytest.mark.parametrize(
    ("path", "error", "code"),
    [
        ("bomb", InvalidInput, "log_file_too_large"),
        ("long", InvalidInput, "log_file_too_large"),
        ("cut", Unavailable, "log_unreadable"),
        ("more", Unavailable, "log_unreadable"),
        ("none", Unavailable, "log_unreadable"),
        ("deflate", Unavailable, "log_unreadable"),
        ("gone", NotFound, "log_file_missing"),
        ("busy", Unavailable, "log_unreadable"),
    ],
)
def test_what_is_too_much_or_not_what_it_says_is_refused(
    source: HttpSource, path: str, error: type[RemitError], code: str
) -> None:
    with pytest.raises(error) as caught:
        source.read(path, len(DATA))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nothing of HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\ncut off",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200,
        b"HTTP/1.1 " + b"2" * 100_000,
    ],
)
def test_whatever_a_server_sends_is_an_error_and_no_fault(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        port = listening.getsockname()[1]
        with pytest.raises(Unavailable) as caught:
            HttpSource(f"http://127.0.0.1:{port}").read("checkpoint", 1000)
    assert caught.value.code == "log_unreadable"
