"""Publishes the records as a transparency log, beside the decisions and never in their way.

A thread of its own takes what is durable and not yet published, a few times a second. What it can't publish now stays
pending, with an alarm, and is tried again; nothing is denied for it. One process is elected; each round it

1. gives places to the durable records that have none: the order in which they are published, for ever;
2. extends the tiles of its folder by them;
3. makes and signs the checkpoint over them, and asks the witnesses, where there are any, to cosign it;
4. SECURITY: agrees on it with the other processes, in the storage, before anybody sees it: a process that was elected
   before and does not know that it no longer is can't agree on anything;
5. writes it to its folder. From here on the records are published.

The other processes bring their folders up to the checkpoint that was agreed on. The entries are the same for all, so
its root must be that of their tiles.

SECURITY: a log that is ahead of the records, or of another history, is never gone on with: the service does not start.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Protocol

from remit.app.folder import Folder
from remit.app.note_keys import note_key
from remit.app.trust import is_shared, trust_folder
from remit.app.witnessing import open_witnesses
from remit.core.errors import Conflict, DocumentError, RemitError
from remit.core.settings import Settings
from remit.ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from remit.ledger.tlog.folder import LogFolder, forked, published
from remit.ledger.tlog.merkle import leaf_hash
from remit.ledger.tlog.note import Signer
from remit.ledger.tlog.tiles import CHECKPOINT, WIDTH
from remit.storage.address import address_of
from remit.storage.placed import Placed, SqlitePlaced
from remit.storage.postgres_placed import PostgresPlaced

log = logging.getLogger("remit.ledger")

EVERY_SECONDS: Final = 0.25
BATCH: Final = 1024  # records that are read at once; each has at most 64 KiB
MOST: Final = 256 * BATCH  # records under one new checkpoint
PLACE_SECONDS: Final = 10.0  # until another process has placed what this folder has published
STOP_SECONDS: Final = 5.0  # of publishing what is durable when the service stops
GAUGES: Final = ("log_size", "log_behind_seconds", "log_elected")
_CONFIGURATION: Final = b'"kind":"configuration"'
_EPOCH_PASSED: Final = "epoch_passed"
_EVERYWHERE: Final = ("witness_quorum_missing", "places_broken", "records_unreadable")  # whoever is elected


class Cosigner(Protocol):
    """Witnesses, who cosign what extends what they have seen."""

    def check(self, size: int, root: bytes, root_at: Callable[[int], bytes | None], /) -> None:
        """At the start: compares what the witnesses have seen with the published log, of `size` entries under `root`.

        `root_at` says the root over so many first records, published or not; None where there are fewer. `Conflict`
        where a witness has seen more than there is, or something else.
        """
        ...

    def cosign(self, note: bytes, size: int, prove: Callable[[int], list[bytes]]) -> list[str]:
        """The signature lines of the witnesses under the checkpoint `note`, verified, with their line feeds.

        `prove(old)` is the consistency proof from `old` to `size`. `Unavailable("witness_quorum_missing")` when too few
        sign: then nothing is published.
        """
        ...

    def late(self, note: bytes, size: int, prove: Callable[[int], list[bytes]]) -> list[str]:
        """The lines under `note`, which is published, of witnesses that have not signed it and can now."""
        ...

    def close(self) -> None:
        """Ends what is under way."""
        ...


class Publisher:
    """Publishes one installation's records into one log."""

    def __init__(
        self,
        records: Placed,
        folder: LogFolder,
        cosigner: Cosigner | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Raises `Conflict` when the log does not belong to these records (`log_ahead`, `log_forked`).

        Closes `folder` when it raises; `records` stay open then. `tell` is told why nothing can be published, and ""
        when it can be again.
        """
        self._records = records
        self.log = folder
        self._cosigner = cosigner
        self._stopping = threading.Event()
        self._stop_by = 0.0
        self._thread: threading.Thread | None = None
        self._agreed = b""  # the checkpoint that was compared with the folder last
        self._tell = tell
        self._done = time.monotonic()  # when a round succeeded last
        self.failing = ""  # why nothing can be published now (the code of the error)
        self.leads = False
        try:
            self.leads = self._records.place()
            self._check()
            self._check_agreed()
            if cosigner is not None:
                cosigner.check(self.log.size, self.log.checkpoint.root, self._root_at)
        except BaseException:
            folder.close()
            raise

    def start(self) -> None:
        """Begins to publish."""
        self._thread = threading.Thread(target=self._run, name="remit-publisher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Publishes what is durable by now, and ends."""
        self._stop_by = time.monotonic() + STOP_SECONDS
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self._publish_all()
        if self._cosigner is not None:
            self._cosigner.close()
        self.log.close()
        self._records.close()

    def publish(self) -> int:
        """One round; returns how many entries were published here. Raises `RemitError` when they can't be."""
        if self.log.resume():
            log.warning("the folder of the log was lost or replaced: it is brought up to date again")
            self._agreed = b""
            self._check()
        before = self.log.size
        self.leads = self._records.place()
        self._follow(self._records.agreed())
        if self.leads:
            self._lead()
        return self.log.size - before

    def _lead(self) -> None:
        """2 to 5."""
        if not self._append(self.log.staged + MOST):
            return
        checkpoint = self.log.seal()
        if checkpoint.size == self.log.size:
            self._cosign_again()
            return
        note = self.log.sign(checkpoint)
        if self._cosigner is not None:
            note = self.log.sign(checkpoint, self._cosigner.cosign(note, checkpoint.size, self.log.prove))
        # SECURITY: first all processes agree, then it can be seen: no two checkpoints can contradict each other.
        self._records.agree(note, checkpoint.size)
        self._agreed = note
        self.log.publish(note)

    def _cosign_again(self) -> None:
        """Adds the lines of witnesses that could not sign when the newest checkpoint was published."""
        there = published(self.log.folder, self.log.key) if self._cosigner is not None and self.log.size else None
        if there is None or self._cosigner is None:
            return
        lines = self._cosigner.late(there.data, self.log.size, self.log.prove)
        if lines:
            note = there.data + "".join(lines).encode()
            self._records.agree(note, self.log.size)
            self._agreed = note
            self.log.publish(note)

    def _follow(self, note: bytes) -> None:
        """Brings the folder up to what was agreed on; `Conflict("log_forked")` where its root is another."""
        agreed = self._compare(note)
        if agreed is None or agreed.size <= self.log.size:
            return
        if self.log.staged > agreed.size:
            self.log.reset()
        if not self._append(agreed.size):
            return
        if self.log.staged < agreed.size:
            raise _ahead(agreed.size)
        self.log.seal()
        self.log.publish(note)
        self._agreed = note

    def _compare(self, note: bytes) -> Checkpoint | None:
        """The checkpoint that was agreed on, where it is news; compared with what the folder has of it already."""
        if not note or note == self._agreed:
            return None
        agreed = open_checkpoint(note, self.log.key).checkpoint
        if agreed.size <= self.log.size:
            # SECURITY: a folder of another history is never extended.
            if self.log.root_at(agreed.size) != agreed.root:
                raise forked("the published log is not the one that the processes agreed on")
            self._agreed = note
        return agreed

    def _append(self, to: int) -> bool:
        """Stages entries up to `to`, or as many as have places; False when it stops meanwhile."""
        while (start := self.log.staged) < to:
            if self._stopping.is_set() and time.monotonic() > self._stop_by:
                return False
            entries = self._records.entries(start, min(BATCH, to - start))
            if any(_CONFIGURATION in entry for entry in entries):
                # The texts of what decides are published before the records that quote them.
                for digest, text in self._records.texts():
                    self.log.keep_text(digest, text.encode())
            self.log.append(entries)
            if len(entries) < min(BATCH, to - start):
                break
        return True

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_SECONDS):
            self._publish_all()

    def gauges(self) -> dict[str, float]:
        """What an operator watches: the entries in this folder, how long nothing could be published, who is elected."""
        behind = time.monotonic() - self._done if self.failing else 0.0
        return dict(zip(GAUGES, (self.log.size, round(behind, 3), int(self.leads)), strict=True))

    def _publish_all(self) -> None:
        try:
            while self.publish() >= MOST:
                pass
        except RemitError as error:
            self.leads = False
            if error.code == _EPOCH_PASSED:
                log.warning("this process is not elected any more: it goes on with what the elected one publishes")
                return
            self._fails(error.code, error.message)
        except Exception:  # noqa: BLE001 - told with its trace; it is tried again
            self._fails("internal_fault", "a fault in Remit")
        else:
            self._done = time.monotonic()
            if self.failing:
                log.warning("the log is published again")
                self.failing = ""
                self._tell("")

    def _fails(self, code: str, message: str) -> None:
        if code != self.failing:
            fault = code == "internal_fault"
            log.critical("ALARM the log can't be published, records stay pending: %s", message, exc_info=fault)
            self._tell(message)
        self.failing = code
        if code not in _EVERYWHERE:
            # Where it is this process's folder that can't be written, another one may do better.
            self._records.resign()

    def _check(self) -> None:
        """Compares the end of the published log with the records."""
        if not self.log.size:
            return
        until = time.monotonic() + PLACE_SECONDS
        while not self._records.entries(self.log.size - 1, 1):
            # Where another process is elected, it may not have given places to all records yet.
            if self.leads or time.monotonic() > until:
                raise _ahead(self.log.size)
            time.sleep(EVERY_SECONDS)
            self.leads = self._records.place()
        start = (self.log.size - 1) // WIDTH * WIDTH
        self.log.check_continues(self._records.entries(start, self.log.size - start))

    def _check_agreed(self) -> None:
        """Compares the folder with what all processes agreed on, unless it is far behind: then while it catches up."""
        agreed = self._compare(self._records.agreed())
        if agreed is not None and 0 < self.log.size < agreed.size <= self.log.size + MOST:
            root = self._root_at(agreed.size)
            if root is not None and root != agreed.root:
                raise forked("the published log is not the one that the processes agreed on")

    def _root_at(self, size: int) -> bytes | None:
        """The root over the first records that have places; None where there are fewer."""
        if size <= self.log.size:
            return self.log.root_at(size)
        edge = self.log.ahead()
        while edge.size < size:
            entries = self._records.entries(edge.size, min(BATCH, size - edge.size))
            if not entries:
                return None
            for entry in entries:
                edge.append(leaf_hash(entry))
        return edge.root()


def _ahead(size: int) -> Conflict:
    return Conflict(
        "log_ahead",
        f"the published log has {size} entries, the records are fewer",
        "the records were restored from an older copy: restore the newest one, or begin a log under a new name",
    )


def open_publisher(folder: Folder, settings: Settings) -> Publisher | None:
    """The publisher that `[ledger]` asks for, checked and not started yet; None where it asks for none.

    Raises `Conflict` when the log in the folder is not of these records (`log_ahead`, `log_forked`), or another process
    writes it (`log_in_use`), and `RemitError` when it can't be read or is damaged: a service that publishes does not
    start with a log that it can't go on with.
    """
    if not settings.ledger.folder:
        return None

    def tell(why: str) -> None:
        with suppress(OSError):
            if why:
                folder.log_failing.touch(0o600)
                folder.log_failing.write_text(why)
            else:
                folder.log_failing.unlink(missing_ok=True)

    with ExitStack() as opened:
        records: Placed
        if settings.storage.url:
            shared = records = PostgresPlaced(address_of(settings.storage, folder.root))
            opened.callback(shared.close)
            signer = signer_of(folder, settings, is_known=bool(shared.key()))
            shared.take_key(str(signer.key))
        else:
            records = SqlitePlaced(folder.database)
            opened.callback(records.close)
            signer = signer_of(folder, settings)
        witnesses = open_witnesses(settings.ledger, signer.key, folder.root)
        if witnesses is not None:
            opened.callback(witnesses.close)
        publisher = Publisher(records, LogFolder(folder.root / settings.ledger.folder, signer), witnesses, tell)
        tell("")
        opened.pop_all()
    return publisher


def signer_of(folder: Folder, settings: Settings, *, is_known: bool | None = None) -> Signer:
    """The log's signer of a project. Its key is made where there is none, unless `is_known`: something was published.

    Unless it is said, something was where the folder has a checkpoint, or the records may have other processes.
    `DocumentError("log_key_missing")` then.
    """
    path = key_file(folder, settings)
    if is_known is None:
        is_known = bool(settings.storage.url) or (folder.root / settings.ledger.folder / CHECKPOINT).exists()
    if is_known and not path.exists():
        # SECURITY: with another key this would be another log, which nobody who verifies this one would take.
        raise DocumentError(
            "the key of the published log is not here",
            path=path,
            next_step="restore it from the backup; processes that share records share it (`[identity] trust`), and the "
            "first of them makes it when it starts",
            code="log_key_missing",
        )
    return log_signer(path, settings.ledger.name or f"{settings.trust_domain}/log", mounted=is_shared(settings))


def key_file(folder: Folder, settings: Settings) -> Path:
    """Where the log's key stands: `.remit/log.pem`, or with the signing keys that processes share, as `log.pem`."""
    if not is_shared(settings) or folder.log_key.exists():
        return folder.log_key
    return trust_folder(folder, settings) / folder.log_key.name


def log_signer(path: Path, name: str, *, mounted: bool = False) -> Signer:
    """The log's key in a PEM file (PKCS #8, Ed25519, mode 0600), made when it is missing.

    `mounted` as for `read_private`. Raises `DocumentError` for a file that is something else, or that others can read.
    """
    return Signer(name, note_key(path, mounted=mounted))
