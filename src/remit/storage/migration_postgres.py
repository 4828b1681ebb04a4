"""PostgreSQL as one end of a migration."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from remit.core.errors import Conflict
from remit.storage import postgres_schema
from remit.storage.address import Address
from remit.storage.migration import BATCH, RECORDS, TABLES, Row, Table, counting, reading
from remit.storage.moved import postgres_moved_to
from remit.storage.postgres_link import FAILURES, Db
from remit.storage.postgres_places import has_places
from remit.storage.presence import connect, exclude, leave, unavailable

_PUBLISHED: Final = f"""
SELECT {", ".join(f"r.{column}" for column in RECORDS.columns)}
FROM records r LEFT JOIN places p ON p.seq = r.seq ORDER BY p.place NULLS LAST, r.seq
"""  # noqa: S608 - constants


class PostgresEnd:
    """A database, on one connection that holds the lock of all processes alone, in one transaction."""

    def __init__(self, address: Address, db: Db) -> None:
        self.shown = address.shown if address.schema == "remit" else f"{address.shown} (schema {address.schema})"
        self._address = address
        self._db = db
        self._transaction: Any = None

    async def moved(self) -> str:
        """As `End.moved`."""
        return await postgres_moved_to(self._db)

    async def counts(self) -> dict[str, int]:
        """As `End.counts`."""
        if await self._db.fetchval("SELECT to_regclass('records')") is None:
            return {}
        version = await self._db.fetchval("SELECT version FROM installation")
        if version != postgres_schema.VERSION:
            raise Conflict(
                "store_newer",
                f"the database has version {version}, this program moves {postgres_schema.VERSION}",
                "upgrade Remit, or start it once with the version that is installed",
            )
        await self._begin()
        return {table.name: await self._db.fetchval(counting(table)) for table in TABLES}

    async def sizes(self) -> tuple[int, int]:
        """As `End.sizes`."""
        row = await self._db.fetchrow("SELECT count(DISTINCT stream), sum(length(bytes)) FROM records")
        return (int(row[0]), int(row[1])) if row else (0, 0)

    async def rows(self, table: Table) -> AsyncIterator[list[Row]]:
        """As `End.rows`; records in the order in which they are published, so that the log goes on in the target."""
        is_placed = table is RECORDS and await has_places(self._db)
        cursor = await self._db.cursor(_PUBLISHED if is_placed else reading(table))
        while rows := await cursor.fetch(BATCH):
            yield [tuple(row) for row in rows]

    async def pending(self) -> set[str]:
        """As `End.pending`."""
        sql = "SELECT substr(name, 9) FROM streams WHERE due IS NOT NULL AND name LIKE 'session/%'"
        return {str(row[0]) for row in await self._db.fetch(sql)}

    async def prepare(self, trust_domain: str) -> None:
        """As `End.prepare`."""
        await self._end()
        await postgres_schema.prepare(self._db, self._address.schema, trust_domain)
        await self._begin()

    async def put(self, table: Table, rows: Sequence[Row]) -> None:
        """As `End.put`."""
        await self._db.copy_records_to_table(
            table.name, schema_name=self._address.schema, columns=list(table.columns), records=rows
        )

    async def finish(self, pending: set[str]) -> None:
        """As `End.finish`: heads, what may be due, the next place, and the time before which nothing is recorded."""
        await self._db.execute(postgres_schema.FILL_STREAMS)
        sql = "UPDATE streams SET due = NULL WHERE due IS NOT NULL AND NOT substr(name, 9) = ANY($1::text[])"
        await self._db.execute(sql, sorted(pending))
        await self._db.execute(
            "SELECT setval(pg_get_serial_sequence('records', 'seq'), (SELECT max(seq) FROM records))"
        )
        await self._db.execute(
            "INSERT INTO processes (id, name, t, lives) "
            "SELECT 'migration', 'remit store migrate', max(t), 1 FROM records"
        )
        await self._db.execute("ANALYZE")

    async def commit(self) -> None:
        """As `End.commit`."""
        transaction, self._transaction = self._transaction, None
        await transaction.commit()

    async def mark_moved(self, place: str, now: int) -> None:
        """As `End.mark_moved`."""
        await self._end()
        async with self._db.transaction():
            await self._db.execute("CREATE TABLE moved (place text NOT NULL, t bigint NOT NULL)")
            await self._db.execute("INSERT INTO moved VALUES ($1, $2)", place, now)

    async def _begin(self) -> None:
        if self._transaction is None:
            transaction = self._db.transaction(isolation="repeatable_read")
            await transaction.start()
            self._transaction = transaction

    async def _end(self) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            await transaction.rollback()


@asynccontextmanager
async def postgres_end(address: Address) -> AsyncIterator[PostgresEnd]:
    """A PostgreSQL end for a block; `Conflict("records_in_use")` while a process decides on its records."""
    db: Db | None = None
    try:
        db = await connect(address, seconds=None)
        await exclude(db, address)
        yield PostgresEnd(address, db)
    except FAILURES as error:
        raise unavailable(address, error) from error
    finally:
        await leave(db)
