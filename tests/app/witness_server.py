"""A witness over HTTP in this process, of which a test says how it misbehaves."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from remit.ledger.tlog.note import Signer, VerifierKey
from remit.ledger.tlog.witness import Reply, Witness
from tests.ledger.tlog.test_notes import LOG

LOGS: Final = {LOG.key.name: LOG.key}


class WitnessServer:
    """What it answers, and what it was asked."""

    def __init__(self, folder: Path, signer: Signer, logs: Mapping[str, VerifierKey]) -> None:
        self.alarms: list[str] = []
        self.witness = Witness(folder, signer, logs, alarm=self.alarms.append)
        self.key = signer.key
        self.url = ""
        self.delay = 0.0
        self.instead: Reply | None = None  # of what it would answer
        self.asked: list[str] = []


@contextmanager
def witness_server(folder: Path, signer: Signer, logs: Mapping[str, VerifierKey] = LOGS) -> Iterator[WitnessServer]:
    """Such a witness, on a free port of loopback."""
    stage = WitnessServer(folder, signer, logs)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(stage.instead or stage.witness.add_checkpoint(body, int(time.time())))

        def do_GET(self) -> None:
            self._answer(stage.instead or stage.witness.latest(self.path.split("/")[1]))

        def _answer(self, reply: Reply) -> None:
            stage.asked.append(f"{self.command} {self.path.rpartition('/')[2]} {reply.status}")
            time.sleep(stage.delay)
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.media)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        stage.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield stage
        server.shutdown()
