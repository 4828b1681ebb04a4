"""The index of values: where each stood, found by a keyed digest, so that the file tells nobody what they are.

`.remit/lineage.db`, a SQLite database of its own beside the records, wherever these stand. It is derived from them,
belongs to no backup, and can be deleted at any time. For each value: HMAC-SHA-256 under the installation's key (its
first 16 bytes), the record's place, and the path in its body.

What an erasure takes away is deleted here too, and the file written anew: SQLite overwrites rows that it deletes, but
not what it left behind where it moved them from page to page before.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from remit.core.errors import Unavailable
from remit.storage.lineage_values import Value

VERSION: Final = 1
KEY_BYTES: Final = 32
MAC_BYTES: Final = 16
BUSY_MS: Final = 10_000
_CONTEXT: Final = b"remit lineage v1\x00"
_CHECK: Final = "which key this is"
_WHERE: Final = "mac BLOB NOT NULL, place INTEGER NOT NULL, path INTEGER NOT NULL, PRIMARY KEY (mac, place, path)"
_TABLES: Final = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE paths (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE) STRICT",
    f"CREATE TABLE plain ({_WHERE}) STRICT, WITHOUT ROWID",
    # What an erasure takes away, and of which records that is.
    f"CREATE TABLE personal ({_WHERE}) STRICT, WITHOUT ROWID",
    "CREATE INDEX personal_place ON personal (place)",
    "CREATE TABLE places (stream TEXT NOT NULL, n INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (stream, n))"
    " STRICT, WITHOUT ROWID",
    "CREATE UNIQUE INDEX places_place ON places (place)",
    # Records with more values than are known of one.
    "CREATE TABLE cut (place INTEGER PRIMARY KEY) STRICT",
)


class Sighting(NamedTuple):
    """A value stood here: the record's place, and the path in its body."""

    place: int
    path: str
    is_personal: bool


class Reached(NamedTuple):
    """Up to which place the records are known, and the leaf hash of the record there."""

    place: int = 0
    leaf: str = ""


class Lineage:
    """The index; a context manager, for one thread at a time. Every method raises `Unavailable("lineage_unusable")`."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key
        if len(key) < KEY_BYTES:
            raise Unavailable("lineage_unusable", f"the key beside `{path}` is too short", "delete both files")
        try:
            self._db = self._open()
        except sqlite3.DatabaseError:
            # It can always be made again.
            path.unlink(missing_ok=True)
            try:
                self._db = self._open()
            except sqlite3.Error as error:
                raise self._unusable(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @contextmanager
    def change(self) -> Iterator[None]:
        """One transaction; others that change it wait."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def reached(self) -> Reached:
        """Up to where records were added."""
        place, _, leaf = self._about("reached").partition(" ")
        return Reached(int(place), leaf) if place else Reached()

    def reach(self, place: int, leaf: str) -> None:
        """Notes it, in the change under way."""
        self._note("reached", f"{place} {leaf}")

    def add(self, place: int, stream: str, n: int, values: Sequence[Value], *, is_whole: bool = True) -> None:
        """Adds what a record holds, in the change under way; a record may be added again."""
        if not is_whole:
            self._run("INSERT OR IGNORE INTO cut VALUES (?)", (place,))
        for table in ("plain", "personal"):
            rows = [
                (self.mac(value.normal), place, self._path_id(value.path))
                for value in values
                if value.is_personal == (table == "personal")
            ]
            if rows and table == "personal":
                self._run("INSERT OR IGNORE INTO places VALUES (?, ?, ?)", (stream, n, place))
            for row in rows:
                self._run(f"INSERT OR IGNORE INTO {table} VALUES (?, ?, ?)", row)  # noqa: S608 - one of two names

    def forget(self, erased: Iterable[tuple[str, int, str]]) -> int:
        """Deletes what stood in openings (stream, n, pointer) that are gone; how many rows, in the change under way."""
        gone = 0
        for stream, n, pointer in erased:
            row = self._row("SELECT place FROM places WHERE stream = ? AND n = ?", (stream, n))
            if row is None:
                continue
            sql = "DELETE FROM personal WHERE place = ? AND path IN (SELECT id FROM paths WHERE path = ?)"
            gone += self._run(sql, (row[0], pointer)).rowcount
            if self._row("SELECT 1 FROM personal WHERE place = ? LIMIT 1", (row[0],)) is None:
                self._run("DELETE FROM places WHERE stream = ? AND n = ?", (stream, n))
        if gone:
            self._note("untidy", "yes")
        return gone

    def erased(self) -> int:
        """Up to which record of the administration erasures were followed."""
        return int(self._about("erased") or 0)

    def follow_erasures(self, n: int) -> None:
        """Notes it, in the change under way."""
        self._note("erased", str(n))

    def personal_before(self, place: int, most: int) -> list[tuple[int, str, int]]:
        """Records with personal values before a place, the last ones first: (place, stream, n)."""
        sql = "SELECT place, stream, n FROM places WHERE place < ? ORDER BY place DESC LIMIT ?"
        return list(self._run(sql, (place, most)).fetchall())

    def pointers(self, place: int) -> list[str]:
        """The openings of a record that values came from."""
        sql = "SELECT DISTINCT paths.path FROM personal JOIN paths ON paths.id = personal.path WHERE place = ?"
        return [str(row[0]) for row in self._run(sql, (place,)).fetchall()]

    def clear(self) -> None:
        """Forgets everything, in the change under way."""
        for table in ("plain", "personal", "places", "paths", "cut"):
            self._run(f"DELETE FROM {table}")  # noqa: S608 - names of ours
        self._run("DELETE FROM about WHERE name <> 'key'")
        self._note("untidy", "yes")

    def tidy(self) -> None:
        """Writes the file anew where something was deleted; outside a change, and again after one that failed."""
        if self._about("untidy"):
            # SECURITY: from here on nothing of what was deleted stands in the file.
            self._run("VACUUM")
            self._run("DELETE FROM about WHERE name = 'untidy'")

    def find(self, normals: Iterable[str], most: int) -> tuple[list[Sighting], int]:
        """The last `most` places where one of these values stood, in order; and how many there are in all."""
        macs = [self.mac(each) for each in dict.fromkeys(normals)]
        marks = ", ".join("?" * len(macs))
        both = " UNION ALL ".join(
            f"SELECT place, path AS at, {int(table == 'personal')} AS p FROM {table} WHERE mac IN ({marks})"  # noqa: S608 - placeholders only
            for table in ("plain", "personal")
        )
        total = self._row(f"SELECT count(*) FROM ({both})", (*macs, *macs))  # noqa: S608 - as above
        sql = f"SELECT place, paths.path, p FROM ({both}) JOIN paths ON paths.id = at ORDER BY place DESC, 2 LIMIT ?"  # noqa: S608
        rows = self._run(sql, (*macs, *macs, most)).fetchall()
        found = sorted(Sighting(place, path, bool(personal)) for place, path, personal in rows)
        return found, int(total[0]) if total else 0

    def size(self) -> tuple[int, int]:
        """How many values are known, and how many records had more than are."""
        values = self._row("SELECT (SELECT count(*) FROM plain) + (SELECT count(*) FROM personal)")
        cut = self._row("SELECT count(*) FROM cut")
        return (int(values[0]) if values else 0, int(cut[0]) if cut else 0)

    def mac(self, normal: str) -> bytes:
        """What stands for a value: HMAC-SHA-256 under the key, its first 16 bytes (RFC 2104, 5)."""
        data = _CONTEXT + normal.encode("utf-8", "surrogatepass")
        return hmac.new(self._key, data, hashlib.sha256).digest()[:MAC_BYTES]

    def _open(self) -> sqlite3.Connection:
        # SECURITY: nobody else may read it, from its first byte on.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            # SECURITY: no log beside the file that would keep deleted rows, and zeros over them in the file.
            db.execute("PRAGMA journal_mode = TRUNCATE")
            db.execute("PRAGMA secure_delete = ON")
            db.execute("PRAGMA synchronous = NORMAL")
            if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                self._create(db)
            check = self.mac(_CHECK).hex()
            row = db.execute("SELECT value FROM about WHERE name = 'key'").fetchone()
            if row is None or row[0] != check:
                # Under another key nothing in it can be found, and nothing of it could be deleted.
                self._create(db)
                db.execute("INSERT OR REPLACE INTO about VALUES ('key', ?)", (check,))
        except BaseException:
            db.close()
            raise
        return db

    def _create(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            db.execute(f"DROP TABLE {name}")
        for statement in _TABLES:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")

    def _path_id(self, path: str) -> int:
        self._run("INSERT OR IGNORE INTO paths(path) VALUES (?)", (path,))
        row = self._row("SELECT id FROM paths WHERE path = ?", (path,))
        return int(row[0]) if row else 0

    def _about(self, name: str) -> str:
        row = self._row("SELECT value FROM about WHERE name = ?", (name,))
        return str(row[0]) if row else ""

    def _note(self, name: str, value: str) -> None:
        self._run("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))

    def _row(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._run(sql, values).fetchone()
        return row

    def _run(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            return self._db.execute(sql, values)
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _unusable(self, error: sqlite3.Error) -> Unavailable:
        is_busy = getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        advice = "it holds nothing but an index: delete it, and it is made again"
        next_step = "another process writes it: try again in a moment" if is_busy else advice
        return Unavailable("lineage_unusable", f"can't use `{self._path}`: {error}", next_step)
