"""Moves old entries of a project's published log into an archive, beside a running service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from remit.app.folder import Folder
from remit.app.publishing import key_file, signer_of
from remit.core.errors import Conflict, InvalidInput, NotFound
from remit.core.settings import read_settings
from remit.ledger.tlog.archive import Archiving, Moved
from remit.storage.lock import FolderLock


def archive_log(folder: Folder, into: Path, before: int, now: int, progress: Callable[[int, int], None]) -> Moved:
    """Archives what is older than `before` (ms) into `into`; one process at a time.

    `NotFound("log_not_published")` where there is no log, `InvalidInput("time_invalid")` for a time to come; else as
    `Archiving`.
    """
    settings = read_settings(folder.root)
    if not settings.ledger.folder or not key_file(folder, settings).exists():
        raise NotFound(
            "log_not_published", "these records are not published as a log", 'set `[ledger] folder = ".remit/log"`'
        )
    if before > now:
        raise InvalidInput("time_invalid", "what is to come can't be archived", "write `--before 90d`, or a past day")
    try:
        lock = FolderLock(folder.state / "archive.lock")
    except Conflict as error:
        raise Conflict(error.code, "the log is being archived already", "wait until it is done") from None
    try:
        archiving = Archiving(folder.root / settings.ledger.folder, into, signer_of(folder, settings))
        return archiving.run(before, progress)
    finally:
        lock.release()
