"""Databases as version 1 had them, with openings in plain, made from those of today."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from remit.storage.sqlite_reader import SqliteReader

PLAIN = """
CREATE TABLE openings (
    stream TEXT NOT NULL,
    n      INTEGER NOT NULL,
    path   TEXT NOT NULL,
    salt   BLOB NOT NULL,
    value  BLOB NOT NULL,
    PRIMARY KEY (stream, n, path)
) STRICT, WITHOUT ROWID;
"""
PLAIN_POSTGRES = """
CREATE TABLE openings (
    stream text COLLATE "C" NOT NULL,
    n      bigint NOT NULL,
    path   text COLLATE "C" NOT NULL,
    salt   bytea NOT NULL,
    value  bytea NOT NULL,
    PRIMARY KEY (stream, n, path)
);
"""
Rows = list[tuple[str, int, str, bytes, bytes]]


def openings_of(path: Path) -> Rows:
    """All openings of a database of any version."""
    with SqliteReader(path) as reader:
        return [
            (stored.stream, stored.n, *opening)
            for stored in reader.records()
            for opening in reader.openings(stored.stream, stored.n)
        ]


def make_version_1(path: Path) -> Rows:
    """Makes of a SQLite database what it was in version 1; its openings."""
    rows = openings_of(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(
            f"BEGIN; DROP TABLE openings; DROP TABLE subjects; DROP TABLE subject_streams; {PLAIN}"
            "PRAGMA user_version = 1; COMMIT;"
        )
        db.executemany("INSERT INTO openings VALUES (?, ?, ?, ?, ?)", rows)
    return rows
