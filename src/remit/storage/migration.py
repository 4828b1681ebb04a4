"""Moves records from one storage to the other, byte for byte; the source is never changed by copying.

1. Nobody decides on either of them: a lock on each is held alone.
2. The target is empty, or already holds just what the source does.
3. Records are copied in the order of their places, then openings, texts and keys, in bounded batches and in one
   transaction; state that follows from them (heads of streams, what is pending) is made anew.
4. Everything is read again from both and compared, each record's bytes too. Then it is committed.

Whatever ends it before, the target is as it was. Places stay as they are from SQLite to PostgreSQL; the other way they
are numbered again without gaps, in the same order, because PostgreSQL leaves gaps where a batch failed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from remit.core.errors import Conflict, NotFound
from remit.ledger.record import decode_record
from remit.storage.moved import moved

Progress = Callable[[str, int, int], None]  # what is being done, rows done, rows in all
Row = tuple[Any, ...]

BATCH: Final = 512  # rows; a record is at most 64 KiB


class Table(NamedTuple):
    """What is copied of a table, and the order in which it is read."""

    name: str
    columns: tuple[str, ...]
    order: str
    where: str = "true"


RECORDS: Final = Table("records", ("seq", "stream", "n", "t", "kind", "key", "bytes"), "seq")
OPENINGS: Final = Table("openings", ("stream", "n", "path", "key", "sealed"), "stream, n, path")
SUBJECTS: Final = Table("subjects", ("id", "mark", "name", "key", "t"), "id", "mark IS NOT NULL")
STREAMS: Final = Table("subject_streams", ("key", "stream"), "key, stream")
TEXTS: Final = Table("texts", ("digest", "content"), "digest")
TABLES: Final = (RECORDS, OPENINGS, TEXTS, SUBJECTS, STREAMS)


class Migrated(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the target now; `copied` is false where it stood there already."""

    source: str
    target: str
    records: int
    streams: int
    openings: int
    texts: int
    bytes: int  # of the records
    copied: bool


def counting(table: Table) -> str:
    """How the rows of a table are counted."""
    return f"SELECT count(*) FROM {table.name} WHERE {table.where}"  # noqa: S608 - constants


def reading(table: Table) -> str:
    """How the rows of a table are read."""
    return f"SELECT {', '.join(table.columns)} FROM {table.name} WHERE {table.where} ORDER BY {table.order}"  # noqa: S608 - constants


class End(Protocol):
    """One of the two storages, with nobody else deciding on it."""

    shown: str

    async def moved(self) -> str:
        """Where the records were moved to before; empty where they were not."""
        ...

    async def counts(self) -> dict[str, int]:
        """The rows of each table; none where there is no such storage yet."""
        ...

    async def sizes(self) -> tuple[int, int]:
        """How many streams there are, and the bytes of all records."""
        ...

    def rows(self, table: Table) -> AsyncIterator[list[Row]]:
        """All rows in the table's order, in batches."""
        ...

    async def pending(self) -> set[str]:
        """The roots of the sessions in which time alone can still change something."""
        ...

    async def prepare(self, trust_domain: str) -> None:
        """Makes empty tables to put rows into."""
        ...

    async def put(self, table: Table, rows: Sequence[Row]) -> None:
        """Adds rows, in the transaction under way."""
        ...

    async def finish(self, pending: set[str]) -> None:
        """Makes what follows from the records."""
        ...

    async def commit(self) -> None:
        """Makes what was put durable; without it nothing of it stays."""
        ...

    async def mark_moved(self, place: str, now: int) -> None:
        """Says that the records stand at `place` from now on: nobody decides on these any more."""
        ...


async def migrate(source: End, target: End, trust_domain: str, progress: Progress = lambda *_: None) -> Migrated:
    """Copies everything from `source` to `target`, and compares it; both have been opened for this alone.

    `NotFound("no_records")` for an empty source; `Conflict`: `records_moved`, `store_foreign`, `target_not_empty`,
    `copy_differs`.
    """
    for end in (source, target):
        if place := await end.moved():
            raise moved(end.shown, place)
    counts = await source.counts()
    if not counts.get("records"):
        raise NotFound("no_records", f"there are no records at `{source.shown}`", "there is nothing to move")
    await _check_domain(source, trust_domain)
    await target.prepare(trust_domain)
    there = await target.counts()
    copied = not any(there.values())
    if copied:
        await _copy(source, target, counts, progress)
    elif there != counts:
        raise _not_empty(target)
    try:
        await _compare(source, target, counts, progress)
    except Conflict:
        if copied:
            raise
        raise _not_empty(target) from None
    if copied:
        await target.commit()
    return await summary(source, target, copied=copied)


async def summary(source: End, target: End, *, copied: bool) -> Migrated:
    """What the source holds."""
    counts = await source.counts()
    streams, size = await source.sizes()
    return Migrated(
        source=source.shown,
        target=target.shown,
        records=counts["records"],
        streams=streams,
        openings=counts["openings"],
        texts=counts["texts"],
        bytes=size,
        copied=copied,
    )


async def _copy(source: End, target: End, counts: dict[str, int], progress: Progress) -> None:
    total, done = sum(counts.values()), 0
    for table in TABLES:
        async for rows in source.rows(table):
            await target.put(table, rows)
            done += len(rows)
            progress("copying", done, total)
    await target.finish(await source.pending())


async def _compare(source: End, target: End, counts: dict[str, int], progress: Progress) -> None:
    """Each row of both, side by side; `Conflict("copy_differs")` where they differ."""
    total, done = sum(counts.values()), 0
    for table in TABLES:
        skipped = 1 if table is RECORDS else 0  # places may be numbered again; their order is compared
        one, other = _each(source.rows(table)), _each(target.rows(table))
        while True:
            left, right = await anext(one, None), await anext(other, None)
            if left is None and right is None:
                break
            if left is None or right is None or left[skipped:] != right[skipped:]:
                where = " ".join(str(part)[:80] for part in (left or right or ())[:3])
                raise Conflict(
                    "copy_differs", f"the copy differs at {table.name} {where}", "nothing was changed; try again"
                )
            done += 1
            if done % BATCH == 0:
                progress("comparing", done, total)
    if await source.pending() != await target.pending():
        raise Conflict("copy_differs", "the copy differs in what is pending", "nothing was changed; try again")
    progress("comparing", done, total)


async def _each(batches: AsyncIterator[list[Row]]) -> AsyncIterator[Row]:
    async for rows in batches:
        for row in rows:
            yield row


async def _check_domain(source: End, trust_domain: str) -> None:
    async for rows in source.rows(RECORDS):
        found = decode_record(rows[0][-1]).td
        if found != trust_domain:
            raise Conflict(
                "store_foreign",
                f"the records at `{source.shown}` are of `{found}`, and this project is `{trust_domain}`",
                "correct `trust_domain`, which never changes",
            )
        return


def _not_empty(target: End) -> Conflict:
    return Conflict(
        "target_not_empty",
        f"there are other records at `{target.shown}`",
        "name an empty database or another schema; nothing was changed",
    )
