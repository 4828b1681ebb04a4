"""Which records are published already, and which are pending: for everybody who shows records."""

from __future__ import annotations

from typing import Protocol

from remit.app.folder import Folder
from remit.app.records import reader_of
from remit.core.errors import NotFound, RemitError
from remit.core.settings import Settings
from remit.ledger.tlog.checkpoint import read_checkpoint
from remit.ledger.tlog.note import NOTE_BYTES, split_note
from remit.ledger.tlog.source import FolderSource
from remit.ledger.tlog.tiles import CHECKPOINT
from remit.storage.address import address_of
from remit.storage.postgres_published import PostgresPublished, Waiting
from remit.storage.reader import Stored


class Published(Protocol):
    """The records that are published, as one look shows it; those that are published later stay pending here."""

    @property
    def size(self) -> int:
        """How many entries the published log has."""
        ...

    def place_of(self, stored: Stored) -> int | None:
        """The record's place in the log, from 0; None while it is pending."""
        ...

    def is_pending(self, stored: Stored) -> bool:
        """Whether the record is not in the published log yet."""
        ...

    def waiting(self) -> Waiting:
        """How many records are pending, and since when."""
        ...


class _OfFolder:
    """With SQLite: places are those of the rows, and the folder's checkpoint says how many are published."""

    def __init__(self, folder: Folder, size: int) -> None:
        self._folder = folder
        self.size = size

    def place_of(self, stored: Stored) -> int | None:
        place = stored.seq - 1
        return place if place < self.size else None

    def is_pending(self, stored: Stored) -> bool:
        return self.place_of(stored) is None

    def waiting(self) -> Waiting:
        with reader_of(self._folder) as reader:
            first = next(iter(reader.after(self.size, 1)), None)
            if first is None:
                return Waiting(0, 0)
            last = next(iter(reader.records(last=1)))
            return Waiting(last.seq - self.size, first.record.t)


class _OfDatabase:
    """With PostgreSQL: what all processes agreed on, whatever this one's folder has."""

    def __init__(self, places: PostgresPublished) -> None:
        self._places = places

    @property
    def size(self) -> int:
        return self._places.size

    def place_of(self, stored: Stored) -> int | None:
        return self._places.place_of(stored.seq)

    def is_pending(self, stored: Stored) -> bool:
        return self._places.is_pending(stored.seq)

    def waiting(self) -> Waiting:
        return self._places.waiting()


def published_of(folder: Folder, settings: Settings) -> Published | None:
    """What is published of a project's records; None where they are not published. Raises as a reader does.

    Nothing is verified here (`remit verify` does): a checkpoint that can't be read counts as none.
    """
    if not settings.ledger.folder:
        return None
    if settings.storage.url:
        try:
            return _OfDatabase(PostgresPublished(address_of(settings.storage, folder.root)))
        except NotFound:
            return _OfFolder(folder, 0)
    try:
        data = FolderSource(folder.root / settings.ledger.folder).read(CHECKPOINT, NOTE_BYTES)
        return _OfFolder(folder, read_checkpoint(split_note(data)[0]).size)
    except RemitError:
        return _OfFolder(folder, 0)
