"""Keys and sealed openings in SQLite: putting them there, finding them, and erasing them.

Rows of `subjects` are never deleted but overwritten with zeros in their place: deleting rows makes SQLite move others
from page to page, and copies of their keys would stay behind in what the pages don't use.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Set

from remit.decide.sequence import Erased, Kept, Place, Wanted
from remit.storage.ended import LOOKED, is_over
from remit.storage.sealing import Opened, Sealed, Subject, mark_of, name_of, unsealed

_OPENINGS = "SELECT o.stream, o.n, o.path, s.key, o.sealed FROM openings o JOIN subjects s ON s.id = o.key"
_ZERO = "UPDATE subjects SET mark = NULL, name = zeroblob(length(name)), key = zeroblob(length(key)) WHERE id = ?"


def openings(db: sqlite3.Connection, stream: str, n: int | None = None) -> list[tuple[int, Opened]]:
    """The openings of a stream, or of one of its records, that open: (n, (pointer, salt, value))."""
    where, values = " WHERE o.stream = ? AND s.mark IS NOT NULL", [stream]
    if n is not None:
        where, values = where + " AND o.n = ?", [stream, n]  # type: ignore[list-item]  # a number
    return unsealed(db.execute(f"{_OPENINGS}{where} ORDER BY o.n, o.path", values))


def keys_of(db: sqlite3.Connection, name: str) -> list[tuple[int, bytes]]:
    """The living keys of a subject, the newest one first."""
    sql = "SELECT id, name, key FROM subjects WHERE mark = ? ORDER BY id DESC"
    return [(id_, key) for id_, sealed, key in db.execute(sql, (mark_of(name),)) if name_of(id_, sealed, key) == name]


def newest_key(db: sqlite3.Connection, name: str) -> tuple[int, bytes] | None:
    """The key that openings of a subject are sealed under."""
    return next(iter(keys_of(db, name)), None)


def put(
    db: sqlite3.Connection, made: Iterable[Subject], sealed: Iterable[Sealed], noted: Set[tuple[int, str]]
) -> set[tuple[int, str]]:
    """Adds keys and openings, in the transaction under way; which keys and streams go together beside `noted`."""
    db.executemany("INSERT INTO subjects(id, mark, name, key, t) VALUES (?, ?, ?, ?, ?)", made)
    sealed = tuple(sealed)
    db.executemany("INSERT INTO openings(stream, n, path, key, sealed) VALUES (?, ?, ?, ?, ?)", sealed)
    new = {(row[3], row[0]) for row in sealed} - noted
    db.executemany("INSERT OR IGNORE INTO subject_streams(key, stream) VALUES (?, ?)", sorted(new))
    return new


def erase(db: sqlite3.Connection, erased: Iterable[Erased]) -> set[int]:
    """Takes openings and keys away, in the transaction under way; the keys that are gone.

    A key under which nothing is left goes too.
    """
    gone: set[int] = set()
    for each in erased:
        touched: set[tuple[int, str]] = set()
        for place in each.openings:
            sql = "DELETE FROM openings WHERE stream = ? AND n = ? AND path = ? RETURNING key"
            touched.update((row[0], place[0]) for row in db.execute(sql, place).fetchall())
        for key in each.keys:
            sql = "DELETE FROM openings WHERE key = ? AND stream = ?"
            streams = db.execute("SELECT key, stream FROM subject_streams WHERE key = ?", (key,)).fetchall()
            db.executemany(sql, streams)
            db.execute("DELETE FROM subject_streams WHERE key = ?", (key,))
            db.execute(_ZERO, (key,))
            gone.add(key)
        for key, stream in sorted(touched):
            sql = "SELECT 1 FROM openings WHERE stream = ? AND key = ? LIMIT 1"
            if db.execute(sql, (stream, key)).fetchone() is None:
                db.execute("DELETE FROM subject_streams WHERE key = ? AND stream = ?", (key, stream))
        for key in sorted({key for key, _ in touched} - gone):
            if db.execute("SELECT 1 FROM subject_streams WHERE key = ? LIMIT 1", (key,)).fetchone() is None:
                db.execute(_ZERO, (key,))
                gone.add(key)
    return gone


def find(db: sqlite3.Connection, wanted: Wanted) -> Kept:
    """As `Sequencer.kept`."""
    if wanted.subject:
        return _of_subject(db, wanted)
    if wanted.before:
        return _ended(db, wanted)
    sql = "SELECT 1 FROM openings WHERE stream = ? AND n = ? AND path = ?"
    return Kept(places=tuple(place for place in wanted.places if db.execute(sql, place).fetchone() is not None))


def _of_subject(db: sqlite3.Connection, wanted: Wanted) -> Kept:
    keys = tuple(id_ for id_, _ in keys_of(db, wanted.subject))
    found: list[Place] = []
    for key in keys:
        sql = (
            "SELECT o.stream, o.n, o.path FROM subject_streams u "
            "JOIN openings o ON o.stream = u.stream AND o.key = u.key "
            "WHERE u.key = ? ORDER BY o.stream, o.n, o.path LIMIT ?"
        )
        found += db.execute(sql, (key, wanted.most + 1 - len(found))).fetchall()
        if len(found) > wanted.most:
            return Kept(places=tuple(found[: wanted.most]), keys=keys, more=True)
    return Kept(places=tuple(found), keys=keys)


def _ended(db: sqlite3.Connection, wanted: Wanted) -> Kept:
    found: list[Place] = []
    after = wanted.after
    for _ in range(LOOKED):
        row = db.execute("SELECT min(stream) FROM openings WHERE stream > ?", (after,)).fetchone()
        if row[0] is None or is_over(row[0], wanted.before):
            return Kept(places=tuple(found))
        stream = str(row[0])
        places = list(_old_places(db, stream, wanted))
        if len(found) + len(places) > wanted.most:
            room = wanted.most - len(found)
            return Kept(places=(*found, *places[:room]), more=True, after=after)
        found += places
        after = stream
    return Kept(places=tuple(found), after=after)


def _old_places(db: sqlite3.Connection, stream: str, wanted: Wanted) -> Iterator[Place]:
    """What of a stream is old: all of a session that ended before, and single records of other streams."""
    most = wanted.most + 1
    if stream.startswith("session/"):
        root = stream.removeprefix("session/")
        if db.execute("SELECT 1 FROM pending WHERE root = ?", (root,)).fetchone() is not None:
            return
        last = db.execute("SELECT t FROM records WHERE stream = ? ORDER BY n DESC LIMIT 1", (stream,)).fetchone()
        if last is not None and last[0] < wanted.before:
            sql = "SELECT stream, n, path FROM openings WHERE stream = ? ORDER BY n, path LIMIT ?"
            yield from db.execute(sql, (stream, most))
        return
    sql = (
        "SELECT o.stream, o.n, o.path FROM openings o JOIN records r ON r.stream = o.stream AND r.n = o.n "
        "WHERE o.stream = ? AND r.t < ? ORDER BY o.n, o.path LIMIT ?"
    )
    yield from db.execute(sql, (stream, wanted.before, most))
