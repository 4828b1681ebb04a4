"""Publishes the records as a transparency log, beside the decisions and never in their way.

A thread of its own takes what is durable and not yet published, a few times a second, and extends the log. What it
can't publish now stays pending, with an alarm, and is tried again; nothing is denied for it.

1. The log is opened and checked: its tiles have the root of its checkpoint.
2. SECURITY: its last entries are the records' own; a log that is ahead of the records, or of another history, is
   never gone on with: the service does not start.
3. Records are appended in the order of their places; then the new checkpoint is signed and published.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.app.folder import Folder
from remit.core.errors import Conflict, DocumentError, RemitError
from remit.core.settings import Settings
from remit.identity.private_file import read_private, write_private
from remit.ledger.tlog.folder import LogFolder
from remit.ledger.tlog.note import Signer
from remit.ledger.tlog.tiles import WIDTH
from remit.storage.placed import Placed, SqlitePlaced

log = logging.getLogger("remit.ledger")

EVERY_SECONDS: Final = 0.25
BATCH: Final = 4096  # records under one checkpoint
_CONFIGURATION: Final = b'"kind":"configuration"'


class Publisher:
    """Publishes one installation's records into one log."""

    def __init__(self, records: Placed, folder: LogFolder) -> None:
        """Raises `Conflict` when the log does not belong to these records (`log_ahead`, `log_forked`)."""
        self._records = records
        self.log = folder
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.failing = ""  # why nothing can be published now
        self._check()

    def start(self) -> None:
        """Begins to publish."""
        self._thread = threading.Thread(target=self._run, name="remit-publisher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Publishes what is durable by now, and ends."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self._publish_all()
        self._records.close()

    def publish(self) -> int:
        """Publishes at most `BATCH` records; returns how many. Raises `RemitError` when it can't."""
        entries = self._records.entries(self.log.size, BATCH)
        if any(_CONFIGURATION in entry for entry in entries):
            # The texts of what decides are published before the records that quote them.
            for digest, text in self._records.texts():
                self.log.keep_text(digest, text.encode())
        self.log.extend(entries)
        return len(entries)

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_SECONDS):
            self._publish_all()

    def _publish_all(self) -> None:
        try:
            while self.publish() == BATCH:
                pass
        except RemitError as error:
            if error.code != self.failing:
                log.critical("ALARM the log can't be published, records stay pending: %s", error.message)
            self.failing = error.code
        except Exception:
            why = "a fault in Remit"
            log.critical("ALARM the log can't be published, records stay pending: %s", why, exc_info=True)
            self.failing = "internal_fault"
        else:
            if self.failing:
                log.warning("the log is published again")
            self.failing = ""

    def _check(self) -> None:
        start = self.log.size - self.log.size % WIDTH
        tail = self._records.entries(start, self.log.size - start)
        if len(tail) < self.log.size - start or (self.log.size and not self._records.entries(self.log.size - 1, 1)):
            raise Conflict(
                "log_ahead",
                f"the published log has {self.log.size} entries, the records are fewer",
                "the records were restored from an older copy: restore the newest one, or begin a log under a new name",
            )
        self.log.check_continues(tail)


def open_publisher(folder: Folder, settings: Settings) -> Publisher | None:
    """The publisher that `[ledger]` asks for, checked and not started yet; None where it asks for none.

    Raises `Conflict` when the log in the folder is not of these records (`log_ahead`, `log_forked`), and `RemitError`
    when it can't be read or is damaged: a service that publishes does not start with a log that it can't go on with.
    """
    if not settings.ledger.folder:
        return None
    records = SqlitePlaced(folder.database)
    try:
        return Publisher(records, LogFolder(folder.root / settings.ledger.folder, signer_of(folder, settings)))
    except BaseException:
        records.close()
        raise


def signer_of(folder: Folder, settings: Settings) -> Signer:
    """The log's signer of a project, with its key in `.remit/log.pem`."""
    return log_signer(folder.log_key, settings.ledger.name or f"{settings.trust_domain}/log")


def log_signer(path: Path, name: str) -> Signer:
    """The log's key in a PEM file (PKCS #8, Ed25519, mode 0600), made when it is missing.

    Raises `DocumentError` for a file that is something else, or that others can read.
    """
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        write_private(
            path,
            made.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            replace=False,
        )
    try:
        key = serialization.load_pem_private_key(read_private(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise DocumentError("this is no Ed25519 key in PEM", path=path, next_step="restore it from the backup")
    return Signer(name, key)
