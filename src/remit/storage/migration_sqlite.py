"""SQLite as one end of a migration."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from remit.core.errors import Conflict, NotFound, Unavailable
from remit.storage import schema
from remit.storage.migration import BATCH, RECORDS, TABLES, Row, Table, counting, reading
from remit.storage.moved import sqlite_moved_to


class SqliteEnd:
    """A database file; as a target it is written beside its place, and put there at the end."""

    def __init__(self, path: Path) -> None:
        self.shown = str(path)
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._db: sqlite3.Connection | None = None
        self._places = 0  # drawn so far

    async def moved(self) -> str:
        """As `End.moved`."""
        return sqlite_moved_to(self._path)

    async def counts(self) -> dict[str, int]:
        """As `End.counts`."""
        db = self._reading()
        if db is None:
            return {}
        return {table.name: db.execute(counting(table)).fetchone()[0] for table in TABLES}

    async def sizes(self) -> tuple[int, int]:
        """As `End.sizes`."""
        row = self._open().execute("SELECT count(DISTINCT stream), sum(length(bytes)) FROM records").fetchone()
        return int(row[0]), int(row[1])

    async def rows(self, table: Table) -> AsyncIterator[list[Row]]:
        """As `End.rows`."""
        cursor = self._open().execute(reading(table))
        while rows := cursor.fetchmany(BATCH):
            yield rows

    async def pending(self) -> set[str]:
        """As `End.pending`."""
        return {row[0] for row in self._open().execute("SELECT root FROM pending")}

    async def prepare(self, trust_domain: str) -> None:
        """As `End.prepare`."""
        db = self._reading()
        if db is not None and db.execute("SELECT count(*) FROM records").fetchone()[0]:
            return
        self.close()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._partial.unlink(missing_ok=True)
        self._db = sqlite3.connect(self._partial, isolation_level=None)
        self._partial.chmod(0o600)
        schema.prepare(self._db)
        self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.execute("BEGIN IMMEDIATE")

    async def put(self, table: Table, rows: Sequence[Row]) -> None:
        """As `End.put`; places are numbered again."""
        if table is RECORDS:
            rows = [(place, *row[1:]) for place, row in enumerate(rows, self._places + 1)]
            self._places += len(rows)
        marks = ", ".join("?" * len(table.columns))
        sql = f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({marks})"  # noqa: S608 - constants
        self._open().executemany(sql, rows)

    async def finish(self, pending: set[str]) -> None:
        """As `End.finish`."""
        self._open().executemany("INSERT INTO pending (root) VALUES (?)", ((root,) for root in sorted(pending)))

    async def commit(self) -> None:
        """As `End.commit`: the file gets its name once it is whole and on the disk."""
        self._open().execute("COMMIT")
        self.close()
        for name in (self._partial, self._partial.parent):
            descriptor = os.open(name, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
            if name == self._partial:
                for rest in ("-wal", "-shm"):
                    self._path.with_name(self._path.name + rest).unlink(missing_ok=True)
                os.replace(self._partial, self._path)

    async def mark_moved(self, place: str, now: int) -> None:
        """As `End.mark_moved`."""
        self.close()
        with sqlite3.connect(self._path, isolation_level=None) as db:
            db.execute("PRAGMA synchronous = FULL")
            db.execute("CREATE TABLE moved (place TEXT NOT NULL, t INTEGER NOT NULL) STRICT")
            db.execute("INSERT INTO moved VALUES (?, ?)", (place, now))
        db.close()

    def close(self) -> None:
        """Lets go of the file; what was not committed is gone."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def remove_partial(self) -> None:
        """Removes what an unfinished copy left."""
        for rest in ("", "-journal", "-wal", "-shm"):
            self._partial.with_name(self._partial.name + rest).unlink(missing_ok=True)

    def _reading(self) -> sqlite3.Connection | None:
        """The connection, one for reading when there is none yet; None where there is no file."""
        if self._db is None:
            if not self._path.exists():
                return None
            db = sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True, isolation_level=None)
            self._db = db
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != schema.VERSION:
                raise Conflict(
                    "store_newer",
                    f"the database has version {version}, this program moves {schema.VERSION}",
                    "upgrade Remit, or start it once with the version that is installed",
                )
            db.execute("BEGIN")  # one snapshot
        return self._db

    def _open(self) -> sqlite3.Connection:
        db = self._reading()
        if db is None:
            raise NotFound("no_records", f"there are no records at `{self.shown}`", "there is nothing to move")
        return db


@asynccontextmanager
async def sqlite_end(path: Path) -> AsyncIterator[SqliteEnd]:
    """A SQLite end for a block; whoever opens it holds the folder's lock. Raises `Unavailable` for its errors."""
    end = SqliteEnd(path)
    try:
        yield end
    except sqlite3.Error as error:
        raise Unavailable(
            "storage_unavailable", f"can't use the database at `{path}`: {error}", "`remit doctor` checks the file"
        ) from error
    finally:
        end.close()
        end.remove_partial()
