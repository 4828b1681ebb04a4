"""Reads the records of a PostgreSQL database, also while services write it.

The callers are not asynchronous and the driver is: it runs in a thread of its own. Rows come in bounded pages from a
cursor of the server, in one read-only snapshot that lasts as long as an iterator is open.

**Order.** A record's place (`seq`) is drawn after its transaction has locked its streams, so that places grow along
every stream, and along what was answered before something else was asked. Transactions that overlap may commit in
another order than they drew places. `PostgresTail` knows up to which place nothing can come up any more: transactions
draw places only once they have a number of their own, and those that have one and have not ended can be listed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Final, Self, TypeVar

import asyncpg
from asyncpg.cursor import Cursor

from remit.core.errors import NotFound, Unavailable
from remit.storage import postgres_erasing
from remit.storage.address import Address
from remit.storage.reader import Stored
from remit.storage.sealing import unsealed

T = TypeVar("T")

CONNECT_SECONDS: Final = 10.0
PAGE: Final = 256  # rows that are fetched at once; a record is at most 64 KiB
LATE: Final = 10_000  # places behind the last one that are looked for in records that become visible late

_DRAWN: Final = (
    "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('records', 'seq')), 0), pg_is_in_recovery()"
)
# Each transaction that has a number holds this lock until it has ended.
_RUNNING: Final = "SELECT transactionid::text FROM pg_locks WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock'"
_SEALED: Final = (
    "SELECT o.stream, o.n, o.path, coalesce(s.key, ''::bytea), o.sealed "
    "FROM openings o LEFT JOIN subjects s ON s.id = o.key"
)
_MISSING: Final = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)
_FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError)


class PostgresReader:
    """Fulfils `remit.storage.reader.Reader`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._open = 0  # iterators under way
        self._snapshot: Any = None
        self._settling = _Settling()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="remit-reader", daemon=True)
        self._thread.start()
        try:
            self._db = self._wait(self._connect())
            self._row("SELECT seq FROM records LIMIT 1")
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop.is_closed():
            return
        if hasattr(self, "_db"):
            asyncio.run_coroutine_threadsafe(_close(self._db), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def records(self, *, kinds: tuple[str, ...] = (), last: int | None = None) -> Iterator[Stored]:
        """All records, or those of some kinds, in the order in which they were appended; or the `last` ones."""
        sql = "SELECT seq, stream, n, bytes FROM records"
        values: list[Any] = [list(kinds)] if kinds else []
        if kinds:
            sql += " WHERE kind = ANY($1::text[])"
        if last is None:
            sql += " ORDER BY seq"
        else:
            values.append(last)
            sql = f"SELECT * FROM ({sql} ORDER BY seq DESC LIMIT ${len(values)}) found ORDER BY seq"  # noqa: S608 - placeholders only
        yield from map(Stored._make, self._rows(sql, values))

    def backwards(self, kinds: tuple[str, ...]) -> Iterator[Stored]:
        """All records of these kinds, the last one first."""
        sql = "SELECT seq, stream, n, bytes FROM records WHERE kind = ANY($1::text[]) ORDER BY seq DESC"
        yield from map(Stored._make, self._rows(sql, [list(kinds)]))

    def tail(self, kinds: tuple[str, ...]) -> PostgresTail:
        """What is appended of these kinds from now on."""
        return PostgresTail(self, kinds)

    def at(self, places: Sequence[int]) -> list[Stored]:
        """The records at these places, in the order given; places without one are left out."""
        sql = "SELECT seq, stream, n, bytes FROM records WHERE seq = ANY($1::bigint[])"
        found = {row[0]: Stored(*row) for row in self._fetch(sql, list(places))}
        return [found[place] for place in places if place in found]

    def after(self, place: int, most: int) -> list[Stored]:
        """At most `most` records behind a place, in order, of those that can be seen now."""
        sql = "SELECT seq, stream, n, bytes FROM records WHERE seq > $1 ORDER BY seq LIMIT $2"
        return [Stored(*row) for row in self._fetch(sql, place, most)]

    def settled(self) -> int:
        """A place up to which no record can come up any more; 0 until those who were writing at first have ended."""
        return self._wait(self._settle())

    async def _settle(self) -> int:
        db = await self._connected()
        self._settling.take(*await _writing(db))
        return self._settling.settled

    def by_stream(self) -> Iterator[tuple[str, int, bytes]]:
        """All records, stream by stream, in order: (stream, number, bytes)."""
        yield from self._rows('SELECT stream, n, bytes FROM records ORDER BY stream COLLATE "C", n')

    def stream(self, name: str) -> Iterator[Stored]:
        """The records of one stream."""
        sql = "SELECT seq, stream, n, bytes FROM records WHERE stream = $1 ORDER BY n"
        yield from map(Stored._make, self._rows(sql, [name]))

    def find(self, key: str) -> Stored | None:
        """The record of a decision or the opening of a task by its id."""
        row = self._row("SELECT seq, stream, n, bytes FROM records WHERE key = $1 ORDER BY seq LIMIT 1", key)
        return Stored(*row) if row else None

    def keys_ending(self, end: str, most: int = 5) -> list[str]:
        """The ids of decisions and tasks that end so; at most `most`."""
        sql = "SELECT DISTINCT key FROM records WHERE right(key, length($1)) = $1 LIMIT $2"
        return [str(row[0]) for row in self._fetch(sql, end, most)]

    def openings(self, stream: str, n: int) -> list[tuple[str, bytes, bytes]]:
        """The openings of one record that are still kept: (pointer, salt, canonical JSON of the value)."""
        if self._is_plain():
            sql = 'SELECT path, salt, value FROM openings WHERE stream = $1 AND n = $2 ORDER BY path COLLATE "C"'
            return [(row[0], row[1], row[2]) for row in self._fetch(sql, stream, n)]
        rows = self._fetch(f"{_SEALED} WHERE o.stream = $1 AND o.n = $2", stream, n)
        return sorted(opened for _, opened in unsealed(rows))

    def broken(self, stream: str, n: int) -> list[str]:
        """The pointers of openings of one record that are there and don't open: swapped, changed, or without a key."""
        if self._is_plain():
            return []
        rows = self._fetch(f"{_SEALED} WHERE o.stream = $1 AND o.n = $2", stream, n)
        return sorted({row[2] for row in rows} - {path for _, (path, _, _) in unsealed(rows)})

    def opened(self, subject: str = "") -> Iterator[tuple[str, int, str, bytes]]:
        """All openings that open, or those of one subject, stream by stream: (stream, n, pointer, canonical value)."""
        sql, values = _SEALED, []
        if subject:
            found = self._wait(self._keys_of(subject))
            sql += " JOIN subject_streams u ON u.key = o.key AND u.stream = o.stream WHERE u.key = ANY($1::bigint[])"
            values = [[id_ for id_, _ in found]]
        for row in self._rows(f'{sql} ORDER BY o.stream COLLATE "C", o.n, o.path COLLATE "C"', values):
            for n, (path, _, value) in unsealed([row]):
                yield row[0], n, path, value

    def personal(self) -> int:
        """How many openings are kept."""
        row = self._row("SELECT count(*) FROM openings")
        return int(row[0]) if row else 0

    def texts(self) -> Iterator[tuple[str, str]]:
        """The kept texts by digest."""
        yield from self._rows('SELECT digest, content FROM texts ORDER BY digest COLLATE "C"')

    def text(self, digest: str) -> str | None:
        """One kept text, or None."""
        row = self._row("SELECT content FROM texts WHERE digest = $1", digest)
        return str(row[0]) if row else None

    def count(self) -> int:
        """How many records there are."""
        row = self._row("SELECT coalesce(sum(n), 0) FROM streams")  # a stream's numbers have no gap
        return int(row[0]) if row else 0

    def damage(self) -> list[str]:
        """What PostgreSQL has found wrong with the pages of this database, where it keeps checksums of them."""
        sql = "SELECT coalesce(checksum_failures, 0) FROM pg_stat_database WHERE datname = current_database()"
        row = self._row(sql)
        failures = int(row[0]) if row else 0
        return [f"{failures} pages had another checksum than they must"] if failures else []

    # --- one thread, one connection -----------------------------------------------------------------------

    def _is_plain(self) -> bool:
        """Whether the tables are those of version 1, which the next start of a service upgrades."""
        row = self._row("SELECT version FROM installation")
        return row is not None and row[0] == 1

    async def _keys_of(self, subject: str) -> list[tuple[int, bytes]]:
        return (await postgres_erasing.keys_of(await self._connected(), [subject])).get(subject, [])

    async def _connect(self) -> asyncpg.Connection[asyncpg.Record]:
        return await asyncpg.connect(
            self._address.url,
            timeout=CONNECT_SECONDS,
            server_settings={"application_name": "remit reader", "search_path": self._address.schema},
        )

    async def _connected(self) -> asyncpg.Connection[asyncpg.Record]:
        """The connection; a new one after it was lost, but for a snapshot that was lost with it."""
        if self._db.is_closed() and not self._open:
            self._db = await self._connect()
        return self._db

    def _row(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        return next(iter(self._fetch(sql, *values)), None)

    def _fetch(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._wait(self._fetched(sql, *values))]

    async def _fetched(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        return await (await self._connected()).fetch(sql, *values)

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        cursor = self._wait(self._begin(sql, values))
        try:
            while rows := self._wait(cursor.fetch(PAGE)):
                yield from map(tuple, rows)
        finally:
            if not self._loop.is_closed():
                self._wait(self._end())

    async def _begin(self, sql: str, values: Sequence[Any]) -> Cursor[asyncpg.Record]:
        db = await self._connected()
        if not self._open:
            transaction = db.transaction(isolation="repeatable_read", readonly=True)
            await transaction.start()
            self._snapshot = transaction
        self._open += 1
        try:
            return await db.cursor(sql, *values)
        except BaseException:
            await self._end()
            raise

    async def _end(self) -> None:
        self._open -= 1
        if not self._open:
            transaction, self._snapshot = self._snapshot, None
            if not self._db.is_closed():
                await transaction.rollback()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except _MISSING:
            raise NotFound(
                "no_records",
                f"there are no records at `{self._address.shown}`",
                "start the service with `remit up`",
            ) from None
        except _FAILURES as error:
            raise Unavailable(
                "records_unreadable",
                f"can't read the records at `{self._address.shown}`: {str(error) or type(error).__name__}",
                "`remit doctor` looks at the database",
            ) from None


class _Settling:
    """Up to which place no record can come up any more; `settled` is 0 as long as nothing is known.

    Who drew one of these places and is not writing any more has ended, so that its records can be seen, or never will
    be. What is said here counts for what is read after it was said.
    """

    def __init__(self) -> None:
        self.settled = 0
        self._drawn = 0  # the last place that was drawn at some moment,
        self._running: frozenset[str] | None = None  # and the transactions that ran then and have not ended

    def take(self, drawn: int, standby: bool, running: frozenset[str]) -> None:
        """Takes in how many places were drawn, and who was writing after that."""
        if standby:
            self.settled = max(self.settled, drawn - LATE)  # who is writing is known to the primary alone
        elif not running:
            self.settled, self._drawn, self._running = drawn, drawn, running
        elif self._running is None:
            self._drawn, self._running = drawn, running
        elif self._running.isdisjoint(running):
            self.settled, self._drawn, self._running = max(self.settled, self._drawn), drawn, running


class PostgresTail:
    """Fulfils `remit.storage.reader.Tail`, with records that become visible out of order."""

    def __init__(self, reader: PostgresReader, kinds: tuple[str, ...]) -> None:
        self._reader = reader
        self._kinds = list(kinds)
        self._settling = _Settling()
        self._seen: set[int] = set()  # places above what is settled
        self._seen = {row[0] for row in reader._wait(self._look("SELECT seq", begin=True))}

    def fresh(self) -> list[Stored]:
        """The records that could not be seen yet when this was last asked."""
        found = [Stored(*row) for row in self._reader._wait(self._look("SELECT seq, stream, n, bytes"))]
        self._seen.update(stored.seq for stored in found)
        self._seen = {seq for seq in self._seen if seq > self._settling.settled}
        return found

    async def _look(self, what: str, *, begin: bool = False) -> list[asyncpg.Record]:
        """The rows above what was settled that were not seen; then more is settled."""
        db = await self._reader._connected()
        drawn, standby, running = await _writing(db)
        if begin:
            self._settling.settled = max(0, drawn - LATE)
        sql = f"{what} FROM records WHERE seq > $1 AND kind = ANY($2::text[]) AND seq <> ALL($3::bigint[]) ORDER BY seq"
        found = await db.fetch(sql, self._settling.settled, self._kinds, list(self._seen))
        self._settling.take(drawn, standby, running)
        return found


async def _writing(db: asyncpg.Connection[asyncpg.Record]) -> tuple[int, bool, frozenset[str]]:
    """How many places were drawn; whether this is a standby; and, asked after that, who is writing."""
    drawn, standby = (await db.fetch(_DRAWN))[0]
    return drawn, standby, frozenset(str(row[0]) for row in await db.fetch(_RUNNING))


async def _close(db: asyncpg.Connection[asyncpg.Record]) -> None:
    try:
        await db.close(timeout=2)
    except (*_FAILURES, asyncio.CancelledError):
        db.terminate()
