"""An installation with a short history, and receivers on loopback."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench.installation import ACTION, INPUT, write_project
from remit.app.embedded import Embedded
from remit.app.folder import Folder
from remit.app.installation import Installation, open_installation
from remit.core.decisions import Decision, Outcome
from remit.core.trace import within
from tests.faults.victim import start

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SECRET = "What became of my order?"  # the prompt: a personal value


def make(root: Path, settings: str = "") -> Folder:
    """A project with `[[forward]]` settings."""
    root.mkdir()
    write_project(root, 1, settings)
    return Folder(root)


async def act(folder: Folder, permits: int = 1, opened: Installation | None = None) -> list[Decision]:
    """A task with permits in the agent's trace, their outcomes, a denial without a trace, and its end."""
    installation = opened or await open_installation(folder)
    try:
        grant = await start(installation)
        point = Embedded(installation, "pep/point", owns=False)
        decisions = []
        for _ in range(permits):
            with within(TRACE):
                decisions.append(await point.authorize(grant, ACTION, INPUT))
            await point.report(
                Outcome(decision=decisions[-1].id, digest=decisions[-1].digest, result="response", bytes=7)
            )
        decisions.append(await point.authorize(grant, "orders/no_such_tool", {"a": "b"}))
        await Embedded(installation, "person/operator", owns=False).end_task(grant.task, "completed", "done")
        return decisions
    finally:
        if opened is None:
            await installation.close()


class Receiver:
    """What was posted, and what is answered."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = []  # statuses, one a request; then 200
        self.url = ""

    def bodies(self, path: str) -> list[bytes]:
        """The bodies that were posted to a path."""
        return [body for asked, _, body in self.requests if asked == path]


@contextmanager
def receiving(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver over HTTP, or with TLS."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.answers.pop(0) if receiver.answers else 200
            receiver.requests.append((self.path, dict(self.headers), body))
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", receiver.url + "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver.url = f"{'https://localhost' if context else 'http://127.0.0.1'}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
