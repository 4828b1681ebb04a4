"""Which records are published already, and which are pending: for everybody who shows records."""

from __future__ import annotations

from remit.app.folder import Folder
from remit.core.errors import NotFound, RemitError
from remit.core.settings import Settings
from remit.ledger.tlog.checkpoint import read_checkpoint
from remit.ledger.tlog.note import NOTE_BYTES, split_note
from remit.ledger.tlog.source import FolderSource
from remit.ledger.tlog.tiles import CHECKPOINT
from remit.storage.reader import Stored


class Published:
    """The records that are published now, as one look at the log's checkpoint shows it."""

    def __init__(self, size: int) -> None:
        self.size = size  # how many entries the published log has

    def place_of(self, stored: Stored) -> int | None:
        """The record's place in the log, from 0; None while it is pending."""
        place = stored.seq - 1
        return place if place < self.size else None

    def is_pending(self, stored: Stored) -> bool:
        """Whether the record is not in the published log yet."""
        return self.place_of(stored) is None


def published_of(folder: Folder, settings: Settings) -> Published | None:
    """What is published of a project's records; None where they are not published.

    Nothing is verified here (`remit verify` does): a checkpoint that can't be read counts as none.
    """
    if not settings.ledger.folder:
        return None
    try:
        data = FolderSource(folder.root / settings.ledger.folder).read(CHECKPOINT, NOTE_BYTES)
        return Published(read_checkpoint(split_note(data)[0]).size)
    except NotFound:
        return Published(0)
    except RemitError:
        return Published(0)
