"""A real syslog server (rsyslog) takes what is forwarded, over TCP and over TLS, also when it comes back late."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from remit.app.folder import Folder
from remit.core.errors import Unavailable
from tests.app.forwarding.stage import act, make
from tests.app.forwarding.test_forwarding import events, forward, send, stored
from tests.app.publisher import LocalAuthority

RSYSLOGD = shutil.which("rsyslogd", path="/usr/sbin:/sbin:/usr/bin") or "/usr/sbin/rsyslogd"
# One JSON object a line: the fields that the server has read, and the structured data.
TEMPLATE = """template(name="line" type="list" option.jsonf="on") {
  property(outname="priority" name="pri" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="kind" name="msgid" format="jsonf")
  property(outname="data" name="structured-data" format="jsonf")
  property(outname="text" name="msg" format="jsonf")
}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def rsyslog(folder: Path, port: int, tls: str = "") -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    out = folder / "out.jsonl"
    driver = 'StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"' if tls else ""
    (folder / "rsyslog.conf").write_text(
        f'global(workDirectory="{folder}" maxMessageSize="16k" {tls})\n'
        f'module(load="imtcp" {driver})\n{TEMPLATE}'
        f'input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="all")\n'
        f'ruleset(name="all") {{ action(type="omfile" file="{out}" template="line" flushOnTXEnd="on") }}\n'
    )
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [RSYSLOGD, "-n", "-f", folder / "rsyslog.conf", "-i", folder / "pid"],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "stderr").read_text()
                assert time.monotonic() < until
                time.sleep(0.02)
        yield out
    finally:
        process.terminate()
        process.wait(20)


def read(out: Path, count: int) -> list[dict[str, str]]:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        lines = out.read_text().splitlines() if out.exists() else []
        if len(lines) >= count:
            return [json.loads(line) for line in lines]
        time.sleep(0.02)
    raise AssertionError(f"{len(lines)} of {count} messages arrived")


def check(folder: Folder, lines: list[dict[str, str]]) -> None:
    wanted = events(folder)
    assert [line["kind"] for line in lines] == [event.kind for event in wanted]
    for line, event in zip(lines, wanted, strict=True):
        assert line["app"] == "remit"
        assert f'uid="{event.uid}"' in line["data"]
        assert line["text"].strip("\ufeff ") == event.text.strip()


def test_a_real_syslog_server_reads_every_field(tmp_path: Path) -> None:
    port = free_port()
    folder = make(tmp_path / "p", forward("siem", "syslog", f"tcp://127.0.0.1:{port}"))
    asyncio.run(act(folder, permits=40))
    with pytest.raises(Unavailable, match="refused"):
        send(folder)  # nobody listens yet
    with rsyslog(tmp_path / "server", port) as out:
        assert send(folder) == len(stored(folder))
        check(folder, read(out, len(stored(folder))))


def test_over_tls_with_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    authority = LocalAuthority()
    authority.server(tmp_path, x509.DNSName("localhost"))
    [pem] = tmp_path.glob("server-*.pem")
    certificate, parted, key = pem.read_text().partition("-----BEGIN PRIVATE KEY-----")
    (tmp_path / "cert.pem").write_text(certificate)
    (tmp_path / "key.pem").write_text(parted + key)
    authority.pem(tmp_path / "ca.pem")
    files = {"CAFile": "ca.pem", "CertFile": "cert.pem", "KeyFile": "key.pem"}
    tls = " ".join(f'defaultNetstreamDriver{name}="{tmp_path / file}"' for name, file in files.items())
    port = free_port()
    trusted = forward("siem", "syslog", f"tls://localhost:{port}", ca_file="../ca.pem")
    folder = make(tmp_path / "p", trusted + forward("other", "syslog", f"tls://localhost:{port}"))
    asyncio.run(act(folder))
    with rsyslog(tmp_path / "server", port, tls) as out:
        with pytest.raises(Unavailable, match="not trusted"):
            send(folder, "other")
        send(folder)
        check(folder, read(out, len(stored(folder))))
