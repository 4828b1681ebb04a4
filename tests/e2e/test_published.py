"""The service publishes its records as a log, within a second, and goes on with it after whatever happened."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import subprocess
import time

import pytest

from remit.app.folder import Folder
from remit.core.decisions import Outcome
from remit.core.errors import RemitError, Unavailable
from remit.ledger.published import verify_log
from remit.ledger.tlog.folder import published
from remit.ledger.tlog.note import VerifierKey, read_key
from remit.ledger.tlog.source import FolderSource
from tests.e2e.service import REMIT, Forked, Service, fork_context, grants, point, service, told

LOG = ".remit/log"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*REMIT, *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture
def publishing(folder: Folder) -> Folder:
    with (folder.root / "remit.toml").open("a") as file:
        file.write(f'[ledger]\nfolder = "{LOG}"\n')
    return folder


def key_of(folder: Folder) -> VerifierKey:
    return read_key(run("log", "key", "--project", str(folder.root)).stdout.strip())


def records_of(folder: Folder) -> int:
    with sqlite3.connect(f"file:{folder.database}?mode=ro", uri=True) as db:
        (count,) = db.execute("SELECT count(*) FROM records").fetchone()
    db.close()
    return int(count)


async def work(folder: Folder, calls: int) -> None:
    (grant,) = await grants(folder, "work", 1)
    async with await point(folder) as client:
        for n in range(calls):
            decision = await client.authorize(grant, "orders/get", {"order": str(n)})
            await client.report(Outcome(decision=decision.id, digest=decision.digest, result="response"))


def test_what_was_decided_is_published_within_a_second_and_verified_with_the_key_alone(publishing: Folder) -> None:
    with service(publishing):
        key = key_of(publishing)
        asyncio.run(work(publishing, 20))
        recorded, asked = records_of(publishing), time.monotonic()
        while (head := published(publishing.root / LOG, key)) is None or head.checkpoint.size < recorded:
            assert time.monotonic() - asked < 1.0
            time.sleep(0.01)
    found = run("verify", str(publishing.root / LOG), "--key", str(key))
    assert found.returncode == 0, found.stdout + found.stderr
    assert "in order: " in found.stdout
    wrong = run("verify", str(publishing.root / LOG), "--key", "e2e.example/log+00000000+AAAA")
    assert wrong.returncode != 0
    assert "verifier key" in wrong.stderr


def test_kill_9_loses_nothing_of_the_log_and_forks_nothing(publishing: Folder) -> None:
    context, chance = fork_context(), random.Random(4)
    earlier = b""

    async def load(seconds: float) -> None:
        async def caller() -> None:
            try:
                while True:
                    await work(publishing, 5)
            except (Unavailable, RemitError):
                return

        tasks = [asyncio.create_task(caller()) for _ in range(4)]
        await asyncio.sleep(seconds)
        running.kill()
        await asyncio.gather(*tasks, return_exceptions=True)

    for _ in range(12):
        running = Forked(context, publishing)
        asyncio.run(load(chance.uniform(0.2, 0.9)))
        key = key_of(publishing)
        if not earlier and not (publishing.root / LOG / "checkpoint").exists():
            continue  # killed before anything was published
        report = verify_log(FolderSource(publishing.root / LOG), key, earlier=earlier)
        assert not report.findings, told(report)
        earlier = (publishing.root / LOG / "checkpoint").read_bytes()
    running = Forked(context, publishing)
    assert running.stop() == 0
    report = verify_log(FolderSource(publishing.root / LOG), key, earlier=earlier)
    assert not report.findings, told(report)
    assert report.records == records_of(publishing)


def test_records_restored_from_an_old_backup_stop_the_start(publishing: Folder) -> None:
    with service(publishing):
        asyncio.run(work(publishing, 3))
    backup = publishing.state / "backup.db"
    shutil.copy(publishing.database, backup)
    with service(publishing):
        asyncio.run(work(publishing, 3))
    for suffix in ("-wal", "-shm"):
        publishing.database.with_name(publishing.database.name + suffix).unlink(missing_ok=True)
    shutil.copy(backup, publishing.database)
    with pytest.raises(AssertionError, match=r"restored from an older copy|those that the published log ends with"):
        Service(publishing)
