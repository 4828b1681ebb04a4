"""Three processes publish one log: each to a folder of its own, one of them elected, whatever becomes of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from remit.app.folder import Folder
from remit.app.local import connect_as
from remit.app.publishing import log_signer
from remit.app.records import reader_of
from remit.core.decisions import Outcome
from remit.ledger.published import verify_log
from remit.ledger.tlog.folder import LogFolder, published
from remit.ledger.tlog.note import VerifierKey, read_key
from remit.ledger.tlog.source import FolderSource
from remit.ledger.tlog.tiles import bundles_of, decode_bundle, tiles_of
from tests.e2e.cluster import Cluster
from tests.e2e.service import Service, grants, told
from tests.e2e.test_published import run
from tests.e2e.test_witness import WitnessProcess, witnessed
from tests.postgres import PostgresServer

LOG = ".remit/log"
SOON = 2.0  # with three processes and a database on two cores; docs/design/ledger.md has what a quiet machine needs


class Publishing(Cluster):
    """Three processes that publish."""

    def __init__(self, root: Path, server: PostgresServer) -> None:
        self.server, self.url = server, server.database()
        super().__init__(root, self.url)
        for folder in self.folders:
            with (folder.root / "remit.toml").open("a") as file:
                file.write(f'[ledger]\nfolder = "{LOG}"\n')
        self.start(0)
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.start, (1, 2)))
        self.key = self.key_of(0)

    def key_of(self, number: int) -> VerifierKey:
        return read_key(run("log", "key", "--project", str(self.folders[number].root)).stdout.strip())

    def log_of(self, number: int) -> Path:
        return self.folders[number].root / LOG

    def size(self, number: int) -> int:
        signed = published(self.log_of(number), self.key)
        return signed.checkpoint.size if signed else 0

    def sql(self, statement: str) -> str:
        return self.server.sql(f"SET search_path TO remit; {statement}", self.url)[0]

    def leader(self) -> int:
        """The number of the process that was elected last."""
        pid = int(self.sql("SELECT leader FROM agreed").rpartition("/")[2])
        return next(number for number, each in enumerate(self.services) if each and each.process.pid == pid)

    def records(self) -> list[bytes]:
        with reader_of(self.folders[0]) as reader:
            return [stored.data for stored in reader.records()]

    def caught_up(self, *numbers: int) -> Callable[[], bool]:
        total = len(self.records())
        return lambda: all(self.size(number) >= total for number in numbers)

    def work(self, number: int, calls: int = 5) -> None:
        async def work() -> None:
            (grant,) = await grants(self.folders[number], "work", 1)
            async with await connect_as(self.folders[number], "pep/gateway") as client:
                for n in range(calls):
                    decision = await client.authorize(grant, "orders/get", {"order": str(n)})
                    await client.report(Outcome(decision=decision.id, digest=decision.digest, result="response"))

        asyncio.run(work())


@pytest.fixture
def made(short_path: Path, postgres: PostgresServer) -> Iterator[Publishing]:
    cluster = Publishing(short_path, postgres)
    yield cluster
    for running in cluster.running():
        running.process.send_signal(signal.SIGCONT)
        running.kill()


def until(reached: Callable[[], bool], seconds: float = 10.0) -> float:
    began = time.monotonic()
    while not reached():
        assert time.monotonic() < began + seconds
        time.sleep(0.02)
    return time.monotonic() - began


def entries(folder: Path, size: int) -> list[bytes]:
    return [
        entry for tile in bundles_of(size) for entry in decode_bundle((folder / tile.path).read_bytes(), tile.width)
    ]


def the_same(made: Publishing, *numbers: int) -> None:
    """The folders hold the same bytes: every record once, streams in order; each verifies with the key alone."""

    def is_all() -> bool:
        """Nothing is recorded any more, and everybody has published everything."""
        heads = {(made.log_of(number) / "checkpoint").read_bytes() for number in numbers}
        return len(heads) == 1 and made.size(numbers[0]) == len(made.records())

    until(made.caught_up(*numbers))
    until(is_all)
    size = made.size(numbers[0])
    files = [tile.path for tile in (*tiles_of(size), *bundles_of(size))]
    for number in numbers:
        for path in files:
            assert (made.log_of(number) / path).read_bytes() == (made.log_of(numbers[0]) / path).read_bytes()
        report = verify_log(FolderSource(made.log_of(number)), made.key)
        assert not report.findings, told(report)
    # What a workload practised may be recorded since; all that there was then is published, each record once.
    published = entries(made.log_of(numbers[0]), size)
    assert len(set(published)) == size
    assert set(published) <= set(made.records())


def test_all_publish_the_same_log_and_another_goes_on_when_the_elected_one_is_killed(made: Publishing) -> None:
    assert [made.key_of(number) for number in range(3)] == [made.key] * 3
    for number in range(3):
        made.work(number, 10)
        assert until(made.caught_up(0, 1, 2)) < SOON
    the_same(made, 0, 1, 2)
    found = run("verify", str(made.log_of(2)), "--key", str(made.key))
    assert found.returncode == 0, found.stdout + found.stderr

    killed = made.leader()
    left = [number for number in range(3) if number != killed]
    made.kill(killed)
    made.work(left[0])
    assert until(made.caught_up(*left)) < SOON
    assert made.leader() in left

    # Its folder is lost meanwhile: it is built again, to the same bytes.
    earlier = (made.log_of(killed) / "checkpoint").read_bytes()
    shutil.rmtree(made.log_of(killed))
    made.start(killed)
    made.work(killed)
    the_same(made, 0, 1, 2)
    assert not verify_log(FolderSource(made.log_of(killed)), made.key, earlier=earlier).findings
    for running in made.running():
        assert running.stop() == 0
        assert "ALARM the log" not in running.log.read_text()


def test_an_elected_process_that_is_paused_and_wakes_up_can_not_write(made: Publishing) -> None:
    made.work(0)
    until(made.caught_up(0, 1, 2))
    paused, epoch = made.leader(), int(made.sql("SELECT epoch FROM agreed"))
    running = made.services[paused]
    assert running is not None
    running.process.send_signal(signal.SIGSTOP)
    left = [number for number in range(3) if number != paused]
    made.work(left[0])
    before = made.size(paused)
    until(made.caught_up(*left))
    assert made.leader() in left
    assert int(made.sql("SELECT epoch FROM agreed")) == epoch + 1
    assert made.size(paused) == before
    running.process.send_signal(signal.SIGCONT)
    made.work(paused)
    the_same(made, 0, 1, 2)
    assert int(made.sql("SELECT epoch FROM agreed")) == epoch + 1
    assert "ALARM the log" not in running.log.read_text()


def test_whoever_is_elected_has_it_witnessed(made: Publishing, tmp_path: Path) -> None:
    for running in made.running():
        assert running.stop() == 0
    witness = WitnessProcess(tmp_path / "witness", str(made.key))
    try:
        for number in (0, 1):
            witnessed(made.folders[number], witness)
            made.start(number)
        made.work(1)
        until(made.caught_up(0, 1))
        made.kill(made.leader())
        (left,) = (number for number in (0, 1) if made.services[number] in made.running())
        made.work(left)
        until(made.caught_up(left))
        known = ("--key", str(made.key), "--witness", witness.vkey)
        for number in (0, 1):
            found = run("verify", str(made.log_of(number)), *known)
            assert found.returncode == 0, found.stdout + found.stderr
    finally:
        witness.kill()


def test_what_does_not_belong_to_the_others_does_not_start(made: Publishing) -> None:
    made.work(0)
    until(made.caught_up(0, 1, 2))
    stopped = made.folders[1]

    def refused(folder: Folder, why: str) -> None:
        with pytest.raises(AssertionError, match=why):
            Service(folder)

    running = made.services[1]
    assert running is not None
    assert running.stop() == 0
    # Another key.
    shutil.copy(made.folders[0].root / "../trust/log.pem", stopped.root / "kept.pem")
    (stopped.root / "../trust/log.pem").unlink()
    refused(stopped, "the key of the published log is not here")
    text = (stopped.root / "remit.toml").read_text()
    os.replace(stopped.root / "kept.pem", stopped.root / "../trust/log.pem")
    (stopped.root / "remit.toml").write_text(text + 'name = "example.org/another"\n')
    refused(stopped, "is published under the key")
    # The folder of another process.
    (stopped.root / "remit.toml").write_text(text.replace(LOG, f"../0/{LOG}"))
    refused(stopped, "writes the log in")
    # A folder of another history: one entry was replaced, and signed with the right key.
    (stopped.root / "remit.toml").write_text(text)
    forge(made, stopped)
    refused(stopped, "those that the published log ends with|the one that the processes agreed on")


def forge(made: Publishing, folder: Folder) -> None:
    """Another history in a process's folder, under the same key."""
    kept = entries(folder.root / LOG, made.size(1))
    shutil.rmtree(folder.root / LOG)
    log = LogFolder(folder.root / LOG, log_signer(folder.root / "../trust/log.pem", made.key.name))
    log.extend([b"{}", *kept[1:]])
    log.close()
