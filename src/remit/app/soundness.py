"""Looks at the records before a service decides on them, and goes on looking at older ones beside it.

A start looks for a few seconds: at the database, and at the newest records. What it had no time for, a thread looks at
while the service runs, a little at a time. Damage stops a start; found later, it is an alarm, and the service says
that it is not ready, so that nobody is sent to it.
"""

from __future__ import annotations

import logging
import threading
from functools import lru_cache
from pathlib import Path
from typing import Final

from remit.app.folder import Folder
from remit.app.publishing import signer_of
from remit.core.errors import RemitError
from remit.core.settings import Settings
from remit.ledger.tlog.folder import published
from remit.ledger.tlog.source import FolderSource, read_hashes
from remit.ledger.tlog.tiles import WIDTH, Tile, width_of
from remit.storage.soundness import PublishedHash, Walk, check_file

log = logging.getLogger("remit.storage")

START_SECONDS: Final = 1.0
STEP_SECONDS: Final = 0.01  # of looking, in each
EVERY_SECONDS: Final = 0.5


def check_records(folder: Folder, settings: Settings) -> Walk | None:
    """Looks at the records of SQLite for `START_SECONDS`; what is left to look at, if any.

    `Unavailable("records_damaged")` when they are not what was written. PostgreSQL looks after its pages itself.
    """
    if settings.storage.url or not folder.database.exists():
        return None
    check_file(folder.database, START_SECONDS)
    walk = Walk(folder.database, published_hashes(folder, settings))
    walk.step(START_SECONDS)
    return None if walk.is_done else walk


def published_hashes(folder: Folder, settings: Settings) -> PublishedHash:
    """The leaf hashes of the log that the folder publishes, as it is now."""
    size = 0
    root = folder.root / settings.ledger.folder
    if settings.ledger.folder and (signed := published(root, signer_of(folder, settings).key)):
        size = signed.checkpoint.size
    return _hashes(root, size)


def _hashes(root: Path, size: int) -> PublishedHash:
    source = FolderSource(root)

    @lru_cache(maxsize=4)
    def tile(index: int) -> list[bytes]:
        # A partial tile may have become a full one since.
        return read_hashes(source, Tile(0, index, width_of(0, index, size)))

    return lambda place: tile(place // WIDTH)[place % WIDTH].hex() if place < size else None


class Watch:
    """Goes on with a walk, in a thread of its own."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="remit-watch", daemon=True)
        self.wrong = ""  # what was found

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, wherever it is."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._walk.is_done and not self._stopping.wait(EVERY_SECONDS):
            try:
                self._walk.step(STEP_SECONDS)
            except RemitError as error:
                log.critical("ALARM old records were looked at: %s", error.message)
                self.wrong = error.message
                return
            except Exception:
                log.exception("the records could not be looked at")
                return
