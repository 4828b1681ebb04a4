"""A running service of an AuthZEN example, as `remit up` starts it, and questions as its harness asks them."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from tests.identity.certificates import authority, make

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "authzen"
VECTORS = ROOT.parent / "shared" / "vectors" / "authzen"
START_SECONDS = 30.0
WEB = authority("web authority")
SERVER = make("service", by=WEB, dns=["localhost"], ips=[ip_address("127.0.0.1")])


class Scenario:
    """Where the service answers, and the key that opens it."""

    def __init__(self, folder: Path, port: int, log: Path, trusted: ssl.SSLContext | None = None) -> None:
        self.folder = folder
        self.port = port
        self.url = f"http{'s' if trusted else ''}://127.0.0.1:{port}"
        self.log = log
        self.connection = (
            http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=trusted)
            if trusted
            else http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        )

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
def scenario(name: str, folder: Path, *, tls: bool = False) -> Iterator[Scenario]:
    """`remit up --project <a copy of the example>`, until the block ends; with `tls`, under a certificate."""
    copy = folder / name
    shutil.copytree(EXAMPLES / name, copy, ignore=shutil.ignore_patterns(".remit"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = copy / "remit.toml"
    listen = f'listen = "127.0.0.1:{port}"'
    trusted = None
    if tls:
        certificate, key = SERVER.write(folder, "server")
        listen += f'\ntls_certificate = "{certificate}"\ntls_key = "{key}"'
        trusted = ssl.create_default_context(cadata=WEB.certificate.public_bytes(Encoding.PEM).decode())
    settings.write_text(re.sub(r'listen = "127\.0\.0\.1:\d+"', lambda _: listen, settings.read_text()))
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
        served = Scenario(copy, port, log, trusted)
        yield served
        served.connection.close()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0, log.read_text()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
