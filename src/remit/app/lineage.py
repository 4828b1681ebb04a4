"""Follows the records into the index of values, never in the way of decisions, and takes out of it what was erased.

`remit lineage` brings the index up to date before it answers. A service that runs deletes from it what is erased, a
second later at most, and does nothing else with it.

1. The record up to which the index knows is the same one as then; if not, the records are others (restored, moved), and
   it is made anew.
2. Records are added in the order of their places; personal values from openings that are kept, and only these.
3. An `erasure` among them deletes what stood in the openings that it took. Where keys went with it, what was recorded
   meanwhile is gone too without being named: of the records just before it, all that doesn't open any more is deleted.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from remit.app.folder import Folder
from remit.app.records import reader_of
from remit.core.errors import Conflict, RemitError
from remit.identity.private_file import read_private, write_private
from remit.ledger.record import ADMINISTRATION, Record, leaf_hash
from remit.storage.lineage import KEY_BYTES, Lineage
from remit.storage.lineage_values import values_of
from remit.storage.reader import Reader, Stored

log = logging.getLogger("remit.lineage")

BATCH: Final = 1_000
EVERY_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 5.0
RENEWED: Final = 10  # times that one tail is asked
ERASURE: Final = "erasure"
MEANWHILE_MS: Final = 600_000  # no step of an erasure takes so long
_SETTLING_SECONDS: Final = 0.02
_SETTLING_TRIES: Final = 25
_HELD: Final = (b'"kind":"task"', b'"kind":"decision"', b'"kind":"outcome"')

Progress = Callable[[str, int, int], None]


def open_lineage(folder: Folder) -> Lineage:
    """The index of a folder, made when it is missing, under the installation's key for it."""
    if not folder.lineage_key.exists():
        with suppress(Conflict):  # another process was first
            write_private(folder.lineage_key, secrets.token_bytes(KEY_BYTES), replace=False)
    return Lineage(folder.lineage, read_private(folder.lineage_key))


def catch_up(reader: Reader, index: Lineage, progress: Progress = lambda *_: None) -> None:
    """Adds all records that can be seen now."""
    settled = _settled(reader)
    _check_continues(reader, index)
    while (place := index.reached().place) < settled:
        with index.change():
            place = index.reached().place  # another process may have gone on
            batch = [stored for stored in reader.after(place, BATCH) if stored.seq <= settled]
            if not batch:
                break
            _add_all(reader, index, batch)
            index.reach(batch[-1].seq, leaf_hash(batch[-1].data))
        progress("reading", min(batch[-1].seq, settled), settled)
    # What may still be overtaken by earlier places is added without having been reached.
    after = index.reached().place
    while late := reader.after(after, BATCH):
        with index.change():
            _add_all(reader, index, late)
        after = late[-1].seq
    index.tidy()


def forget_erased(reader: Reader, index: Lineage, erasures: list[Stored]) -> None:
    """Deletes what these records say is erased."""
    if erasures:
        _check_continues(reader, index)
        with index.change():
            for stored in erasures:
                _forget(reader, index, stored)
        index.tidy()


def forget_now(folder: Folder, reader: Reader) -> None:
    """Deletes all that was ever erased, where there is an index; for who erases without a service."""
    if folder.lineage.exists():
        erasures = [each for each in reader.stream(ADMINISTRATION) if b'"kind":"erasure"' in each.data]
        with open_lineage(folder) as index:
            forget_erased(reader, index, erasures)


def _settled(reader: Reader) -> int:
    """The place up to which nothing comes up any more; waits a moment where none is known for those who write now."""
    for _ in range(_SETTLING_TRIES):
        settled = reader.settled()
        if settled or not reader.after(0, 1):
            return settled
        time.sleep(_SETTLING_SECONDS)
    return 0


def _check_continues(reader: Reader, index: Lineage) -> None:
    reached = index.reached()
    if not reached.place:
        return
    found = reader.at([reached.place])
    if not found or leaf_hash(found[0].data) != reached.leaf:
        with index.change():
            index.clear()


def _add_all(reader: Reader, index: Lineage, batch: list[Stored]) -> None:
    for stored in batch:
        if stored.stream == ADMINISTRATION:
            _forget(reader, index, stored)
        elif any(kind in stored.data for kind in _HELD):
            _add(reader, index, stored)


def _add(reader: Reader, index: Lineage, stored: Stored) -> None:
    record = _readable(stored)
    if record is None or not record.understood:
        return
    openings: dict[str, tuple[bytes, bytes]] = {}
    if b'"commitment"' in stored.data:
        openings = {path: (salt, value) for path, salt, value in reader.openings(stored.stream, stored.n)}
    found = values_of(record, openings)
    if found.values:
        index.add(stored.seq, stored.stream, stored.n, found.values, is_whole=found.is_whole)


def _forget(reader: Reader, index: Lineage, stored: Stored) -> None:
    if f'"kind":"{ERASURE}"'.encode() not in stored.data or stored.n <= index.erased():
        return
    record = _readable(stored)
    if record is None or record.kind != ERASURE:
        return
    try:
        index.forget(list(erased_by(record.body)))
    except (ValueError, TypeError, KeyError):
        # SECURITY: where it can't be told what was erased, nothing is kept; openings that are gone don't come back.
        index.clear()
    else:
        if record.body.get("keys"):
            _look_again(reader, index, stored.seq, record.t - MEANWHILE_MS)
    index.follow_erasures(stored.n)


def _look_again(reader: Reader, index: Lineage, place: int, since: int) -> None:
    """Deletes what came from openings that don't open any more, of records before a place and not before a time."""
    while some := index.personal_before(place, BATCH):
        times = {each.seq: record.t for each in reader.at([row[0] for row in some]) if (record := _readable(each))}
        for place, stream, n in some:
            if times.get(place, since) < since:
                return
            kept = {path for path, _, _ in reader.openings(stream, n)}
            index.forget([(stream, n, path) for path in index.pointers(place) if path not in kept])


def erased_by(body: dict[str, Any]) -> Iterator[tuple[str, int, str]]:
    """The openings (stream, n, pointer) that an erasure took; `ValueError` where that can't be read."""
    for stream, n, path in body["openings"]:
        if not (isinstance(stream, str) and isinstance(n, int) and isinstance(path, str)):
            raise ValueError("not an opening's place")
        yield stream, n, path


def _readable(stored: Stored) -> Record | None:
    try:
        return stored.record
    except RemitError:
        return None


class Forgetter:
    """The thread of a service that takes erased values out of the index, where there is one."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="remit-lineage", daemon=True)
        self._failing = ""

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; what was not deleted yet is at the next start, or by the next `remit lineage`."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with reader_of(self._folder) as reader:
                    tail = reader.tail((ERASURE,))
                    forget_now(self._folder, reader)  # what was erased while no service ran
                    times = 0
                    while not self._stopping.wait(EVERY_SECONDS):
                        times += 1
                        # A tail of what is rare looks at all that came since it began: it begins anew now and then,
                        # before the old one is asked for the last time, so that nothing comes up between them.
                        following = reader.tail((ERASURE,)) if times % RENEWED == 0 else tail
                        self._forget(reader, tail.fresh())
                        tail = following
                    # What was erased by a command that this service was started for.
                    self._forget(reader, tail.fresh())
            except RemitError as error:
                self._say(error.code, error.message)
            except Exception:
                log.warning("erased values can't be taken out of the lineage: a fault in Remit", exc_info=True)
            self._stopping.wait(AGAIN_SECONDS)

    def _forget(self, reader: Reader, erasures: list[Stored]) -> None:
        if erasures and self._folder.lineage.exists():
            with open_lineage(self._folder) as index:
                forget_erased(reader, index, erasures)
        self._failing = ""

    def _say(self, code: str, message: str) -> None:
        if code != self._failing:
            log.warning("erased values can't be taken out of the lineage now: %s", message)
        self._failing = code
