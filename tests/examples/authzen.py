"""A running service of an AuthZEN example, as `remit up` starts it, and questions as its harness asks them."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "authzen"
VECTORS = ROOT.parent / "shared" / "vectors" / "authzen"
START_SECONDS = 30.0


class Scenario:
    """Where the service answers, and the key that opens it."""

    def __init__(self, folder: Path, port: int, log: Path) -> None:
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    @property
    def key(self) -> str:
        """What the harness sends as `Authorization`."""
        return "Bearer " + (self.folder / ".remit/keys/pep-interop.bearer").read_text().strip()

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Status and JSON of the answer; with the key, unless `headers` say otherwise."""
        sent = {"Authorization": self.key, "Content-Type": "application/json", **headers}
        self.connection.request("POST", path, json.dumps(body), {name: value for name, value in sent.items() if value})
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of an answer that needs no key."""
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())


@contextmanager
def scenario(name: str, folder: Path) -> Iterator[Scenario]:
    """`remit up --project <a copy of the example>`, until the block ends."""
    copy = folder / name
    shutil.copytree(EXAMPLES / name, copy, ignore=shutil.ignore_patterns(".remit"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = copy / "remit.toml"
    settings.write_text(re.sub(r'listen = "127\.0\.0\.1:\d+"', f'listen = "127.0.0.1:{port}"', settings.read_text()))
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "remit", "up", "--project", str(copy)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(os.environ),
        )
    try:
        until = time.monotonic() + START_SECONDS
        while not _answers(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        served = Scenario(copy, port, log)
        yield served
        served.connection.close()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0, log.read_text()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
