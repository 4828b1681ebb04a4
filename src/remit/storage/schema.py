"""The SQLite schema, its version, and the pragmas that durability and erasure rest on."""

from __future__ import annotations

import sqlite3
from typing import Final

from remit.core.errors import Conflict
from remit.storage.upgrading import Progress, logged, upgrade_sqlite

VERSION: Final = 2

# What version 2 has beside version 1: personal values sealed under keys (docs/design/erasure.md).
PERSONAL: Final = """
CREATE TABLE subjects (
    id   INTEGER PRIMARY KEY, -- in the order of time
    mark BLOB,                -- finds the keys of a name; NULL: erased, name and key are zeros
    name BLOB NOT NULL,       -- sealed under the key
    key  BLOB NOT NULL,
    t    INTEGER NOT NULL
) STRICT;
CREATE INDEX subjects_mark ON subjects (mark) WHERE mark IS NOT NULL;
CREATE TABLE subject_streams ( -- the streams that have openings under a key
    key    INTEGER NOT NULL,
    stream TEXT NOT NULL,
    PRIMARY KEY (key, stream)
) STRICT, WITHOUT ROWID;
CREATE TABLE openings (
    stream TEXT NOT NULL,
    n      INTEGER NOT NULL,
    path   TEXT NOT NULL,
    key    INTEGER NOT NULL,
    sealed BLOB NOT NULL, -- salt and value
    PRIMARY KEY (stream, n, path)
) STRICT, WITHOUT ROWID;
"""

_TABLES: Final = f"""
CREATE TABLE records (
    seq    INTEGER PRIMARY KEY, -- nothing is ever deleted, so it only grows
    stream TEXT NOT NULL,
    n      INTEGER NOT NULL,
    t      INTEGER NOT NULL,
    kind   TEXT NOT NULL,
    key    TEXT,
    bytes  BLOB NOT NULL,
    UNIQUE (stream, n)
) STRICT;
CREATE INDEX records_key ON records (key) WHERE key IS NOT NULL;
{PERSONAL}
CREATE TABLE texts (digest TEXT PRIMARY KEY, content TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE pending (root TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
"""


# Derived from the records, and never in their place: an earlier program does not look at it.
_DERIVED: Final = """
CREATE TABLE IF NOT EXISTS histories ( -- the state of a workload's history after record n of its stream
    stream  TEXT PRIMARY KEY,
    clauses TEXT NOT NULL,
    n       INTEGER NOT NULL,
    state   BLOB NOT NULL
) STRICT, WITHOUT ROWID;
"""


def prepare(db: sqlite3.Connection, progress: Progress = logged) -> None:
    """Sets the pragmas, creates the tables in an empty database, and upgrades one of an earlier version.

    A database of a later version is refused. An upgrade is one transaction: interrupted, it begins again.
    """
    db.execute("PRAGMA journal_mode = WAL")
    # SECURITY: no record, no permit; a commit is on the disk before it is answered.
    db.execute("PRAGMA synchronous = FULL")
    # SECURITY: what is erased is overwritten with zeros, not only unlinked.
    db.execute("PRAGMA secure_delete = ON")
    db.execute("PRAGMA busy_timeout = 2000")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise Conflict(
            "store_newer", f"the database has version {version}, this program knows {VERSION}", "upgrade Remit"
        )
    if version == 0:
        db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
    elif version == 1:
        upgrade_sqlite(db, PERSONAL, VERSION, progress)
    db.executescript(_DERIVED)


def truncate(db: sqlite3.Connection) -> bool:
    """Brings everything from the WAL into the database and empties it; False while somebody reads an older state."""
    db.execute("PRAGMA busy_timeout = 0")
    try:
        busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.OperationalError:
        return False
    finally:
        db.execute("PRAGMA busy_timeout = 2000")
    return not busy
