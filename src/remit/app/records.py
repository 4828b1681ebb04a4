"""Where the records of a folder stand: in `.remit/remit.db`, or in the database that `[storage]` names."""

from __future__ import annotations

from remit.app.folder import Folder
from remit.core.clock import Clock
from remit.core.errors import NotFound, Unavailable
from remit.core.settings import Settings, read_storage
from remit.storage.address import address_of
from remit.storage.port import Store
from remit.storage.postgres_reader import PostgresReader
from remit.storage.reader import Reader
from remit.storage.sqlite import SqliteStore
from remit.storage.sqlite_reader import SqliteReader


async def open_store(folder: Folder, settings: Settings, clock: Clock) -> Store:
    """The folder's records, to decide and append; raises as `Store` says. `clock` counts for SQLite alone."""
    if not settings.storage.url:
        return await SqliteStore.open(folder.database, settings.trust_domain, clock)
    raise Unavailable("storage_unavailable", "PostgreSQL is not served yet")


def has_records(folder: Folder) -> bool:
    """Whether anything was recorded before; raises as a reader does."""
    if not read_storage(folder.root).url:
        return folder.database.exists()
    try:
        with reader_of(folder) as reader:
            return next(iter(reader.records(last=1)), None) is not None
    except NotFound:
        return False


def reader_of(folder: Folder) -> Reader:
    """A reader of the folder's records; `NotFound("no_records")` before the first start.

    Of `remit.toml` only `[storage]` must be right.
    """
    storage = read_storage(folder.root)
    if not storage.url:
        return SqliteReader(folder.database)
    return PostgresReader(address_of(storage, folder.root))
