"""`ledger`: records appended durably, published, and verified; beside plain SQLite with the same bytes and batches.

The appends are real permits and outcomes with their state, without policy evaluation: a work each, as the service
runs them. The plain side inserts the very bytes that were appended, as many a commit, into a table of one column.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.installation import ACTION, INPUT, grant, installation
from bench.result import Claim, Result, percentile
from remit.app.embedded import Embedded
from remit.app.installation import Installation
from remit.app.publishing import Publisher, open_publisher
from remit.core.decisions import Outcome
from remit.decide.sequence import Entry, Needs, Step
from remit.decide.world import World
from remit.ledger.record import decode_record
from remit.ledger.tlog.audit import Audit
from remit.ledger.tlog.folder import LogFolder
from remit.ledger.tlog.note import Signer
from remit.ledger.tlog.source import FolderSource

_LEDGER = '[ledger]\nfolder = ".remit/log"\n'
_STEADY = 200  # records a second while the way to the published tile is timed


def run(*, quick: bool = False) -> Result:
    """Measures and returns rows and claims."""
    return uvloop.run(_run(0.5 if quick else 5.0, 20_000 if quick else 300_000))


async def _run(seconds: float, entries: int) -> Result:
    result = Result()
    rate, share = 0.0, 0.0
    for callers in (1, 32, 256):
        appended = await _append(callers, seconds)
        plain = _plain(appended.data, max(1, round(appended.per_commit)))
        awaited = await _awaited(appended.data, callers, seconds)
        rate, share = appended.rate, appended.rate / plain
        result.rows.append(
            {
                "what": "records appended",
                "callers": callers,
                "per_second": round(appended.rate),
                "p50_ms": round(percentile(appended.times, 0.5) * 1000, 2),
                "p99_ms": round(percentile(appended.times, 0.99) * 1000, 2),
                "per_commit": round(appended.per_commit, 1),
                "plain_per_second": round(plain),
                "ratio": round(share, 2),
                "plain_awaited_per_second": round(awaited),
            }
        )
    result.rows += [await _decision(None, seconds), await _decision(_LEDGER, seconds)]
    published = await _published(max(2.0, seconds * 2))
    result.rows.append({"what": "record to published tile", **published})
    verified = _verified(appended.data, entries)
    result.rows.append({"what": "cryptography verified", "per_second": round(verified["rate"]), "entries": entries})
    result.rows.append(
        {
            "what": "bytes an entry",
            "record": verified["record"],
            "database": appended.stored,
            "log": verified["log"],
        }
    )
    result.claims += [
        Claim("records appended per second, 256 callers", round(rate), ">=", 10_000),
        Claim("share of the plain append's rate, 256 callers", round(share, 2), ">=", 0.5),
        Claim("record to published tile, p99, ms", published["p99_ms"], "<=", 1000),
        Claim("entries verified per second (cryptography)", round(verified["rate"]), ">=", 50_000),
    ]
    return result


# --- appending ------------------------------------------------------------------------------------------------------


@dataclass
class _Appended:
    rate: float
    per_commit: float
    stored: int  # bytes of the database an entry
    times: list[float] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)


class _Pairs:
    """A permit and its outcome, again and again, in the shape of real ones."""

    def __init__(self, permit: dict[str, Any], outcome: dict[str, Any], stream: str) -> None:
        self._permit = permit
        self._outcome = outcome
        self._stream = stream
        self._numbers = count(1)
        self._needs = Needs(appends=(stream,))

    async def append(self, opened: Installation, times: list[float]) -> None:
        """Appends both, one after the other."""
        id_ = f"{self._permit['id'][:-6]}{next(self._numbers):06x}"
        for kind, body, key in (
            ("decision", self._permit | {"id": id_}, id_),
            ("outcome", self._outcome | {"decision": id_}, ""),
        ):

            def work(world: World, now: int, kind: str = kind, body: Any = body, key: str = key) -> Step[None]:
                return Step(None, (Entry(self._stream, kind, body, key),))

            started = time.perf_counter()
            await opened.store.run(work, self._needs)
            times.append(time.perf_counter() - started)


async def _append(callers: int, seconds: float) -> _Appended:
    async with installation(10) as opened:
        pairs = [await _pairs(opened) for _ in range(min(callers, 32))]
        path = opened.folder.database
        before = _rows(path)
        commits = opened.store.gauges()["commits"]
        times: list[float] = []
        until = time.perf_counter() + seconds

        async def caller(number: int) -> None:
            while time.perf_counter() < until:
                await pairs[number % len(pairs)].append(opened, times)

        began = time.perf_counter()
        await asyncio.gather(*(caller(number) for number in range(callers)))
        elapsed = time.perf_counter() - began
        per_commit = len(times) / max(1, opened.store.gauges()["commits"] - commits)
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            # What the service records by itself meanwhile (habits) is not counted.
            sql = "SELECT bytes FROM records WHERE seq > ? AND kind IN ('decision', 'outcome') ORDER BY seq"
            rows = db.execute(sql, (before,)).fetchall()
        db.close()
        if len(rows) != len(times):
            raise SystemExit(f"{len(times)} records were acknowledged and {len(rows)} are there")
        stored = os.stat(path).st_size // (before + len(rows))
        return _Appended(len(times) / elapsed, per_commit, stored, times, [data for (data,) in rows])


async def _pairs(opened: Installation) -> _Pairs:
    """A task with one real permit and its outcome, whose records are the pattern of those that are appended."""
    point = Embedded(opened, "pep/point", owns=False)
    decision = await point.authorize(await grant(opened), ACTION, INPUT)
    outcome = Outcome(decision=decision.id, digest=decision.digest, result="response", bytes=120)
    await point.report(outcome)
    with sqlite3.connect(opened.folder.database) as db:
        sql = "SELECT bytes FROM records WHERE stream = (SELECT stream FROM records WHERE key = ?) ORDER BY n"
        records = [decode_record(data) for (data,) in db.execute(sql, (decision.id,))]
    db.close()
    permit, reported = (next(r for r in records if r.kind == kind) for kind in ("decision", "outcome"))
    return _Pairs(permit.body, reported.body, permit.stream)


def _rows(path: Path) -> int:
    with sqlite3.connect(path) as db:
        found = int(db.execute("SELECT max(seq) FROM records").fetchone()[0])
    db.close()
    return found


def _plain(data: list[bytes], per_commit: int) -> float:
    """Rows a second of a plain append: the same bytes and rows a commit, the same durability, nothing else."""
    most = min(len(data), per_commit * 4000)
    with tempfile.TemporaryDirectory(prefix="remit-bench-") as folder:
        db = _plain_database(Path(folder))
        started = time.perf_counter()
        for first in range(0, most, per_commit):
            db.execute("BEGIN IMMEDIATE")
            rows = ((each,) for each in data[first : min(most, first + per_commit)])
            db.executemany("INSERT INTO records (bytes) VALUES (?)", rows)
            db.execute("COMMIT")
        elapsed = time.perf_counter() - started
        db.close()
    return most / elapsed


async def _awaited(data: list[bytes], callers: int, seconds: float) -> float:
    """Rows a second of a plain append that as many callers wait for: what arrives together is one commit."""
    with tempfile.TemporaryDirectory(prefix="remit-bench-") as folder:
        db = _plain_database(Path(folder))
        loop = asyncio.get_running_loop()
        waiting: list[tuple[bytes, asyncio.Future[None]]] = []

        def commit() -> None:
            taken = waiting.copy()
            waiting.clear()
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO records (bytes) VALUES (?)", [(each,) for each, _ in taken])
            db.execute("COMMIT")
            for _, future in taken:
                future.set_result(None)

        async def caller(number: int) -> int:
            done = 0
            while time.perf_counter() < until:
                future: asyncio.Future[None] = loop.create_future()
                if not waiting:
                    loop.call_soon(commit)
                waiting.append((data[(number + done) % len(data)], future))
                await future
                done += 1
            return done

        began = time.perf_counter()
        until = began + min(seconds, 2.0)
        rows = sum(await asyncio.gather(*(caller(number) for number in range(callers))))
        elapsed = time.perf_counter() - began
        db.close()
    return rows / elapsed


def _plain_database(folder: Path) -> sqlite3.Connection:
    db = sqlite3.connect(folder / "a.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE records (n INTEGER PRIMARY KEY, bytes BLOB)")
    return db


# --- publishing and verifying ---------------------------------------------------------------------------------------


async def _decision(ledger: str | None, seconds: float) -> dict[str, Any]:
    """What a durable decision costs one caller, with the log being published or not."""
    async with installation(10, ledger or "") as opened, _publishing(opened):
        point = Embedded(opened, "pep/point", owns=False)
        times: list[float] = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            held = await grant(opened)
            for _ in range(1000):  # of one task, which has a bound
                started = time.perf_counter()
                decision = await point.authorize(held, ACTION, INPUT)
                times.append(time.perf_counter() - started)
                if not decision.permitted:
                    raise SystemExit(f"the benchmark's own request was denied: {decision.reason}")
    return {
        "what": f"one decision, {'published' if ledger else 'not published'}",
        "callers": 1,
        "per_second": round(len(times) / sum(times)),
        "p50_ms": round(percentile(times, 0.5) * 1000, 3),
        "p99_ms": round(percentile(times, 0.99) * 1000, 2),
    }


async def _published(seconds: float) -> dict[str, Any]:
    """From a record's acknowledgement to the checkpoint that covers it, at a steady rate."""
    async with installation(10, _LEDGER) as opened, _publishing(opened) as publisher:
        if publisher is None:
            raise SystemExit("the installation does not publish")
        pairs = await _pairs(opened)
        place = _rows(opened.folder.database)
        waiting: list[tuple[int, float]] = []
        times: list[float] = []
        until = time.perf_counter() + seconds
        while waiting or time.perf_counter() < until:
            if time.perf_counter() < until:
                await pairs.append(opened, [])
                place += 2
                now = time.perf_counter()
                waiting += [(place - 1, now), (place, now)]
            size = publisher.log.size
            now = time.perf_counter()
            times += [now - since for number, since in waiting if number <= size]
            waiting = [(number, since) for number, since in waiting if number > size]
            await asyncio.sleep(2 / _STEADY)
    return {
        "per_second": round(len(times) / seconds),
        "p50_ms": round(percentile(times, 0.5) * 1000),
        "p99_ms": round(percentile(times, 0.99) * 1000),
    }


@asynccontextmanager
async def _publishing(opened: Installation) -> AsyncIterator[Publisher | None]:
    """Publishes beside, where the installation is set up to."""
    publisher = open_publisher(opened.folder, opened.settings)
    if publisher is not None:
        publisher.start()
    try:
        yield publisher
    finally:
        if publisher is not None:
            await asyncio.to_thread(publisher.stop)


def _verified(data: list[bytes], entries: int) -> dict[str, Any]:
    """The audit of a published folder: every entry, every tile, the root."""
    with tempfile.TemporaryDirectory(prefix="remit-bench-") as name:
        folder = Path(name) / "log"
        signer = Signer("bench.internal/log", Ed25519PrivateKey.generate())
        log = LogFolder(folder, signer)
        written, size = 0, 0
        while written < entries:
            batch = data[: min(4096, entries - written)]
            log.extend(batch)
            written += len(batch)
            size += sum(map(len, batch))
        wrong: list[str] = []
        audit = Audit(FolderSource(folder), signer.key, lambda *found: wrong.append(str(found)))
        started = time.perf_counter()
        read = sum(1 for _ in audit.entries(audit.checkpoint().checkpoint))
        elapsed = time.perf_counter() - started
        if wrong or read != entries:
            raise SystemExit(f"the audit read {read} of {entries} entries and found {wrong[:3]}")
        held = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {"rate": entries / elapsed, "record": size // entries, "log": held // entries}
