"""A service, its witness and whoever verifies, each a process of its own."""

from __future__ import annotations

import asyncio
import ipaddress
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509

from remit.app.folder import Folder
from remit.core.errors import RemitError
from tests.app.publisher import LocalAuthority
from tests.e2e.service import REMIT, Service, service
from tests.e2e.test_published import LOG, key_of, records_of, run, work


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def until(holds: Callable[[], bool], seconds: float = 15.0) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.02)


class WitnessProcess:
    """`remit witness` for one log, over TLS."""

    def __init__(self, folder: Path, log: str) -> None:
        folder.mkdir()
        self.state = folder / "state"
        self.output = folder / "witness.log"
        authority = LocalAuthority()
        authority.server(folder, x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        (pem,) = folder.glob("server-*.pem")
        pem.chmod(0o600)
        self.ca = authority.pem(folder / "ca.pem")
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._command = [*REMIT, "witness", "--log", log, "--listen", f"127.0.0.1:{self.port}"]
        self._command += ["--state", str(self.state), "--tls-certificate", str(pem), "--tls-key", str(pem)]
        self.start("--name", "witness.example.org/w1")

    def start(self, *more: str) -> None:
        before = self.said().count("listens on")
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*self._command, *more], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        until(lambda: self.said().count("listens on") > before or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()

    def said(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    @property
    def vkey(self) -> str:
        return run("witness", "key", "--state", str(self.state)).stdout.strip()


@pytest.fixture
def publishing(folder: Folder) -> Folder:
    with (folder.root / "remit.toml").open("a") as file:
        file.write(f'[ledger]\nfolder = "{LOG}"\nserve = true\n')
    return folder


def witnessed(folder: Folder, witness: WitnessProcess) -> None:
    named = f'url = "{witness.url}"\nkey = "{witness.vkey}"\nca_file = "{witness.ca}"\n'
    with (folder.root / "remit.toml").open("a") as file:
        file.write(f"quorum = 1\n[[ledger.witnesses]]\n{named}")


def size_of(folder: Folder) -> int:
    note = folder.root / LOG / "checkpoint"
    return int(note.read_text().split("\n")[1]) if note.exists() else 0


def back_up(folder: Folder, to: Path) -> None:
    to.mkdir()
    with sqlite3.connect(folder.database) as db, sqlite3.connect(to / "remit.db") as copy:
        db.backup(copy)
    db.close()
    copy.close()
    shutil.copytree(folder.root / LOG, to / "log")


def restore(folder: Folder, backup: Path) -> None:
    """The records and the log as they were: nothing on this machine knows better."""
    for suffix in ("-wal", "-shm"):
        folder.database.with_name(folder.database.name + suffix).unlink(missing_ok=True)
    shutil.copy(backup / "remit.db", folder.database)
    shutil.rmtree(folder.root / LOG)
    shutil.copytree(backup / "log", folder.root / LOG)


def test_an_outsider_verifies_over_http_with_the_witness_while_records_are_written(
    publishing: Folder, tmp_path: Path
) -> None:
    key = key_of(publishing)
    witness = WitnessProcess(tmp_path / "w", str(key))
    witnessed(publishing, witness)
    port = free_port()
    stopping = threading.Event()

    def load() -> None:
        while not stopping.is_set():
            with suppress(RemitError):
                asyncio.run(work(publishing, 20))

    with service(publishing, "--listen", f"127.0.0.1:{port}") as running:
        writing = threading.Thread(target=load)
        writing.start()
        try:
            until(lambda: size_of(publishing) > 200)
            before = size_of(publishing)
            command = ["verify", f"http://127.0.0.1:{port}/log", "--key", str(key), "--witness", witness.vkey]
            found = run(*command)
            assert found.returncode == 0, found.stdout + found.stderr
            assert size_of(publishing) > before
        finally:
            stopping.set()
            writing.join()
        # A witness that is killed and comes back goes on where it was; in between, records are pending.
        until(lambda: size_of(publishing) == records_of(publishing))
        witness.kill()
        asyncio.run(work(publishing, 2))
        until(lambda: "ALARM the log can't be published" in running.log.read_text())
        assert size_of(publishing) < records_of(publishing)
        witness.start()
        until(lambda: size_of(publishing) == records_of(publishing))
        assert "cosigns again" in running.log.read_text()
    assert witness.stop() == 0
    assert "ALARM" not in witness.said()
    assert (witness.state / "key.pem").stat().st_mode & 0o777 == 0o600


def test_a_restored_backup_is_refused_and_a_fork_is_noticed_by_the_witness(publishing: Folder, tmp_path: Path) -> None:
    witness = WitnessProcess(tmp_path / "w", str(key_of(publishing)))
    witnessed(publishing, witness)
    backup = tmp_path / "backup"
    with service(publishing):
        asyncio.run(work(publishing, 3))
        until(lambda: size_of(publishing) == records_of(publishing))
        back_up(publishing, backup)
        asyncio.run(work(publishing, 3))
    restore(publishing, backup)
    with pytest.raises(AssertionError, match="restored from an older copy"):
        Service(publishing)
    # Somebody starts it while the witness can't be reached: nothing is published without it.
    witness.kill()
    restored = size_of(publishing)
    running = Service(publishing)
    asyncio.run(work(publishing, 9))
    until(lambda: "ALARM no witness answers" in running.log.read_text())
    witness.start()
    until(lambda: "has cosigned other first" in running.log.read_text())
    assert size_of(publishing) == restored
    running.stop()
    assert "it was forked" in witness.said()
    offered = list(witness.state.glob("*/evidence/*/offered"))
    assert offered
    assert all(each.with_name("cosigned").exists() for each in offered)
    assert witness.stop() == 0
