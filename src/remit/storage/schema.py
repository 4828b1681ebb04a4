"""The SQLite schema, its version, and the pragmas that durability rests on."""

from __future__ import annotations

import sqlite3
from typing import Final

from remit.core.errors import Conflict

VERSION: Final = 1

_TABLES: Final = """
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
CREATE TABLE openings (
    stream TEXT NOT NULL,
    n      INTEGER NOT NULL,
    path   TEXT NOT NULL,
    salt   BLOB NOT NULL,
    value  BLOB NOT NULL,
    PRIMARY KEY (stream, n, path)
) STRICT, WITHOUT ROWID;
CREATE TABLE texts (digest TEXT PRIMARY KEY, content TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE pending (root TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
"""


def prepare(db: sqlite3.Connection) -> None:
    """Sets the pragmas, and creates the tables in an empty database; a database of a later version is refused."""
    db.execute("PRAGMA journal_mode = WAL")
    # SECURITY: no record, no permit; a commit is on the disk before it is answered.
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA busy_timeout = 2000")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise Conflict(
            "store_newer", f"the database has version {version}, this program knows {VERSION}", "upgrade Remit"
        )
    if version == 0:
        db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
