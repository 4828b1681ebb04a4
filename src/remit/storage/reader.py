"""Reads the records of a database, also while a service writes it; changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import quote

from remit.core.errors import NotFound
from remit.ledger.record import Record, decode_record


class Stored(NamedTuple):
    """One stored record: its place in the database, its stream and number, its bytes."""

    seq: int
    stream: str
    n: int
    data: bytes

    @property
    def record(self) -> Record:
        """The record in the bytes."""
        return decode_record(self.data)


class Reader:
    """A read-only view of the records; a context manager. `NotFound` when there is no database."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise NotFound("no_records", f"there are no records at `{path}`", "start the service with `remit up`")
        self._db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def records(self, *, after: int = 0, kinds: tuple[str, ...] = (), last: int | None = None) -> Iterator[Stored]:
        """Records in the order in which they were appended: those after `after`, or the `last` ones."""
        where, values = "seq > ?", [after, *kinds]
        if kinds:
            where += f" AND kind IN ({', '.join('?' * len(kinds))})"
        sql = f"SELECT seq, stream, n, bytes FROM records WHERE {where} ORDER BY seq"  # noqa: S608 - placeholders only
        if last is not None:
            sql = f"SELECT * FROM ({sql} DESC LIMIT ?) ORDER BY 1"  # noqa: S608 - as above
            values.append(last)
        for row in self._db.execute(sql, values):
            yield Stored(*row)

    def by_stream(self) -> Iterator[tuple[str, int, bytes]]:
        """All records, stream by stream, in order: (stream, number, bytes)."""
        yield from self._db.execute("SELECT stream, n, bytes FROM records ORDER BY stream, n")

    def stream(self, name: str) -> Iterator[Stored]:
        """The records of one stream."""
        for row in self._db.execute("SELECT seq, stream, n, bytes FROM records WHERE stream = ? ORDER BY n", (name,)):
            yield Stored(*row)

    def find(self, key: str) -> Stored | None:
        """The record of a decision or the opening of a task by its id."""
        row = self._db.execute("SELECT seq, stream, n, bytes FROM records WHERE key = ? LIMIT 1", (key,)).fetchone()
        return Stored(*row) if row else None

    def openings(self, stream: str, n: int) -> list[tuple[str, bytes, bytes]]:
        """The openings of one record that are still kept: (pointer, salt, canonical JSON of the value)."""
        sql = "SELECT path, salt, value FROM openings WHERE stream = ? AND n = ? ORDER BY path"
        return self._db.execute(sql, (stream, n)).fetchall()

    def texts(self) -> Iterator[tuple[str, str]]:
        """The kept texts by digest."""
        yield from self._db.execute("SELECT digest, content FROM texts ORDER BY digest")

    def text(self, digest: str) -> str | None:
        """One kept text, or None."""
        row = self._db.execute("SELECT content FROM texts WHERE digest = ?", (digest,)).fetchone()
        return str(row[0]) if row else None

    def last(self) -> int:
        """The place of the last record; 0 when there is none."""
        return int(self._db.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()[0])
