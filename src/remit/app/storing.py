"""What stands where in the storage of a folder, for `remit store show`."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from remit.app.folder import Folder
from remit.core.errors import NotFound, Unavailable
from remit.core.settings import read_storage
from remit.storage.address import Address, address_of
from remit.storage.lock import FolderLock
from remit.storage.migration import TABLES
from remit.storage.moved import postgres_moved_to, sqlite_moved_to
from remit.storage.postgres_link import FAILURES, Db
from remit.storage.presence import Process, connect, leave, present, unavailable

_SIZES: Final = (
    "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = $1::regnamespace"
)


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One storage. `last` is the time (ms) of the last record."""

    kind: str  # sqlite or postgresql
    place: str
    schema: str = ""
    server: str = ""  # PostgreSQL's version
    version: int  # of the tables
    records: int
    streams: int
    openings: int
    texts: int
    bytes: int  # on the disk, with indexes
    last: int
    moved: str = ""  # where the records stand now, where they were moved
    processes: tuple[Process, ...] = ()  # that decide on them now


def show_store(folder: Folder) -> Shown:
    """What the folder's storage holds; `NotFound("no_records")` before the first start."""
    storage = read_storage(folder.root)
    if storage.url:
        return asyncio.run(_postgres(address_of(storage, folder.root)))
    return _sqlite(folder)


def _sqlite(folder: Folder) -> Shown:
    path = folder.database
    if not path.exists():
        raise _nothing(str(path))
    try:
        db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
        try:
            counts = [db.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0] for table in TABLES[:3]]  # noqa: S608 - constants
            streams = db.execute("SELECT count(DISTINCT stream) FROM records").fetchone()[0]
            last = db.execute("SELECT t FROM records ORDER BY seq DESC LIMIT 1").fetchone()
            version = db.execute("PRAGMA user_version").fetchone()[0]
            moved = sqlite_moved_to(path)
        finally:
            db.close()
    except sqlite3.Error as error:
        raise Unavailable(
            "records_unreadable", f"can't read the records at `{path}`: {error}", "`remit doctor` checks the file"
        ) from None
    holder = FolderLock.holder(folder.lock)
    return Shown(
        kind="sqlite",
        place=str(path),
        version=version,
        records=counts[0],
        streams=streams,
        openings=counts[1],
        texts=counts[2],
        bytes=sum(each.stat().st_size for each in _files(path)),
        last=last[0] if last else 0,
        moved=moved,
        processes=(Process(holder, "this machine", "", ""),) if holder is not None else (),
    )


async def _postgres(address: Address) -> Shown:
    db: Db | None = None
    try:
        db = await connect(address, seconds=None)
        if await db.fetchval("SELECT to_regclass('installation')") is None:
            raise _nothing(address.shown)
        counts = [await db.fetchval(f"SELECT count(*) FROM {table.name}") for table in TABLES[:3]]  # noqa: S608 - constants
        return Shown(
            kind="postgresql",
            place=address.shown,
            schema=address.schema,
            server=str(await db.fetchval("SHOW server_version")).split()[0],
            version=await db.fetchval("SELECT version FROM installation"),
            records=counts[0],
            streams=await db.fetchval("SELECT count(*) FROM streams"),
            openings=counts[1],
            texts=counts[2],
            bytes=int(await db.fetchval(_SIZES, address.schema)),
            last=await db.fetchval("SELECT coalesce(max(t), 0) FROM streams"),
            moved=await postgres_moved_to(db),
            processes=await present(db, address),
        )
    except FAILURES as error:
        raise unavailable(address, error) from error
    finally:
        await leave(db)


def _files(path: Path) -> list[Path]:
    return [each for end in ("", "-wal") if (each := path.with_name(path.name + end)).exists()]


def _nothing(place: str) -> NotFound:
    return NotFound("no_records", f"there are no records at `{place}`", "start the service with `remit up`")
