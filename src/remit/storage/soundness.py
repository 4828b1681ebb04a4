"""Whether the records in a SQLite file are still what was written: looked at before anything is decided on them.

1. The file is a sound database: its pages, and its indexes against its tables (`PRAGMA integrity_check`). Every kept
   text is what its digest says.
2. Every record, the newest first: its columns say what its bytes say; the record after it in its stream quotes its
   hash; and the published log, where there is one, has its hash at its place.

Both end when their time is over, so that a start does not take longer as the records grow; `Walk` goes on later.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from remit.core import canonical
from remit.core.errors import RemitError, Unavailable
from remit.ledger.record import decode_record, leaf_hash

PublishedHash = Callable[[int], str | None]  # of a place: the leaf hash in the log, in hex; None: not published

_PAGE: Final = 512
_OPERATIONS: Final = 10_000  # of SQLite between two looks at the time


def check_file(path: Path, seconds: float) -> bool:
    """1. Whether it was looked at whole within `seconds`; `Unavailable("records_damaged")` when it is damaged."""
    until = time.monotonic() + seconds
    with closing(_connect(path)) as db:
        db.set_progress_handler(lambda: time.monotonic() > until, _OPERATIONS)
        try:
            found = [str(row[0]) for row in db.execute("PRAGMA integrity_check(3)")]
            if found == ["ok"] and _is_empty(db):
                return True
            texts = db.execute("SELECT digest, content FROM texts").fetchall() if found == ["ok"] else []
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
                return False
            raise _refusal(error) from error
    if found != ["ok"]:
        raise damaged("; ".join(found))
    for digest, content in texts:
        if canonical.sha256(content.encode()) != digest:
            raise damaged(f"the text `{digest[:16]}…` is not what its digest says")
    return True


class Walk:
    """2. The records of one database from the newest back, in pieces; for one thread at a time."""

    def __init__(self, path: Path, published: PublishedHash) -> None:
        self._path = path
        self._published = published
        self._below: int | None = None  # the place that was looked at last
        self._links: dict[str, tuple[int, str]] = {}  # of each stream: the number last seen, and what it quotes
        self.is_done = False

    def step(self, seconds: float) -> int:
        """Looks at older records for so long; returns how many. `Unavailable("records_damaged")` for a wrong one."""
        until = time.monotonic() + seconds
        count = 0
        try:
            with closing(_connect(self._path)) as db:
                self.is_done = self.is_done or _is_empty(db)
                while not self.is_done and (not count or time.monotonic() < until):
                    count += self._page(db)
        except sqlite3.Error as error:
            raise _refusal(error) from error
        return count

    def _page(self, db: sqlite3.Connection) -> int:
        sql = "SELECT seq, stream, n, t, kind, bytes FROM records WHERE seq < ? ORDER BY seq DESC LIMIT ?"
        rows = db.execute(sql, (self._below or 1 << 62, _PAGE)).fetchall()
        for seq, stream, n, t, kind, data in rows:
            self._look(seq, stream, n, t, kind, bytes(data))
        self.is_done = len(rows) < _PAGE
        return len(rows)

    def _look(self, seq: int, stream: str, n: int, t: int, kind: str, data: bytes) -> None:
        place = seq - 1
        self._below = seq
        try:
            record = decode_record(data)
        except RemitError as error:
            raise damaged(f"the record at place {place}: {error.message}") from error
        if (record.stream, record.n, record.t, record.kind) != (stream, n, t, kind):
            raise damaged(f"the record at place {place} is not the one that its row names")
        leaf = leaf_hash(data)
        later = self._links.get(stream)
        # SECURITY: of what was changed, the record after it, or the log, still has the hash.
        if later is not None and later != (n + 1, leaf):
            raise damaged(f"record {n} of `{stream[:100]}` is not the one that the next one quotes")
        if (published := self._published(place)) is not None and published != leaf:
            raise damaged(f"the record at place {place} is not the one that was published")
        if n > 1:
            self._links[stream] = (n, record.prev)
        elif record.prev:
            raise damaged(f"the first record of `{stream[:100]}` quotes another one")
        else:
            self._links.pop(stream, None)


def damaged(why: str) -> Unavailable:
    """The error for records that are not what was written."""
    return Unavailable(
        "records_damaged",
        f"the records are damaged: {why}",
        "restore the newest backup, or let `remit verify` say what is left",
    )


def _refusal(error: sqlite3.Error) -> Unavailable:
    """What SQLite calls operational (locked, no memory, a disk that fails) says nothing about what was written."""
    if isinstance(error, sqlite3.OperationalError):
        return Unavailable(
            "storage_unavailable", f"the records can't be looked at: {error}", "try again; look at the disk if it stays"
        )
    return damaged(str(error))


def _is_empty(db: sqlite3.Connection) -> bool:
    """Whether a first start ended before it had made the tables."""
    return bool(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        # Not read-only: after a crash, what stands in the write-ahead log is recovered first.
        return sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise _refusal(error) from error
