"""Where the records of a folder stand: in `.remit/remit.db`, or in the database that `[storage]` names."""

from __future__ import annotations

from remit.app.folder import Folder
from remit.core.settings import read_storage
from remit.storage.address import address_of
from remit.storage.postgres_reader import PostgresReader
from remit.storage.reader import Reader
from remit.storage.sqlite_reader import SqliteReader


def reader_of(folder: Folder) -> Reader:
    """A reader of the folder's records; `NotFound("no_records")` before the first start.

    Of `remit.toml` only `[storage]` must be right.
    """
    storage = read_storage(folder.root)
    if not storage.url:
        return SqliteReader(folder.database)
    return PostgresReader(address_of(storage, folder.root))
