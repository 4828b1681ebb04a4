"""The one order of all records, in which they are published: each has a place, from 0, that never changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from remit.core.errors import Conflict, Unavailable


class Placed(Protocol):
    """Durable records in the order of their places, for one thread at a time.

    Every method raises `Unavailable("records_unreadable")` when they can't be read.
    """

    def entries(self, start: int, most: int) -> list[bytes]:
        """The bytes of at most `most` records from place `start` on; `Conflict("places_broken")` for a gap."""
        ...

    def texts(self) -> Iterator[tuple[str, str]]:
        """The kept texts by digest."""
        ...

    def close(self) -> None:
        """Lets go of the records."""
        ...


class SqlitePlaced:
    """The records of one SQLite database, on a read-only connection of its own: places are those of its rows."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise _unreadable(error) from error

    def entries(self, start: int, most: int) -> list[bytes]:
        """As `Placed.entries`."""
        sql = "SELECT seq, bytes FROM records WHERE seq > ? ORDER BY seq LIMIT ?"
        try:
            rows = self._db.execute(sql, (start, most)).fetchall()
        except sqlite3.Error as error:
            raise _unreadable(error) from error
        for place, (seq, _) in enumerate(rows, start + 1):
            # SECURITY: nothing is ever deleted, so a gap is a record that somebody took away.
            if seq != place:
                raise Conflict(
                    "places_broken",
                    f"the record at place {place - 1} is missing",
                    "restore the records from the newest backup; the log goes on where it stands",
                )
        return [bytes(data) for _, data in rows]

    def texts(self) -> Iterator[tuple[str, str]]:
        """As `Placed.texts`."""
        try:
            yield from self._db.execute("SELECT digest, content FROM texts")
        except sqlite3.Error as error:
            raise _unreadable(error) from error

    def close(self) -> None:
        """As `Placed.close`."""
        self._db.close()


def _unreadable(error: sqlite3.Error) -> Unavailable:
    return Unavailable("records_unreadable", f"the records can't be read: {error}", "`remit doctor` checks the file")
