"""Reads the records of a SQLite database, also while a service writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

from remit.core.errors import NotFound, Unavailable
from remit.storage import sqlite_erasing
from remit.storage.reader import Stored
from remit.storage.sealing import unsealed

_AT_ONCE: Final = 512  # placeholders of one statement

_SEALED: Final = (
    "SELECT o.stream, o.n, o.path, coalesce(s.key, x''), o.sealed "
    "FROM openings o LEFT JOIN subjects s ON s.id = o.key AND s.mark IS NOT NULL"
)


class SqliteReader:
    """Fulfils `remit.storage.reader.Reader`."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise NotFound("no_records", f"there are no records at `{path}`", "start the service with `remit up`")
        self._path = path
        try:
            self._db = sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def records(self, *, kinds: tuple[str, ...] = (), last: int | None = None) -> Iterator[Stored]:
        """All records, or those of some kinds, in the order in which they were appended; or the `last` ones."""
        return self._records(0, kinds, last)

    def backwards(self, kinds: tuple[str, ...]) -> Iterator[Stored]:
        """All records of these kinds, the last one first."""
        sql = f"SELECT seq, stream, n, bytes FROM records WHERE kind IN ({', '.join('?' * len(kinds))})"  # noqa: S608 - placeholders only
        yield from map(Stored._make, self._rows(f"{sql} ORDER BY seq DESC", kinds))

    def tail(self, kinds: tuple[str, ...]) -> SqliteTail:
        """What is appended of these kinds from now on."""
        return SqliteTail(self, kinds, self.settled())

    def at(self, places: Sequence[int]) -> list[Stored]:
        """The records at these places, in the order given; places without one are left out."""
        found: dict[int, Stored] = {}
        for start in range(0, len(places), _AT_ONCE):
            some = places[start : start + _AT_ONCE]
            sql = f"SELECT seq, stream, n, bytes FROM records WHERE seq IN ({', '.join('?' * len(some))})"  # noqa: S608 - placeholders only
            found |= {row[0]: Stored(*row) for row in self._rows(sql, some)}
        return [found[place] for place in places if place in found]

    def after(self, place: int, most: int) -> list[Stored]:
        """At most `most` records behind a place, in order."""
        sql = "SELECT seq, stream, n, bytes FROM records WHERE seq > ? ORDER BY seq LIMIT ?"
        return [Stored(*row) for row in self._rows(sql, (place, most))]

    def settled(self) -> int:
        """The last place: with one writer, what comes later has a later place."""
        row = self._row("SELECT coalesce(max(seq), 0) FROM records")
        return int(row[0]) if row else 0

    def by_stream(self) -> Iterator[tuple[str, int, bytes]]:
        """All records, stream by stream, in order: (stream, number, bytes)."""
        yield from self._rows("SELECT stream, n, bytes FROM records ORDER BY stream, n")

    def stream(self, name: str) -> Iterator[Stored]:
        """The records of one stream."""
        sql = "SELECT seq, stream, n, bytes FROM records WHERE stream = ? ORDER BY n"
        yield from map(Stored._make, self._rows(sql, (name,)))

    def find(self, key: str) -> Stored | None:
        """The record of a decision or the opening of a task by its id."""
        row = self._row("SELECT seq, stream, n, bytes FROM records WHERE key = ? ORDER BY seq LIMIT 1", (key,))
        return Stored(*row) if row else None

    def keys_ending(self, end: str, most: int = 5) -> list[str]:
        """The ids of decisions and tasks that end so; at most `most`."""
        sql = "SELECT DISTINCT key FROM records WHERE key IS NOT NULL AND substr(key, -length(?1)) = ?1 LIMIT ?2"
        return [str(row[0]) for row in self._rows(sql, (end, most))]

    def openings(self, stream: str, n: int) -> list[tuple[str, bytes, bytes]]:
        """The openings of one record that are still kept: (pointer, salt, canonical JSON of the value)."""
        if self._is_plain():
            sql = "SELECT path, salt, value FROM openings WHERE stream = ? AND n = ? ORDER BY path"
            return list(self._rows(sql, (stream, n)))
        return sorted(opened for _, opened in unsealed(self._sealed(" WHERE o.stream = ? AND o.n = ?", (stream, n))))

    def broken(self, stream: str, n: int) -> list[str]:
        """The pointers of openings of one record that are there and don't open: swapped, changed, or without a key."""
        rows = [] if self._is_plain() else list(self._sealed(" WHERE o.stream = ? AND o.n = ?", (stream, n)))
        return sorted({row[2] for row in rows} - {path for _, (path, _, _) in unsealed(rows)})

    def opened(self, subject: str = "") -> Iterator[tuple[str, int, str, bytes]]:
        """All openings that open, or those of one subject, stream by stream: (stream, n, pointer, canonical value)."""
        where, values = "", tuple[int, ...]()
        if subject:
            try:
                keys = [id_ for id_, _ in sqlite_erasing.keys_of(self._db, subject)]
            except sqlite3.Error as error:
                raise self._unreadable(error) from None
            # Of each stream only what is sealed for the subject is read.
            streams = f"SELECT stream FROM subject_streams WHERE key IN ({', '.join('?' * len(keys))})"  # noqa: S608 - placeholders only
            where = f" WHERE o.stream IN ({streams}) AND o.key IN ({', '.join('?' * len(keys))})"
            values = (*keys, *keys)
        for row in self._sealed(where, values):
            for n, (path, _, value) in unsealed([row]):
                yield row[0], n, path, value

    def personal(self) -> int:
        """How many openings are kept."""
        row = self._row("SELECT count(*) FROM openings")
        return int(row[0]) if row else 0

    def texts(self) -> Iterator[tuple[str, str]]:
        """The kept texts by digest."""
        yield from self._rows("SELECT digest, content FROM texts ORDER BY digest")

    def text(self, digest: str) -> str | None:
        """One kept text, or None."""
        row = self._row("SELECT content FROM texts WHERE digest = ?", (digest,))
        return str(row[0]) if row else None

    def count(self) -> int:
        """How many records there are."""
        row = self._row("SELECT count(*) FROM records")
        return int(row[0]) if row else 0

    def damage(self) -> list[str]:
        """What SQLite finds wrong with the file (`PRAGMA quick_check`); nothing when it is in order."""
        found = [str(row[0]) for row in self._rows("PRAGMA quick_check(20)")]
        return [] if found == ["ok"] else found

    def _records(self, after: int, kinds: tuple[str, ...], last: int | None) -> Iterator[Stored]:
        where, values = "seq > ?", [after, *kinds]
        if kinds:
            where += f" AND kind IN ({', '.join('?' * len(kinds))})"
        sql = f"SELECT seq, stream, n, bytes FROM records WHERE {where} ORDER BY seq"  # noqa: S608 - placeholders only
        if last is not None:
            sql = f"SELECT * FROM ({sql} DESC LIMIT ?) ORDER BY 1"  # noqa: S608 - as above
            values.append(last)
        yield from map(Stored._make, self._rows(sql, values))

    def _is_plain(self) -> bool:
        """Whether the tables are those of version 1, which the next start of a service upgrades."""
        row = self._row("PRAGMA user_version")
        return row is not None and row[0] == 1

    def _sealed(self, where: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Rows of openings with their keys; no bytes for a key that is gone."""
        yield from self._rows(f"{_SEALED}{where} ORDER BY o.stream, o.n, o.path", values)

    def _row(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        return next(iter(list(self._rows(sql, values))), None)

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.execute(sql, values)
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: sqlite3.Error) -> Unavailable:
        return Unavailable(
            "records_unreadable", f"can't read the records at `{self._path}`: {error}", "`remit doctor` checks the file"
        )


class SqliteTail:
    """Fulfils `remit.storage.reader.Tail`: with one writer, what comes later has a later place."""

    def __init__(self, reader: SqliteReader, kinds: tuple[str, ...], after: int) -> None:
        self._reader = reader
        self._kinds = kinds
        self._after = after

    def fresh(self) -> list[Stored]:
        """The records that could not be seen yet when this was last asked."""
        found = list(self._reader._records(self._after, self._kinds, None))
        self._after = max((stored.seq for stored in found), default=self._after)
        return found
