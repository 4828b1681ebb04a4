"""The one order of all records, in which they are published: each has a place, from 0, that never changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from remit.core.errors import Conflict, Unavailable


class Placed(Protocol):
    """Durable records in the order of their places, and what all processes agreed to publish; one thread at a time.

    Every method raises `Unavailable("records_unreadable")` when they can't be read.
    """

    def place(self) -> bool:
        """Gives places to the durable records that have none; False where another process is elected to.

        `Conflict("places_broken")` when a record is missing in its stream.
        """
        ...

    def entries(self, start: int, most: int) -> list[bytes]:
        """The bytes of at most `most` records from place `start` on; `Conflict("places_broken")` for a gap."""
        ...

    def agreed(self) -> bytes:
        """The newest checkpoint (a signed note) that all processes agreed on; b"" where there is none, or no need."""
        ...

    def agree(self, note: bytes, size: int) -> None:
        """Makes `note` the newest checkpoint, durably, before anybody publishes it.

        `Conflict("epoch_passed")` when another process was elected since, or has gone further: nothing is changed.
        """
        ...

    def resign(self) -> None:
        """Lets another process be elected, where this one can't publish."""
        ...

    def texts(self) -> Iterator[tuple[str, str]]:
        """The kept texts by digest."""
        ...

    def close(self) -> None:
        """Lets go of the records."""
        ...


class SqlitePlaced:
    """The records of one SQLite database, on a read-only connection of its own: places are those of its rows.

    One process has them, which is always elected, and its folder's own checkpoint counts.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise _unreadable(error) from error

    def place(self) -> bool:
        """As `Placed.place`: a row has its place from the beginning."""
        return True

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
                raise broken(f"the record at place {place - 1} is missing")
        return [bytes(data) for _, data in rows]

    def agreed(self) -> bytes:
        """As `Placed.agreed`."""
        return b""

    def agree(self, note: bytes, size: int) -> None:
        """As `Placed.agree`."""

    def resign(self) -> None:
        """As `Placed.resign`."""

    def texts(self) -> Iterator[tuple[str, str]]:
        """As `Placed.texts`."""
        try:
            yield from self._db.execute("SELECT digest, content FROM texts")
        except sqlite3.Error as error:
            raise _unreadable(error) from error

    def close(self) -> None:
        """As `Placed.close`."""
        self._db.close()


def broken(why: str) -> Conflict:
    """The refusal to publish past a record that is missing."""
    return Conflict("places_broken", why, "restore the records from the newest backup; the log goes on where it stands")


def _unreadable(error: sqlite3.Error) -> Unavailable:
    return Unavailable("records_unreadable", f"the records can't be read: {error}", "`remit doctor` checks the file")
