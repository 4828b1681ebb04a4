"""Places and checkpoints in PostgreSQL: many processes, of which one at a time is elected to publish.

**Election.** Who gets an advisory lock of the session is elected, raises the epoch, and stays so for as long as its
connection lasts. The server ends a connection on which nothing is said for three seconds: whoever is stopped, or cut
off, is followed by another.

**Fencing.** Every write compares its epoch in its own transaction, under a lock on the row that holds it. Who was
elected before and does not know that another was since can't write.

**Order.** Places follow `seq`, as far as records can be seen. Within a stream a later record is never visible before an
earlier one (`remit.storage.reader`); across streams it may be. So each look takes what is behind the last record that
was seen, and what has come up meanwhile in the holes before it. A hole is forgotten when everybody who was writing when
it was found has ended. Nothing is searched for otherwise: a look costs what is new.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import asyncpg

from remit.core.errors import Conflict, Unavailable
from remit.storage.address import Address
from remit.storage.placed import broken
from remit.storage.postgres_link import FAILURES, Db, advice, describe, is_lost
from remit.storage.postgres_places import has_places
from remit.storage.postgres_schema import lock_key
from remit.storage.presence import leave

log = logging.getLogger("remit.storage")

T = TypeVar("T")

IDLE_SECONDS: Final = 3.0  # a process that says nothing for so long is not elected any more
BEAT_SECONDS: Final = 1.0  # between signs of life while nothing else is said
STALL_SECONDS: Final = 30.0  # who is elected and asks for nothing for so long lets another be
REST_SECONDS: Final = 5.0  # after it resigned
CONNECT_SECONDS: Final = 3.0
LOCK_SECONDS: Final = 5.0  # longer than a process that stops in the middle of a write keeps the row
STATEMENT_SECONDS: Final = 30.0
CHUNK: Final = 8_192  # records that get their places at once
ROUND: Final = 32  # chunks in one call

_ELECT: Final = "UPDATE agreed SET epoch = epoch + 1, leader = $1 RETURNING epoch, settled"
_AGREE: Final = "UPDATE agreed SET size = $2, note = $3 WHERE epoch = $1 AND size <= $2"
_HELD: Final = "SELECT true FROM agreed WHERE epoch = $1 FOR UPDATE"
_DRAWN: Final = "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('records', 'seq')), 0)"
# Each transaction that has a number holds this lock until it has ended; places (`seq`) are drawn by no others.
_RUNNING: Final = """
SELECT transactionid::text FROM pg_locks
WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND pid <> pg_backend_pid()
"""
# One statement, so that it is one snapshot: who sees a record sees those before it in its stream.
_SEEN: Final = """
SELECT r.seq, r.stream, r.n FROM unnest($1::bigint[], $2::bigint[]) AS h(first, last)
JOIN records r ON r.seq BETWEEN h.first AND h.last
WHERE NOT EXISTS (SELECT FROM places p WHERE p.seq = r.seq)
UNION ALL (
    SELECT r.seq, r.stream, r.n FROM records r
    WHERE r.seq > $3 AND NOT EXISTS (SELECT FROM places p WHERE p.seq = r.seq) ORDER BY r.seq LIMIT $4
) ORDER BY 1
"""
_LONELY: Final = """
SELECT k.stream, k.n FROM unnest($1::text[], $2::bigint[]) AS k(stream, n) WHERE NOT EXISTS (
    SELECT FROM records r JOIN places p ON p.seq = r.seq WHERE r.stream = k.stream AND r.n = k.n - 1
) LIMIT 1
"""
_PLACE: Final = """
INSERT INTO places (place, seq)
SELECT (SELECT coalesce(max(place), -1) FROM places) + f.row, f.seq
FROM unnest($1::bigint[]) WITH ORDINALITY AS f(seq, row)
"""
_ENTRIES: Final = """
SELECT p.place, r.bytes FROM places p LEFT JOIN records r ON r.seq = p.seq
WHERE p.place >= $1 AND p.place < $1 + $2 ORDER BY p.place
"""


class Hole(NamedTuple):
    """Places (`seq`) of records that were drawn and can't be seen: they may come up, or never will."""

    first: int
    last: int


class Search:
    """What is known of where records without a place can be."""

    def __init__(self, settled: int) -> None:
        self.settled = settled  # nothing is without a place up to here, or will be
        self.high = settled  # the last record that was seen
        self.holes: list[Hole] = []  # before it
        self._drawn = settled  # how many places were drawn at some moment,
        self._running: frozenset[str] | None = None  # and the transactions that ran then and have not ended

    def is_done(self, drawn: int) -> bool:
        """Whether nothing can be found, with so many places drawn."""
        return not self.holes and drawn <= self.high

    def take(self, drawn: int, running: frozenset[str], found: Sequence[int], *, is_all: bool) -> None:
        """Takes in one look: how many places were drawn; who was writing after that; what was found after that.

        `found` are the records in the holes and those behind `high`, in order; unless `is_all` there may be more.
        """
        self.holes = [left for hole in self.holes for left in _without(hole, found)]
        for seq in found:
            if seq > self.high:
                if seq > self.high + 1:
                    self.holes.append(Hole(self.high + 1, seq - 1))
                self.high = seq
        limit = self._ended(drawn, running)
        # Who drew a place up to there has ended: what it wrote was found just now, or never will be there.
        self.settled = max(self.settled, limit if is_all else min(limit, self.high))
        self.high = max(self.high, self.settled)
        self.holes = [Hole(max(hole.first, self.settled + 1), hole.last) for hole in self.holes]
        self.holes = [hole for hole in self.holes if hole.first <= hole.last]

    def _ended(self, drawn: int, running: frozenset[str]) -> int:
        """Up to where all who drew places have ended."""
        before, self._running = self._running, self._running if self._running is not None else running
        if not running:
            limit = drawn
        elif before is not None and before.isdisjoint(running):
            limit = self._drawn
        else:
            if before is None:
                self._drawn = drawn
            return self.settled
        self._drawn, self._running = drawn, running
        return limit


class PostgresPlaced:
    """Fulfils `remit.storage.placed.Placed` for one process among many."""

    def __init__(self, address: Address) -> None:
        """Raises `Unavailable`: `records_unreadable`, and `places_missing` where the tables are not there."""
        self._address = address
        self._key = lock_key(address.schema, "log")
        self._name = f"{socket.gethostname()}/{os.getpid()}"
        self._db: Db | None = None
        self._epoch = 0  # 0: not elected
        self._search = Search(0)
        self._rests_until = 0.0
        self._called = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="remit-places", daemon=True)
        self._thread.start()
        self._turn = asyncio.Lock()
        self._beating = asyncio.run_coroutine_threadsafe(self._beat(), self._loop)
        try:
            if not self._run(has_places):
                raise Unavailable(
                    "places_missing",
                    f"the tables of the published log are missing at `{address.shown}`",
                    "start the service once as the owner of the tables, then give its role the rights in "
                    "docs/guides/operating.md",
                )
        except BaseException:
            self.close()
            raise

    def key(self) -> str:
        """The public key (vkey) of the log that is published of these records; empty where none was yet."""
        return str(self._run(lambda db: db.fetchval("SELECT log FROM agreed")) or "")

    def take_key(self, vkey: str) -> None:
        """Makes this the log's key where there is none yet; `Conflict("log_key_differs")` where there is another."""
        sql = "INSERT INTO agreed VALUES (true, $1, 0, '', 0, 0, '') ON CONFLICT DO NOTHING"
        if not self.key():
            self._run(lambda db: db.execute(sql, vkey))
        known = self.key()
        # SECURITY: two keys would be two logs of one installation, and nobody could say which one counts.
        if known != vkey:
            raise Conflict(
                "log_key_differs",
                f"the log of these records is published under the key `{known}`, and this process has `{vkey}`",
                "give all processes the same key (`[identity] trust`) and the same `[ledger] name`",
            )

    def place(self) -> bool:
        """As `Placed.place`. Stands for election first, where nobody is elected."""
        return self._run(self._place)

    def entries(self, start: int, most: int) -> list[bytes]:
        """As `Placed.entries`."""
        rows = self._run(lambda db: db.fetch(_ENTRIES, start, most))
        for place, row in enumerate(rows, start):
            # SECURITY: nothing is ever deleted, so a gap is a record that somebody took away.
            if row[0] != place or row[1] is None:
                raise broken(f"the record at place {place} is missing")
        return [bytes(row[1]) for row in rows]

    def agreed(self) -> bytes:
        """As `Placed.agreed`."""
        return bytes(self._run(lambda db: db.fetchval("SELECT note FROM agreed")) or b"")

    def agree(self, note: bytes, size: int) -> None:
        """As `Placed.agree`."""

        async def agree(db: Db) -> None:
            # SECURITY: who was elected before, and is not any more, publishes nothing.
            if not self._epoch or await db.execute(_AGREE, self._epoch, size, note) != "UPDATE 1":
                raise _passed()

        self._run(agree)

    def resign(self) -> None:
        """As `Placed.resign`."""
        if self._epoch:
            self._rests_until = time.monotonic() + REST_SECONDS
            asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result()

    def texts(self) -> Iterator[tuple[str, str]]:
        """As `Placed.texts`."""
        for row in self._run(lambda db: db.fetch("SELECT digest, content FROM texts")):
            yield str(row[0]), str(row[1])

    def close(self) -> None:
        """As `Placed.close`: another process may be elected at once."""
        if self._loop.is_closed():
            return
        self._beating.cancel()
        asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- election -------------------------------------------------------------------------------------------

    async def _stand(self, db: Db) -> bool:
        """Whether this process is elected, also from now on."""
        if self._epoch:
            return True
        if time.monotonic() < self._rests_until or not await db.fetchval("SELECT pg_try_advisory_lock($1)", self._key):
            return False
        row = await db.fetchrow(_ELECT, self._name)
        if row is None:
            return False  # no log was begun
        self._epoch, self._search = int(row[0]), Search(int(row[1]))
        log.info("this process publishes the log (epoch %d)", self._epoch)
        return True

    async def _beat(self) -> None:
        """Says that this process lives, for as long as somebody here goes on publishing."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            if self._epoch and time.monotonic() < self._called + STALL_SECONDS and not self._turn.locked():
                async with self._turn:
                    with contextlib.suppress(*FAILURES):  # it is found when something is asked
                        if self._db is not None:
                            await self._db.execute("SELECT 1")

    # --- places ---------------------------------------------------------------------------------------------

    async def _place(self, db: Db) -> bool:
        if not await self._stand(db):
            return False
        for _ in range(ROUND):
            drawn = int(await db.fetchval(_DRAWN))
            if self._search.is_done(drawn) or await self._look(db, drawn):
                break
        return True

    async def _look(self, db: Db, drawn: int) -> bool:
        """Places what can be seen, at most a chunk; whether that was all."""
        search = self._search
        async with db.transaction():
            # SECURITY: from here on nobody else is elected before this is committed; who was elected since, was before.
            if not await db.fetchval(_HELD, self._epoch):
                raise _passed()
            running = frozenset(str(row[0]) for row in await db.fetch(_RUNNING))
            first, last = [hole.first for hole in search.holes], [hole.last for hole in search.holes]
            rows = await db.fetch(_SEEN, first, last, search.high, CHUNK)
            found = [int(row[0]) for row in rows]
            is_all = sum(seq > search.high for seq in found) < CHUNK
            if found:
                await _check_streams(db, rows)
                await db.execute(_PLACE, found)
            search.take(drawn, running, found, is_all=is_all)
            if found:
                await db.execute("UPDATE agreed SET settled = $2 WHERE epoch = $1", self._epoch, search.settled)
        return is_all

    # --- one thread, one connection -------------------------------------------------------------------------

    def _run(self, work: Callable[[Db], Awaitable[T]]) -> T:
        self._called = time.monotonic()
        return asyncio.run_coroutine_threadsafe(self._do(work), self._loop).result()

    async def _do(self, work: Callable[[Db], Awaitable[T]]) -> T:
        async with self._turn:
            was_elected = bool(self._epoch)
            for attempt in (1, 2):
                try:
                    if self._db is None or self._db.is_closed():
                        self._epoch = 0
                        self._db = await self._connect()
                        if was_elected:
                            raise _passed()
                    return await work(self._db)
                except FAILURES as error:
                    await self._drop()
                    if was_elected and is_lost(error):
                        raise _passed() from error
                    if attempt == 1 and is_lost(error):
                        continue  # the server may have ended an idle connection
                    raise Unavailable(
                        "records_unreadable",
                        f"can't use the database at `{self._address.shown}`: {describe(error)}",
                        advice(error),
                    ) from error
                except BaseException:
                    await self._drop()  # what is known in memory may not be so
                    raise
            raise AssertionError

    async def _leave(self) -> None:
        async with self._turn:
            await self._drop()

    async def _drop(self) -> None:
        """Gives up the connection, and with it the election."""
        self._epoch = 0
        db, self._db = self._db, None
        await leave(db)

    async def _connect(self) -> Db:
        settings = {
            "application_name": "remit log",
            "search_path": self._address.schema,
            # SECURITY: what is agreed on is on the disk before it is published, whatever the role has set.
            "synchronous_commit": "on",
            "default_transaction_isolation": "read committed",
            "idle_session_timeout": _ms(IDLE_SECONDS),
            "idle_in_transaction_session_timeout": _ms(IDLE_SECONDS),
            "lock_timeout": _ms(LOCK_SECONDS),
            "statement_timeout": _ms(STATEMENT_SECONDS),
            # Every statement is a look-up by key; a plan made while a table was empty must not scan it later.
            "enable_seqscan": "off",
            "enable_hashjoin": "off",
            "enable_mergejoin": "off",
            "jit": "off",
        }
        more: dict[str, Any] = {}
        if "target_session_attrs" not in self._address.url:
            more["target_session_attrs"] = "read-write"
        return await asyncpg.connect(
            self._address.url,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS + 1,
            server_settings=settings,
            **more,
        )


async def _check_streams(db: Db, rows: Sequence[asyncpg.Record]) -> None:
    """Each record comes after the one before it in its stream; `Conflict("places_broken")` where that is missing."""
    last: dict[str, int] = {}
    begins: dict[str, int] = {}
    for _, stream, n in rows:
        if n != last.get(stream, n - 1) + 1:
            raise broken(f"record {last[stream] + 1} of `{stream}` is missing")
        if stream not in last and n > 1:
            begins[stream] = n
        last[stream] = n
    # SECURITY: a record that somebody took away is not passed over.
    if begins and (row := await db.fetchrow(_LONELY, list(begins), list(begins.values()))):
        raise broken(f"record {row[1] - 1} of `{row[0]}` is missing, or comes after the next one")


def _without(hole: Hole, found: Sequence[int]) -> Iterator[Hole]:
    """What is left of a hole."""
    first = hole.first
    for seq in found:
        if hole.first <= seq <= hole.last:
            if seq > first:
                yield Hole(first, seq - 1)
            first = seq + 1
    if first <= hole.last:
        yield Hole(first, hole.last)


def _passed() -> Conflict:
    return Conflict(
        "epoch_passed",
        "this process is not elected to publish any more",
        "nothing is to be done: another one does, or this one again",
    )


def _ms(seconds: float) -> str:
    return f"{int(seconds * 1000)}ms"
