"""Where the records of a folder stand: in `.remit/remit.db`, or in the database that `[storage]` names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from remit.app.folder import Folder
from remit.core.clock import Clock
from remit.core.errors import NotFound
from remit.core.settings import Settings, read_storage
from remit.core.storage import StorageSettings
from remit.storage.address import address_of
from remit.storage.moved import check_not_moved
from remit.storage.port import Store
from remit.storage.postgres_reader import PostgresReader
from remit.storage.reader import Reader
from remit.storage.shared import SharedStore
from remit.storage.sqlite import SqliteStore
from remit.storage.sqlite_reader import SqliteReader

OpenStore = Callable[[Folder, Settings, Clock, Callable[[], tuple[str, str]]], Awaitable[Store]]


async def open_store(folder: Folder, settings: Settings, clock: Clock, about: Callable[[], tuple[str, str]]) -> Store:
    """The folder's records, to decide and append; raises as `Store` says, and `Conflict("records_moved")`.

    With PostgreSQL, the database's clock counts, and `about` tells the other processes of this one (`Presence`).
    """
    if not settings.storage.url:
        check_not_moved(folder.database)
        return await SqliteStore.open(folder.database, settings.trust_domain, clock)
    address = address_of(settings.storage, folder.root)
    return await SharedStore.open(address, settings.trust_domain, folder.lock, about)


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
    return reader_at(folder, read_storage(folder.root))


def reader_at(folder: Folder, storage: StorageSettings) -> Reader:
    """The same, where `[storage]` was read."""
    if not storage.url:
        return SqliteReader(folder.database)
    return PostgresReader(address_of(storage, folder.root))
