"""From version 1 of the tables, where openings stand in plain, to version 2, where they are sealed.

One transaction: what interrupts it leaves version 1, and the next start begins again. Records are not touched.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import asyncpg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from remit.core.errors import RemitError
from remit.ledger.record import decode_record
from remit.storage.sealing import Sealed, Subject, seal, subject_of

log = logging.getLogger("remit.storage")

Progress = Callable[[int, int], None]  # openings done, in all
Plain = tuple[str, int, str, bytes, bytes]  # stream, n, path, salt, value

BATCH: Final = 1_000
_NEXT: Final = """
    SELECT stream, n, path, salt, value FROM openings_1 WHERE (stream, n, path) > ($1, $2, $3)
    ORDER BY stream, n, path LIMIT $4
"""
_SAID: Final = 20_000  # so many openings are done between two lines


def logged(done: int, total: int) -> None:
    """Says how far it is, where it takes a while."""
    if total > _SAID and (done % _SAID == 0 or done == total):
        log.warning("the database is upgraded: %d of %d personal values are sealed", done, total)


class Sealing:
    """Seals openings of version 1, stream by stream; `first` gives the first record of a stream."""

    def __init__(self, now: int) -> None:
        self._now = now
        self._last = now << 20 | secrets.randbits(20)
        self._keys: dict[str, tuple[int, AESGCM]] = {}
        self.made: list[Subject] = []

    def seal(self, rows: Iterable[Plain], subjects: dict[str, str]) -> list[Sealed]:
        """The same openings under keys of their subjects, which are named by stream."""
        found = []
        for stream, n, path, salt, value in rows:
            key, cipher = self._key(subjects[stream])
            found.append((stream, n, path, key, seal(cipher, stream, n, path, salt, value)))
        return found

    def take_made(self) -> list[Subject]:
        """The keys that were made since this was last asked."""
        made, self.made = self.made, []
        return made

    def _key(self, name: str) -> tuple[int, AESGCM]:
        known = self._keys.get(name)
        if known is None:
            self._last += 1
            made = subject_of(name, self._last, self._now)
            self.made.append(made)
            known = self._keys[name] = (made.id, AESGCM(made.key))
        return known


def subject_in(stream: str, first: bytes | None) -> str:
    """Whom the personal values of a stream are about: of a session, the person behind its root task."""
    space, _, owner = stream.partition("/")
    if space != "session":
        return owner or space
    try:
        body = decode_record(first).body if first is not None else {}
    except RemitError:
        body = {}
    named = body.get("onBehalfOf") or body.get("starter")
    return named if isinstance(named, str) and named else stream


def upgrade_sqlite(db: sqlite3.Connection, tables: str, version: int, progress: Progress) -> None:
    """Seals all openings; what they were in plain is overwritten, in the WAL too."""
    sealing = Sealing(time.time_ns() // 1_000_000)
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("ALTER TABLE openings RENAME TO openings_1")
        for statement in filter(str.strip, _statements(tables)):
            db.execute(statement)
        total = db.execute("SELECT count(*) FROM openings_1").fetchone()[0]
        done = 0
        for rows in _batches(db, "SELECT stream, n, path, salt, value FROM openings_1 ORDER BY stream, n, path"):
            subjects: dict[str, str] = {}
            for stream in {row[0] for row in rows}:
                first = db.execute("SELECT bytes FROM records WHERE stream = ? AND n = 1", (stream,)).fetchone()
                subjects[stream] = subject_in(stream, first[0] if first else None)
            sealed = sealing.seal(rows, subjects)
            db.executemany("INSERT INTO subjects VALUES (?, ?, ?, ?, ?)", sealing.take_made())
            db.executemany("INSERT INTO openings VALUES (?, ?, ?, ?, ?)", sealed)
            under = {(row[3], row[0]) for row in sealed}
            db.executemany("INSERT OR IGNORE INTO subject_streams VALUES (?, ?)", sorted(under))
            for _ in rows:
                done += 1
                progress(done, total)
        db.execute("DROP TABLE openings_1")
        db.execute(f"PRAGMA user_version = {version}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    # SECURITY: until then the WAL, and pages that were not written back, hold values in plain.
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def upgrade_postgres(db: asyncpg.Connection[asyncpg.Record], tables: str, progress: Progress) -> None:
    """The same in PostgreSQL, in the transaction under way, which has the lock of the schema."""
    sealing = Sealing(time.time_ns() // 1_000_000)
    await db.execute("ALTER TABLE openings RENAME TO openings_1")
    await db.execute("ALTER INDEX openings_pkey RENAME TO openings_1_pkey")
    await db.execute(tables)
    total = await db.fetchval("SELECT count(*) FROM openings_1")
    done = 0
    last: tuple[str, int, str] = ("", 0, "")
    while rows := [tuple(row) for row in await db.fetch(_NEXT, *last, BATCH)]:
        last = rows[-1][:3]
        streams = sorted({row[0] for row in rows})
        found = await db.fetch("SELECT stream, bytes FROM records WHERE stream = ANY($1::text[]) AND n = 1", streams)
        firsts = {row[0]: row[1] for row in found}
        subjects = {stream: subject_in(stream, firsts.get(stream)) for stream in streams}
        sealed = sealing.seal(rows, subjects)
        await db.executemany("INSERT INTO subjects VALUES ($1, $2, $3, $4, $5)", sealing.take_made())
        await db.executemany("INSERT INTO openings VALUES ($1, $2, $3, $4, $5)", sealed)
        under = sorted({(row[3], row[0]) for row in sealed})
        await db.executemany("INSERT INTO subject_streams VALUES ($1, $2) ON CONFLICT DO NOTHING", under)
        for _ in rows:
            done += 1
            progress(done, total)
    await db.execute("DROP TABLE openings_1")


def _batches(db: sqlite3.Connection, sql: str) -> Iterator[list[Plain]]:
    cursor = db.execute(sql)
    while rows := cursor.fetchmany(BATCH):
        yield rows


def _statements(script: str) -> list[str]:
    lines = (line.partition("--")[0] for line in script.splitlines())
    return " ".join(lines).split(";")
